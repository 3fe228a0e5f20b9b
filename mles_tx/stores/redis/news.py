"""What is announced on a channel, taken apart."""

import re
from typing import NamedTuple

from .entries import Entry

__all__ = ["Announced", "HeldNews", "announced"]

#: Bytes of announcements that wait while a stream is read; beyond, they are read as well.
_HELD_BYTES = 4 * 1024 * 1024


#: The id of an entry: milliseconds and a number, 64 bits each.
_ID = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")


class Announced(NamedTuple):
    """What is announced when a batch is appended.

    Attributes:
        epoch: which stream it is.
        before: the id before it.
        entry: its place, and the batch.
    """

    epoch: bytes
    before: bytes
    entry: Entry


def announced(data: bytes) -> Announced:
    """Take an announcement apart.

    Raises:
        ValueError: it is none.
    """
    head, _, body = data.partition(b"\n")
    epoch, before, entry_id = head.split(b" ")
    if _ID.fullmatch(before) is None or _ID.fullmatch(entry_id) is None:
        raise ValueError("these are no places in a stream")
    return Announced(epoch, before, Entry(entry_id, body))


class HeldNews:
    """Announcements that wait while the stream is read."""

    def __init__(self) -> None:
        self._held: list[Announced] = []
        self._bytes = 0

    def hold(self, news: Announced) -> bool:
        """Keep one; False when that is too much: then none is kept."""
        self._held.append(news)
        self._bytes += len(news.entry.body)
        if self._bytes <= _HELD_BYTES:
            return True
        self.take()
        return False

    def take(self) -> list[Announced]:
        """All of them; none is left."""
        held, self._held = self._held, []
        self._bytes = 0
        return held
