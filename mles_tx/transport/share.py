"""How much of a reactor turn goes into one kind of work, so that a flood of it does not hold up everybody else."""

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["TurnShare"]


class TurnShare:
    """Work in pieces: some are done in each turn of the reactor, the others wait in the order they came.

    Args:
        clock: whose turns these are.
        pieces: how many are done in a turn.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, pieces: int) -> None:
        self._clock = clock
        self._pieces = pieces
        self._left = pieces
        self._waiting: deque[Callable[[], object]] = deque()
        self._next: IDelayedCall | None = None

    def take(self) -> bool:
        """Whether a piece of work may be done at once; False means that it has to be handed to `run`."""
        if self._waiting or self._left <= 0:
            return False
        self.charge(1)
        return True

    def charge(self, pieces: int) -> None:
        """Count so many pieces of this turn as done: for work that turns out to be more than one."""
        self._left -= pieces
        if self._next is None:
            self._next = self._clock.callLater(0, self._turn)

    def run(self, work: Callable[[], object]) -> None:
        """Do a piece of work now, or in a later turn when enough was done in this one."""
        if self.take():
            work()
        else:
            self._waiting.append(work)

    def stop(self) -> None:
        """Forget what waits, and the timer."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._left = self._pieces

    def _turn(self) -> None:
        """A new turn: some of those that wait are done first."""
        self._next = None
        self._left = self._pieces
        while self._waiting and self._left > 0:
            self._left -= 1
            try:
                self._waiting.popleft()()
            except Exception:
                self._log.failure("a piece of work failed")
        if self._next is None and self._left < self._pieces:  # else whoever comes now would begin in the same turn
            self._next = self._clock.callLater(0, self._turn)
