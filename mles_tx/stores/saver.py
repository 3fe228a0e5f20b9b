"""What waits to be written to a file, and what becomes of it when the file cannot be used.

Changes are written in groups, in their order: what comes while one group is written makes up the next. While the file
cannot be used, relaxed messages wait, within bounds, and strict ones are refused; the file is tried again with growing
delays. This is the reactor's side; the thread's is the `Writer`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from mles_tx.channels.history import OVERHEAD_BYTES, HistoryCounts, HistoryError

from .faults import FileReplaced, StoreFault
from .recent import RecentChannel
from .schema import ChannelRow
from .tables import Batch, Tables
from .thread import SerialThread
from .writer import Change, Report, Writer

__all__ = ["BACKLOG_BYTES", "CLOSE_SECONDS", "RELAXED_SECONDS", "RETRY_SECONDS", "Queued", "Saver", "SaverOwner"]

#: Seconds a message that was delivered waits for others before it is written. With the commit, 100 ms are promised.
RELAXED_SECONDS = 0.04

#: Bytes of memory that what is not written yet may take, about. Above it the oldest is given up, or the newest refused.
BACKLOG_BYTES = 64 * 1024 * 1024

#: Seconds for the last commit.
CLOSE_SECONDS = 5.0

#: Bytes of messages in one transaction, about: a commit is to be short, whatever waits.
_GROUP_BYTES = 4 * 1024 * 1024
_GROUP_MESSAGES = 5000

#: Messages that wait when the thread does not keep up with what is said. From then on it is given time, the more the
#: further it is behind, up to so many seconds out of each 25 milliseconds.
_MANY_MESSAGES = 8_000
_MOST_SECONDS = 0.02
_BETWEEN_SECONDS = 0.005

#: What a change without messages counts for there.
_CHANGE_BYTES = 4096

#: Seconds until a file that failed is tried again: at first, and at most.
RETRY_SECONDS = 0.25
_MAX_RETRY_SECONDS = 5.0

#: How often the last changes are tried when the file is taken away meanwhile.
_LAST_TRIES = 3

P = ParamSpec("P")
T = TypeVar("T")


class Queued:
    """One change that waits to be written.

    Attributes:
        change: the change.
        channel: whose change it is.
        is_said: whether these are messages that are still to be delivered or refused.
        count: how many messages.
        size: bytes of memory they take, about.
    """

    __slots__ = ("change", "channel", "count", "is_said", "size")

    def __init__(self, change: Change, channel: RecentChannel, is_said: bool) -> None:
        self.change = change
        self.channel = channel
        self.is_said = is_said
        self.count, self.size = 0, _CHANGE_BYTES
        if isinstance(change, Batch):
            self.count = len(change.messages)
            self.size = OVERHEAD_BYTES * self.count
            for message in change.messages:
                self.size += len(message.frame)


class SaverOwner(Protocol):
    """Who is told what becomes of the changes."""

    def saved(self, group: Sequence[Queued]) -> None:
        """These are in the file."""

    def refused(self, batch: Batch) -> None:
        """Strict messages that will never be in it."""

    def replaced(self, said: Sequence[Batch]) -> None:
        """The file is a new one: add what is in memory, and then these strict messages, which come later."""

    def holds(self, channels: Sequence[ChannelRow]) -> None:
        """These channels are in the file."""

    def reported(self, report: Report) -> None:
        """How the file is after something was done."""


class Saver:
    """The way into one file, from its opening to its closing.

    Args:
        clock: the reactor, or in tests a `Clock`.
        writer: the file.
        thread: where it is used.
        strict: whether messages are delivered only when they are written.
        name: what the file is called in logs.
        owner: who is told.
    """

    _log = Logger()

    def __init__(
        self, clock: Any, writer: Writer, thread: SerialThread, strict: bool, name: str, owner: SaverOwner
    ) -> None:
        self._clock = clock
        self._writer = writer
        self._thread = thread
        self._strict = strict
        self._name = name
        self._owner = owner
        self._is_open = False
        self._is_over = False
        self._closing: Deferred[None] | None = None
        self._queue: deque[Queued] = deque()
        self._queue_bytes = 0
        self._group: list[Queued] | None = None  # what is being written
        self._has_more = False  # whether more waited when the last group was begun
        self._generation = 0  # of the file
        self._timer: IDelayedCall | None = None  # until something is written, or the file is tried again
        self._give_up_timer: IDelayedCall | None = None
        self._retry_seconds = RETRY_SECONDS
        self._gave_way_at = 0.0
        self._waiting = self._lost = self._faults = 0
        self.fault: str | None = None  #: what is wrong with the file at the moment

    def counts(self) -> HistoryCounts:
        """How it does."""
        return HistoryCounts(self._waiting, self._lost, self._faults)

    @property
    def is_busy(self) -> bool:
        """Whether something is being written, or cannot be."""
        return self._group is not None or self.fault is not None

    @property
    def refuses(self) -> bool:
        """Whether messages have to be refused."""
        return self._strict and (self.fault is not None or self._queue_bytes > BACKLOG_BYTES)

    def begin_with(self, counts: HistoryCounts) -> None:
        """Go on counting."""
        self._lost, self._faults = counts.lost, counts.faults

    def lose(self, count: int) -> None:
        """Count messages that will never be in the file."""
        self._lost += count

    # -- beginning and end

    def open(self) -> None:
        """Begin with the file.

        Raises:
            HistoryError: somebody has to do something about it first.
        """
        try:
            self._owner.holds(self._writer.open())
        except FileReplaced as replaced:
            self._say_replaced(replaced)
        except StoreFault as fault:
            self._is_open = True
            self._fail(str(fault))
        self._thread.start()
        self._is_open = True
        self._schedule()

    def close(self) -> "Deferred[None]":
        """Write what waits, and let go of the file within `CLOSE_SECONDS`."""
        told: Deferred[None] = Deferred()
        if not self._is_open or self._is_over:
            told.callback(None)
            return told
        if self._closing is None:
            self._closing = Deferred()
            self._stop_timer()
            self._give_up_timer = self._clock.callLater(CLOSE_SECONDS, self._give_up)
            if self._group is None:
                self._write_last(_LAST_TRIES)
        self._closing.addCallback(lambda _: told.callback(None))
        return told

    def _write_last(self, tries: int) -> None:
        """Write all that waits; a file that was taken away meanwhile is made anew."""

        def written(_: object) -> None:
            self._group = None
            self._waiting = 0
            self._let_go()

        def not_written(failure: Failure) -> None:
            if self._is_over:
                return
            if isinstance(failure.value, FileReplaced) and tries:
                self._replaced(failure.value)
                self._write_last(tries - 1)
            else:
                self.fault = self._words(failure)
                self._let_go()

        self._group, self._queue, self._queue_bytes = list(self._queue), deque(), 0
        if not self._group:
            self._let_go()
            return
        changes = [queued.change for queued in self._group]
        self._thread.call(self._writer.write, changes, self._generation).addCallbacks(written, not_written)

    def _let_go(self) -> None:
        if self._is_over:
            return

        def failed(failure: Failure) -> None:
            self._log.error("history {path}: {fault}", path=self._name, fault=self._words(failure))

        self._thread.call(self._writer.close).addErrback(failed).addCallback(lambda _: self._ended())

    def _give_up(self) -> None:
        """The disk does not answer: do without it."""
        self.fault = f"the disk did not answer within {CLOSE_SECONDS:g} seconds"
        self._thread.abandon()
        self._ended()

    def _ended(self) -> None:
        if self._is_over:
            return  # the disk has answered after all
        self._is_over = True
        self._thread.stop()
        self._stop_timer()
        if self._give_up_timer is not None and self._give_up_timer.active():
            self._give_up_timer.cancel()
        self._lost += self._waiting
        if self._waiting:
            self._log.error(
                "history {path}: {fault}; the last {count} messages are lost",
                path=self._name,
                fault=self.fault,
                count=self._waiting,
            )
        self._waiting = 0
        self.fault = None
        assert self._closing is not None
        self._closing.callback(None)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # -- what is to be written

    def add(self, channel: RecentChannel, change: Change, is_said: bool = False) -> None:
        """Take the next change."""
        queued = Queued(change, channel, is_said)
        channel.unwritten += 1
        self._waiting += queued.count
        self._queue.append(queued)
        self._queue_bytes += queued.size
        if self._timer is None:
            self._schedule()
        if self._strict:
            return
        if self._waiting > _MANY_MESSAGES and self.fault is None:
            self._give_way()
        if self._queue_bytes > BACKLOG_BYTES:
            self._give_up_oldest()

    def _give_way(self) -> None:
        """More is said than is written: senders wait for the thread."""
        if self._clock.seconds() - self._gave_way_at > _BETWEEN_SECONDS:
            self._thread.give_way(min(_MOST_SECONDS, (self._waiting - _MANY_MESSAGES) / 1e6))
            self._gave_way_at = self._clock.seconds()

    def ask(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        """Call something of the writer that changes nothing."""

        def failed(failure: Failure) -> Failure:
            if not self._is_over and self._closing is None:
                if isinstance(failure.value, FileReplaced):
                    self._replaced(failure.value)
                elif not self.is_busy:
                    self._fail(self._words(failure))
            return failure

        return self._thread.call(function, *args, **kwargs).addErrback(failed)

    def _give_up_oldest(self) -> None:
        """Too much waits for the disk: what was said first will not be in the file."""
        kept: deque[Queued] = deque()
        while self._queue and self._queue_bytes > BACKLOG_BYTES * 9 // 10:
            queued = self._queue.popleft()
            if queued.count:
                self._queue_bytes -= queued.size
                queued.channel.unwritten -= 1
                self._waiting -= queued.count
                self._lost += queued.count
            else:
                kept.append(queued)
        self._queue.extendleft(reversed(kept))

    def _schedule(self) -> None:
        """Write what waits: strict, when this turn is over, relaxed, a little later."""
        if self._queue and self._is_open and not self.is_busy and self._closing is None:
            seconds = 0 if self._strict or self._has_more else RELAXED_SECONDS
            self._timer = self._clock.callLater(seconds, self._write)

    def _write(self) -> None:
        self._timer = None
        self._group = []
        size = count = 0
        while self._queue and size < _GROUP_BYTES and count < _GROUP_MESSAGES:
            queued = self._queue.popleft()
            self._group.append(queued)
            size += queued.size
            count += queued.count
        self._has_more = bool(self._queue)
        self._queue_bytes -= size
        changes = [queued.change for queued in self._group]
        if self.fault is not None:
            changes.append(Tables.probe)  # what waits may be too little to find out
        group = self._group
        self._thread.call(self._writer.write, changes, self._generation).addCallbacks(
            self._written, self._not_written, callbackArgs=(group,), errbackArgs=(group,)
        )

    def _written(self, report: Report, group: list[Queued]) -> None:
        if self._is_over:
            return
        self._group = None
        for queued in group:
            queued.channel.unwritten -= 1
            self._waiting -= queued.count
        if self.fault is not None:
            self.fault = None
            self._log.info("history {path}: is written to again", path=self._name)
        self._owner.saved(group)
        self._owner.reported(report)
        if self._closing is not None:
            self._write_last(_LAST_TRIES)
        elif self._timer is None:
            self._schedule()

    def _not_written(self, failure: Failure, group: list[Queued]) -> None:
        if self._is_over or self._group is not group:
            return  # it was for a file that was found to be gone meanwhile, and waits again
        if isinstance(failure.value, FileReplaced):
            self._replaced(failure.value)
        else:
            self._group = None
            self._queue.extendleft(reversed(group))
            self._queue_bytes += sum(queued.size for queued in group)
            self._fail(self._words(failure))
            if self._strict:
                self._refuse()
        if self._closing is not None:
            self._write_last(0)

    def _refuse(self) -> None:
        """Strict: nothing of what waits is delivered. Join frames keep waiting, they are for those who come later."""
        queue, self._queue, self._queue_bytes = self._queue, deque(), 0
        refused: list[Batch] = []
        for queued in queue:
            change = queued.change
            if queued.is_said and isinstance(change, Batch) and not change.messages[0].is_join:
                refused.append(change)
                queued.channel.unwritten -= 1
                self._waiting -= queued.count
                self._lost += queued.count
            else:
                self._queue.append(queued)
                self._queue_bytes += queued.size
        for batch in refused:
            self._owner.refused(batch)

    # -- when it fails

    def _words(self, failure: Failure) -> str:
        if isinstance(failure.value, StoreFault | HistoryError | FileReplaced):
            return str(failure.value)
        self._log.failure("a history failed in an unforeseen way", failure)
        return "it failed in an unforeseen way"

    def _fail(self, fault: str) -> None:
        """It cannot be used now: say so once, and try again later."""
        if fault != self.fault:
            what = "senders are told to try again" if self._strict else "messages are delivered, and written later"
            self._log.error("history {path}: {fault}; {what}", path=self._name, fault=fault, what=what)
        if self.fault is None:
            self._retry_seconds = RETRY_SECONDS
            self._faults += 1
        self.fault = fault
        self._stop_timer()
        if self._closing is None:
            self._timer = self._clock.callLater(self._retry_seconds, self._write)
        self._retry_seconds = min(2 * self._retry_seconds, _MAX_RETRY_SECONDS)

    def _replaced(self, replaced: FileReplaced) -> None:
        """There is another file: what is in memory belongs into it, before what was to be written anyway."""
        self._say_replaced(replaced)
        queue = [*(self._group or ()), *self._queue]
        self._group, self._queue, self._queue_bytes, self._waiting = None, deque(), 0, 0
        said = []
        for queued in queue:
            queued.channel.unwritten -= 1
            if queued.is_said and isinstance(queued.change, Batch):
                said.append(queued.change)
        self._owner.replaced(said)
        if self._timer is None:
            self._schedule()

    def _say_replaced(self, replaced: FileReplaced) -> None:
        self._generation = replaced.generation
        self._faults += 1
        self._log.error("history {path}: {why}; a new one is begun", path=self._name, why=replaced.why)
