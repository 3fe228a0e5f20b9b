"""The admin endpoint as a service."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parse
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock

from mles_tx.service import admin
from mles_tx.service import server as server_module
from mles_tx.service.admin import MAX_CONNECTIONS, AdminListener
from mles_tx.service.config import ServerConfig
from mles_tx.service.endpoints import Endpoint
from mles_tx.service.server import MlesService
from mles_tx.transport.door import Door
from mles_tx.transport.doors import HEAD_SECONDS
from mles_tx.transport.port import BindError, has_ipv6
from tests.transport.fakes import FakeTransport
from tests.wire import upgrade

from .clients import Client, dial, get, reactor
from .servers import ServerTestCase, occupied

ANY = Endpoint("127.0.0.1", 0)

NOT_READY = "HTTP/1.1 503 Service Unavailable"
READY = ("HTTP/1.1 200 OK", b"ready\n")
STOPPING = (NOT_READY, b"stopping\n")


class AdminTestCase(ServerTestCase):
    """Servers with an admin endpoint."""

    def setUp(self) -> None:
        super().setUp()
        # Not trial's own: the path of a socket is short.
        directory = TemporaryDirectory(prefix="mles-tx-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "admin.sock"

    def admin(self, service: MlesService) -> AdminListener:
        """The endpoint of a server."""
        assert service.admin is not None
        return service.admin

    async def ask(self, service: MlesService, path: str = "/readyz") -> tuple[str, bytes]:
        """Status line and body of an answer."""
        return await get(self.admin(service).endpoint.port, path)

    async def turn(self) -> None:
        """Let the reactor go on."""
        await deferLater(reactor, 0)


class AdminTests(AdminTestCase):
    """Where it is, and what is answered there."""

    async def test_off(self) -> None:
        """Unless it is asked for there is none, and the pages know nothing of it."""
        service = self.start()
        self.assertIsNone(service.admin)
        for path in ("/metrics", "/livez", "/readyz"):
            self.assertEqual((await get(self.port(service), path))[0], "HTTP/1.1 404 Not Found")

    async def test_tcp(self) -> None:
        """On a TCP port everything is answered, whatever the host is called."""
        service = self.start(admin=ANY)
        self.assertEqual(await self.ask(service), READY)
        self.assertEqual(await self.ask(service, "/livez"), ("HTTP/1.1 200 OK", b"alive\n"))
        _, body = await get(self.admin(service).endpoint.port, "/metrics", "mles.monitoring.internal:9100")
        names = {family.name for family in parse(body.decode())}
        self.assertTrue({"mles_members", "mles_reactor_lag_seconds", "process_open_fds"} <= names)

    async def test_ipv6(self) -> None:
        """It can be on an IPv6 address."""
        if not has_ipv6():
            self.skipTest("this machine has no IPv6")
        service = self.start(admin=Endpoint("::1", 0))
        client = await dial(self.admin(service).endpoint.port, host="::1")
        client.transport.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertIn(b"alive", await client.to_the_end())

    async def test_unix(self) -> None:
        """It can be a UNIX socket, which is gone when the server has ended."""
        service = self.start(admin=Endpoint("", 0, str(self.path), 0o600))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        client: Any = await connectProtocol(UNIXClientEndpoint(reactor, str(self.path)), Client())
        client.transport.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.until(b"ready")
        await service.stopService()
        self.assertTrue((await client.to_the_end()).startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertFalse(self.path.exists())

    async def test_mounted(self) -> None:
        """A server without ports of its own has one when it is asked for."""
        service = self.start(listen=False, admin=ANY)
        self.assertEqual(await self.ask(service), READY)

    async def test_no_websocket(self) -> None:
        """Nobody becomes a member there."""
        service = self.start(admin=ANY)
        client = await dial(self.admin(service).endpoint.port)
        client.transport.write(upgrade())
        await client.until(b"\r\n\r\n")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 404 "))
        await client.hang_up()

    async def test_bounded(self) -> None:
        """It takes a few connections and no more, and none of those the members have; it recovers."""
        service = self.start(admin=ANY)
        port = self.admin(service).endpoint.port
        clients = [await dial(port) for _ in range(MAX_CONNECTIONS)]
        for client in clients:
            client.transport.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.until(b"alive")
        self.assertEqual(service.listener.admission.open, 0)
        self.assertEqual((await self.ask(service))[0], NOT_READY)
        more = [await dial(port) for _ in range(MAX_CONNECTIONS)]
        self.assertEqual(await (await dial(port)).to_the_end(), b"")
        for client in (*clients, *more):
            await client.hang_up()
        while self.admin(service).door.doors:
            await self.turn()
        self.assertEqual(await self.ask(service), READY)

    def test_in_use(self) -> None:
        """An address that is taken ends the start, with the option; nothing is left open."""
        other, port = occupied()
        self.addCleanup(other.close)
        self.path.write_text("")
        unused = "choose another --admin"
        for endpoint, line in (
            (
                Endpoint("127.0.0.1", port),
                f"cannot listen on 127.0.0.1:{port}: another program listens there: stop it, or {unused}",
            ),
            (
                Endpoint("192.0.2.1", 0),
                f"cannot listen on 192.0.2.1:0: this machine does not have that address: {unused}",
            ),
            (
                Endpoint("", 0, str(self.path)),
                f"cannot listen on {self.path}: something that is no socket is there: remove it, or {unused}",
            ),
        ):
            service = MlesService(ServerConfig(port=0, cache=self.cache, admin=endpoint), reactor)
            self.addCleanup(self._stop, service)
            with self.assertRaises(BindError) as caught:
                service.privilegedStartService()
                service.startService()
            self.assertEqual(str(caught.exception), line)

    async def test_never_started(self) -> None:
        """One that was bound and not started gives its port back."""
        service = MlesService(ServerConfig(port=0, cache=self.cache, admin=ANY), reactor)
        service.privilegedStartService()
        self.assertEqual(service.not_ready(), ["not started"])
        await service.stopService()

    async def test_again(self) -> None:
        """A server can be stopped and started again, with its endpoint."""
        service = self.start(admin=ANY)
        await service.stopService()
        service.startService()
        self.assertEqual(await self.ask(service), READY)


class ReadyTests(AdminTestCase):
    """What keeps a server from being ready."""

    async def test_stopping(self) -> None:
        """From the beginning of the stop to its end it says that it is stopping, and that it lives."""
        service = self.start(admin=ANY)
        port = self.port(service)
        stubborn = await self.join(service, "stubborn")
        kept = await dial(self.admin(service).endpoint.port)
        stopped = service.stopService()
        self.assertEqual(await self.ask(service), STOPPING)
        self.assert_free(port)
        kept.transport.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await kept.until(b"alive")
        self.assertEqual(await self.ask(service), STOPPING)
        endpoint = self.admin(service).endpoint
        await stubborn.hang_up()
        await stopped
        await kept.to_the_end()
        self.assert_free(endpoint.port)
        self.assertEqual(service.not_ready(), ["stopping"])

    async def test_full(self) -> None:
        """With as many connections as there may be it wants no more of them; later it does again."""
        service = self.start(admin=ANY)
        service.listener.admission.max_connections = 1
        alice = await self.join(service, "alice")
        self.assertEqual(
            await self.ask(service),
            (NOT_READY, b"full: there are 1 connections, as many as there are descriptors for\n"),
        )
        await alice.hang_up()
        while service.listener.admission.open:
            await self.turn()
        self.assertEqual(await self.ask(service), READY)

    async def test_no_descriptors(self) -> None:
        """A process that can open nothing more says so."""
        service = self.start(admin=ANY)
        client = await dial(self.admin(service).endpoint.port)
        self.patch(server_module, "has_descriptors", lambda: False)
        client.transport.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.until(b"no descriptors left\n")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 503 "))
        await client.hang_up()

    async def test_certificates(self) -> None:
        """A domain without the certificate it is to have is told."""
        service = self.start_secure(domains=("example.org",), acme_directory="https://localhost:1/dir", admin=ANY)
        status, body = await self.ask(service)
        self.assertEqual((status, body.startswith(b"example.org has no valid certificate yet")), (NOT_READY, True))


class SlowTests(AdminTestCase):
    """Peers that do not come to the point, on a clock."""

    def setUp(self) -> None:
        super().setUp()
        self.fake = MemoryReactorClock()
        self.service = MlesService(ServerConfig(port=0, cache=self.cache, admin=ANY), self.fake)
        self.service.privilegedStartService()
        self.service.startService()

    def connect(self, data: bytes = b"") -> FakeTransport:
        """A connection, on which something has come."""
        door = self.admin(self.service).door.buildProtocol(None)
        assert isinstance(door, Door)
        peer = FakeTransport(door)
        peer.receive(data)
        return peer

    def test_slow_head(self) -> None:
        """A request that comes byte by byte is not waited for longer than on the door."""
        peer = self.connect(b"G")
        for _ in range(int(HEAD_SECONDS)):
            self.assertFalse(peer.lost)
            peer.receive(b"E")
            self.fake.advance(1)
        self.assertTrue(peer.lost)
        self.stop()

    def test_large_head(self) -> None:
        """A request without an end is refused."""
        peer = self.connect(b"GET / HTTP/1.1\r\nX: " + b"x" * 20000)
        self.assertIn(b" 431 ", peer.taken())
        peer.hang_up()
        self.stop()

    def test_end(self) -> None:
        """Who is still there at the very end is cut off after a second; no timer is left."""
        peer = self.connect()
        stopped = self.service.stopService()
        self.fake.advance(0)
        self.assertNoResult(stopped)
        self.fake.advance(admin._LAST_SECONDS)
        self.successResultOf(stopped)
        self.assertTrue(peer.lost)
        self.assertEqual(self.fake.getDelayedCalls(), [])

    def test_told_twice(self) -> None:
        """When the server is told twice to stop nobody is waited for."""
        peer = self.connect()
        stopped = self.service.stopService()
        self.fake.advance(0)
        self.service.abort()
        self.successResultOf(stopped)
        self.assertTrue(peer.lost)
        self.assertEqual(self.fake.getDelayedCalls(), [])

    def stop(self) -> None:
        """Stop the server."""
        stopped = self.service.stopService()
        self.fake.pump([0, 5, 5])
        self.successResultOf(stopped)
        self.assertEqual(self.fake.getDelayedCalls(), [])
        self.assertEqual((self.fake.getReaders(), self.fake.getWriters()), ([], []))
