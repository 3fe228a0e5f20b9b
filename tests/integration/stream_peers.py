"""Peers of a stream transport that do as the test says: they read when told to, and send bytes cut anywhere."""

import socket
import struct
from enum import Enum, auto
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["End", "KeyedPeer", "Peer", "TLSPeer", "reset"]

_CHUNK_BYTES = 1 << 18

#: What a peer's system takes in for it, roughly: a few segments of the loopback device, and little enough that a
#: server finds the limit of a peer that does not read.
RECEIVE_BUFFER_BYTES = 1 << 18


class End(Enum):
    """How a peer finds its connection ended."""

    CLEAN = auto()  #: the end of the stream, behind a close_notify where TLS is spoken
    CUT = auto()  #: the end of the stream without the close_notify
    RESET = auto()


def reset(client: socket.socket) -> None:
    """Close a socket in such a way that the other end is reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@implementer(IReadDescriptor, IWriteDescriptor)
class Peer:
    """A client that speaks plain TCP.

    Args:
        reactor: tells it when its socket is ready, and only while it waits for that.
        port: where it connects to, on the loopback address.
        receive_buffer: bytes that its system takes in for it, roughly.
    """

    def __init__(self, reactor: Any, port: int, receive_buffer: int = RECEIVE_BUFFER_BYTES) -> None:
        self._reactor = reactor
        self._reading: Deferred[None] | None = None
        self._writing: Deferred[None] | None = None
        self.inbox = bytearray()
        self.is_reset = False
        self.is_eof = False
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.address: tuple[str, int] = self.socket.getsockname()

    # -- sending

    async def handshake(self) -> None:
        """Say what has to be said before the first byte: nothing."""

    def encrypt(self, data: bytes) -> bytes:
        """The bytes that say this on the wire."""
        return data

    def put(self, wire: bytes) -> None:
        """Put bytes on the wire as they are; so few that the kernel takes them."""
        assert self.socket.send(wire) == len(wire)

    def say(self, data: bytes) -> None:
        """Send a little."""
        self.put(self.encrypt(data))

    async def say_all(self, data: bytes) -> None:
        """Send a lot."""
        await self.put_all(self.encrypt(data))

    async def put_all(self, wire: bytes) -> None:
        """Put a lot of bytes on the wire as they are."""
        view = memoryview(wire)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                await self._writable()

    def finish(self) -> None:
        """Say that nothing more will be said."""
        self.socket.shutdown(socket.SHUT_WR)

    def fin(self) -> None:
        """The end of the TCP stream, whatever layers above it think."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanish, with a reset."""
        self._forget()
        reset(self.socket)

    def close(self) -> None:
        """Close the socket."""
        self._forget()
        self.socket.close()

    # -- receiving

    async def receive(self, size: int) -> bytes:
        """So many bytes; what else has come stays.

        Raises:
            AssertionError: the connection ended before.
        """
        while len(self.inbox) < size:
            assert not self.is_over, f"{len(self.inbox)} of {size} bytes, then {self.end}"
            await self._fill()
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        return data

    async def receive_rest(self) -> tuple[bytes, End]:
        """All that comes, and how it ends."""
        while not (self.is_eof or self.is_reset):
            await self._fill()
        return self._take_all(), self.end

    async def receive_finish(self) -> bytes:
        """All that comes until the other end says that nothing more will be said; it may go on listening."""
        while not self.is_over:
            await self._fill()
        assert self.end is End.CLEAN, self.end
        return self._take_all()

    def _take_all(self) -> bytes:
        data, self.inbox = bytes(self.inbox), bytearray()
        return data

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come."""
        return self.is_eof or self.is_reset

    @property
    def end(self) -> End:
        """How it ended."""
        return End.RESET if self.is_reset else End.CLEAN

    async def _fill(self) -> None:
        await self._readable()
        try:
            wire = self.socket.recv(_CHUNK_BYTES)
        except OSError:
            self.is_reset = True
            return
        if wire:
            self._take(wire)
        else:
            self.is_eof = True

    def _take(self, wire: bytes) -> None:
        self.inbox += wire

    # -- the reactor

    def _readable(self) -> Deferred[None]:
        self._reading = Deferred()
        self._reactor.addReader(self)
        return self._reading

    def _writable(self) -> Deferred[None]:
        self._writing = Deferred()
        self._reactor.addWriter(self)
        return self._writing

    def _forget(self) -> None:
        if self.socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)

    def fileno(self) -> int:
        return self.socket.fileno()

    def doRead(self) -> None:
        self._reactor.removeReader(self)
        reading, self._reading = self._reading, None
        if reading is not None and not reading.called:
            reading.callback(None)

    def doWrite(self) -> None:
        self._reactor.removeWriter(self)
        writing, self._writing = self._writing, None
        if writing is not None and not writing.called:
            writing.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        self.doRead()
        self.doWrite()

    def logPrefix(self) -> str:  # noqa: N802
        return "peer"


class TLSPeer(Peer):
    """A client that speaks TLS in memory, and leaves the wire to the test.

    Args:
        version: the only version it speaks, as `OpenSSL.SSL` names it.
        offers: the application protocols it offers.
    """

    def __init__(
        self,
        reactor: Any,
        port: int,
        version: int = SSL.TLS1_3_VERSION,
        offers: tuple[bytes, ...] = (),
        receive_buffer: int = RECEIVE_BUFFER_BYTES,
    ) -> None:
        super().__init__(reactor, port, receive_buffer)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_keylog_callback(self._keep_secret)
        self.secrets: dict[str, bytes] = {}
        if offers:
            context.set_alpn_protos(list(offers))
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self.is_notified = False  #: a close_notify has come
        self.is_shaking = True

    def _keep_secret(self, connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.decode().split()
        self.secrets[label] = bytes.fromhex(secret)

    def hello(self) -> bytes:
        """The first message."""
        self._step()
        return self.drain()

    def _step(self) -> None:
        try:
            self.tls.do_handshake()
            self.is_shaking = False
        except SSL.WantReadError:
            pass

    async def handshake(self) -> None:
        """Shake hands, up to the last bytes this side has to say."""
        self.put(await self.answer())
        await self.finish_handshake()

    async def answer(self) -> bytes:
        """Say hello, unless that was said, and hear the other side; what is to be said to that."""
        self._step()
        wire = self.drain()
        if wire:
            self.put(wire)
        while not (wire := self.drain()):
            await self._fill()
            assert not self.is_over, f"the handshake ends with {self.end}"
        return wire

    async def finish_handshake(self) -> None:
        """Hear what the other side has to say to that; in TLS 1.3 that is nothing."""
        while self.is_shaking:
            await self._fill()
            assert not (self.is_shaking and self.is_over), f"the handshake ends with {self.end}"

    def drain(self) -> bytes:
        """What TLS has to say."""
        parts = []
        while True:
            try:
                parts.append(self.tls.bio_read(_CHUNK_BYTES))
            except SSL.WantReadError:
                return b"".join(parts)

    def encrypt(self, data: bytes) -> bytes:
        view = memoryview(data)
        while view:
            view = view[self.tls.send(view[:16384]) :]
        return self.drain()

    def goodbye(self) -> bytes:
        """A close_notify."""
        self.tls.shutdown()
        return self.drain()

    def finish(self) -> None:
        self.put(self.goodbye())

    @property
    def is_over(self) -> bool:
        return self.is_notified or super().is_over

    @property
    def end(self) -> End:
        if self.is_reset:
            return End.RESET
        return End.CLEAN if self.is_notified else End.CUT

    def _take(self, wire: bytes) -> None:
        self.tls.bio_write(wire)
        if self.is_shaking:
            self._step()
        if self.is_shaking:
            return
        try:
            while True:
                self.inbox += self.tls.recv(65536)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.is_notified = True


class KeyedPeer(TLSPeer):
    """A client that makes the records of TLS 1.3 itself: also those that no TLS library sends on its own."""

    def start_records(self) -> None:
        """From here on `record` is used, and nothing else that sends."""
        self._secret = self.secrets["CLIENT_TRAFFIC_SECRET_0"]
        self._is_384 = (self.tls.get_cipher_name() or "").endswith("SHA384")
        self._rekey()

    def record(self, content: bytes, kind: int) -> bytes:
        """One record (RFC 8446 section 5.2) with content of a kind: 22 a handshake message, 23 data, 21 an alert."""
        inner = content + bytes((kind,))
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (int.from_bytes(self._iv, "big") ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._aead.encrypt(nonce, inner, head)

    def key_update(self, requested: bool = False) -> bytes:
        """New keys for what this side sends (RFC 8446 section 4.6.3), and a request that the other side do the same."""
        made = self.record(b"\x18\0\0\x01" + bytes((requested,)), 22)
        self._secret = self._expand(b"traffic upd", len(self._secret))
        self._rekey()
        return made

    def _rekey(self) -> None:
        self._number = 0
        self._aead = AESGCM(self._expand(b"key", 32 if self._is_384 else 16))
        self._iv = self._expand(b"iv", 12)

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0"
        return HKDFExpand(hashes.SHA384() if self._is_384 else hashes.SHA256(), size, info).derive(self._secret)
