"""The PROXY protocol on a port."""

import contextlib
import itertools
import select
import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from mles_tx.channels.history import MemoryHistory
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.metrics import Metrics
from mles_tx.protocol.forwarded import TrustedProxies
from mles_tx.transport.admission import Admission
from mles_tx.transport.connection import Settings
from mles_tx.transport.connections import MlesFactory
from mles_tx.transport.doors import HANDSHAKE_SECONDS, HEAD_SECONDS, DoorFactory
from mles_tx.transport.port import ListeningPort
from mles_tx.transport.proxyprotocol import ProxyProtocol
from mles_tx.transport.tcp import Preface, PrefaceError
from tests.protocol.proxyheaders import GOOD, LOCAL, v1, v2

from .sockets import LOOPBACK, ListeningPortTestCase, SocketTestCase
from .tls_ports import Certificates

PROXY = IPv4Address("TCP", "127.0.0.1", 50000)

#: A request, which must not be touched; it begins like a header on purpose.
REQUEST = b"PROXY-ish\r\n\r\n" + bytes(range(256)) * 8


class Stream:
    """A socket whose peer has sent some bytes; the end, when it has ended, is behind them."""

    def __init__(self) -> None:
        self.waiting = b""
        self.has_ended = False
        self.reads = 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As a socket does it."""
        self.reads += 1
        if not self.waiting and not self.has_ended:
            raise BlockingIOError
        data = self.waiting[:size]
        if not flags & socket.MSG_PEEK:
            self.waiting = self.waiting[size:]
        return data


class Connection:
    """A connection before its first byte."""

    def __init__(self) -> None:
        self.socket: Any = Stream()
        self.peer: Any = PROXY

    def getPeer(self) -> Any:  # noqa: N802
        return self.peer

    def comes_from(self, host: str, port: int) -> None:
        self.peer = (host, port)


class ReadingTests(SynchronousTestCase):
    """How a header is read."""

    def setUp(self) -> None:
        self.metrics = Metrics()
        self.admission = Admission(
            Clock(), self.metrics, 1_000_000, trusted=TrustedProxies(["127.0.0.1"]), only_trusted=True
        )
        self.proxy_protocol = ProxyProtocol(self.admission, self.metrics)

    def feed(self, *pieces: bytes) -> tuple[Connection, bool]:
        """A connection whose peer sends these, one after the other, and whether its header was read."""
        connection = Connection()
        is_over = False
        for piece in pieces:
            connection.socket.waiting += piece
            # A reactor calls as long as there is something to be read.
            for _ in range(100):
                if is_over or not connection.socket.waiting:
                    break
                is_over = self.proxy_protocol.read_header(connection)
        return connection, is_over

    def observe(self) -> list[LogEvent]:
        """What is logged from now on."""
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return events

    def test_exactly(self) -> None:
        """The header is read, and nothing behind it."""
        for data, client in GOOD:
            connection, is_over = self.feed(data + REQUEST)
            self.assertEqual((connection.socket.waiting, is_over), (REQUEST, True))
            self.assertEqual(connection.peer, client or PROXY)

    def test_cut(self) -> None:
        """Cut at any place it is the same header, and what has come of it is not announced again."""
        for data, client in GOOD:
            for cut in range(1, min(len(data), 240)):
                connection, is_over = self.feed(data[:cut])
                self.assertEqual((connection.socket.waiting, is_over, connection.peer), (b"", False, PROXY))
                connection.socket.waiting = data[cut:] + REQUEST
                while not self.proxy_protocol.read_header(connection):
                    pass
                self.assertEqual((connection.socket.waiting, connection.peer), (REQUEST, client or PROXY))

    @given(st.sampled_from(GOOD), st.lists(st.integers(1, 5000), max_size=12), st.binary(max_size=3000))
    def test_anyhow(self, good: tuple[bytes, tuple[str, int] | None], cuts: list[int], behind: bytes) -> None:
        """In whatever pieces it comes, the result is the same."""
        data, client = good
        stream = data + behind
        places = [0, *sorted(cuts), len(stream)]
        pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
        connection, is_over = self.feed(*pieces)
        self.assertEqual((connection.socket.waiting, is_over, connection.peer), (behind, True, client or PROXY))

    def test_byte_by_byte(self) -> None:
        """A header that comes a byte at a time is read with two calls of the system for each."""
        for data, _ in GOOD[:20]:
            connection, is_over = self.feed(*(data[place : place + 1] for place in range(len(data))))
            self.assertTrue(is_over)
            self.assertLessEqual(connection.socket.reads, 2 * len(data))

    def test_nothing_there(self) -> None:
        """A call for nothing changes nothing."""
        connection = Connection()
        self.assertFalse(self.proxy_protocol.read_header(connection))
        connection.socket.waiting = v1()[:10]
        self.assertFalse(self.proxy_protocol.read_header(connection))
        self.assertFalse(self.proxy_protocol.read_header(connection))
        connection.socket.waiting = v1()[10:]
        self.assertTrue(self.proxy_protocol.read_header(connection))
        self.assertEqual(connection.peer, ("192.0.2.7", 4711))

    def test_end(self) -> None:
        """A peer may go in the middle of it: that is nothing to be counted, proxies look whether we are there so."""
        for size in (0, 1, 5, 16, 27):
            connection = Connection()
            if size:
                connection.socket.waiting = v2()[:size]
                self.assertFalse(self.proxy_protocol.read_header(connection))
            connection.socket.has_ended = True
            self.assertRaises(PrefaceError, self.proxy_protocol.read_header, connection)
        self.assertEqual(self.metrics.snapshot().total_dropped_connections, 0)

    def test_no_header(self) -> None:
        """What is no header is refused, also in pieces, and counted; the log says so once for each proxy."""
        events = self.observe()
        for pieces in ((b"GET / HTTP/1.1\r\n\r\n",), (b"PRO", b"GRAM"), (b"\x16\x03\x01",), (b"PROXY TCP4 x\r\n",)):
            self.assertRaises(PrefaceError, self.feed, *pieces)
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {"127.0.0.1": 4})
        self.assertEqual(
            [(event["log_level"].name, formatEvent(event)) for event in events],
            [
                (
                    "warn",
                    "a connection from 127.0.0.1 does not begin with a PROXY header: neither version begins so;"
                    " let the proxy send one, or leave --proxy-protocol away",
                )
            ],
        )

    def test_few_complaints(self) -> None:
        """However many proxies are wrong, the log is not filled."""
        events = self.observe()
        for number in range(200):
            connection = Connection()
            connection.peer = IPv4Address("TCP", f"10.0.0.{number}", 1)
            connection.socket.waiting = b"GET"
            self.assertRaises(PrefaceError, self.proxy_protocol.read_header, connection)
        self.assertEqual(len(events), 16)

    def test_forgotten(self) -> None:
        """Of a connection that has gone nothing is kept."""
        connection, _ = self.feed(v2()[:20])
        self.assertEqual(len(self.proxy_protocol._begun), 1)
        del connection
        self.assertEqual(len(self.proxy_protocol._begun), 0)


class PortTests(ListeningPortTestCase):
    """A port behind proxies, with real sockets."""

    limit = 2

    def admission(self) -> Admission:
        self.metrics = Metrics()
        self.admitting = Admission(
            self.reactor, self.metrics, self.limit, trusted=TrustedProxies(["127.0.0.0/8"]), only_trusted=True
        )
        self.proxy_protocol = ProxyProtocol(self.admitting, self.metrics)
        self.looks: list[bytes] = []
        return self.admitting

    def prefaces(self) -> tuple[Preface | None, ...]:
        return self.look, self.proxy_protocol.read_header

    def look(self, connection: Any) -> bool:
        """What looks at the first bytes behind the header, when they are there."""
        try:
            self.looks.append(connection.socket.recv(5, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        return True

    def come(self, data: bytes) -> tuple[socket.socket, Any, Any]:
        """A connection on which something has come, and why it is over."""
        client, transport = self.connect()
        client.sendall(data)
        select.select([transport.socket], [], [], 20)
        return client, transport, transport.doRead()

    def test_in_turn(self) -> None:
        """Who comes is told by the header, and what looks at the first bytes looks behind it."""
        for header, peer in (
            (v1(), IPv4Address("TCP", "192.0.2.7", 4711)),
            (v2("2001:db8::7", "::1"), IPv6Address("TCP", "2001:db8::7", 4711)),
        ):
            self.looks = []
            _, transport, why = self.come(header + b"hello, world")
            self.assertIsNone(why)
            self.assertEqual((self.looks, self.built[-1].received), ([b"hello"], b"hello, world"))
            self.assertEqual(transport.getPeer(), peer)
            self.assertEqual(transport.doRead, type(transport).doRead.__get__(transport))

    def test_separately(self) -> None:
        """The next one waits for what is behind the header, and the header is not looked for again."""
        client, transport, why = self.come(v1())
        self.assertEqual((why, self.looks, self.built[-1].received), (None, [], b""))
        client.sendall(v1())
        select.select([transport.socket], [], [], 20)
        self.assertIsNone(transport.doRead())
        self.assertEqual((self.looks, self.built[-1].received), ([b"PROXY"], v1()))

    def test_own_connection(self) -> None:
        """A connection of the proxy itself stays one."""
        client, transport, why = self.come(LOCAL + b"hello")
        self.assertIsNone(why)
        self.assertEqual((transport.getPeer().host, transport.getPeer().port), client.getsockname())
        self.assertEqual(self.built[-1].received, b"hello")

    def test_limit(self) -> None:
        """An address that opens too many connections is closed behind its header; they are not counted as open."""
        found = []
        for source in ("192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8"):
            _, transport, why = self.come(v1(source) + b"hello")
            found.append(why)
            if why is not None:
                self.reactor.removeReader(transport)
                transport.connectionLost(Failure(why))
        self.assertEqual([type(why) for why in found], [type(None), type(None), ConnectionLost, type(None)])
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {"192.0.2.7": 1})
        self.assertEqual(self.admitting.open, 3)
        self.assertEqual([protocol.received for protocol in self.built], [b"hello", b"hello", b"", b"hello"])

    def test_not_trusted(self) -> None:
        """Who is no proxy is closed when it comes, whatever it says."""
        self.admitting.trusted = TrustedProxies(["192.0.2.1"])
        client = self.dial(self.number)
        client.sendall(v1())
        self.port.doRead()
        self.assertEqual(self.built, [])
        with contextlib.suppress(ConnectionResetError):  # it has sent what nobody has read
            self.assertEqual(client.recv(10), b"")
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {"127.0.0.1": 1})


class DeadlineTests(SocketTestCase):
    """A door behind the header, driven by hand, and peers that take their time."""

    def stall(self, said: bytes, certificates: Certificates | None) -> float:
        """How long a connection stays on which this is said, a byte a second, and then nothing."""
        clock = MemoryReactorClock()
        metrics = Metrics()
        admission = Admission(clock, metrics, trusted=TrustedProxies(["127.0.0.1"]), only_trusted=True)
        registry = ChannelRegistry(clock, MemoryHistory(clock, limit=1))
        door = DoorFactory(clock, MlesFactory(clock, registry, Settings()), Site(Resource()))
        (bound,) = self.bind((LOOPBACK,))
        read_header = ProxyProtocol(admission, metrics).read_header
        port = ListeningPort(bound, door, clock, admission, certificates, proxy_header=read_header)
        port.startListening()
        client = self.dial(bound.getsockname()[1])
        port.doRead()
        (transport,) = (one.transport for one in door.doors)
        seconds = 0.0
        while door.doors and seconds < 60:
            if said:
                client.sendall(said[:1])
                said = said[1:]
                select.select([transport.socket], [], [], 20)
                self.assertIsNone(transport.doRead())
            clock.advance(0.5)
            clock.advance(0.5)
            seconds += 1
        with contextlib.suppress(ConnectionResetError):  # that is how one is aborted
            self.assertEqual(client.recv(100), b"")
        self.assertEqual(admission.open, 0)
        port.stopListening()
        clock.advance(0)
        door.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
        return seconds

    def test_stalled(self) -> None:
        """Who does not get to the end of its header is cut off, with TLS and without, in the time for a handshake or a
        head; what comes behind the header has no time of its own."""
        endless = b"PROXY UNKNOWN " + b"x" * 50
        for said in (b"", v1()[:5], endless, v2()[:13], v2()[:20], LOCAL[:12]):
            self.assertEqual(self.stall(said, Certificates()), HANDSHAKE_SECONDS)
            self.assertEqual(self.stall(said, None), HEAD_SECONDS)
        soon = b"PROXY UNKNOWN\r\n"
        for said in (soon[-5:], soon[-5:] + b"GET"):
            self.assertEqual(self.stall(soon[:-5] + said, None), HEAD_SECONDS)
