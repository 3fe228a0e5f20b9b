"""What stands in for connections, transports and slow stores around the channels.

The parts of the package under test are real; only its edges are here.
"""

from collections import deque
from collections.abc import Callable, KeysView, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from mles_tx.channels.channel import Channel
from mles_tx.channels.history import HistoryCounts, ICommitted, IHistory, IReplay, MemoryHistory, Message
from mles_tx.channels.member import IMember
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import encode_message
from mles_tx.protocol.header import Header

__all__ = [
    "FakeMember",
    "FakeTransport",
    "LateHistory",
    "LateReplay",
    "ListReplay",
    "PromptReplay",
    "frames_in",
    "header",
    "hello",
    "said",
    "split",
]


def hello(uid: str, channel: str = "example") -> bytes:
    """The payload of a join frame."""
    return f'{{"uid":"{uid}","channel":"{channel}"}}'.encode()


def header(
    uid: str,
    channel: str = "example",
    history: int | None = None,
    since: Sequence[int] = (),
    receive: bool = True,
    resync: int = 0,
) -> Header:
    """A first frame that obeys the rules."""
    return Header(uid, channel, None, history, tuple(since), receive, resync, hello(uid, channel))


def said(text: str, uid: str = "alice", origin: int = 1) -> Message:
    """A text message."""
    return Message(encode_message(text.encode(), False), uid, origin, is_join=False)


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Take a stream of server frames apart: the whole frames, and the beginning of one more."""
    frames = []
    at = 0
    while len(data) - at >= 2:
        size, body = data[at + 1], at + 2
        if size == 126:
            size, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if len(data) < body + size:
            break
        frames.append(data[at : body + size])
        at = body + size
    return frames, data[at:]


def frames_in(data: bytes) -> list[bytes]:
    """The frames of a stream that has to end with a whole one."""
    frames, rest = split(data)
    if rest:
        raise ValueError(f"the stream ends within a frame: {rest[:20]!r}")
    return frames


def _payload(frame: bytes) -> str:
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :].decode()


@implementer(IMember)
class FakeMember:
    """A member that remembers what it was sent, in the order in which its peer would read it.

    Args:
        name: tells members apart in failures.
        reads: whether it reads its history at once; a member that does not is read with `catch_up`.
    """

    def __init__(self, name: str = "", reads: bool = True) -> None:
        self.name = name
        self.uid = ""
        self.serial = 0
        self.receives = True
        self.channel: Channel | None = None
        self.writes: list[bytes] = []  #: one entry for each write, without the history
        self.frames: list[bytes] = []  #: what the peer has read
        self.replays = 0
        self.reason: CloseReason | None = None
        self.broken: Exception | None = None  #: raised by every write
        self.stuck: Exception | None = None  #: raised by every close
        self.on_write: Callable[[], object] | None = None  #: called after each write
        self.on_close: Callable[[], object] | None = None  #: called after a close
        self.alive: bool | Deferred[bool] = True  #: what a look for a sign of life gives
        self.asked = 0
        self._reads = reads
        self._replay: IReplay | None = None
        self._waiting: list[bytes] = []

    def __repr__(self) -> str:
        return f"<member {self.name or self.uid}>"

    @property
    def texts(self) -> list[str]:
        """The payloads the peer has read."""
        return [_payload(frame) for frame in self.frames]

    @property
    def turns(self) -> list[list[str]]:
        """The payloads of each write."""
        return [[_payload(frame) for frame in frames_in(data)] for data in self.writes]

    def write(self, data: bytes) -> None:
        if self.broken is not None:
            raise self.broken
        self.writes.append(data)
        if self._replay is None:
            self.frames += frames_in(data)
        else:
            self._waiting.append(data)
        if self.on_write is not None:
            self.on_write()

    def replay(self, replay: IReplay) -> None:
        self.replays += 1
        self._replay = replay
        if self._reads:
            self.catch_up()

    def catch_up(self) -> None:
        """Read the history to its end, a frame at a time, and what was written meanwhile."""
        replay = self._replay
        while replay is not None:
            pulled = replay.pull(1)
            if isinstance(pulled, Deferred):
                raise TypeError("this member reads from stores that answer at once")
            self.frames += pulled
            if not pulled:
                replay = self._replay = None
        for data in self._waiting:
            self.frames += frames_in(data)
        self._waiting.clear()

    def close(self, reason: CloseReason) -> None:
        if self.stuck is not None:
            raise self.stuck
        self.reason = reason
        if self.on_close is not None:
            self.on_close()

    def is_alive(self) -> Deferred[bool]:
        self.asked += 1
        return self.alive if isinstance(self.alive, Deferred) else succeed(self.alive)


@implementer(IHistory)
class ForwardingHistory:
    """A store that leaves everything to another; for stores that differ from it in something."""

    def __init__(self, inner: MemoryHistory) -> None:
        self._inner = inner

    def start(self, listener: ICommitted) -> None:
        self._inner.start(listener)

    def open(self) -> None:
        self._inner.open()

    def close(self) -> Deferred[None]:
        return self._inner.close()

    def not_ready(self) -> list[str]:
        return self._inner.not_ready()

    def counts(self) -> HistoryCounts:
        return self._inner.counts()

    @property
    def memory(self) -> int:
        """That of the other."""
        return self._inner.memory

    @property
    def is_settled(self) -> bool:
        """As the other."""
        return self._inner.is_settled

    @property
    def messages(self) -> int:
        """Those of the other."""
        return self._inner.messages

    def change(self, limit: int, total_bytes: int) -> None:
        self._inner.change(limit, total_bytes)

    def append(self, channel: str, batch: Sequence[Message]) -> None:
        self._inner.append(channel, batch)

    def replay(self, channel: str, uid: str, history: int | None, since: Sequence[int]) -> IReplay:
        return self._inner.replay(channel, uid, history, since)

    def channels(self) -> KeysView[str]:
        return self._inner.channels()

    def forget_one(self) -> bool:
        return self._inner.forget_one()

    def sweep(self) -> None:
        self._inner.sweep()


class LateHistory(ForwardingHistory):
    """A store that commits when it is told to, as one does that writes to a disk first."""

    def __init__(self, inner: MemoryHistory) -> None:
        super().__init__(inner)
        self.waiting: deque[tuple[str, Sequence[Message]]] = deque()

    def append(self, channel: str, batch: Sequence[Message]) -> None:
        self.waiting.append((channel, batch))

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits."""
        return not self.waiting

    def commit(self, count: int | None = None) -> None:
        """Commit the oldest batches that wait, or all."""
        for _ in range(len(self.waiting) if count is None else count):
            channel, batch = self.waiting.popleft()
            self._inner.append(channel, batch)


