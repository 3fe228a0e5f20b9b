"""What may happen to a node, in whatever order: the rules Hypothesis chooses from."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.task import Clock

from mles_tx.protocol.auth import digest

from .expectation import Bounds, cut
from .peers import LocalPeer, Participant, Peer
from .stores import FileStore, MemoryStore, Store
from .world import World

__all__ = ["BOUNDS", "MAX_BACKLOG", "MAX_CHANNELS", "FileMachine", "MemoryMachine", "NodeMachine"]

#: Small, so that a few steps reach them.
BOUNDS = Bounds(messages=6, channel_bytes=1500, total_bytes=4000, idle_seconds=100.0)
MAX_CHANNELS = 3
MAX_BACKLOG = 1000

_UIDS = st.sampled_from(("ann", "bob", "bob", "eve"))
_CHANNELS = st.sampled_from("aaaabcd")
_WHO = st.integers(0, 7)


class NodeMachine(RuleBasedStateMachine):
    """Members come, speak, fall silent, stop reading and go."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.world = World(self.clock, self.make_store(), BOUNDS, MAX_CHANNELS, MAX_BACKLOG)

    def make_store(self) -> Store:
        """What the node remembers with."""
        raise NotImplementedError

    def teardown(self) -> None:
        self.world.stop()

    @invariant()
    def all_is_right(self) -> None:
        """Everybody has seen what it should, and nobody was ended without a reason."""
        type(self).steps += 1
        self.world.settle()
        self.world.check()

    def one_of(self, who: int, wanted: Callable[[Participant], bool]) -> Any:
        """One of the participants of a kind; there is one."""
        found = [peer for peer in self.world.peers if wanted(peer)]
        return found[who % len(found)]

    # -- coming

    @rule(
        uid=_UIDS,
        channel=_CHANNELS,
        count=st.sampled_from((None, None, None, 0, 2)),
        receive=st.sampled_from((True, True, True, True, False)),
    )
    def join(self, uid: str, channel: str, count: int | None, receive: bool) -> None:
        """Somebody joins, perhaps with words for the server alone."""
        more: dict[str, Any] = {}
        if count is not None:
            more["history"] = count
        if not receive:
            more["receive"] = False
        self.world.ask(self.world.open(), uid, channel, **more)

    @rule(
        uid=_UIDS,
        channel=_CHANNELS,
        reaction=st.sampled_from(("", "leave", "echo", "invite", "invite")),
        to_history=st.booleans(),
    )
    def join_locally(self, uid: str, channel: str, reaction: str, to_history: bool) -> None:
        """A member that is part of the program joins, and reacts to its history, or to what is said behind it."""
        peer = self.world.ask_locally(uid, channel, reaction if to_history else "")
        self.world.settle()
        if not to_history:
            peer.reaction = reaction

    @rule(uids=st.permutations(("ann", "bob", "eve")), channel=_CHANNELS)
    def join_together(self, uids: list[str], channel: str) -> None:
        """Several join one channel in the same turn."""
        for uid in uids:
            self.world.ask(self.world.open(), uid, channel)

    @precondition(lambda self: self.world.gone or any(map(_is_a_member, self.world.peers)))
    @rule(who=_WHO, silently=st.booleans(), since=st.integers(0, 3), words=st.integers(0, 2))
    def come_back(self, who: int, silently: bool, since: int, words: int) -> None:
        """Somebody joins again with what it has heard, perhaps before the server knows that its link is dead."""
        known = [*self.world.gone, *filter(_is_a_member, self.world.peers)]
        before = known[who % len(known)]
        assert before.speaker is not None, f"{before} was a member, and never said who it is"
        if silently and isinstance(before, Peer):
            before.answers = False
        heard = [payload for payload in before.heard if not payload.startswith(b"{")]
        more = {"since": [f"{digest(payload):016x}" for payload in cut(heard, since)]} if since and heard else {}
        peer = self.world.open()
        self.world.ask(peer, before.speaker.uid, before.speaker.channel, **more)
        if words and peer.reason is None:
            self.world.say(peer, words)

    @rule()
    def connect(self) -> None:
        """Somebody connects and says nothing."""
        self.world.open()

    @precondition(lambda self: any(map(_is_a_stranger, self.world.peers)))
    @rule(who=_WHO, frame=st.sampled_from((b"[]", b'{"uid":"","channel":"a"}', b"")), binary=st.booleans(), uid=_UIDS)
    def say_first(self, who: int, frame: bytes, binary: bool, uid: str) -> None:
        """Somebody who is connected says who it is, or breaks a rule."""
        peer = self.one_of(who, _is_a_stranger)
        if frame:
            peer.say(frame, binary=binary)
        else:
            self.world.ask(peer, uid, "a")

    # -- speaking

    @precondition(lambda self: any(map(_may_speak, self.world.peers)))
    @rule(who=_WHO, count=st.integers(1, 5), extra=st.sampled_from((0, 0, 0, 30, 130, 390)), binary=st.booleans())
    def say(self, who: int, count: int, extra: int, binary: bool) -> None:
        """A member says something, or somebody who waits to be one."""
        self.world.say(self.one_of(who, _may_speak), count, extra, binary)

    @precondition(lambda self: any(map(_is_a_member, self.world.peers)))
    @rule(who=_WHO, count=st.integers(2, 9))
    def say_much(self, who: int, count: int) -> None:
        """A member says so much, turn by turn, that it is too much for who does not read."""
        peer = self.one_of(who, _is_a_member)
        for _ in range(count):
            if peer.is_member:
                self.world.say(peer, 1, 300)
                self.clock.advance(0)

    @precondition(lambda self: any(map(_is_a_member, self.world.peers)))
    @rule(who=_WHO, count=st.integers(1, 3))
    def say_and_leave(self, who: int, count: int) -> None:
        """A member says something and goes in the same turn."""
        peer = self.one_of(who, _is_a_member)
        self.world.say(peer, count)
        self._go(peer, count == 2)

    # -- reading

    @precondition(lambda self: any(map(_reads, self.world.peers)))
    @rule(who=_WHO)
    def stop_reading(self, who: int) -> None:
        """A peer stops reading."""
        self.one_of(who, _reads).stop_reading()

    @precondition(lambda self: any(map(_does_not_read, self.world.peers)))
    @rule(who=_WHO)
    def take_a_bit(self, who: int) -> None:
        """A peer that does not read takes a piece."""
        self.one_of(who, _does_not_read).take_a_bit()

    @precondition(lambda self: any(map(_does_not_read, self.world.peers)))
    @rule(who=_WHO)
    def read_on(self, who: int) -> None:
        """A peer reads again."""
        self.one_of(who, _does_not_read).read_on()

    @rule(uid=_UIDS)
    def join_without_reading(self, uid: str) -> None:
        """Somebody joins a channel and does not read what it is sent."""
        peer = self.world.open()
        peer.stop_reading()
        self.world.ask(peer, uid, "a")

    @precondition(lambda self: any(map(_is_behind, self.world.peers)))
    @rule(who=_WHO, pieces=st.integers(0, 2))
    def want_the_uid_of_who_is_behind(self, who: int, pieces: int) -> None:
        """Somebody wants to be a member that has not taken everything, and may take some of it then."""
        holder = self.one_of(who, _is_behind)
        self.world.pass_time(0.5)
        if holder.is_member:
            self.world.ask(self.world.open(), holder.speaker.uid, holder.speaker.channel)
            for _ in range(pieces):
                self.world.pass_time(0.5)
                holder.take_a_bit()

    @precondition(lambda self: any(map(_reads, self.world.peers)))
    @rule(who=_WHO)
    def fall_silent(self, who: int) -> None:
        """A peer's link is dead: nothing is answered any more."""
        self.one_of(who, _reads).answers = False

    # -- going

    @precondition(lambda self: any(peer.reason is None for peer in self.world.peers))
    @rule(who=_WHO, politely=st.booleans())
    def leave(self, who: int, politely: bool) -> None:
        """Somebody goes, with or without a word."""
        self._go(self.one_of(who, lambda peer: peer.reason is None), politely)

    def _go(self, peer: Participant, politely: bool) -> None:
        if isinstance(peer, LocalPeer):
            if peer.joined:
                peer.leave()
        elif isinstance(peer, Peer):
            if politely:
                peer.say_bye()
            else:
                peer.hang_up()

    # -- time

    @rule()
    def end_turn(self) -> None:
        """A turn of the reactor ends."""
        self.clock.advance(0)

    @rule(seconds=st.sampled_from((0.05, 1.0, 3.0, 3.0, 20.0, 70.0, 200.0)))
    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.world.pass_time(seconds)


