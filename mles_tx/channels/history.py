"""What a channel remembers: the seam to storage and to other nodes, and the memory store.

`IHistory` is the one seam. A store is handed the batches of a channel in order and hands each back through
`ICommitted.committed` when it may be delivered: the memory store at once, one that writes to disk first
later, one that is shared by several nodes also with the batches of the others. Delivery has no other
entrance.

The log of a channel is a row of short runs of messages. A replay holds the runs and walks along at its
reader's pace: starting one copies a reference for each run, and what the history has dropped meanwhile
lives until the replays that still need it have passed it.
"""

from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, KeysView, Sequence
from itertools import accumulate, chain, islice
from operator import itemgetter
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import Attribute, Interface, implementer

from mles_tx.protocol.auth import digest
from mles_tx.protocol.frames import payload_of

__all__ = [
    "DEFAULT_TOTAL_BYTES",
    "IDLE_SECONDS",
    "MAX_CHANNEL_BYTES",
    "OVERHEAD_BYTES",
    "ChannelLog",
    "HistoryCounts",
    "HistoryError",
    "ICommitted",
    "IHistory",
    "IReplay",
    "MemoryHistory",
    "Message",
    "frame_of",
    "origin_of",
]

#: Bytes of frames one channel's history may hold, as in the reference server.
MAX_CHANNEL_BYTES = 10 * 1024 * 1024

#: Bytes of memory all histories together may take when nobody says otherwise.
DEFAULT_TOTAL_BYTES = 1024 * 1024 * 1024

#: Seconds after which a channel nobody publishes to is forgotten, as in the reference server: 30 days.
IDLE_SECONDS = 30 * 24 * 3600.0

#: A run is closed at that many messages or bytes: small enough that one that is held whole for its last message
#: costs little, large enough that a replay starts with few references.
_RUN_MESSAGES = 64
_RUN_BYTES = 64 * 1024


#: Bytes of memory a message takes beside its frame, and a channel beside its messages and its name: measured with
#: CPython 3.11, rounded up.
OVERHEAD_BYTES = 256


class Message(NamedTuple):
    """One frame on a channel.

    Attributes:
        frame: the encoded server frame.
        uid: who sent it.
        origin: the number of the membership that sent it; it is not delivered back there.
        is_join: whether it is a join frame: remembered and replayed, not delivered to those who are there.
    """

    frame: bytes
    uid: str
    origin: int
    is_join: bool


#: The frame of a message, and where it comes from: for many messages, three times as fast as to name the attribute.
frame_of = itemgetter(Message._fields.index("frame"))
origin_of = itemgetter(Message._fields.index("origin"))


class HistoryError(Exception):
    """A store that cannot be begun with; the text names it and the remedy."""


class HistoryCounts(NamedTuple):
    """How a store that outlives the process does.

    Attributes:
        waiting: messages that are in memory alone, because the store cannot be written to or has not been yet.
        lost: messages since the start that will never be in the store: refused, or too many while it could not be
            written to.
        faults: times since the start that the store has failed.
    """

    waiting: int = 0
    lost: int = 0
    faults: int = 0


class ICommitted(Interface):
    """Who is told that a batch may be delivered, or never will be."""

    def committed(channel: str, batch: Sequence[Message]) -> None:
        """Deliver a batch of one channel. Batches of a channel come in its order."""

    def refused(channel: str, batch: Sequence[Message]) -> None:
        """A batch could not be stored, and is not delivered: end the connections of those who sent it."""

    def forgotten(channel: str) -> None:
        """A channel has no history any more."""

    def has_members(channel: str) -> bool:
        """Whether anybody is on a channel: its history is the last to go when there is too much of it."""


class IReplay(Interface):
    """A channel's history on its way to one reader."""

    def pull(max_bytes: int) -> "list[bytes] | Deferred[list[bytes]]":
        """The next frames, oldest first, about `max_bytes` of them; an empty list: that was all."""


class IHistory(Interface):
    """Where the batches of all channels go, and what is replayed to those who join.

    A store works from `start` on, in memory if need be: what outlives the process is in use between `open` and `close`.
    """

    memory = Attribute("Bytes of memory all channels take, about.")
    messages = Attribute("Messages that are in memory.")
    is_settled = Attribute("Whether all that was appended has come back to the listener, delivered or refused.")

    def start(listener: ICommitted) -> None:
        """Begin; committed batches are to be given to the listener."""

    def open() -> None:
        """Begin to use what outlives the process: files, connections, threads. Again after a `close`.

        Raises:
            HistoryError: it cannot be used, and will not become usable by itself.
        """

    def close() -> "Deferred[None]":
        """Store what waits, and let go of files, connections, threads and timers.

        Returns:
            A Deferred that fires when nothing is left, within a bounded time.
        """

    def not_ready() -> list[str]:
        """What is wrong with the store at the moment, a line each; empty: nothing."""

    def counts() -> HistoryCounts:
        """How the store does."""

    def change(limit: int, total_bytes: int) -> None:
        """Remember more, or less, from now on.

        Args:
            limit: messages a channel remembers at most; one that has too many loses them when it is used.
            total_bytes: bytes of memory all channels together may take, about.
        """

    def append(channel: str, batch: Sequence[Message]) -> None:
        """Take the next batch of a channel; the listener gets it back when it may be delivered, or refused."""

    def replay(
        channel: str,
        uid: str,
        history: int | None,
        since: Sequence[int],
    ) -> IReplay:
        """What a joiner is to be sent.

        The end is fixed at the call: exactly the batches that were committed before it. The beginning is where the
        history begins when it is read: a store that reads late may have forgotten its oldest messages for newer ones.

        Args:
            channel: the channel's name.
            uid: who joins; its own messages are not part of the run that `since` names.
            history: at most that many of the last messages, without join frames; None: all there is.
            since: digests of the last frames the joiner has, oldest first. The replay begins behind the
                earliest place where they stand in a row; when there is none, with the oldest.
        """

    def sweep() -> None:
        """Forget the channels that were idle for too long."""

    def channels() -> KeysView[str]:
        """The names of the channels that have a history."""

    def forget_one() -> bool:
        """Forget the least recently used channel that has no members; False when there is none."""


