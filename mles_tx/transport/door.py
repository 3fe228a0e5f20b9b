"""The door: one port for WebSocket and web.

It reads a request head under an absolute deadline and a size limit, looks whether it asks for an upgrade, and
hands the connection over: to a WebSocket connection for good, to twisted.web or a relay for one request. When that is
answered the next head on the same connection is read here again, under the same limits, so that an upgrade
on a reused connection works as well (proxies do that).

    =====  =================================================  =================
    state  who has the connection                             deadline
    =====  =================================================  =================
    TLS    the TLS handshake                                  HANDSHAKE_SECONDS
    HEAD   the door; a head is on its way                     HEAD_SECONDS
    IDLE   the door; nothing came since the last answer       IDLE_SECONDS
    WEB    twisted.web, for one request                       none
    SEND   the door; an answer of its own is on its way,      none
           piece by piece
    RELAY  a relay, for one request with its body             its own
    GONE   a WebSocket connection, or nobody any more         its own
    =====  =================================================  =================

As long as an answer waits to be taken, in WEB, SEND or IDLE, another deadline runs instead: every STALL_SECONDS the
peer has to have taken MIN_STALL_BYTES more. The deadlines of all doors are in `doors`.
"""

import re
from enum import Enum, auto
from math import ceil
from typing import Any
from typing import Protocol as Shape

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from mles_tx.protocol.forwarded import client_of

from .admission import Admission
from .share import Pieces
from .tcp import bytes_taken, end_stream
from .webchannel import WebChannel

__all__ = [
    "MAX_HEAD_BYTES",
    "MAX_LEAVE_LOOKS",
    "MAX_STALL_LOOKS",
    "MIN_STALL_BYTES",
    "Door",
    "Relay",
]

#: How often a peer that takes a little of the end of an answer in each `LEAVE_SECONDS` is let go on: five minutes for a
#: few megabytes.
MAX_LEAVE_LOOKS = 30

#: Bytes of an answer a peer has to take in `STALL_SECONDS`, as behind the reverse proxy. The slowest phone takes 100
#: times as many; one byte now and then is no sign of good will.
MIN_STALL_BYTES = 1024

#: How often a peer that does so is let go on with what was written at one time: half an hour, for the 4 MiB that an
#: answer from the cache may have at 2 KiB/s. A long file is written in pieces, and each of them has as long.
MAX_STALL_LOOKS = 30

#: Bytes of a request head. nginx has 32 KiB, Apache 8 KiB a line; browsers send 1 to 4 KiB.
MAX_HEAD_BYTES = 16 * 1024

#: What an answer of twisted.web counts more than one from memory, where a turn has room for several.
_SLOW_PIECES = 3

_END_OF_HEAD = b"\r\n\r\n"

#: A head with such a line is for WebSocket (RFC 6455 section 4.1), whatever else is wrong with it. Most write it so.
_USUAL_UPGRADE = b"\r\nUpgrade: websocket\r\n"
_UPGRADE = re.compile(rb"\r\nUpgrade[ \t]*:[^\r\n]*websocket", re.IGNORECASE)

#: What a proxy says about its client. With a space before the colon it was not the proxy who said it.
_FORWARDED = re.compile(rb"\r\n(X-Forwarded-For):([^\r\n]*)", re.IGNORECASE)


class _State(Enum):
    TLS = auto()
    HEAD = auto()
    IDLE = auto()
    WEB = auto()
    SEND = auto()
    RELAY = auto()
    GONE = auto()


#: A request is being answered.
_ANSWERING = (_State.WEB, _State.SEND, _State.RELAY)


class Relay(Shape):
    """What has a connection for one request, and gives it back with `Door.answered`, `Door.leave` or `Door.abort`."""

    def begin(self, head: bytes, rest: bytes) -> None:
        """The request's head, and what the peer has sent behind it."""

    def received(self, data: bytes) -> None:
        """The peer has sent something more."""

    def half_closed(self) -> None:
        """The peer sends nothing more, but reads; it is told only after `Door.allow_half_close`."""

    def lost(self) -> None:
        """The connection is gone."""


