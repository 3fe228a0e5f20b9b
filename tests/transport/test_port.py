"""Listening sockets, and connections that write at once. Real sockets, on free loopback ports, without a reactor."""

import errno
import fcntl
import select
import socket
import sys
import termios
from typing import Any
from unittest import skipUnless

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.metrics import Metrics
from mles_tx.transport.admission import SURPLUS, Admission
from mles_tx.transport.port import BindError, ListeningPort, bind, bytes_taken, has_ipv6

LOOPBACK = "127.0.0.1"

#: An address of RFC 5737, which no machine has.
ELSEWHERE = "192.0.2.1"

needs_ipv6 = skipUnless(has_ipv6(), "this machine has no IPv6")


class SocketTestCase(SynchronousTestCase):
    """A test that leaves no socket open."""

    def bind(self, interfaces: tuple[str, ...], port: int = 0) -> list[socket.socket]:
        """Listen until the end of the test."""
        bound = bind(interfaces, port)
        for listening in bound:
            self.addCleanup(listening.close)
        return bound

    def occupy(self, interface: str = LOOPBACK, port: int = 0) -> int:
        """A port that another program listens on."""
        other = socket.socket(socket.AF_INET6 if ":" in interface else socket.AF_INET)
        self.addCleanup(other.close)
        other.bind((interface, port))
        other.listen()
        number: int = other.getsockname()[1]
        return number

    def dial(self, port: int, host: str = LOOPBACK) -> socket.socket:
        """A connection to a port, which may be one that nobody has accepted yet."""
        dialed = socket.create_connection((host, port), 20)
        self.addCleanup(dialed.close)
        return dialed

    def assert_free(self, port: int, interface: str = LOOPBACK) -> None:
        """Nobody listens on a port."""
        probe = socket.socket(socket.AF_INET6 if ":" in interface else socket.AF_INET)
        self.addCleanup(probe.close)
        self.assertEqual(probe.connect_ex((interface, port)), errno.ECONNREFUSED)

    def assert_refused(self, interfaces: tuple[str, ...], port: int, message: str) -> None:
        """The addresses cannot be listened on, and whoever started the server is told why."""
        error = self.assertRaises(BindError, bind, interfaces, port)
        self.assertEqual(str(error), message)


class BindTests(SocketTestCase):
    """Binding, early and loudly."""

    def test_free_port(self) -> None:
        """Asked for any port, it takes one that is free, and clients get through at once."""
        (bound,) = self.bind((LOOPBACK,))
        host, port = bound.getsockname()
        self.assertEqual(host, LOOPBACK)
        self.assertGreater(port, 0)
        self.dial(port)
        bound.setblocking(True)
        accepted, _ = bound.accept()
        accepted.close()

    def test_given_port(self) -> None:
        """Asked for a certain port, it takes that one."""
        port = self.bind((LOOPBACK,))[0].getsockname()[1]
        self.doCleanups()
        (bound,) = self.bind((LOOPBACK,), port)
        self.assertEqual(bound.getsockname(), (LOOPBACK, port))

    def test_never_waits(self) -> None:
        """Accepting waits for nobody."""
        (bound,) = self.bind((LOOPBACK,))
        self.assertRaises(BlockingIOError, bound.accept)

    def test_several_addresses(self) -> None:
        """A free port is the same one on all addresses."""
        bound = self.bind((LOOPBACK, "127.0.0.2", "127.0.0.3"))
        self.assertEqual([listening.getsockname()[0] for listening in bound], [LOOPBACK, "127.0.0.2", "127.0.0.3"])
        self.assertEqual(len({listening.getsockname()[1] for listening in bound}), 1)

    @needs_ipv6
    def test_both_versions(self) -> None:
        """A free port is the same one for IPv4 and IPv6, and each socket takes its own version alone."""
        four, six = self.bind((LOOPBACK, "::1"))
        self.assertEqual(four.getsockname()[1], six.getsockname()[1])
        self.assertEqual(six.getsockname()[0], "::1")
        self.dial(six.getsockname()[1], "::1")
        self.dial(four.getsockname()[1])

    @needs_ipv6
    def test_all_addresses(self) -> None:
        """All addresses of both versions can be listened on at the same time."""
        four, six = self.bind(("0.0.0.0", "::"))
        self.assertEqual((four.getsockname()[0], six.getsockname()[0]), ("0.0.0.0", "::"))
        self.assertEqual(four.getsockname()[1], six.getsockname()[1])

    def test_port_in_use(self) -> None:
        """A port that another program has is named, with what to do about it."""
        port = self.occupy()
        self.assert_refused(
            (LOOPBACK,),
            port,
            f"cannot listen on 127.0.0.1:{port}: another program listens there: stop it, or choose another --port",
        )

    def test_address_of_another_machine(self) -> None:
        """An address this machine does not have is named, with what to do about it."""
        self.assert_refused(
            (ELSEWHERE,),
            4433,
            f"cannot listen on {ELSEWHERE}:4433: this machine does not have that address: choose another --interface",
        )

    @needs_ipv6
    def test_address_of_another_machine_six(self) -> None:
        """An IPv6 address stands in brackets."""
        self.assert_refused(
            ("2001:db8::1",),
            4433,
            "cannot listen on [2001:db8::1]:4433: this machine does not have that address: choose another --interface",
        )

    def test_all_or_none(self) -> None:
        """When one of several addresses cannot be listened on, none is: what was bound before it is free again."""
        port = self.occupy("127.0.0.2")
        self.assert_refused(
            (LOOPBACK, "127.0.0.2"),
            port,
            f"cannot listen on 127.0.0.2:{port}: another program listens there: stop it, or choose another --port",
        )
        self.assert_free(port)

    def test_restart(self) -> None:
        """A server can come back to its port while old connections to it are still ending."""
        (bound,) = self.bind((LOOPBACK,))
        port = bound.getsockname()[1]
        client = self.dial(port)
        bound.setblocking(True)
        accepted, _ = bound.accept()
        accepted.close()  # the server closes first: its side stays in TIME_WAIT
        self.assertEqual(client.recv(1), b"")
        client.close()
        bound.close()
        (again,) = self.bind((LOOPBACK,), port)
        self.assertEqual(again.getsockname()[1], port)


