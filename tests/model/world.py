"""One node on a clock, with a model beside it that is told everything and compares.

The model stands at three seams: what peers send and read, what goes into the store and comes back (`Watched`), and
how connections end. What happens between these is the server's own.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from mles_tx.channels.history import ICommitted, IHistory, IReplay, Message
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.protocol.closing import CloseReason, ProtocolViolation
from mles_tx.protocol.frames import payload_of
from mles_tx.protocol.header import make_header
from mles_tx.transport.connections import MlesFactory
from mles_tx.transport.websocket import CLOSE_SECONDS

from .expectation import Bounds, Histories, Said, Speaker
from .peers import LocalPeer, Participant, Peer, WatchedConnection, WatchedReplay
from .stores import Store
from .verdicts import SETTINGS, SLACK, check, may_be_ended, same

__all__ = ["World"]


class WatchedFactory(MlesFactory):
    """Builds connections that tell what becomes of them."""

    protocol = WatchedConnection


class WatchedRegistry(ChannelRegistry):
    """A registry that tells what waits for the end of the turn."""

    world: "World"

    def publish(self, member: Any, frames: Iterable[bytes]) -> None:
        if member.channel is not None:
            self.world.unflushed.add(member.channel.name)
        super().publish(member, frames)


@implementer(IHistory, ICommitted)
class Watched:
    """Stands between the registry and the store."""

    def __init__(self, inner: Any, world: "World") -> None:
        self._inner = inner
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    # -- what the registry asks for

    def start(self, listener: ICommitted) -> None:
        self._listener = listener
        self._inner.start(self)

    def append(self, channel: str, batch: Sequence[Message]) -> None:
        if not batch[0].is_join:
            self._world.unflushed.discard(channel)
        self._world.appended(channel, batch)
        self._inner.append(channel, batch)

    def replay(self, channel: str, uid: str, history: int | None, since: Sequence[int]) -> IReplay:
        return self._world.replay(channel, uid, self._inner.replay(channel, uid, history, since), history, since)

    def forget_one(self) -> bool:
        did = bool(self._inner.forget_one())
        with self._world.watching():
            self._world.forgot_one(did)
        return did

    def sweep(self) -> None:
        self._inner.sweep()
        with self._world.watching():
            self._world.swept()

    # -- what the store tells

    def committed(self, channel: str, batch: Sequence[Message]) -> None:
        with self._world.watching():
            self._world.committed(channel, batch)
        self._listener.committed(channel, batch)

    def refused(self, channel: str, batch: Sequence[Message]) -> None:
        with self._world.watching():
            self._world.refused(channel, batch)
        self._listener.refused(channel, batch)

    def forgotten(self, channel: str) -> None:
        self._listener.forgotten(channel)

    def has_members(self, channel: str) -> bool:
        return self._listener.has_members(channel)


@implementer(ILogObserver)
class World:
    """A node, those who use it, and what they are owed.

    Args:
        store: what it remembers with.
        bounds: how much that is.
        max_channels: as in `ChannelRegistry`.
        max_backlog: bytes of live messages that may wait for a connection.
    """

    def __init__(self, clock: Clock, store: Store, bounds: Bounds, max_channels: int, max_backlog: int) -> None:
        self.clock = clock
        self.store = store
        self.max_channels = max_channels
        self.max_backlog = max_backlog
        self.histories = Histories(bounds if store.is_exact else replace(bounds, total_bytes=1 << 60))
        self.registry = WatchedRegistry(clock, Watched(store.history, self), max_channels=max_channels)
        self.registry.world = self
        self.factory = WatchedFactory(clock, self.registry, SETTINGS)
        self.registry.start()
        globalLogPublisher.addObserver(self)
        self.peers: list[Participant] = []
        self.gone = deque[Participant](maxlen=4)  #: who has left lately
        self.unflushed: set[str] = set()  #: channels on which something waits for the end of the turn
        self.wanted: dict[
            tuple[str, str], float
        ] = {}  #: since when somebody waits for a uid of a channel, with no pause
        self.numbers = 0
        self.sent = self.received = 0
        self.closed: Counter[str] = Counter()
        self._orders: dict[str, int] = {}  # of the last message on each channel
        self._with_store: dict[str, list[Sequence[Message]]] = {}  # what it has to give back, by channel
        self._by_serial: dict[int, Participant] = {}
        self.complaints: list[BaseException] = []  #: what was wrong where nobody could be told
        self._is_over = False
        store.failed = self.store_failed

    # -- what happens

    def open(self) -> Peer:
        """Somebody connects, and says nothing yet."""
        peer = Peer(f"p{len(self.peers)}", self)
        self.peers.append(peer)
        return peer

    def ask(self, peer: Peer, uid: str, channel: str, **more: Any) -> None:
        """It sends its first frame."""
        fields = {"uid": uid, "channel": channel}
        peer.receives = more.get("receive", True)
        self._introduce(peer, uid, channel, json.dumps(fields, separators=(",", ":")).encode())
        payload = json.dumps({**fields, **more}).encode()
        if not more:
            payload = json.dumps(fields, separators=(",", ":")).encode()
        peer.say(payload)

    def ask_locally(self, uid: str, channel: str, reaction: str = "") -> LocalPeer:
        """A member of the program joins, and may react to its history."""
        peer = LocalPeer(f"l{len(self.peers)}", self)
        peer.reaction = reaction
        self.peers.append(peer)
        header = make_header(uid, channel)
        self._introduce(peer, uid, channel, header.replay)

        def failed(failure: Any) -> None:
            failure.trap(ProtocolViolation)
            peer.reason = failure.value.reason
            self.ended(peer)

        try:
            joining = self.registry.join(header, peer.member)
        except ProtocolViolation as violation:
            peer.reason = violation.reason
            self.ended(peer)
        else:
            if joining is not None:
                joining.addErrback(failed)
        return peer

    def _introduce(self, peer: Participant, uid: str, channel: str, join_frame: bytes) -> None:
        peer.speaker = Speaker(uid, channel)
        peer.speaker.under_way.append(Said(join_frame, peer.speaker, None, is_join=True))
        peer.asked_at = self.clock.seconds()
        self.wanted.setdefault((uid, channel), peer.asked_at)

    def _answered(self, peer: Participant) -> None:
        """It does not wait to be let in any more; its uid is not wanted any more, unless somebody else waits for it."""
        peer.asked_at = None
        if peer.speaker is not None and not any(
            same(peer, other) and other.asked_at is not None for other in self.peers
        ):
            self.wanted.pop((peer.speaker.uid, peer.speaker.channel), None)

    def say(self, peer: Participant, count: int, extra: int = 0, binary: bool = False, is_answer: bool = False) -> None:
        """It says something new, so often, in one piece; an answer may come while somebody else joins."""
        assert peer.speaker is not None, f"{peer} never said who it is"
        if peer.is_local and not peer.joined:
            return
        payloads = []
        for _ in range(count):
            self.numbers += 1
            payload = f"{self.numbers}".encode() + b"." * extra
            payloads.append(payload)
            order = self.numbers if peer.joined and not is_answer else None
            peer.speaker.under_way.append(Said(payload, peer.speaker, order))
        if peer.is_member:
            self.received += count
        elif peer.reason is None:
            peer.early += payloads
        if isinstance(peer, LocalPeer):
            for payload in payloads:
                peer.member.publish(payload)
        elif isinstance(peer, Peer):
            peer.say(*payloads, binary=binary)

    def pass_time(self, seconds: float) -> None:
        """Time passes, in steps; those who read do so."""
        until = self.clock.seconds() + seconds
        self.clock.advance(0)
        self.settle()
        while self.clock.seconds() < until:
            self.clock.advance(min(0.5, until - self.clock.seconds()))
            self.settle()

    def settle(self) -> None:
        """Everybody who reads takes in what has come, until nobody has anything to answer."""
        is_busy = True
        while is_busy:
            is_busy = False
            for peer in self.peers:
                is_busy |= isinstance(peer, Peer) and peer.look()
            self._observe()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what is wrong: the server goes on whatever a member or a store does."""
        try:
            yield
        except AssertionError as error:
            self.complaints.append(error)

    def __call__(self, event: LogEvent) -> None:
        """A fault of the server's own is never right."""
        if "log_failure" in event:
            self.complaints.append(AssertionError(event["log_failure"].getTraceback()))

    # -- what the server does with it

    def replay(self, channel: str, uid: str, inner: IReplay, count: int | None, since: Sequence[int]) -> IReplay:
        """A member is given a replay: it is owed what is remembered now."""
        member = next(member for member in self.registry.members if (member.uid, _on(member)) == (uid, channel))
        peer = self._peer_of(member)
        if self.store.delivers_at_once:
            with self.watching():
                self._check_said_before(peer)
        peer.told = self.histories.replay(channel, uid, count, since, self.store.shows_all_joins)
        peer.told.is_being_read = self.store.being_read()

        def seen(frames: list[bytes]) -> list[bytes]:
            peer.replayed += [payload_of(frame) for frame in frames]
            peer.is_replayed = not frames
            return frames

        return WatchedReplay(inner, seen)

    def store_failed(self) -> None:
        """Something could not be read or written: who waits for a history may get less, the end of it."""
        for peer in self.peers:
            if peer.told is not None and not peer.is_replayed:
                peer.told.shortest = []

    def _check_said_before(self, newcomer: Participant) -> None:
        """What was said before somebody joins belongs to its history."""
        assert newcomer.speaker is not None, f"{newcomer} joins, and never said who it is"
        for peer in self.peers:
            if peer.speaker is not None and peer.speaker.channel == newcomer.speaker.channel and peer is not newcomer:
                waits = [said for said in peer.speaker.under_way if said.order is not None]
                assert not waits, f"what {peer} said before {newcomer} joined is not in its history"

    def _peer_of(self, member: Any) -> Participant:
        for peer in self.peers:
            if peer.member is member:
                self._by_serial[member.serial] = peer
                return peer
        raise AssertionError(f"{member} is nobody's")

    def _speaker(self, message: Message) -> Speaker:
        if message.origin not in self._by_serial:  # who does not receive has not been seen before
            self._peer_of(next(member for member in self.registry.members if member.serial == message.origin))
        speaker = self._by_serial[message.origin].speaker
        assert speaker is not None, f"{message} is of somebody who never said who it is"
        return speaker

    def appended(self, channel: str, batch: Sequence[Message]) -> None:
        """The store is given a batch."""
        self._with_store.setdefault(channel, []).append(batch)

    def committed(self, channel: str, batch: Sequence[Message]) -> None:
        """The store gives a batch back: it has to be what was said, in order, and is owed to all others."""
        waits = self._with_store.get(channel) or [()]
        assert waits[0] == batch, f"{channel}: {batch} comes back from the store, and the next one is {waits[0]}"
        del waits[0]
        heard = []
        for message in batch:
            speaker = self._speaker(message)
            said = speaker.take(payload_of(message.frame), in_order=True)
            was, comes = (speaker.uid, speaker.channel, said.is_join), (message.uid, channel, message.is_join)
            assert was == comes, f"{said.payload!r} was said as {was}, and comes as {comes}"
            if said.order is not None:
                assert said.order > self._orders.get(channel, 0), f"{said.payload!r} was said before the last one"
                self._orders[channel] = said.order
            heard.append(said)
        self.histories.add(channel, heard, self.clock.seconds(), self.occupied)
        for peer in self.peers:
            if peer.told is not None and peer.speaker is not None and peer.speaker.channel == channel:
                peer.told.push_out(self.histories.kept(channel))
        if heard[0].is_join:
            assert len(heard) == 1, f"a join frame comes together with others: {[said.payload for said in heard]}"
            return
        for peer in self.peers:
            if peer.is_member and peer.speaker is not None and peer.speaker.channel == channel and peer.receives:
                owed = [said for said in heard if said.by is not peer.speaker]
                self.sent += len(owed)
                if owed and peer.told is not None:
                    if isinstance(peer, Peer):
                        peer.take_in()
                        peer.waited_before = peer.waiting_live
                        peer.largest_write = max(peer.largest_write, sum(said.size for said in owed))
                    peer.told.live += [said.payload for said in owed]

    def refused(self, channel: str, batch: Sequence[Message]) -> None:
        """The store cannot take a batch: nobody hears it, and its authors are ended."""
        assert self.store.may_refuse, "there is no reason to refuse anything"
        self._with_store[channel].remove(batch)
        for message in batch:
            speaker = self._speaker(message)
            speaker.take(payload_of(message.frame), in_order=False)
            speaker.is_refused = True

    def forgot_one(self, did: bool) -> None:
        """A channel was to be forgotten, so that there is room for another."""
        if self.store.is_exact:
            expected = self.histories.forget_one(self.occupied)
            assert did == expected, f"a channel was forgotten: {did}, and one could be: {expected}"
        elif did:
            forgotten = self._forgotten()
            assert len(forgotten) <= 1 and not forgotten & self.occupied, f"{forgotten} had members"
            self.histories.forget(forgotten)

    def swept(self) -> None:
        """Channels nobody has spoken on for long were to be forgotten; a store that is late may do so later."""
        idle, forgotten = self.histories.idle(self.clock.seconds()), self._forgotten()
        assert forgotten <= idle, f"{forgotten} are forgotten, and only {idle} are idle"
        assert forgotten == idle or self.store.is_late, f"{idle - forgotten} are idle, and are not forgotten"
        self.histories.forget(forgotten)

    def _forgotten(self) -> set[str]:
        return self.histories.names - set(self.store.history.channels())

    def ended(self, peer: Participant) -> None:
        """The server has ended somebody: was that right?"""
        assert peer.reason is not None, f"{peer} was ended for no reason"
        if isinstance(peer, Peer):
            self.closed[peer.reason.label] += 1
        if not self._is_over:
            with self.watching():
                assert may_be_ended(self, peer), f"{peer} was ended: {peer.reason.label}"
        if not peer.joined and peer.speaker is not None:
            peer.speaker.under_way.clear()
        self._answered(peer)

    @property
    def occupied(self) -> set[str]:
        """The channels with members, and those whose last member has left in this turn behind some words."""
        return self.unflushed | {
            peer.speaker.channel for peer in self.peers if peer.is_member and peer.speaker is not None
        }

    def _observe(self) -> None:
        for peer in self.peers:
            if peer.joined_at is None and peer.joined:
                peer.joined_at = self.clock.seconds()
                self._answered(peer)
                self.received += len(peer.early)
                self._by_serial[peer.member.serial] = peer

    def check(self) -> None:
        """Compare everything that can be seen now."""
        if self.complaints:
            raise self.complaints[0]
        check(self)
        self.gone.extend(peer for peer in self.peers if _is_done(peer) and peer.speaker is not None)
        self.peers = [peer for peer in self.peers if not _is_done(peer)]

    # -- the end

    def stop(self) -> None:
        """Everything is well again, and then the server ends: all is delivered, nothing is left."""
        try:
            self._stop()
        finally:
            globalLogPublisher.removeObserver(self)

    def _all_read_on(self) -> None:
        """Whoever does not read takes all that has waited for it: so that is looked at as well."""
        for peer in self.peers:
            if isinstance(peer, Peer) and not peer.reads and not peer.lost:
                peer.read_on()
        self.settle()

    def _stop(self) -> None:
        self.store.recover(self)
        while any(peer.asked_at is not None for peer in self.peers):  # how long at most is checked
            self.pass_time(1)
            self.store.recover(self)
            self.check()
        self.store.recover(self)  # what they had said before they were let in
        self._all_read_on()
        self.check()
        for peer in self.peers:
            under_way = [] if peer.speaker is None or not peer.joined else list(peer.speaker.under_way)
            assert not under_way, f"what {peer} said is not delivered in the end: {under_way}"
        self._is_over = True
        self.factory.close_all(CloseReason.SERVER_STOPPING)
        self.pass_time(CLOSE_SECONDS + SLACK)
        self.registry.stop()
        self.factory.stop()
        self.store.close(self)
        assert not self.registry.member_count, f"{list(self.registry.members)} are left"
        assert not self.factory.connections, f"{self.factory.connections} are left"
        assert self.clock.getDelayedCalls() == [], f"timers are left: {self.clock.getDelayedCalls()}"


def _on(member: Any) -> str:
    return "" if member.channel is None else str(member.channel.name)


def _is_done(peer: Participant) -> bool:
    if peer.reason is None or (peer.speaker is not None and peer.speaker.under_way):
        return False
    return not isinstance(peer, Peer) or peer.lost
