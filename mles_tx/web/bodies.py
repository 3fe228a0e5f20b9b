"""Bodies in the codings of HTTP: made off the reactor's thread, and kept as long as there is room.

The key of a body has the path, the coding and the stamp of its file, so that a file that has changed is another one.
It must not know who asks.
"""

import gzip
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import brotli
from cachetools import LRUCache
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.failure import Failure

from .lookup import Stamp

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["BodyCache", "BodyKey", "CacheCounts", "InThread", "compress"]

#: How hard each coding tries. Of 290 kB of JavaScript they make 81, 81 and 85 kB, in 6, 5 and 11 ms; the highest levels
#: make 71, 74 and 85 kB, in 385, 75 and 20 ms. Who wants those puts ready-made files beside the others.
_BROTLI_QUALITY = 5
_ZSTD_LEVEL = 9
_GZIP_LEVEL = 6

#: Compressions at one time. One leaves the other core of a small machine to the reactor.
_AT_ONE_TIME = 1

#: Bytes that a key and its place in the tables take.
_ENTRY_BYTES = 512

#: Path of the file, coding, stamp.
BodyKey = tuple[str, str, Stamp]

#: Calls a function in a thread; a Deferred with what it returns.
InThread = Callable[[Callable[[], bytes]], "Deferred[bytes]"]

_COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    "br": lambda body: bytes(brotli.compress(body, quality=_BROTLI_QUALITY)),
    "gzip": lambda body: gzip.compress(body, _GZIP_LEVEL, mtime=0),
    "zstd": lambda body: bytes(zstd.compress(body, _ZSTD_LEVEL)),
}


def compress(coding: str, body: bytes) -> bytes:
    """A body in one of `negotiation.CODINGS`.

    Raises:
        KeyError: it is none of them.
    """
    return _COMPRESSORS[coding](body)


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """How well a cache does.

    Attributes:
        hits: bodies that were there.
        misses: bodies that had to be read or made.
        bytes: what is kept now takes.
        entries: how many bodies that is.
    """

    hits: int
    misses: int
    bytes: int
    entries: int


class BodyCache:
    """Bodies by file and coding; the least recently used is thrown away first.

    Args:
        room: bytes they may take together; 0: nothing is kept.
        in_thread: where bodies are made.
    """

    def __init__(self, room: int, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._bodies: LRUCache[BodyKey, bytes] = LRUCache(room, lambda body: len(body) + _ENTRY_BYTES)
        self._waiting: dict[BodyKey, list[Deferred[bytes]]] = {}
        self._turns = DeferredSemaphore(_AT_ONE_TIME)
        self._hits = 0
        self._misses = 0

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return self._bodies.maxsize > 0

    @property
    def room(self) -> int:
        """Bytes it may take."""
        return int(self._bodies.maxsize)

    def counts(self) -> CacheCounts:
        """How well it does."""
        return CacheCounts(self._hits, self._misses, int(self._bodies.currsize), len(self._bodies))

    def get(self, key: BodyKey) -> bytes | None:
        """A body that is kept; None: it is not."""
        body = self._bodies.get(key)
        if body is not None:
            self._hits += 1
        return body

    def keep(self, key: BodyKey, body: bytes) -> None:
        """Keep a body, if there is room for it."""
        self._misses += 1
        self._keep(key, body)

    def make(self, key: BodyKey, make: Callable[[], bytes], keeps: bool = True) -> "Deferred[bytes]":
        """A body that is not kept: it is made, and then kept if there is room.

        However many ask for it meanwhile, it is made once.

        Args:
            key: which it is.
            make: called in a thread.
            keeps: whether it may be kept.

        Returns:
            A Deferred with the body, or with what `make` raised.
        """
        answer: Deferred[bytes] = Deferred()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(answer)
        if len(waiting) == 1:
            self._misses += 1
            made: Deferred[bytes] = self._turns.run(self._in_thread, make)
            made.addBoth(self._made, key, keeps)
        else:
            self._hits += 1
        return answer

    def _made(self, body: Any, key: BodyKey, keeps: bool) -> None:
        waiting = self._waiting.pop(key)
        if keeps and not isinstance(body, Failure):
            self._keep(key, body)
        for answer in waiting:  # those who have gone meanwhile do not mind
            answer.callback(body)

    def _keep(self, key: BodyKey, body: bytes) -> None:
        if len(body) + _ENTRY_BYTES <= self._bodies.maxsize:
            self._bodies[key] = body
