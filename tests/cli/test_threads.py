"""Threads that nobody waits for."""

import socket
import threading
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mles_tx.cli.threads import HostNames, in_daemon_thread
from tests.service.clients import reactor


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects addresses."""

    def __init__(self) -> None:
        self.name = ""
        self.addresses: list[Any] = []
        self.complete: Deferred[None] = Deferred()

    def resolutionBegan(self, resolution: IHostResolution) -> None:  # noqa: N802
        verifyObject(IHostResolution, resolution)
        self.name = resolution.name

    def addressResolved(self, address: Any) -> None:  # noqa: N802
        self.addresses.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        self.complete.callback(None)


class ThreadTests(TestCase):
    """Calls in threads."""

    async def test_result(self) -> None:
        """The result comes back, or the error; the thread does not keep the process from ending."""

        def call(number: int) -> tuple[float, bool]:
            return 1 / number, threading.current_thread().daemon

        self.assertEqual(await in_daemon_thread(reactor, call, 2), (0.5, True))
        with self.assertRaises(ZeroDivisionError):
            await in_daemon_thread(reactor, call, 0)

    async def resolve(self, name: str, *kinds: Any) -> list[Any]:
        """The addresses of a name."""
        receiver = _Receiver()
        HostNames(reactor).resolveHostName(receiver, name, 443, kinds or None)
        await receiver.complete
        self.assertEqual(receiver.name, name)
        return receiver.addresses

    async def test_names(self) -> None:
        """Names get their addresses, of the kinds that are wanted; one that is not there has none."""
        four, six = IPv4Address("TCP", "127.0.0.1", 443), IPv6Address("TCP", "::1", 443)
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 443, 0, 0)),
        ]

        def look_up(name: str, port: int, *_: int) -> Any:
            if name == "nowhere.test":
                raise socket.gaierror(socket.EAI_NONAME, "none")
            return found

        self.patch(socket, "getaddrinfo", look_up)
        self.assertEqual(await self.resolve("here.test"), [four, six])
        self.assertEqual(await self.resolve("here.test", IPv6Address), [six])
        self.assertEqual(await self.resolve("nowhere.test"), [])

    async def test_system(self) -> None:
        """The system is what is asked."""
        self.assertEqual(await self.resolve("127.0.0.1"), [IPv4Address("TCP", "127.0.0.1", 443)])
        self.assertTrue(verifyObject(IHostnameResolver, HostNames(reactor)))
