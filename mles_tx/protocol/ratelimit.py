"""How fast one member may speak: bucket arithmetic, time is an argument."""

__all__ = ["BURST_SECONDS", "MessageRate"]

#: A burst may be that many seconds' worth: a picture of 500 pieces passes at the default rate without a pause.
BURST_SECONDS = 5.0


class MessageRate:
    """A sustained rate with a burst allowance (the generic cell rate algorithm).

    Nothing is refused: who is over the rate is told how long not to be read.

    Args:
        rate: messages per second, more than 0.
    """

    __slots__ = ("_paid_until", "_seconds_each")

    def __init__(self, rate: float) -> None:
        self._seconds_each = 1.0 / rate
        self._paid_until = float("-inf")

    def take(self, count: int, now: float) -> float:
        """Count messages that came at time `now`.

        Returns:
            Seconds to wait before reading on; 0.0 while within rate and burst.
        """
        self._paid_until = max(self._paid_until, now) + count * self._seconds_each
        return max(0.0, self._paid_until - now - BURST_SECONDS)
