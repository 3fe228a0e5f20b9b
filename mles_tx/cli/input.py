"""Standard input, read in a thread that nobody waits for.

Python's own readers are locked while they read, and a process that ends meanwhile would crash on that lock.
"""

import os
from collections.abc import Callable

__all__ = ["InputReader"]

#: Bytes that are asked for at a time.
_PIECE_BYTES = 64 * 1024


class InputReader:
    """Reads lines, or all there is. Its methods wait for input: they are to be called in a thread, one at a time.

    Args:
        descriptor: what is read.
        read: how; `os.read` but in tests.
    """

    def __init__(self, descriptor: int, read: Callable[[int, int], bytes] = os.read) -> None:
        self._descriptor = descriptor
        self._read = read
        self._buffer = bytearray()
        self._looked = 0  # bytes of it in which there is no line feed

    def line(self, most: int) -> bytes:
        """The next line with its line feed, or the first `most` bytes of a longer one; empty: there are no more."""
        while True:
            end = self._buffer.find(b"\n", self._looked) + 1
            if end or len(self._buffer) >= most:
                return self._take(min(end or most, most))
            self._looked = len(self._buffer)
            if not self._fill():
                return self._take(len(self._buffer))

    def all(self, most: int) -> bytes:
        """What comes until the end, but no more than the first `most` bytes."""
        while len(self._buffer) < most and self._fill():
            pass
        return self._take(min(len(self._buffer), most))

    def _fill(self) -> bool:
        data = self._read(self._descriptor, _PIECE_BYTES)
        self._buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._looked = 0
        return taken
