"""Signals that come too early."""

import signal

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.early import hold_signals, release_signals


class EarlyTests(SynchronousTestCase):
    """While a program is starting."""

    def test_wait(self) -> None:
        """What comes while nobody can react to it is there, once, as soon as somebody can."""
        told: list[int] = []
        self.addCleanup(release_signals)
        hold_signals()
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGUSR1)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            self.addCleanup(signal.signal, number, signal.signal(number, lambda number, frame: told.append(number)))
        self.assertEqual(told, [])
        release_signals()
        self.assertEqual(sorted(told), [signal.SIGHUP, signal.SIGUSR1])

    def test_nothing_held(self) -> None:
        """Letting go of what was never held does nothing."""
        release_signals()
        self.assertNotIn(signal.SIGHUP, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
