"""Listening sockets. Real ones, on free loopback ports, without a reactor."""

import errno
import socket
from typing import Any
from unittest import skipUnless

from twisted.internet.address import IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from mles_tx.metrics import Metrics
from mles_tx.transport import port as module
from mles_tx.transport.admission import SURPLUS, Admission
from mles_tx.transport.port import BindError, ListeningPort, bind, has_ipv6

from .sockets import LOOPBACK, ListeningPortTestCase, SocketTestCase

#: An address of RFC 5737, which no machine has.
ELSEWHERE = "192.0.2.1"

needs_ipv6 = skipUnless(has_ipv6(), "this machine has no IPv6")


class RefusalTestCase(SocketTestCase):
    """A test of addresses that cannot be listened on."""

    def assert_refused(self, interfaces: tuple[str, ...], port: int, message: str) -> None:
        """The addresses cannot be listened on, and whoever started the server is told why."""
        error = self.assertRaises(BindError, bind, interfaces, port)
        self.assertEqual(str(error), message)


class BindTests(RefusalTestCase):
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


class BadLuckTests(RefusalTestCase):
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


class LogTests(SocketTestCase):
    """What a port says about itself."""

    def test_starting(self) -> None:
        """Each says where it listens: of several on one port no two lines are the same."""
        bound = self.bind((LOOPBACK, "127.0.0.2"))
        lines: list[str] = []
        observer: Any = lambda event: lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for listening in bound:
            port = ListeningPort(listening, Factory(), MemoryReactorClock())
            port.startListening()
            self.addCleanup(port.connectionLost, Failure(ConnectionDone()))
        number = bound[0].getsockname()[1]
        self.assertEqual(lines, [f"listener at {host} starting on {number}" for host in (LOOPBACK, "127.0.0.2")])


class ListeningPortTests(ListeningPortTestCase):
    """Accepting, and the end."""

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

    def test_failure(self) -> None:
        """When something goes wrong with one, the others are let in all the same."""
        for _ in range(3):
            self.dial(self.number)
        factory: Any = self.port.factory
        build, failures = factory.buildProtocol, [RuntimeError("made for this test")]

        def fail_once(address: Any) -> Any:
            if failures:
                raise failures.pop()
            return build(address)

        self.patch(factory, "buildProtocol", fail_once)
        while len(self.built) < 2:
            self.port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        for recorder in self.built:
            self._lose(recorder.transport)

    def test_not_all_in_a_turn(self) -> None:
        """A crowd is let in over several turns, so that those who talk have theirs in between."""
        crowd = 2 * module._ACCEPTS
        for _ in range(crowd):
            self.dial(self.number)
        self.port.doRead()
        self.assertLessEqual(len(self.built), module._ACCEPTS)
        while len(self.built) < crowd:
            self.port.doRead()
        for recorder in self.built:
            self._lose(recorder.transport)

    def test_no_descriptors(self) -> None:
        """When descriptors run out, that is left to Twisted, which has one in reserve."""
        asked: list[Any] = []

        class Exhausted:
            """A socket that cannot accept."""

            def accept(self) -> None:
                raise OSError(errno.EMFILE, "made for this test")

        self.patch(self.port, "socket", Exhausted())
        self.patch(Port, "doRead", lambda port: asked.append(port))
        self.port.doRead()
        self.assertEqual(asked, [self.port])

    def test_link_local_address(self) -> None:
        """An address that is one of an interface names it."""
        peers: list[Any] = []
        self.patch(self.port.factory, "buildProtocol", peers.append)
        self.patch(socket, "getnameinfo", lambda address, flags: (f"{address[0]}%if{address[3]}", "1"))
        self.patch(self.port, "_addressType", IPv6Address)
        for address in (("fe80::1", 1, 0, 7), ("::1", 2, 0, 0)):
            with socket.socket() as connected:
                self.port._take(connected, address)
        self.assertEqual([(peer.host, peer.port) for peer in peers], [("fe80::1%if7", 1), ("::1", 2)])


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