class Unlucky(socket.socket):
    """A socket whose `bind` fails as often as is asked for."""

    faults: list[tuple[str, int]] = []
    ports: list[int] = []

    def bind(self, address: Any) -> None:
        host, port = address[:2]
        if self.faults and self.faults[0][0] == host:
            _, number = self.faults.pop(0)
            if number == errno.EADDRINUSE:
                self.ports.append(port)
            raise OSError(number, "made for this test")
        super().bind(address)


class BadLuckTests(SocketTestCase):
    """What seldom happens."""

    def let_fail(self, *faults: tuple[str, int]) -> None:
        """Let the next attempts on an address fail."""
        self.patch(Unlucky, "faults", list(faults))
        self.patch(Unlucky, "ports", [])
        self.patch(socket, "socket", Unlucky)

    def test_taken_on_the_other_address(self) -> None:
        """A free port that is taken on the second address is given up for another."""
        self.let_fail(*[("127.0.0.2", errno.EADDRINUSE)] * 3)
        first, second = self.bind((LOOPBACK, "127.0.0.2"))
        self.assertEqual(first.getsockname()[1], second.getsockname()[1])
        self.assertEqual(len(Unlucky.ports), 3)
        for port in set(Unlucky.ports) - {first.getsockname()[1]}:
            self.assert_free(port)

    def test_never_free(self) -> None:
        """When no port is free on all addresses it gives up, and leaves none of them bound."""
        self.let_fail(*[("127.0.0.2", errno.EADDRINUSE)] * 1000)
        error = self.assertRaises(BindError, bind, (LOOPBACK, "127.0.0.2"), 0)
        self.assertEqual(
            str(error),
            f"cannot listen on 127.0.0.2:{Unlucky.ports[-1]}: another program listens there:"
            " stop it, or choose another --port",
        )
        self.assertLess(len(Unlucky.ports), 1000)
        for port in set(Unlucky.ports):
            self.assert_free(port)

    def test_given_port_is_not_changed(self) -> None:
        """A port that was asked for is never replaced by another."""
        port = self.bind((LOOPBACK,))[0].getsockname()[1]
        self.doCleanups()
        self.let_fail(("127.0.0.2", errno.EADDRINUSE))
        self.assertRaises(BindError, bind, (LOOPBACK, "127.0.0.2"), port)
        self.assertEqual(Unlucky.ports, [port])
        self.assert_free(port)

    def test_remedies(self) -> None:
        """Each of the usual faults comes with what to do; any other with what the system says."""
        for number, remedy in (
            (
                errno.EACCES,
                "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE:"
                " start as root, or choose another --port",
            ),
            (errno.EAFNOSUPPORT, "this machine does not have that kind of address: choose another --interface"),
            (errno.ENOBUFS, "made for this test"),
        ):
            self.let_fail((LOOPBACK, number))
            self.assert_refused((LOOPBACK,), 443, f"cannot listen on 127.0.0.1:443: {remedy}")

    def test_without_ipv6(self) -> None:
        """A machine without the IPv6 loopback address is known as such, with it as the other."""
        self.let_fail(("::1", errno.EADDRNOTAVAIL))
        self.assertFalse(has_ipv6())
        self.let_fail(("::1", errno.EAFNOSUPPORT))
        self.assertFalse(has_ipv6())

    @needs_ipv6
    def test_with_ipv6(self) -> None:
        """A machine where a server can be on ::1 has IPv6, and asking leaves nothing open."""
        self.assertTrue(has_ipv6())
        (bound,) = self.bind(("::1",))
        self.assertTrue(has_ipv6())
        self.assertEqual(bound.getsockname()[0], "::1")


