"""What stands on a connection before everything else: a line read exactly, and a look without taking."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port

from mles_tx.transport.contexts import make_context
from mles_tx.transport.port import ListeningPort, bind
from mles_tx.transport.tcp import PrefaceError, TCPServer
from tests.transport.certificates.making import make

from .prefaced import PrefacedContract
from .stream_peers import End, Peer, TLSPeer
from .test_transports import Certificates
from .transport_rig import TransportTestCase

LINE = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"

#: Bytes of the longest line of version 1 of the PROXY protocol.
MAX_LINE_BYTES = 107


def read_proxy_line(transport: Any) -> bool:
    """Take a PROXY line (version 1), and not a byte of what stands behind it; whose connection it is stands in it."""
    seen = transport.socket.recv(MAX_LINE_BYTES, socket.MSG_PEEK)
    if not seen or not LINE.startswith(seen[:6]):
        raise PrefaceError
    line, found, _ = seen.partition(b"\r\n")
    if not found:
        if len(seen) in (transport.seen_bytes, MAX_LINE_BYTES):
            raise PrefaceError  # announced again without having grown: nothing more will come; or there is no end to it
        transport.seen_bytes = len(seen)
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(seen) + 1)
        return False
    transport.socket.recv(len(line) + 2)
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    _, family, host, _, port, _ = line.split(b" ")
    if family != b"TCP4":
        raise PrefaceError
    transport.comes_from(host.decode(), int(port))
    return True


def look(transport: Any) -> bool:
    """Look at the first five bytes, and take none of them."""
    seen = transport.socket.recv(5, socket.MSG_PEEK)
    if len(seen) < 5:
        if len(seen) == transport.seen_bytes:
            raise PrefaceError  # announced again, but nothing has come: nothing will
        transport.seen_bytes = len(seen)
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 5)
        return False
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return True


class PrefaceContract(PrefacedContract):
    """What holds with and without TLS behind the preface."""

    opening = LINE

    def _preface(self, transport: TCPServer) -> bool:
        self.calls += 1
        known: Any = transport
        known.seen_bytes = getattr(known, "seen_bytes", 0)
        return self.read(known)

    def make_port(self, factory: Factory) -> Port:
        self.calls = 0
        self.read: Callable[[Any], bool] = read_proxy_line
        (listening,) = bind(("127.0.0.1",), 0)
        certificates = Certificates() if self.is_secure else None
        return ListeningPort(listening, factory, reactor, certificates=certificates, preface=self._preface)

    async def test_at_once(self) -> None:
        """The line and what stands behind it may come together: each gets its own."""
        peer, talker = await self.meet()
        peer.put(LINE + self.first_bytes(peer))
        await self.talk(peer, talker)
        self.assertEqual(talker.transport.getPeer(), IPv4Address("TCP", "192.0.2.7", 4711))
        self.assertEqual(self.calls, 1)

    async def test_separately(self) -> None:
        """They may come one after the other."""
        peer, talker = await self.meet()
        peer.put(LINE)
        await self.assert_quiet(talker)
        self.assertEqual((talker.events, talker.received), (["made"], b""))
        peer.put(self.first_bytes(peer))
        await self.talk(peer, talker)

    async def test_byte_by_byte(self) -> None:
        """They may come a byte at a time: the reactor is called for each, and not between them."""
        peer, talker = await self.meet()
        for byte in LINE:
            peer.put(bytes((byte,)))
            await self.assert_quiet(talker)
        self.assertLessEqual(self.calls, len(LINE))
        for byte in self.first_bytes(peer):
            peer.put(bytes((byte,)))
            await self.turns(2)
        await self.talk(peer, talker)

    async def test_look(self) -> None:
        """What is looked at and not taken arrives, also when it comes in pieces."""
        for cut in (0, 1, 4, 5):
            peer, talker = await self.meet()
            self.read = look
            first = self.first_bytes(peer)
            if cut:
                peer.put(first[:cut])
                await self.assert_quiet(talker)
            peer.put(first[cut:])
            await self.talk(peer, talker)

    async def test_refused(self) -> None:
        """A connection that does not begin as it has to is closed without a word."""
        for wrong in (b"HELLO\r\n", b"P", LINE.replace(b"TCP4", b"TCP6"), b"PROXY " + b"x" * 200):
            peer, talker = await self.meet()
            peer.put(wrong)
            if wrong == b"P":
                await self.assert_quiet(talker)
                peer.put(b"q" * 10)
            await self.lost(talker, ConnectionLost)
            data, end = await peer.receive_rest()
            self.assertEqual(data, b"")
            self.assertIn(end, (End.CLEAN if not self.is_secure else End.CUT, End.RESET))
            self.assertEqual(talker.events, ["made", "lost"])

    async def test_ends_within(self) -> None:
        """A peer may vanish in the middle of it, or before it."""
        for said in (0, 1, 20, len(LINE) - 1):
            for vanish in ("fin", "reset", "close"):
                peer, talker = await self.meet()
                if said:
                    peer.put(LINE[:said])
                    await self.turns(3)
                getattr(peer, vanish)()
                await self.lost(talker, ConnectionLost)
                self.assertEqual(talker.received, b"")

    async def test_ends_within_look(self) -> None:
        """A peer may vanish when a part of what has to be seen is there."""
        self.read = look
        peer, talker = await self.meet()
        peer.put(b"abc")
        await self.assert_quiet(talker)
        peer.fin()
        await self.lost(talker, ConnectionLost)

    async def test_abort_within(self) -> None:
        """A connection that is aborted while it waits for the rest of the line is, whatever comes then."""
        peer, talker = await self.meet()
        peer.put(LINE[:10])
        await self.turns(3)
        talker.transport.abortConnection()
        peer.put(LINE[10:])
        await self.gone(talker)
        self.assertEqual((talker.received, talker.events), (b"", ["made", "lost"]))

    async def test_preface_aborts(self) -> None:
        """The preface may abort the connection itself; nothing behind it is read."""

        def abort(transport: Any) -> bool:
            transport.abortConnection()
            return True

        peer, talker = await self.meet()
        self.read = abort
        peer.put(b"hello")
        await self.gone(talker)
        self.assertEqual((talker.received, talker.events), (b"", ["made", "lost"]))

    async def test_preface_closes(self) -> None:
        """So may it close the connection."""

        def close(transport: Any) -> bool:
            transport.loseConnection()
            return True

        peer, talker = await self.meet()
        self.read = close
        peer.put(b"hello")
        await self.gone(talker)
        self.assertEqual((talker.received, talker.events), (b"", ["made", "lost"]))

    async def test_fault(self) -> None:
        """A preface that fails loses the connection, and the fault is logged."""

        def fail(transport: Any) -> bool:
            raise ValueError("made for this test")

        peer, talker = await self.meet()
        self.read = fail
        peer.put(b"hello")
        await self.lost(talker, ValueError)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_paused(self) -> None:
        """A protocol that does not read yet holds up the preface too."""
        self.prepare = lambda talker: setattr(talker, "on_made", lambda talker: talker.transport.pauseProducing())
        peer, talker = await self.meet()
        peer.put(LINE + self.first_bytes(peer))
        await self.assert_quiet(talker)
        self.assertEqual(self.calls, 0)
        talker.transport.resumeProducing()
        await self.talk(peer, talker)


class TCPPrefaceTests(PrefaceContract, TransportTestCase):
    """A preface before plain TCP."""

    def make_peer(self, port: int) -> Peer:
        return Peer(reactor, port)

    async def test_write_before(self) -> None:
        """What the protocol writes waits for no preface."""
        self.prepare = lambda talker: setattr(talker, "on_made", lambda talker: talker.transport.write(b"welcome"))
        peer, _ = await self.meet()
        self.assertEqual(await peer.receive(7), b"welcome")


class TLSPrefaceTests(PrefaceContract, TransportTestCase):
    """A preface before TLS."""

    is_secure = True

    def make_peer(self, port: int) -> TLSPeer:
        return TLSPeer(reactor, port)

    async def test_context(self) -> None:
        """A preface that has found out who is asked for says what the peer is shown."""
        made = make("other.example")
        key: Any = made.key
        context = make_context([made.certificate], key)

        def choose(transport: Any) -> bool:
            transport.context = context
            return look(transport)

        peer, talker = await self.meet()
        self.read = choose
        peer.put(peer.hello())
        await self.talk(peer, talker)
        shown = peer.tls.get_peer_certificate(as_cryptography=True)
        self.assertEqual(shown, made.certificate)
