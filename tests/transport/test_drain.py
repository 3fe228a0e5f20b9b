"""Who is told when, on a clock."""

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.drain import Drain


class DrainTests(SynchronousTestCase):
    """Numbers stand for connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[float, int]] = []

    def tell(self, connections: Sequence[int]) -> None:
        """Write down who is told, and when."""
        self.assertTrue(connections)
        self.told += [(self.clock.seconds(), connection) for connection in connections]

    def begin(self, number: int, seconds: float) -> Drain[int]:
        """So many connections, which are being told."""
        drain = Drain(self.clock, range(number), seconds, self.tell)
        drain.start()
        return drain

    def run_to_the_end(self) -> None:
        """Let the time pass that the timers ask for."""
        while calls := self.clock.getDelayedCalls():
            self.clock.advance(calls[0].getTime() - self.clock.seconds())

    def test_at_once(self) -> None:
        """Without time for it all are told at once, and no timer is set."""
        self.begin(3, 0)
        self.assertEqual(self.told, [(0, 0), (0, 1), (0, 2)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody(self) -> None:
        """Without connections there is nothing to do, and no timer is set."""
        for seconds in (0, 10):
            self.begin(0, seconds)
        self.assertEqual((self.told, self.clock.getDelayedCalls()), ([], []))

    def test_spread(self) -> None:
        """The first is told at once, the others at equal distances, the last before the time is over."""
        self.begin(4, 10)
        self.run_to_the_end()
        self.assertEqual(self.told, [(0, 0), (2.5, 1), (5, 2), (7.5, 3)])

    def test_many(self) -> None:
        """Of many several are told in one round, never more than their share, and each exactly once."""
        for number, seconds in ((10_000, 10), (200, 1), (7, 0.03), (1000, 3)):
            self.clock, self.told = Clock(), []
            self.begin(number, seconds)
            rounds = 0
            while calls := self.clock.getDelayedCalls():
                self.clock.advance(calls[0].getTime() - self.clock.seconds())
                rounds += 1
                share = number * self.clock.seconds() / seconds
                self.assertLess(abs(len(self.told) - min(share, number)), 1.01)
            self.assertEqual([connection for _, connection in self.told], list(range(number)))
            self.assertLessEqual(rounds, seconds / 0.02 + 2)
            self.assertLessEqual(self.told[-1][0], seconds + 0.02)

    def test_late_timer(self) -> None:
        """A reactor that is busy for a while makes up for it, and for more than all the time ends it."""
        self.begin(10, 10)
        self.clock.advance(5.5)
        self.assertEqual(len(self.told), 6)
        self.clock.advance(60)
        self.assertEqual((len(self.told), self.clock.getDelayedCalls()), (10, []))

    def test_finish(self) -> None:
        """Who does not want to wait has the rest told at once; once more, nobody is told twice."""
        drain = self.begin(5, 10)
        self.clock.advance(2)
        drain.finish()
        drain.finish()
        self.assertEqual(self.told, [(0, 0), (2, 1), (2, 2), (2, 3), (2, 4)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Stopped, it tells nobody else, and keeps no timer; that may come while somebody is being told."""
        drain = self.begin(5, 10)
        drain.stop()
        drain.finish()
        self.assertEqual((self.told, self.clock.getDelayedCalls()), ([(0, 0)], []))
        other: Drain[int] = Drain(self.clock, range(3), 10, lambda connections: other.stop())
        other.start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
