"""How late a reactor's timers are."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.lag import LAG_BOUNDS, PROBE_SECONDS, ReactorLag


class ReactorLagTests(SynchronousTestCase):
    """Looks at a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lag = ReactorLag(self.clock)

    def at_most(self, seconds: float) -> int:
        """How many looks were late by at most that much."""
        return self.lag.counts[LAG_BOUNDS.index(seconds)]

    def test_in_time(self) -> None:
        """A reactor that has nothing else to do is never late."""
        self.lag.startService()
        self.clock.pump([PROBE_SECONDS] * 10)
        self.assertEqual((self.lag.counts, self.lag.total), ([10] * (len(LAG_BOUNDS) + 1), 0.0))

    def test_late(self) -> None:
        """A turn that takes long is counted with its length, and the next look is not hurried by it."""
        self.lag.startService()
        self.clock.advance(PROBE_SECONDS + 0.25)
        self.clock.advance(PROBE_SECONDS - 0.125)
        self.assertEqual((self.at_most(0.1), self.at_most(0.25), self.lag.counts[-1]), (0, 1, 1))
        self.clock.advance(0.125)
        self.assertEqual((self.at_most(0.1), self.at_most(0.25), self.lag.counts[-1]), (1, 2, 2))
        self.assertEqual(self.lag.total, 0.25)

    def test_very_late(self) -> None:
        """A turn beyond all bounds is counted as well."""
        self.lag.startService()
        self.clock.advance(PROBE_SECONDS + 60)
        self.assertEqual((self.lag.counts[-2:], self.lag.total), ([0, 1], 60.0))

    def test_clock_set_back(self) -> None:
        """A clock that is set back makes no timer come too early."""
        self.lag.startService()
        self.clock.rightNow -= 100
        (call,) = self.clock.getDelayedCalls()
        call.reset(0)
        self.clock.advance(0)
        self.assertEqual((self.lag.counts[0], self.lag.total), (1, 0.0))

    def test_stopped(self) -> None:
        """It keeps no timer, whether it was started or not, and counts on when it is started again."""
        self.lag.stopService()
        for looks in (1, 2):
            self.lag.startService()
            self.clock.advance(PROBE_SECONDS)
            self.lag.stopService()
            self.assertEqual((self.clock.getDelayedCalls(), self.lag.counts[-1]), ([], looks))
