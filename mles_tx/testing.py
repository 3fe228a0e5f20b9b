"""A server and its clients in memory, for the tests of programs that embed one.

Nothing here opens a socket or waits: time passes when `advance` is called, and what a client sends has been
answered when `send` returns, but for what happens at the end of a reactor turn.

    server = MemoryServer()
    alice, bob = server.join("alice", "news"), server.join("bob", "news")
    alice.send("hello")
    server.advance(0)
    assert bob.received == ["hello"]
"""

import json
from collections import deque
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from mles_tx.protocol.frames import payload_of, split
from mles_tx.service.config import ServerConfig
from mles_tx.service.server import MlesService
from mles_tx.transport.websocket import SUBPROTOCOL

__all__ = ["MemoryClient", "MemoryServer"]

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


_MASK = b"mles"


def _masked(opcode: int, payload: bytes) -> bytes:
    """A frame as clients send it (RFC 6455 section 5.3)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    key = (_MASK * (size // 4 + 1))[:size]
    return head + _MASK + bytes(a ^ b for a, b in zip(payload, key, strict=True))


class MemoryServer:
    """A server on a clock of its own, without a port.

    Args:
        **settings: fields of `ServerConfig`.

    Attributes:
        clock: its `Clock`.
        service: the `MlesService`, with `publish`, `join` and `metrics`.
    """

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.service = MlesService(ServerConfig(listen=False, **settings), self.clock)
        self.service.startService()

    def connect(self) -> "MemoryClient":
        """A client whose WebSocket is open, and that has not said who it is."""
        return MemoryClient(self.service.listener.websocket.buildProtocol(None))

    def join(self, uid: str, channel: str, **more: Any) -> "MemoryClient":
        """A client that has sent its first frame, and received the history.

        Args:
            uid: who it is.
            channel: where it goes.
            **more: further keys of the first frame: ``auth``, ``history``, ``since``, ``receive``.
        """
        client = self.connect()
        client.send(json.dumps({"uid": uid, "channel": channel, **more}))
        return client

    def advance(self, seconds: float) -> None:
        """Let time pass; 0 ends a reactor turn."""
        self.clock.advance(seconds)

    def stop(self) -> None:
        """Stop it; clients that have not closed within five seconds are cut off."""
        self.service.stopService()
        self.clock.advance(5)


@implementer(ITransport, IConsumer, IPushProducer)
class _MemoryTransport:
    """The server's end of a connection in memory."""

    disconnecting = False

    def __init__(self, client: "MemoryClient", protocol: Protocol) -> None:
        self._client = client
        self._protocol: Any = protocol
        self._producer: Any = None
        self._connected = True
        self._arriving: deque[bytes] = deque()
        self._is_delivering = False
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        if self._connected:
            self._client._take(data)
            if self._client.stalled and self._producer is not None:
                self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def resume(self) -> None:
        """The client reads again."""
        if self._producer is not None:
            self._producer.resumeProducing()

    def deliver(self, data: bytes) -> None:
        """The client sends something; what it answers while that is handled comes behind it."""
        self._arriving.append(data)
        if self._is_delivering:
            return
        self._is_delivering = True
        while self._arriving:
            data = self._arriving.popleft()
            if self._connected:
                self._protocol.dataReceived(data)
        self._is_delivering = False

    def pauseProducing(self) -> None:
        pass  # what a client in memory sends has arrived already

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getPeer(self) -> Any:
        return None

    def getHost(self) -> Any:
        return None

    def loseWriteConnection(self) -> None:
        self.lose(ConnectionDone())

    def loseConnection(self) -> None:
        self.lose(ConnectionDone())

    def abortConnection(self) -> None:
        self.lose(ConnectionAborted())

    def lose(self, reason: Exception) -> None:
        """The connection is gone."""
        if self._connected:
            self._connected = False
            self.disconnecting = True
            self._client.is_connected = False
            self._protocol.connectionLost(Failure(reason))


class MemoryClient:
    """A client of a server in memory.

    Attributes:
        received: the messages it has received, text as str, binary ones as bytes.
        closed: code and text of the server's close frame, or None.
        is_connected: whether the connection is still there.
        stalled: set to True, it does not read any more; see `read_on`.
        answers_pings: set to False, it seems to be dead.
    """

    def __init__(self, protocol: Any) -> None:
        self.received: list[str | bytes] = []
        self.closed: tuple[int, str] | None = None
        self.is_connected = True
        self.stalled = False
        self.answers_pings = True
        self._buffer = b""
        self._is_open = False
        self._has_said_close = False
        self._transport = _MemoryTransport(self, protocol)
        self._transport.deliver(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: " + SUBPROTOCOL.encode("ascii") + b"\r\n\r\n"
        )

    def send(self, message: str | bytes) -> None:
        """Send a message: str as text, bytes as a binary one."""
        if isinstance(message, str):
            self._transport.deliver(_masked(_TEXT, message.encode("utf-8")))
        else:
            self._transport.deliver(_masked(_BINARY, message))

    def close(self, code: int = 1000) -> None:
        """Leave, with the closing handshake."""
        self._has_said_close = True
        self._transport.deliver(_masked(_CLOSE, code.to_bytes(2, "big")))

    def vanish(self) -> None:
        """Be gone, without a word."""
        self._transport.lose(ConnectionDone())

    def read_on(self) -> None:
        """Read again after `stalled`."""
        self.stalled = False
        self._transport.resume()

    def _take(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            head, found, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            self._is_open = True
        frames, self._buffer = split(self._buffer)
        for frame in frames:
            self._hear(frame[0] & 15, payload_of(frame))

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self.received.append(payload.decode("utf-8"))
        elif opcode == _BINARY:
            self.received.append(payload)
        elif opcode == _PING and self.answers_pings:
            self._transport.deliver(_masked(_PONG, payload))
        elif opcode == _CLOSE:
            self.closed = (int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8"))
            if self.answers_pings and not self._has_said_close:
                self._transport.deliver(_masked(_CLOSE, payload[:2]))
