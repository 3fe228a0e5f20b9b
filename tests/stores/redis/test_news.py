"""Tests of what is announced."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.redis.news import announced


class AnnouncementTests(SynchronousTestCase):
    """Announcements as bytes."""

    def test_parts(self) -> None:
        """An announcement is taken apart, whatever the batch has in it; anything else is no announcement."""
        self.assertEqual(announced(b"e 1-0 2-0\na\nb \xff"), (b"e", b"1-0", (b"2-0", b"a\nb \xff")))
        for data in (b"", b"e 1-0\nx", b"e 1-0 2-0 3-0\nx", b"e 1-0 2\nx", b"e 1K-0 2-0\nx", b"e 1-0 2--1\nx"):
            self.assertRaises(ValueError, announced, data)
