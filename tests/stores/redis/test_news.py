"""Tests of what is announced."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.redis.news import HeldNews, announced


class AnnouncementTests(SynchronousTestCase):
    """Announcements as bytes."""

    def test_parts(self) -> None:
        """An announcement is taken apart, whatever the batch has in it; anything else is no announcement."""
        self.assertEqual(announced(b"e 1-0 2-0\na\nb \xff"), (b"e", b"1-0", (b"2-0", b"a\nb \xff")))
        for data in (b"", b"e 1-0\nx", b"e 1-0 2-0 3-0\nx", b"e 1-0 2\nx", b"e 1K-0 2-0\nx", b"e 1-0 2--1\nx"):
            self.assertRaises(ValueError, announced, data)


class HeldNewsTests(SynchronousTestCase):
    """Announcements that wait."""

    def test_order(self) -> None:
        """They come in their order, once."""
        held = HeldNews()
        first, second = (announced(b"e %d-0 %d-0\nx" % (at, at + 1)) for at in (1, 2))
        self.assertTrue(held.hold(first))
        self.assertTrue(held.hold(second))
        self.assertEqual((held.take(), held.take()), ([first, second], []))

    def test_too_much(self) -> None:
        """When they are too many bytes none is kept, and that is told; then there is room again."""
        held = HeldNews()
        large = announced(b"e 1-0 2-0\n" + bytes(3 << 20))
        self.assertEqual([held.hold(large) for _ in range(3)], [True, False, True])
        self.assertEqual(held.take(), [large])
