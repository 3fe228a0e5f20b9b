"""How many files may be open at one time."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.slots import FileSlots


class FileSlotsTests(SynchronousTestCase):
    """Slots that come and go."""

    def acquire(self, slots: FileSlots, number: int) -> list[Any]:
        """So many that ask for a slot."""
        return [slots.acquire() for _ in range(number)]

    def served(self, asking: list[Any]) -> list[bool]:
        """Who has one."""
        return [bool(one.called) for one in asking]

    def test_more(self) -> None:
        """When there are more, those who wait get them at once, in order."""
        slots = FileSlots(1)
        asking = self.acquire(slots, 4)
        slots.change(3)
        self.assertEqual(self.served(asking), [True, True, True, False])
        slots.release()
        self.assertEqual(self.served(asking), [True] * 4)

    def test_fewer(self) -> None:
        """When there are fewer, nobody loses one; who comes waits until as many are open as there may be."""
        slots = FileSlots(4)
        asking = self.acquire(slots, 3)
        slots.change(1)
        self.assertEqual(self.served(asking), [True] * 3)
        asking += self.acquire(slots, 1)
        slots.release()
        slots.release()
        self.assertEqual(self.served(asking), [True] * 3 + [False])
        slots.release()
        self.assertEqual(self.served(asking), [True] * 4)
        slots.release()
        self.assertEqual((slots.tokens, slots.limit), (1, 1))

    def test_fewer_before_those_who_wait(self) -> None:
        """Who waits already does not keep the number from going down."""
        slots = FileSlots(2)
        asking = self.acquire(slots, 4)
        slots.change(1)
        slots.release()
        self.assertEqual(self.served(asking), [True, True, False, False])
        slots.release()
        self.assertEqual(self.served(asking), [True, True, True, False])

    def test_down_and_up(self) -> None:
        """Any number of changes leave the number that was asked for last."""
        slots = FileSlots(5)
        asking = self.acquire(slots, 5)
        for number in (2, 4, 1, 999999, 3):
            slots.change(number)
        asking += self.acquire(slots, 3)
        for _ in range(5):
            slots.release()
        self.assertEqual(self.served(asking), [True] * 8)
        for _ in range(3):
            slots.release()
        self.assertEqual((slots.tokens, slots.limit, slots.waiting), (3, 3, []))

    def test_same(self) -> None:
        """A change that is none changes nothing."""
        slots = FileSlots(2)
        self.acquire(slots, 2)
        slots.change(2)
        self.assertEqual((slots.tokens, slots.limit), (0, 2))

    def test_given_up(self) -> None:
        """Who does not wait any longer takes no slot, also while there are fewer."""
        slots = FileSlots(1)
        asking = self.acquire(slots, 2)
        slots.change(2)
        slots.change(1)
        third = slots.acquire()
        third.cancel()
        self.failureResultOf(third)
        for _ in range(2):
            slots.release()
        self.assertEqual((self.served(asking), slots.tokens, slots.limit), ([True, True], 1, 1))
