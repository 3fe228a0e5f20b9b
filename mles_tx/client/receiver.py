"""What comes from the links of one client: sorts out what comes again, and holds what nobody takes at the moment."""

from collections import deque
from collections.abc import Callable

from mles_tx.protocol.auth import digest
from mles_tx.protocol.dedup import DigestMemory
from mles_tx.protocol.header import MAX_SINCE

from .config import Repeats
from .interfaces import Message
from .outbox import Outbox
from .replay import Kind, Replay, is_join

__all__ = ["Receiver"]


class Receiver:
    """What one client hears.

    Args:
        channel: its channel.
        repeats: what becomes of messages that come again.
        outbox: what it has said.
        deliver: called with each `Message` that is to be passed on.

    Attributes:
        since: digests of the last frames that came, oldest first, without join frames.
        is_paused: whether nothing is to be passed on.
    """

    def __init__(self, channel: str, repeats: Repeats, outbox: Outbox, deliver: Callable[[Message], None]) -> None:
        self._channel = channel
        self._repeats = repeats
        self._outbox = outbox
        self._deliver = deliver
        self._received = DigestMemory()
        self._replay = Replay(self._received, outbox)
        self._held: deque[Message] = deque()
        self._in_replay = True
        self._resumes = False  # whether this link was asked for what came since
        self._is_resumed = False  # whether one that was so has sent nothing again
        self._has_repeats = False
        self.since: deque[int] = deque(maxlen=MAX_SINCE)
        self.is_paused = False

    def begin(self, resumes: bool = False) -> None:
        """A link is open, and the history is to come; `resumes`: the server was asked for what came since."""
        self._resumes = resumes and bool(self.since)
        # A server that is known to do so sends nothing again. What looks like it was said again.
        known = DigestMemory(1) if self._resumes and self._is_resumed else self._received
        self._replay = Replay(known, self._outbox)
        self._in_replay = True
        self._has_repeats = False

    def settle(self) -> None:
        """The replay seems to be over."""
        self._replay.end()
        self._in_replay = False
        self._is_resumed = self._is_resumed or (self._resumes and not self._has_repeats)

    def resume(self) -> None:
        """Pass on again what comes, and first what has come meanwhile."""
        self.is_paused = False
        while self._held and not self.is_paused:
            self._deliver(self._held.popleft())

    def received(self, payload: bytes, is_binary: bool) -> None:
        """A frame came."""
        known = digest(payload)
        joins = is_join(payload, is_binary, self._channel)
        kind = self._replay.kind(known, joins) if self._in_replay else Kind.NEW
        if kind is Kind.OWN:
            return
        self._has_repeats = self._has_repeats or kind is Kind.REPEAT
        is_repeat = kind is Kind.REPEAT or (self._repeats is Repeats.DROP and known in self._received)
        if not is_repeat:
            self._received.record(known)
            if not joins:
                self.since.append(known)
        elif self._repeats is not Repeats.KEEP:
            return
        message = Message(payload, is_binary, known, self._in_replay)
        if self.is_paused or self._held:
            self._held.append(message)
        else:
            self._deliver(message)
