"""How long a client waits before it connects again: exponential back-off with full jitter.

Each wait is any time between nothing and a bound that doubles, so that the clients of a restarted server do not come
back in step (Brooker, "Exponential Backoff and Jitter").
"""

from collections.abc import Callable

__all__ = ["FIRST_SECONDS", "LONGEST_SECONDS", "STEADY_SECONDS", "Backoff"]

#: The bound of the first wait, in seconds.
FIRST_SECONDS = 1.0

#: The bound of all later ones.
LONGEST_SECONDS = 60.0

#: A link that held so long was a good one: the next wait is a first one again.
STEADY_SECONDS = 10.0


class Backoff:
    """The waits of one client.

    Args:
        random: any number from 0 to 1.
    """

    __slots__ = ("_failures", "_random")

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0

    def failed(self) -> float:
        """An attempt or a link has failed: the seconds to wait."""
        bound: float = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self._failures, 16))
        self._failures += 1
        return bound * self._random()

    def lasted(self, seconds: float) -> None:
        """A link has held for so long."""
        if seconds >= STEADY_SECONDS:
            self._failures = 0
