"""What a durable history holds in memory: the channels it knows, and the recent messages of those in use.

A channel is cold as long as its messages are in the store alone. What is said then is remembered behind a gap, which is
filled when somebody wants to read. A replay that begins before that waits for it, and its end is fixed all the same.

Nothing here knows the store.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator, KeysView, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mles_tx.channels.history import ChannelLog, IReplay, Message

__all__ = ["LateReplay", "RecentChannel", "RecentChannels"]


@implementer(IReplay)
class LateReplay:
    """A replay whose beginning is still to be read.

    Args:
        tail: what of it is in memory.
        joins: join frames that follow, on their way to the store.
        uid: who joins.
        history: as in `IHistory.replay`.
        since: likewise.
    """

    def __init__(
        self, tail: Sequence[Message], joins: Sequence[Message], uid: str, history: int | None, since: Sequence[int]
    ) -> None:
        self._tail = tail
        self._joins = joins
        self._asked = (uid, history, since)
        self._inner: IReplay | None = None
        self._waiting: tuple[Deferred[list[bytes]], int] | None = None

    def pull(self, max_bytes: int) -> "list[bytes] | Deferred[list[bytes]]":
        if self._inner is not None:
            return self._inner.pull(max_bytes)
        answer: Deferred[list[bytes]] = Deferred()
        self._waiting = (answer, max_bytes)
        return answer

    def begin(self, older: Sequence[Message], limit: int, max_bytes: int) -> None:
        """Here is what stood before the tail."""
        log = ChannelLog()
        log.append([*older, *self._tail], limit, max_bytes)
        log.append(self._joins, sys.maxsize, sys.maxsize)  # they push out nothing yet
        self._tail = self._joins = ()
        self._inner = log.replay(*self._asked)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            answer, size = waiting
            try:
                pulled = self._inner.pull(size)
            except Exception:
                answer.errback(Failure())
            else:
                assert isinstance(pulled, list)
                answer.callback(pulled)


class RecentChannel:
    """One channel that is in the store, or will be.

    Attributes:
        name: its name.
        used_at: when something was last said, by the clock of the history.
        log: what of it is in memory; None: nothing.
        is_whole: whether that is all there is.
        first: the number of the first message that was remembered behind the gap; None: none was.
        unwritten: changes that are not in the store yet.
        is_stale: whether the store holds something else: to be read again once all is written.
        is_loading: whether the store is being asked.
        waiting: replays that wait for it.
        joins: join frames that are on their way to the store, by uid. They are not delivered, so who joins meanwhile
            finds them here or nowhere.
    """

    __slots__ = (
        "first",
        "is_loading",
        "is_stale",
        "is_whole",
        "joins",
        "log",
        "name",
        "unwritten",
        "used_at",
        "waiting",
    )

    def __init__(self, name: str, used_at: float, is_whole: bool) -> None:
        self.name = name
        self.used_at = used_at
        self.log: ChannelLog | None = None
        self.is_whole = is_whole
        self.first: int | None = None
        self.unwritten = 0
        self.is_stale = False
        self.is_loading = False
        self.waiting: list[LateReplay] = []
        self.joins: dict[str, Message] = {}

    @property
    def may_go(self) -> bool:
        """Whether it can be forgotten now: nothing of it is under way."""
        return not self.unwritten and not self.is_loading


class RecentChannels:
    """The channels, the least recently used first, and what of them is in memory.

    Args:
        limit: messages a channel remembers at most.
        max_bytes: bytes of frames a channel remembers at most.
        total_bytes: bytes of memory all may take, about. Above it the least recently used are cold again, as soon as
            all of them is written.
    """

    def __init__(self, limit: int, max_bytes: int, total_bytes: int) -> None:
        self.limit = limit
        self.max_bytes = max_bytes
        self.total_bytes = total_bytes
        self.memory = 0
        self._channels: OrderedDict[str, RecentChannel] = OrderedDict()
        self._warm: OrderedDict[str, RecentChannel] = OrderedDict()

    def __iter__(self) -> Iterator[RecentChannel]:
        """All, the least recently used first; they may be forgotten meanwhile."""
        return iter(list(self._channels.values()))

    @property
    def names(self) -> KeysView[str]:
        """The names of all."""
        return self._channels.keys()

    @property
    def warm(self) -> list[RecentChannel]:
        """Those with messages in memory, the least recently used first."""
        return list(self._warm.values())

    def oldest(self) -> Iterator[RecentChannel]:
        """All, the least recently used first; for the first few, and they must not be forgotten meanwhile."""
        return iter(self._channels.values())

    @property
    def newest(self) -> RecentChannel | None:
        """The one that was used last, if there is one."""
        return self._channels[next(reversed(self._channels))] if self._channels else None

    def get(self, name: str) -> RecentChannel | None:
        """A channel, if there is one of that name."""
        return self._channels.get(name)

    def add(self, name: str, used_at: float) -> RecentChannel:
        """A new channel, of which the store has nothing."""
        channel = self._channels[name] = RecentChannel(name, used_at, is_whole=True)
        return channel

    def log_of(self, channel: RecentChannel) -> ChannelLog:
        """The messages of a whole channel."""
        if channel.log is None or channel.joins:
            log = ChannelLog()
            log.append([*(channel.log or ()), *channel.joins.values()], sys.maxsize, sys.maxsize)
            return log
        self.memory += channel.log.append((), self.limit, self.max_bytes)  # the limit may have been lowered meanwhile
        return channel.log

    def clear(self) -> None:
        """Know nothing any more."""
        self._channels.clear()
        self._warm.clear()
        self.memory = 0

    def remember(self, channel: RecentChannel, n: int, batch: Sequence[Message], now: float) -> None:
        """Take in a batch: the first of its messages has the number `n`."""
        name = channel.name
        log = channel.log
        if log is None:
            log = channel.log = ChannelLog()
            self._warm[name] = channel
            self.memory += log.memory + len(name)
        else:
            self._warm.move_to_end(name)
        if channel.first is None:
            channel.first = n
        if channel.is_whole:
            self.memory += log.append(batch, self.limit, self.max_bytes)
        else:
            self._remember_behind_gap(channel, log, batch)
        channel.used_at = now
        self._channels.move_to_end(name)

    def _remember_behind_gap(self, channel: RecentChannel, log: ChannelLog, batch: Sequence[Message]) -> None:
        uid = batch[0].uid if batch[0].is_join else None
        expected = len(log) + len(batch) - any(message.is_join and message.uid == uid for message in log)
        self.memory += log.append(batch, self.limit, self.max_bytes)
        if len(log) < expected:
            channel.is_whole = True  # too much: so what is behind the gap is too old, all of it

    def load(self, channel: RecentChannel, rows: Sequence[tuple[int, Message]]) -> None:
        """Fill the gap of a channel with what the store has, and begin the replays that wait for it."""
        first = channel.first
        older = [message for n, message in rows if first is None or n < first]
        waiting, channel.waiting = channel.waiting, []
        for replay in waiting:
            replay.begin(older, self.limit, self.max_bytes)
        if self._channels.get(channel.name) is not channel:
            return  # forgotten meanwhile
        if channel.is_whole:
            return  # it has become so meanwhile
        log = ChannelLog()
        log.append([*older, *(channel.log or ())], self.limit, self.max_bytes)
        if channel.log is None:
            self._warm[channel.name] = channel
            self.memory += log.memory + len(channel.name)
        else:
            self.memory += log.memory - channel.log.memory
        channel.log = log
        channel.is_whole = True
        if channel.is_stale and not channel.unwritten:
            self.cool(channel)  # what was read is out of date by now
        self.make_room()

    def cool(self, channel: RecentChannel) -> None:
        """Keep nothing of a channel in memory: all of it is in the store."""
        channel.first = None
        channel.is_whole = channel.is_stale = False
        if channel.log is not None:
            self.memory -= channel.log.memory + len(channel.name)
            channel.log = None
            del self._warm[channel.name]

    def forget(self, channel: RecentChannel) -> None:
        """Know nothing of a channel any more."""
        self.cool(channel)
        del self._channels[channel.name]

    def make_room(self) -> None:
        """Come down to nine tenths of the memory, as far as the store has what is given up."""
        if self.memory <= self.total_bytes:
            return
        enough = self.total_bytes * 9 // 10
        for channel in self.warm:
            if self.memory <= enough:
                return
            if channel.may_go:
                self.cool(channel)

    def take_over(self, rows: Sequence[tuple[str, float]]) -> list[str]:
        """The store holds these channels now, least recently used first, each with the time of its last message.

        What is in memory alone stays; everything else is what the store says.

        Returns:
            The names of the channels there are no more.
        """
        known, self._channels = self._channels, OrderedDict()
        for channel in known.values():
            if channel.unwritten:
                channel.is_stale = True
            else:
                self._cool_apart(channel)
        for name, used_at in rows:
            if name not in known or not known[name].unwritten:
                self._channels[name] = RecentChannel(name, used_at, is_whole=False)
        for name, channel in known.items():
            if channel.unwritten:
                self._channels[name] = channel
        return [name for name in known if name not in self._channels]

    def _cool_apart(self, channel: RecentChannel) -> None:
        if channel.log is not None:
            self.memory -= channel.log.memory + len(channel.name)
            del self._warm[channel.name]
