"""All workers of a server."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.workers.child import ChildState
from mles_tx.service.workers.crew import Crew
from mles_tx.service.workers.totals import Totals
from mles_tx.service.workers.wire import Given

from .fakes import GIVEN, Processes, report

NEW = Given(("--port", "1"), GIVEN.directory, {})


class CrewTestCase(SynchronousTestCase):
    """Two workers whose processes are none."""

    def setUp(self) -> None:
        self.processes = Processes()
        self.clock = self.processes.clock
        self.told: list[Any] = []
        self.totals = Totals()
        self.crew = Crew(self.clock, 2, self.processes.launch, self, self.totals, {"listening": 1})

    def all_serving(self) -> None:
        self.told.append("all serve")

    def cannot_start(self, why: str) -> None:
        self.told.append(why)

    def freed(self, slot: int) -> None:
        self.told.append(slot)

    def begin(self) -> None:
        """Both serve."""
        self.crew.start(GIVEN)
        for process in list(self.processes.started):
            process.serve()
        self.told.clear()

    def stop(self) -> None:
        """End all that are left."""
        self.crew.stop(9.0)
        for process in self.processes.started:
            if process.child.state is not ChildState.ENDED:
                process.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StartTests(CrewTestCase):
    """Their start."""

    def test_start(self) -> None:
        """Each is told its place; when all serve, that is told once."""
        self.crew.start(GIVEN)
        first, second = self.processes.started
        for process, is_first in ((first, True), (second, False)):
            told = process.told[0]
            self.assertEqual((told["is_first"], told["workers"], told["listening"]), (is_first, 2, 1))
        self.assertNotEqual(first.told[0]["slot"], second.told[0]["slot"])
        self.assertEqual((self.crew.missing, self.crew.serving), ([1, 2], []))
        second.serve()
        self.assertEqual(self.told, [])
        first.serve()
        self.assertEqual((self.told, self.crew.missing), (["all serve"], []))
        self.stop()

    def test_cannot_start(self) -> None:
        """One that does not come up ends it, with what it has said, or how it has ended."""
        self.crew.start(GIVEN)
        first, second = self.processes.started
        first.say("failed", why="no disk")
        first.end(1)
        second.end(None, 9)
        self.assertEqual(
            [line for line in self.told if isinstance(line, str)],
            ["no disk", "worker 2 was ended by signal 9 before it served"],
        )
        self.stop()


class DeathTests(CrewTestCase):
    """What becomes of one that dies."""

    def test_replaced(self) -> None:
        """Another one follows at once, with the same settings; what it had in common memory is free."""
        self.begin()
        slot = self.processes.of(1).told[0]["slot"]
        self.processes.of(1).end(None, 9)
        self.assertEqual((self.told, self.crew.missing), ([slot], [1]))
        self.clock.advance(0)
        follower = self.processes.of(1)
        self.assertEqual((len(self.processes.started), follower.told[0]["given"]), (3, GIVEN.pack()))
        self.assertNotEqual(follower.told[0]["slot"], slot)
        follower.serve()
        self.assertEqual((self.crew.missing, self.totals.restarts), ([], 1))
        self.stop()

    def test_in_a_row(self) -> None:
        """Those that die one after another follow ever more slowly; one that has lived does so at once again."""
        self.begin()
        waits = []
        for _ in range(8):
            self.processes.of(1).end(1)
            started, waited = len(self.processes.started), 0.0
            self.clock.advance(0)
            while len(self.processes.started) == started:
                self.clock.advance(0.5)
                waited += 0.5
            waits.append(waited)
        self.assertEqual(waits, [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])
        self.processes.of(1).serve()
        for _ in range(3):
            self.clock.advance(5.0)
            self.processes.of(1).say("pong")
        self.processes.of(1).end(1)
        self.clock.advance(0)
        self.assertEqual(self.processes.of(1).child.state, ChildState.STARTING)
        self.stop()

    def test_counts_stay(self) -> None:
        """What it had counted is not lost."""
        self.begin()
        self.processes.of(1).say("report", report=report(5))
        self.processes.of(1).end(1)
        self.assertEqual(self.totals.snapshot([]).total_messages_sent, 5)
        self.stop()

    def test_live_settings(self) -> None:
        """Who follows has what was changed meanwhile."""
        self.begin()
        changed = self.crew.change(NEW)
        self.processes.of(1).say("changed", why="no such file")
        self.processes.of(2).say("changed", why="")
        self.assertEqual(self.successResultOf(changed), ["worker 1: no such file"])
        self.processes.of(1).end(1)
        self.clock.advance(0)
        told = self.processes.of(1).told[0]
        self.assertEqual((told["given"], told["live"]), (GIVEN.pack(), NEW.pack()))
        self.stop()


class RollTests(CrewTestCase):
    """All are replaced."""

    def roll(self) -> "Deferred[bool]":
        """Begin."""
        return Deferred.fromCoroutine(self.crew.roll(NEW, 9.0))

    def test_one_after_another(self) -> None:
        """The next one serves before the one it replaces is told to end, and the second has its turn after that."""
        self.begin()
        old = [self.processes.of(1), self.processes.of(2)]
        rolled = self.roll()
        self.assertTrue(self.crew.is_rolling)
        for number in (1, 2):
            new = self.processes.of(number)
            self.assertEqual((new.told[0]["given"], new.told[0]["live"]), (NEW.pack(), None))
            self.assertNotIn("stop", old[number - 1].kinds)
            new.serve()
            self.assertEqual(old[number - 1].told[-1], {"kind": "stop", "is_restart": True})
            self.assertEqual(len(self.processes.started), 2 + number)
            old[number - 1].end()
        self.assertTrue(self.successResultOf(rolled))
        self.assertEqual((self.crew.is_rolling, self.crew.missing, self.totals.restarts), (False, [], 0))
        self.processes.of(1).end(1)
        self.clock.advance(0)
        self.assertEqual(self.processes.of(1).told[0]["given"], NEW.pack())
        self.stop()

    def test_does_not_come_up(self) -> None:
        """When the next one does not come up, those that are there go on."""
        self.begin()
        rolled = self.roll()
        self.processes.of(1).end(1)
        self.assertFalse(self.successResultOf(rolled))
        self.assertEqual((len(self.processes.started), self.crew.missing), (3, []))
        self.assertNotIn("stop", self.processes.started[0].kinds)
        self.stop()

    def test_dies_meanwhile(self) -> None:
        """When one dies that is being replaced, the next one takes its place; when that does not come up, a third."""
        self.begin()
        rolled = self.roll()
        self.processes.started[0].end(1)
        self.clock.advance(60.0 - 0.5)
        self.assertEqual(len(self.processes.started), 3)
        self.processes.of(1).end(1)
        self.assertFalse(self.successResultOf(rolled))
        self.clock.advance(0)
        self.assertEqual(len(self.processes.started), 4)
        self.assertEqual(self.processes.of(1).told[0]["given"], GIVEN.pack())
        self.stop()

    def assert_apart(self) -> None:
        """No two processes that live have one slot."""
        slots = [
            process.told[0]["slot"] for process in self.processes.started if process.child.state is not ChildState.ENDED
        ]
        self.assertEqual(len(slots), len(set(slots)), slots)

    def test_slots(self) -> None:
        """A worker has its slot for itself, however many of its successors did not come up."""
        self.begin()
        for _ in range(3):
            rolled = self.roll()
            self.assert_apart()
            self.told.clear()
            self.processes.of(1).end(1)
            self.assertFalse(self.successResultOf(rolled))
            self.assertNotIn(self.processes.started[0].told[0]["slot"], self.told)
        self.stop()

    def test_slot_while_ending(self) -> None:
        """One that was replaced has its slot until it has ended, also when its successor ends before."""
        self.begin()
        before = self.processes.of(1)
        rolled = self.roll()
        self.processes.of(1).serve()
        for _ in range(2):
            self.processes.of(1).end(1)
            self.clock.advance(1.0)
            self.assertEqual(self.processes.of(1).child.state, ChildState.STARTING)
            self.assert_apart()
        before.end()
        self.processes.of(1).serve()
        self.stop()
        self.assertFalse(self.successResultOf(rolled))

    def test_end_while_one_ends(self) -> None:
        """One that was replaced, and has not ended yet, is waited for, and cut off with all others."""
        self.begin()
        before = self.processes.of(1)
        rolled = self.roll()
        self.processes.of(1).serve()
        stopped = self.crew.stop(9.0)
        for process in self.processes.started:
            if process is not before:
                process.end()
        self.assertNoResult(stopped)
        self.crew.abort()
        self.assertEqual(before.kinds[-2:], ["stop", "abort"])
        before.end()
        self.successResultOf(stopped)
        self.assertFalse(self.successResultOf(rolled))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end_meanwhile(self) -> None:
        """When the server ends meanwhile, all of them do."""
        self.begin()
        rolled = self.roll()
        stopped = self.crew.stop(9.0)
        self.crew.abort()
        for process in self.processes.started:
            self.assertEqual(process.kinds[-2:], ["stop", "abort"])
            process.end()
        self.successResultOf(stopped)
        self.assertFalse(self.successResultOf(rolled))
        self.assertEqual(self.clock.getDelayedCalls(), [])
