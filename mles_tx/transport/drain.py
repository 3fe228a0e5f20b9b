"""Telling many connections that it is over: not all at once, but spread over a while.

Whoever is told comes back, and here or on another node that is a TLS handshake and a history to be sent. It must not
know what is told, or what becomes of it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Drain"]

T = TypeVar("T")

#: Seconds between two rounds at the least: of many connections several are told in one.
_STEP_SECONDS = 0.02


class Drain(Generic[T]):
    """Tells connections one after another, evenly spread: the first at once, the last just before the end.

    Args:
        clock: where the time comes from.
        connections: who is to be told, in this order.
        seconds: over how long; 0: all at once.
        tell: called with those whose turn it is; it must not raise.
    """

    def __init__(
        self, clock: IReactorTime, connections: Iterable[T], seconds: float, tell: Callable[[Sequence[T]], object]
    ) -> None:
        self._clock = clock
        self._waiting = deque(connections)
        self._total = len(self._waiting)
        self._seconds = seconds
        self._tell = tell
        self._began = clock.seconds()
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin."""
        self._began = self._clock.seconds()
        self._round()

    def finish(self) -> None:
        """Tell everybody who is left now."""
        waiting = list(self._waiting)
        self.stop()
        if waiting:
            self._tell(waiting)

    def stop(self) -> None:
        """Tell nobody else."""
        self._waiting.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _round(self) -> None:
        elapsed = self._clock.seconds() - self._began
        if elapsed >= self._seconds:
            self.finish()
            return
        told = self._total - len(self._waiting)
        due = min(int(self._total * elapsed / self._seconds) + 1 - told, len(self._waiting))
        if due > 0:
            self._tell([self._waiting.popleft() for _ in range(due)])
        if self._waiting:  # `tell` may have ended it
            told = self._total - len(self._waiting)
            wait = told * self._seconds / self._total - (self._clock.seconds() - self._began)
            self._timer = self._clock.callLater(max(wait, _STEP_SECONDS), self._round)
