"""What is announced on a channel, taken apart."""

import re
from typing import NamedTuple

from .entries import Entry

__all__ = ["Announced", "announced"]


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