class Recorder(Protocol):
    """Notes what comes, and how its connection ends."""

    transport: Any
    received = b""
    reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


class ListeningPortTestCase(SocketTestCase):
    """A port, driven by hand: what is readable and writable is the test's to say."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.built: list[Recorder] = []
        factory = Factory.forProtocol(self._build)
        factory.noisy = False
        (bound,) = self.bind((LOOPBACK,))
        self.number: int = bound.getsockname()[1]
        self.port = ListeningPort(bound, factory, self.reactor, self.admission())
        self.port.startListening()
        self.addCleanup(self._stop)

    def admission(self) -> Admission | None:
        """Who is let in."""
        return None

    def _build(self) -> Recorder:
        self.built.append(Recorder())
        return self.built[-1]

    def _stop(self) -> None:
        self.port.stopListening()
        self.reactor.advance(0)

    def connect(self) -> tuple[socket.socket, Any]:
        """A connection: the client's end and the server's transport."""
        client = self.dial(self.number)
        self.port.doRead()
        transport = self.built[-1].transport
        self.addCleanup(self._lose, transport)
        return client, transport

    def _lose(self, transport: Any) -> None:
        if transport.connected:
            transport.abortConnection()
            self.reactor.advance(0)

    def is_writing(self, transport: Any) -> bool:
        """Whether the reactor is asked to tell when the connection takes more."""
        return transport in self.reactor.getWriters()

    def turn(self, client: socket.socket, transport: Any) -> bytes | None:
        """What a reactor does next: wait, let the connection write, and read what came; None: nothing will."""
        writing = [transport] if self.is_writing(transport) else []
        readable, writable, _ = select.select([client], writing, [], 20 if writing else 0)
        if writable:
            reason = transport.doWrite()
            if reason is not None:
                self.reactor.removeWriter(transport)
                transport.connectionLost(Failure(reason))
        if readable:
            return client.recv(1 << 20)
        return b"" if writing else None

    def drain(self, client: socket.socket, transport: Any) -> bytes:
        """Read and write in turn until everything that waits is with the client."""
        received = b""
        while (data := self.turn(client, transport)) is not None:
            received += data
        return received


class ListeningPortTests(ListeningPortTestCase):
    """Accepting, writing, and the end."""

    def test_address(self) -> None:
        """It knows where it listens."""
        host = self.port.getHost()
        self.assertEqual((host.host, host.port), (LOOPBACK, self.number))

    def test_stop(self) -> None:
        """Stopped, it listens no more and leaves nothing with the reactor."""
        self.assertEqual(self.reactor.getReaders(), [self.port])
        stopped = self.port.stopListening()
        self.reactor.advance(0)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual((self.reactor.getReaders(), self.reactor.getDelayedCalls()), ([], []))
        self.assert_free(self.number)

    def test_accepts_all(self) -> None:
        """Those who wait at the same time are all let in."""
        clients = [self.dial(self.number) for _ in range(5)]
        while len(self.built) < 5:
            self.port.doRead()
        peers = {recorder.transport.getPeer().port for recorder in self.built}
        self.assertEqual(peers, {client.getsockname()[1] for client in clients})
        for recorder in self.built:
            self._lose(recorder.transport)

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
        transport.doRead()
        self.assertEqual((self.built[-1].received, self.built[-1].reason), (b"goodbye", None))

    def test_client_gone(self) -> None:
        """Writing to a client that has hung up raises nothing; the reactor finds out, and then the protocol."""
        client, transport = self.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.close()  # with a reset
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


class ShareTests(ListeningPortTestCase):
    """How much one connection gets of a turn, and how much its peer has taken."""

    def test_reads(self) -> None:
        """A client that has sent a lot is read in pieces, so that others have their turn in between."""
        client, transport = self.connect()
        client.sendall(bytes(100_000))
        select.select([transport.socket], [], [], 20)
        transport.doRead()
        self.assertEqual(len(transport.protocol.received), 16384)

    def test_writes(self) -> None:
        """What goes out at once is bounded, also for a client whose system takes more."""
        client, transport = self.connect()
        for _ in range(8):
            transport.write(bytes(16_384))
        self.assertFalse(self.is_writing(transport))
        transport.write(b"the next")
        self.assertTrue(self.is_writing(transport))
        self.assertEqual(self.drain(client, transport), bytes(8 * 16_384) + b"the next")
        transport.write(b"at once again")
        self.assertFalse(self.is_writing(transport))

    def test_taken(self) -> None:
        """What the client's system has acknowledged is known, also over TLS, and not more than was sent."""
        client, transport = self.connect()
        self.assertEqual(bytes_taken(transport), 0)
        transport.write(b"hello")
        self.assertEqual(client.recv(100), b"hello")
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
        self.assertEqual(bytes_taken(transport), 5)
        self.assertEqual(bytes_taken(object()), 0)


