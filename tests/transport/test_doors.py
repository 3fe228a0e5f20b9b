"""All doors of a port: their share of a turn, who is turned away, and the end."""

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.python.failure import Failure
from twisted.web.static import Data

from mles_tx.transport.door import MAX_HEAD_BYTES
from mles_tx.transport.doors import HEAD_SECONDS, IDLE_SECONDS, LEAVE_SECONDS, DoorFactory
from mles_tx.transport.share import TurnShare
from mles_tx.web.hosts import make_site
from tests.wire import header, split_answer, upgrade

from .doorways import GET, DoorTestCase
from .fakes import Turns


class TurnTests(DoorTestCase):
    """The web side's share of a turn: three answers from memory, or one of twisted.web."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[bytes, str | None]] = []
        self.body = b"x"
        turns: Any = Turns(self.clock)
        self.factory.share = TurnShare(turns, 3)
        self.factory.quick = self.quick

    def quick(self, head: bytes, server_name: str | None) -> bytes | None:
        """Answers what is not for `late` or `slow`."""
        self.asked.append((head, server_name))
        if b"late" in head or b"/slow" in head:
            return None
        return b"HTTP/1.1 299 %d\r\nContent-Length: %d\r\n\r\n%b" % (len(self.asked), len(self.body), self.body)

    def test_quick(self) -> None:
        """A whole head that is for the site is offered once, and what comes as an answer is sent as it is."""
        peer = self.connect()
        peer.receive_by_byte(GET)
        self.assertEqual(self.asked, [(GET, None)])
        self.assertEqual(peer.taken(), b"HTTP/1.1 299 1\r\nContent-Length: 1\r\n\r\nx")
        self.assertFalse(peer.finished)

    def test_mixed(self) -> None:
        """Requests on one connection are answered in order, whoever answers them; then it may be upgraded."""
        peer = self.connect()
        slow = GET.replace(b"GET /", b"GET /slow")
        peer.receive(GET + slow + GET + slow + GET + upgrade() + header("alice"))
        self.clock.pump([1] * 10)
        self.assertEqual(self.answers(peer), [b"299", b"200", b"299", b"200", b"299", b"101"])
        self.assertEqual(["alice"], [member.uid for member in self.websocket.registry.members])

    def test_upgrades_are_not_asked_for(self) -> None:
        """A head that asks for an upgrade is not offered, and does not wait."""
        first, second = self.connect(), self.connect()
        first.receive(GET * 5)
        second.receive(upgrade())
        self.assertEqual((self.answers(first), self.answers(second)), ([b"299"] * 3, [b"101"]))
        self.assertEqual(len(self.asked), 3)

    def test_name(self) -> None:
        """The host that was named when TLS began is told, and asked for once a connection."""
        peer: Any = self.connect()
        names = ["example.org"]
        peer.server_name = names.pop
        peer.receive(GET * 2)
        self.assertEqual([name for _, name in self.asked], ["example.org"] * 2)

    def test_more_than_a_turn(self) -> None:
        """More requests than a turn has room for wait for the next ones, connection after connection, in order."""
        peers = [self.connect() for _ in range(7)]
        for peer in peers:
            peer.receive(GET)
        order = []
        for _ in range(3):
            order.append([bool(self.answers(peer)) for peer in peers].count(True))
            self.clock.advance(1)
        self.assertEqual(order, [3, 3, 1])

    def test_fair(self) -> None:
        """Who has sent a hundred requests does not keep the one that comes after it waiting for all of them."""
        greedy, modest = self.connect(), self.connect()
        greedy.receive(GET * 100)
        modest.receive(GET)
        self.assertEqual((len(self.answers(greedy)), self.answers(modest)), (3, []))
        self.clock.advance(1)
        self.assertEqual(self.answers(modest), [b"299"])
        self.clock.pump([1] * 100)
        self.assertEqual(len(self.answers(greedy)), 97)

    def test_what_costs_more(self) -> None:
        """An answer of twisted.web counts more than one from memory."""
        slow = GET.replace(b"GET /", b"GET /slow")
        peers = [self.connect() for _ in range(3)]
        for peer in peers:
            peer.receive(slow)
        self.assertEqual([self.answers(peer) for peer in peers], [[b"200"], [], []])
        self.clock.advance(1)
        self.assertEqual([self.answers(peer) for peer in peers], [[], [b"200"], []])

    def test_vanishes(self) -> None:
        """A peer that vanishes while it waits is not answered, and takes nobody's place."""
        self.connect().receive(GET * 3)
        gone, other = self.connect(), self.connect()
        gone.receive(GET)
        other.receive(GET)
        gone.hang_up()
        self.clock.advance(1)
        self.assertEqual((gone.taken(), self.answers(other)), (b"", [b"299"]))
        self.assertEqual(len(self.asked), 4)
        self.assertNotIn(gone.protocol, self.factory.doors)

    def test_is_not_read(self) -> None:
        """Who waits and says more is not read until its turn has come; nothing of it is lost."""
        self.connect().receive(GET * 3)
        peer = self.connect()
        peer.receive(GET)
        self.assertEqual(peer.producerState, "producing")
        peer.receive(GET[:10])
        self.assertEqual(peer.producerState, "paused")
        self.clock.advance(1)
        self.assertEqual(peer.producerState, "producing")
        peer.receive(GET[10:])
        self.clock.advance(1)
        self.assertEqual(self.answers(peer), [b"299", b"299"])

    def test_deadline(self) -> None:
        """Who has sent its head in time is in time, though its turn comes late."""
        peer = self.connect()
        for _ in range(3):
            self.factory.share.take()
        for _ in range(40):
            self.factory.share.run(lambda: None)
        peer.receive(GET)
        self.clock.pump([1] * 20)
        self.assertFalse(peer.aborted)
        self.assertEqual(self.answers(peer), [b"299"])

    def test_stalled(self) -> None:
        """A peer that takes nothing is not answered again before it does, however much it asks for."""
        peer = self.connect()
        peer.receive(GET)
        peer.taken()
        peer.full = True
        peer.receive(GET * 50)
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.answers(peer)), 1)
        self.assertEqual(peer.producerState, "paused")
        peer.drained()
        self.clock.pump([1] * 50)
        self.assertEqual(len(self.answers(peer)), 49)
        self.assertEqual(peer.producerState, "producing")

    def test_stalls_for_good(self) -> None:
        """A peer that never takes its answer is cut off, and what it asked for is forgotten."""
        peer = self.connect()
        peer.receive(GET)
        peer.full = True
        peer.receive(GET * 50)
        self.clock.pump([1] * int(IDLE_SECONDS + LEAVE_SECONDS + 2))
        self.assertTrue(peer.aborted)
        self.assertEqual(len(self.asked), 2)
        self.assertEqual(set(), self.factory.doors)

    def test_late_answer(self) -> None:
        """What comes behind a request that takes long waits for it, and then for its turn."""
        peer = self.connect()
        peer.receive(GET.replace(b"localhost", b"late") + GET * 5)
        self.clock.advance(1)
        self.assertEqual(self.answers(peer), [])
        self.late.answer()
        self.clock.pump([1] * 5)
        self.assertEqual(self.answers(peer), [b"200"] + [b"299"] * 5)

    def test_told_to_go(self) -> None:
        """When the server ends, who waits for its turn is closed, and no timer is left."""
        self.connect().receive(GET * 3)
        peer = self.connect()
        peer.receive(GET)
        self.factory.finish_all()
        self.assertTrue(peer.finished)
        self.clock.advance(1)
        self.assertEqual(self.answers(peer), [])
        self.factory.abort_all()
        self.factory.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stop(self) -> None:
        """Stopped with work waiting, nothing is left."""
        self.connect().receive(GET * 10)
        self.factory.abort_all()
        self.factory.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(set(), self.factory.doors)


