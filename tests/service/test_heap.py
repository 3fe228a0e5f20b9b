"""The memory of a process: when it is given back, and what the garbage collector need not look at again."""

import gc
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.heap import LONG_SECONDS, LOOK_SECONDS, MANY, Heap, find_trim


class _HeapTestCase(SynchronousTestCase):
    """A heap whose connections, trims and processor time are the test's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.count = self.trims = 0
        self.used = 0.0
        self.heap = Heap(self.clock, lambda: self.count, self.trim, lambda: self.used)

    def trim(self) -> None:
        """Note that memory is given back."""
        self.trims += 1

    def start(self) -> None:
        """Start it until the test ends."""
        self.heap.startService()
        self.addCleanup(self.heap.stopService)

    def looks(self, *counts: int) -> list[int]:
        """How many trims there have been after each look at so many connections."""
        trims = []
        for self.count in counts:
            self.clock.advance(LOOK_SECONDS)
            trims.append(self.trims)
        return trims


class TrimTests(_HeapTestCase):
    """Memory is given back when many have left."""

    def test_all_at_once(self) -> None:
        """One trim when all have left, however many come and stay before and afterwards."""
        self.start()
        self.assertEqual(self.looks(3 * MANY, 8 * MANY, 8 * MANY, 0, 0, 8 * MANY, 8 * MANY), [0, 0, 0, 1, 2, 2, 2])

    def test_little_by_little(self) -> None:
        """Those who leave one after the other count together, and the last of them too, however few they are."""
        self.start()
        few = MANY // 10
        self.assertEqual(self.looks(2 * MANY, MANY + few, MANY, MANY - few, MANY - few), [0, 0, 1, 1, 2])
        self.assertEqual(self.looks(MANY - few, 0, 0), [2, 2, 2])

    def test_few(self) -> None:
        """A server on which a few come and go all the time never trims."""
        self.start()
        self.assertEqual(self.looks(*(MANY, 1) * 10), [0] * 20)

    def test_again(self) -> None:
        """Each wave that leaves is followed by a trim."""
        self.start()
        self.assertEqual(self.looks(*(5 * MANY, 0, 0) * 3)[2::3], [2, 4, 6])

    def test_stopped(self) -> None:
        """It keeps no timer, whether it was started or not."""
        for _ in range(2):
            self.heap.startService()
            self.heap.stopService()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_for_real(self) -> None:
        """The C library's trim is found where there is one, and can be called; else nothing happens."""
        self.assertIn(find_trim()(), (0, 1))


class CollectionTests(_HeapTestCase):
    """What a long collection has found in use is left out of the next ones."""

    def setUp(self) -> None:
        super().setUp()
        gc.disable()
        self.addCleanup(gc.enable)
        self.addCleanup(gc.unfreeze)
        gc.unfreeze()

    def collect(self, seconds: float, generation: int = 2) -> int:
        """How many objects are spared after a collection that takes so long."""
        began = self.used

        def take_time(phase: str, info: dict[str, Any]) -> None:
            self.used = began + seconds

        gc.callbacks.insert(0, lambda phase, info: take_time(phase, info) if phase == "stop" else None)
        try:
            gc.collect(generation)
        finally:
            del gc.callbacks[0]
        return gc.get_freeze_count()

    def test_program(self) -> None:
        """What there is when it starts is spared: it is the program itself."""
        self.start()
        self.assertGreater(gc.get_freeze_count(), 1000)

    def test_long(self) -> None:
        """Only a long collection of all there is spares what it has found."""
        self.start()
        before = gc.get_freeze_count()
        kept = [[number] for number in range(1000)]
        self.assertLess(self.collect(LONG_SECONDS / 2), before + 500)
        self.assertLess(self.collect(LONG_SECONDS * 2, generation=1), before + 500)
        self.assertGreaterEqual(self.collect(LONG_SECONDS * 2), before + 1000)
        del kept
        self.assertLess(gc.get_freeze_count(), before + 500)  # what is let go of is gone, as ever

    def test_crowd_gone(self) -> None:
        """When a crowd has gone all is looked at again: what it used may be garbage by now, and the rest is little."""
        self.start()
        self.looks(5 * MANY, 3 * MANY)
        self.assertGreater(gc.get_freeze_count(), 1000)
        self.looks(MANY - 1)
        self.assertEqual((self.trims, gc.get_freeze_count()), (2, 0))

    def test_garbage(self) -> None:
        """What is garbage by then is not spared but gone."""
        self.start()
        found: list[int] = []

        class Node:
            def __del__(self) -> None:
                found.append(1)

        node: Any = Node()
        node.itself = node
        del node
        self.collect(LONG_SECONDS * 2)
        self.assertEqual(found, [1])

    def test_stopped(self) -> None:
        """Then the collector is as it was."""
        callbacks = list(gc.callbacks)
        self.heap.startService()
        self.collect(LONG_SECONDS * 2)
        self.heap.stopService()
        self.assertEqual((gc.get_freeze_count(), gc.callbacks), (0, callbacks))
