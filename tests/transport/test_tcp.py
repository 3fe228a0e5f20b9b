"""Connections that write at once, and how much each has of a turn. Real sockets, without a reactor."""

import contextlib
import fcntl
import select
import socket
import sys
import termios

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from mles_tx.transport.tcp import DEPARTURES, READ_BYTES, WRITE_BYTES, bytes_taken, end_stream

from .fakes import FakeTransport
from .sockets import ListeningPortTestCase
from .tls_ports import Certificates


class WriteTests(ListeningPortTestCase):
    """What is written, and the end."""

    def test_at_once(self) -> None:
        """What is written is with the client before the reactor has done anything."""
        client, transport = self.connect()
        for data in (b"one", b"", b"two", b"\x00" * 1000):
            transport.write(data)
        self.assertFalse(self.is_writing(transport))
        self.assertEqual(client.recv(2000), b"onetwo" + b"\x00" * 1000)

    def test_client_does_not_read(self) -> None:
        """What the kernel does not take waits, and arrives whole and in order when the client reads again."""
        client, transport = self.connect()
        sent = b"".join(bytes((number % 251,)) * 65_537 for number in range(200))
        for start in range(0, len(sent), 1_000_001):
            transport.write(sent[start : start + 1_000_001])
        self.assertTrue(self.is_writing(transport))
        transport.write(b"last")
        self.assertTrue(self.drain(client, transport) == sent + b"last")
        transport.write(b"at once again")
        self.assertFalse(self.is_writing(transport))
        self.assertEqual(client.recv(100), b"at once again")

    def test_order_with_pieces(self) -> None:
        """What was handed over in pieces, and waits for the reactor, is not overtaken."""
        client, transport = self.connect()
        transport.writeSequence([b"a", b"b"])
        transport.write(b"c")
        self.assertEqual(self.drain(client, transport), b"abc")

    def test_producer(self) -> None:
        """A producer goes on as long as the kernel takes everything, and pauses when too much waits."""
        _, transport = self.connect()
        told: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                told.append("pause")

            def resumeProducing(self) -> None:
                told.append("resume")

            def stopProducing(self) -> None:
                told.append("stop")

        transport.registerProducer(Producer(), True)
        transport.write(b"small")
        self.assertEqual(told, [])
        while not told:
            transport.write(bytes(1_000_000))
        self.assertEqual(told, ["pause"])

    def test_goodbye(self) -> None:
        """What was written before the end arrives before it, however much it is."""
        client, transport = self.connect()
        transport.write(bytes(20_000_000))
        transport.loseConnection()
        received = b""
        while self.built[-1].reason is None:
            received += self.turn(client, transport) or b""
        client.settimeout(20)
        while data := client.recv(1 << 20):
            received += data
        self.assertTrue(received == bytes(20_000_000))

    def test_end_of_stream(self) -> None:
        """After the end of the stream, what the client says still comes in."""
        client, transport = self.connect()
        transport.write(b"last words")
        transport.loseWriteConnection()
        client.settimeout(20)
        if self.is_writing(transport):
            transport.doWrite()
        self.assertEqual(client.recv(100), b"last words")
        self.assertEqual(client.recv(100), b"")
        client.sendall(b"goodbye")
        select.select([transport.socket], [], [], 20)
        transport.doRead()
        self.assertEqual((self.built[-1].received, self.built[-1].reason), (b"goodbye", None))

    def test_client_gone(self) -> None:
        """Writing to a client that has hung up raises nothing; the reactor finds out, and then the protocol."""
        client, transport = self.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.close()  # with a reset
        select.select([transport.socket], [], [], 20)
        transport.write(b"nobody is there")
        transport.write(b"still nobody")
        reason = transport.doWrite() if self.is_writing(transport) else transport.doRead()
        self.assertIsInstance(reason, ConnectionLost)
        transport.connectionLost(Failure(reason))
        lost = self.built[-1].reason
        assert lost is not None
        self.assertIsInstance(lost.value, ConnectionLost)
        transport.write(b"after the end")
        self.assertFalse(self.is_writing(transport))


class PeerTests(ListeningPortTestCase):
    """Who is at the other end."""

    def test_peer(self) -> None:
        """It is who has connected, until a proxy says for whom it speaks; where it has connected to stays."""
        client, transport = self.connect()
        host, port = client.getsockname()
        self.assertEqual(transport.getPeer(), IPv4Address("TCP", host, port))
        here = transport.getHost()
        for told in (IPv4Address("TCP", "192.0.2.7", 4711), IPv6Address("TCP", "2001:db8::7", 443)):
            transport.comes_from(told.host, told.port)
            self.assertEqual((transport.getPeer(), transport.getHost()), (told, here))