@implementer(IHandshakeListener)
class Door(Protocol):
    """What every accepted connection meets first."""

    transport: Any
    factory: Any  # the DoorFactory

    def __init__(self) -> None:
        self._state = _State.TLS
        self._head = b""
        self._reading = False
        self._has_waiting_head = False  # its turn is to come
        self._waiting_bytes = 0
        self._server_name: str | None = None
        self._is_stalled = False
        self._leaving = False
        self._taken = 0  # by the peer, at the last look at that
        self._looks = 0
        self.is_surplus = False  #: the server is full: to be told so
        self._channel: WebChannel | None = None
        self._relay: Relay | None = None
        self._is_half_closed = False  # the peer sends nothing more, and a relay was told
        self._pieces: Pieces | None = None  # of an answer of the door's own

    def connectionMade(self) -> None:
        self.factory.doors.add(self)
        if ISSLTransport.providedBy(self.transport):
            self.factory.handshakes.start(self)
        else:
            self._await_head()

    def handshakeCompleted(self) -> None:
        self.factory.handshakes.met(self)
        self._await_head()

    def dataReceived(self, data: bytes) -> None:
        if self._state is _State.WEB and self._channel is not None:
            self._channel.dataReceived(data)  # the next request already; it comes back when this one is answered
        elif self._relay is not None:
            self._relay.received(data)
        elif self._state is not _State.GONE:
            self._head += data
            if self._has_waiting_head or self._state is _State.SEND:
                self.transport.pauseProducing()  # there is enough to do
            else:
                self._read_heads()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._state = _State.GONE
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            pieces.stop()
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.connectionLost(reason)
        self._end_relay()
        self.factory.forget(self)  # last: whoever waits for the end expects that no file is open

    def allow_half_close(self) -> None:
        """From now on the end of what the peer sends is not the end of the connection."""
        alsoProvides(self, IHalfCloseableProtocol)

    def readConnectionLost(self) -> None:  # noqa: N802
        self._is_half_closed = True
        if self._relay is not None:
            self._relay.half_closed()
        else:
            self.transport.loseConnection()  # the peer's end is what was waited for

    def writeConnectionLost(self) -> None:  # noqa: N802
        pass  # that was us

    def refuse(self, status: bytes) -> None:
        """Answer with a status line and nothing else, and close."""
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.leave()

    def answered(self, rest: bytes) -> None:
        """A request has been answered; behind it, the peer has sent `rest` already."""
        if self._state not in _ANSWERING:
            return
        self._relay = None
        if self._leaving:
            self.leave()
            return
        self._state = _State.IDLE
        if not self._is_stalled:
            self.factory.idle.start(self)
        self._head = rest + self._head
        if not self._reading:
            self._read_heads()

    def stalls(self, stalls: bool) -> None:
        """Whether some of an answer waits to be taken. The peer is not answered again before it has taken it all."""
        if stalls and not self._is_stalled and self._state in (_State.WEB, _State.SEND, _State.IDLE):
            self.factory.idle.met(self)
            self.factory.stalled.start(self)
            self._taken = bytes_taken(self.transport)
            self._looks = 0
        elif not stalls:
            self.factory.stalled.met(self)
            if self._is_stalled and self._state is _State.IDLE:
                self.factory.idle.start(self)
        self._is_stalled = stalls
        if self._pieces is not None:
            if stalls:
                self._pieces.pause()
            else:
                self._pieces.resume()
        if not stalls and not self._reading:
            self._read_heads()

    def still_stalled(self) -> None:
        """Cut off a peer that does not take its answer, unless it does so slowly."""
        before, self._taken = self._taken, bytes_taken(self.transport)
        self._looks += 1
        if self._taken - before < MIN_STALL_BYTES or self._looks >= MAX_STALL_LOOKS:
            self.abort()
        else:
            self.factory.stalled.start(self)

    def finish(self) -> None:
        """Close as soon as the request that is being answered, if any, is answered."""
        self._leaving = True
        if self._state not in _ANSWERING:
            self.leave()

    def leave(self) -> None:
        """Send what is left, and the end of the stream."""
        if self._state is not _State.GONE:
            self._state = _State.GONE
            self._relay = None
            self.factory.all_met(self)
            self.factory.leaving.start(self)
            self._taken = bytes_taken(self.transport)
            self._looks = 0
            if self._channel is not None:
                self.transport.unregisterProducer()
            if self._is_half_closed:
                self.transport.loseConnection()
            else:
                end_stream(self.transport)

    def still_leaving(self) -> None:
        """Cut off a peer that has not hung up, unless it is still taking what is on its way to it."""
        before, self._taken = self._taken, bytes_taken(self.transport)
        self._looks += 1
        if self._taken == before or self._looks >= MAX_LEAVE_LOOKS:
            self.abort()
        else:
            self.factory.leaving.start(self)

    def abort(self) -> None:
        """End it now."""
        self._state = _State.GONE
        self.transport.abortConnection()
        self._end_relay()

    def _end_relay(self) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.lost()

    def _await_head(self) -> None:
        self._state = _State.HEAD
        self.factory.heads.start(self)

    def _read_heads(self, has_turn: bool = False) -> None:
        """Hand over every head that is there. Answers given at once come back into this loop.

        Args:
            has_turn: the first one has waited for its turn, and it has come.
        """
        self._reading = True
        while self._head and self._state in (_State.HEAD, _State.IDLE) and not self._is_stalled:
            if self._state is _State.IDLE:
                self.factory.idle.met(self)
                self._await_head()
            end = self._head.find(_END_OF_HEAD) + len(_END_OF_HEAD)
            if end < len(_END_OF_HEAD):
                if len(self._head) > MAX_HEAD_BYTES:
                    self.refuse(b"431 Request Header Fields Too Large")
                break
            if end > MAX_HEAD_BYTES:
                self.refuse(b"431 Request Header Fields Too Large")
                break
            if self._has_waiting_head:
                break
            is_upgrade = self.factory.websocket is not None and (
                self._head.find(_USUAL_UPGRADE, 0, end) >= 0 or _UPGRADE.search(self._head, 0, end) is not None
            )
            if not (is_upgrade or self.is_surplus or has_turn or self.factory.share.take()):
                self._wait_for_turn()
                break
            has_turn = False
            head, self._head = self._head[:end], self._head[end:]
            self.factory.heads.met(self)
            if self.is_surplus:
                self.refuse(b"503 Service Unavailable\r\nRetry-After: 10")
            elif self.factory.relays is not None and self.factory.relays.takes(head):
                self._to_relay(head)
            elif is_upgrade:
                self._to_websocket(head)
            else:
                self._to_web(head)
        self._reading = False

    def _to_relay(self, head: bytes) -> None:
        rest, self._head = self._head, b""
        self._state = _State.RELAY
        self._end_channel()
        self._relay = self.factory.relays.relay(self)
        self._relay.begin(head, rest)

    def _end_channel(self) -> None:
        if self._channel is not None:
            self.transport.unregisterProducer()  # the HTTP channel
            self._channel = None

    def _to_websocket(self, head: bytes) -> None:
        peer = self.transport.getPeer()
        address: str | None = getattr(peer, "host", None)
        admission: Admission | None = self.factory.admission
        if admission is not None and address is not None and address in admission.trusted:
            headers = [(name, (value,)) for name, value in _FORWARDED.findall(head)]
            address = client_of(address, headers, admission.trusted).address
            wait = admission.seconds_to_wait(address)
            if wait:
                self.refuse(b"429 Too Many Requests\r\nRetry-After: %d" % ceil(wait))
                return
        rest, self._head = self._head, b""
        self._state = _State.GONE
        self.factory.gone(self)
        self._end_channel()
        connection: Any = self.factory.websocket.buildProtocol(peer)
        connection.address = address
        # From here on the transport's calls go to the connection without passing this object.
        self.dataReceived = connection.dataReceived  # type: ignore[method-assign]
        self.connectionLost = connection.connectionLost  # type: ignore[method-assign]
        connection.makeConnection(self.transport)
        connection.dataReceived(head)
        if rest:
            connection.dataReceived(rest)

    def _wait_for_turn(self) -> None:
        """Enough was answered in this turn of the reactor: go on in a later one."""
        self._has_waiting_head = True
        self._waiting_bytes = len(self._head)
        self.factory.heads.met(self)  # it has come in time; that it waits is not the peer's fault
        self.factory.share.run(self._turn_has_come)

    def _turn_has_come(self) -> None:
        self._has_waiting_head = False
        if self._state is not _State.GONE:
            if len(self._head) > self._waiting_bytes and not self._is_stalled:
                self.transport.resumeProducing()
            self._read_heads(has_turn=True)

    def _to_web(self, head: bytes) -> None:
        if self._channel is None:
            self._channel = WebChannel(self, self.factory.site)
            self._channel.makeConnection(self.transport)
            ask = getattr(self.transport, "server_name", None)
            self._server_name = None if ask is None else ask()
        answer = None if self.factory.quick is None else self.factory.quick(head, self._server_name)
        if answer is not None:
            self._send(answer)
            return
        self.factory.share.charge(_SLOW_PIECES)
        self._state = _State.WEB
        self._channel.dataReceived(head)
        if self._state is _State.WEB and self._head:
            rest, self._head = self._head, b""
            self._channel.dataReceived(rest)

    def _send(self, answer: bytes | tuple[bytes, bytes]) -> None:
        """Send an answer; one in two parts takes several turns."""
        if isinstance(answer, bytes):
            self._state = _State.IDLE
            self.factory.idle.start(self)
            self.transport.write(answer)
            return
        self._state = _State.SEND
        self._waiting_bytes = len(self._head)
        self._pieces = Pieces(self.transport.write, *answer, self.factory.share, self._sent)
        self._pieces.begin()

    def _sent(self) -> None:
        self._pieces = None
        if len(self._head) > self._waiting_bytes and not self._is_stalled:
            self.transport.resumeProducing()
        self.answered(b"")
