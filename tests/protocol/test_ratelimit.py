"""Tests of the rate of one member: what passes, and how long it waits for the rest."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.ratelimit import BURST_SECONDS, MessageRate

# Rates and times here are sums of powers of two: the arithmetic is exact and so are the assertions.
_RATE = 64.0
_BURST = 320  # five seconds' worth


class MessageRateTests(SynchronousTestCase):
    """Nothing is refused: who speaks too fast is read more slowly."""

    def test_burst_is_free(self) -> None:
        """Five seconds' worth of messages at once pass without a wait, and the next one has to wait its turn."""
        for now in (0.0, 0.5, 1_000_000.0, -3.0):
            rate = MessageRate(_RATE)
            self.assertEqual(rate.take(_BURST, now), 0.0, f"{now=}")
            self.assertEqual(rate.take(1, now), 1 / _RATE, f"{now=}")
            self.assertEqual(rate.take(63, now), 1.0, f"{now=}")

    def test_burst_one_by_one(self) -> None:
        """It makes no difference whether a burst comes as one piece or as many."""
        rate = MessageRate(_RATE)
        self.assertEqual([rate.take(1, 10.0) for _ in range(_BURST)], [0.0] * _BURST)
        self.assertEqual([rate.take(1, 10.0) for _ in range(4)], [n / _RATE for n in (1, 2, 3, 4)])

    def test_default_picture(self) -> None:
        """A picture of 500 pieces at once passes at the default rate of 100 a second."""
        self.assertEqual(MessageRate(100.0).take(500, 12.0), 0.0)
        self.assertAlmostEqual(MessageRate(100.0).take(4096, 12.0), 35.96)

    def test_waiting_as_told_keeps_the_rate(self) -> None:
        """Who goes on without a pause gets the burst and then exactly the rate."""
        rate = MessageRate(_RATE)
        now = 0.0
        sent = 0
        while now < 60.0:
            sent += 16
            now += rate.take(16, now)
        self.assertEqual(sent, _BURST + 60 * _RATE)

    def test_within_the_rate(self) -> None:
        """Who keeps to the rate never waits, for however long."""
        rate = MessageRate(_RATE)
        self.assertEqual({rate.take(1, number / _RATE) for number in range(10_000)}, {0.0})

    def test_burst_comes_back(self) -> None:
        """A second of silence earns back a second's worth, and a long silence no more than the whole burst."""
        for silence, free in ((1.0, 64), (2.5, 160), (5.0, _BURST), (3600.0, _BURST)):
            rate = MessageRate(_RATE)
            rate.take(_BURST, 0.0)
            self.assertEqual(rate.take(free, silence), 0.0, f"{silence=}")
            self.assertEqual(rate.take(1, silence), 1 / _RATE, f"{silence=}")

    def test_slow_rate(self) -> None:
        """A rate below one a second works the same way."""
        rate = MessageRate(0.5)
        self.assertEqual([rate.take(1, 0.0) for _ in range(4)], [0.0, 0.0, 1.0, 3.0])

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps=st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 640)), min_size=1))
    def test_never_above_and_never_in_vain(self, steps: list[tuple[int, int]]) -> None:
        """Whatever bursts and pauses there are, a member stays within burst and rate and never waits in vain."""
        rate = MessageRate(_RATE)
        now = 0.0
        owed = 0.0  # messages of the burst that are used up
        for count, pause in steps:
            owed += count
            wait = rate.take(count, now)
            self.assertEqual(wait, max(0.0, (owed - BURST_SECONDS * _RATE) / _RATE), f"{steps}")
            passed = wait + pause / _RATE
            now += passed
            owed = max(0.0, owed - passed * _RATE)
            self.assertLessEqual(owed, BURST_SECONDS * _RATE)
