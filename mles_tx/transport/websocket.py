"""WebSocket: Autobahn's server protocol, set up once and kept within bounds.

This is the only server-side module that imports Autobahn. Autobahn parses the upgrade and the frames; whole
messages go to `message`. Once `fast_lane` is open, runs of the usual small frames are decoded without it and go
to `messages`. What the peer is sent goes through the `Outbox`. Every frame passes there: one that Autobahn wrote
by itself would land in the middle of another that is sent in pieces.

It must not know what the messages mean.
"""

import re
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any, NoReturn

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from autobahn.websocket.utf8validator import Utf8Validator
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from mles_tx.channels.deadlines import Deadlines
from mles_tx.channels.member import STALL_SECONDS, Outbox
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import close_frame, decode_run, encode_close, encode_pong, lone_control
from mles_tx.protocol.header import MAX_FRAGMENTS, MAX_HEADER_BYTES

from .autobahn_options import AutobahnOptions
from .origins import OriginPolicy
from .parsing import ParseShare
from .tcp import bytes_taken, end_stream
from .upgrade import FOREIGN, refusing, switching, usual_upgrade

__all__ = ["CLOSE_SECONDS", "SUBPROTOCOL", "WebSocketConnection", "WebSocketFactory"]

#: The subprotocol registered with IANA for Mles.
SUBPROTOCOL = "mles-websocket"
_SUBPROTOCOL = SUBPROTOCOL.encode("ascii")

#: Seconds a peer has to answer our close frame, and to take what is on its way to it.
CLOSE_SECONDS = 5.0

#: What it takes to let a peer go that says so, in steps of parsing: everybody may leave at once.
_LEAVING_STEPS = 8

#: Frames behind a fault that are parsed.
_FRAMES_BEHIND = 64

