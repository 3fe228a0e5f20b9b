"""The share of a turn for frames that are parsed one by one."""

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.closing import CloseReason
from mles_tx.transport.origins import any_origin
from mles_tx.transport.parsing import ParseShare
from mles_tx.transport.websocket import WebSocketFactory
from tests import examples
from tests.streams import cut, cuts, streams
from tests.wire import client_frame, header, upgrade

from .peers import ConnectionTestCase, Peer
from .recording import Recorder, Wire

_FLOOD = client_frame(1, b"", final=False) + client_frame(0, b"", final=False) * 2700


class _Turns(Clock):
    """A clock whose turns are ended one by one: another goes on until nothing is due."""

    def __init__(self) -> None:
        super().__init__()
        self._due: list[Callable[[], Any]] = []
        self.turns = 0

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: N802
        return super().callLater(delay, self._due.append, partial(callable, *args, **kwargs))

    def end_turn(self, seconds: float = 0.0) -> None:
        """What is due now is called; what that asks for is not."""
        self.advance(seconds)
        due, self._due = self._due, []
        for call in due:
            call()
        self.turns += 1


class _Worker:
    """Has something to do that takes some steps."""

    def __init__(self, share: ParseShare, steps: int) -> None:
        self._share = share
        self.left = steps

    def go_on(self) -> None:
        while self.left:
            if not self._share.take():
                self._share.wait(self)
                return
            self.left -= 1


class ParseShareTests(SynchronousTestCase):
    """The allowance and the row."""

    def setUp(self) -> None:
        self.clock = _Turns()
        self.share = ParseShare(self.clock, 200)
        self.addCleanup(self.share.stop)

    def workers(self, *steps: int) -> list[_Worker]:
        """Some who have begun in this turn."""
        workers = [_Worker(self.share, number) for number in steps]
        for worker in workers:
            worker.go_on()
        return workers

    def left(self, workers: list[_Worker]) -> list[int]:
        """What each has still to do."""
        return [worker.left for worker in workers]

    def test_all_together(self) -> None:
        """However many there are, a turn has no more steps, and everybody is done after as many turns as it takes."""
        workers = self.workers(*[1000] * 5)
        before = 5000
        self.assertEqual(sum(self.left(workers)), before - 200)
        while any(self.left(workers)):
            before = sum(self.left(workers))
            self.clock.end_turn()
            self.assertEqual(sum(self.left(workers)), before - 200)
        self.assertEqual(self.clock.turns, 24)

    def test_fair(self) -> None:
        """Who has little to do does not wait until the others have done all they have."""
        workers = self.workers(10_000, 10_000, 2)
        self.clock.end_turn()
        self.assertEqual(workers[2].left, 0)
        self.clock.end_turn()
        self.assertLess(abs(workers[0].left - workers[1].left), 200 + 2 * 64)

    def test_newcomers(self) -> None:
        """Who comes while others wait takes what they leave of the turn, and then stands behind them."""
        first = self.workers(300)
        self.clock.end_turn()
        self.assertEqual(self.left(first), [0])
        later = self.workers(150)
        self.assertEqual(self.left(later), [50])

    def test_now_and_then(self) -> None:
        """Frames that come now and then never wait, and leave no timer."""
        for _ in range(100):
            self.assertEqual(self.left(self.workers(7)), [0])
            self.clock.end_turn(0.01)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_forgotten(self) -> None:
        """Who does not wait any more is not called."""
        workers = self.workers(300, 300)
        for _ in range(2):
            self.share.forget(workers[0])
        self.clock.end_turn()
        self.assertEqual(self.left(workers), [100, 100])

    def test_stop(self) -> None:
        """No timer is left behind."""
        self.workers(300)
        self.share.stop()
        self.share.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SameTests(SynchronousTestCase):
    """What comes of a stream does not depend on how it is spread over turns."""

    def open(self, steps: int) -> tuple[Recorder, Wire]:
        """A connection whose upgrade was answered."""
        self.clock = Clock()
        factory = WebSocketFactory(self.clock, any_origin)
        factory.protocol = Recorder
        factory.parsing = ParseShare(self.clock, steps)
        connection = factory.buildProtocol(None)
        assert isinstance(connection, Recorder)
        wire = Wire(connection)
        wire.receive(upgrade())
        connection.heard.clear()
        return connection, wire

    def outcome(self, pieces: list[bytes], steps: int, ends: str) -> list[tuple[object, ...]]:
        """All that comes of a stream; where the peer ends at once the answers to it are left out."""
        connection, wire = self.open(steps)
        for number, piece in enumerate(pieces):
            wire.receive(piece)
            if number % 3 == 2:
                self.clock.advance(0)
        if ends == "at once":
            wire.hang_up()
        self.clock.advance(0)
        if ends == "later" and connection.failedByMe:
            # What is read behind a fault ends it at once; what was read with it waits for the peer's goodbye.
            connection.heard = [what for what in connection.heard if what[0] != "finished"]
            wire.hang_up()
        elif ends == "later":
            connection.heard.append((connection.state, wire.finished, wire.aborted))
            if connection.state != connection.STATE_CLOSED:  # else it is of no use to anybody
                connection.heard.append((connection.current_frame is None, connection.data))
            wire.hang_up()
        self.clock.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        if ends == "at once":
            return [what for what in connection.heard if what[0] in ("message", "ended")]
        return connection.heard

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(300))
    @given(data=streams(), lengths=cuts(), steps=st.integers(1, 5), ends=st.sampled_from(("later", "at once")))
    def test_any_stream(self, data: bytes, lengths: tuple[int, ...], steps: int, ends: str) -> None:
        """Whatever is sent, however it is cut, and however little of it a turn has time for, the same comes of it."""
        pieces = cut(data, lengths)
        self.assertEqual(self.outcome(pieces, steps, ends), self.outcome(pieces, 1_000_000, ends))


