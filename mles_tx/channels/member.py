"""A member as its channel sees it, and the outbox that stands between the channel and a connection.

A channel writes to its members and never waits for one. What a connection does not take at once waits in
its outbox as shared frames, fed in small pieces, so that fifty stalled members do not hold fifty copies.
The outbox works from producer signals alone: it does not know what kind of transport is below.

    ========  ============================================  =====================
    flow      meaning                                       a write
    ========  ============================================  =====================
    DIRECT    nothing waits                                 goes straight through
    FEEDING   the transport is willing, something waits     waits behind it
    BLOCKED   the transport has enough                      waits
    CLOSED    the connection is gone                        is dropped
    ========  ============================================  =====================
"""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from mles_tx.protocol.closing import CloseReason

from .deadlines import Deadlines
from .history import IReplay

if TYPE_CHECKING:
    from .channel import Channel

__all__ = ["MAX_BACKLOG_BYTES", "PIECE_BYTES", "STALL_SECONDS", "IMember", "Outbox"]

#: Bytes of live messages that may wait for a member. A MlesTalk client with 6 MB outstanding may be healthy: it
#: decodes 30 to 70 frames a second.
MAX_BACKLOG_BYTES = 8 * 1024 * 1024

#: Seconds a member with something to read may take nothing.
STALL_SECONDS = 60.0

#: Bytes handed to the transport at once: as much as Twisted's TCP transport gives the kernel in one turn.
PIECE_BYTES = 128 * 1024


class IMember(Interface):
    """One member of one channel, whatever carries it."""

    uid: str = Attribute("Who it is on its channel.")
    serial: int = Attribute("The number of this membership, given by the registry.")
    receives: bool = Attribute("False for a member that only publishes: nothing is written to it.")
    channel: "Channel | None" = Attribute("Where it is a member; None before and after.")

    def write(data: bytes) -> None:
        """Take one or more whole frames; never waits, never raises for a slow or vanished peer."""

    def replay(replay: IReplay) -> None:
        """Send the history first; what is written meanwhile follows it."""

    def close(reason: CloseReason) -> None:
        """End the connection: nothing that is written from now on is sent."""

    def is_alive() -> "Deferred[bool]":
        """Find out, within a few seconds, whether there still is somebody."""


class Flow(Enum):
    """What becomes of a write."""

    DIRECT = auto()
    FEEDING = auto()
    BLOCKED = auto()
    CLOSED = auto()


#: To look a member of an Enum up takes as long as the rest of a write.
_DIRECT = Flow.DIRECT


class _Pull(Enum):
    """What has become of the last question for a piece of history."""

    NONE = auto()  #: none was asked, or it is answered
    ASKING = auto()  #: it is being asked: the answer may come before that returns
    WAITING = auto()  #: the answer comes later


def _nothing(gone: object) -> None:
    pass


def _none_taken() -> int:
    return 0