_ORIGIN = re.compile(rb"\r\nOrigin[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)

#: Autobahn's, from where they are found at once.
_OPEN, _CLOSED = WebSocketProtocol.STATE_OPEN, WebSocketProtocol.STATE_CLOSED

_REASON_OF_CODE: Mapping[int, CloseReason] = {
    1002: CloseReason.PROTOCOL_ERROR,
    1007: CloseReason.INVALID_UTF8,
    1009: CloseReason.MESSAGE_TOO_LARGE,
}


class WebSocketConnection(AutobahnOptions, WebSocketServerProtocol):  # type: ignore[misc]  # two of its own differ
    """One connection, from the request for an upgrade to the end of the stream.

    What is the same for all stands on the class: options, and the state in which a connection begins (`_begin_alike`).
    """

    _log = Logger()

    max_fragments = MAX_FRAGMENTS

    #: Whether whole small messages go to `messages`; at least `MAX_RUN_PAYLOAD_BYTES` have to be allowed.
    fast_lane = True

    inside_message: Any = False
    current_frame: Any = None

    transport: Any
    factory: Any  # a WebSocketFactory
    message_data: Any
    http_request_data: Any
    http_headers: Any
    http_response_data: Any
    _transport_details: Any

    _origin: str | None = None
    _refusal: str | None = None
    _reason: CloseReason | None = None
    _fragments = 0
    _frames_behind = 0
    _is_let_go = False
    _is_behind = False  # some of what was read waits for its part of a turn
    _lost: Failure | None = None  # how the connection was lost while it was behind

    def message(self, payload: bytes, is_binary: bool) -> None:
        """A whole message came; to be overridden."""
        raise NotImplementedError

    def messages(self, frames: list[bytes]) -> None:
        """Messages came through the fast lane, and are encoded as server frames; to be overridden."""
        raise NotImplementedError

    def fell_behind(self) -> None:
        """What was read is too much for this turn: no more is to be read; may be overridden."""
        self.transport.pauseProducing()

    def caught_up(self) -> None:
        """All that was read is parsed: read on; may be overridden."""
        self.transport.resumeProducing()

    def ended(self, reason: CloseReason) -> None:
        """The connection is over, for the first reason there was; called once; to be overridden."""
        raise NotImplementedError

    # -- beginning and end of the connection

    utf8validator: Any = cached_property(lambda self: Utf8Validator())  # for text that does not take the fast lane

    def __init__(self) -> None:
        pass  # what Autobahn makes here nobody asks for

    def connectionMade(self) -> None:
        self._outbox = Outbox(
            self.transport.write, self.factory.stalled, self.close, bytes_taken=partial(bytes_taken, self.transport)
        )
        self.transport.registerProducer(self._outbox, True)
        self.factory.connections.add(self)
        # Asked for with each message: Python looks for what stands on the class for twice as long.
        self.inside_message, self.current_frame = False, None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._is_behind and self.state == self.STATE_OPEN and not self.factory.parsing.is_crowded:
            self._lost = reason  # what the peer has said before is heard first
            self._is_let_go = True
            return
        self._forget_rest()
        self._end(CloseReason.CONNECTION_LOST)
        self._outbox.discard()
        self.state = self.STATE_CLOSED
        self.factory.forget(self)

    def dataReceived(self, data: bytes) -> None:
        if self.state == _CLOSED:
            return  # it is read for the end of the stream alone, and Autobahn would keep what comes
        try:
            if not self.data and self.fast_lane:
                data = self._decode_run(data)
            if data:
                self._dataReceived(data)
        except Exception:
            self._failed()

    def consumeData(self) -> None:
        if self.state == self.STATE_CONNECTING:
            super().consumeData()
        elif not self._is_behind and not self._parse():
            self._is_behind = True
            self.fell_behind()

    def go_on(self) -> None:
        """Parse what was left over in an earlier turn: called by the `ParseShare`."""
        try:
            if not self._parse():
                return
        except Exception:
            self._failed()
        self._is_behind = False
        if self._lost is None:
            self.caught_up()
        else:
            self.connectionLost(self._lost)

    def _parse(self) -> bool:
        """Let Autobahn parse what has come; False when more is left than there is time for in this turn."""
        parsing = self.factory.parsing
        while self.state != self.STATE_CLOSED:
            if self.failedByMe and self.current_frame is None and not self._waits_for_answer():
                break
            if not parsing.take():
                parsing.wait(self)
                return False
            if not self.processData():
                break
            if self.fast_lane:
                self.data = self._decode_run(self.data)
                if not self.data and self.current_frame is None:
                    break
        if self.state == self.STATE_CLOSED:
            self.data = b""
        return True

    def _waits_for_answer(self) -> bool:
        """Whether one more frame is parsed: what was on its way when a fault was found, to find the peer's close frame.

        Behind that it is a flood, and the connection is failed (RFC 6455 section 7.1.7). Not at once: a peer that is in
        the middle of sending would not read why.
        """
        if self._reason is None or self._reason.retry:
            return True
        self._frames_behind += 1
        if self._frames_behind <= _FRAMES_BEHIND:
            return True
        self.state = self.STATE_CLOSED
        self._closeConnection()
        return False

    def _forget_rest(self) -> None:
        if self._is_behind:
            self._is_behind = False
            self.factory.parsing.forget(self)

    def _failed(self) -> None:
        self._log.failure("what a peer sent could not be handled")
        self.close(CloseReason.INTERNAL_ERROR)

    def _decode_run(self, data: bytes) -> bytes:
        """Take the fast lane, if a message may begin here; returns what is left for Autobahn."""
        if self.state == _OPEN and self.current_frame is None and not self.inside_message:
            frames, size = decode_run(data)
            if frames:
                self.messages(frames)
                data = data[size:]
            if data and self.state == _OPEN:
                # Not more than one in a read: the others have Autobahn's share of the turn.
                control = lone_control(data)
                if control is not None:
                    is_ping, payload = control
                    if is_ping:
                        self.onPing(payload)
                    else:
                        self.onPong(payload)
                    return b""
        return data

    # -- the upgrade

    def processHandshake(self) -> None:
        upgrade = usual_upgrade(self.data)
        if upgrade is not None and SUBPROTOCOL in upgrade.protocols and self.factory.origin_allowed(upgrade.origin):
            # By way of Autobahn it takes five times as long, with all that is formatted for its log.
            self.data = b""
            self.websocket_protocols = list(upgrade.protocols)
            self.websocket_protocol_in_use = SUBPROTOCOL
            self.sendData(switching(upgrade.key, _SUBPROTOCOL, self.factory.more_headers))
            self.state = self.STATE_OPEN
            return
        # Autobahn refuses origins it cannot take apart, and those of apps are among them: it does not get to see any.
        origins = _ORIGIN.findall(self.data)
        if origins:
            self._origin = origins[0].decode("latin-1").strip()
            self.data = _ORIGIN.sub(b"", self.data)
        if len(origins) > 1:
            self._refusal = "The request has more than one Origin header."
            self.failHandshake(self._refusal)
        else:
            super().processHandshake()

    def onConnect(self, request: ConnectionRequest) -> str:
        if SUBPROTOCOL not in request.protocols:
            self._deny(400, f"This is a Mles server: the header Sec-WebSocket-Protocol has to name {SUBPROTOCOL}.")
        if not self.factory.origin_allowed(self._origin):
            self._deny(403, FOREIGN)
        return SUBPROTOCOL

    def _deny(self, code: int, text: str) -> NoReturn:
        self._refusal = text
        raise ConnectionDeny(code, text)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        # Autobahn's reasons quote the request; ours do not.
        text = self._refusal or "This is no WebSocket handshake of RFC 6455 (version 13)."
        if responseHeaders:
            code = 426  # it only has some to say which versions are spoken
        self.transport.write(refusing(code, text, responseHeaders or ()))
        self.factory.closing.start(self)
        self.dropConnection()

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        self.transport.write(data)  # the answer to the upgrade: nothing else is sent this way
        # Autobahn's option has no effect on Twisted's TLS. From here on nothing waits; until then, what TLS has to say
        # behind its handshake does, and goes out in one piece with the answer.
        self.transport.setTcpNoDelay(True)

    def _onOpen(self) -> None:
        # Autobahn would look up channel ids and certificates here, and keep the request as long as the connection.
        self._transport_details = None
        self.http_request_data = self.http_headers = self.http_response_data = None

    # -- what the peer sends

    def onMessageFrameBegin(self, length: int) -> None:
        self._fragments += 1
        if self._fragments > self.max_fragments:
            self.close(CloseReason.TOO_MANY_FRAGMENTS)
        super().onMessageFrameBegin(length)

    def onMessageEnd(self) -> None:
        parts, self.message_data = self.message_data, None
        self._fragments = 0
        if not self.failedByMe:
            self.message(b"".join(parts), self.message_is_binary)

    def onPing(self, payload: bytes) -> None:
        if self.state == self.STATE_OPEN:  # Autobahn goes on reading behind a frame that broke a rule
            self._outbox.control(encode_pong(payload))

    def onPong(self, payload: bytes) -> None:
        pass

    def _fail_connection(self, code: int = 1001, reason: str = "") -> None:
        if self._reason is None:
            self.close(_REASON_OF_CODE.get(code, CloseReason.PROTOCOL_ERROR))
        else:
            self.dropConnection()  # a second fault while closing: there is nothing to wait for

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        too_large_header = max_msg_size == MAX_HEADER_BYTES
        self.close(CloseReason.HEADER_TOO_LARGE if too_large_header else CloseReason.MESSAGE_TOO_LARGE)

    # -- how it ends

    def close(self, reason: CloseReason) -> None:
        """Send the close frame of a reason, and nothing behind it."""
        if self._reason is not None:
            return
        self._end(reason)
        self.failedByMe = True  # Autobahn throws away what still comes
        if self.state != self.STATE_OPEN:
            self.abort()
            return
        self.state = self.STATE_CLOSING
        self.closedByMe = True
        self.factory.closing.start(self)
        self._outbox.finish(
            close_frame(reason),
            keep=reason in (CloseReason.SERVER_STOPPING, CloseReason.SERVER_RESTARTING),
            flushed=self._flushed,
        )

    def abort(self) -> None:
        """End it now; what was not sent is lost."""
        self._outbox.discard()
        self._let_go()
        self._forget_rest()
        if self._lost is None:
            self.transport.abortConnection()
        else:
            self.connectionLost(self._lost)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        # Autobahn comes here to answer a close frame; what it wants to close itself goes through _fail_connection.
        if self.state == self.STATE_OPEN:
            self.factory.parsing.charge(_LEAVING_STEPS)
            self._end(CloseReason.LEFT)
            self.state = self.STATE_CLOSING
            self.factory.closing.start(self)
            self._outbox.finish(encode_close(code, reasonUtf8 or b""), keep=False, flushed=self._flushed)

    def unregisterProducer(self) -> None:
        pass  # Autobahn would cut off the outbox before the close frame has left it

    def _closeConnection(self, abort: bool = False) -> None:
        # Aborting would reset the connection under a peer that has just answered our close frame.
        if not self._outbox.is_waiting:
            self._lose()

    def _flushed(self) -> None:
        if self.state == self.STATE_CLOSED:  # the peer's close frame came first
            self._lose()

    def _end(self, reason: CloseReason) -> None:
        if self._reason is None:
            self._reason = reason
            self.ended(reason)

    def _lose(self) -> None:
        if self._let_go():
            end_stream(self.transport)

    def _let_go(self) -> bool:
        """Cut off the outbox; False when that was done before."""
        if self._is_let_go:
            return False
        self._is_let_go = True
        self.transport.unregisterProducer()
        return True


def _begin_alike(connection: type[WebSocketConnection]) -> None:
    """Give the class what Autobahn would set on each connection anew (50 attributes, and as much of a join again)."""
    first: Any = connection()
    first.factory = WebSocketServerFactory
    WebSocketProtocol._connectionMade(first)
    for name, value in vars(first).items():
        if name not in ("factory", "utf8validator"):
            setattr(connection, name, value)


_begin_alike(WebSocketConnection)


class WebSocketFactory(WebSocketServerFactory):
    """Holds what connections share.

    Args:
        clock: the reactor, or a `Clock` in tests.
        origin_allowed: which web pages may connect.

    Attributes:
        more_headers: lines in the answer to every usual upgrade; in all others Autobahn's `headers` stand.
    """

    more_headers = b""

    def __init__(self, clock: IReactorTime, origin_allowed: OriginPolicy) -> None:
        super().__init__(reactor=clock, server=None)
        self.clock = clock
        self.origin_allowed = origin_allowed
        self.connections: set[WebSocketConnection] = set()
        self.parsing = ParseShare(clock)
        self.closing = Deadlines[WebSocketConnection](clock, CLOSE_SECONDS, WebSocketConnection.abort)
        self.stalled = Deadlines[Outbox](clock, STALL_SECONDS, Outbox.expire)

    @property
    def backlog(self) -> int:
        """Bytes of live messages that wait for all connections; it takes as long as there are some that wait."""
        return sum(outbox.backlog for outbox in self.stalled)

    def forget(self, connection: WebSocketConnection) -> None:
        """A connection is gone."""
        self.closing.met(connection)
        self.connections.discard(connection)

    def abort_all(self) -> None:
        """End all connections now."""
        for connection in list(self.connections):
            connection.abort()

    def stop(self) -> None:
        """Keep no timer; the connections are gone."""
        self.parsing.stop()
        self.closing.stop()
        self.stalled.stop()
