"""The header of the PROXY protocol on real ports: with and without TLS behind it, in pieces, and with a challenge."""

from datetime import UTC, datetime
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.tcp import Port

from mles_tx.metrics import Metrics
from mles_tx.protocol.forwarded import TrustedProxies
from mles_tx.transport.admission import Admission
from mles_tx.transport.certificates.answers import ChallengeAnswers
from mles_tx.transport.certificates.challenges import ACME_TLS_1, TLSChallenges
from mles_tx.transport.port import ListeningPort, bind
from mles_tx.transport.proxyprotocol import ProxyProtocol
from tests.protocol.proxyheaders import LOCAL, v1, v2

from .prefaced import PrefacedContract
from .stream_peers import Peer, TLSPeer
from .test_transports import Certificates
from .transport_rig import TransportTestCase

HEADERS = (
    (v1(), IPv4Address("TCP", "192.0.2.7", 4711)),
    (v2(), IPv4Address("TCP", "192.0.2.7", 4711)),
    (v2("2001:db8::7", "::1", more=bytes(2000)), IPv6Address("TCP", "2001:db8::7", 4711)),
)


class HeaderContract(PrefacedContract):
    """What holds with and without TLS behind the header."""

    opening = v2()

    def make_port(self, factory: Factory) -> Port:
        metrics = Metrics()
        trusted = TrustedProxies(["127.0.0.1"])
        self.admission = Admission(self.reactor, metrics, 1000, trusted=trusted, only_trusted=True)
        self.answers = ChallengeAnswers(Path(self.mktemp()), Clock(), lambda: datetime.now(UTC))
        (listening,) = bind(("127.0.0.1",), 0)
        certificates = Certificates() if self.is_secure else None
        look = TLSChallenges(self.answers, lambda: datetime.now(UTC)).look_for_challenge
        read = ProxyProtocol(self.admission, metrics).read_header
        return ListeningPort(listening, factory, reactor, self.admission, certificates, look, read)

    async def test_at_once(self) -> None:
        """The header and what stands behind it may come together: each gets its own."""
        for header, address in HEADERS:
            peer, talker = await self.meet()
            peer.put(header + self.first_bytes(peer))
            await self.talk(peer, talker)
            self.assertEqual(talker.transport.getPeer(), address)

    async def test_separately(self) -> None:
        """They may come one after the other, and the reactor is left in peace meanwhile."""
        for header, address in HEADERS:
            peer, talker = await self.meet()
            peer.put(header)
            await self.assert_quiet(talker)
            peer.put(self.first_bytes(peer))
            await self.talk(peer, talker)
            self.assertEqual(talker.transport.getPeer(), address)

    async def test_byte_by_byte(self) -> None:
        """They may come a byte at a time: the reactor is left in peace between them."""
        for header in (v1(), v2()):
            peer, talker = await self.meet()
            for byte in header:
                peer.put(bytes((byte,)))
                await self.assert_quiet(talker)
            for byte in self.first_bytes(peer):
                peer.put(bytes((byte,)))
                await self.turns(2)
            await self.talk(peer, talker)
            self.assertEqual(talker.transport.getPeer(), IPv4Address("TCP", "192.0.2.7", 4711))

    async def test_own_connection(self) -> None:
        """A connection of the proxy itself keeps its address."""
        peer, talker = await self.meet()
        before = talker.transport.getPeer()
        peer.put(LOCAL + self.first_bytes(peer))
        await self.talk(peer, talker)
        self.assertEqual(talker.transport.getPeer(), before)

    async def test_refused(self) -> None:
        """What is no header, in one piece or several, ends the connection; nothing of it arrives."""
        for pieces in ((b"hello, world\r\n",), (b"PROXY TCP4 ", b"nonsense\r\n"), (v2()[:13], b"\xff\xff\xff")):
            peer, talker = await self.meet()
            for piece in pieces:
                peer.put(piece)
                await self.turns(3)
            await self.lost(talker, ConnectionLost)
            self.assertEqual(talker.received, b"")

    async def test_ends_within(self) -> None:
        """A peer may vanish within the header, before it, and right behind it."""
        for header in (v1(), v2()):
            for said in (0, 1, 13, 20, len(header) - 1):
                for vanish in ("fin", "reset", "close"):
                    peer, talker = await self.meet()
                    if said:
                        peer.put(header[:said])
                        await self.turns(3)
                    getattr(peer, vanish)()
                    await self.lost(talker, ConnectionLost)
                    self.assertEqual(talker.received, b"")
            peer, talker = await self.meet()
            peer.put(header)
            peer.close()
            await self.gone(talker)
        await self.turns(3)
        self.assertEqual(self.admission.open, 0)

    async def test_abort_within(self) -> None:
        """A connection that is aborted within its header, as deadlines do it, is; whatever comes then."""
        for header in (v1(), v2()):
            peer, talker = await self.meet()
            peer.put(header[:14])
            await self.turns(3)
            talker.transport.abortConnection()
            peer.put(header[14:])
            await self.gone(talker)
            self.assertEqual((talker.received, talker.events), (b"", ["made", "lost"]))

    async def test_close_within(self) -> None:
        """So is one that is closed within its header, as a server does it that stops."""
        for header in (v1(), v2()):
            peer, talker = await self.meet()
            peer.put(header[:14])
            await self.turns(3)
            talker.transport.loseConnection()
            peer.put(header[14:])
            await self.gone(talker)
            self.assertEqual(talker.received, b"")


class PlainHeaderTests(HeaderContract, TransportTestCase):
    """A header before plain TCP."""

    def make_peer(self, port: int) -> Peer:
        return Peer(reactor, port)


class SecureHeaderTests(HeaderContract, TransportTestCase):
    """A header before TLS."""

    is_secure = True

    def make_peer(self, port: int) -> TLSPeer:
        return TLSPeer(reactor, port)


class ChallengeHeaderTests(SecureHeaderTests):
    """The same while a challenge is outstanding, so that what stands behind the header is looked at as well."""

    def make_port(self, factory: Factory) -> Port:
        port = super().make_port(factory)
        self.answers.put_tls("a.test", "token.thumbprint")
        return port

    async def test_challenge(self) -> None:
        """The authority finds its answer behind the header, in whatever pieces both come."""
        for cut in (0, 10, len(v2()), len(v2()) + 3, len(v2()) + 60):
            peer, talker = await self.meet()
            peer.tls.set_tlsext_host_name(b"a.test")
            peer.tls.set_alpn_protos([ACME_TLS_1])
            said = v2() + peer.hello()
            if cut:
                peer.put(said[:cut])
                await self.assert_quiet(talker)
            peer.put(said[cut:])
            await peer.handshake()
            self.assertEqual(peer.tls.get_alpn_proto_negotiated(), ACME_TLS_1)
            self.assertEqual(talker.transport.getPeer(), IPv4Address("TCP", "192.0.2.7", 4711))
            peer.close()
            await self.gone(talker)
