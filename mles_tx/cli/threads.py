"""Threads for calls that may hang, such as those to a network file system or the system's resolver.

A process can end while they do. Twisted's own pool of threads would be waited for.
"""

import socket
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["HostNames", "in_daemon_thread"]


class _DaemonThreads:
    """As much of a thread pool as `deferToThreadPool` needs: a thread for each call."""

    def callInThreadWithCallback(  # noqa: N802
        self, on_result: Callable[[bool, Any], object], call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        def run() -> None:
            try:
                result, is_good = call(*args, **kwargs), True
            except BaseException:
                result, is_good = Failure(), False
            on_result(is_good, result)

        threading.Thread(target=run, daemon=True).start()


def in_daemon_thread(reactor: Any, call: Callable[..., Any], *args: Any) -> "Deferred[Any]":
    """The result of a call in a thread that nobody waits for when the process ends.

    Args:
        reactor: where the result is told.
        call: what is called.
        args: with what.
    """
    threads: Any = _DaemonThreads()
    return deferToThreadPool(reactor, threads, call, *args)


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        raise NotImplementedError("a call to the system's resolver cannot be taken back")


@implementer(IHostnameResolver)
class HostNames:
    """The system's resolver, for `reactor.installNameResolver`.

    Args:
        reactor: the reactor.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Any = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """Tell a receiver the TCP addresses of a name; none when there are none."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def tell(found: list[Any]) -> None:
            for family, _, _, _, address in found:
                kind = IPv6Address if family == socket.AF_INET6 else IPv4Address
                if addressTypes is None or kind in addressTypes:
                    resolutionReceiver.addressResolved(kind("TCP", *address))

        looking = in_daemon_thread(self._reactor, socket.getaddrinfo, hostName, portNumber, 0, socket.SOCK_STREAM)
        looking.addCallback(tell).addErrback(lambda failure: failure.trap(OSError, UnicodeError))
        looking.addBoth(lambda _: resolutionReceiver.resolutionComplete())
        return resolution
