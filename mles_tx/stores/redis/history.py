"""The history that several nodes share, and the claims: `IHistory` and `IClaims` on Redis.

What a member says goes to Redis and comes back in the order of the channel's stream, from this node as from the others.
Redis has a fifth of a second for that. When it takes longer, or the connection is gone, the node goes on alone:
what is said is delivered to its own members at once, and kept until Redis has it. Then its place in the stream
is only a place in the history.
"""

from collections.abc import KeysView, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mles_tx.channels.claims import IClaims, IHolders
from mles_tx.channels.history import (
    DEFAULT_TOTAL_BYTES,
    MAX_CHANNEL_BYTES,
    HistoryCounts,
    HistoryError,
    ICommitted,
    IHistory,
    IReplay,
    Message,
)

from .backlog import Backlog, Pending, Place
from .followed import Followed, State
from .keys import channel_announcements, node_key
from .leases import Leases
from .news import announced
from .node import INode
from .patience import Patience
from .seam import ILink, ILinked

__all__ = ["RedisHistory"]

#: Seconds between two complaints that Redis is too slow: it may be so again and again.
_QUIET_SECONDS = 10.0

#: Seconds what waits is given at the end to be taken.
_CLOSE_SECONDS = 3.0

#: Places listened to in one command.
_MANY = 500


