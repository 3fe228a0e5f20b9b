"""Pings for all connections, from one timer.

Connections stand on a wheel. Each tick serves one slot of it, so every connection is served once in an
interval, and thousands are not served in the same instant.
"""

from itertools import cycle
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["Heartbeat"]

#: Slots of the wheel: with the usual interval of 24 s a tick comes every 1.5 s.
_SLOTS = 16


class _Beating(Protocol):
    def __hash__(self) -> int: ...

    def beat(self) -> None:
        """An interval has passed."""


class Heartbeat:
    """Calls `beat` on each connection once in an interval.

    Args:
        clock: where the time comes from.
        interval: seconds.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, interval: float) -> None:
        self._clock = clock
        self._tick_seconds = interval / _SLOTS
        # Dicts, not sets: what is served first came first.
        self._slots: list[dict[_Beating, None]] = [{} for _ in range(_SLOTS)]
        self._place: dict[_Beating, dict[_Beating, None]] = {}
        self._due = cycle(self._slots)
        self._last = self._slots[-1]
        self._tick_at = 0.0
        self._timer: IDelayedCall | None = None

    def add(self, connection: _Beating) -> None:
        """Serve a connection from now on, for the first time in one interval."""
        self._last[connection] = None
        self._place[connection] = self._last
        if self._timer is None:
            self._tick_at = self._clock.seconds()
            self._schedule()

    def remove(self, connection: _Beating) -> None:
        """Serve it no more; no harm when it is not here."""
        slot = self._place.pop(connection, None)
        if slot is not None:
            del slot[connection]

    def change(self, interval: float) -> None:
        """Serve everybody in another interval, seconds, beginning now."""
        self._tick_seconds = interval / _SLOTS
        self._tick_at = self._clock.seconds()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
            self._schedule()

    def stop(self) -> None:
        """Serve nobody, and keep no timer."""
        for slot in self._slots:
            slot.clear()
        self._place.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _tick(self) -> None:
        # Until the end the timer that has just fired stays: who is added meanwhile sets no other.
        self._last = next(self._due)
        for connection in list(self._last):
            if connection not in self._last:
                continue  # serving another one has ended it
            try:
                connection.beat()
            except Exception:
                self._log.failure("a connection could not be pinged")
        if self._timer is None or not self._timer.active():
            self._timer = None
            if self._place:
                self._schedule()

    def _schedule(self) -> None:
        # From the time the last tick was due, so that late ones do not add up.
        now = self._clock.seconds()
        self._tick_at = max(self._tick_at + self._tick_seconds, now)
        self._timer = self._clock.callLater(self._tick_at - now, self._tick)