class FloodTests(ConnectionTestCase):
    """Peers that send frames as small as can be."""

    def setUp(self) -> None:
        super().setUp()
        self.turns = _Turns()
        self.factory.parsing = ParseShare(self.turns)

    def flooded(self) -> Peer:
        """A member whose frames are too many for a turn."""
        peer = self.join("flood")
        peer.receive(_FLOOD)
        return peer

    def catch_up(self, peer: Peer) -> int:
        """Turns until it is read again, or has ended."""
        turns = 0
        while peer.producerState == "paused" and not peer.lost:
            self.turns.end_turn()
            turns += 1
        return turns

    def test_bounded(self) -> None:
        """A flood is spread over turns; its sender is not read before all of it is parsed."""
        peer = self.flooded()
        self.assertEqual(peer.producerState, "paused")
        self.assertEqual(self.catch_up(peer), -(-(2 * 2701 - 512) // 64) // 8 + 1)
        self.assertEqual(peer.connection.data, b"")

    def test_others(self) -> None:
        """Small messages of others take the fast lane, and do not wait at all."""
        alice, bob = self.join("alice"), self.join("bob")
        self.flooded()
        alice.receive(client_frame(1, b"hi") * 3)
        self.end_turn()
        self.assertEqual(bob.messages(), [b"hi"] * 3)
        self.assertEqual(alice.producerState, "producing")

    def test_ping_among_floods(self) -> None:
        """A ping waits for a turn or two while others flood, and not for all they send."""
        for number in range(8):
            self.join(f"flood {number}").receive(_FLOOD)
        alice = self.join("alice")
        alice.receive(client_frame(9, b"still there?"))
        for _ in range(2):
            self.turns.end_turn()
        self.assertEqual([frame.payload for frame in alice.frames()], [b"still there?"])

    def test_more_comes(self) -> None:
        """What a transport brings that does not stop at once is heard behind what waits."""
        bob = self.join("bob")
        peer = self.flooded()
        peer.receive(client_frame(0, b"the end") + client_frame(1, b"next"))
        peer.receive(client_frame(1, b"last"))
        self.catch_up(peer)
        self.end_turn()
        self.assertEqual(bob.messages(), [b"the end", b"next", b"last"])

    def test_counts(self) -> None:
        """Pings that waited count for the rate like those that did not."""
        alice = self.join("alice")
        alice.receive(client_frame(9, b"x") * 700)
        while self.turns.getDelayedCalls():
            self.turns.end_turn()
        self.assertEqual(alice.producerState, "paused")
        self.clock.advance(2.1)
        self.assertEqual(alice.producerState, "producing")

    def test_closed_meanwhile(self) -> None:
        """A member that is closed while its frames wait gets its close frame at once, and can answer it."""
        peer = self.flooded()
        peer.receive(client_frame(8))
        peer.connection.close(CloseReason.SERVER_STOPPING)
        self.assertClosed(peer, CloseReason.SERVER_STOPPING)
        self.assertEqual(peer.producerState, "paused")
        self.catch_up(peer)
        self.assertTrue(peer.finished)
        self.assertFalse(peer.aborted)

    def test_aborted_meanwhile(self) -> None:
        """A connection that is cut off while its frames wait is gone at once."""
        peer = self.flooded()
        peer.connection.abort()
        self.assertEqual((list(self.registry.members), list(self.factory.connections)), ([], []))
        self.turns.end_turn()
        self.assertEqual(self.turns.getDelayedCalls(), [])

    def test_lost_meanwhile(self) -> None:
        """What a member has said before it went is heard, and then it has left; no timer is left behind."""
        bob = self.join("bob")
        peer = self.flooded()
        peer.receive(client_frame(0, b"last words"))
        peer.hang_up()
        self.assertIn(peer.connection, self.factory.connections)
        while self.turns.getDelayedCalls():
            self.assertIn(peer.connection, self.factory.connections)
            self.turns.end_turn()
        self.end_turn()
        self.assertEqual(bob.messages(), [b"last words"])
        self.assertEqual([member.uid for member in self.registry.members], ["bob"])
        self.assertNotIn(peer.connection, self.factory.connections)

    def test_crowd_of_the_lost(self) -> None:
        """Those who flood and go at once, again and again, do not pile up."""
        for number in range(300):
            peer = self.join(f"flood {number}")
            peer.receive(_FLOOD)
            peer.hang_up()
        self.assertLess(len(self.factory.connections), 150)
        self.turns.end_turn()
        self.assertEqual(len(list(self.registry.members)), len(self.factory.connections))

    def test_lost_and_cut_off(self) -> None:
        """One that has gone while its frames wait can be cut off, and closed for any reason."""
        for end in ("abort", "close"):
            peer = self.flooded()
            peer.hang_up()
            if end == "abort":
                peer.connection.abort()
                self.assertEqual(len(self.factory.connections), 0)
            else:
                peer.connection.close(CloseReason.TOO_SLOW)
            while self.turns.getDelayedCalls():
                self.turns.end_turn()
            self.assertEqual((len(self.factory.connections), list(self.registry.members)), (0, []))
        self.factory.stop()
        self.registry.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_thrown_out(self) -> None:
        """A member whose frames wait is alive: it is not asked for a sign of life, and keeps its uid."""
        self.flooded()
        newcomer = self.open()
        newcomer.receive(header("flood"))
        self.assertClosed(newcomer, CloseReason.UID_TAKEN)

    def test_fault_of_ours(self) -> None:
        """When the server itself fails at what has waited the peer gets 1011."""
        peer = self.flooded()
        peer.receive(client_frame(0, b"") + client_frame(9))
        peer.connection.message = None  # type: ignore[method-assign,assignment]
        self.catch_up(peer)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertClosed(peer, CloseReason.INTERNAL_ERROR)
