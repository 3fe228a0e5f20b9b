"""The stream transports on the real reactor: plain TCP, TLS on the socket, and Twisted's own TLS beside them."""

from functools import cache
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from mles_tx.transport.contexts import ICertificates, make_context
from mles_tx.transport.port import ListeningPort, bind
from tests.transport.certificates.making import make

from .stream_peers import End, TLSPeer
from .transport_closing import ClosingContract
from .transport_contract import ReadingContract, WritingContract
from .transport_ends import AbortContract, HalfCloseContract, VanishingContract
from .transport_rig import HalfCloser, Talker, TransportTestCase, pattern


@cache
def localhost_context() -> SSL.Context:
    """What all servers of these tests show: a certificate for localhost."""
    made = make("localhost")
    key: Any = made.key
    return make_context([made.certificate], key)


@implementer(ICertificates)
class Certificates:
    """One certificate, whatever is asked for."""

    def context_for(self, server_name: str | None) -> SSL.Context:
        return localhost_context()


def socket_tls_port(factory: Factory) -> Port:
    """A port that speaks TLS straight on the socket."""
    (listening,) = bind(("127.0.0.1",), 0)
    return ListeningPort(listening, factory, reactor, certificates=Certificates())


class StreamContract(
    WritingContract, ReadingContract, ClosingContract, AbortContract, HalfCloseContract, VanishingContract
):
    """All that holds for every kind."""


class TCPTests(StreamContract, TransportTestCase):
    """Plain TCP."""

    #: There is no word for it in TCP: the socket is closed, as by Twisted.
    waits_for_peer = False