class SurplusTests(DoorTestCase):
    """The server is full."""

    def test_told(self) -> None:
        """Who comes when the server is full is told so, and when to try again, whatever it asks for."""
        self.is_full = True
        for request in (GET, upgrade() + header("alice"), GET * 3):
            peer = self.connect()
            self.assertEqual(b"", peer.taken(), "nothing is said before the request has come")
            peer.receive(request)
            self.assertEqual(
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n",
                peer.taken(),
            )
            self.assertTrue(peer.finished)
            peer.hang_up()
        self.assertEqual([], list(self.websocket.registry.members))
        self.assertEqual((set(), set()), (self.factory.doors, self.websocket.connections))

    def test_decided_at_the_beginning(self) -> None:
        """Who was there before stays, and who came too early is not let in when somebody else goes."""
        early = self.connect()
        self.is_full = True
        late = self.connect()
        self.is_full = False
        after = self.connect()
        for peer, code in ((early, b"200"), (late, b"503"), (after, b"200")):
            peer.receive(GET)
            self.assertEqual([code], self.answers(peer))

    def test_early_connection_goes_on(self) -> None:
        """A connection from before is served on, request after request, and may become a WebSocket."""
        peer = self.connect()
        peer.receive(GET)
        self.is_full = True
        peer.receive(GET + upgrade())
        self.assertEqual([b"200", b"200", b"101"], self.answers(peer))

    def test_who_does_not_go(self) -> None:
        """Who says nothing, or does not hang up when it was told, is cut off."""
        self.is_full = True
        silent, told = self.connect(), self.connect()
        told.receive(GET)
        self.clock.advance(HEAD_SECONDS)
        self.assertEqual((True, True), (silent.aborted, told.aborted))
        self.assertEqual(set(), self.factory.doors)


