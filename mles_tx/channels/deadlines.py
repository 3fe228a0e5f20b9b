"""Absolute deadlines of one length, on one timer.

Every entry has the same time to live, so the order of arrival is the order of expiry: a dict in
insertion order and one delayed call replace a timer for each connection.
"""

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["Deadlines"]

T = TypeVar("T", bound="_Hashable")


class _Hashable(Protocol):
    def __hash__(self) -> int: ...


class Deadlines(Generic[T]):
    """What has to happen within a fixed time.

    Args:
        clock: where the time comes from.
        seconds: how long each entry has.
        expired: called with each entry whose time has passed; it is no longer in here then.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, seconds: float, expired: Callable[[T], object]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._expired = expired
        self._due: dict[T, float] = {}
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._due)

    def __iter__(self) -> Iterator[T]:
        """The entries, first those whose time is over first."""
        return iter(self._due)

    def start(self, entry: T) -> None:
        """Give an entry its time, from now on; an entry that is there already starts anew."""
        self._due.pop(entry, None)
        self._due[entry] = self._clock.seconds() + self._seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._sweep)

    def met(self, entry: T) -> None:
        """Take an entry out; no harm when it is not there."""
        self._due.pop(entry, None)

    def stop(self) -> None:
        """Forget all entries and the timer."""
        self._due.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _sweep(self) -> None:
        # Until the end the timer that has just fired stays: what is started meanwhile sets no other.
        now = self._clock.seconds()
        while self._due:
            entry, due = next(iter(self._due.items()))
            if due > now:
                # The timer that is set when the first entry comes is not touched when it goes: here it is moved on.
                self._timer = self._clock.callLater(due - now, self._sweep)
                return
            del self._due[entry]
            try:
                self._expired(entry)
            except Exception:
                self._log.failure("a deadline could not be enforced")
        self._timer = None
