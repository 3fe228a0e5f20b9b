"""One worker process, as its supervisor knows it."""

from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.workers.child import START_SECONDS, STUCK_SECONDS, Child, ChildState

from .fakes import GIVEN, FakeProcess, Processes, report


class ChildTestCase(SynchronousTestCase):
    """A worker whose process is none."""

    def setUp(self) -> None:
        self.processes = Processes()
        self.clock = self.processes.clock
        self.told: list[tuple[str, ChildState]] = []
        self.child = Child(self.clock, self, 1, 3)
        self.processes.launch(self.child)
        self.process: FakeProcess = self.processes.started[0]
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def child_serves(self, child: Child) -> None:
        self.told.append(("serves", child.state))

    def child_ended(self, child: Child) -> None:
        self.told.append(("ended", child.state))

    @property
    def lines(self) -> list[str]:
        """What was logged."""
        return [formatEvent(event) for event in self.events]


class LifeTests(ChildTestCase):
    """From its start to its end."""

    def test_life(self) -> None:
        """It is told its settings, serves, is told to end, and ends; nothing is left of it."""
        self.child.start(GIVEN, None, slot=3)
        self.assertEqual(self.process.told[0]["given"], GIVEN.pack())
        self.assertEqual((self.child.number, self.child.pid, self.child.state), (2, 100, ChildState.STARTING))
        self.process.serve(sent=5)
        self.assertEqual((self.child.banner, self.child.port), (["it serves"], 8080))
        ended = self.child.stop(9.0, True)
        again = self.child.stop(9.0, True)
        self.assertEqual(self.process.told[-1], {"kind": "stop", "is_restart": True})
        self.assertEqual(self.process.kinds.count("stop"), 1)
        self.assertNoResult(ended)
        self.process.end()
        self.successResultOf(ended)
        self.successResultOf(again)
        self.successResultOf(self.child.stop(9.0, True))
        self.assertEqual(self.told, [("serves", ChildState.SERVING), ("ended", ChildState.ENDED)])
        self.assertEqual((self.child.how, self.child.pid), ("has ended with code 0", None))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.child.abort()
        self.child.kill()

    def test_killed(self) -> None:
        """How it has ended can be told."""
        self.process.end(None, 9)
        self.assertEqual(self.child.how, "was ended by signal 9")

    def test_does_not_come_up(self) -> None:
        """One that takes too long to come up is killed."""
        self.clock.advance(START_SECONDS)
        self.assertEqual(self.process.signals, ["KILL"])

    def test_does_not_end(self) -> None:
        """One that takes too long to end is killed."""
        self.process.serve()
        self.child.stop(9.0, False)
        self.clock.advance(8.9)
        self.assertEqual(self.process.signals, [])
        self.clock.advance(0.2)
        self.assertEqual(self.process.signals, ["KILL"])

    def test_ends_at_once(self) -> None:
        """One that is still coming up is not waited for."""
        self.child.stop(9.0, False)
        self.assertEqual(self.process.signals, ["TERM"])
        self.process.end(None, 15)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stuck(self) -> None:
        """One that gives no sign of life is killed; one that does is not."""
        self.process.serve()
        for _ in range(20):
            self.clock.advance(5.0)
            self.process.say("pong")
        self.assertEqual((self.process.signals, self.child.is_late), ([], False))
        for _ in range(int(STUCK_SECONDS / 5) + 1):
            self.clock.advance(5.0)
        self.assertTrue(self.child.is_late)
        self.assertEqual(self.process.signals, ["KILL"])
        self.assertIn("worker 2 has not answered for 30 seconds: it is killed", self.lines)

    def test_own_pause(self) -> None:
        """After a pause of the supervisor's own nobody is killed whose signs of life were only not read yet."""
        self.process.serve()
        self.clock.advance(5.0)
        self.process.say("pong")
        self.clock.advance(10 * STUCK_SECONDS)
        self.assertEqual((self.process.signals, self.process.kinds[-1], self.child.is_late), ([], "ping", False))
        for _ in range(int(STUCK_SECONDS / 5)):
            self.clock.advance(5.0)
        self.assertEqual(self.process.signals, [])
        self.clock.advance(5.0)
        self.assertEqual(self.process.signals, ["KILL"])

    def test_late_to_serve(self) -> None:
        """The time it takes to come up is no pause."""
        self.clock.advance(START_SECONDS - 1.0)
        self.process.serve()
        for _ in range(int(STUCK_SECONDS / 5) + 1):
            self.clock.advance(5.0)
        self.assertEqual(self.process.signals, ["KILL"])

    def test_cannot_start(self) -> None:
        """It says why it cannot start."""
        self.process.say("failed", why="no disk")
        self.assertEqual(self.child.why, "no disk")


class AskTests(ChildTestCase):
    """What it is asked."""

    def test_report(self) -> None:
        """It says how it is, once for all who ask."""
        self.process.serve()
        asked = [self.child.ask(), self.child.ask()]
        self.assertEqual(self.process.kinds.count("report"), 1)
        self.process.say("report", report=report(7))
        for answered in asked:
            self.successResultOf(answered)
        assert self.child.report is not None
        self.assertEqual(self.child.report["snapshot"]["total_messages_sent"], 7)

    def test_no_answer(self) -> None:
        """Nobody waits for ever for one that does not answer, does not serve yet, or has ended."""
        self.successResultOf(self.child.ask())
        self.process.serve()
        asked = self.child.ask()
        self.clock.advance(2.0)
        self.successResultOf(asked)
        self.process.say("report", report=report(7))
        asked = self.child.ask()
        self.process.end(1)
        self.successResultOf(asked)

    def test_change(self) -> None:
        """It says whether it has other settings; one that ends leaves that to the next."""
        self.process.serve()
        changed = [self.child.change(GIVEN) for _ in range(3)]
        self.process.say("changed", why="")
        self.process.say("changed", why="no such directory")
        self.process.end(1)
        self.assertEqual([self.successResultOf(one) for one in changed], ["", "no such directory", ""])

    def test_unknown_words(self) -> None:
        """A newer worker may say what is not known here; what is no message is logged."""
        self.process.say("tired", of="this")
        self.assertEqual(self.lines, [])
        self.child.childDataReceived(1, b"what?\n")
        self.assertEqual(self.lines, ["worker 2 says what is not understood"])


class LogTests(ChildTestCase):
    """Its log."""

    def test_events(self) -> None:
        """What it logs is logged here, and what it writes otherwise as well, to its last word."""
        self.child.childDataReceived(
            2, b'{"time":"2026-01-31T12:00:00.250Z","level":"warn","logger":"x","text":"hm"}\n'
        )
        self.child.childDataReceived(2, b"Segmentation ")
        self.child.childDataReceived(2, b"fault")
        self.process.end(None, 11)
        self.assertEqual(self.lines, ["hm", "Segmentation fault"])
        self.assertEqual([event["worker"] for event in self.events], [2, 2])
