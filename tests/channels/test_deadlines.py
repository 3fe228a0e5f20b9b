"""Tests of deadlines: everything in its time, on one timer."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.deadlines import Deadlines


class DeadlinesTests(SynchronousTestCase):
    """Who does not do something in time is told so."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[tuple[str, float]] = []
        self.deadlines = Deadlines[str](self.clock, 30.0, self.note)

    def note(self, entry: str) -> None:
        self.expired.append((entry, self.clock.seconds()))

    def test_expires(self) -> None:
        """An entry expires when its time has passed, not before, and once only."""
        self.deadlines.start("a")
        self.clock.advance(29.5)
        self.assertEqual((self.expired, len(self.deadlines)), ([], 1))
        self.clock.advance(0.5)
        self.assertEqual((self.expired, len(self.deadlines)), ([("a", 30.0)], 0))
        self.clock.advance(100.0)
        self.assertEqual(self.expired, [("a", 30.0)])

    def test_each_in_its_time(self) -> None:
        """Each entry has its own full time, in the order in which they came."""
        for entry in ("a", "b", "c"):
            self.deadlines.start(entry)
            self.clock.advance(10.0)
        self.assertEqual(self.expired, [("a", 30.0)])
        self.clock.pump([10.0, 10.0, 10.0])
        self.assertEqual(self.expired, [("a", 30.0), ("b", 40.0), ("c", 50.0)])

    def test_listed(self) -> None:
        """Whose time runs can be asked, those first whose time is over first."""
        for entry in ("a", "b", "c", "a"):
            self.deadlines.start(entry)
        self.deadlines.met("b")
        self.assertEqual(list(self.deadlines), ["c", "a"])

    def test_met(self) -> None:
        """An entry that is met never expires, and does not hold up or hurry the others."""
        self.deadlines.start("a")
        self.clock.advance(1.0)
        self.deadlines.start("b")
        self.deadlines.met("a")
        self.clock.advance(29.0)
        self.assertEqual(self.expired, [])
        self.clock.advance(1.0)
        self.assertEqual(self.expired, [("b", 31.0)])

    def test_met_without_start(self) -> None:
        """Meeting a deadline that does not run, or no longer, does no harm to the others."""
        self.deadlines.start("b")
        self.deadlines.met("a")
        self.deadlines.met("a")
        self.assertEqual(len(self.deadlines), 1)
        self.clock.advance(30.0)
        self.deadlines.met("b")
        self.assertEqual(self.expired, [("b", 30.0)])

    def test_start_anew(self) -> None:
        """An entry that starts anew gets its whole time again and goes behind the others."""
        self.deadlines.start("a")
        self.clock.advance(10.0)
        self.deadlines.start("b")
        self.clock.advance(10.0)
        self.deadlines.start("a")
        self.assertEqual(len(self.deadlines), 2)
        self.clock.pump([20.0, 9.5])
        self.assertEqual(self.expired, [("b", 40.0)])
        self.clock.advance(0.5)
        self.assertEqual(self.expired, [("b", 40.0), ("a", 50.0)])

    def test_late_clock(self) -> None:
        """After a pause of the whole process everything that is due expires at once, oldest first, the rest stays."""
        for entry in ("a", "b", "c"):
            self.deadlines.start(entry)
            self.clock.advance(10.0)
        self.deadlines.start("d")
        self.expired.clear()
        self.clock.advance(29.0)
        self.assertEqual(self.expired, [("b", 59.0), ("c", 59.0)])
        self.assertEqual(len(self.deadlines), 1)

    def test_one_timer(self) -> None:
        """A thousand entries cost one timer, and none is left when they are gone."""
        for number in range(1_000):
            self.deadlines.start(str(number))
            self.clock.advance(0.01)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for number in range(999):
            self.deadlines.met(str(number))
        self.clock.pump([20.0, 15.0])
        self.assertEqual([entry for entry, _ in self.expired], ["999"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_met_entries_leave_no_timer(self) -> None:
        """When all entries were met, the timer ends by itself."""
        self.deadlines.start("a")
        self.deadlines.met("a")
        self.clock.advance(30.0)
        self.assertEqual((self.expired, self.clock.getDelayedCalls()), ([], []))

    def test_stop(self) -> None:
        """After a stop nothing expires and no timer is left; stopping twice does no harm."""
        self.deadlines.stop()
        self.deadlines.start("a")
        self.deadlines.start("b")
        self.deadlines.stop()
        self.deadlines.stop()
        self.assertEqual((self.clock.getDelayedCalls(), len(self.deadlines)), ([], 0))
        self.clock.advance(100.0)
        self.assertEqual(self.expired, [])

    def test_start_after_all_expired(self) -> None:
        """When everything has expired or was met one can begin again, any number of times."""
        for number in range(3):
            self.deadlines.start("a")
            self.clock.advance(30.0)
            self.assertEqual(self.expired, [("a", 80.0 * number + 30.0)])
            self.expired.clear()
            self.deadlines.start("b")
            self.deadlines.met("b")
            self.clock.advance(50.0)
        self.assertEqual((self.expired, self.clock.getDelayedCalls()), ([], []))

    def test_start_after_stop(self) -> None:
        """After a stop one can begin again."""
        self.deadlines.start("a")
        self.deadlines.stop()
        self.clock.advance(10.0)
        self.deadlines.start("b")
        self.clock.advance(30.0)
        self.assertEqual(self.expired, [("b", 40.0)])


class ExpiredCallTests(SynchronousTestCase):
    """What the one who is told does then."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[tuple[str, float]] = []

    def test_failure(self) -> None:
        """One entry that cannot be ended does not keep the others alive."""

        def refuse(entry: str) -> None:
            self.expired.append((entry, self.clock.seconds()))
            if entry != "b":
                raise ZeroDivisionError(entry)

        deadlines = Deadlines[str](self.clock, 30.0, refuse)
        for entry in ("a", "b", "c"):
            deadlines.start(entry)
        self.clock.advance(5.0)
        deadlines.start("d")
        self.clock.pump([25.0, 5.0])
        self.assertEqual(self.expired, [("a", 30.0), ("b", 30.0), ("c", 30.0), ("d", 35.0)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_again(self) -> None:
        """An entry that is started again as it expires has its whole time again."""

        def again(entry: str) -> None:
            self.expired.append((entry, self.clock.seconds()))
            self.assertEqual(len(deadlines), 0)
            deadlines.start(entry)

        deadlines = Deadlines[str](self.clock, 30.0, again)
        deadlines.start("a")
        self.clock.pump([30.0, 29.0, 1.0, 30.0])
        self.assertEqual(self.expired, [("a", 30.0), ("a", 60.0), ("a", 90.0)])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_again_beside_others(self) -> None:
        """A start as another expires, with more waiting, leaves one timer, and none after a stop."""

        def again(entry: str) -> None:
            self.expired.append((entry, self.clock.seconds()))
            if entry == "a":
                deadlines.start("c")

        deadlines = Deadlines[str](self.clock, 30.0, again)
        deadlines.start("a")
        self.clock.advance(5.0)
        deadlines.start("b")
        self.clock.advance(25.0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([5.0, 25.0])
        self.assertEqual(self.expired, [("a", 30.0), ("b", 35.0), ("c", 60.0)])
        deadlines.start("d")
        deadlines.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_meets_another(self) -> None:
        """An entry that is met as another expires does not expire in the same moment."""

        def meet(entry: str) -> None:
            self.expired.append((entry, self.clock.seconds()))
            deadlines.met("b")

        deadlines = Deadlines[str](self.clock, 30.0, meet)
        for entry in ("a", "b", "c"):
            deadlines.start(entry)
        self.clock.advance(30.0)
        self.assertEqual(self.expired, [("a", 30.0), ("c", 30.0)])

    def test_stops(self) -> None:
        """A stop as an entry expires ends everything."""

        def stop(entry: str) -> None:
            self.expired.append((entry, self.clock.seconds()))
            deadlines.stop()

        deadlines = Deadlines[str](self.clock, 30.0, stop)
        deadlines.start("a")
        deadlines.start("b")
        self.clock.advance(30.0)
        self.assertEqual((self.expired, self.clock.getDelayedCalls(), len(deadlines)), ([("a", 30.0)], [], 0))


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("start", "met")), st.integers(0, 5)),
        st.tuples(st.just("advance"), st.integers(0, 20)),
        st.tuples(st.just("stop"), st.just(0)),
    ),
    max_size=40,
)


class AnyOrderTests(SynchronousTestCase):
    """Whatever starts and is met in whatever order."""

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps=_STEPS)
    def test_like_one_timer_each(self, steps: list[tuple[str, int]]) -> None:
        """It is as if each entry had a timer of its own, but there never is more than one."""
        clock = Clock()
        found: list[tuple[int, float]] = []
        deadlines = Deadlines[int](clock, 10.0, lambda entry: found.append((entry, clock.seconds())))
        due: dict[int, float] = {}
        expected: list[tuple[int, float]] = []
        for step, value in steps:
            if step == "start":
                deadlines.start(value)
                due.pop(value, None)
                due[value] = clock.seconds() + 10.0
            elif step == "met":
                deadlines.met(value)
                due.pop(value, None)
            elif step == "stop":
                deadlines.stop()
                due.clear()
            for _ in range(value if step == "advance" else 0):
                clock.advance(1.0)
                for entry in [entry for entry, at in due.items() if at <= clock.seconds()]:
                    expected.append((entry, due.pop(entry)))
            self.assertEqual(len(deadlines), len(due), f"{steps}")
            self.assertLessEqual(len(clock.getDelayedCalls()), 1)
        self.assertEqual(found, expected, f"{steps}")