class TLSContract(StreamContract):
    """What TLS adds to what holds for every kind."""

    is_secure = True
    version = SSL.TLS1_3_VERSION

    #: Nobody has been told anything yet, nor can be.
    aborts_early = True

    #: What a protocol is told of a peer that does not speak TLS.
    reason_of_garbage: type[Exception] = ConnectionLost

    #: Handshakes that go on before somebody else has a turn.
    handshakes_in_a_turn = 16

    def make_peer(self, port: int) -> TLSPeer:
        return TLSPeer(reactor, port, self.version, self.offers)

    offers: tuple[bytes, ...] = ()

    async def test_negotiated_protocol(self) -> None:
        """The protocol knows what application protocol was agreed on, as soon as it was."""
        for self.offers, agreed in (((), None), ((b"h2", b"http/1.1"), b"http/1.1"), ((b"h2",), None)):
            peer, talker = await self.dial()
            self.assertIsNone(talker.transport.negotiatedProtocol)
            await peer.handshake()
            await self.told(talker, "handshake")
            self.assertEqual(talker.transport.negotiatedProtocol, agreed)
            self.assertEqual(peer.tls.get_alpn_proto_negotiated(), agreed or b"")

    async def test_peer_certificate(self) -> None:
        """Peers are not asked for a certificate, so there is none."""
        _, talker = await self.connect()
        self.assertIsNone(talker.transport.getPeerCertificate())

    async def test_handshake_completed(self) -> None:
        """The protocol is told once that the handshake is over, before anything is delivered."""
        peer, talker = await self.dial(on_data=lambda talker, data: talker.events.append("data"))
        last = await peer.answer()
        await self.turns(3)
        self.assertEqual(talker.events, ["made"])
        if peer.is_shaking:
            peer.put(last)
            await peer.finish_handshake()
            last = b""
        peer.put(last + peer.encrypt(b"at once"))
        await self.until(lambda: talker.received == b"at once")
        self.assertEqual(talker.events, ["made", "handshake", "data"])

    async def test_ends_when_told(self) -> None:
        """A protocol can end the connection when it is told that the handshake is over."""
        for end in ("loseConnection", "abortConnection"):
            peer, talker = await self.dial()
            talker.handshakeCompleted = lambda end=end, talker=talker: getattr(talker.transport, end)()
            await peer.handshake()
            if end == "loseConnection":
                self.assertEqual(await peer.receive_finish(), b"")
                peer.finish()
                await self.lost(talker, ConnectionDone)
            else:
                await self.lost(talker, self.reason_of_abort)

    async def test_fails_when_told(self) -> None:
        """A protocol that fails when it is told so loses its connection, and the fault is logged."""

        def fail() -> None:
            raise ValueError("made for this test")

        peer, talker = await self.dial()
        talker.handshakeCompleted = fail
        await peer.handshake()
        await self.lost(talker, self.reason_of_fault)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_stalled_handshake(self) -> None:
        """A handshake that stalls costs nothing, wherever it stalls, and goes on where it was."""
        peer, talker = await self.dial(on_data=lambda talker, data: talker.transport.write(data))
        hello = peer.hello()
        for start, stop in ((0, 0), (0, 1), (1, 6), (6, len(hello) - 1), (len(hello) - 1, len(hello))):
            peer.put(hello[start:stop]) if stop else None
            await self.assert_quiet(talker)
        self.assertEqual(talker.events, ["made"])
        await peer.handshake()
        peer.say(b"hello")
        self.assertEqual(await peer.receive(5), b"hello")

    async def test_cut_record(self) -> None:
        """A record that comes in pieces is delivered when it is whole; one that stays a piece never is."""
        peer, talker = await self.connect()
        wire = peer.encrypt(b"hello")
        for cut in (1, 4, 5, 6, len(wire) - 1):
            peer.put(wire[:1] if cut == 1 else b"")
            wire = wire[1:] if cut == 1 else wire
            await self.turns(2)
        self.assertEqual(talker.received, b"")
        peer.put(wire)
        await self.until(lambda: talker.received == b"hello")
        peer.put(peer.encrypt(b"one") + peer.encrypt(b"two")[:-3])
        peer.fin()
        await self.lost(talker, ConnectionLost)
        self.assertEqual(talker.received, b"helloone")

    async def test_no_goodbye(self) -> None:
        """A stream that ends without a close_notify may have been cut by somebody else: it is no clean end."""
        for kind in (Talker, HalfCloser):
            peer, talker = await self.connect(kind)
            peer.say(b"and then")
            peer.fin()
            await self.lost(talker, ConnectionLost)
            self.assertEqual(talker.received, b"and then")
            self.assertNotIn("read lost", talker.events)

    async def test_fault_with_data_waiting(self) -> None:
        """A connection that ends before all was sent does not end as if it had been."""

        def fail(talker: Any, data: bytes) -> None:
            raise ValueError("made for this test")

        peer, talker = await self.connect(on_data=fail)
        for _ in range(9):
            talker.transport.write(pattern(16_384))  # more than goes out at once, less than the kernel takes
        waits = bool(self.raw(talker).dataBuffer or self.raw(talker)._tempDataBuffer)
        peer.say(b"hello")
        await self.lost(talker, self.reason_of_fault)
        self.flushLoggedErrors(ValueError)
        data, end = await peer.receive_rest()
        if len(data) < 9 * 16_384:
            self.assertTrue(waits)
            self.assertNotEqual(end, End.CLEAN)

    async def test_garbage(self) -> None:
        """Who does not speak TLS is hung up on; nothing reaches the protocol, nor the peer in the clear."""
        for garbage in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(200), b"\x16\x03\x01\xff\xff" + bytes(300)):
            peer, talker = await self.dial()
            talker.transport.write(b"secret")
            peer.put(garbage)
            await self.lost(talker, self.reason_of_garbage)
            seen = await self._raw_rest(peer)
            self.assertNotIn(b"secret", seen)
            self.assertNotIn(b"HTTP", seen)
            self.assertEqual((talker.received, talker.events), (b"", ["made", "lost"]))

    async def _raw_rest(self, peer: Any) -> bytes:
        seen = bytearray()
        peer._take = seen.extend
        await peer.receive_rest()
        return bytes(seen)

    async def test_garbage_later(self) -> None:
        """A record that was tampered with ends the connection; nothing of it is delivered."""
        peer, talker = await self.connect()
        wire = bytearray(peer.encrypt(b"true") + peer.encrypt(b"false"))
        wire[-1] ^= 1
        peer.put(bytes(wire))
        await self.lost(talker, ConnectionLost, SSL.Error)
        self.assertEqual(talker.received, b"true")

    async def test_faults_of_others(self) -> None:
        """The faults of some are not laid at the door of others."""
        pairs = [await self.connect(on_data=lambda talker, data: talker.transport.write(data)) for _ in range(3)]
        for number, (peer, talker) in enumerate(pairs * 3):
            bad, lost = await (self.dial() if number % 2 else self.connect())
            bad.put(bytes(100))
            bad.reset() if number % 3 else bad.fin()
            peer.say(b"well?")
            self.assertEqual(await peer.receive(5), b"well?")
            await self.gone(lost)
            self.assertFalse(talker.is_lost)

    async def test_many_handshakes(self) -> None:
        """Many handshakes at once do not hold up those who talk already."""
        peer, talker = await self.connect()
        done: list[int] = []
        begun = [await self.dial() for _ in range(40)]
        answers = [await new.answer() for new, _ in begun]
        talker.on_data = lambda talker, data: done.append(sum("handshake" in new.events for _, new in begun))
        for (new, _), answer in zip(begun, answers, strict=True):
            new.put(answer)
        peer.say(b"me too")
        await self.until(lambda: done)
        self.assertLessEqual(done[0], self.handshakes_in_a_turn)
        await self.until(lambda: all("handshake" in new.events for _, new in begun))


