"""Members that know nothing of mles_tx and never wait for one socket: many of them in one thread."""

import os
import re
import select
import selectors
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self

from tests.integration.clients import BINARY, CLOSE, PING, PONG, TEXT, frame, join_frame

from .target import Target

__all__ = ["PATIENCE", "Crowd", "NoAnswer", "Peer", "fresh_name", "history_of", "status_of"]

#: Seconds for what has no promise of its own.
PATIENCE = 20.0


class NoAnswer(Exception):
    """A server did not do what every Mles server does; the text says what."""


def fresh_name(what: str) -> str:
    """A name nobody else has, also on a server that others use."""
    return f"{what}-{os.urandom(4).hex()}"


class Peer:
    """A WebSocket connection to a server, and a member if it has a uid. Pings are answered when frames are read.

    Args:
        target: the server.
        uid: its name; None: it says nothing yet.
        channel: its channel.
        receive_buffer: bytes the kernel is to hold for it; None: as many as it likes.
        settle: whether to wait until it is in; else nothing is read, not even the answer to the upgrade.
        header: more keys of the first frame.

    Attributes:
        close: code and reason of the server's close frame, once it is there.
        is_over: whether the connection has ended.
        pings: how many it was sent.
        on_frame: called for each text and binary frame that is read; None: they are returned by `frames`.

    Raises:
        NoAnswer: it is refused, or not answered.
    """

    def __init__(
        self,
        target: Target,
        uid: str | None = None,
        channel: str = "torture",
        *,
        receive_buffer: int | None = None,
        source: str | None = None,
        settle: bool = True,
        **header: Any,
    ) -> None:
        self.close: tuple[int, str] | None = None
        self.is_over = False
        self.on_frame: Callable[[int, bytes], None] | None = None
        self._data = bytearray()
        self._found: list[tuple[int, bytes]] = []
        self.pings = self._pongs = 0
        self.socket = target.connect(receive_buffer, source)
        try:
            opening = _upgrade(target)
            if uid is not None:
                opening += frame(TEXT, join_frame(uid, channel, **header).encode()) + frame(PING, b"in")
            self.socket.sendall(opening)
            self.socket.setblocking(False)
            if settle:
                self._upgraded()
                if uid is not None:
                    self._joined()
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def fileno(self) -> int:
        return self.socket.fileno()

    def _upgraded(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while (end := self._data.find(b"\r\n\r\n")) < 0:
            if self.is_over or not self._await(deadline):
                raise NoAnswer(f"no answer to an upgrade: {bytes(self._data[:200])!r}")
            self._receive()
        if not self._data.startswith(b"HTTP/1.1 101 "):
            raise NoAnswer(f"an upgrade is answered with {bytes(self._data[:end]).decode('latin-1').splitlines()[0]}")
        del self._data[: end + 4]
        self._keep()

    def _joined(self) -> None:
        # What comes of a history before the answer is kept for `frames`.
        if not self.settle():
            raise NoAnswer(f"a join is not answered, but {self.close or 'cut'}")

    def settle(self, seconds: float = PATIENCE) -> bool:
        """Wait until an answer to a ping has come, whatever comes before; False when it does not, or cannot.

        The first call answers for the ping behind the first frame, each other one sends its own.
        """
        if self._pongs > 0:
            try:
                self.send(frame(PING, b"in"))
            except OSError:
                return False
        wanted = self._pongs + 1
        deadline = time.monotonic() + seconds
        while self._pongs < wanted:
            if self.is_over or not self._await(deadline):
                return False
            self._keep()
        return True

    def _await(self, deadline: float) -> bool:
        return _ready(self.socket, select.POLLIN, max(0.0, deadline - time.monotonic()))

    def _receive(self) -> int:
        """Read what there is; how many bytes."""
        size = 0
        while not self.is_over and (size < 1 << 20 or self._is_pending()):
            try:
                data = self.socket.recv(1 << 18)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except OSError:  # a reset, or an end within TLS
                self.is_over = True
                break
            self.is_over = not data
            size += len(data)
            self._data += data
        return size

    def _is_pending(self) -> bool:
        """Whether TLS has something that the socket does not show any more."""
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0

    def _keep(self) -> None:
        self._receive()
        found: list[tuple[int, bytes]] = []
        data, at = self._data, 0
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                if len(data) < start + 2:
                    break
                size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            elif size == 127:
                if len(data) < start + 8:
                    break
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            if len(data) < start + size:
                break
            found.append((data[at] & 15, bytes(data[start : start + size])))
            at = start + size
        del data[:at]
        for opcode, payload in found:
            self._take(opcode, payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode in (TEXT, BINARY):
            if self.on_frame is not None:
                self.on_frame(opcode, payload)
            else:
                self._found.append((opcode, payload))
        elif opcode == PING:
            self.pings += 1
            with suppress(OSError):
                self.send(frame(PONG, payload))
        elif opcode == PONG:
            self._pongs += 1
        elif opcode == CLOSE:
            self.close = int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
            with suppress(OSError):
                self.send(frame(CLOSE, payload[:2]))

    def take_found(self) -> list[tuple[int, bytes]]:
        """The text and binary frames that were read already."""
        found, self._found = self._found, []
        return found

    def frames(self) -> list[tuple[int, bytes]]:
        """The text and binary frames that have come, with their opcodes; nothing is waited for."""
        if not self.is_over:
            self._keep()
        return self.take_found()

    def receive(self, seconds: float = PATIENCE) -> bytes | None:
        """Wait for the next message; None when none comes."""
        deadline = time.monotonic() + seconds
        while not self._found:
            if self.is_over or not self._await(deadline):
                return None
            self._keep()
        return self._found.pop(0)[1]

    def send(self, data: bytes, seconds: float = PATIENCE) -> None:
        """Send bytes as they are.

        Raises:
            OSError: the connection has ended, or nothing was taken for so long.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                if not _ready(self.socket, select.POLLOUT, seconds):
                    raise TimeoutError("the server takes nothing") from None
            except ssl.SSLWantReadError:
                _ready(self.socket, select.POLLIN, seconds)

    def say(self, payload: bytes, opcode: int = BINARY) -> None:
        """Publish a message."""
        self.send(frame(opcode, payload))

    def ended(self, seconds: float = PATIENCE) -> bool:
        """Wait for the end; whether it has come."""
        deadline = time.monotonic() + seconds
        while not self.is_over:
            if not self._await(deadline):
                return False
            self._keep()
        return True

    def begun(self, seconds: float = PATIENCE) -> bool:
        """Wait until the server has sent something, without reading it; whether it has."""
        return _ready(self.socket, select.POLLIN, seconds)

    def hung_up(self, seconds: float) -> bool:
        """Wait for the server's end of the connection without reading what comes before it; whether it has come."""
        return _ready(self.socket, select.POLLRDHUP, seconds)

    def leave(self) -> None:
        """Close, and wait a little for the server's answer."""
        with suppress(OSError):
            self.send(frame(CLOSE, (1000).to_bytes(2, "big")))
            self.ended(2)
        self.socket.close()

    def drop(self) -> None:
        """Vanish: the server gets a reset instead of an end."""
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def history_of(target: Target, channel: str, limit: int | None = None) -> list[bytes]:
    """The messages of a channel's history, as a newcomer gets them; no join frames.

    Raises:
        NoAnswer: it is not known whether that is all of it.
    """
    end = fresh_name("end").encode()
    header: dict[str, Any] = {} if limit is None else {"history": limit}
    with (
        Peer(target, fresh_name("newcomer"), channel, **header) as newcomer,
        Peer(target, fresh_name("last"), channel, receive=False, history=0) as last,
    ):
        last.say(end)  # what a newcomer gets live follows its history
        found = []
        while (payload := newcomer.receive()) != end:
            if payload is None:
                raise NoAnswer(f"what is said after a history does not come, but {newcomer.close or 'nothing'}")
            found.append(payload)
    return [payload for payload in found if not payload.startswith(b'{"')]


def status_of(answer: bytes) -> int:
    """The status of an HTTP answer; 0: there is none, or not as far as that."""
    line = re.match(rb"HTTP/1\.\d (\d{3})[ \r]", answer)
    return int(line[1]) if line else 0


def _upgrade(target: Target) -> bytes:
    return (
        f"GET / HTTP/1.1\r\nHost: {target.host}:{target.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Protocol: mles-websocket\r\n\r\n"
    ).encode("latin-1")


def _ready(sock: socket.socket, event: int, seconds: float) -> bool:
    """Wait for an event on a socket."""
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(seconds * 1000))


class Crowd:
    """Peers whose frames are read as they come."""

    def __init__(self, peers: Iterable[Peer] = ()) -> None:
        self._selector = selectors.DefaultSelector()
        for peer in peers:
            self.add(peer)

    def add(self, peer: Peer) -> None:
        """One more."""
        self._selector.register(peer, selectors.EVENT_READ, peer)

    def remove(self, peer: Peer) -> None:
        """One less; any number of times."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(peer)

    def run(self, until: Callable[[], bool], seconds: float) -> bool:
        """Read until something holds; False when it does not within so long."""
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self._selector.select(min(left, 0.1)):
                peer: Peer = key.data
                peer._keep()
                if peer.is_over:
                    self._selector.unregister(peer)
        return True

    def forget(self) -> None:
        """Read nothing more."""
        self._selector.close()
