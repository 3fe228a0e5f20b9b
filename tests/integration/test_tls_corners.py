"""TLS on the socket where it is driven into corners: changes of keys, and a handshake that cannot be written."""

import shutil
import socket
from typing import Any
from unittest import skipUnless

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from zope.interface import implementer

from mles_tx.transport.contexts import ICertificates, make_context
from mles_tx.transport.port import ListeningPort, bind
from tests.transport.certificates.making import make

from .stream_peers import KeyedPeer, TLSPeer
from .test_transports import socket_tls_port
from .transport_rig import HalfCloser, Talker, TransportTestCase, pattern


class KeyUpdateTests(TransportTestCase):
    """Peers that change their keys in the middle of a connection (RFC 8446 section 4.6.3)."""

    is_secure = True

    def make_port(self, factory: Factory) -> Port:
        return socket_tls_port(factory)

    def make_peer(self, port: int) -> KeyedPeer:
        return KeyedPeer(reactor, port)

    async def test_key_update(self) -> None:
        """New keys are used, and made when they are asked for."""
        peer, talker = await self.connect(on_data=lambda talker, data: talker.transport.write(data))
        peer.start_records()
        for requested in (False, True, True):
            peer.put(peer.key_update(requested) + peer.record(b"hello", 23))
            self.assertEqual(await peer.receive(5), b"hello")
        await self.assert_quiet(talker)

    async def test_key_update_while_stalled(self) -> None:
        """New keys that are asked for while a lot waits do not spoil it."""
        peer, talker = await self.connect()
        written = await self.stall(peer, talker)
        peer.start_records()
        for _ in range(5):
            peer.put(peer.key_update(True))
            await self.assert_quiet(talker)
        peer.put(peer.record(b"hello", 23))
        await self.until(lambda: talker.received == b"hello")
        talker.transport.write(b"the last")
        self.assertTrue(await peer.receive(len(written) + 8) == written + b"the last")

    async def test_key_update_after_half_close(self) -> None:
        """They may also come after our half of the connection has ended."""
        peer, talker = await self.connect(HalfCloser)
        talker.transport.loseWriteConnection()
        await peer.receive_finish()
        peer.start_records()
        peer.put(peer.key_update() + peer.record(b"hello", 23))
        await self.until(lambda: talker.received == b"hello" or talker.is_lost)
        self.assertEqual((talker.received, talker.reasons), (b"hello", []))

    async def test_flood(self) -> None:
        """Endless new keys are handled in pieces, so that they do not hold up the others."""
        peer, talker = await self.connect()
        talker.transport.pauseProducing()
        peer.start_records()
        flood = b"".join(peer.key_update() for _ in range(3000))
        await peer.put_all(flood + peer.record(b"done", 23))
        before = self.raw(talker).calls
        talker.transport.resumeProducing()
        await self.until(lambda: talker.received == b"done" or talker.is_lost)
        self.assertGreater(self.raw(talker).calls - before, 3000 // 64)


@implementer(ICertificates)
class _LargeCertificates:
    """One certificate, of about 60 KB."""

    def __init__(self) -> None:
        made = make(*(f"host-{number}.example" for number in range(3000)))
        key: Any = made.key
        self._context = make_context([made.certificate], key)

    def context_for(self, server_name: str | None) -> SSL.Context:
        return self._context


class SmallBufferTests(TransportTestCase):
    """A server's part of the handshake that does not fit into the socket."""

    is_secure = True

    def make_port(self, factory: Factory) -> Port:
        (listening,) = bind(("127.0.0.1",), 0)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # those that are accepted inherit it
        return ListeningPort(listening, factory, reactor, certificates=_LargeCertificates())

    def make_peer(self, port: int) -> TLSPeer:
        return TLSPeer(reactor, port, receive_buffer=4096)

    async def test_slow_peer(self) -> None:
        """A peer that does not read its part of the handshake is waited for in peace, and then served."""
        peer, talker = await self.dial(on_data=lambda talker, data: talker.transport.write(data))
        peer.put(peer.hello())
        await self.assert_quiet(talker)
        await peer.handshake()
        peer.say(b"hello")
        self.assertEqual(await peer.receive(5), b"hello")

    async def test_peer_talks_meanwhile(self) -> None:
        """So is one that goes on talking meanwhile, as it may (RFC 8446 section 5)."""
        peer, talker = await self.dial(on_data=lambda talker, data: talker.transport.write(data))
        peer.put(peer.hello())
        await self.assert_quiet(talker)
        peer.put(b"\x14\x03\x03\0\x01\x01")
        await self.assert_quiet(talker)
        await peer.handshake()
        peer.say(b"hello")
        self.assertEqual(await peer.receive(5), b"hello")


class _Client(ProcessProtocol):
    """The client of the `openssl` command."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self.output = b""
        self.has_enough: Deferred[None] = Deferred()
        self.has_ended: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:  # noqa: N802
        self.output += data
        if len(self.output) >= self._expected and not self.has_enough.called:
            self.has_enough.callback(None)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802
        self.has_ended.callback(None)
        if not self.has_enough.called:
            self.has_enough.callback(None)


@skipUnless(shutil.which("openssl"), "there is no openssl command")
class SmallRecordTests(TransportTestCase):
    """A client that asks for small records (RFC 6066 section 4), as small devices do."""

    is_secure = True

    def make_port(self, factory: Factory) -> Port:
        return socket_tls_port(factory)

    async def test_small_records(self) -> None:
        """What does not fit into one record of the client's arrives all the same, and in order."""
        pieces = [pattern(size) for size in (1, 511, 512, 513, 2000, 16_384, 16_385, 200_000)]

        def speak(talker: Talker, data: bytes) -> None:
            for piece in pieces:
                talker.transport.write(piece)

        self.prepare = lambda talker: setattr(talker, "on_data", speak)
        whole = b"".join(pieces)
        client = _Client(len(whole))
        command = ["openssl", "s_client", "-quiet", "-maxfraglen", "512", "-connect", f"127.0.0.1:{self.number}"]
        running = self.reactor.spawnProcess(client, shutil.which("openssl"), command, env={})
        # It is asked to say something by a line that is typed into it.
        running.write(b"go on\n")
        giving_up = self.reactor.callLater(10, running.signalProcess, "KILL")
        await client.has_enough
        if giving_up.active():
            giving_up.cancel()
            running.signalProcess("KILL")
        await client.has_ended
        self.assertEqual(len(client.output), len(whole))
        self.assertTrue(client.output == whole)