class MemoryMachine(NodeMachine):
    """A node whose store is in memory."""

    def make_store(self) -> Store:
        return MemoryStore(self.clock, BOUNDS)


class FileMachine(NodeMachine):
    """A node whose store is in a file on a disk that is slow, fails and comes back."""

    strict = False
    next_path: Any
    store: FileStore

    def make_store(self) -> Store:
        self.store = FileStore(self.clock, BOUNDS, type(self).next_path(), self.strict)
        return self.store

    @rule(count=st.integers(1, 4))
    def disk_works(self, count: int) -> None:
        """The disk does some of what it has to."""
        for _ in range(min(count, len(self.store.disk.waiting))):
            self.store.disk.step()

    @rule()
    def disk_does_all(self) -> None:
        """The disk does all it has to."""
        self.store.disk.run()

    @precondition(lambda self: not self.store.disk.is_broken and any(map(_is_a_member, self.world.peers)))
    @rule(who=_WHO, uid=_UIDS, locally=st.booleans(), count=st.integers(1, 3))
    def join_what_is_not_in_memory(self, who: int, uid: str, locally: bool, count: int) -> None:
        """Somebody joins, and before its history is read a member says something."""
        self.may_take(0)
        self.world.pass_time(0.1)
        self.disk_does_all()
        if any(map(_is_a_member, self.world.peers)):
            speaks = self.one_of(who, _is_a_member)
            assert speaks.speaker is not None, f"{speaks} is a member, and never said who it is"
            if locally:
                self.world.ask_locally(uid, speaks.speaker.channel)
            else:
                self.world.ask(self.world.open(), uid, speaks.speaker.channel)
            self.world.say(speaks, count)
            self.end_turn()

    @rule(total_bytes=st.sampled_from((0, 0, 1500, BOUNDS.total_bytes)))
    def may_take(self, total_bytes: int) -> None:
        """It may take so much memory from now on: with none, whoever joins waits until its history was read."""
        self.store.history.change(BOUNDS.messages, total_bytes)

    @precondition(lambda self: not self.store.disk.is_broken)
    @rule()
    def disk_fails(self) -> None:
        """From now on it fails."""
        self.store.disk.is_broken = True

    @precondition(lambda self: self.store.disk.is_broken)
    @rule()
    def disk_is_well(self) -> None:
        """It works again."""
        self.store.disk.is_broken = False


def _is_a_stranger(peer: Participant) -> bool:
    return peer.speaker is None and peer.reason is None


def _is_a_member(peer: Participant) -> bool:
    return peer.is_member


def _may_speak(peer: Participant) -> bool:
    return peer.speaker is not None and peer.reason is None


def _reads(peer: Participant) -> bool:
    return isinstance(peer, Peer) and peer.reads and peer.answers and peer.reason is None


def _does_not_read(peer: Participant) -> bool:
    return isinstance(peer, Peer) and not peer.reads and peer.reason is None


def _is_behind(peer: Participant) -> bool:
    return isinstance(peer, Peer) and peer.is_member and peer.blocked_at is not None
