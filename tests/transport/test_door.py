"""The door: request heads, who gets the connection, and how long each of them may take."""

import gc
import weakref
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport

from mles_tx.channels.member import STALL_SECONDS
from mles_tx.metrics import Metrics
from mles_tx.protocol.forwarded import TrustedProxies
from mles_tx.transport.admission import Admission
from mles_tx.transport.door import MAX_HEAD_BYTES, MAX_LEAVE_LOOKS, MAX_STALL_LOOKS, MIN_STALL_BYTES, Door
from mles_tx.transport.doors import HANDSHAKE_SECONDS, HEAD_SECONDS, IDLE_SECONDS, LEAVE_SECONDS, DoorFactory
from mles_tx.transport.share import PIECE_BYTES, TurnShare
from tests.wire import header, split_answer, upgrade

from .doorways import GET, DoorTestCase
from .fakes import FakeTransport, Turns


class ProxyTests(DoorTestCase):
    """Clients that come through a proxy which is trusted."""

    def setUp(self) -> None:
        super().setUp()
        self.metrics = Metrics()
        self.admission = Admission(self.clock, self.metrics, 2, 60.0, trusted=TrustedProxies(["10.0.0.0/8"]))
        site = self.factory.site
        share = TurnShare(self.clock, 1_000_000)  # all in one turn
        self.factory = DoorFactory(
            self.clock, self.websocket, site, lambda: self.is_full, share=share, admission=self.admission
        )

    def come(self, *headers: str, host: str = "10.0.0.1") -> FakeTransport:
        """An upgrade, from an address."""
        peer = self.connect()
        peer.peerAddr = IPv4Address("TCP", host, 4711)
        peer.receive(upgrade(*headers))
        return peer

    def addresses(self) -> list[str | None]:
        """Whom the WebSocket connections belong to."""
        connections: Any = self.websocket.connections
        return sorted(connection.address for connection in connections)

    def test_address(self) -> None:
        """The connection belongs to the client that the proxy names, not to the proxy."""
        self.come("X-Forwarded-For: 198.51.100.1")
        self.come("x-forwarded-FOR: 203.0.113.9", "X-Forwarded-For:198.51.100.2, 10.1.1.1")
        self.assertEqual(self.addresses(), ["198.51.100.1", "198.51.100.2"])

    def test_invented(self) -> None:
        """What only looks like the proxy's header is not read, wherever it stands."""
        for line in (
            "X-Forwarded-For : 203.0.113.9",
            "X_Forwarded_For: 203.0.113.9",
            " X-Forwarded-For: 203.0.113.9",
            "X-Other: 1\nX-Forwarded-For: 203.0.113.9",
            "X-X-Forwarded-For: 203.0.113.9",
            "Forwarded: for=203.0.113.9",
        ):
            for lines in (("X-Forwarded-For: 198.51.100.1", line), (line, "X-Forwarded-For: 198.51.100.1")):
                self.come(*lines)
            self.assertNotIn("203.0.113.9", self.addresses())
            self.admission.sweep()
            self.clock.advance(60)

    def test_not_trusted(self) -> None:
        """What anybody else says about clients is not believed; without a word it is the proxy itself."""
        self.come("X-Forwarded-For: 198.51.100.1", host="192.0.2.7")
        self.come()
        self.assertEqual(self.addresses(), ["10.0.0.1", "192.0.2.7"])
        self.assertEqual(self.admission.addresses, 0)

    def test_no_admission(self) -> None:
        """Without proxies that are trusted the connection belongs to its peer."""
        self.factory.admission = None
        self.come("X-Forwarded-For: 198.51.100.1")
        self.assertEqual(self.addresses(), ["10.0.0.1"])

    def test_limit(self) -> None:
        """A client that opens too many connections is told when to come again; others of the proxy are let in."""
        for client, code, wait in (
            ("198.51.100.1", b"101", 0),
            ("198.51.100.1", b"101", 9.5),
            ("198.51.100.1", b"429", 0),
            ("198.51.100.2", b"101", 0),
            ("198.51.100.1, 10.2.2.2", b"429", 0),
        ):
            peer = self.come(f"X-Forwarded-For: {client}")
            answer = peer.taken()
            self.assertEqual((client, answer[9:12]), (client, code))
            self.assertEqual((peer.finished, b"\r\nRetry-After: 51\r\n" in answer), (code == b"429",) * 2)
            self.clock.advance(wait)
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {"198.51.100.1": 2})
        self.clock.advance(51)
        self.assertEqual(self.answers(self.come("X-Forwarded-For: 198.51.100.1")), [b"101"])

    def test_pages(self) -> None:
        """Pages are not counted, and an upgrade that comes behind them is, once."""
        peer = self.connect()
        peer.peerAddr = IPv4Address("TCP", "10.0.0.1", 4711)
        for _ in range(5):
            peer.receive(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"))
        self.assertEqual(self.answers(peer), [b"200"] * 5)
        self.assertEqual(self.admission.addresses, 0)
        peer.receive(upgrade("X-Forwarded-For: 198.51.100.1"))
        self.assertEqual(self.answers(peer), [b"101"])
        self.assertEqual(self.admission.seconds_to_wait("198.51.100.1"), 0.0)
        self.assertGreater(self.admission.seconds_to_wait("198.51.100.1"), 0.0)

    def test_refused_behind_pages(self) -> None:
        """A client over its limit is told so on a connection that has brought pages as well."""
        for _ in range(2):
            self.admission.seconds_to_wait("198.51.100.1")
        peer = self.connect()
        peer.peerAddr = IPv4Address("TCP", "10.0.0.1", 4711)
        peer.receive(GET + upgrade("X-Forwarded-For: 198.51.100.1"))
        self.assertEqual(self.answers(peer), [b"200", b"429"])
        self.assertTrue(peer.finished)
        peer.hang_up()
        self.assertEqual(self.factory.doors, set())


class HeadTests(DoorTestCase):
    """Reading a request head."""

    def test_web(self) -> None:
        """A request without an upgrade gets a page."""
        peer = self.connect()
        peer.receive(GET)
        head, body = split_answer(peer.taken())
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertEqual(b"<!doctype html>hello", body)
        self.assertFalse(peer.finished)

    def test_websocket(self) -> None:
        """A request for an upgrade gets a WebSocket, and what follows it is not lost."""
        peer = self.connect()
        peer.receive(upgrade() + header("alice"))
        self.assertTrue(peer.taken().startswith(b"HTTP/1.1 101 "))
        self.assertEqual(["alice"], [member.uid for member in self.websocket.registry.members])
        self.assertEqual(set(), self.factory.doors)

    def test_byte_by_byte(self) -> None:
        """A head that comes one byte at a time is the same head."""
        peer = self.connect()
        peer.receive_by_byte(GET)
        self.assertEqual([b"200"], self.answers(peer))
        peer.receive_by_byte(upgrade())
        self.assertEqual([b"101"], self.answers(peer))

    def test_size(self) -> None:
        """A head of 16 KiB is read; a larger one is refused, whole or without an end."""
        head = GET[:-2] + b"X-Padding: "
        fits = head + b"x" * (MAX_HEAD_BYTES - len(head) - 4) + b"\r\n\r\n"
        for request, code in (
            (fits, b"200"),
            (fits.replace(b"xx", b"xxx", 1), b"431"),
            (head + b"x" * MAX_HEAD_BYTES, b"431"),
        ):
            peer = self.connect()
            peer.receive(request)
            self.assertEqual([code], self.answers(peer))
            self.assertEqual(code != b"200", peer.finished)


class KeptAliveTests(DoorTestCase):
    """More than one request on a connection."""

    def test_pipelined(self) -> None:
        """Requests that come together are answered in order."""
        peer = self.connect()
        peer.receive(GET * 3 + GET.replace(b"localhost", b"elsewhere"))
        self.assertEqual([b"200", b"200", b"200", b"404"], self.answers(peer))

    def test_many_pipelined(self) -> None:
        """A thousand small requests in one read are answered."""
        peer = self.connect()
        peer.receive(GET * 1000)
        self.assertEqual([b"200"] * 1000, self.answers(peer))

    def test_upgrade_after_a_page(self) -> None:
        """A proxy may use a connection for a page first, and then for a WebSocket."""
        peer = self.connect()
        peer.receive(GET)
        peer.taken()
        peer.receive(upgrade() + header("alice"))
        self.assertEqual([b"101"], self.answers(peer))
        self.assertEqual(["alice"], [member.uid for member in self.websocket.registry.members])
        peer.hang_up()
        self.assertEqual([], list(self.websocket.registry.members))

    def test_upgrade_behind_a_late_answer(self) -> None:
        """An upgrade that comes while a page is being made waits for it."""
        peer = self.connect()
        peer.receive(GET.replace(b"localhost", b"late"))
        peer.receive(upgrade())
        peer.receive(header("alice"))
        self.assertEqual([], self.answers(peer))
        self.late.answer()
        self.assertEqual([b"200", b"101"], self.answers(peer))
        self.assertEqual(["alice"], [member.uid for member in self.websocket.registry.members])

    def test_upgrade_in_one_read_with_a_late_request(self) -> None:
        """The same when both come in one read."""
        peer = self.connect()
        peer.receive(GET.replace(b"localhost", b"late") + upgrade() + header("alice"))
        self.late.answer()
        self.assertEqual([b"200", b"101"], self.answers(peer))


class DeadlineTests(DoorTestCase):
    """How long a peer may take."""

    def test_handshake(self) -> None:
        """A TLS handshake that stalls is cut off; after a good one the head has its own time."""
        stalled, good = self.connect(ISSLTransport), self.connect(ISSLTransport)
        self.clock.advance(HANDSHAKE_SECONDS - 1)
        good.protocol.handshakeCompleted()
        self.clock.advance(2)
        self.assertTrue(stalled.aborted)
        self.assertFalse(good.aborted)
        good.receive(GET)
        self.assertEqual([b"200"], self.answers(good))

    def test_head(self) -> None:
        """A head that comes byte by byte has to be whole in time all the same."""
        peer = self.connect()
        for index in range(int(HEAD_SECONDS)):
            self.assertFalse(peer.aborted)
            peer.receive(GET[index : index + 1])
            self.clock.advance(1)
        self.assertTrue(peer.aborted)
        self.assertEqual(set(), self.factory.doors)

    def test_second_head(self) -> None:
        """So has the next one on the same connection."""
        peer = self.connect()
        peer.receive(GET)
        self.clock.advance(IDLE_SECONDS - 1)
        for index in range(int(HEAD_SECONDS)):
            self.assertFalse(peer.aborted)
            peer.receive(GET[index : index + 1])
            self.clock.advance(1)
        self.assertTrue(peer.aborted)

    def test_idle(self) -> None:
        """A connection on which no next request comes is closed, and cut off when the peer keeps it."""
        peer = self.connect()
        peer.receive(GET)
        self.clock.advance(IDLE_SECONDS + 1)
        self.assertTrue(peer.finished)
        self.assertFalse(peer.aborted)
        self.clock.advance(10)
        self.assertTrue(peer.aborted)

    def test_answer_that_is_not_taken(self) -> None:
        """A peer that takes nothing of an answer for a minute is cut off; one that does may take long."""
        for takes in (True, False):
            peer = self.connect()
            peer.receive(GET.replace(b"localhost", b"late"))
            peer.full = True
            self.late.requests.pop().write(b"x" * 100_000)
            self.clock.advance(50)
            if takes:
                peer.drained()
            self.clock.advance(11)
            self.assertEqual(not takes, peer.aborted)

    def test_answer_that_is_taken_slowly(self) -> None:
        """A phone that takes two kilobytes a second gets all that was written at one time; a byte a second is none."""
        for taken, cut in ((MIN_STALL_BYTES, False), (MIN_STALL_BYTES - 1, True)):
            peer = self.connect()
            peer.receive(GET.replace(b"localhost", b"late"))
            peer.full = True
            request = self.late.requests.pop()
            for _ in range(5):
                request.write(b"x" * 100_000)  # to go on writing gives no time
                peer.bytes_acknowledged += taken
                self.clock.advance(STALL_SECONDS)
            self.assertEqual(peer.aborted, cut)
            if not cut:
                request.finish()  # it waits still
                peer.bytes_acknowledged += taken
                self.clock.advance(STALL_SECONDS)
                self.assertFalse(peer.finished, "it is not idle")
                peer.drained()
                self.clock.advance(IDLE_SECONDS - 1)
                peer.receive(GET)
                self.assertEqual(self.answers(peer), [b"200", b"200"])

    def test_answer_from_memory_that_is_taken_slowly(self) -> None:
        """Nor is a connection idle while an answer that was there at once is on its way."""
        self.factory.quick = lambda head, name: b"HTTP/1.1 299 Quick\r\n\r\n"
        peer = self.connect()
        peer.full = True
        peer.receive(GET)
        for _ in range(3):
            peer.bytes_acknowledged += MIN_STALL_BYTES
            self.clock.advance(STALL_SECONDS)
        self.assertEqual((peer.finished, peer.aborted), (False, False))
        peer.drained()
        self.clock.advance(IDLE_SECONDS)
        self.assertTrue(peer.finished)

    def test_answer_without_an_end(self) -> None:
        """Who takes just enough does not keep its connection for ever; a piece that was taken whole begins anew."""
        peer = self.connect()
        peer.receive(GET.replace(b"localhost", b"late"))
        request = self.late.requests.pop()
        for _ in range(2):
            peer.full = True
            request.write(b"x" * 100_000)
            for _ in range(MAX_STALL_LOOKS - 1):
                peer.bytes_acknowledged += MIN_STALL_BYTES
                self.clock.advance(STALL_SECONDS)
            self.assertFalse(peer.aborted)
            peer.drained()
        peer.full = True
        request.write(b"x")
        for _ in range(MAX_STALL_LOOKS):
            self.assertFalse(peer.aborted)
            peer.bytes_acknowledged += MIN_STALL_BYTES
            self.clock.advance(STALL_SECONDS)
        self.assertTrue(peer.aborted)
        self.assertEqual(set(), self.factory.doors)

    def test_last_answer_that_is_taken_slowly(self) -> None:
        """A peer that still takes its last answer is waited for, one that takes nothing is not."""
        peer = self.connect()
        peer.receive(GET[:-2] + b"Connection: close\r\n\r\n")
        self.assertTrue(peer.finished)
        for _ in range(10):
            peer.bytes_acknowledged += 1
            self.clock.advance(LEAVE_SECONDS)
            self.assertFalse(peer.aborted)
        self.clock.advance(LEAVE_SECONDS)
        self.assertTrue(peer.aborted)

    def test_last_answer_without_an_end(self) -> None:
        """A peer that takes a byte now and then does not keep its connection for ever."""
        peer = self.connect()
        peer.receive(GET[:-2] + b"Connection: close\r\n\r\n")
        for _ in range(MAX_LEAVE_LOOKS):
            self.assertFalse(peer.aborted)
            peer.bytes_acknowledged += 1
            self.clock.advance(LEAVE_SECONDS)
        self.assertTrue(peer.aborted)

    def test_websocket_has_its_own(self) -> None:
        """Once it is a WebSocket, none of the door's deadlines runs."""
        peer = self.connect()
        peer.receive(upgrade())
        self.clock.advance(HEAD_SECONDS + 1)
        self.assertFalse(peer.aborted)


class _Relay:
    """Gives a connection back as soon as `.` has come."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.told: list[Any] = []

    def begin(self, head: bytes, rest: bytes) -> None:
        self.told.append(head)
        self.received(rest)

    def received(self, data: bytes) -> None:
        mine, dot, rest = data.partition(b".")
        self.told.append(mine)
        if dot:
            self.door.transport.write(b"HTTP/1.1 299 Relayed\r\n\r\n")
            self.door.answered(rest)

    def half_closed(self) -> None:
        self.told.append("half closed")

    def lost(self) -> None:
        self.told.append("lost")


class _Relays:
    """Takes everything below /relay."""

    def __init__(self) -> None:
        self.relays: list[_Relay] = []

    def takes(self, head: bytes) -> bool:
        return b" /relay" in head

    def relay(self, door: Door) -> _Relay:
        self.relays.append(_Relay(door))
        return self.relays[-1]


class RelayTests(DoorTestCase):
    """Requests that somebody else answers, with their bodies."""

    def setUp(self) -> None:
        super().setUp()
        self.relays = _Relays()
        self.factory.relays = self.relays
        self.post = GET.replace(b"GET /", b"POST /relay").replace(b"\r\n\r\n", b"\r\nContent-Length: 9999\r\n\r\n")

    def test_body(self) -> None:
        """A relay gets the head as it came, and everything behind it until it gives the connection back."""
        peer = self.connect()
        peer.receive(self.post[:30])
        peer.receive(self.post[30:] + b"a")
        peer.receive(b"b")
        self.assertEqual(self.relays.relays[0].told, [self.post, b"a", b"b"])
        self.clock.advance(1000)
        self.assertFalse(peer.aborted, "deadlines are the relay's business")
        peer.receive(b"c." + GET)
        self.assertEqual([b"299", b"200"], self.answers(peer))

    def test_in_between(self) -> None:
        """What it takes and what it does not may follow each other in one read, up to a WebSocket."""
        peer = self.connect()
        relayed = self.post + b"."
        peer.receive(GET + relayed + relayed + GET + relayed + upgrade() + header("alice"))
        self.assertEqual([b"200", b"299", b"299", b"200", b"299", b"101"], self.answers(peer))
        self.assertEqual(["alice"], [member.uid for member in self.websocket.registry.members])
        self.assertEqual([relay.told[1:] for relay in self.relays.relays], [[b""]] * 3)

    def test_upgrade(self) -> None:
        """It is asked before an upgrade becomes a WebSocket."""
        peer = self.connect()
        peer.receive(upgrade(path="/relay"))
        self.assertEqual(len(self.relays.relays), 1)
        self.assertEqual([], self.answers(peer))

    def test_not_taken(self) -> None:
        """Bodies are refused everywhere else."""
        peer = self.connect()
        peer.receive(self.post.replace(b"/relay", b"/other"))
        self.assertEqual([b"413"], self.answers(peer))

    def test_full(self) -> None:
        """Who is one too many does not get as far."""
        self.is_full = True
        peer = self.connect()
        peer.receive(self.post)
        self.assertEqual(([b"503"], []), (self.answers(peer), self.relays.relays))

    def test_lost(self) -> None:
        """A relay is told once when its connection is gone, by the peer's doing or by ours."""
        for end in (FakeTransport.hang_up, lambda peer: self.factory.abort_all()):
            peer = self.connect()
            peer.receive(self.post)
            end(peer)
            self.assertEqual(self.relays.relays[-1].told[2:], ["lost"])
            self.assertEqual(set(), self.factory.doors)

    def test_finish(self) -> None:
        """When the server ends, what is relayed is waited for, and closed then."""
        peer = self.connect()
        peer.receive(self.post)
        self.factory.finish_all()
        self.assertFalse(peer.finished)
        peer.receive(b"." + GET)
        self.assertEqual([b"299"], self.answers(peer))
        self.assertTrue(peer.finished)

    def test_half_close(self) -> None:
        """The end of what a peer sends is told to a relay that has asked for it, and is the end without one."""
        peer = self.connect()
        peer.receive(self.post)
        door = peer.protocol
        self.assertFalse(IHalfCloseableProtocol.providedBy(door))
        door.allow_half_close()
        self.assertTrue(IHalfCloseableProtocol.providedBy(door))
        door.readConnectionLost()
        self.assertEqual(self.relays.relays[0].told[2:], ["half closed"])
        self.assertFalse(peer.finished)
        door.leave()
        self.assertTrue(peer.finished)
        waiting = self.connect()
        waiting.receive(self.post)
        waiting.protocol.allow_half_close()
        waiting.protocol.leave()
        waiting.finished = False
        waiting.protocol.readConnectionLost()
        self.assertTrue(waiting.finished)


class _OwnAnswerTestCase(DoorTestCase):
    """A door that gives some answers by itself."""

    def setUp(self) -> None:
        super().setUp()
        self.long = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (3 * PIECE_BYTES)
        self.factory = DoorFactory(
            self.clock,
            self.websocket,
            self.factory.site,
            quick=self.quick,
            share=TurnShare(cast(Any, Turns(self.clock)), 1),
        )

    def quick(self, head: bytes, server_name: str | None) -> bytes | tuple[bytes, bytes] | None:
        return (self.long[:19], self.long[19:]) if b"/long" in head else b"short;" if b"/short" in head else None

    def turns(self, count: int) -> None:
        """Some turns of the reactor."""
        for _ in range(count):
            self.clock.advance(1)


class OwnAnswerTests(_OwnAnswerTestCase):
    """Answers that the door gives by itself, in several turns where they are long."""

    def test_long(self) -> None:
        """It comes whole, a piece in a turn, and others have their turns between."""
        one, two = self.connect(), self.connect()
        one.receive(GET.replace(b"/", b"/long", 1))
        two.receive(GET.replace(b"/", b"/short", 1))
        self.assertEqual((PIECE_BYTES, b""), (len(one.value()), two.taken()))
        self.turns(1)
        self.assertEqual((PIECE_BYTES * 2, b""), (len(one.value()), two.taken()))
        self.turns(1)
        self.assertEqual(b"short;", two.taken())
        self.turns(4)
        self.assertEqual(self.long, one.taken())

    def test_pipelined(self) -> None:
        """The next requests are answered behind it, in their order, and not read without end before."""
        peer = self.connect()
        peer.receive(GET.replace(b"/", b"/long", 1) + GET.replace(b"/", b"/short", 1))
        peer.receive(GET)
        self.assertEqual("paused", peer.producerState)
        self.turns(12)
        answer = peer.taken()
        self.assertTrue(answer.startswith(self.long + b"short;HTTP/1.1 200 OK"), answer[len(self.long) :])
        self.assertEqual("producing", peer.producerState)

    def test_stalled(self) -> None:
        """A peer that takes nothing of it gets no more, and is cut off in the end."""
        peer, slow = self.connect(), self.connect()
        for each in (peer, slow):
            each.full = True
            each.receive(GET.replace(b"/", b"/long", 1))
            self.turns(6)
            self.assertEqual(PIECE_BYTES, len(each.value()))
        slow.drained()
        self.turns(6)
        self.assertEqual(self.long, slow.taken())
        self.clock.advance(STALL_SECONDS)
        self.assertEqual((True, False), (peer.aborted, slow.aborted))

    def test_hangs_up(self) -> None:
        """A peer that goes in the middle of it takes nothing with it."""
        peer, other = self.connect(), self.connect()
        peer.receive(GET.replace(b"/", b"/long", 1))
        other.receive(GET.replace(b"/", b"/short", 1))
        peer.hang_up()
        self.turns(6)
        self.assertEqual(b"short;", other.taken())
        self.assertEqual({other.protocol}, self.factory.doors)

    def test_server_ends(self) -> None:
        """It is sent to its end before the connection is closed."""
        peer = self.connect()
        peer.receive(GET.replace(b"/", b"/long", 1))
        self.factory.finish_all()
        self.assertFalse(peer.finished)
        self.turns(6)
        self.assertEqual((self.long, True), (peer.taken(), peer.finished))


class GarbageTests(_OwnAnswerTestCase):
    """What a connection leaves behind."""

    def test_nothing_to_look_for(self) -> None:
        """A connection that is gone is gone at once, however it was used, and Python need not look for it."""
        gc.disable()
        self.addCleanup(gc.enable)
        closing = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        requests = {
            "silent": b"",
            "half": GET[:20],
            "waits": GET,
            "closes": closing,
            "closed and more": closing + GET,
            "with a body": GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"),
            "in chunks": GET.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            "wrong": b"GET\r\n\r\n",
            "late": GET.replace(b"localhost", b"late"),
            "long": GET.replace(b"/", b"/long", 1),
            "short": GET.replace(b"/", b"/short", 1),
            "upgraded": upgrade() + header("alice"),
            "refused": upgrade() + b"nothing of the kind",
        }
        for how, request in requests.items():
            peer = self.connect()
            if request:
                peer.receive(request)
            door = weakref.ref(peer.protocol)
            peer.hang_up()
            self.turns(1)
            self.late.requests.clear()
            del peer.protocol  # as Twisted's transports do
            self.assertIsNone(door(), how)
