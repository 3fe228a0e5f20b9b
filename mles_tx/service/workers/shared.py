"""Memory that all processes of a server see: in it they count together what is limited for the server as a whole.

    channels   one number for each process that may run, written by that process alone
    addresses  an open hash table: whose connections, since when, how many

A lock for the table belongs to the process that holds it and ends with that, however it ends. Who does not get it in
time, because its holder is stopped, goes on without: then a connection may be missing in the count.
"""

import os
import struct
import time
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf
from mmap import mmap
from typing import Self

from siphashc import siphash

from mles_tx.protocol.admission import MAX_ADDRESSES

__all__ = ["SharedMemory", "SharedWindow"]

#: Processes at most: all of them twice, when each is replaced.
_PROCESSES = 512

_NUMBER = struct.Struct("=q")

#: A digest of the address, when its window began, and the connections in it.
_ENTRY = struct.Struct("=QdQ")

#: Entries of the table: with as many addresses as `AddressWindow` holds it is three quarters full.
_ENTRIES = 1 << 17

#: Places looked at for an address.
_PROBES = 16

_KEY_BYTES = 16
_TABLE = _KEY_BYTES + _PROCESSES * _NUMBER.size

_SIZE = _TABLE + _ENTRIES * _ENTRY.size

#: Seconds for which the lock is asked for. It is held for some microseconds, unless its holder has lost its core.
_LOCK_SECONDS = 0.02


class SharedMemory:
    """The memory: 3 MiB, of which only what is used takes any.

    Args:
        descriptor: where it is; it belongs to the memory from then on.

    Attributes:
        descriptor: to be passed to the other processes.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._bytes = mmap(descriptor, _SIZE)
        self._key = self._bytes[:_KEY_BYTES]

    @classmethod
    def make(cls) -> Self:
        """New memory."""
        descriptor = os.memfd_create("mles_tx")
        os.truncate(descriptor, _SIZE)
        os.pwrite(descriptor, os.urandom(_KEY_BYTES), 0)
        return cls(descriptor)

    def close(self) -> None:
        """Let it go; who else has it keeps it."""
        self._bytes.close()
        os.close(self.descriptor)

    def set_channels(self, process: int, channels: int) -> None:
        """Say how many channels a process has.

        Args:
            process: which one, from 0 to 511.
            channels: how many.
        """
        _NUMBER.pack_into(self._bytes, _KEY_BYTES + process * _NUMBER.size, channels)

    def count_channels(self) -> int:
        """How many channels all processes have; one that several of them have counts for each."""
        return sum(struct.unpack_from(f"={_PROCESSES}q", self._bytes, _KEY_BYTES))

    def count(self, address: str, seconds: float, now: float, more: int) -> tuple[float, int]:
        """Count connections of an address.

        Args:
            address: which one.
            seconds: the length of a window.
            now: the time, by the clock that all processes have in common.
            more: how many to add.

        Returns:
            When its window began, and how many connections are in it.
        """
        digest = siphash(self._key, address) or 1  # 0 is an entry nobody has
        is_locked = self._lock()
        try:
            at, began, count = self._find(digest, seconds, now)
            if more:
                count += more
                _ENTRY.pack_into(self._bytes, at, digest, began, count)
        finally:
            if is_locked:
                lockf(self.descriptor, LOCK_UN)
        return began, count

    def _find(self, digest: int, seconds: float, now: float) -> tuple[int, float, int]:
        """The entry of an address, or the one it is to have: a free one, or the oldest."""
        oldest, oldest_began = 0, now + 1.0
        for probe in range(_PROBES):
            at = _TABLE + (digest + probe) % _ENTRIES * _ENTRY.size
            owner, began, count = _ENTRY.unpack_from(self._bytes, at)
            if owner == digest and began <= now < began + seconds:
                return at, began, count
            is_free = owner in (0, digest) or not began <= now < began + seconds
            if is_free and oldest_began != float("-inf"):
                oldest, oldest_began = at, float("-inf")
            elif began < oldest_began:
                oldest, oldest_began = at, began
        return oldest, now, 0

    def _lock(self) -> bool:
        until = 0.0
        while True:
            with suppress(OSError):
                lockf(self.descriptor, LOCK_EX | LOCK_NB)
                return True
            until = until or time.monotonic() + _LOCK_SECONDS
            if time.monotonic() >= until:
                return False
            os.sched_yield()


class SharedWindow:
    """How many connections one address may open on all processes together: `AddressWindow`, in memory they share.

    Args:
        memory: where.
        limit: connections in a window, 1 or more.
        seconds: length of a window.
    """

    def __init__(self, memory: SharedMemory, limit: int, seconds: float) -> None:
        self._memory = memory
        self.change(limit, seconds)

    def __len__(self) -> int:
        return MAX_ADDRESSES  # the table has its size, whoever is in it

    def change(self, limit: int, seconds: float) -> None:
        """Go on with another limit and length; what was counted stays."""
        self._limit = limit
        self._seconds = seconds

    def admit(self, address: str, now: float) -> bool:
        """Count a connection; False when it is one too many."""
        return self._memory.count(address, self._seconds, now, 1)[1] <= self._limit

    def seconds_left(self, address: str, now: float) -> float:
        """Seconds until an address may open connections again that has opened too many."""
        began, count = self._memory.count(address, self._seconds, now, 0)
        return max(0.0, began + self._seconds - now) if count else 0.0

    def forget_expired(self, now: float) -> None:
        """Nothing has to be done: what has expired is overwritten."""
