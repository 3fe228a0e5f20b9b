"""Which payloads were there already: a memory of their digests that has a fixed size.

Mles gives messages no numbers. Clients tell what comes again by the digest of its payload (`digest` in auth.py), and
remember the last 40,000, as the clients of the reference do.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice

__all__ = ["MAX_DIGESTS", "DigestMemory"]

#: Digests that are remembered, as in the reference's clients: 200 histories of the usual length, about 4 MB.
MAX_DIGESTS = 40_000


class DigestMemory:
    """The last digests, first in, first out.

    Args:
        size: how many are remembered, 1 or more.
    """

    __slots__ = ("_counts", "_digests", "_size")

    def __init__(self, size: int = MAX_DIGESTS) -> None:
        if size < 1:
            raise ValueError("a memory holds at least one digest")
        self._size = size
        self._digests: deque[int] = deque()
        self._counts: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, digest: int) -> bool:
        return digest in self._counts

    def __iter__(self) -> Iterator[int]:
        """What is remembered, oldest first."""
        return iter(self._digests)

    def add(self, digest: int) -> bool:
        """Remember a digest, unless it is there: then it keeps its place.

        Returns:
            Whether it is new.
        """
        if digest in self._counts:
            return False
        self.record(digest)
        return True

    def record(self, digest: int) -> None:
        """Remember a digest, once more when it is there already."""
        if len(self._digests) == self._size:
            oldest = self._digests.popleft()
            if self._counts[oldest] == 1:
                del self._counts[oldest]
            else:
                self._counts[oldest] -= 1
        self._digests.append(digest)
        self._counts[digest] = self._counts.get(digest, 0) + 1

    def count(self, digest: int) -> int:
        """How often a digest is remembered."""
        return self._counts.get(digest, 0)

    def newest(self, number: int) -> tuple[int, ...]:
        """The last so many, oldest first: what `since` of a first frame asks for."""
        return tuple(islice(reversed(self._digests), number))[::-1]
