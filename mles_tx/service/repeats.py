"""Lines that are logged again and again: of many within a second, a few are written, and how many more there were.

What is the same but for its time counts as the same. It must not know how a line is written, nor what it says.
"""

from collections import OrderedDict
from collections.abc import Callable
from threading import RLock

__all__ = ["Repeats"]

#: Lines of one kind that are written within a second before the rest is counted.
_FEW = 5

#: Seconds in which they are counted.
_SECONDS = 1.0

#: Kinds that are looked after at one time: what is not there is written.
_KINDS = 1000


class _Kind:
    """One line, and how often it came.

    Attributes:
        began_at: when the first one came.
        count: lines since then.
        last: the last one.
    """

    __slots__ = ("began_at", "count", "last")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.count = 0
        self.last = ""


class Repeats:
    """Stands between those who log and what is written.

    Args:
        write: takes a line, and how often it came without being written; 0 but for lines that stand for many.
    """

    def __init__(self, write: Callable[[str, int], object]) -> None:
        self._write = write
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()  # those that began first come first
        self._lock = RLock()  # any thread may log, and a signal handler in the middle of a line of its own thread

    def take(self, line: str, same: str, when: float) -> None:
        """Write a line, or count it.

        Args:
            line: the line.
            same: what of it has to be the same.
            when: the time, in seconds.
        """
        with self._lock:
            self._settle(when)
            kind = self._kinds.get(same)
            if kind is None:
                if len(self._kinds) < _KINDS:
                    kind = self._kinds[same] = _Kind(when)
                    kind.count = 1
                self._write(line, 0)
            else:
                kind.count += 1
                kind.last = line
                if kind.count <= _FEW:
                    self._write(line, 0)

    def settle(self, when: float) -> None:
        """Write how many there were of what was counted, where the second is over."""
        with self._lock:
            self._settle(when)

    def _settle(self, when: float) -> None:
        while self._kinds:
            same, kind = next(iter(self._kinds.items()))
            if 0 <= when - kind.began_at < _SECONDS:  # else it is over, or the clock was set back
                return
            self._kinds.pop(same, None)  # a signal handler may have been faster
            if kind.count > _FEW:
                self._write(kind.last, kind.count - _FEW)
