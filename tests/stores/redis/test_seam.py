"""Tests of what a link and its users say to each other."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.redis.seam import is_unable


class ErrorTests(SynchronousTestCase):
    """What Redis says when it does not do what it is told."""

    def test_unable(self) -> None:
        """Errors that concern everything are told from those of one channel."""
        for text in ("OOM command not allowed", "READONLY You can't write", "ERR ... -OOM", "NOSCRIPT No matching"):
            self.assertTrue(is_unable(text), text)
        for text in ("WRONGTYPE Operation against a key", "ERR user_script:1: attempt to compare"):
            self.assertFalse(is_unable(text), text)
