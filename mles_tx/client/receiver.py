"""What comes from the links of one client: sorts out what comes again, and holds what nobody takes at the moment."""

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
        self._resumes = False  # whether this link was asked for what came since
        self._is_resumed = False  # whether one that was so has sent nothing again
        self._has_repeats = False
        self.since: deque[int] = deque(maxlen=MAX_SINCE)
        self.is_paused = False

    def begin(self, resumes: bool = False, behind_join: bool = False) -> None:
        """A link is open, and the history is to come.

        Args:
            resumes: whether the server was asked for what came since.
            behind_join: whether only what stands behind the client's own earlier first frame is wanted, if that
                is there: nothing has come since then to go on from.
        """
        self._collected = [] if behind_join else None
        self._resumes = resumes and bool(self.since)
        # A server that is known to do so sends nothing again. What looks like it was said again.
        known = DigestMemory(1) if self._resumes and self._is_resumed else self._received
        self._replay = Replay(known, self._outbox)
        self._in_replay = True
        self.has_looked = self._has_repeats = False

    def settle(self) -> None:
        """The replay seems to be over."""
        collected, self._collected = self._collected, None
        for payload, is_binary in collected or ():
            self.received(payload, is_binary)
        self._replay.end()
        self._in_replay = self.has_looked = False
        self._is_resumed = self._is_resumed or (self._resumes and not self._has_repeats)

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
            if joiner == self._uid:
                self._collected.clear()
            else:
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
