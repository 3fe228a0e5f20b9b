r"""A batch of messages as the bytes of one stream entry, and the other way round.

    1 NODE NUMBER j\n           the version; who said it and its how manieth batch; j for a join frame, - for others
    UID\tCOUNT\tUID\tCOUNT\n    whose the messages are, in runs
    FRAMES                      one behind the other, as they go to members

A message that comes from Redis has no member of this node as its origin: everybody here gets it.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from mles_tx.channels.history import Message
from mles_tx.protocol.frames import is_message, split

__all__ = ["BEGINNING", "Batch", "Entry", "author", "decode", "encode", "is_before"]

_VERSION = b"1"

#: The id before the first one.
BEGINNING = b"0-0"

_uid = attrgetter("uid")


class Batch(NamedTuple):
    """What a node has said on a channel in one turn.

    Attributes:
        node: which one.
        number: its how manieth batch on any channel, from 1 on: within a channel they grow.
        messages: a join frame alone, or messages.
    """

    node: str
    number: int
    messages: list[Message]


class Entry(NamedTuple):
    """One entry of a stream.

    Attributes:
        id: its place.
        body: the batch, encoded.
    """

    id: bytes
    body: bytes


def encode(node: str, number: int, messages: Sequence[Message]) -> bytes:
    """The body of an entry."""
    kind = "j" if messages[0].is_join else "-"
    runs = "\t".join(f"{uid}\t{sum(1 for _ in run)}" for uid, run in groupby(messages, _uid))
    return f"1 {node} {number} {kind}\n{runs}\n".encode() + b"".join([message.frame for message in messages])


def author(body: bytes) -> tuple[str, int]:
    """Who made an entry, and the number of the batch in it.

    Raises:
        ValueError: it was not written by a node of this version.
    """
    version, node, number, _ = body[: body.index(b"\n")].split(b" ")
    if version != _VERSION:
        raise ValueError("an entry of another version")
    return node.decode("ascii"), int(number)


def decode(body: bytes) -> Batch:
    """The batch of an entry.

    Raises:
        ValueError: it was not written by a node of this version: what goes to members is what one of them could send.
    """
    head, _, rest = body.partition(b"\n")
    runs, _, data = rest.partition(b"\n")
    node, number = author(body)
    is_join = head.endswith(b" j")
    frames, left = split(data)
    fields = runs.decode("ascii").split("\t")
    messages: list[Message] = []
    at = 0
    for uid, count in zip(fields[::2], fields[1::2], strict=True):
        messages += [Message(frame, uid, 0, is_join) for frame in frames[at : at + int(count)]]
        at += int(count)
    if left or at != len(frames) or not frames or not all(map(is_message, frames)):
        raise ValueError("an entry that is not whole")
    return Batch(node, number, messages)


def is_before(one: bytes, other: bytes) -> bool:
    """Whether a place is before another one."""
    return _place(one) < _place(other)


def _place(entry_id: bytes) -> tuple[int, int]:
    first, _, second = entry_id.partition(b"-")
    return int(first), int(second)