@implementer(IReplay)
class ListReplay:
    """A history that is at hand.

    Args:
        frames: oldest first.
    """

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._frames = deque(frames)
        self.asked: list[int] = []  #: the `max_bytes` of each pull

    def pull(self, max_bytes: int) -> list[bytes]:
        self.asked.append(max_bytes)
        page: list[bytes] = []
        while self._frames and sum(map(len, page)) < max_bytes:
            page.append(self._frames.popleft())
        return page


@implementer(IReplay)
class LateReplay:
    """A history that takes its time: each pull is answered when the test says so."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._inner = ListReplay(frames)
        self._due: tuple[Deferred[list[bytes]], int] | None = None
        self.pulls = 0

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._due is not None

    def pull(self, max_bytes: int) -> Deferred[list[bytes]]:
        if self._due is not None:
            raise RuntimeError("pulled again before the last answer")
        self.pulls += 1
        answer: Deferred[list[bytes]] = Deferred()
        self._due = answer, max_bytes
        return answer

    def answer(self) -> None:
        """Give what was asked for."""
        answer, max_bytes = self._take()
        answer.callback(self._inner.pull(max_bytes))

    def fail(self, error: Exception) -> None:
        """Give an error instead."""
        self._take()[0].errback(error)

    def _take(self) -> tuple[Deferred[list[bytes]], int]:
        if self._due is None:
            raise RuntimeError("nobody has pulled")
        due, self._due = self._due, None
        return due


@implementer(IReplay)
class PromptReplay:
    """A history whose answers come as Deferreds that have fired already, as from a store that had it in a cache.

    Args:
        frames: oldest first.
        page: bytes of each answer; None: as many as are asked for.
        error: what the last answer is instead of the end.
    """

    def __init__(self, frames: Sequence[bytes], page: int | None = None, error: Exception | None = None) -> None:
        self._inner = ListReplay(frames)
        self._page = page
        self._error = error

    def pull(self, max_bytes: int) -> Deferred[list[bytes]]:
        pulled = self._inner.pull(self._page or max_bytes)
        return fail(self._error) if self._error is not None and not pulled else succeed(pulled)


class FakeTransport:
    """Takes bytes and speaks to its producer as Twisted's transports do.

    Attributes:
        sent: what was written, one entry for each write.
        room: writes it takes before it pauses its producer; None: any number.
        overruns: writes that came although it had said that it has enough.
        producer: what was registered with it.
    """

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.room: int | None = None
        self.overruns = 0
        self._has_enough = False
        self.producer: IPushProducer | None = None

    @property
    def data(self) -> bytes:
        """All that was written."""
        return b"".join(self.sent)

    def write(self, data: bytes) -> None:
        """Take data; pauses the producer within the call when that was enough."""
        self.sent.append(data)
        self.overruns += self._has_enough
        if self.room is not None:
            self.room -= 1
            if self.room <= 0:
                self.pause()

    def pause(self) -> None:
        """Have enough."""
        self._has_enough = True
        if self.producer is not None:
            self.producer.pauseProducing()

    def resume(self, room: int | None = None) -> None:
        """Want more: that many writes, or any number."""
        self.room = room
        self._has_enough = False
        if self.producer is not None:
            self.producer.resumeProducing()
