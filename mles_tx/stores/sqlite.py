"""A history in one file, by SQLite.

    append → in memory → committed (relaxed) ┐
       └→ queue → a thread writes the whole queue in one transaction → committed (strict)

Recent messages stay in memory, so that neither who joins nor who speaks waits for the disk. Relaxed, a message is
delivered at once, and in the file a moment later. Strict, it is delivered when the commit it is part of has been
synced.

A file that is broken is set aside, one that was taken away is made anew, and what is in memory is written into it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, KeysView, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mles_tx.channels.history import (
    DEFAULT_TOTAL_BYTES,
    IDLE_SECONDS,
    MAX_CHANNEL_BYTES,
    ChannelLog,
    HistoryCounts,
    ICommitted,
    IHistory,
    IReplay,
    Message,
)

from .recent import LateReplay, RecentChannel, RecentChannels
from .saver import Queued, Saver
from .schema import ChannelRow
from .tables import Batch, Tables
from .thread import SerialThread, StoreThread
from .writer import Report, Writer

__all__ = ["DEFAULT_FILE_BYTES", "LOOK_SECONDS", "SqliteHistory"]

#: Bytes of the file when nobody says otherwise.
DEFAULT_FILE_BYTES = 1024 * 1024 * 1024

#: Seconds between two looks at the file, and between two steps while there is something to be tidied.
LOOK_SECONDS = 1.0
_STEP_SECONDS = 0.05

#: Channels that are forgotten in one step when the file is too large, and in one look for those that are idle.
_STEP_CHANNELS = 100
_STEP_IDLE = 1000


@implementer(IHistory)
class SqliteHistory:
    """What is said is kept in a file.

    Args:
        reactor: the reactor, or in tests a `Clock`, with a `thread`.
        path: the file; its directory is there.
        limit: messages a channel remembers at most.
        strict: whether a message is delivered only when it is on disk, also after a power cut.
        max_bytes: bytes of frames a channel remembers at most.
        total_bytes: bytes of memory that recent messages may take, about.
        file_bytes: bytes the file may take, about. Above it the least recently used channels are forgotten, first those
            without members.
        thread: where the file is used.
        wall_clock: seconds since 1970; looked at when the file is opened.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        path: Path,
        limit: int,
        *,
        strict: bool = False,
        max_bytes: int = MAX_CHANNEL_BYTES,
        total_bytes: int = DEFAULT_TOTAL_BYTES,
        file_bytes: int = DEFAULT_FILE_BYTES,
        thread: SerialThread | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = reactor
        self.path = path
        self.strict = strict
        self._max_bytes = max_bytes
        self.file_bytes = file_bytes
        self._wall_clock = wall_clock
        self._thread: SerialThread = StoreThread(reactor) if thread is None else thread
        self._recent = RecentChannels(limit, max_bytes, total_bytes)
        self._writer, self._saver = self._make_saver()
        self._listener: ICommitted
        self._is_open = False
        self._look_timer: IDelayedCall | None = None
        self._last = 0  # the number of the newest message
        self._wall_at_zero = wall_clock() - reactor.seconds()  # the wall clock when the reactor's was at 0

    def _make_saver(self) -> tuple[Writer, Saver]:
        writer = Writer(self.path, self._recent.limit, self._max_bytes, self.strict, self._wall_clock)
        return writer, Saver(self._clock, writer, self._thread, self.strict, str(self.path), self)

    # -- beginning and end

    def start(self, listener: ICommitted) -> None:
        self._listener = listener

    def open(self) -> None:
        self._saver.open()
        self._is_open = True
        self._look_timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def close(self) -> "Deferred[None]":
        self._is_open = False
        if self._look_timer is not None and self._look_timer.active():
            self._look_timer.cancel()
        self._look_timer = None
        return self._saver.close().addCallback(self._ended, self._saver)

    def _ended(self, _: None, saver: Saver) -> None:
        if saver is not self._saver:
            return  # this was asked for twice
        for channel in self._recent:
            self._answer(channel)
        self._recent.clear()
        lost = saver.counts()
        self._writer, self._saver = self._make_saver()
        self._saver.begin_with(lost)

    # -- how it is

    @property
    def limit(self) -> int:
        """Messages a channel remembers at most."""
        return self._recent.limit

    @property
    def total_bytes(self) -> int:
        """Bytes of memory that recent messages may take, about."""
        return self._recent.total_bytes

    @property
    def memory(self) -> int:
        """Bytes of memory that recent messages take, about."""
        return self._recent.memory

    @property
    def is_settled(self) -> bool:
        """Whether all that was said was delivered or refused; strict, that waits for the disk."""
        return not self.strict or self._saver.fault is not None or not self._saver.counts().waiting

    @property
    def messages(self) -> int:
        """Messages that are in memory."""
        return sum(len(channel.log) for channel in self._recent.warm if channel.log is not None)

    def not_ready(self) -> list[str]:
        fault = self._saver.fault
        if fault is None:
            return []
        what = "messages are refused" if self.strict else "what is said is in memory alone"
        return [f"history {self.path}: {fault}; until it can be used, {what}"]

    def counts(self) -> HistoryCounts:
        return self._saver.counts()

    def change(self, limit: int, total_bytes: int) -> None:
        """Remember more, or less, from now on; a channel that has too many messages loses them when it is used."""
        self._recent.limit = self._writer.limit = limit
        self._recent.total_bytes = total_bytes
        self._recent.make_room()

    def channels(self) -> KeysView[str]:
        return self._recent.names

    # -- what is said

    def append(self, channel: str, batch: Sequence[Message]) -> None:
        if not self.strict:
            found = self._channel(channel)
            n = self._number(len(batch))
            self._recent.remember(found, n, batch, self._clock.seconds())
            self._saver.add(found, Batch(channel, n, batch))
            if self._recent.memory > self._recent.total_bytes:
                self._recent.make_room()
            self._listener.committed(channel, batch)
        elif self._saver.refuses and not batch[0].is_join:
            self._saver.lose(len(batch))
            self._listener.refused(channel, batch)
        else:
            found = self._channel(channel)
            if batch[0].is_join:
                found.joins[batch[0].uid] = batch[0]
            self._saver.add(found, Batch(channel, self._number(len(batch)), batch), is_said=True)

    def replay(self, channel: str, uid: str, history: int | None, since: Sequence[int]) -> IReplay:
        found = self._recent.get(channel)
        if found is None or history == 0:
            return ChannelLog().replay(uid, history, since)
        if found.is_whole:
            return self._recent.log_of(found).replay(uid, history, since)
        late = LateReplay(tuple(found.log or ()), tuple(found.joins.values()), uid, history, since)
        found.waiting.append(late)
        if not found.is_loading:
            found.is_loading = True
            reading = self._saver.ask(self._writer.read, channel, found.first)
            reading.addCallbacks(self._loaded, self._not_loaded, callbackArgs=(found,), errbackArgs=(found,))
        return late

    def _channel(self, name: str) -> RecentChannel:
        found = self._recent.get(name)
        return self._recent.add(name, self._clock.seconds()) if found is None else found

    def _number(self, count: int) -> int:
        """Numbers for so many messages; returns the first of them."""
        now = int((self._wall_at_zero + self._clock.seconds()) * 1e6)
        n = now if now > self._last else self._last + 1
        self._last = n + count - 1
        return n

    def _loaded(self, rows: Sequence[tuple[int, Message]], channel: RecentChannel) -> None:
        channel.is_loading = False
        self._recent.load(channel, rows)

    def _not_loaded(self, _: Failure, channel: RecentChannel) -> None:
        channel.is_loading = False
        self._answer(channel)

    def _answer(self, channel: RecentChannel) -> None:
        """Who waits for the file gets what is in memory."""
        waiting, channel.waiting = channel.waiting, []
        for replay in waiting:
            replay.begin((), self._recent.limit, self._max_bytes)

    # -- what becomes of it

    def saved(self, group: Sequence[Queued]) -> None:
        """These are in the file: strict messages may be delivered."""
        for queued in group:
            if queued.is_said and isinstance(queued.change, Batch):
                self._commit(queued.change)
        for queued in group:
            channel = queued.channel
            if channel.is_stale and not channel.unwritten and not channel.is_loading:
                self._recent.cool(channel)
        self._recent.make_room()

    def _commit(self, batch: Batch) -> None:
        channel, first = self._channel(batch.channel), batch.messages[0]
        if channel.joins.get(first.uid) is first:
            del channel.joins[first.uid]
        self._recent.remember(channel, batch.n, batch.messages, self._clock.seconds())
        try:
            self._listener.committed(batch.channel, batch.messages)
        except Exception:
            self._log.failure("messages could not be delivered")

    def refused(self, batch: Batch) -> None:
        """Strict messages will never be in it: their senders are to be told."""
        try:
            self._listener.refused(batch.channel, batch.messages)
        except Exception:
            self._log.failure("senders could not be told")

    def replaced(self, said: Sequence[Batch]) -> None:
        """The file is a new one."""
        for channel in self._recent.warm:
            for messages in _runs(channel.log or ()):
                self._saver.add(channel, Batch(channel.name, self._number(len(messages)), messages))
        self._take_over([])  # what was in the file alone is no more
        for batch in said:
            n = self._number(len(batch.messages))
            self._saver.add(self._channel(batch.channel), batch._replace(n=n), is_said=True)

    def holds(self, channels: Sequence[ChannelRow]) -> None:
        """These channels are in the file."""
        if channels:
            newest = channels[-1].last
            self._last = max(self._last, newest)
            self._wall_at_zero = max(self._wall_at_zero, newest / 1e6 - self._clock.seconds())
        self._take_over([(row.name, row.last / 1e6 - self._wall_at_zero) for row in channels])

    def _take_over(self, rows: Sequence[tuple[str, float]]) -> None:
        for name in self._recent.take_over(rows):
            self._listener.forgotten(name)

    def reported(self, report: Report) -> None:
        """How the file is."""
        if report.channels is not None:
            self.holds(report.channels)

    # -- every now and then

    def _look(self) -> None:
        self._look_timer = self._clock.callLater(LOOK_SECONDS, self._look)
        if not self._saver.is_busy:
            self._saver.ask(self._writer.look).addCallbacks(self._looked, lambda _: None)

    def _looked(self, report: Report) -> None:
        if not self._is_open:
            return
        self.reported(report)
        is_too_large = report.file_bytes > self.file_bytes
        if is_too_large and not report.has_more:
            self._shrink_file(report.file_bytes)
        if (is_too_large or report.has_more) and self._look_timer is not None:
            self._look_timer.reset(_STEP_SECONDS)

    def sweep(self) -> None:
        oldest = self._clock.seconds() - IDLE_SECONDS
        idle: list[RecentChannel] = []
        for channel in self._recent.oldest():
            if channel.used_at >= oldest or len(idle) == _STEP_IDLE:
                break
            if channel.may_go:
                idle.append(channel)
        for channel in idle:
            self._forget(channel)

    def forget_one(self) -> bool:
        for channel in self._recent.oldest():
            if channel.may_go and not self._has_members(channel):
                self._forget(channel)
                return True
        return False

    def _shrink_file(self, size: int) -> None:
        """Forget a part of what is too much; the next look tells how much that was."""
        newest = self._recent.newest
        too_much = size - self.file_bytes * 9 // 10
        count = min(_STEP_CHANNELS, 1 + len(self._recent.names) * too_much // size // 4)
        for spared in (True, False):
            found = (
                channel
                for channel in self._recent.oldest()
                if channel.may_go and channel is not newest and not (spared and self._has_members(channel))
            )
            few = list(islice(found, count))
            for channel in few:
                self._forget(channel)
            if few:
                return
        if newest is not None and newest.may_go:
            name = newest.name
            self._saver.add(newest, lambda tables: tables.halve(name))

    def _has_members(self, channel: RecentChannel) -> bool:
        return self._listener.has_members(channel.name)

    def _forget(self, channel: RecentChannel) -> None:
        name = channel.name

        def forget(tables: Tables) -> None:
            tables.forget(name)

        self._recent.forget(channel)
        self._listener.forgotten(name)
        self._saver.add(channel, forget)


def _runs(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Messages in batches, each join frame in one of its own."""
    run: list[Message] = []
    for message in messages:
        if message.is_join:
            if run:
                yield run
            yield [message]
            run = []
        else:
            run.append(message)
    if run:
        yield run