class SocketTLSTests(TLSContract, TransportTestCase):
    """TLS 1.3 straight on the socket."""

    #: Pieces of a byte are records of their own.
    small_pieces_in_a_turn = 64

    def make_port(self, factory: Factory) -> Port:
        return socket_tls_port(factory)


class OlderSocketTLSTests(SocketTLSTests):
    """TLS 1.2 straight on the socket."""

    version = SSL.TLS1_2_VERSION


class _ContextFactory:
    """What Twisted asks for a context."""

    def getContext(self) -> SSL.Context:  # noqa: N802
        return localhost_context()


class TwistedTLSTests(TLSContract, TransportTestCase):
    """Twisted's own TLS, beside which ours has to stand."""

    #: All of a read is handled in a turn: 64 KiB, whatever is in them.
    small_pieces_in_a_turn = 65536

    #: There is no bound.
    handshakes_in_a_turn = 1 << 30

    #: The reason is lost on its way through the layers: what is left is that TLS did not end as it should.
    reason_of_fault = ConnectionLost
    reason_of_abort = ConnectionLost
    reason_of_curt_answer = ConnectionLost
    end_of_fault = End.CUT

    #: Before the handshake is over, the fault of TLS is passed on as it is.
    reason_of_garbage = SSL.Error

    #: Records that come after our close_notify are still delivered.
    is_deaf_after_close = False

    #: The layer below is paused too, and does not see the peer's end.
    closes_while_paused = False

    #: It knows nothing of halves: the peer's close_notify ends everything, and `loseWriteConnection` ends the
    #: stream below TLS without one.
    tells_of_half_close = False
    closes_half = False

    #: It raises an AttributeError.
    may_abort_when_gone = False

    def make_port(self, factory: Factory) -> Port:
        wrapping = TLSMemoryBIOFactory(_ContextFactory(), False, factory)  # type: ignore[arg-type]
        wrapping.noisy = False
        return Port(0, wrapping, interface="127.0.0.1", reactor=reactor)

    def raw(self, talker: Talker) -> Any:
        return talker.transport.transport