class CountingTests(ListeningPortTestCase):
    """How many connections are open."""

    def test_up_and_down(self) -> None:
        """A connection counts from the moment it is accepted until it is lost, once."""
        connected = [self.connect() for _ in range(3)]
        self.assertEqual(self.port.admission.open, 3)
        for left, (client, transport) in zip((2, 1, 0), connected, strict=True):
            client.close()
            reason = transport.doRead()
            transport.connectionLost(Failure(reason))
            self.assertEqual(self.port.admission.open, left)
            transport.connectionLost(Failure(reason))  # as a reactor may do at its end
            self.assertEqual(self.port.admission.open, left)

    def test_aborted(self) -> None:
        """A connection that the server cuts off counts no more, also when the client has vanished meanwhile."""
        for hang_up in (False, True):
            client, transport = self.connect()
            self.assertEqual(self.port.admission.open, 1)
            if hang_up:
                client.close()
            transport.abortConnection()
            self.reactor.advance(0)
            self.assertEqual(self.port.admission.open, 0)

    def test_closed(self) -> None:
        """A connection that the server closes counts no more."""
        _, transport = self.connect()
        transport.loseConnection()
        self.reactor.advance(0)
        if self.is_writing(transport):
            transport.connectionLost(Failure(transport.doWrite()))
        self.assertEqual(self.port.admission.open, 0)

    def test_everybody(self) -> None:
        """Unless told otherwise a port lets everybody in."""
        self.assertGreater(self.port.admission.max_connections, 1 << 30)


class TurnedAwayTests(ListeningPortTestCase):
    """A port that does not let everybody in."""

    def admission(self) -> Admission:
        self.metrics = Metrics()
        return Admission(self.reactor, self.metrics, max_connections=1)

    def test_hung_up_on(self) -> None:
        """Who is not let in is hung up on at once, counts as no connection, and gets no protocol."""
        self.connect()
        self.port.admission.open += SURPLUS
        client = self.dial(self.number)
        self.port.doRead()
        client.settimeout(20)
        try:
            received = client.recv(1)
        except ConnectionResetError:
            received = b""
        self.assertEqual(received, b"")
        self.assertEqual(len(self.built), 1)
        self.assertEqual(self.port.admission.open, 1 + SURPLUS)
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {LOOPBACK: 1})
        self.port.admission.open -= SURPLUS
        self.connect()
        self.assertEqual((len(self.built), self.port.admission.open), (2, 2))