class ShareTests(ListeningPortTestCase):
    """How much one connection gets of a turn, and how much its peer has taken."""

    def test_reads(self) -> None:
        """A client that has sent a lot is read in pieces, so that others have their turn in between."""
        client, transport = self.connect()
        client.sendall(bytes(READ_BYTES + 1000))
        select.select([transport.socket], [], [], 20)
        transport.doRead()
        self.assertEqual(len(transport.protocol.received), READ_BYTES)

    def test_writes(self) -> None:
        """What goes out at once is bounded, also for a client whose system takes more."""
        client, transport = self.connect()
        for _ in range(8):
            transport.write(bytes(WRITE_BYTES // 8))
        self.assertFalse(self.is_writing(transport))
        transport.write(b"the next")
        self.assertTrue(self.is_writing(transport))
        self.assertEqual(self.drain(client, transport), bytes(WRITE_BYTES) + b"the next")
        transport.write(b"at once again")
        self.assertFalse(self.is_writing(transport))

    def test_taken(self) -> None:
        """What the client's system has acknowledged is known, also over TLS, and not more than was sent."""
        client, transport = self.connect()
        self.assertEqual(bytes_taken(transport), 0)
        transport.write(b"hello")
        self.assertEqual(client.recv(100), b"hello")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self.assertEqual(bytes_taken(transport), 5)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(200):
            transport.write(bytes(65_536))
        self.assertLess(bytes_taken(transport), 200 * 65_536)
        # The client reads nothing: all it has taken lies with its system, and what lies with ours does not count.
        while select.select([], [transport.socket], [], 0)[1]:
            self.assertIsNone(transport.doWrite())
        unread = int.from_bytes(fcntl.ioctl(client.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)
        self.assertLessEqual(bytes_taken(transport), 5 + unread)

    def test_taken_when_gone(self) -> None:
        """Of a connection that is gone, and of one of somebody else's, nothing more is known."""
        _, transport = self.connect()
        transport.write(b"hello")
        transport.abortConnection()
        self.reactor.advance(0)
        self.assertEqual(bytes_taken(transport), 0)
        self.assertEqual(bytes_taken(object()), 0)

    def test_taken_without_an_answer(self) -> None:
        """What the client's system has taken counts though the client itself does not read, and says nothing."""
        client, transport = self.connect()
        transport.setTcpNoDelay(True)
        for total in (1, 1001, 60_000):
            transport.write(bytes(total - bytes_taken(transport)))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # its system may take its time otherwise
            self.assertEqual(bytes_taken(transport), total)

    def test_wide_write(self) -> None:
        """Of a write that is larger than the share, the share goes out at once and the rest waits."""
        client, transport = self.connect()
        transport.write(bytes(WRITE_BYTES + 1))
        self.assertTrue(self.is_writing(transport))
        self.assertEqual(len(self.drain(client, transport)), WRITE_BYTES + 1)

    def test_pull_producer(self) -> None:
        """A producer that is asked for each piece is asked again, also when each goes out at once."""
        client, transport = self.connect()
        pieces = [b"one", b"two", b"three"]

        class Pulled:
            def resumeProducing(self) -> None:
                transport.write(pieces.pop(0))
                if not pieces:
                    transport.unregisterProducer()

            def stopProducing(self) -> None:
                pass

        transport.registerProducer(Pulled(), False)
        self.assertEqual(self.drain(client, transport), b"onetwothree")
        self.assertEqual(pieces, [])

    def test_tls_within(self) -> None:
        """Nothing is sent in the clear when somebody starts TLS on a connection, as on one of Twisted's."""
        client, transport = self.connect()
        context = Certificates().context_for(None)

        class ContextFactory:
            def getContext(self) -> SSL.Context:  # noqa: N802
                return context

        with contextlib.suppress(NotImplementedError, RuntimeError):
            transport.startTLS(ContextFactory(), False)
            transport.write(b"secret")
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.assertNotIn(b"secret", client.recv(100))


class DepartureTests(ListeningPortTestCase):
    """When many vanish in the same instant."""

    def test_share(self) -> None:
        """Of those who vanish together some are let go in each turn, all in the end, and none of them twice."""
        pairs = [self.connect() for _ in range(2 * DEPARTURES + 1)]
        gone = []
        for number, (_, transport) in enumerate(pairs):
            transport.protocol.connectionLost = lambda reason, number=number: gone.append(number)
            transport.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(gone, list(range(DEPARTURES)))
        self.reactor.advance(0)
        self.assertEqual(gone, list(range(len(pairs))))
        for _, transport in pairs:
            transport.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(len(gone), len(pairs))

    def test_meanwhile(self) -> None:
        """Who has vanished and was not let go yet may be written to and closed: nothing comes of it."""
        self.port.departures.charge(DEPARTURES)
        client, transport = self.connect()
        transport.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.port.admission.open, 1)
        transport.write(b"hello")
        transport.loseConnection()
        transport.abortConnection()
        transport.resumeProducing()
        self.assertFalse(self.is_writing(transport))
        self.assertNotIn(transport, self.reactor.readers)
        self.reactor.advance(0)
        self.assertEqual(self.port.admission.open, 0)
        self.assertEqual(client.recv(100), b"")


class EndStreamTests(ListeningPortTestCase):
    """The end of a connection that the server ends."""

    def test_fake(self) -> None:
        """What was written goes out, then the end of the stream; the peer may still send."""
        transport = FakeTransport(Protocol())
        transport.write(b"last words")
        end_stream(transport)
        self.assertEqual((transport.taken(), transport.finished, transport.lost), (b"last words", True, False))

    def test_gone_already(self) -> None:
        """Ending a connection that is gone already does nothing."""
        _, transport = self.connect()
        transport.abortConnection()
        self.reactor.advance(0)
        end_stream(transport)
        self.assertFalse(self.is_writing(transport))
