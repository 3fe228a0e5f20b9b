"""What is announced on a channel, taken apart."""

from typing import NamedTuple

from .entries import Entry

__all__ = ["Announced", "announced"]


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
    return Announced(epoch, before, Entry(entry_id, body))
