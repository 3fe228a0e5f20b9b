"""Clients that know nothing of mles_tx: the `websocat` program, the `websockets` library, and bare sockets."""

import asyncio
import atexit
import base64
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Protocol, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from .processes import WAIT, Process

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Answer",
    "Member",
    "RawClient",
    "Reachable",
    "Websocat",
    "frame",
    "join_frame",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def join_frame(uid: str, channel: str, **more: object) -> str:
    """The text of a first frame, written as real clients write it."""
    return json.dumps({"uid": uid, "channel": channel, **more}, separators=(",", ":"))


T = TypeVar("T")


class _LoopThread:
    """An event loop of asyncio in a thread, so that tests may wait for it.

    The synchronous client of `websockets` would do without, but it reads and writes in two threads: over TLS it now
    and then loses what it writes while it reads (Python 3.11).
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    def run(self, coroutine: Awaitable[T], seconds: float = WAIT) -> T:
        """Wait for a result, for so long."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, seconds), self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()


_loop_thread = cache(_LoopThread)


class Reachable(Protocol):
    """A server, or a way to one."""

    @property
    def url(self) -> str:
        """Where it is for WebSocket."""

    @property
    def port(self) -> int:
        """Its port."""

    def dial(self, receive_buffer: int | None = None) -> socket.socket:
        """A TCP connection to it."""

    def trust(self) -> ssl.SSLContext | None:
        """A TLS context that trusts its certificate; None: it speaks none."""


class Member:
    """A client that uses the `websockets` library.

    Args:
        server: whom to connect to; over TLS when it speaks that.
    """

    def __init__(self, server: Reachable) -> None:
        self._run = _loop_thread().run

        async def dial() -> ClientConnection:
            return await connect(
                server.url,
                sock=server.dial(),
                ssl=server.trust(),
                subprotocols=[Subprotocol("mles-websocket")],
                max_size=None,
                open_timeout=WAIT,
                close_timeout=WAIT,
            )

        self.connection = self._run(dial())

    def settle(self) -> None:
        """Wait until the server has handled what was sent so far."""

        async def ping() -> None:
            await (await self.connection.ping())

        self._run(ping())

    def send(self, message: str | bytes) -> None:
        """Publish text or bytes."""
        self._run(self.connection.send(message))

    def receive(self, seconds: float = WAIT) -> str | bytes:
        """The next message, with its type."""
        return self._run(self.connection.recv(), seconds)

    def receive_some(self, number: int) -> list[str | bytes]:
        """The next messages."""
        return [self.receive() for _ in range(number)]

    def closed(self) -> tuple[int, str]:
        """Wait for the end; the server's close code and reason. Messages that come before are passed over."""
        try:
            while True:
                self.receive()
        except ConnectionClosed as error:
            if error.rcvd is None:
                raise AssertionError("the connection ended without a close frame") from error
            return error.rcvd.code, error.rcvd.reason

    def leave(self) -> None:
        """Close, and wait for the server's answer; any number of times."""
        self._run(self.connection.close())


class Websocat(Process):
    """The `websocat` program, with its messages as lines. It goes on as long as its input."""

    #: So that types are seen: a text has a T before it, bytes a B, and are in base64.
    TYPED = ("--text-prefix", "T", "--binary-prefix", "B", "--base64")

    def send(self, message: str | bytes) -> None:
        """Publish text or bytes; needs `TYPED`."""
        self.write_line("T" + message if isinstance(message, str) else "B" + base64.b64encode(message).decode("ascii"))

    def receive(self) -> str | bytes:
        """The next message, with its type; needs `TYPED`."""
        line = self.read_line()
        return base64.b64decode(line[1:], validate=True) if line.startswith("B") else line.removeprefix("T")

    def leave(self) -> None:
        """Close, and wait for the program's end."""
        self.end_input()
        self.wait()


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    masked: bool = True,
    announced: int | None = None,
) -> bytes:
    """A client's frame (RFC 6455 section 5.2). The mask is all zeros, which is allowed and leaves the payload as it is.

    Args:
        opcode: with the reserved bits, if any are to be set.
        payload: its payload.
        final: whether the message ends here.
        masked: clients have to; a wrong one does not.
        announced: the length the header is to name, when it is not the payload's.
    """
    size = len(payload) if announced is None else announced
    bit = 0x80 if masked else 0
    if size < 126:
        length = bytes((bit | size,))
    elif size < 65536:
        length = struct.pack("!BH", bit | 126, size)
    else:
        length = struct.pack("!BQ", bit | 127, size)
    return bytes(((0x80 if final else 0) | opcode,)) + length + (bytes(4) if masked else b"") + payload


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: its status, its head as it came, and its body."""

    status: int
    head: str
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header field."""
        match = re.search(rf"^{name}:[ \t]*(.*?)\r$", self.head, re.MULTILINE | re.IGNORECASE)
        return None if match is None else match[1]


