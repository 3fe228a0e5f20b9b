"""How much of a reactor turn goes into frames that are parsed one by one.

A read of 16 KiB may hold 2,700 tiny frames, each of which takes Autobahn 20 µs: eight peers that send nothing else
would hold up everybody else for 400 ms. So there is one allowance a turn for all connections together. Who has
had its part of it, and has more, waits in a row; it is not read meanwhile.
"""

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["ParseShare", "Waiting"]

#: Steps in a turn, of all connections. A frame takes two, one for its head and one for what is in it, and a step about
#: 10 µs: some 5 ms.
_STEPS = 512

#: Steps in a turn of one connection that has waited: a single ping does not wait for all frames of those before it.
_PART = 64

#: As many may wait without being a crowd: with what was read of each, some 4 MiB.
_CROWD = 128

#: Seconds that last longer than a turn: when nobody had to wait for so long, nobody need begin to.
_CALM_SECONDS = 0.1


class Waiting(Protocol):
    """Who waits for the next turn."""

    def go_on(self) -> None:
        """Take steps, and `wait` again when they do not suffice."""


class ParseShare:
    """The allowance of each turn, and the row of those who wait for it.

    It is renewed when it is used up, and somebody has to wait for that only when it was used up quickly: where
    frames come now and then there is neither a wait nor a timer.

    Args:
        clock: the reactor, or a `Clock` in tests.
        steps: how many there are in a turn.
    """

    def __init__(self, clock: IReactorTime, steps: int = _STEPS) -> None:
        self._clock = clock
        self._steps = self._left = steps
        self._renewed = clock.seconds()
        self._waiting: dict[Waiting, None] = {}  # in order
        self._renewal: IDelayedCall | None = None

    @property
    def is_crowded(self) -> bool:
        """Whether so many wait that whoever has gone had better not wait as well."""
        return len(self._waiting) > _CROWD

    def take(self) -> bool:
        """Whether one more step may be taken in this turn."""
        if not self._left:
            now = self._clock.seconds()
            if self._waiting or now - self._renewed < _CALM_SECONDS:
                return False
            self._renewed, self._left = now, self._steps
        self._left -= 1
        return True

    def charge(self, steps: int) -> None:
        """Count more steps of this turn as taken: for a frame after which there is more to do."""
        self._left = max(0, self._left - steps)

    def wait(self, who: Waiting) -> None:
        """Have somebody called in its turn, which is not this one."""
        self._waiting[who] = None
        if self._renewal is None:
            self._renewal = self._clock.callLater(0, self._renew)

    def forget(self, who: Waiting) -> None:
        """Somebody does not wait any more; any number of times."""
        self._waiting.pop(who, None)
        if not self._waiting:
            self.stop()

    def stop(self) -> None:
        """Keep no timer."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    def _renew(self) -> None:
        self._renewal = None
        self._renewed = self._clock.seconds()
        left = self._steps
        while self._waiting and left:
            who = next(iter(self._waiting))
            del self._waiting[who]
            self._left = part = min(_PART, left)
            who.go_on()
            left -= part - self._left
        self._left = left  # for what is read in this turn
        if not self._waiting:
            self.stop()
        elif self._renewal is None:
            self._renewal = self._clock.callLater(0, self._renew)