class ChannelLog:
    """The history of one channel: runs of messages, oldest first.

    Only the newest join frame of a uid is kept: a phone that loses its link often does not push the
    messages out.

    Attributes:
        memory: bytes of memory it takes, about.
        used_at: when a message was last added.
    """

    __slots__ = ("_count", "_joins", "_run_bytes", "_runs", "_skip", "memory", "used_at")

    def __init__(self) -> None:
        self._runs: deque[list[Message]] = deque()
        self._run_bytes = 0  # in the newest run
        self._skip = 0  # messages of the oldest run that are dropped already
        self._joins: dict[str, Message] = {}
        self._count = 0
        self.memory = OVERHEAD_BYTES
        self.used_at = 0.0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Message]:
        return islice(chain.from_iterable(self._runs), self._skip, None)

    def append(self, batch: Sequence[Message], max_count: int, max_bytes: int) -> int:
        """Take a batch, and drop what is too much then; returns by how much the memory has grown."""
        before = self.memory
        for message in batch:
            frame, uid, _, is_join = message
            if is_join:
                earlier = self._joins.get(uid)
                if earlier is not None:
                    self._take_out(earlier)
                self._joins[uid] = message
            size = len(frame)
            run = self._runs[-1] if self._runs else None
            if run is None or len(run) >= _RUN_MESSAGES or self._run_bytes >= _RUN_BYTES:
                run = []
                self._runs.append(run)
                self._run_bytes = 0
            run.append(message)
            self._run_bytes += size
            self._count += 1
            self.memory += size + OVERHEAD_BYTES
        while self._count > max_count or self.memory - (self._count + 1) * OVERHEAD_BYTES > max_bytes:
            self._drop_oldest()
        return self.memory - before

    def shrink(self, memory: int) -> None:
        """Drop the oldest until that much memory is enough, or nothing is left."""
        while self._count and self.memory > memory:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        run = self._runs[0]
        frame, uid, _, is_join = run[self._skip]
        self._skip += 1
        if self._skip == len(run):
            self._runs.popleft()
            self._skip = 0
        self._count -= 1
        self.memory -= len(frame) + OVERHEAD_BYTES
        if is_join:
            del self._joins[uid]

    def _take_out(self, message: Message) -> None:
        """Remove one message, in a copy of its run: replays that are under way hold the run as it was."""
        for index, run in enumerate(self._runs):
            skip = self._skip if index == 0 else 0
            kept = [other for other in run[skip:] if other is not message]
            if len(kept) < len(run) - skip:
                break
        if index == 0:
            self._skip = 0
        if kept:
            self._runs[index] = kept
        else:
            del self._runs[index]
        if index == len(self._runs):
            self._run_bytes = sum(len(other.frame) for other in self._runs[-1]) if self._runs else 0
        self._count -= 1
        self.memory -= len(message.frame) + OVERHEAD_BYTES

    def replay(self, uid: str, history: int | None, since: Sequence[int]) -> "_LogReplay":
        """What `IHistory.replay` promises, of what is remembered now."""
        if history is None and not since:
            return _LogReplay(self._runs, self._skip, self.memory - (self._count + 1) * OVERHEAD_BYTES)
        messages = list(self)
        if since:
            del messages[: _behind(messages, uid, since)]
        if history is not None:
            messages = [message for message in messages if not message.is_join]
            del messages[: max(0, len(messages) - history)]
        return _LogReplay((messages,), 0)


def _behind(messages: Sequence[Message], uid: str, since: Sequence[int]) -> int:
    """The index behind the earliest place where the run of digests stands; 0 when it does not stand here.

    Join frames reach some members by replay and others not at all, and move when their uid joins again:
    whatever has the digest of one is left out of the run and of the history alike.
    """
    joins = {digest(payload_of(message.frame)) for message in messages if message.is_join}
    run = deque(wanted for wanted in since if wanted not in joins)
    if not run:
        return 0
    window = deque[int](maxlen=len(run))
    for index, message in enumerate(messages):
        if message.uid == uid:
            continue
        found = digest(payload_of(message.frame))
        if found not in joins:
            window.append(found)
            if window == run:
                return index + 1
    return 0


