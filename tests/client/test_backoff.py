"""Waits between attempts."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.backoff import FIRST_SECONDS, LONGEST_SECONDS, STEADY_SECONDS, Backoff


class BackoffTests(SynchronousTestCase):
    """How long a client waits."""

    def test_bounds(self) -> None:
        """The bound doubles up to the longest wait, and stays there."""
        backoff = Backoff(lambda: 1.0)
        waits = [backoff.failed() for _ in range(100)]
        self.assertEqual(waits[:7], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0])
        self.assertEqual(set(waits[6:]), {LONGEST_SECONDS})

    def test_full_jitter(self) -> None:
        """A wait is any part of its bound, nothing at all included."""
        numbers = iter((0.0, 0.25, 0.999))
        backoff = Backoff(lambda: next(numbers))
        self.assertEqual([backoff.failed() for _ in range(3)], [0.0, 0.5, 3.996])

    def test_lasted(self) -> None:
        """Behind a link that held for a while the waits are short again; behind one that did not they are not."""
        backoff = Backoff(lambda: 1.0)
        for _ in range(4):
            backoff.failed()
        backoff.lasted(STEADY_SECONDS - 1)
        self.assertEqual(backoff.failed(), 16.0)
        backoff.lasted(STEADY_SECONDS)
        self.assertEqual(backoff.failed(), FIRST_SECONDS)