@implementer(IHistory, IClaims, ILinked, INode)
class RedisHistory:
    """The histories of all channels as they stand in Redis, and as far as they are needed here.

    Args:
        clock: the reactor, or a `Clock` in tests.
        link: the way to Redis.
        node: who we are among the nodes.
        name: what Redis is called in messages for operators.
        database: its number.
        limit: messages a channel remembers at most.
        max_bytes: bytes of frames a channel remembers at most.
        total_bytes: bytes of memory all channels with members here may take, about.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        link: ILink,
        node: str,
        name: str,
        database: int,
        limit: int,
        max_bytes: int = MAX_CHANNEL_BYTES,
        total_bytes: int = DEFAULT_TOTAL_BYTES,
    ) -> None:
        self._clock = clock
        self._link = link
        self._node = node
        self._name = name
        self._database = database
        self._limits = [limit, max_bytes]  # one list, for all who keep to it
        self._total_bytes = total_bytes
        self._memory = 0
        self._listener: ICommitted
        self._number = 0
        self._own: dict[str, dict[int, Pending]] = {}  # by channel and number: what has no place yet
        self._followed: dict[str, Followed] = {}
        self._by_announcements: dict[bytes, Followed] = {}
        self._backlog = Backlog(link, node, database, self._limits, self._place, self._taken, self._dropped)
        self._leases = Leases(
            clock, link, node, database, lambda: self._patience.is_late, lambda answer: self._patience.timed(answer)
        )
        self._patience = Patience(
            clock, lambda: link.call("PING"), lambda: self._backlog.oldest, self._go_alone, self._rely_again
        )
        self._is_going_alone = False  # and is delivering what waits meanwhile
        self._faults = 0
        self._lost_told = 0
        self._told_at: float | None = None
        self._has_told = False
        self._ending: list[Deferred[None]] = []  # who waits until nothing waits to be stored

    # -- IHistory

    def start(self, listener: ICommitted) -> None:
        self._listener = listener

    def open(self) -> None:
        try:
            self._link.start(self)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "there is no certificate in it"
            raise HistoryError(f"{self._name}: the file of ca=: {why}; give a PEM file with certificates") from None

    def close(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._close())

    def not_ready(self) -> list[str]:
        if self._link.is_up and self._link.is_hearing and not self._patience.is_late:
            return []
        why = self._link.fault or ("it answers too slowly" if self._link.is_up else "not connected yet")
        return [
            f"--history {self._name}: {why}; members of other servers and this one do not hear each other meanwhile"
        ]

    def counts(self) -> HistoryCounts:
        return HistoryCounts(self._backlog.messages, self._backlog.lost, self._faults)

    @property
    def memory(self) -> int:
        """Bytes of memory that all channels in use here take, about."""
        return self._memory

    @property
    def is_settled(self) -> bool:
        """Whether all that was said here was delivered."""
        return all(pending.is_delivered for own in self._own.values() for pending in own.values())

    @property
    def messages(self) -> int:
        """Messages that are in memory here."""
        return sum(len(followed.log) for followed in self._followed.values())

    def change(self, limit: int, total_bytes: int) -> None:
        """Remember more, or less, from now on; what is too much goes when a channel is spoken on."""
        self._limits[0] = limit
        self._total_bytes = total_bytes
        if self._memory > total_bytes:
            self._make_room()

    def append(self, channel: str, batch: Sequence[Message]) -> None:
        self._number += 1
        pending = Pending(channel, batch, self._number, self._clock.seconds())
        if channel not in self._followed:
            self._follow(channel)
        self._own[channel][pending.number] = pending
        is_alone = self._patience.is_late and not self._is_going_alone
        if is_alone:
            pending.is_delivered = True
        elif not self._is_going_alone:
            self._patience.start(pending)
        self._backlog.add(pending)
        if is_alone:  # last: who hears it may say something, which has the next number
            self._listener.committed(channel, batch)

    def replay(self, channel: str, uid: str, history: int | None, since: Sequence[int]) -> IReplay:
        followed = self._followed.get(channel) or self._follow(channel)
        return followed.replay(uid, history, since)

    def sweep(self) -> None:
        for channel, followed in list(self._followed.items()):
            if not self._listener.has_members(channel):
                if followed.is_idle:
                    self._unfollow(channel)
            elif followed.state is State.ALONE and self._link.is_up:
                followed.resume()
        # Deaf, it would take a holder that answers for one that does not.
        if self._link.is_up and self._link.is_hearing and not self._patience.is_late:
            self._leases.settle_next()

    def channels(self) -> KeysView[str]:
        return self._followed.keys()

    def forget_one(self) -> bool:
        for channel, followed in self._followed.items():
            if not self._listener.has_members(channel) and followed.is_idle:
                self._unfollow(channel)
                return True
        return False

    # -- IClaims

    def attach(self, holders: IHolders) -> None:
        self._leases.attach(holders)

    def claim(self, channel: str, uid: str) -> "Deferred[bool]":
        return self._leases.claim(channel, uid)

    def placed(self, channel: str) -> "Deferred[None] | None":
        followed = self._followed.get(channel)
        return None if followed is None else followed.placed()

    def release(self, channel: str, uid: str) -> None:
        self._leases.release(channel, uid)

    # -- ILinked

    def link_up(self) -> None:
        # First what was missed is asked for: what is sent then comes behind it.
        for followed in list(self._followed.values()):
            followed.resume()
        self._backlog.resume()
        self._leases.settle()

    def link_down(self) -> None:
        self._faults += 1
        self._backlog.pause()
        for followed in list(self._followed.values()):
            followed.pause()
        self._look_at_end()

    def hearing_again(self) -> None:
        names = list(self._by_announcements)
        for start in range(0, len(names), _MANY):
            self._link.listen(names[start : start + _MANY])
        self._leases.settle()

    def deaf(self) -> None:
        for followed in self._followed.values():
            followed.is_heard = False

    def hearing(self, announcements: bytes) -> None:
        followed = self._by_announcements.get(announcements)
        if followed is not None:
            followed.hear()

    def heard(self, announcements: bytes, data: bytes) -> None:
        followed = self._by_announcements.get(announcements)
        if followed is not None:
            try:
                news = announced(data)
            except ValueError:
                self._log.error("an announcement in Redis was not understood")
            else:
                followed.announce(news)
        elif announcements == self._link.own_announcements:
            self._leases.heard(data)

    # -- INode

    def deliver(self, channel: str, batch: Sequence[Message]) -> None:
        self._listener.committed(channel, batch)

    def settled(self, pending: Pending) -> None:
        pending.is_delivered = True
        if pending.is_taken:
            self._patience.met(pending)

    def remembered(self, change: int) -> None:
        self._memory += change
        if self._memory > self._total_bytes and change > 0:
            self._make_room()

    def missed(self, channel: str) -> None:
        self._faults += 1
        self._log.warn(
            "{name}: messages on channel {channel} were not received: they were forgotten while it was away",
            name=self._name,
            channel=channel[:64],
        )

    def seconds(self) -> float:
        return self._clock.seconds()

    def redis_seconds(self, seconds: float) -> float | None:
        offset = self._link.clock_offset
        return None if offset is None else seconds + offset

    # -- channels

    def _follow(self, channel: str) -> Followed:
        own = self._own[channel] = {}
        followed = Followed(channel, self._link, self, self._node, self._limits, own)
        followed.is_alone = self._patience.is_late
        announcements = channel_announcements(channel, self._database)
        self._followed[channel] = followed
        self._by_announcements[announcements] = followed
        if self._link.is_up:
            is_alone = followed.is_alone
            followed.resume()
            followed.is_alone = is_alone
        self._link.listen([announcements])
        return followed

    def _unfollow(self, channel: str) -> None:
        followed = self._followed.pop(channel)
        announcements = channel_announcements(channel, self._database)
        del self._by_announcements[announcements]
        self._link.ignore(announcements)
        self._memory -= followed.log.memory
        del self._own[channel]
        self._listener.forgotten(channel)

    def _place(self, channel: str) -> Place:
        followed = self._followed.get(channel)
        return (b"", b"") if followed is None else followed.place

    def _make_room(self) -> None:
        """Come down to nine tenths, so that this is not done for every message."""
        enough = self._total_bytes * 9 // 10
        followed = sorted(self._followed.values(), key=lambda followed: followed.log.used_at)
        for spared in (True, False):
            for one in followed:
                if self._memory <= enough:
                    return
                if len(one.log) and not (spared and self._listener.has_members(one.name)):
                    one.forget()

    # -- what this node has said

    def _taken(self, pending: Pending, is_new: bool, epoch: bytes, before: bytes, entry_id: bytes) -> None:
        followed = self._followed.get(pending.channel)
        if followed is not None:
            followed.taken(pending, is_new, epoch, before, entry_id)
        if pending.is_delivered:
            self._patience.met(pending)
        self._look_at_end()

    def _dropped(self, pending: Pending) -> None:
        if self._backlog.lost - len(pending.batch) == self._lost_told:
            self._log.warn(
                "{name}: too much waits to be stored; the oldest messages are dropped, and never reach other servers",
                name=self._name,
            )
        self._own.get(pending.channel, {}).pop(pending.number, None)  # once it was announced, the channel may be gone
        pending.is_seen = True
        if not pending.is_delivered:
            pending.is_delivered = True
            self._listener.committed(pending.channel, pending.batch)
        self._patience.met(pending)
        self._look_at_end()

    # -- when Redis takes too long

    def _go_alone(self) -> None:
        """Redis takes too long: do without its answers until they come in time again."""
        now = self._clock.seconds()
        self._has_told = self._told_at is None or now - self._told_at >= _QUIET_SECONDS
        if self._has_told:
            self._told_at = now
            self._log.warn("{name} does not answer in time: this server goes on alone", name=self._name)
        if self._link.is_up:
            self._faults += 1  # else it was counted when the link went down
        self._is_going_alone = True
        while waiting := self._undelivered():  # who hears it may say something, which is to come behind the rest
            for pending in waiting:
                if pending.is_delivered:
                    continue  # what was said meanwhile has pushed it out of the backlog
                pending.is_delivered = True
                self._listener.committed(pending.channel, pending.batch)
        self._is_going_alone = False
        for followed in list(self._followed.values()):
            followed.give_up()
        self._leases.give_up()

    def _undelivered(self) -> list[Pending]:
        waiting = [pending for own in self._own.values() for pending in own.values() if not pending.is_delivered]
        return sorted(waiting, key=lambda pending: pending.number)

    def _rely_again(self) -> None:
        """Its answers come in time again."""
        lost, self._lost_told = self._backlog.lost - self._lost_told, self._backlog.lost
        if self._has_told or lost:
            self._log.info(
                "{name} answers in time again; what was said meanwhile has been stored, but for {lost} messages",
                name=self._name,
                lost=lost,
            )
        for followed in list(self._followed.values()):
            followed.is_alone = False
        self._leases.settle()

    # -- the end

    def _look_at_end(self) -> None:
        if self._ending and not (self._backlog and self._link.is_up):
            ending, self._ending = self._ending, []
            for emptied in ending:
                emptied.callback(None)

    async def _close(self) -> None:
        if self._backlog and self._link.is_up:
            emptied: Deferred[None] = Deferred()
            self._ending.append(emptied)
            await emptied.addTimeout(_CLOSE_SECONDS, self._clock).addErrback(lambda _: None)
        if self._link.is_up and not self._backlog:
            # The last command: with it everything before has been answered.
            gone = self._link.call("DEL", node_key(self._node))
            await gone.addTimeout(_CLOSE_SECONDS, self._clock).addErrback(lambda _: None)
        if self._backlog:
            self._log.warn(
                "{name}: {count} messages were not stored before the end", name=self._name, count=self._backlog.messages
            )
        self._patience.stop()
        self._leases.stop()
        await self._link.stop()
