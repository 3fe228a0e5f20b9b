"""What has to be true of a node at any time, and why it may end somebody."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from mles_tx.channels import member
from mles_tx.channels.member import STALL_SECONDS
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.header import HEADER_SECONDS
from mles_tx.transport.connection import PROBE_SECONDS, Settings
from mles_tx.transport.websocket import CLOSE_SECONDS

from .peers import LocalPeer, Participant, Peer

if TYPE_CHECKING:
    from .world import World

__all__ = ["SETTINGS", "SLACK", "check", "may_be_ended", "same"]

SETTINGS = Settings(ping_interval=8.0, max_missed_pongs=2, rate_limit=0)

#: Seconds by which the steps of the clock may be late.
SLACK = 1.0


# -- at any time


def check(world: "World") -> None:
    """Compare everything that can be seen now."""
    members = {id(each) for each in world.registry.members}
    expected = [peer for peer in world.peers if peer.is_member]
    found = [each.uid for each in world.registry.members]
    assert members == {id(peer.member) for peer in expected}, f"members are {found}, and should be {expected}"
    count = world.registry.member_count
    assert count == len(members), f"{count} members are counted, and there are {found}"
    now = world.clock.seconds()
    for peer in world.peers:
        _check_peer(world, peer, now)
    occupied = world.occupied
    active, counted = world.registry.active_channels, world.registry.count_channels()
    assert active == len(occupied), f"{active} channels are in use, and should be {occupied}"
    assert active <= world.max_channels, f"{active} channels are in use, more than {world.max_channels}"
    if world.store.is_exact:
        assert counted <= world.max_channels, f"{counted} channels are counted, more than {world.max_channels}"
    metrics = world.registry.metrics
    received, sent = metrics.total_messages_received, metrics.total_messages_sent
    assert received == world.received, f"{received} messages are counted as received, and {world.received} were"
    assert sent == world.sent, f"{sent} messages are counted as sent, and {world.sent} were"
    closed = Counter({label: count for label, count in metrics.closed.items() if count})
    assert closed == world.closed, f"the ends of connections are counted as {closed}, and were {world.closed}"
    if world.store.is_exact:
        names, memory = set(world.store.history.channels()), world.store.history.memory
        assert names == world.histories.names, f"{names} are remembered, and should be {world.histories.names}"
        assert memory == world.histories.memory, f"histories take {memory} bytes, and should {world.histories.memory}"


def _check_peer(world: "World", peer: Participant, now: float) -> None:
    if peer.asked_at is not None:
        # Of several who wait one gets in, and is then asked itself.
        holder = _holder(world, peer)
        since = max(peer.asked_at, 0.0 if holder is None else holder.joined_at or 0.0)
        assert now - since <= PROBE_SECONDS + SLACK, f"{peer} waits to join"
    if peer.told is None:
        assert not peer.heard, f"{peer} has heard {peer.heard}, and is owed nothing"
    else:
        replayed = peer.replayed
        if not world.store.shows_all_joins:
            replayed = [payload for payload in replayed if not payload.startswith(b"{")]
        peer.told.check(replayed, peer.is_replayed)
        owed = peer.owed
        assert peer.heard == owed[: len(peer.heard)], f"{peer} has heard {peer.heard}, and is owed {owed}"
        if peer.is_member and peer.reads:
            assert world.store.is_late or peer.is_replayed, f"{peer} was not sent its history"
            assert len(peer.heard) == len(owed), f"{peer} has heard {peer.heard}, and is owed {owed}"
    if isinstance(peer, Peer):
        _check_connection(world, peer, now)
    if not world.unflushed and not world.store.is_late and peer.speaker is not None:
        waits = list(peer.speaker.under_way) if peer.joined else []
        assert not waits, f"what {peer} said is not delivered: {waits}"


def _check_connection(world: "World", peer: Peer, now: float) -> None:
    if peer.reason is not None:
        assert peer.lost or now - peer.ended_at <= CLOSE_SECONDS + SLACK, f"{peer} is over, and not gone"
        if peer.close_frame is not None and not peer.said_close:
            assert peer.close_frame == (peer.reason.code, peer.reason.text), f"{peer} was told {peer.close_frame}"
        return
    assert not peer.lost, f"{peer} has gone, and the server does not know"
    if peer.speaker is None:
        assert now - peer.opened_at <= HEADER_SECONDS + SLACK, f"{peer} never said who it is"
    else:
        assert not peer.speaker.is_refused, f"{peer} does not know that its words were refused"
    if not peer.is_member:
        return
    if peer.blocked_at is not None:
        assert now - peer.blocked_at <= STALL_SECONDS + SLACK, f"{peer} reads nothing"
    if peer.reads and not peer.answers:
        beats = SETTINGS.ping_interval * (SETTINGS.max_missed_pongs + 2)
        assert now - max(peer.signed_at, peer.joined_at or 0.0) <= beats + SLACK, f"{peer} answers nothing"
    # A write that has begun to leave does not count as waiting any more, nor what leaves in one piece with it.
    under_way = peer.largest_write + member.PIECE_BYTES
    assert peer.waited_before <= world.max_backlog + under_way, f"{peer} is too slow"


# -- why somebody may be ended


def may_be_ended(world: "World", peer: Participant) -> bool:
    """Whether there is a reason for the reason with which somebody was ended."""
    assert peer.reason is not None, f"{peer} was not ended"
    right = _RIGHT.get(peer.reason)
    return right is not None and right(world, peer)


def _left(world: "World", peer: Participant) -> bool:
    return isinstance(peer, LocalPeer) or (isinstance(peer, Peer) and peer.said_close)


def _connection_lost(world: "World", peer: Participant) -> bool:
    return isinstance(peer, Peer) and peer.lost


def _nonsense(world: "World", peer: Participant) -> bool:
    return peer.speaker is None


def _no_header(world: "World", peer: Participant) -> bool:
    return isinstance(peer, Peer) and peer.speaker is None and _waited(world, peer.opened_at, HEADER_SECONDS)


def _not_let_in(world: "World", peer: Participant) -> bool:
    # Several may want to be who nobody answers for, one after the other.
    return not peer.joined and peer.asked_at is not None and _waited(world, peer.asked_at, HEADER_SECONDS)


def _uid_taken(world: "World", peer: Participant) -> bool:
    holder = _holder(world, peer)
    # Whoever asks while somebody else has asked already gets the same answer.
    return holder is not None and (holder.is_local or holder.signed_at >= (peer.asked_at or 0.0) - PROBE_SECONDS)


def _replaced(world: "World", peer: Participant) -> bool:
    assert peer.speaker is not None, f"{peer} never said who it is"
    wanted = world.wanted.get((peer.speaker.uid, peer.speaker.channel))
    is_alive = peer.answers and peer.reads
    if wanted is None or is_alive:
        return False
    # The first of those who want its uid has it asked for a sign; who comes meanwhile waits for the same answer, also
    # when the first has gone.
    asked = max(wanted, peer.joined_at or 0.0)
    signs = [asked, peer.spoke_at]
    if isinstance(peer, Peer):
        # The system of a dead program takes a ping: a sign is to take what waited before somebody asked.
        signs += [at for since, at in peer.took if since < asked]
    return _waited(world, max(signs), PROBE_SECONDS)


def _ping_timeout(world: "World", peer: Participant) -> bool:
    return not peer.answers and _waited(
        world, max(peer.spoke_at, peer.joined_at or 0.0), SETTINGS.ping_interval * SETTINGS.max_missed_pongs
    )


def _too_slow(world: "World", peer: Participant) -> bool:
    # A history that its store has not given yet is in the way of what is live: it waits in memory all the same.
    if not isinstance(peer, Peer) or (peer.reads and peer.is_replayed):
        return False
    stalled = peer.blocked_at is not None and _waited(world, peer.blocked_at, STALL_SECONDS)
    return stalled or peer.waited_before > world.max_backlog


def _server_full(world: "World", peer: Participant) -> bool:
    assert peer.speaker is not None, f"{peer} never said where it wants to be"
    occupied = world.occupied
    is_full = len(occupied) >= world.max_channels or not world.store.is_exact
    return is_full and peer.speaker.channel not in occupied


def _not_stored(world: "World", peer: Participant) -> bool:
    return peer.speaker is not None and peer.speaker.is_refused


def _waited(world: "World", since: float, seconds: float) -> bool:
    return world.clock.seconds() - since >= seconds - 0.001


def _holder(world: "World", peer: Participant) -> Participant | None:
    return next((other for other in world.peers if other.is_member and other is not peer and same(other, peer)), None)


_RIGHT: dict[CloseReason, Callable[["World", Participant], bool]] = {
    CloseReason.LEFT: _left,
    CloseReason.CONNECTION_LOST: _connection_lost,
    CloseReason.HEADER_NOT_JSON: _nonsense,
    CloseReason.HEADER_NOT_TEXT: _nonsense,
    CloseReason.HEADER_UID: _nonsense,
    CloseReason.NO_HEADER: _no_header,
    CloseReason.NOT_LET_IN: _not_let_in,
    CloseReason.UID_TAKEN: _uid_taken,
    CloseReason.REPLACED: _replaced,
    CloseReason.PING_TIMEOUT: _ping_timeout,
    CloseReason.TOO_SLOW: _too_slow,
    CloseReason.SERVER_FULL: _server_full,
    CloseReason.NOT_STORED: _not_stored,
}


def same(one: Participant, other: Participant) -> bool:
    """Whether both are, or want to be, the same member."""
    first, second = one.speaker, other.speaker
    return first is not None and second is not None and (first.uid, first.channel) == (second.uid, second.channel)
