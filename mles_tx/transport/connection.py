"""A connection and the member it becomes: the rules of Mles on top of WebSocket.

What a peer says goes to its `Session`; what that means goes to the registry of channels. Here too: how fast
a connection is read, whether its peer is still there, and what is logged about it. What all of them share is in
`connections`.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mles_tx.channels.channel import Channel
from mles_tx.channels.history import MAX_CHANNEL_BYTES
from mles_tx.channels.member import IMember
from mles_tx.protocol.closing import NO_FAULT, CloseReason, ProtocolViolation
from mles_tx.protocol.extensions import CAUGHT_UP
from mles_tx.protocol.frames import PING, encode_pong, is_binary, payload_of
from mles_tx.protocol.header import MAX_MESSAGE_BYTES, Header
from mles_tx.protocol.ratelimit import MessageRate
from mles_tx.protocol.session import Session, State

from .lines import Lines
from .origins import OriginPolicy, any_origin
from .websocket import WebSocketConnection

__all__ = ["PROBE_SECONDS", "MlesConnection", "Settings"]

#: Seconds in which the holder of a uid has to give a sign of life when somebody else wants it.
PROBE_SECONDS = 3.0

#: Characters of a uid or channel in the log. Both are printable ASCII, and up to 16 KiB long.
_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may set about connections.

    Attributes:
        keys: the server's keys, any of which lets in; none: everybody may join.
        ping_interval: seconds between two pings.
        max_missed_pongs: pings that may stay unanswered.
        rate_limit: messages a second of one connection; 0: no limit.
        history_limit: messages of a history that are taken from a client at any rate.
        origin_allowed: which web pages may connect.
    """

    keys: tuple[bytes, ...] = field(default=(), repr=False)
    ping_interval: float = 24.0
    max_missed_pongs: int = 3
    rate_limit: float = 100.0
    history_limit: int = 200
    origin_allowed: OriginPolicy = any_origin


_LIVE = State.LIVE

#: To look for it with `super`, for each message, takes as long as to decode a short one.
_receive = WebSocketConnection.dataReceived

_lines = Lines(f"{__name__}.MlesConnection")
_CAUGHT_UP_PONG = encode_pong(CAUGHT_UP)


class _Hold(Enum):
    """Why a connection is not read at the moment."""

    JOINING = auto()
    RATE = auto()
    TURN = auto()