@implementer(IPushProducer)
class Outbox:
    """What waits for one connection.

    To be registered with the transport as its push producer.

    Args:
        send: hands bytes to the transport; may call `pauseProducing` before it returns.
        stalled: the deadline that runs while the transport takes nothing; its entries are outboxes, to be
            told with `expire`.
        cut: called with the reason when this member cannot be served: TOO_SLOW, or INTERNAL_ERROR when its
            history cannot be read.
        max_backlog: bytes of live messages that may wait. A write finds out whether what waited before it is
            too much, so that many large messages in one turn do not cut those who read.
        bytes_taken: how much the peer has taken so far, where the transport can tell. A transport asks for more when
            it has got rid of everything, which may be long after the peer has taken the first byte.
    """

    _log = Logger()

    __slots__ = (
        "_backlog",
        "_bytes_taken",
        "_control",
        "_cut",
        "_flow",
        "_flushed",
        "_last",
        "_live",
        "_max_backlog",
        "_pull",
        "_pulled_now",
        "_replay",
        "_rest",
        "_resumed",
        "_seen",
        "_send",
        "_stalled",
    )

    def __init__(
        self,
        send: Callable[[bytes], object],
        stalled: "Deadlines[Outbox]",
        cut: Callable[[CloseReason], object],
        max_backlog: int = MAX_BACKLOG_BYTES,
        bytes_taken: Callable[[], int] = _none_taken,
    ) -> None:
        self._send = send
        self._stalled = stalled
        self._cut = cut
        self._max_backlog = max_backlog
        self._flow = Flow.DIRECT
        self._live: deque[bytes] = deque()
        self._backlog = 0  # bytes in _live
        self._replay: IReplay | None = None
        self._pull = _Pull.NONE
        self._pulled_now: list[bytes] = []
        self._rest = memoryview(b"")  # of what was begun
        self._control: dict[int, bytes] = {}  # by opcode: only the newest ping and pong are worth sending
        self._last: bytes | None = None  # the close frame: nothing comes behind it
        self._flushed: Callable[[], object] | None = None
        self._bytes_taken = bytes_taken
        self._resumed = 0  # how often the transport wanted more
        self._seen = (0, 0)  # the progress when the deadline began

    @property
    def is_waiting(self) -> bool:
        """Whether the transport has not taken everything yet; while a history is waited for, it has."""
        return self._flow is Flow.BLOCKED or (self._flow is Flow.FEEDING and self._pull is not _Pull.WAITING)

    @property
    def backlog(self) -> int:
        """Bytes of live messages that wait."""
        return self._backlog

    def write(self, data: bytes) -> None:
        """Send whole frames, or keep them until the transport takes them."""
        if self._flow is _DIRECT and len(data) <= PIECE_BYTES:
            self._send(data)
        elif self._last is None and self._flow is not Flow.CLOSED:
            if self._backlog > self._max_backlog:
                self._cut(CloseReason.TOO_SLOW)
                return
            self._live.append(data)
            self._backlog += len(data)
            if self._flow is Flow.DIRECT:
                self._feed()

    def expire(self) -> None:
        """The transport has not wanted more for long: cut the member, unless its peer has taken something meanwhile."""
        seen, self._seen = self._seen, self.progress()
        if self._seen == seen:
            self._cut(CloseReason.TOO_SLOW)
        else:
            self._stalled.start(self)

    def progress(self) -> tuple[int, int]:
        """Something that changes whenever the peer takes anything: a sign of life that needs no answer."""
        return self._resumed, self._bytes_taken()

    def replay(self, replay: IReplay) -> None:
        """Send a history before anything that is written from now on; pulled, and not part of the backlog."""
        if self._last is not None or self._flow is Flow.CLOSED:
            return
        self._replay = replay
        if self._flow is Flow.DIRECT:
            self._feed()

    def control(self, frame: bytes) -> None:
        """Send a ping or pong at the next frame boundary, ahead of what waits."""
        if self._flow is Flow.DIRECT:
            self._send(frame)
        elif self._last is None and self._flow is not Flow.CLOSED:
            self._control[frame[0]] = frame
            if self._flow is Flow.FEEDING and self._pull is _Pull.WAITING:
                self._feed()

    def finish(self, close_frame: bytes, keep: bool, flushed: Callable[[], object] | None = None) -> None:
        """Send the close frame and nothing behind it.

        Args:
            close_frame: the encoded frame.
            keep: whether live messages that wait are sent first. A history that is not sent whole is
                cut short together with them: what the member has stays without a gap.
            flushed: called once the transport has been given everything; never when it breaks before.
        """
        if self._last is not None or self._flow is Flow.CLOSED:
            return
        self._last = close_frame
        self._flushed = flushed
        if self._replay is not None or not keep:
            self._replay = None
            self._live.clear()
            self._backlog = 0
        if self._flow is not Flow.BLOCKED:
            self._feed()

    def discard(self) -> None:
        """The connection is gone: it is let go of, so that nothing of it has to be looked for among what is in use."""
        self._flow = Flow.CLOSED
        self._send = self._cut = _nothing
        self._bytes_taken, self._flushed = _none_taken, None
        self._stalled.met(self)
        self._live.clear()
        self._control.clear()
        self._backlog = 0
        self._replay = None
        self._rest = memoryview(b"")

    def pauseProducing(self) -> None:
        """The transport has enough. On plain TCP it says so at every write."""
        if self._flow is not Flow.BLOCKED and self._flow is not Flow.CLOSED:
            self._flow = Flow.BLOCKED
            self._seen = self.progress()
            self._stalled.start(self)

    def resumeProducing(self) -> None:
        """The transport has sent what it had."""
        if self._flow is Flow.BLOCKED:
            self._stalled.met(self)
            self._resumed += 1
            self._feed()

    def stopProducing(self) -> None:
        """The transport will take no more."""
        self.discard()

    def _feed(self) -> None:
        self._flow = Flow.FEEDING
        while self._flow is Flow.FEEDING:
            piece = self._next_piece()
            if not piece:
                self._ran_dry()
                return
            self._send(piece)

    def _ran_dry(self) -> None:
        """Nothing is left to be sent, or not yet, or asking for it has ended everything."""
        if self._flow is not Flow.FEEDING or self._replay is not None:
            return
        if self._last is None:
            self._flow = Flow.DIRECT
        else:
            self._flow = Flow.CLOSED
            if self._flushed is not None:
                self._flushed()

    def _next_piece(self) -> bytes:
        """Up to `PIECE_BYTES` bytes of what is next, or nothing."""
        if not self._rest:
            frames = self._next_frames()
            if not frames:
                return b""
            if len(frames) > 1:
                piece = b"".join(frames)
                if len(piece) > PIECE_BYTES:
                    # The last one was too much. It is shared, and what it is joined with is not.
                    self._rest = memoryview(frames.pop())
                    piece = b"".join(frames)
                return piece
            if len(frames[0]) <= PIECE_BYTES:
                return frames[0]
            self._rest = memoryview(frames[0])
        piece, self._rest = bytes(self._rest[:PIECE_BYTES]), self._rest[PIECE_BYTES:]
        return piece

    def _next_frames(self) -> list[bytes]:
        """Whole frames, about `PIECE_BYTES` bytes: control frames, then history, then live messages, then the end."""
        if self._control:
            frames = list(self._control.values())
            self._control.clear()
            return frames
        if self._replay is not None:
            frames = self._ask(self._replay)
            if frames or self._replay is not None:
                return frames
        frames, size = [], 0
        while self._live and size < PIECE_BYTES:
            frame = self._live.popleft()
            frames.append(frame)
            size += len(frame)
        self._backlog -= size
        if not frames and self._last:
            frames.append(self._last)
            self._last = b""
        return frames

    def _ask(self, replay: IReplay) -> list[bytes]:
        """The next frames of a history; none when that was all, or when they come later."""
        if self._pull is _Pull.WAITING:
            return []
        try:
            pulled = replay.pull(PIECE_BYTES)
        except Exception:
            self._pull_failed(Failure())
            return []
        if isinstance(pulled, Deferred):
            self._pull = _Pull.ASKING
            pulled.addCallbacks(self._pulled, self._pull_failed, callbackArgs=(replay,))
            if self._pull is _Pull.ASKING:
                self._pull = _Pull.WAITING
                return []
            pulled, self._pulled_now = self._pulled_now, []
        if not pulled and self._replay is replay:
            self._replay = None
        return pulled

    def _pulled(self, frames: list[bytes], replay: IReplay) -> None:
        """The store has answered."""
        came_late = self._pull is _Pull.WAITING
        self._pull = _Pull.NONE
        if self._replay is not replay:
            return
        if not came_late:
            self._pulled_now = frames
            return
        if frames:
            self._rest = memoryview(b"".join(frames))
        else:
            self._replay = None
        if self._flow is Flow.FEEDING:
            self._feed()

    def _pull_failed(self, failure: Failure) -> None:
        self._pull = _Pull.NONE
        if self._replay is not None:
            self._log.failure("a history could not be read", failure)
            self._cut(CloseReason.INTERNAL_ERROR)
