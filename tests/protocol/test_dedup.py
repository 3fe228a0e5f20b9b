"""The memory of digests."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.dedup import MAX_DIGESTS, DigestMemory


class DigestMemoryTests(SynchronousTestCase):
    """What is there already."""

    def test_add(self) -> None:
        """What is new is new once."""
        memory = DigestMemory()
        self.assertEqual([memory.add(digest) for digest in (1, 2, 1, 3, 2)], [True, True, False, True, False])
        self.assertEqual((list(memory), len(memory)), ([1, 2, 3], 3))
        self.assertTrue(3 in memory)
        self.assertFalse(4 in memory)

    def test_first_in_first_out(self) -> None:
        """When it is full the oldest goes, and coming again does not make one any newer."""
        memory = DigestMemory(3)
        for digest in (1, 2, 3, 1, 4):
            memory.add(digest)
        self.assertEqual(list(memory), [2, 3, 4])
        self.assertTrue(memory.add(1))
        self.assertEqual(list(memory), [3, 4, 1])

    def test_record(self) -> None:
        """Where it counts how often something was there, it stands so often."""
        memory = DigestMemory(4)
        for digest in (1, 1, 2, 1):
            memory.record(digest)
        self.assertEqual((memory.count(1), memory.count(2), memory.count(3)), (3, 1, 0))
        memory.record(2)
        self.assertEqual((list(memory), memory.count(1)), ([1, 2, 1, 2], 2))
        for _ in range(3):
            memory.record(3)
        self.assertEqual((list(memory), 1 in memory), ([2, 3, 3, 3], False))

    def test_newest(self) -> None:
        """The last ones are told oldest first, as many as there are."""
        memory = DigestMemory()
        self.assertEqual(memory.newest(8), ())
        for digest in range(10):
            memory.record(digest)
        self.assertEqual((memory.newest(3), memory.newest(0)), ((7, 8, 9), ()))
        self.assertEqual(memory.newest(99), tuple(range(10)))

    def test_size(self) -> None:
        """It remembers 40,000, and never more."""
        memory = DigestMemory()
        for digest in range(MAX_DIGESTS + 10):
            memory.add(digest)
        self.assertEqual((MAX_DIGESTS, len(memory), 9 in memory, 10 in memory), (40_000, 40_000, False, True))
        self.assertRaises(ValueError, DigestMemory, 0)

    @given(st.integers(1, 6), st.lists(st.tuples(st.booleans(), st.integers(0, 7))))
    def test_like_a_list(self, size: int, steps: list[tuple[bool, int]]) -> None:
        """It does what a list of the last digests would do."""
        memory, model = DigestMemory(size), list[int]()
        for adds, digest in steps:
            is_new = digest not in model
            if adds:
                self.assertEqual(memory.add(digest), is_new)
            else:
                memory.record(digest)
            if not adds or is_new:
                model = [*model, digest][-size:]
            self.assertEqual((list(memory), len(memory)), (model, len(model)))
            self.assertEqual([memory.count(one) for one in range(8)], [model.count(one) for one in range(8)])
            self.assertEqual(memory.newest(2), tuple(model[-2:]))
