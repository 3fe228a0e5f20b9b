"""How late a reactor's timers are: what everybody on it waits, whatever they wait for."""

from bisect import bisect_left
from itertools import accumulate
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall

__all__ = ["LAG_BOUNDS", "PROBE_SECONDS", "ReactorLag"]

#: Seconds between two looks.
PROBE_SECONDS = 0.5

#: Upper bounds of what is counted together, in seconds. A timer is late by up to a millisecond anyhow.
LAG_BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ReactorLag(Service):
    """Sets a timer time and again, and counts how late it comes.

    Args:
        reactor: whose timers these are.

    Attributes:
        total: seconds of all looks together.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._counts = [0] * (len(LAG_BOUNDS) + 1)
        self.total = 0.0
        self._due = 0.0
        self._timer: IDelayedCall | None = None

    @property
    def counts(self) -> list[int]:
        """How many looks were late by at most each of `LAG_BOUNDS`; the last number is that of all looks."""
        return list(accumulate(self._counts))

    def startService(self) -> None:
        super().startService()
        self._look_later()

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        self._due = self._reactor.seconds() + PROBE_SECONDS
        self._timer = self._reactor.callLater(PROBE_SECONDS, self._look)

    def _look(self) -> None:
        # An embedder's clock may be set back.
        late = max(0.0, self._reactor.seconds() - self._due)
        self._counts[bisect_left(LAG_BOUNDS, late)] += 1
        self.total += late
        self._look_later()