class RawClient:
    """A bare connection: it says what it is told to, true or not, and answers nothing by itself.

    Args:
        server: whom to connect to; over TLS when it speaks that.
        receive_buffer: bytes the kernel is to hold for it; None: as many as it likes.
    """

    def __init__(self, server: Reachable, receive_buffer: int | None = None) -> None:
        self._host = f"localhost:{server.port}"
        dialed = server.dial(receive_buffer)
        trust = server.trust()
        try:
            self.socket = dialed if trust is None else trust.wrap_socket(dialed, server_hostname="localhost")
        except BaseException:
            dialed.close()
            raise
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket, without a word."""
        self._stream.close()
        self.socket.close()

    def reset(self) -> None:
        """Vanish: the server gets a reset instead of an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def request(self, method: str = "GET", path: str = "/", host: str | None = None, body: bytes = b"") -> Answer:
        """Send a request and read its answer; the connection is kept."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{method} {path} HTTP/1.1\r\nHost: {host or self._host}\r\n{length}\r\n".encode("latin-1") + body)
        return self.read_answer(has_body=method != "HEAD")

    def read_answer(self, has_body: bool = True) -> Answer:
        """Read one HTTP answer."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._stream.readline()
            if not line:
                raise AssertionError(f"the connection ended in the middle of an answer: {head!r}")
            head += line
        answer = Answer(int(head.split(None, 2)[1]), head.decode("latin-1"), b"")
        length = answer.header("Content-Length")
        body = self._stream.read(int(length)) if has_body and length is not None else b""
        return Answer(answer.status, answer.head, body)

    def upgrade(self, *lines: str, subprotocol: str | None = "mles-websocket", path: str = "/") -> Answer:
        """Ask for WebSocket.

        Args:
            lines: more header lines.
            subprotocol: what the request offers; None: nothing.
            path: where.
        """
        self.send(self.upgrade_request(*lines, subprotocol=subprotocol, path=path))
        return self.read_answer()

    def upgrade_request(self, *lines: str, subprotocol: str | None = "mles-websocket", path: str = "/") -> bytes:
        """The head that asks for WebSocket."""
        head = [
            f"GET {path} HTTP/1.1",
            f"Host: {self._host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *([] if subprotocol is None else [f"Sec-WebSocket-Protocol: {subprotocol}"]),
            *lines,
        ]
        return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")

    def read_frame(self) -> tuple[int, bytes]:
        """The next frame of the server: its opcode and payload."""
        head = self._read(2)
        size = head[1]
        if size == 126:
            size = int.from_bytes(self._read(2), "big")
        elif size == 127:
            size = int.from_bytes(self._read(8), "big")
        return head[0] & 15, self._read(size)

    def read_close(self) -> tuple[int, str]:
        """The code and reason of the server's close frame; what comes before it is passed over."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8")

    def read_some(self) -> bytes:
        """What there is, at least a byte; nothing when the server has ended the connection."""
        return self._stream.read1(65536)

    def read_to_end(self) -> None:
        """Read on until the server has ended the connection, in whatever way."""
        with suppress(ConnectionError, ssl.SSLError):
            while self.read_some():
                pass

    def answer_close(self) -> None:
        """Answer the server's close frame, wait until the server has ended the connection, and do the same."""
        with suppress(OSError):
            self.send(frame(CLOSE))
        self.read_to_end()
        self.close()

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise ConnectionResetError("the server has ended the connection")
        return data
