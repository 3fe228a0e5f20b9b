"""What is in memory: looked at for no longer than need be, and given back when many have left at once.

Two things cost everybody time, or memory, only where there are thousands of members:

- Python's garbage collector looks at all there is each time that has grown by a quarter. With 8,000 members that is a
  third of a million objects and takes a tenth of a second. What such a look has found in use is spared the next ones:
  nothing of ours waits for the collector (a connection that is gone is gone at once, which tests see to). Twisted's end
  of a connection to an upstream does; it is looked for when a crowd has gone, because then that takes no time.
- The C library keeps what was freed. While thousands leave in the same instant its heap even grows, and what comes
  later finds it in pieces: 8,000 members who left and came back took 5 to 8 % more memory than the first time, and less
  than 1 % more after a trim, which leaves 100 of 290 MiB meanwhile.
"""

import ctypes
import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall

__all__ = ["LONG_SECONDS", "LOOK_SECONDS", "MANY", "Heap", "find_trim"]

#: Seconds between two looks at how many are there.
LOOK_SECONDS = 1.0

#: As many have to have left for a trim, which takes some 10 ms then, and the reactor does nothing else meanwhile.
MANY = 1000

#: Seconds of processor time: what a longer collection has found in use is left out of the next ones.
LONG_SECONDS = 0.01

#: The generation of all objects that are not young.
_OLD = 2


def find_trim() -> Callable[[], object]:
    """What gives free memory of the C library back to the system; nothing, where there is no such thing, as in musl."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return int
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    return lambda: trim(0)


class Heap(Service):
    """Looks after the memory of a process, for a program that has it to itself.

    Args:
        reactor: whose time it is.
        count: tells how many connections there are.
        trim: gives memory back to the system.
        clock: the processor time that this thread has used, seconds.
    """

    def __init__(
        self,
        reactor: Any,
        count: Callable[[], int],
        trim: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._reactor = reactor
        self._count = count
        self._trim = find_trim() if trim is None else trim
        self._clock = clock
        self._most = self._last = 0
        self._is_owed = False  # who leaves after a trim is worth another one, when nobody leaves any more
        self._began = 0.0
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        gc.freeze()  # the program itself
        gc.callbacks.append(self._collected)
        self._look()

    def stopService(self) -> None:
        super().stopService()
        gc.callbacks.remove(self._collected)
        gc.unfreeze()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _collected(self, phase: str, info: Mapping[str, int]) -> None:
        if info["generation"] != _OLD:
            return
        if phase == "start":
            self._began = self._clock()
        elif self._clock() - self._began > LONG_SECONDS:
            gc.freeze()

    def _look(self) -> None:
        self._timer = self._reactor.callLater(LOOK_SECONDS, self._look)
        count = self._count()
        left = self._most - count
        is_leaving = count < self._last
        if left >= MANY or (self._is_owed and not is_leaving):
            self._trim()
            if count < MANY:
                gc.unfreeze()
            self._most = count
            self._is_owed = is_leaving
        self._most = max(self._most, count)
        self._last = count
