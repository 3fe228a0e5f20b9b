"""Tests of Mles in a site that exists already: over twisted.web's own channel, in memory."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data
from twisted.web.util import DeferredResource

from mles_tx.service.config import ServerConfig
from mles_tx.service.server import MlesService
from tests.service.clients import AnyCertificate, dial, reactor
from tests.transport.certificates.making import make
from tests.transport.fakes import FakeTransport
from tests.wire import Frame, client_frame, close_of, header, read_frames, split_answer, upgrade

KIB = 1024

PAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class _Peer(FakeTransport):
    """A connection to the site that counts how it is read."""

    reads = True

    def pauseProducing(self) -> None:
        self.reads = False
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self.reads = True
        super().resumeProducing()


class MountTests(SynchronousTestCase):
    """A site with a page and, below /chat, a server without a port."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.service = MlesService(ServerConfig(listen=False), self.clock)
        self.service.startService()
        root = self.root = Resource()
        root.putChild(b"", Data(b"a page\n", "text/plain"))
        root.putChild(b"chat", self.service.resource())
        self.site = Site(root, reactor=self.clock)

    def connect(self) -> _Peer:
        """A connection to the site."""
        protocol: Any = self.site.buildProtocol(None)
        protocol._channel.callLater = self.clock.callLater
        return _Peer(protocol)

    def open(self) -> _Peer:
        """A connection that was upgraded."""
        peer = self.connect()
        peer.receive(upgrade(path="/chat"))
        head, rest = split_answer(peer.taken())
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "), head)
        self.assertEqual(rest, b"")
        return peer

    def join(self, uid: str, **more: Any) -> _Peer:
        """A member."""
        peer = self.open()
        peer.receive(header(uid, **more))
        return peer

    def frames(self, peer: _Peer) -> list[Frame]:
        """What it was sent since the last look."""
        return read_frames(peer.taken())

    def test_address(self) -> None:
        """A member's address is its peer's, or the one that a proxy tells which is trusted."""
        request = upgrade("X-Forwarded-For: 203.0.113.9, 198.51.100.1", path="/chat")
        self.connect().receive(request)
        connection: Any
        (connection,) = self.service.listener.websocket.connections
        self.assertEqual(connection.address, "192.168.1.1")  # the address of Twisted's transport in memory
        behind = MlesService(ServerConfig(listen=False, trusted_proxies=("192.168.0.0/16",)), self.clock)
        behind.startService()
        self.root.putChild(b"chat", behind.resource())
        self.connect().receive(request)
        (connection,) = behind.listener.websocket.connections
        self.assertEqual(connection.address, "198.51.100.1")

    def test_both_ways(self) -> None:
        """Members that came through the site talk to each other, in text and in bytes, a byte at a time as well."""
        alice, bob = self.join("alice", history=0), self.join("bob", history=0)
        alice.receive(client_frame(1, b"hello"))
        self.clock.advance(0)
        self.assertEqual(self.frames(bob), [Frame(1, b"hello")])
        bob.receive_by_byte(client_frame(2, b"\xff" * 300))
        self.clock.advance(0)
        self.assertEqual(self.frames(alice), [Frame(2, b"\xff" * 300)])
        self.assertEqual(self.frames(bob), [])

    def test_head_in_pieces(self) -> None:
        """A request that comes a byte at a time is upgraded."""
        peer = self.connect()
        peer.receive_by_byte(upgrade(path="/chat"))
        self.assertIn(b"HTTP/1.1 101 ", peer.taken())

    def test_first_frame_with_the_request(self) -> None:
        """What a client sends together with its request is not lost."""
        bob = self.join("bob", history=0)
        alice = self.connect()
        alice.receive(upgrade(path="/chat") + header("alice", history=0) + client_frame(1, b"at once"))
        self.clock.advance(0)
        self.assertEqual(self.frames(bob), [Frame(1, b"at once")])

    def test_page_that_comes_late(self) -> None:
        """Where the site first finds out who asks, what a client has sent meanwhile is not lost, and it is read on."""
        found: Deferred[Resource] = Deferred()
        self.root.putChild(b"late", DeferredResource(found))
        bob = self.join("bob", history=0)
        alice = self.connect()
        message = b"x" * 256 * KIB
        alice.receive(upgrade(path="/late"))
        for piece in (header("alice", history=0), client_frame(2, message), client_frame(1, b"behind it")):
            alice.receive(piece)
        self.assertFalse(alice.reads)
        self.assertEqual(alice.taken(), b"")
        found.callback(self.service.resource())
        self.assertTrue(alice.reads)
        self.clock.advance(0)
        self.assertTrue(self.frames(bob) == [Frame(2, message), Frame(1, b"behind it")])

    def test_after_a_page(self) -> None:
        """A connection that has fetched a page can be upgraded, also when the request came with that for the page."""
        for pieces in ((PAGE, upgrade(path="/chat")), (PAGE + upgrade(path="/chat"),)):
            peer = self.connect()
            for piece in pieces:
                peer.receive(piece)
            answers = peer.taken()
            self.assertTrue(answers.startswith(b"HTTP/1.1 200 OK\r\n"), answers)
            self.assertIn(b"a page\nHTTP/1.1 101 ", answers)
            peer.receive(header("alice", f"after {len(pieces)}") + client_frame(9, b"joined"))
            self.assertEqual(self.frames(peer), [Frame(10, b"joined")])

    def test_no_upgrade(self) -> None:
        """A browser that opens the address is told what it is for, and its connection goes on."""
        peer = self.connect()
        for more in (b"", b"Upgrade: h2c\r\n"):
            peer.receive(b"GET /chat HTTP/1.1\r\nHost: localhost\r\n" + more + b"\r\n")
            head, body = split_answer(peer.taken())
            self.assertTrue(head.startswith(b"HTTP/1.1 426 "), head)
            self.assertIn(b"upgrade: websocket", head.lower())
            self.assertIn(b"WebSocket", body)
        peer.receive(PAGE)
        self.assertTrue(peer.taken().endswith(b"\r\n\r\na page\n"))

    def test_refused_handshakes(self) -> None:
        """A handshake that is none, or not for Mles, is refused as on a port of our own, and the connection ends."""
        for request in (
            upgrade(path="/chat", protocol=None),
            upgrade(path="/chat", protocol="chat"),
            upgrade(path="/chat").replace(b"Version: 13", b"Version: 12"),
            upgrade(path="/chat").replace(b"GET", b"POST"),
        ):
            peer = self.connect()
            peer.receive(request)
            self.assertRegex(peer.taken(), rb"^HTTP/1.1 4\d\d ")
            peer.hang_up()
        self.assertEqual(self.service.metrics().active_connections, 0)

    def test_any_origin(self) -> None:
        """Pages of any origin may connect: the site decides who reaches the address."""
        peer = self.connect()
        peer.receive(upgrade("Origin: https://elsewhere.example", path="/chat"))
        self.assertIn(b"HTTP/1.1 101 ", peer.taken())

    def test_other_pages(self) -> None:
        """While members talk the site's other pages are served as ever."""
        self.join("alice")
        peer = self.connect()
        peer.receive(PAGE)
        self.assertTrue(peer.taken().startswith(b"HTTP/1.1 200 OK"))
        peer.receive(PAGE.replace(b"GET /", b"GET /nothing"))
        self.assertTrue(peer.taken().startswith(b"HTTP/1.1 404 "))

    def test_slow_member(self) -> None:
        """A member that takes nothing gets nothing more until it does, and then everything, in order."""
        slow, talker = self.join("slow", history=0), self.join("talker", history=0)
        slow.full = True
        for number in range(10):
            talker.receive(client_frame(2, bytes((number,)) * 64 * KIB))
            self.clock.advance(0)
        begun = slow.taken()
        self.assertLess(len(begun), 3 * 64 * KIB)
        slow.drained()
        self.assertEqual(
            [(frame.payload[0], len(frame.payload)) for frame in read_frames(begun + slow.taken())],
            [(number, 64 * KIB) for number in range(10)],
        )

    def test_slow_member_is_cut(self) -> None:
        """A member that takes nothing at all is cut off like any other."""
        slow, talker = self.join("slow", history=0), self.join("talker", history=0)
        slow.full = True
        for _ in range(3):
            talker.receive(client_frame(2, b"x" * 64 * KIB))
            self.clock.advance(0)
        for _ in range(20):
            self.clock.advance(5)
            talker.receive(client_frame(10))
        self.assertTrue(slow.aborted)
        self.assertFalse(talker.aborted)

    def test_too_fast(self) -> None:
        """A member that sends more than its rate is not read for a while, and read on afterwards."""
        fast = self.join("fast")
        self.assertTrue(fast.reads)
        fast.receive(client_frame(1, b"x") * 700)
        self.assertFalse(fast.reads)
        self.clock.advance(5)
        self.assertTrue(fast.reads)

    def test_no_idle_timeout(self) -> None:
        """The site's time limit for idle connections does not end members that answer pings."""
        alice = self.join("alice")
        for _ in range(30):
            self.clock.advance(24)
            alice.receive(client_frame(10))
        self.assertFalse(alice.lost or alice.finished)

    def test_connection_lost(self) -> None:
        """A member whose connection is gone is one no more, and its uid is free."""
        self.join("alice").hang_up()
        self.assertEqual(self.service.metrics().active_connections, 0)
        self.assertEqual(list(self.service.channels.registry.members), [])
        again = self.join("alice")
        again.receive(client_frame(9, b"joined"))
        self.assertEqual(self.frames(again)[-1], Frame(10, b"joined"))

    def test_closing_handshake(self) -> None:
        """A member that says goodbye is answered, and its connection is closed."""
        alice = self.join("alice", history=0)
        alice.receive(client_frame(8, b"\x03\xe8"))
        self.assertEqual(close_of(self.frames(alice)[0])[0], 1000)
        self.assertTrue(alice.finished)
        alice.hang_up()
        self.assertEqual(self.service.metrics().active_connections, 0)

    def test_stop(self) -> None:
        """When the server is stopped its members are told; the site's pages go on, and no timer is left."""
        alice = self.join("alice", history=0)
        stopped: Deferred[None] = self.service.stopService()
        self.assertEqual(close_of(self.frames(alice)[0]), (1001, "server is stopping"))
        self.assertNoResult(stopped)
        alice.receive(client_frame(8, b"\x03\xe9"))
        alice.hang_up()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        peer = self.connect()
        peer.receive(PAGE)
        self.assertTrue(peer.taken().startswith(b"HTTP/1.1 200 OK"))


