"""How many files may be open at one time: a semaphore whose size may change while it is held."""

from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore

__all__ = ["FileSlots"]


class FileSlots(DeferredSemaphore):
    """One slot for each file that may be open.

    Args:
        number: how many there are, 1 or more.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._leaving: list[Deferred[Any]] = []  # what is to go as soon as it is given back

    def change(self, number: int) -> None:
        """Have another number of slots. Those that are one too many go when they are given back."""
        missing = number - (self.limit - len(self._leaving))
        while missing > 0 and self._leaving:
            self._leaving.pop().cancel()
            missing -= 1
        free = max(missing, -self.tokens)
        self.limit += free
        self.tokens += free
        for _ in range(free, missing, -1):
            leaving: Deferred[Any] = self.acquire()
            self.waiting.insert(0, self.waiting.pop())  # before those who wait for a file
            self._leaving.append(leaving)
            leaving.addCallbacks(self._has_left, lambda _: None, callbackArgs=(leaving,))
        while self.tokens and self.waiting:
            self.tokens -= 1
            waiting: Deferred[Any] = self.waiting.pop(0)
            waiting.callback(self)

    def _has_left(self, _: object, leaving: "Deferred[Any]") -> None:
        self._leaving.remove(leaving)
        self.limit -= 1