class WithoutWebSocketTests(DoorTestCase):
    """A door that leads to a site alone, as on the redirect port."""

    def setUp(self) -> None:
        super().setUp()
        site = make_site({"localhost": Data(b"a page", "text/html")})
        self.factory = DoorFactory(self.clock, None, site, lambda: self.is_full, share=TurnShare(self.clock, 1_000_000))

    def test_upgrade(self) -> None:
        """Who asks for an upgrade gets what everybody gets, and the connection goes on."""
        peer = self.connect()
        peer.receive(upgrade())
        self.assertEqual(split_answer(peer.taken())[1], b"a page")
        peer.receive(upgrade().replace(b"localhost", b"elsewhere") + GET)
        self.assertEqual([b"404", b"200"], self.answers(peer))

    def test_limits(self) -> None:
        """Its limits are the same: a head's size and time, and how many there may be."""
        peer = self.connect()
        peer.receive(upgrade()[:-2] + b"X-Padding: " + b"x" * MAX_HEAD_BYTES)
        self.assertEqual([b"431"], self.answers(peer))
        slow = self.connect()
        slow.receive(upgrade()[:-2])
        self.is_full = True
        surplus = self.connect()
        surplus.receive(upgrade())
        self.assertEqual([b"503"], self.answers(surplus))
        self.clock.advance(HEAD_SECONDS)
        self.assertTrue(slow.aborted)


class EndTests(DoorTestCase):
    """The server ends."""

    def test_finish(self) -> None:
        """What waits for a request is closed, what is being answered is answered first."""
        idle, busy = self.connect(), self.connect()
        busy.receive(GET.replace(b"localhost", b"late"))
        self.factory.finish_all()
        self.assertTrue(idle.finished)
        self.assertFalse(busy.finished)
        self.late.answer()
        self.assertEqual([b"200"], self.answers(busy))
        self.assertTrue(busy.finished)

    def test_empty(self) -> None:
        """The end is told when the last connection is gone."""
        self.successResultOf(self.factory.when_empty())
        peer = self.connect()
        done = self.factory.when_empty()
        self.assertNoResult(done)
        peer.hang_up()
        self.successResultOf(done)

    def test_abort(self) -> None:
        """All connections can be ended at once, and no timer is left."""
        peers = [self.connect(), self.connect(ISSLTransport), self.connect()]
        peers[2].receive(GET)
        self.factory.abort_all()
        self.assertEqual([True] * 3, [peer.aborted for peer in peers])
        self.factory.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_lost_before_anything(self) -> None:
        """A peer that hangs up without a word is forgotten."""
        peer = self.connect()
        peer.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(set(), self.factory.doors)