class SecureMountTests(TestCase):
    """A site with TLS of Twisted's own, on a real port."""

    async def test_over_tls(self) -> None:
        """Members come in over TLS, hear each other, and more than the connection takes at once."""
        service = MlesService(ServerConfig(listen=False, rate_limit=0), reactor)
        service.startService()
        self.addCleanup(service.stopService)
        root = Resource()
        root.putChild(b"chat", service.resource())
        made = make("localhost")
        options = PrivateCertificate.loadPEM(made.certificate_pem + made.key_pem).options()
        port = reactor.listenTCP(0, TLSMemoryBIOFactory(options, False, Site(root)), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        alice, bob = [await dial(port.getHost().port, AnyCertificate("localhost")) for _ in range(2)]
        for uid, client in (("alice", alice), ("bob", bob)):
            client.transport.write(upgrade(path="/chat") + header(uid, history=0) + client_frame(9, b"joined"))
            await client.until(b"joined")
        bob.received = b""
        for number in range(40):
            alice.transport.write(client_frame(2, bytes((number,)) * 64 * KIB))
        alice.transport.write(client_frame(1, b"the last"))
        await bob.until(b"the last")
        messages = [frame.payload[0] for frame in read_frames(bob.received)]
        self.assertEqual(messages, [*range(40), ord("t")])
        await alice.hang_up()
        await bob.hang_up()
