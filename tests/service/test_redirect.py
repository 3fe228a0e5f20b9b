"""The redirect port: with real sockets on loopback, and on a clock."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mles_tx.metrics import Metrics
from mles_tx.service.binding import DRAIN_SECONDS
from mles_tx.service.config import ServerConfig
from mles_tx.service.redirect import RedirectListener
from mles_tx.transport import port
from mles_tx.transport.admission import Admission
from mles_tx.transport.doors import HEAD_SECONDS
from mles_tx.transport.port import BindError, has_ipv6
from tests.descriptors import descriptors
from tests.transport.fakes import FakeTransport
from tests.wire import upgrade

from .clients import dial, reactor
from .servers import occupied

CONFIG = ServerConfig(domains=("localhost", "chat.test"), interfaces=("127.0.0.1",))

CHALLENGE = "/.well-known/acme-challenge/"


class RedirectListenerTests(TestCase):
    """A redirect port on loopback."""

    def setUp(self) -> None:
        self.metrics = Metrics()
        self.admission = Admission(reactor, self.metrics)

    def make(self, port: int = 0, config: ServerConfig = CONFIG) -> RedirectListener:
        """One that was not started."""
        answers = {"known": b"known.thumbprint"}
        service = RedirectListener(reactor, config, port, self.admission, lambda: 8443, answers.get)
        self.addCleanup(self._stop, service)
        return service

    async def _stop(self, service: RedirectListener) -> None:
        await service.stopService()

    def start(self, **more: Any) -> RedirectListener:
        """One that accepts connections."""
        service = self.make(**more)
        service.privilegedStartService()
        service.startService()
        return service

    async def ask(self, service: RedirectListener, request: str, *lines: str) -> tuple[str, dict[str, str], str]:
        """Status line, headers and body of an answer."""
        client = await dial(service.addresses[0][1])
        client.transport.write("\r\n".join((f"{request} HTTP/1.1", *lines, "Connection: close", "", "")).encode())
        head, _, body = (await client.to_the_end()).decode().partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        return status, {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}, body

    async def test_redirects(self) -> None:
        """Known hosts are sent to https, where it is; for others there is nothing."""
        service = self.start()
        for host in ("localhost", f"LOCALHOST:{service.addresses[0][1]}", "chat.test."):
            status, headers, _ = await self.ask(service, "GET /a?b=c", f"Host: {host}")
            name = host.lower().split(":")[0].rstrip(".")
            self.assertEqual(status, "HTTP/1.1 301 Moved Permanently")
            self.assertEqual(headers["location"], f"https://{name}:8443/a?b=c")
        status, headers, body = await self.ask(service, "GET /", "Host: foreign.example")
        self.assertEqual((status, headers.get("location")), ("HTTP/1.1 404 Not Found", None))
        self.assertNotIn("foreign", body)

    async def test_challenge(self) -> None:
        """A certificate authority finds the answer to its token."""
        service = self.start()
        status, _, body = await self.ask(service, f"GET {CHALLENGE}known", "Host: localhost")
        self.assertEqual((status, body), ("HTTP/1.1 200 OK", "known.thumbprint"))
        status, _, _ = await self.ask(service, f"GET {CHALLENGE}unknown", "Host: localhost")
        self.assertEqual(status, "HTTP/1.1 404 Not Found")

    async def test_no_websocket(self) -> None:
        """Who asks for a WebSocket is sent to https like everybody."""
        service = self.start()
        client = await dial(service.addresses[0][1])
        client.transport.write(upgrade())
        await client.until(b"\r\n\r\n")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 301 "))
        await client.hang_up()

    async def test_address_limit(self) -> None:
        """An address has as many connections as on the TLS port: on both together."""
        self.admission = Admission(reactor, self.metrics, per_ip_limit=2)
        service = self.start()
        self.assertTrue(self.admission.admits(IPv4Address("TCP", "127.0.0.1", 50000)))  # one on the TLS port
        self.assertEqual((await self.ask(service, "GET /", "Host: localhost"))[0][9:12], "301")
        turned_away = await dial(service.addresses[0][1])
        self.assertEqual(await turned_away.to_the_end(), b"")
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {"127.0.0.1": 1})

    async def test_full(self) -> None:
        """The connections of both ports together are bounded; who comes too late is told so."""
        self.admission = Admission(reactor, self.metrics, max_connections=1)
        service = self.start()
        first = await dial(service.addresses[0][1])
        first.transport.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await first.until(b" 301 ")
        self.assertEqual(self.admission.open, 1)
        self.assertEqual((await self.ask(service, "GET /", "Host: localhost"))[0][9:12], "503")
        await first.hang_up()
        while self.admission.open:
            await deferLater(reactor, 0)
        self.assertEqual((await self.ask(service, "GET /", "Host: localhost"))[0][9:12], "301")

    def test_port_in_use(self) -> None:
        """A port that is taken is an error at the start, and the option is named."""
        other, port = occupied()
        self.addCleanup(other.close)
        before = descriptors()
        error = self.assertRaises(BindError, self.make(port).privilegedStartService)
        self.assertEqual(
            str(error),
            f"cannot listen on 127.0.0.1:{port}: another program listens there:"
            " stop it, or choose another --redirect-port",
        )
        self.assertRaises(BindError, self.make(port).startService)
        self.assertEqual(descriptors(), before)

    def test_all_addresses(self) -> None:
        """It listens where the TLS port does; without IPv6 on the others."""
        for ipv6 in (True, False) if has_ipv6() else (False,):
            self.patch(port, "has_ipv6", lambda ipv6=ipv6: ipv6)
            service = self.start(config=ServerConfig(domains=("localhost",)))
            ports = {port for _, port in service.addresses}
            self.assertEqual(len(ports), 1)
            self.assertEqual([host for host, _ in service.addresses], ["0.0.0.0", "::"] if ipv6 else ["0.0.0.0"])

    async def test_bound_and_never_started(self) -> None:
        """A port that was bound and never accepted anybody is closed."""
        before = descriptors()
        service = self.make()
        service.privilegedStartService()
        self.assertEqual(service.addresses, [])
        await service.stopService()
        self.assertEqual(descriptors(), before)

    async def test_stop_and_start(self) -> None:
        """Stopped, nobody listens any more; started again, it redirects again."""
        service = self.start()
        idle = await dial(service.addresses[0][1])
        await service.stopService()
        await idle.ended
        self.assertEqual(service.addresses, [])
        service.startService()
        self.assertEqual((await self.ask(service, "GET /", "Host: localhost"))[0][9:12], "301")


class RedirectDrainTests(SynchronousTestCase):
    """Time limits and the end, on a clock."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        admission = Admission(self.reactor, Metrics())
        self.service = RedirectListener(self.reactor, CONFIG, 0, admission, lambda: 443)
        self.service.privilegedStartService()
        self.service.startService()

    def connect(self, data: bytes = b"") -> FakeTransport:
        """A connection, on which something has come."""
        peer = FakeTransport(self.service.door.buildProtocol(None))
        peer.receive(data)
        return peer

    def assert_all_gone(self) -> None:
        """No timer, socket or connection is left."""
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((self.reactor.getReaders(), self.reactor.getWriters()), ([], []))
        self.assertEqual(self.service.door.doors, set())

    def test_slow_head(self) -> None:
        """A request that comes a byte at a time has to be whole in time."""
        peer = self.connect()
        for _ in range(int(HEAD_SECONDS)):
            self.assertFalse(peer.aborted)
            peer.receive(b"G")
            self.reactor.advance(1)
        self.assertTrue(peer.aborted)

    def test_nobody_there(self) -> None:
        """Without connections it ends as soon as the port is closed."""
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()

    def test_who_does_not_go(self) -> None:
        """Who does not hang up is cut off after a while."""
        peer = self.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.assertEqual((peer.finished, peer.aborted), (True, False))
        self.reactor.advance(DRAIN_SECONDS)
        self.assertTrue(peer.aborted)
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()

    def test_abort(self) -> None:
        """Who does not want to wait cuts the rest off."""
        peer = self.connect()
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.assertNoResult(stopped)
        self.service.abort()
        self.assertTrue(peer.aborted)
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()
