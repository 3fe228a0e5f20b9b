"""The share of a turn, and what is sent in pieces."""

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.share import PIECE_BYTES, Pieces, TurnShare

from .fakes import Turns


class TurnShareTests(SynchronousTestCase):
    """Work in pieces, three of them in a turn."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.share = TurnShare(cast(Any, Turns(self.clock)), 3)
        self.done: list[object] = []

    def turn(self) -> list[object]:
        """What is done in the next turn."""
        self.done.clear()
        self.clock.advance(1)
        return list(self.done)

    def run_some(self, *names: object) -> None:
        """Hand over pieces of work."""
        for name in names:
            self.share.run(lambda name=name: self.done.append(name))  # type: ignore[misc]

    def test_a_few(self) -> None:
        """A few pieces are done at once, and then no timer is left."""
        self.run_some(1, 2, 3)
        self.assertEqual(self.done, [1, 2, 3])
        self.assertEqual(self.turn(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many(self) -> None:
        """What is too much for a turn waits for the next ones, in order, and what comes later waits behind it."""
        self.run_some(*range(8))
        self.assertEqual(self.done, [0, 1, 2])
        self.assertEqual(self.turn(), [3, 4, 5])
        self.run_some(8)
        self.assertEqual(self.done, [3, 4, 5], "two are before it")
        self.assertEqual(self.turn(), [6, 7, 8])
        self.assertEqual(self.turn(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_alone(self) -> None:
        """While nobody else is there, eight times as much is done in a turn."""
        is_alone = [True]
        self.share = TurnShare(cast(Any, Turns(self.clock)), 1, lambda: is_alone[0])
        self.run_some(*range(20))
        self.assertEqual(self.done, [0])
        self.assertEqual(self.turn(), list(range(1, 9)))
        is_alone[0] = False
        self.assertEqual(self.turn(), [9])
        is_alone[0] = True
        self.assertEqual(self.turn(), list(range(10, 18)))
        self.assertEqual(self.turn(), [18, 19])
        self.assertEqual((self.turn(), self.clock.getDelayedCalls()), ([], []))

    def test_work_that_makes_work(self) -> None:
        """A piece that hands over the next one, like a long download, shares the turns with others."""

        def again() -> None:
            self.done.append("long")
            if len(self.done) < 100:
                self.share.run(again)

        self.share.run(again)
        self.assertEqual(self.done, ["long"] * 3)
        self.run_some("short")
        self.assertEqual(self.turn(), ["long", "short", "long"])

    def test_take(self) -> None:
        """Who may begin at once takes a piece of the turn; when none is left the turn is over."""
        self.assertEqual([self.share.take() for _ in range(5)], [True, True, True, False, False])
        self.turn()
        self.assertTrue(self.share.take())

    def test_charge(self) -> None:
        """Work that turns out to be more counts more, done at once or in its turn; no debt is left for the next."""

        def large() -> None:
            self.done.append("large")
            self.share.charge(5)

        self.share.run(large)
        self.assertFalse(self.share.take())
        self.share.run(large)
        self.run_some("small")
        self.assertEqual(self.turn(), ["large"])
        self.assertEqual(self.turn(), ["small"])
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_overtakes(self) -> None:
        """While something waits nobody may begin at once."""
        self.run_some(1, 2, 3, 4, 5, 6, 7, 8)
        self.turn()
        self.assertFalse(self.share.take())
        self.turn()
        self.assertTrue(self.share.take(), "two waited, so that one is left")

    def test_failure(self) -> None:
        """A piece that fails is logged, and the others are done; one that is done at once fails its caller."""
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.run_some(1, 2, 3)
        self.share.run(lambda: 1 // 0)
        self.run_some(4)
        self.assertEqual(self.turn(), [4])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([event["log_format"] for event in events], ["a piece of work failed"])
        self.turn()
        self.assertRaises(ZeroDivisionError, self.share.run, lambda: 1 // 0)

    def test_stop(self) -> None:
        """Stopped, it forgets what waits and keeps no timer; it can be used again."""
        self.run_some(*range(8))
        self.share.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.turn(), [])
        self.share.stop()
        self.run_some("again")
        self.assertEqual(self.done, ["again"])

    def test_stop_from_within(self) -> None:
        """A piece of work may stop it."""
        self.run_some(1, 2, 3)
        self.share.run(self.share.stop)
        self.run_some(4)
        self.assertEqual(self.turn(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PiecesTests(SynchronousTestCase):
    """Bytes that take several turns."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.share = TurnShare(cast(Any, Turns(self.clock)), 1)
        self.written: list[bytes] = []
        self.ends = 0
        self.data = bytes(range(256)) * (PIECE_BYTES // 256) * 3 + b"end"
        self.share.take()  # this turn's, as the door does
        self.pieces = Pieces(self.written.append, self.data[:300], self.data[300:], self.share, self.ended)

    def ended(self) -> None:
        self.ends += 1

    def test_turns(self) -> None:
        """There is a piece in each turn, and then the end, once."""
        self.pieces.begin()
        for count in (1, 2, 3):
            self.assertEqual((count, 0), (len(self.written), self.ends))
            self.clock.advance(1)
        self.assertEqual((self.data, 1), (b"".join(self.written), self.ends))
        self.clock.advance(1)
        self.assertEqual(1, self.ends)

    def test_in_line(self) -> None:
        """Two of them take turns."""
        other: list[bytes] = []
        Pieces(other.append, b"", self.data, self.share, self.ended).resume()
        self.pieces.begin()
        for _ in range(8):
            self.clock.advance(1)
            self.assertLess(abs(len(other) - len(self.written)), 2)
        self.assertEqual((self.data, self.data, 2), (b"".join(self.written), b"".join(other), self.ends))

    def test_pause(self) -> None:
        """Nothing is handed on to a peer that takes nothing; it goes on where it was, in one line however often."""
        self.pieces.begin()
        self.pieces.pause()
        self.clock.advance(1)
        self.assertEqual(1, len(self.written))
        for _ in range(3):
            self.pieces.resume()
            self.pieces.pause()
            self.pieces.resume()
        for count in (2, 3, 4):
            self.clock.advance(1)
            self.assertEqual(count, len(self.written))
        self.assertEqual((self.data, 1), (b"".join(self.written), self.ends))

    def test_stop(self) -> None:
        """After the end of a connection nothing is handed on, and nobody is told."""
        self.pieces.begin()
        self.pieces.stop()
        self.pieces.resume()
        self.clock.advance(1)
        self.assertEqual((1, 0), (len(self.written), self.ends))
