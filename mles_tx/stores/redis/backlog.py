"""What this node has said and Redis has not taken yet, in order.

A batch stays here until Redis has answered for it. When the connection is lost before, it is sent again on the next
one under its old number, by which Redis knows whether it has it already.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from mles_tx.channels.history import Message

from .entries import encode
from .keys import channel_announcements, channel_keys
from .scripts import APPEND
from .seam import ILink, LinkDownError, is_unable

__all__ = ["MAX_BACKLOG_BYTES", "Backlog", "Pending", "Place"]

#: Bytes of frames that are kept while Redis does not take them. Beyond, the oldest are dropped.
MAX_BACKLOG_BYTES = 64 * 1024 * 1024

#: What is sent before the answers to it have come: batches, and bytes of frames.
_WINDOW_BATCHES = 256
_WINDOW_BYTES = 4 * 1024 * 1024

#: The epoch of a stream, and an id in it.
Place = tuple[bytes, bytes]

_keys = lru_cache(4096)(lambda channel: channel_keys(channel, "log", "meta", "joins", "nodes"))


class Pending:
    """A batch of this node on its way through Redis.

    Attributes:
        channel: where it was said.
        batch: what.
        number: its number, from 1 on.
        at: when.
        size: bytes of its frames.
        is_taken: whether Redis has answered for it, or never will.
        is_delivered: whether the members here have it.
        place: its id in the stream, when Redis has told; it may have been passed already.
        is_seen: whether its place in the stream has been passed.
    """

    __slots__ = ("at", "batch", "channel", "is_delivered", "is_seen", "is_taken", "number", "place", "size")

    def __init__(self, channel: str, batch: Sequence[Message], number: int, at: float) -> None:
        self.channel = channel
        self.batch = batch
        self.number = number
        self.at = at
        self.size = sum([len(message.frame) for message in batch])
        self.is_taken = False
        self.is_delivered = False
        self.is_seen = False
        self.place: bytes | None = None

    @property
    def is_passed(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.is_taken and self.is_delivered


class Backlog:
    """The batches that wait.

    Args:
        link: the way to Redis.
        node: who we are.
        database: the number of the database, for announcements.
        limits: messages and bytes of a channel's history.
        place: where a channel's stream was when this node last saw it.
        taken: called with a batch and what Redis has answered: whether it is new, the epoch, the id before it and
            its id.
        dropped: called with a batch that is given up.
    """

    _log = Logger()

    def __init__(
        self,
        link: ILink,
        node: str,
        database: int,
        limits: Sequence[int],
        place: Callable[[str], Place],
        taken: Callable[[Pending, bool, bytes, bytes, bytes], object],
        dropped: Callable[[Pending], object],
    ) -> None:
        self._link = link
        self._node = node
        self._database = database
        self._limits = limits
        self._place = place
        self._taken_by = taken
        self._dropped_to = dropped
        self._queue: deque[Pending] = deque()
        self._sent = 0  # of the first ones
        self._sent_bytes = 0
        self._bytes = 0
        self._generation = 0
        self._last_sent: dict[str, int] = {}  # of each channel, the number of the last batch that is not answered yet
        self.messages = 0  #: how many wait
        self.lost = 0  #: how many were dropped

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def oldest(self) -> float | None:
        """When the first batch that waits was said."""
        return self._queue[0].at if self._queue else None

    def add(self, pending: Pending) -> None:
        """Take the next batch."""
        self._queue.append(pending)
        self._bytes += pending.size
        self.messages += len(pending.batch)
        self._send()
        while self._bytes > MAX_BACKLOG_BYTES and len(self._queue) > self._sent:
            self._drop(self._sent)

    def resume(self) -> None:
        """There is a new connection: everything is sent again."""
        self.pause()
        self._send()

    def pause(self) -> None:
        """The answers that have not come yet do not count any more."""
        self._generation += 1
        self._sent = self._sent_bytes = 0
        self._last_sent.clear()

    def _send(self) -> None:
        while (
            self._sent < len(self._queue)
            and self._sent < _WINDOW_BATCHES
            and self._sent_bytes < _WINDOW_BYTES
            and self._link.is_up
        ):
            pending = self._queue[self._sent]
            self._sent += 1
            self._sent_bytes += pending.size
            first = pending.batch[0]
            epoch, last = self._place(pending.channel)
            behind = self._last_sent.get(pending.channel, 0)
            self._last_sent[pending.channel] = pending.number
            self._link.run(
                APPEND,
                _keys(pending.channel),
                self._node,
                pending.number,
                encode(self._node, pending.number, pending.batch),
                len(pending.batch),
                pending.size,
                first.uid if first.is_join else "",
                *self._limits,
                epoch,
                last,
                f"{self._node}.{pending.number}",
                channel_announcements(pending.channel, self._database),
                behind,
            ).addCallbacks(
                self._taken, self._not_taken, callbackArgs=(pending, self._generation), errbackArgs=(self._generation,)
            ).addErrback(self._failed)

    def _taken(self, answer: list[Any], pending: Pending, generation: int) -> None:
        if generation != self._generation:
            return
        is_new, epoch, before, entry_id = answer
        if is_new < 0:
            self.resume()
            return
        self._pop(0)
        pending.is_taken = True
        try:
            self._taken_by(pending, bool(is_new), epoch, before, entry_id)
        finally:
            self._send()

    def _not_taken(self, failure: Failure, generation: int) -> None:
        if generation != self._generation or failure.check(LinkDownError):
            return
        text = str(failure.value)
        if not self._link.is_up or is_unable(text):
            self.pause()
            self._link.drop(f"nothing can be stored: {text[:200]}")
            return
        self._log.error(
            "a message could not be stored, and is not in the history of its channel: {text}", text=text[:200]
        )
        self._drop(0)
        self._send()

    def _failed(self, failure: Failure) -> None:
        self._log.failure("an answer of Redis was not understood", failure)

    def _drop(self, index: int) -> None:
        pending = self._pop(index)
        pending.is_taken = True
        self.lost += len(pending.batch)
        self._dropped_to(pending)

    def _pop(self, index: int) -> Pending:
        pending = self._queue[index]
        del self._queue[index]
        if index < self._sent:
            self._sent -= 1
            self._sent_bytes -= pending.size
        if self._last_sent.get(pending.channel) == pending.number:
            del self._last_sent[pending.channel]
        self._bytes -= pending.size
        self.messages -= len(pending.batch)
        return pending
