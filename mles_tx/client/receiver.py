"""What comes from the links of one client: sorts out what comes again, and holds what nobody takes at the moment."""

import math
from collections import deque
from collections.abc import Callable

from mles_tx.protocol.auth import digest
from mles_tx.protocol.dedup import DigestMemory
from mles_tx.protocol.header import MAX_SINCE

from .config import Repeats
from .interfaces import Message
from .outbox import Outbox
from .replay import Kind, Replay, who_joins

__all__ = ["Receiver"]


class Receiver:
    """What one client hears.

    Args:
        channel: its channel.
        uid: who it is.
        repeats: what becomes of messages that come again.
        outbox: what it has said.
        deliver: called with each `Message` that is to be passed on.

    Attributes:
        since: digests of the last frames that came, oldest first, without join frames.
        has_looked: whether some of a replay has come, and it does not seem to be over.
        is_paused: whether nothing is to be passed on.
    """

    def __init__(
        self, channel: str, uid: str, repeats: Repeats, outbox: Outbox, deliver: Callable[[Message], None]
    ) -> None:
        self._channel = channel
        self._uid = uid
        self._repeats = repeats
        self._outbox = outbox
        self._deliver = deliver
        self._received = DigestMemory()
        self._replay = Replay(self._received, outbox)
        self._held: deque[Message] = deque()
        self._in_replay = True
        self.has_looked = False
        self._collected: list[tuple[bytes, bool]] | None = None
        self._drops = False  # what stands before its own first frame
        self._joins: int | None = None  # how many of its own first frames before the end its words are looked for
        self._own_joins: list[int] = []  # where they stand in what was collected
        self._resumes = False  # whether this link was asked for what came since
        self._is_resumed = False  # whether one that was so has sent nothing again
        self._has_repeats = False
        self.since: deque[int] = deque(maxlen=MAX_SINCE)
        self.is_paused = False

    def begin(self, resumes: bool = False, behind_join: bool = False, joins: int | None = None) -> None:
        """A link is open, and the history is to come.

        Args:
            resumes: whether the server was asked for what came since.
            behind_join: whether only what stands behind the client's own earlier first frame is wanted, if that
                is there: nothing has come since then to go on from.
            joins: what may be lost is looked for only behind so many of its own first frames, counted from the end:
                the same words may be older. 0: nowhere; None: in all of the replay.
        """
        self._collected = [] if behind_join or joins else None
        self._drops, self._joins, self._own_joins = behind_join, joins, []
        self._resumes = resumes and bool(self.since)
        # A server that is known to do so sends nothing again. What looks like it was said again.
        known = DigestMemory(1) if self._resumes and self._is_resumed else self._received
        self._replay = Replay(known, self._outbox)
        self._replay.finds = joins != 0
        self._in_replay = True
        self.has_looked = self._has_repeats = False

    def settle(self) -> None:
        """The replay seems to be over."""
        self._sort_out(self._own_part())
        self._replay.end()
        self._in_replay = self.has_looked = False
        self._is_resumed = self._is_resumed or (self._resumes and not self._has_repeats)

    def broken(self) -> None:
        """The link is gone. What has come of a replay is of use, but its own words may be anywhere, or behind it."""
        if not self._drops:
            self._sort_out(math.inf)

    def _own_part(self) -> float:
        """Where the part of the replay begins that the client's words can be in."""
        if self._joins is None:
            return 0
        if not self._joins or not self._own_joins:
            return math.inf
        return self._own_joins[-self._joins] if self._joins <= len(self._own_joins) else 0

    def _sort_out(self, own_part: float) -> None:
        collected, self._collected = self._collected, None
        for index, (payload, is_binary) in enumerate(collected or ()):
            self._replay.finds = index >= own_part
            self.received(payload, is_binary)

    def resume(self) -> None:
        """Pass on again what comes, and first what has come meanwhile."""
        self.is_paused = False
        while self._held and not self.is_paused:
            self._deliver(self._held.popleft())

    def received(self, payload: bytes, is_binary: bool) -> None:
        """A frame came."""
        known = digest(payload)
        joiner = who_joins(payload, is_binary, self._channel)
        if self._collected is not None:
            is_own = joiner == self._uid
            if is_own and self._drops:
                self._collected.clear()
                self._own_joins.clear()
            if is_own:
                self._own_joins.append(len(self._collected))
            if not is_own or not self._drops:
                self._collected.append((payload, is_binary))
            return
        joins = joiner is not None
        kind = self._replay.kind(known, joins) if self._in_replay else Kind.NEW
        if kind is Kind.OWN:
            return
        self._has_repeats = self._has_repeats or kind is Kind.REPEAT
        is_repeat = kind is Kind.REPEAT or (self._repeats is Repeats.DROP and known in self._received)
        if not is_repeat:
            self._received.record(known)
            self.has_looked = self.has_looked or (self._in_replay and not joins)
            if not joins:
                self.since.append(known)
        elif self._repeats is not Repeats.KEEP:
            return
        message = Message(payload, is_binary, known, self._in_replay)
        if self.is_paused or self._held:
            self._held.append(message)
        else:
            self._deliver(message)
