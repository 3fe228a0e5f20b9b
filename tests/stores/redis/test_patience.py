"""Whether Redis answers in time."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.redis.patience import PATIENCE_SECONDS, Patience


class Waited:
    """Something that is waited for."""

    is_passed = False


class PatienceTests(SynchronousTestCase):
    """On a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[str] = []
        self.pings: list[Deferred[Any]] = []
        self.oldest: float | None = None
        self.patience = Patience(
            self.clock,
            self.ping,
            lambda: self.oldest,
            lambda: self.told.append("late"),
            lambda: self.told.append("prompt"),
        )

    def ping(self) -> "Deferred[Any]":
        self.pings.append(Deferred())
        return self.pings[-1]

    def pass_patience(self) -> None:
        """Let it take too long, and a bit."""
        self.clock.pump([PATIENCE_SECONDS, 0.02])

    def test_in_time(self) -> None:
        """What comes in time is nothing to tell, nor what has come when that is looked at."""
        waited, passed, answer = Waited(), Waited(), Deferred[str]()
        self.patience.start(waited)
        self.patience.start(passed)
        timed = self.patience.timed(answer)
        self.patience.met(waited)
        passed.is_passed = True
        answer.callback("an answer")
        self.pass_patience()
        self.assertEqual((self.told, self.successResultOf(timed), self.patience.is_late), ([], "an answer", False))

    def test_late(self) -> None:
        """What takes too long is told once; when answers come in time again, that is told as well."""
        for _ in range(3):
            self.patience.timed(Deferred())
        self.pass_patience()
        self.assertEqual((self.told, self.patience.is_late), (["late"], True))
        self.clock.advance(0.25)
        self.clock.advance(0.2)
        self.pings.pop().callback("slow")
        self.assertEqual(self.told, ["late"])
        self.clock.advance(0.05)
        self.oldest = self.clock.seconds() - 1.0
        self.pings.pop().callback("something waits")
        self.assertEqual(self.told, ["late"])
        self.clock.advance(0.25)
        self.oldest = None
        self.pings.pop().callback("quick")
        self.assertEqual((self.told, self.patience.is_late), (["late", "prompt"], False))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_answer(self) -> None:
        """Where there is no connection it is looked at again and again."""
        self.patience.start(Waited())
        self.pass_patience()
        for _ in range(3):
            self.clock.advance(0.25)
            self.pings.pop().errback(ValueError())
        self.assertEqual(self.told, ["late"])
        self.patience.stop()
        self.assertEqual((self.clock.getDelayedCalls(), self.patience.is_late), ([], False))
