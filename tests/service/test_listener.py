"""Everything between the sockets and the channels: a whole server, with real sockets on loopback or on a clock."""

import contextlib
import gzip
import os
import stat
from pathlib import Path
from typing import Any, ClassVar

from cryptography.x509 import Certificate
from twisted.internet.task import deferLater

from mles_tx.channels.history import MemoryHistory
from mles_tx.service.binding import DRAIN_SECONDS
from mles_tx.service.config import ServerConfig
from mles_tx.service.pages import bundled_pages
from mles_tx.service.resources import descriptor_limit, upstreams_for
from mles_tx.service.server import MlesService
from mles_tx.transport import port, websocket
from mles_tx.transport.certificates.names import names_of
from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.port import BindError, has_ipv6
from mles_tx.web.routes import Route
from tests.descriptors import descriptors
from tests.protocol.proxyheaders import LOCAL, v1, v2
from tests.transport.certificates.making import make
from tests.transport.fakes import FakeTransport
from tests.transport.hellos import (
    ALERT,
    BAD_SUITES,
    ECDSA_SUITES,
    FATAL,
    HANDSHAKE,
    PROTOCOL_VERSION,
    SERVER_HELLO,
    TLS_1_1,
    TLS_1_2,
    client_hello,
)
from tests.web.proxying import Peer
from tests.wire import client_frame, close_of, header, read_frames, upgrade

from .clients import AnyCertificate, dial, get, reactor
from .servers import FOUND, NOT_FOUND, DrainTestCase, ServerTestCase, logged, occupied