@implementer(IReplay)
class _LogReplay:
    """A walk along runs as long as they are now; what is appended to them later is not part of it."""

    __slots__ = ("_at", "_bytes", "_runs")

    def __init__(self, runs: Iterable[list[Message]], skip: int, most_bytes: int | None = None) -> None:
        self._runs = deque([(run, len(run)) for run in runs])
        self._at = skip
        self._bytes = most_bytes  # there are not more; None: nobody has counted them

    def pull(self, max_bytes: int) -> list[bytes]:
        frames: list[bytes] = []
        if self._bytes is not None and self._bytes <= max_bytes:
            # Usually all of it is a piece: nothing has to be measured.
            for run, end in self._runs:
                frames += map(frame_of, run[self._at : end])
                self._at = 0
            self._runs.clear()
            return frames
        size = 0
        while self._runs and size < max_bytes:
            run, end = self._runs[0]
            if self._at >= end:
                self._runs.popleft()
                self._at = 0
                continue
            # As many at a time as a run has, where they are small.
            part = list(map(frame_of, run[self._at : min(end, self._at + _RUN_MESSAGES)]))
            ends = list(accumulate(map(len, part)))
            del part[bisect_left(ends, max_bytes - size) + 1 :]
            self._at += len(part)
            frames += part
            size += ends[len(part) - 1]
        return frames


@implementer(IHistory)
class MemoryHistory:
    """The default store: lost on restart, never late.

    Args:
        clock: tells how long a channel was idle.
        limit: messages a channel remembers at most.
        max_bytes: bytes of frames a channel remembers at most.
        total_bytes: bytes of memory all channels together may take, about. Above it the least recently used
            channels lose their history, first those without members.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limit: int,
        max_bytes: int = MAX_CHANNEL_BYTES,
        total_bytes: int = DEFAULT_TOTAL_BYTES,
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._total_bytes = total_bytes
        self._max_bytes = max_bytes
        self._logs: OrderedDict[str, ChannelLog] = OrderedDict()  # least recently used first
        self._memory = 0
        self._listener: ICommitted

    @property
    def memory(self) -> int:
        """Bytes of memory all channels take, about."""
        return self._memory

    @property
    def is_settled(self) -> bool:
        """Always: what is appended is delivered at once."""
        return True

    @property
    def messages(self) -> int:
        """Messages all channels remember; 10 ms for 100,000 channels."""
        return sum(map(len, self._logs.values()))

    def start(self, listener: ICommitted) -> None:
        self._listener = listener

    def open(self) -> None:
        pass  # nothing outlives the process

    def close(self) -> "Deferred[None]":
        return succeed(None)

    def not_ready(self) -> list[str]:
        return []

    def counts(self) -> HistoryCounts:
        return HistoryCounts()

    def append(self, channel: str, batch: Sequence[Message]) -> None:
        log = self._logs.get(channel)
        if log is None:
            log = self._logs[channel] = ChannelLog()
            self._memory += log.memory + len(channel)
        else:
            self._logs.move_to_end(channel)
        self._memory += log.append(batch, self._limit, self._max_bytes)
        log.used_at = self._clock.seconds()
        if self._memory > self._total_bytes:
            self._make_room(channel)
        self._listener.committed(channel, batch)

    def replay(self, channel: str, uid: str, history: int | None, since: Sequence[int]) -> IReplay:
        log = self._logs.get(channel)
        if log is None:
            return _LogReplay((), 0)
        self._memory += log.append((), self._limit, self._max_bytes)  # the limit may have been lowered meanwhile
        return log.replay(uid, history, since)

    def change(self, limit: int, total_bytes: int) -> None:
        """Remember more, or less, from now on; a channel that has too many messages loses them when it is used."""
        self._limit = limit
        self._total_bytes = total_bytes
        if self._memory > total_bytes:
            self._make_room(None)

    def sweep(self) -> None:
        oldest = self._clock.seconds() - IDLE_SECONDS
        while self._logs:
            channel, log = next(iter(self._logs.items()))
            if log.used_at >= oldest:
                return
            self._forget(channel)

    def channels(self) -> KeysView[str]:
        return self._logs.keys()

    def forget_one(self) -> bool:
        for channel in self._logs:
            if not self._listener.has_members(channel):
                self._forget(channel)
                return True
        return False

    def _make_room(self, speaking: str | None) -> None:
        """Come down to nine tenths, so that this is not done for every message."""
        enough = self._total_bytes * 9 // 10
        for spared in (True, False):
            for channel in list(self._logs):
                if self._memory <= enough:
                    return
                if channel != speaking and not (spared and self._listener.has_members(channel)):
                    self._forget(channel)
        if speaking is None:
            return
        log = self._logs[speaking]
        before = log.memory
        log.shrink(before - (self._memory - enough))
        self._memory += log.memory - before

    def _forget(self, channel: str) -> None:
        self._memory -= self._logs.pop(channel).memory + len(channel)
        self._listener.forgotten(channel)
