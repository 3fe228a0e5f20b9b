"""Those who take part: peers on a connection in memory, who read when the test says so, and members without one."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mles_tx.channels.history import IReplay
from mles_tx.channels.local import LocalMember
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import split
from mles_tx.transport.connection import MlesConnection
from tests.transport.fakes import FakeTransport
from tests.wire import client_frame, read_frames, split_answer, upgrade

from .expectation import Speaker, Told

if TYPE_CHECKING:
    from .world import World

__all__ = ["LocalPeer", "Participant", "Peer", "WatchedConnection", "WatchedReplay"]

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class Participant:
    """Somebody who joins, or has joined, or has left.

    Attributes:
        speaker: who it is, as soon as that is said.
        told: what it is owed, from its join on; None: it is no member yet, or does not receive.
        replayed: payloads of what the store has given for it so far.
        is_replayed: whether that was all.
        heard: payloads of what it was sent.
        reason: why the server has ended it.
        asked_at: when it wanted to join, while that is not decided.
        joined_at: when it was first seen as a member.
        signed_at: when it last gave a sign of life: has said or taken something.
        spoke_at: when it last said something.
        early: what it has said before it was a member.
        answers: whether it answers what it reads; one that does not seems to be dead.
        reads: whether it reads.
    """

    is_local = False
    answers = reads = True
    receives = True
    told: Told | None = None
    reason: CloseReason | None = None
    is_replayed = False
    asked_at: float | None = None
    member: Any  # as its channel sees it
    signed_at = spoke_at = 0.0
    joined_at: float | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.speaker: Speaker | None = None
        self.replayed: list[bytes] = []
        self.heard: list[bytes] = []
        self.early: list[bytes] = []

    def __repr__(self) -> str:
        who = "" if self.speaker is None else f" {self.speaker.uid}@{self.speaker.channel}"
        return f"<{self.name}{who}>"

    @property
    def owed(self) -> list[bytes]:
        """Payloads that it is to have been sent by now, when it reads."""
        assert self.told is not None, f"{self} is owed nothing yet"
        return self.replayed + (self.told.live if self.is_replayed else [])

    @property
    def joined(self) -> bool:
        """Whether it is or was a member."""
        return bool(self.member.serial)

    @property
    def is_member(self) -> bool:
        """Whether it has joined and not been ended."""
        return self.joined and self.reason is None


class WatchedConnection(MlesConnection):
    """A connection that tells what becomes of it."""

    participant: "Peer"

    def ended(self, reason: CloseReason) -> None:
        self.participant.ended(reason)
        super().ended(reason)


class Peer(Participant, FakeTransport):
    """A peer with a connection.

    Attributes:
        said_close: whether it has begun the closing handshake.
        close_frame: code and text of the server's close frame.
        blocked_at: since when it has taken nothing although something was there; None: it takes what comes.
        took: whenever it took what had waited, since when it had, and when that was.
        waited_before: bytes of live frames it had not taken when the last ones were added.
        largest_write: bytes of live frames that were added at once, at most.
        opened_at: when it has connected.
        ended_at: when the server has ended it.
    """

    def __init__(self, name: str, world: "World") -> None:
        Participant.__init__(self, name)
        self.world = world
        self.said_close = False
        self.blocked_at: float | None = None
        self.took: list[tuple[float, float]] = []
        self.waited_before = self.largest_write = 0
        self.close_frame: tuple[int, str] | None = None
        self.ended_at = 0.0
        self.opened_at = world.clock.seconds()
        self._unread = b""
        self._to_send: deque[bytes] = deque()
        connection: Any = world.factory.buildProtocol(None)
        assert isinstance(connection, WatchedConnection), f"{name} was not let in, before it said anything"
        self.connection = self.member = connection
        connection.participant = self
        FakeTransport.__init__(self, connection)
        self.receive(upgrade())
        head, rest = split_answer(self.taken())
        assert head.startswith(b"HTTP/1.1 101 ") and not rest, f"{name} was not let in: {head!r} {rest!r}"

    def ended(self, reason: CloseReason) -> None:
        """The server has ended the connection, or found it gone."""
        self.reason = reason
        self.ended_at = self.world.clock.seconds()
        self.world.ended(self)

    # -- what it does

    def say(self, *payloads: bytes, binary: bool = False) -> None:
        """Send messages, all of them in one piece."""
        self.spoke_at = self.signed_at = self.world.clock.seconds()
        self.receive(b"".join(client_frame(_BINARY if binary else _TEXT, payload) for payload in payloads))

    def say_bye(self) -> None:
        """Leave with the closing handshake."""
        self.said_close = True
        self.receive(client_frame(_CLOSE, b"\x03\xe8"))

    def stop_reading(self) -> None:
        """Take what the system takes, and no more."""
        self.reads, self.full = False, True

    def take_a_bit(self) -> None:
        """Take one piece."""
        self._took()
        if self.producer is not None:
            self.producer.resumeProducing()

    def read_on(self) -> None:
        """Read again."""
        self.reads = True
        self._took()
        self.drained()

    def _took(self) -> None:
        self.signed_at = self.world.clock.seconds()
        if self.blocked_at is not None:
            self.took.append((self.blocked_at, self.signed_at))
            self.blocked_at = None

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full and self.blocked_at is None:
            self.blocked_at = self.world.clock.seconds()

    # -- what it reads

    def take_in(self) -> None:
        """Take in what has come, and answer nothing yet."""
        data, self._unread = self._unread + self.taken(), b""
        whole, self._unread = _whole(data)
        for frame in read_frames(whole):
            if frame.opcode in (_TEXT, _BINARY):
                assert self.close_frame is None, f"{self} was sent something behind its close frame"
                self.heard.append(frame.payload)
            elif frame.opcode == _CLOSE:
                self.close_frame = int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode()
                self._to_send.append(client_frame(_CLOSE, frame.payload[:2]))
            elif frame.opcode == _PING:
                self._to_send.append(client_frame(_PONG, frame.payload))

    def look(self) -> bool:
        """Take in what has come, and answer it if it does that; False when there was nothing to be answered."""
        self.take_in()
        if not self.reads or not self.answers or self.lost:
            return False
        did = bool(self._to_send)
        while self._to_send and not self.lost:
            self.spoke_at = self.signed_at = self.world.clock.seconds()
            self.receive(self._to_send.popleft())
        if self.finished and not self.lost:
            self.hang_up()
            did = True
        return did

    @property
    def waiting_live(self) -> int:
        """Bytes of live frames that its system has not taken."""
        if self.told is None:
            return 0
        taken = max(0, len(self.heard) - len(self.replayed)) if self.is_replayed else 0
        return sum(len(payload) + (2 if len(payload) < 126 else 4) for payload in self.told.live[taken:])


class LocalPeer(Participant):
    """A member that is part of the program.

    Attributes:
        reaction: what it does when it hears something, once: "leave", "echo", "invite" (say something, and let
            another one join) or nothing.
    """

    is_local = True

    def __init__(self, name: str, world: "World") -> None:
        super().__init__(name)
        self.world = world
        self.member = LocalMember(world.registry, self._received, self._closed)
        self.reaction = ""
        self.has_left = False

    def _received(self, message: str | bytes) -> None:
        self.heard.append(message if isinstance(message, bytes) else message.encode())
        reaction, self.reaction = self.reaction, ""
        if reaction == "leave":
            self.leave()
        elif reaction == "echo":
            self.world.say(self, 1, is_answer=True)
        elif reaction == "invite" and self.speaker is not None:
            self.world.say(self, 1, is_answer=True)
            self.world.ask_locally("zoe", self.speaker.channel)

    def _closed(self, reason: CloseReason) -> None:
        self.reason = reason
        self.world.ended(self)

    def leave(self) -> None:
        """Be a member no more."""
        self.member.leave()
        if self.reason is None:
            self.reason = CloseReason.LEFT
            self.world.ended(self)


@implementer(IReplay)
class WatchedReplay:
    """A replay that is written down as it is pulled."""

    def __init__(self, inner: IReplay, seen: Callable[[list[bytes]], list[bytes]]) -> None:
        self._inner = inner
        self._seen = seen

    def pull(self, max_bytes: int) -> Any:
        pulled = self._inner.pull(max_bytes)
        if isinstance(pulled, Deferred):
            return pulled.addCallback(self._seen)
        return self._seen(pulled)


def _whole(data: bytes) -> tuple[bytes, bytes]:
    """The part of server data that ends with a frame, and the rest."""
    frames, rest = split(data)
    return data[: len(data) - len(rest)] if frames else b"", rest