class LocalServerTests(ServerTestCase):
    """A server on a laptop: plain HTTP and WebSocket on loopback."""

    async def test_page(self) -> None:
        """Started, it shows its page on a free port of the loopback addresses."""
        service = self.start()
        page = (bundled_pages() / "index.html").read_bytes()
        port = self.port(service)
        self.assertGreater(port, 0)
        for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"127.0.0.1:{port}", f"[::1]:{port}"):
            self.assertEqual((host, *await get(port, host=host)), (host, FOUND, page))
        self.assertEqual((await get(port, host="example.org"))[0], NOT_FOUND)
        self.assertEqual((await get(port, "/missing"))[0], NOT_FOUND)

    def test_addresses(self) -> None:
        """It listens on the same port of both loopback addresses, and on no other address."""
        service = self.start()
        hosts = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]
        self.assertEqual(service.listener.addresses, [(host, self.port(service)) for host in hosts])

    def test_without_ipv6(self) -> None:
        """On a machine without IPv6 the other loopback address is enough."""
        self.patch(port, "has_ipv6", lambda: False)
        self.assertEqual([host for host, _ in self.start().listener.addresses], ["127.0.0.1"])

    async def test_own_pages(self) -> None:
        """With --wwwroot it shows the pages in the directory `localhost` there."""
        self.write("www/localhost/index.html", b"my own")
        service = self.start(wwwroot=self.directory / "www")
        for host in ("localhost", "127.0.0.1"):
            self.assertEqual(await get(self.port(service), host=host), (FOUND, b"my own"))

    async def test_stop_with_idle_connections(self) -> None:
        """Connections on which nobody says anything, or which are kept for another request, are closed at once."""
        service = self.start()
        silent = await dial(self.port(service))
        half = await dial(self.port(service))
        half.transport.write(b"GET / HT")
        kept = await dial(self.port(service))
        kept.transport.write(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await kept.until(b"\r\n\r\n")
        await service.stopService()
        for client in (silent, half, kept):
            await client.ended

    def test_port_in_use(self) -> None:
        """A port that is taken is told before anything has been started."""
        other, port = occupied()
        self.addCleanup(other.close)
        service = MlesService(ServerConfig(port=port, cache=self.cache), reactor)
        error = self.assertRaises(BindError, service.privilegedStartService)
        self.assertIn(f"cannot listen on 127.0.0.1:{port}: another program listens there", str(error))
        self.assertEqual((service.running, service.listener.addresses), (0, []))

    async def test_key(self) -> None:
        """With a key, who joins without it is refused."""
        service = self.start(key=b"s3cret")
        client = await dial(self.port(service))
        client.transport.write(upgrade())
        await client.until(b"\r\n\r\n")
        client.transport.write(header("alice"))
        await client.until(b"needs auth")
        await client.hang_up()
        member = await self.join(service, "alice", auth="2446b8f3f28ff385")
        await member.hang_up()

    async def test_foreign_pages(self) -> None:
        """A page of the web may not connect to a server on a laptop."""
        service = self.start()
        client = await dial(self.port(service))
        client.transport.write(upgrade("Origin: https://example.org"))
        self.assertTrue((await client.to_the_end()).startswith(b"HTTP/1.1 403 "))


class AdmissionTests(ServerTestCase):
    """Who is let in at all."""

    async def test_per_address(self) -> None:
        """An address that opens too many connections is hung up on; who was let in before stays."""
        service = self.start(per_ip_limit=2)
        alice = await self.join(service, "alice")
        self.assertEqual((await get(self.port(service)))[0], FOUND)
        turned_away = await dial(self.port(service))
        self.assertEqual(await turned_away.to_the_end(), b"")
        metrics = service.metrics()
        self.assertEqual((metrics.total_dropped_connections, metrics.dropped_by_ip), (1, {"127.0.0.1": 1}))
        alice.transport.write(client_frame(9, b"still here"))
        await alice.until(b"still here")
        await alice.hang_up()

    async def test_before_tls(self) -> None:
        """With TLS who is not let in is hung up on before the handshake."""
        service = self.start_secure(per_ip_limit=1)
        self.assertEqual((await get(self.port(service), tls=self.trust()))[0], FOUND)
        turned_away = await dial(self.port(service))
        self.assertEqual(await turned_away.to_the_end(), b"")

    async def test_full(self) -> None:
        """When there are too many at one time the next are told so, over TLS too, until somebody has gone."""
        for service, tls in ((self.start(), False), (self.start_secure(), True)):
            service.listener.admission.max_connections = 1
            alice = await self.join(service, "alice", self.trust() if tls else None)
            status, _ = await get(self.port(service), tls=self.trust() if tls else None)
            self.assertEqual(status, "HTTP/1.1 503 Service Unavailable")
            self.assertEqual(service.metrics().total_dropped_connections, 1)
            await alice.hang_up()
            while service.listener.admission.open:
                await deferLater(reactor, 0)
            self.assertEqual((await get(self.port(service), tls=self.trust() if tls else None))[0], FOUND)


class TrustedProxyTests(ServerTestCase):
    """A server behind a proxy."""

    async def say(self, port: int, data: bytes) -> bytes:
        """All that comes back to what is said."""
        client = await dial(port)
        client.transport.write(data)
        return await client.to_the_end()

    async def test_all_ports(self) -> None:
        """The header is for the redirect port as well, where an address has as many connections as on both together."""
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        trusted = {"trusted_proxies": ("127.0.0.1",), "proxy_protocol": True}
        service = self.start_secure(redirect_port=0, per_ip_limit=2, **trusted)
        assert service.redirect is not None
        port = service.redirect.addresses[0][1]
        self.assertTrue((await self.say(port, v1() + request)).startswith(b"HTTP/1.1 301 "))
        self.assertTrue((await self.say(port, v2() + request)).startswith(b"HTTP/1.1 301 "))
        self.assertEqual(await self.say(port, v1() + request), b"")
        self.assertEqual(await self.say(self.port(service), v1()), b"")
        with logged() as lines:
            self.assertEqual(await self.say(port, request), b"")
        self.assertEqual(len(lines), 1)
        self.assertIn("a connection from 127.0.0.1 does not begin with a PROXY header", lines[0])
        self.assertEqual(service.metrics().dropped_by_ip, {"192.0.2.7": 2, "127.0.0.1": 1})

    async def test_nobody_else(self) -> None:
        """Who is no trusted proxy is hung up on, whatever it says."""
        service = self.start(trusted_proxies=("192.0.2.0/24",), proxy_protocol=True)
        for data in (b"GET / HTTP/1.1\r\n\r\n", v1(), LOCAL):
            self.assertEqual(await self.say(self.port(service), data), b"")
        self.assertEqual(service.metrics().dropped_by_ip, {"127.0.0.1": 3})
        self.assertEqual(service.listener.admission.open, 0)

    async def test_full(self) -> None:
        """When there are too many connections the next are told so behind their header."""
        service = self.start(trusted_proxies=("127.0.0.1",), proxy_protocol=True)
        service.listener.admission.max_connections = 1
        first = await dial(self.port(service))
        first.transport.write(v1() + upgrade())
        await first.until(b"\r\n\r\n")
        answer = await self.say(self.port(service), v2() + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "))
        await first.hang_up()

    async def test_stop_within_header(self) -> None:
        """A server that stops waits for nobody who is in the middle of its header."""
        for start in (self.start, self.start_secure):
            service = start(trusted_proxies=("127.0.0.1",), proxy_protocol=True)
            clients = [await dial(self.port(service)) for _ in range(3)]
            for client, said in zip(clients, (b"", v1()[:9], v2()[:20]), strict=True):
                client.transport.write(said)
            while service.listener.admission.open < len(clients):
                await deferLater(reactor, 0)
            await service.stopService()
            for client in clients:
                await client.ended
            self.assertEqual(service.listener.admission.open, 0)

    async def test_default(self) -> None:
        """A trusted proxy without anything else: its word on clients is taken, and they have a limit."""
        service = self.start(trusted_proxies=("127.0.0.1",), per_ip_limit=1)
        answers = []
        for client in ("192.0.2.7", "192.0.2.7", "192.0.2.8"):
            answered = await dial(self.port(service))
            answered.transport.write(upgrade(f"X-Forwarded-For: {client}"))
            await answered.until(b"\r\n\r\n")
            answers.append(answered.received[9:12])
            await answered.hang_up()
        self.assertEqual(answers, [b"101", b"429", b"101"])
        self.assertEqual(service.metrics().dropped_by_ip, {"192.0.2.7": 1})


class DrainTests(DrainTestCase):
    """The end of a server whose peers do not go, on a clock."""

    def test_nobody_there(self) -> None:
        """Without connections it is over as soon as the ports are closed."""
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()

    def test_who_answers_is_not_waited_for(self) -> None:
        """As soon as the last member has answered it is over."""
        members = [self.member("alice"), self.member("bob")]
        stopped = self.service.stopService()
        self.reactor.advance(0)
        for member in members:
            self.assertNoResult(stopped)
            (*_, last) = read_frames(member.taken())
            self.assertEqual(close_of(last), (1001, "server is stopping"))
            member.receive(client_frame(8, last.payload[:2]))
            member.hang_up()
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()

    def test_who_does_not_answer_is_cut_off(self) -> None:
        """Members, half requests and silent connections that do not go are cut off after a while."""
        peers = [self.member("alice"), self.connect(), self.connect(b"GET / HTTP/1.1\r\n")]
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.reactor.advance(DRAIN_SECONDS - 0.5)
        self.assertEqual([peer.aborted for peer in peers], [False, False, False])
        self.assertNoResult(stopped)
        self.reactor.advance(0.5)
        self.assertEqual([peer.aborted for peer in peers], [True, True, True])
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()

    def test_abort(self) -> None:
        """Who does not want to wait any longer cuts the rest off."""
        self.patch(websocket, "CLOSE_SECONDS", 3600.0)
        peers = [self.member("alice"), self.connect()]
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.assertNoResult(stopped)
        self.service.listener.abort()
        self.assertEqual([peer.aborted for peer in peers], [True, True])
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()

    def test_what_was_said_arrives(self) -> None:
        """What a member says just before the end reaches the others before they are told."""
        alice, bob = self.member("alice"), self.member("bob")
        alice.receive(client_frame(1, b"last words"))
        stopped = self.service.stopService()
        self.reactor.advance(0)
        frames = read_frames(bob.taken())
        self.assertEqual([frame.payload for frame in frames if frame.opcode == 1], [b"last words"])
        self.assertEqual(close_of(frames[-1])[0], 1001)
        alice.hang_up()
        bob.hang_up()
        self.assertIsNone(self.successResultOf(stopped))

    def test_what_is_being_stored(self) -> None:
        """Where what was said is stored first, members are told when it was; not for ever, and not when it hurries."""
        self.patch(websocket, "CLOSE_SECONDS", 3600.0)
        member = self.member("alice")
        self.patch(MemoryHistory, "is_settled", False)
        stopped = self.service.stopService()
        self.reactor.pump([0.1] * 5)
        self.assertEqual(read_frames(member.taken()), [])
        self.service.listener.abort()
        self.assertEqual(close_of(read_frames(member.taken())[-1])[0], 1001)
        self.assertTrue(member.aborted)
        self.reactor.pump([0.1] * 10)
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()

    def test_what_cannot_be_stored(self) -> None:
        """When it takes too long members are told all the same."""
        member = self.member("alice")
        self.patch(MemoryHistory, "is_settled", False)
        stopped = self.service.stopService()
        self.reactor.pump([0.1] * 12)
        self.assertEqual(close_of(read_frames(member.taken())[-1])[0], 1001)
        member.hang_up()
        self.reactor.advance(0)
        self.assertIsNone(self.successResultOf(stopped))


class SpreadDrainTests(DrainTestCase):
    """The end of a server whose members another one takes in, on a clock."""

    fields: ClassVar[dict[str, Any]] = {"drain": 6}

    def closed(self, peers: list[FakeTransport]) -> list[tuple[int, str]]:
        """What those of some members were told who have just been; they hang up."""
        codes = []
        for peer in list(peers):
            last = [frame for frame in read_frames(peer.taken()) if frame.opcode == 8]
            if last:
                codes.append(close_of(last[0]))
                peer.receive(client_frame(8, last[0].payload[:2]))
                peer.hang_up()
                peers.remove(peer)
        return codes

    def test_spread(self) -> None:
        """First it is not ready any more, then nobody new gets in; members are told to come back, one by one."""
        members = [self.member(uid) for uid in ("alice", "bob", "carol")]
        idle = self.connect(b"GET / HT")
        self.assertEqual(self.service.not_ready(), [])
        stopped = self.service.stopService()
        self.assertEqual(self.service.not_ready(), ["stopping"])
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertTrue(idle.finished)
        idle.hang_up()
        for number in (2, 1, 0):
            self.assertNoResult(stopped)
            self.assertEqual((self.closed(members), len(members)), ([(1012, "server is restarting")], number))
            self.reactor.advance(2)
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()

    def test_who_does_not_answer_is_cut_off(self) -> None:
        """Each has the same time to answer from the moment it is told; half requests are waited for no longer."""
        members = [self.member(uid) for uid in ("alice", "bob")]
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.reactor.pump([1] * int(websocket.CLOSE_SECONDS))
        self.assertEqual(sorted(member.aborted for member in members), [False, True])
        self.assertNoResult(stopped)
        self.reactor.advance(3)
        self.assertEqual([member.aborted for member in members], [True, True])
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()

    def test_abort(self) -> None:
        """Who does not want to wait cuts it short: everybody has been told all the same."""
        self.patch(websocket, "CLOSE_SECONDS", 3600.0)
        members = [self.member(uid) for uid in ("alice", "bob", "carol")]
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.service.abort()
        for member in members:
            self.assertEqual(close_of(read_frames(member.taken())[-1])[0], 1012)
            self.assertTrue(member.aborted)
        self.assertIsNone(self.successResultOf(stopped))
        self.assert_all_gone()


class ProxyDrainTests(DrainTestCase):
    """The end of a server that passes requests on, on a clock."""

    fields: ClassVar[dict[str, Any]] = {"proxies": (Route("/api", "127.0.0.1", 3000),)}

    def request(self) -> tuple[FakeTransport, FakeTransport]:
        """A client whose request is with an upstream, and the upstream."""
        client = self.connect(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        factory: Any = self.reactor.tcpClients[-1][2]
        upstream = Peer(factory.buildProtocol(None))
        self.assertTrue(upstream.taken().startswith(b"GET /api/x HTTP/1.1\r\n"))
        return client, upstream

    def test_answer_comes_in_time(self) -> None:
        """What is being answered is waited for; then nothing is left, connections to upstreams included."""
        client, upstream = self.request()
        stopped = self.service.stopService()
        self.reactor.advance(0)
        upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.assertTrue(client.taken().endswith(b"\r\n\r\nok"))
        self.assertNoResult(stopped)
        client.hang_up()
        self.successResultOf(stopped)
        self.assertTrue(upstream.aborted)
        self.assert_all_gone()

    def test_answer_does_not_come(self) -> None:
        """What is not answered in time is cut off, at both ends."""
        client, upstream = self.request()
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.reactor.advance(DRAIN_SECONDS - 0.5)
        self.assertNoResult(stopped)
        self.reactor.advance(0.5)
        self.successResultOf(stopped)
        self.assertEqual((client.aborted, upstream.aborted), (True, True))
        self.assert_all_gone()

    def test_descriptors(self) -> None:
        """Connections to upstreams have their share of the descriptors, and clients have the rest."""
        without = MlesService(ServerConfig(port=0), self.reactor)
        self.assertIsNone(without.listener.door.relays)
        clients, fewer = (service.listener.admission.max_connections for service in (without, self.service))
        self.assertEqual(clients - fewer, upstreams_for(descriptor_limit()))
        self.service.reload(self.service.config)
        self.assertEqual(self.service.listener.admission.max_connections, fewer, "after SIGHUP as well")


class SecureServerTests(ServerTestCase):
    """A server with TLS and no certificate of its own."""

    async def test_self_signed(self) -> None:
        """Whoever was given the certificate can check it, and is connected under the server's name."""
        service = self.start_secure()
        client = await dial(self.port(service), self.trust(offered=(b"h2", b"http/1.1")))
        client.transport.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await client.until(b"HTTP/1.1 200 OK\r\n")
        certificate: Certificate = client.transport.getPeerCertificate().to_cryptography()
        self.assertEqual(names_of(certificate), ("localhost",))
        self.assertEqual(client.transport.negotiatedProtocol, b"http/1.1")
        await client.ended

    async def test_never_http_2(self) -> None:
        """Who offers HTTP/2 alone, or nothing, is served all the same, in HTTP/1.1."""
        service = self.start_secure()
        for offered in ((b"h2",), ()):
            client = await dial(self.port(service), self.trust(offered=offered))
            client.transport.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            await client.until(b"HTTP/1.1 200 OK\r\n")
            self.assertIsNone(client.transport.negotiatedProtocol)
            await client.ended

    async def test_foreign_host(self) -> None:
        """Pages are there for the server's own names alone."""
        service = self.start_secure(domains=("localhost", "other.test"))
        page = (bundled_pages() / "index.html").read_bytes()
        tls = self.trust
        self.assertEqual(await get(self.port(service), tls=tls()), (FOUND, page))
        self.assertEqual(await get(self.port(service), tls=tls(host="other.test"), host="other.test"), (FOUND, page))
        self.assertEqual((await get(self.port(service), tls=tls(), host="127.0.0.1"))[0], NOT_FOUND)

    async def test_members(self) -> None:
        """Members join over TLS, and are told when the server stops."""
        service = self.start_secure()
        member = await self.join(service, "alice", self.trust(), history=0)
        stopped = service.stopService()
        await member.until(b"stopping")
        self.assertEqual(close_of(read_frames(member.received)[-1]), (1001, "server is stopping"))
        member.transport.write(client_frame(8, (1001).to_bytes(2, "big")))
        await member.ended
        await stopped

    async def test_handshake_not_finished(self) -> None:
        """A connection in the middle of its handshake does not keep the server from stopping."""
        service = self.start_secure()
        client = await dial(self.port(service))
        client.transport.write(b"\x16\x03\x01\x02\x00\x01")
        await service.stopService()
        await client.ended

    async def test_old_tls(self) -> None:
        """Who speaks nothing newer than TLS 1.1 is told so, and cut off; with TLS 1.2 it goes on."""
        service = self.start_secure()
        client = await dial(self.port(service))
        client.transport.write(client_hello(TLS_1_1, (*ECDSA_SUITES, *BAD_SUITES)))
        answer = await client.to_the_end()
        self.assertEqual((answer[0], *answer[5:7]), (ALERT, FATAL, PROTOCOL_VERSION))
        client = await dial(self.port(service))
        client.transport.write(client_hello(TLS_1_2, tuple(ECDSA_SUITES)))
        await client.until(bytes((HANDSHAKE,)))
        self.assertEqual((client.received[0], client.received[5]), (HANDSHAKE, SERVER_HELLO))
        await client.hang_up()

    async def test_files(self) -> None:
        """The certificate and its key are kept, for the server's user alone."""
        self.start_secure()
        file = self.cache / "self-signed" / "localhost.pem"
        self.assertEqual(list(self.cache.rglob("*")), [file.parent, file])
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(file.parent.stat().st_mode), 0o700)

    async def test_kept(self) -> None:
        """The next start shows the same certificate, so that nobody has to trust another."""
        first = await self.shown(self.start_secure())
        self.assertEqual(await self.shown(self.start_secure()), first)

    async def test_broken_file(self) -> None:
        """A kept certificate that is broken keeps no server from starting: a new one takes its place."""
        file = self.write("cache/self-signed/localhost.pem", b"-----BEGIN PRIVATE KEY-----\nhalf of")
        shown = await self.shown(self.start_secure())
        self.assertEqual(names_of(shown), ("localhost",))
        self.assertIn(b"-----END CERTIFICATE-----", file.read_bytes())

    async def test_only_local_names(self) -> None:
        """All names of the server stand in the certificate, addresses too."""
        service = self.start_secure(domains=("localhost", "chat.internal", "127.0.0.1"))
        self.assertEqual(names_of(await self.shown(service)), ("localhost", "chat.internal", "127.0.0.1"))

    async def test_cache_that_cannot_be_written(self) -> None:
        """Where the certificate cannot be kept the server does not start, and once it is stopped nothing is open."""
        cache = self.write("file", b"") / "cache"
        config = ServerConfig(domains=("localhost",), interfaces=("127.0.0.1",), port=0, cache=cache)
        service = MlesService(config, reactor)
        before = descriptors()
        service.privilegedStartService()
        error = self.assertRaises(CertificateError, service.startService)
        self.assertEqual(str(error), f"--cache {cache}: Not a directory; give a directory that can be written to")
        self.assertEqual(service.listener.addresses, [])
        await service.stopService()
        self.assertEqual(descriptors(), before)
        parts = (service, service.channels, service.certificates, service.listener, service.housekeeping)
        self.assertEqual([part.running for part in parts], [0, 0, 0, 0, 0])

    async def test_cache_that_can_be_written_later(self) -> None:
        """A server that could not keep its certificate can be started once it can."""
        in_the_way = self.write("cache", b"")
        config = ServerConfig(domains=("localhost",), interfaces=("127.0.0.1",), port=0, cache=self.cache)
        service = MlesService(config, reactor)
        self.addCleanup(self._stop, service)
        service.privilegedStartService()
        self.assertRaises(CertificateError, service.startService)
        await service.stopService()
        in_the_way.unlink()
        service.startService()
        self.assertEqual((await get(self.port(service), tls=self.trust()))[0], FOUND)
        await service.stopService()


class OwnCertificateTests(ServerTestCase):
    """A server with the operator's certificates."""

    async def test_each_its_own(self) -> None:
        """Each domain is shown under its own certificate, the first one to whoever names none or a foreign one."""
        one, other = make("example.org"), make("*.example.net", "example.net")
        service = self.start_secure(
            domains=("example.org", "www.example.net", "example.net"),
            certificates=(self.files(one, "one"), self.files(other, "other")),
        )
        for name, made in (
            ("example.org", one),
            ("www.example.net", other),
            ("example.net", other),
            ("foreign.example", one),
            (None, one),
        ):
            self.assertEqual((name, await self.shown(service, name)), (name, made.certificate))
        self.assertFalse(self.cache.exists(), "none of our own is made")

    def test_files_come_first(self) -> None:
        """A file that cannot be used is told before anything is bound, with its option."""
        chain, key = self.files(make("example.org"), "one")
        missing = self.directory / "missing.pem"
        before = descriptors()
        for pair, message in (
            ((missing, key), f"--certificate {missing}: No such file or directory; give a file that can be read"),
            ((chain, missing), f"--private-key {missing}: No such file or directory; give a file that can be read"),
            ((key, key), f"--certificate {key}: no PEM certificate in this file"),
        ):
            config = ServerConfig(domains=("example.org",), certificates=(pair,), port=0)
            service = MlesService(config, reactor)
            error = self.assertRaises(CertificateError, service.privilegedStartService)
            self.assertEqual(str(error), message)
        self.assertEqual(descriptors(), before)

    async def test_expired(self) -> None:
        """An expired certificate is served, better than none, and the operator is warned."""
        with logged() as warnings:
            service = self.start_secure(
                domains=("example.org",), certificates=(self.files(make("example.org", days=-1), "old"),)
            )
        self.assertEqual(warnings, ["the certificate for example.org has expired: replace it"])
        self.assertEqual(names_of(await self.shown(service)), ("example.org",))

    async def test_for_somebody_else(self) -> None:
        """A domain that no certificate is for is served, and the operator is warned of what clients will do."""
        with logged() as warnings:
            service = self.start_secure(
                domains=("example.org", "www.example.org"), certificates=(self.files(make("example.org"), "one"),)
            )
        self.assertEqual(warnings, ["no certificate is for www.example.org: clients will refuse it"])
        self.assertEqual(names_of(await self.shown(service, "www.example.org")), ("example.org",))

    async def test_new_files(self) -> None:
        """Stopped and started, it shows the certificate that is in the files then."""
        files = self.files(make("example.org"), "one")
        service = self.start_secure(domains=("example.org",), certificates=(files,))
        await service.stopService()
        renewed = make("example.org")
        self.files(renewed, "one")
        service.startService()
        self.assertEqual(await self.shown(service), renewed.certificate)


class SitesTests(ServerTestCase):
    """Pages, as configured."""

    async def answer(self, service: MlesService, request: bytes, tls: Any = None) -> tuple[str, bytes]:
        """Head, in lower case, and body of the answer to a request."""
        client = await dial(self.port(service), tls)
        client.transport.write(request[:-2] + b"Connection: close\r\n\r\n")
        head, _, body = (await client.to_the_end()).partition(b"\r\n\r\n")
        return head.decode("latin-1").lower(), body

    async def test_cache(self) -> None:
        """What is sent is kept, compressed or not, as far as there is room; 0 switches that off."""
        text = b"a line of text\n" * 1000
        self.write("www/localhost/page.txt", text)
        os.utime(self.directory / "www/localhost/page.txt", (0, 0))
        for megabytes, entries in ((0, 0), (1, 2)):
            service = self.start(wwwroot=self.directory / "www", compression_cache=megabytes)
            for _ in range(2):
                plain = b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
                self.assertEqual((await self.answer(service, plain))[1], text)
                coded = plain[:-2] + b"Accept-Encoding: gzip\r\n\r\n"
                self.assertEqual(gzip.decompress((await self.answer(service, coded))[1]), text)
            self.assertEqual((megabytes, service.listener.bodies.counts().entries), (megabytes, entries))
            await service.stopService()

    async def test_quick(self) -> None:
        """The second time a small page is asked for it comes from memory, without its file being opened."""
        self.write("www/localhost/page.txt", b"a page")
        os.utime(self.directory / "www/localhost/page.txt", (0, 0))
        service = self.start(wwwroot=self.directory / "www")
        for _ in range(2):
            client = await dial(self.port(service))
            client.transport.write(b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await client.until(b"a page")
            await client.hang_up()
        self.assertEqual((service.listener.bodies.counts().hits, service.listener.bodies.counts().misses), (1, 1))

    async def test_files_at_one_time(self) -> None:
        """With --filelimit 1 a second file waits for the first."""
        for name in ("one", "two"):
            self.write(f"www/localhost/{name}.png", bytes(8_000_000))
        service = self.start(wwwroot=self.directory / "www", filelimit=1)
        clients = []
        for asked in (b"one", b"two"):
            client = await dial(self.port(service))
            client.transport.pauseProducing()
            client.transport.write(b"GET /%b.png HTTP/1.1\r\nHost: localhost\r\n\r\n" % asked)
            clients.append(client)
            await deferLater(reactor, 0.05)
        self.assertEqual([name.name for name in self.open_files()], ["one.png"])
        for client in clients:
            client.transport.resumeProducing()
        for client in clients:
            while not client.received.endswith(bytes(1000)) or len(client.received) < 8_000_000:
                await deferLater(reactor, 0.01)
            await client.hang_up()
        self.assertEqual(self.open_files(), [])

    def open_files(self) -> list[Path]:
        """The files of the site that are open."""
        opened = []
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                opened.append(link.readlink())
        return [path for path in opened if path.is_relative_to(self.directory / "www")]

    async def test_headers(self) -> None:
        """On TLS there are the headers for it, with --cors those that isolate pages; else none of them."""
        on_tls = {"x-content-type-options: nosniff", "referrer-policy: strict-origin-when-cross-origin"}
        isolation = {
            "cross-origin-opener-policy: same-origin",
            "cross-origin-embedder-policy: require-corp",
            "cross-origin-resource-policy: same-origin",
        }
        hsts = {"strict-transport-security: max-age=31536000"}
        authority = make("authority.example", common_name="An authority")
        signed = make("example.org", "localhost", common_name="example.org", issuer=authority)
        files = (self.files(signed, "signed"),)
        self.write("www/example.org/index.html", b"hello")
        public: dict[str, Any] = {"domains": ("example.org",), "interfaces": ("127.0.0.1",)}
        for fields, host, expected in (
            ({}, "localhost", set()),
            ({"cors": True}, "localhost", isolation),
            ({**public, "tls": False, "wwwroot": self.directory / "www"}, "example.org", set()),
            ({"domains": ("localhost",), "interfaces": ("127.0.0.1",)}, "localhost", on_tls),
            ({**public, "certificates": files, "wwwroot": self.directory / "www"}, "example.org", on_tls | hsts),
            ({**public, "certificates": files, "cors": True}, "example.org", on_tls | hsts | isolation),
        ):
            config: dict[str, Any] = dict(fields)
            service = self.start(**config)
            tls = AnyCertificate(host) if service.listener._config.speaks_tls else None
            request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            for _ in range(3):  # from the disk, and from memory
                head, _ = await self.answer(service, request, tls)
                found = set(head.split("\r\n")) & (on_tls | isolation | hsts)
                self.assertEqual((config, found), (config, expected))
                self.assertNotIn("content-security-policy", head)
            await service.stopService()

    async def test_misdirected(self) -> None:
        """On a connection that was opened for one domain another one is not served, also from memory."""
        for name in ("a.test", "b.test"):
            self.write(f"www/{name}/index.html", name.encode())
            os.utime(self.directory / "www" / name / "index.html", (0, 0))
        service = self.start_secure(domains=("a.test", "b.test"), wwwroot=self.directory / "www")
        for _ in range(2):
            for named, host, status in (
                ("a.test", "a.test", "200"),
                ("a.test", "b.test", "421"),
                ("a.test", "c.test", "404"),
                ("c.test", "a.test", "421"),
                (None, "a.test", "200"),
                ("127.0.0.1", "b.test", "200"),
            ):
                request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
                head, body = await self.answer(service, request, AnyCertificate(named))
                self.assertEqual((named, host, head[9:12]), (named, host, status))
                self.assertEqual(body == host.encode(), status == "200")

    async def test_stop_while_a_file_is_sent(self) -> None:
        """A download that is under way is cut off after the grace, its file closed, and nothing is left."""
        self.write("www/localhost/large.bin", bytes(8_000_000))
        service = self.start(wwwroot=self.directory / "www")
        client = await dial(self.port(service))
        client.transport.pauseProducing()
        client.transport.write(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not self.open_files():
            await deferLater(reactor, 0.01)
        stopped = service.stopService()
        service.listener.abort()  # what the grace ends with
        await stopped
        self.assertEqual((self.open_files(), service.listener.door.doors), ([], set()))
        client.transport.abortConnection()
        await client.ended

    async def test_stop_lets_a_file_be_sent(self) -> None:
        """A download whose client reads is sent to its end first."""
        self.write("www/localhost/large.bin", bytes(8_000_000))
        service = self.start(wwwroot=self.directory / "www")
        client = await dial(self.port(service))
        client.transport.write(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.until(b"\r\n\r\n")
        await service.stopService()
        self.assertEqual(len((await client.to_the_end()).partition(b"\r\n\r\n")[2]), 8_000_000)


class BehindProxyTests(ServerTestCase):
    """A server behind a proxy that speaks TLS."""

    async def test_plain(self) -> None:
        """It serves its domains on loopback, in plain HTTP, and makes no certificate."""
        self.write("www/example.org/index.html", b"from example.org")
        service = self.start(domains=("example.org", "example.net"), tls=False, wwwroot=self.directory / "www")
        self.assertEqual({host for host, _ in service.listener.addresses} - {"127.0.0.1", "::1"}, set())
        self.assertEqual(await get(self.port(service), host="example.org"), (FOUND, b"from example.org"))
        self.assertEqual((await get(self.port(service), host="localhost"))[0], NOT_FOUND)
        self.assertFalse(self.cache.exists())

    async def test_domain_without_pages(self) -> None:
        """A domain without a directory has no pages yet: the operator is told where they are looked for."""
        self.write("www/example.org/index.html", b"from example.org")
        with logged() as warnings:
            service = self.start(domains=("example.org", "example.net"), tls=False, wwwroot=self.directory / "www")
        directory = self.directory / "www" / "example.net"
        self.assertEqual(warnings, [f"{directory} is not a directory: example.net has no pages"])
        self.assertEqual((await get(self.port(service), host="example.net"))[0], NOT_FOUND)
        self.write("www/example.net/index.html", b"from example.net")
        self.assertEqual(await get(self.port(service), host="example.net"), (FOUND, b"from example.net"))

    def test_interfaces(self) -> None:
        """It listens where it is told to, and nowhere else."""
        service = self.start(domains=("example.org",), tls=False, interfaces=("127.0.0.2", "127.0.0.3"))
        self.assertEqual([host for host, _ in service.listener.addresses], ["127.0.0.2", "127.0.0.3"])
        self.assert_free(self.port(service))