@implementer(IMember)
class MlesConnection(WebSocketConnection):
    """One connection: first a stranger, then, with a good first frame, a member."""

    _log = Logger()

    max_message_bytes = MAX_MESSAGE_BYTES

    #: Where its client is, as far as that is known; for the log.
    address: str | None = None

    uid = ""
    serial = 0
    receives = True
    channel: Channel | None = None

    _joining: "Deferred[None] | None" = None
    _asked: bytes | None = None  # a ping that came meanwhile
    _asks_end = False  # whether it is to be told when it has caught up
    _joined_as: tuple[str, str] | None = None
    _probe_timer: IDelayedCall | None = None
    _probes: "tuple[Deferred[bool], ...]" = ()
    _holds: frozenset[_Hold] = frozenset()
    _resume_timer: IDelayedCall | None = None
    _rate: MessageRate | None = None
    _taken = 0  # messages since the last look at the rate
    _others = 0  # frames that are as much work as a message: pings and pongs, likewise
    _unanswered = 0
    _received_bytes = 0
    _free = (0, 0)  # messages and bytes of an announced history that do not count towards the rate

    # -- what the transport and the frames bring

    def connectionMade(self) -> None:
        super().connectionMade()
        factory = self.factory
        self.write = self._outbox.write
        self.replay = self._outbox.replay
        self._session = Session(factory.settings.keys)
        self._rate = MessageRate(factory.settings.rate_limit) if factory.settings.rate_limit else None
        # As in what this is made of: asked for with each message.
        self._probes, self._others = (), 0
        self._began = factory.clock.seconds()
        factory.metrics.active_connections = len(factory.connections)
        factory.strangers.start(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._resume_timer is not None:
            self._resume_timer.cancel()
            self._resume_timer = None
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        self._unanswered = 0
        self._received_bytes += len(data)
        _receive(self, data)
        if self._probes:
            self._answer_probes(True)  # unless what came was its close frame: that has answered them
        if self._taken or self._others:
            self._count_taken()

    def go_on(self) -> None:
        super().go_on()
        if self._taken or self._others:
            self._count_taken()

    def onPing(self, payload: bytes) -> None:
        self._others += 1
        if payload == CAUGHT_UP:
            self._asks_end = True
            if self._joining is None:
                self._tell_end()
        elif self._joining is None:
            super().onPing(payload)
        else:
            self._asked = payload  # the answer says that all before it was handled, the join too

    def _tell_end(self) -> None:
        """Say that everything that has waited so far is sent, once it is."""
        if self._asks_end and self.state == self.STATE_OPEN:
            self._asks_end = False
            self.write(_CAUGHT_UP_PONG)

    def onPong(self, payload: bytes) -> None:
        self._others += 1

    def _count_taken(self) -> None:
        taken, self._taken = self._taken, 0
        self.factory.metrics.total_messages_received += taken
        taken += self._others
        self._others = 0
        if self._rate is not None and self._reason is None:
            wait = self._rate.take(taken, self.factory.clock.seconds())
            if wait:
                self._slow_down(wait)

    def message(self, payload: bytes, is_binary: bool) -> None:
        try:
            meaning = self._session.receive(payload, is_binary)
        except ProtocolViolation as violation:
            self.close(violation.reason)
            return
        if isinstance(meaning, bytes):
            self.messages([meaning])
        elif meaning is not None:
            self._join(meaning)

    def messages(self, frames: list[bytes]) -> None:
        if self._session.state is not _LIVE:
            if self._session.state is State.RESYNC:
                self._refill(frames)
                return
            for frame in frames:
                self.message(payload_of(frame), is_binary(frame))
            return
        self._taken += len(frames)
        self.factory.registry.publish(self, frames)

    def _refill(self, frames: list[bytes]) -> None:
        """History that was announced, and perhaps what is said behind it."""
        count = self._session.count_offered(len(frames))
        registry, offered = self.factory.registry, frames[:count]
        free, free_bytes = self._free
        for frame in offered:
            free -= 1
            free_bytes -= len(frame)
            if free < 0 or free_bytes < 0:
                self._others += 1  # more than a channel remembers: as fast as anything else
        self._free = max(0, free), max(0, free_bytes)
        registry.refill(self, offered)
        if self._session.state is _LIVE:
            registry.end_refill(self)
            if count < len(frames):
                self.messages(frames[count:])

    def ended(self, reason: CloseReason) -> None:
        metrics = self.factory.metrics
        metrics.closed[reason.label] += 1
        if reason not in NO_FAULT:
            metrics.total_errors += 1
        self.factory.strangers.met(self)
        self.factory.heartbeat.remove(self)
        self._session.close()
        if self._joining is not None:
            self._joining.cancel()
        self.factory.registry.leave(self)
        self._answer_probes(False)
        if self._joined_as is not None:
            uid, channel = self._joined_as
            seconds = self.factory.clock.seconds() - self._began
            _lines.info(
                self,
                f"left: uid {uid}, channel {channel}, member {self.serial}: {reason.label} after {seconds:.1f} s,"
                f" {self._received_bytes} bytes received",
                uid=uid,
                channel=channel,
                serial=self.serial,
                reason=reason.label,
                seconds=seconds,
                received_bytes=self._received_bytes,
                address=self.address,
            )
        if self._holds:
            self._holds &= {_Hold.TURN}
            if not self._holds and reason is not CloseReason.CONNECTION_LOST:
                self.transport.resumeProducing()  # to see the peer's close frame

    # -- joining

    def _join(self, header: Header) -> None:
        self.maxMessagePayloadSize = self.max_message_bytes
        if header.resync:
            self._free = self.factory.settings.history_limit, MAX_CHANNEL_BYTES
        try:
            joining = self.factory.registry.join(header, self)
        except Exception:
            self._not_joined(Failure())
            return
        if joining is None:
            self._joined(None, header)
            return
        self._joining = joining
        if not joining.called:
            self.factory.strangers.start(self)  # it has said who it is: from here on the wait is not its own
            self._hold(_Hold.JOINING)
        joining.addCallbacks(self._joined, self._not_joined, callbackArgs=(header,))

    def _joined(self, _: None, header: Header) -> None:
        self._joining = None
        if self._reason is not None:
            return  # it ended while its history was being sent
        frames = self._session.joined()
        self.factory.strangers.met(self)
        self.factory.heartbeat.add(self)
        self._joined_as = uid, channel = header.uid[:_SHOWN], header.channel[:_SHOWN]
        _lines.info(
            self,
            f"joined: uid {uid}, channel {channel}, member {self.serial}"
            + ("" if self.address is None else f", from {self.address}"),
            uid=uid,
            channel=channel,
            serial=self.serial,
            address=self.address,
        )
        if frames:
            self.messages(frames)
        if self._asked is not None:
            asked, self._asked = self._asked, None
            super().onPing(asked)
        self._tell_end()
        self._release(_Hold.JOINING)
        self._count_taken()

    def _not_joined(self, failure: Failure) -> None:
        self._joining = None
        if isinstance(failure.value, ProtocolViolation):
            self.close(failure.value.reason)
        elif not failure.check(CancelledError):
            self._log.failure("a join failed", failure)
            self.close(CloseReason.INTERNAL_ERROR)

    def stayed_out(self) -> None:
        """Its time is over, and it is not a member."""
        has_spoken = self._session.state is not State.AWAIT_HEADER
        self.close(CloseReason.NOT_LET_IN if has_spoken else CloseReason.NO_HEADER)

    # -- whether the peer is still there

    def is_alive(self) -> "Deferred[bool]":
        if self._reason is not None:
            return succeed(False)
        if self._holds:
            return succeed(True)  # who is not read cannot answer
        answer: Deferred[bool] = Deferred(self._forget_probe)
        self._probes += (answer,)
        if self._probe_timer is None:
            # The system of a dead program still takes a ping; what counts is whether it takes what it was behind with.
            before = self._outbox.progress() if self._outbox.is_waiting else None
            self._outbox.control(PING)
            self._probe_timer = self.factory.clock.callLater(PROBE_SECONDS, self._probe_ended, before)
        return answer

    def _probe_ended(self, before: tuple[int, int] | None) -> None:
        # A ping may wait behind megabytes: who takes them is alive.
        self._probe_timer = None
        self._answer_probes(before is not None and self._outbox.progress() != before)

    def _answer_probes(self, alive: bool) -> None:
        probes, self._probes = self._probes, ()
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None
        for answer in probes:
            answer.callback(alive)

    def _forget_probe(self, answer: "Deferred[bool]") -> None:
        self._probes = tuple(other for other in self._probes if other is not answer)
        if not self._probes and self._probe_timer is not None:
            self._probe_timer.cancel()  # an answer is not noted any more: who asks next asks anew
            self._probe_timer = None

    def beat(self) -> None:
        """An interval has passed: look for a sign of life and ask for the next one."""
        if not self._holds and not self._outbox.is_waiting:
            if self._unanswered >= self.factory.settings.max_missed_pongs:
                self.close(CloseReason.PING_TIMEOUT)
                return
            self._unanswered += 1
        self._outbox.control(PING)

    # -- reading more slowly

    def fell_behind(self) -> None:
        self._hold(_Hold.TURN)

    def caught_up(self) -> None:
        self._release(_Hold.TURN)

    def _hold(self, why: _Hold) -> None:
        if not self._holds:
            self.transport.pauseProducing()
        self._holds |= {why}

    def _release(self, why: _Hold) -> None:
        if why in self._holds:
            self._holds -= {why}
            if not self._holds:
                self.transport.resumeProducing()

    def _slow_down(self, seconds: float) -> None:
        """Do not read for a while. Over TLS, what was read already still comes."""
        self._hold(_Hold.RATE)
        if self._resume_timer is None:
            self._resume_timer = self.factory.clock.callLater(seconds, self._rate_is_met)
        else:
            self._resume_timer.reset(seconds)

    def _rate_is_met(self) -> None:
        self._resume_timer = None
        self._release(_Hold.RATE)

    # -- what the operator changes

    def change(self, before: Settings, settings: Settings) -> None:
        """Live with other settings from now on."""
        self._session.keys = settings.keys
        if settings.rate_limit != before.rate_limit:
            # A new bucket, and no wait from the old one: that may have been set up for minutes.
            self._rate = MessageRate(settings.rate_limit) if settings.rate_limit else None
            if self._resume_timer is not None:
                self._resume_timer.reset(0)
