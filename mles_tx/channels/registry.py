"""All channels of one node: join, publish, leave.

The registry belongs to the reactor it is given: everything here happens in that reactor's thread. What is
published in one turn waits for the end of the turn, goes to the history as one batch for each channel, and
comes back to be delivered as soon as the history has it (`committed`, the only entrance to a fan-out).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from mles_tx.metrics import Metrics
from mles_tx.protocol.closing import CloseReason, ProtocolViolation
from mles_tx.protocol.frames import encode_message
from mles_tx.protocol.header import Header

from .channel import Channel
from .claims import IClaims, IHolders
from .history import ICommitted, IHistory, Message
from .member import IMember
from .refills import NOBODY, Refills

__all__ = ["DEFAULT_MAX_CHANNELS", "ChannelRegistry", "only_here"]

#: Channels when nobody says otherwise. One with nothing but a join frame takes about 2 KB.
DEFAULT_MAX_CHANNELS = 100_000

#: Seconds between two looks for idle channels.
_SWEEP_SECONDS = 60.0

#: Seconds between two looks whether what was said was delivered.
_LOOK_SECONDS = 0.005

_tuple = tuple.__new__


def only_here(channels: int) -> int:
    """How many channels there are in all, when there are so many here and none elsewhere."""
    return channels


@implementer(ICommitted, IHolders)
class ChannelRegistry:
    """The channels and who is on them.

    Args:
        clock: the reactor, or a `Clock` in tests.
        history: where messages are remembered; it is started here.
        metrics: where messages are counted, and everything else that happens to its members.
        max_channels: channels with members or a history. When a new one is one too many, the least recently
            used without members is forgotten; when all have members, the newcomer is refused. It may be changed;
            those that are there stay.
        claims: where uids are claimed, if this is one node of several.
        count_all: told how many channels there are here, says how many there are in all: the limit may be one for
            several registries. It is called when a channel is new.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        history: IHistory,
        metrics: Metrics | None = None,
        max_channels: int = DEFAULT_MAX_CHANNELS,
        claims: IClaims | None = None,
        count_all: Callable[[int], int] = only_here,
    ) -> None:
        self._clock = clock
        self._history = history
        self.metrics = Metrics() if metrics is None else metrics
        self.max_channels = max_channels
        self._channels: dict[str, Channel] = {}
        self._silent: set[str] = set()  # those of them without a history: new ones, and those that have lost theirs
        self._member_count = 0
        self._dirty: list[Channel] = []
        self._serials = count(1)
        self._end_of_turn: IDelayedCall | None = None
        self._sweeping: IDelayedCall | None = None
        self._claims = claims
        self._count_all = count_all
        self._refills = Refills(history, claims)
        history.start(self)
        if claims is not None:
            claims.attach(self)

    @property
    def member_count(self) -> int:
        """How many members all channels have."""
        return self._member_count

    @property
    def active_channels(self) -> int:
        """How many channels have members, or had some at the beginning of this turn."""
        return len(self._channels)

    @property
    def members(self) -> Iterator[IMember]:
        """Everybody on every channel."""
        for channel in self._channels.values():
            yield from channel.members.values()

    def start(self) -> None:
        """Begin to look for idle channels."""
        self._sweeping = self._clock.callLater(_SWEEP_SECONDS, self._sweep)

    def stop(self) -> None:
        """Deliver what is waiting, let go whoever is still here, and keep no timer."""
        self.flush()
        for member in list(self.members):
            member.close(CloseReason.SERVER_STOPPING)
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def join(self, header: Header, member: IMember) -> "Deferred[None] | None":
        """Make somebody a member: added first, then its join frame is remembered, then what was there is replayed.

        When its uid is taken, whoever holds it is asked for a sign of life: a holder that gives none is
        replaced. Of who has announced history it is decided then whether it is taken (`refill`).

        Returns:
            None when that was done at once, as it is when the uid is free; else a Deferred that fires with None, or
            with a `ProtocolViolation`: UID_TAKEN, the holder is alive, or SERVER_FULL.

        Raises:
            ProtocolViolation: SERVER_FULL; there are too many channels.
        """
        joining = self._join(header, member)
        return joining if not header.resync else Deferred.fromCoroutine(self._hear_offer(joining, member))

    def _join(self, header: Header, member: IMember) -> "Deferred[None] | None":
        if self._claims is not None:
            return Deferred.fromCoroutine(self._claim(self._claims, header, member))
        if self._enter(header, member):
            return None
        return Deferred.fromCoroutine(self._replace(header, member))

    async def _hear_offer(self, joining: "Deferred[None] | None", member: IMember) -> None:
        if joining is not None:
            await joining
        if member.channel is not None:
            await self._refills.decide(member.channel, member)

    async def _replace(self, header: Header, member: IMember) -> None:
        while not self._enter(header, member):
            await self._free(header)

    async def _claim(self, claims: IClaims, header: Header, member: IMember) -> None:
        await self._free(header)
        try:
            if not await claims.claim(header.channel, header.uid):
                raise ProtocolViolation(CloseReason.UID_TAKEN)
            await self._replace(header, member)  # somebody else may have come to this node meanwhile
        except BaseException:
            claims.release(header.channel, header.uid)
            raise
        placed = claims.placed(header.channel)
        if placed is not None:
            await placed  # until then it is not told that it has joined: what others say then has to come

    async def _free(self, header: Header) -> None:
        """Wait until nobody on this node has the uid."""
        while self._member(header.channel, header.uid) is not None:
            if await self._is_held(header.channel, header.uid):
                raise ProtocolViolation(CloseReason.UID_TAKEN)

    async def _is_held(self, name: str, uid: str) -> bool:
        """Whether somebody here has a uid and gives a sign of life; who gives none is let go."""
        holder = self._member(name, uid)
        if holder is None:
            return False
        if await holder.is_alive():
            return True
        if self._member(name, uid) is holder:
            holder.close(CloseReason.REPLACED)
            self.leave(holder)
        return False

    def _enter(self, header: Header, member: IMember) -> bool:
        """Take somebody in; False when somebody else has its uid."""
        if self._member(header.channel, header.uid) is not None:
            return False
        self._commit(self._open(header.channel))  # what was said before this join belongs to its history
        channel = self._open(header.channel)  # the delivery may have cut its last member, and ended the channel
        if header.uid in channel.members:
            return False  # a member of this program has let somebody join, as it heard that
        member.uid = header.uid
        member.serial = next(self._serials)
        member.receives = header.receive
        member.channel = channel
        channel.add(member)
        self._member_count += 1
        replay = None
        if header.receive:
            replay = self._history.replay(channel.name, header.uid, header.history, header.since)
        frame = encode_message(header.replay, is_binary=False)
        # Alone: members of this program may have said something while they heard the last delivery.
        self._append(channel, [Message(frame, header.uid, member.serial, is_join=True)])
        if replay is not None:
            # Its end is fixed: it ends before the join frame. A member of this program may hear it at once, and answer.
            member.replay(replay)
        return True

    def publish(self, member: IMember, frames: Iterable[bytes]) -> None:
        """Take messages; they are delivered at the end of this turn. Ignored when the member has left."""
        channel = member.channel
        if channel is None:
            return
        pending = channel.pending
        if not pending:
            self._mark(channel)
        uid, serial = member.uid, member.serial
        for frame in frames:
            # Python's way to make a named tuple is a call more, and half of the time.
            pending.append(_tuple(Message, (frame, uid, serial, False)))

    def refill(self, member: IMember, frames: Iterable[bytes]) -> None:
        """Take messages of a history that a member holds, oldest first; ignored unless it may fill its channel.

        They are passed on like any others.
        """
        channel = member.channel
        if channel is not None and channel.filled_by is member:
            if not channel.pending:
                self._mark(channel)
            messages = [Message(frame, NOBODY, member.serial, False) for frame in frames]
            channel.pending += messages
            self.metrics.total_messages_received += len(messages)

    def end_refill(self, member: IMember) -> None:
        """The history that a member holds has come whole."""
        channel = member.channel
        if channel is not None and channel.filled_by is member:
            self._commit(channel)  # before anybody else may find out that there was nothing
            self._refills.end(channel, member)

    def announce(self, name: str, uid: str, frame: bytes) -> None:
        """Take a message from somebody who is not a member: from the program the server is part of.

        Raises:
            ProtocolViolation: SERVER_FULL; the channel is new, and there are too many.
        """
        channel = self._open(name)
        if not channel.pending:
            self._mark(channel)
        channel.pending.append(Message(frame, uid, 0, False))
        self.metrics.total_messages_received += 1

    def leave(self, member: IMember) -> None:
        """Let a member go; any number of times. What it said in this turn is still delivered."""
        channel = member.channel
        if channel is None:
            return
        member.channel = None
        channel.remove(member)
        if channel.filled_by is not None:
            self._refills.end(channel, member)
        self._member_count -= 1
        if self._claims is not None:
            self._claims.release(channel.name, member.uid)
        if not channel.members and not channel.pending:
            self._end(channel)

    def flush(self) -> None:
        """Hand what waits to the history, before the end of the turn if need be."""
        if self._end_of_turn is not None and self._end_of_turn.active():
            self._end_of_turn.cancel()
        self._end_of_turn = None
        dirty, self._dirty = self._dirty, []
        for channel in dirty:
            self._commit(channel)
            if not channel.members and self._channels.get(channel.name) is channel:
                self._end(channel)

    async def settle(self, seconds: float) -> None:
        """Hand what waits to the history, and wait until it has come back.

        Args:
            seconds: how long at most.
        """
        self.flush()
        until = self._clock.seconds() + seconds
        while not self._history.is_settled and self._clock.seconds() < until:
            await deferLater(self._clock, _LOOK_SECONDS)

    def committed(self, channel: str, batch: Sequence[Message]) -> None:
        """The history has a batch: deliver it."""
        if self._silent:
            self._look_for_history(channel)
        found = self._channels.get(channel)
        if found is not None:
            sent = found.fan_out(batch)  # which may commit others, and they are counted as well
            self.metrics.total_messages_sent += sent

    def refused(self, channel: str, batch: Sequence[Message]) -> None:
        """The history cannot take a batch: nobody gets it, and those who sent it are told to try again."""
        found = self._channels.get(channel)
        if found is not None:
            origins = {message.origin for message in batch}
            for member in [member for member in found.members.values() if member.serial in origins]:
                try:
                    member.close(CloseReason.NOT_STORED)
                except Exception:
                    self._log.failure("a member could not be closed")

    def forgotten(self, channel: str) -> None:
        """A channel has no history any more."""
        if channel in self._channels:
            self._silent.add(channel)

    def has_members(self, channel: str) -> bool:
        """Whether anybody is on a channel."""
        return channel in self._channels

    def challenge(self, channel: str, uid: str) -> "Deferred[bool]":
        """Whether somebody here has a uid and gives a sign of life; who gives none is let go."""
        return Deferred.fromCoroutine(self._is_held(channel, uid))

    def expel(self, channel: str, uid: str, reason: CloseReason) -> None:
        """Let go who has a uid, if anybody does."""
        holder = self._member(channel, uid)
        if holder is not None:
            holder.close(reason)
            self.leave(holder)

    def count_channels(self) -> int:
        """How many channels have members or a history."""
        remembered = self._history.channels()
        return len(remembered) + sum(name not in remembered for name in self._channels)

    def _end(self, channel: Channel) -> None:
        """Nobody is there any more, and nothing waits."""
        del self._channels[channel.name]
        self._silent.discard(channel.name)
        self._refills.forget(channel)

    def _open(self, name: str) -> Channel:
        """A channel, new if need be."""
        channel = self._channels.get(name)
        if channel is None:
            if not self._has_room_for(name):
                raise ProtocolViolation(CloseReason.SERVER_FULL)
            channel = self._channels[name] = Channel(name)
            if name not in self._history.channels():
                self._silent.add(name)
        return channel

    def _has_room_for(self, name: str) -> bool:
        """Whether there may be members on one channel more; another one is forgotten for it if need be."""
        remembered = self._history.channels()
        elsewhere = self._count_elsewhere(1)
        if len(self._channels) + elsewhere >= self.max_channels:
            self._count_elsewhere()
            return False
        return name in remembered or self._here + elsewhere < self.max_channels or self._history.forget_one()

    def _count_elsewhere(self, more: int = 0) -> int:
        """How many channels there are elsewhere, which learns how many there are here, and are to be more."""
        here = self._here + more
        return self._count_all(here) - here

    @property
    def _here(self) -> int:
        """How many channels here have members or a history."""
        return len(self._history.channels()) + len(self._silent)

    def _look_for_history(self, name: str) -> None:
        """A channel may have a history again."""
        if name in self._silent and name in self._history.channels():
            self._silent.discard(name)

    def _member(self, name: str, uid: str) -> IMember | None:
        channel = self._channels.get(name)
        return None if channel is None else channel.members.get(uid)

    def _mark(self, channel: Channel) -> None:
        """Come back to a channel at the end of this turn."""
        channel.has_spoken = True
        if not self._dirty:
            self._end_of_turn = self._clock.callLater(0, self.flush)
        self._dirty.append(channel)

    def _commit(self, channel: Channel) -> None:
        batch, channel.pending = channel.pending, []
        if batch:
            self._append(channel, batch)

    def _append(self, channel: Channel, batch: Sequence[Message]) -> None:
        try:
            self._history.append(channel.name, batch)
        except Exception:
            self._log.failure("a history could not be written")
        if self._silent:
            self._look_for_history(channel.name)

    def _sweep(self) -> None:
        self._sweeping = self._clock.callLater(_SWEEP_SECONDS, self._sweep)
        try:
            self._history.sweep()
        except Exception:
            self._log.failure("idle channels could not be looked for")
        self._count_elsewhere()  # so that others learn how many have gone
