"""Ports driven by hand: real sockets on free loopback ports, without a reactor."""

import errno
import fcntl
import select
import socket
import sys
import termios
from typing import Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.admission import Admission
from mles_tx.transport.contexts import ICertificates
from mles_tx.transport.port import ListeningPort, bind
from mles_tx.transport.tcp import Preface

__all__ = ["LOOPBACK", "ListeningPortTestCase", "Recorder", "SocketTestCase"]

LOOPBACK = "127.0.0.1"


def unacknowledged(connected: socket.socket) -> int:
    """Bytes the kernel has not got rid of yet: they may still be on their way, also on this machine (tcp(7))."""
    return int.from_bytes(fcntl.ioctl(connected, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


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
        self.port = ListeningPort(bound, factory, self.reactor, self.admission(), self.certificates(), *self.prefaces())
        self.port.startListening()
        self.addCleanup(self._stop)

    def admission(self) -> Admission | None:
        """Who is let in."""
        return None

    def certificates(self) -> ICertificates | None:
        """What is shown to clients; None: no TLS is spoken."""
        return None

    def prefaces(self) -> tuple[Preface | None, ...]:
        """What is read before anything else: what stands behind the PROXY header, and that header."""
        return ()

    def _build(self) -> Recorder:
        self.built.append(Recorder())
        return self.built[-1]

    def _stop(self) -> None:
        self.port.stopListening()
        self.reactor.advance(0)

    def connect(self) -> tuple[socket.socket, Any]:
        """A connection: the client's end and the server's transport."""
        client = self.dial(self.number)
        select.select([self.port.socket], [], [], 20)
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
        is_on_its_way = transport.connected and unacknowledged(transport.socket) > 0
        readable, writable, _ = select.select([client], writing, [], 20 if writing else 0.05 if is_on_its_way else 0)
        if writable:
            reason = transport.doWrite()
            if reason is not None:
                self.reactor.removeWriter(transport)
                transport.connectionLost(Failure(reason))
        if readable:
            return client.recv(1 << 20)
        return b"" if writing or is_on_its_way else None

    def drain(self, client: socket.socket, transport: Any) -> bytes:
        """Read and write in turn until everything that waits is with the client."""
        received = b""
        while (data := self.turn(client, transport)) is not None:
            received += data
        return received
