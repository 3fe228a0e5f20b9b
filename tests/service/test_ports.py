"""Listening sockets and the door behind them: bound, accepting, drained, gone."""

import os
import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from mles_tx.metrics import Metrics
from mles_tx.service.binding import DRAIN_SECONDS
from mles_tx.service.config import ServerConfig
from mles_tx.service.ports import PortService
from mles_tx.transport.admission import Admission
from mles_tx.transport.door import Door
from mles_tx.transport.doors import DoorFactory
from mles_tx.transport.inherited import InheritedSockets, SystemdSocket
from mles_tx.transport.port import BindError, ListeningPort
from tests.descriptors import descriptors
from tests.transport.fakes import FakeTransport

from .servers import occupied

CONFIG = ServerConfig(domains=("localhost",), interfaces=("127.0.0.1",))


class Service(PortService):
    """The least there is to a service with ports; what it is told to do is written down."""

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig = CONFIG,
        number: int = 0,
        wanted: Sequence[SystemdSocket] = (),
        inherited: InheritedSockets | None = None,
    ) -> None:
        super().__init__(reactor, config, number, "--some-port", wanted, "--some-socket", inherited)
        self.admission = Admission(reactor, Metrics())
        self.door = DoorFactory(reactor, None, Site(Resource()))
        self.gone: Deferred[None] = Deferred()
        self.told = 0

    def make_port(self, bound: socket.socket) -> ListeningPort:
        return ListeningPort(bound, self.door, self._reactor, self.admission)

    def tell_all(self) -> "Deferred[None]":
        self.told += 1
        return self.gone


class PortServiceTests(SynchronousTestCase):
    """On a clock, with real sockets that nobody connects to."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        service = self.start(Service(self.reactor))  # the first port of a process has Twisted open something for good
        service.gone.callback(None)
        self.stop(service)
        self.before = descriptors()

    def start(self, service: Service) -> Service:
        """One that accepts."""
        service.privilegedStartService()
        service.startService()
        return service

    def stop(self, service: Service) -> "Deferred[None]":
        """One that is stopping."""
        stopped = service.stopService()
        self.reactor.advance(0)
        return stopped

    def connect(self, service: Service) -> FakeTransport:
        """Somebody at the door who says nothing."""
        door = service.door.buildProtocol(None)
        assert isinstance(door, Door)
        return FakeTransport(door)

    def assert_over(self, service: Service, stopped: "Deferred[None]") -> None:
        """It has stopped, and no timer, socket or connection is left."""
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(service.addresses, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((self.reactor.getReaders(), self.reactor.getWriters()), ([], []))
        self.assertEqual(descriptors(), self.before)

    def test_bound_before_it_accepts(self) -> None:
        """The address is taken as soon as it is bound, and nobody is served until it is started."""
        service = Service(self.reactor)
        service.privilegedStartService()
        self.assertEqual((service.addresses, self.reactor.getReaders()), ([], []))
        self.assertGreater(len(descriptors()), len(self.before))
        service.startService()
        ((host, port),) = service.addresses
        self.assertEqual((host, len(self.reactor.getReaders())), ("127.0.0.1", 1))
        error = self.assertRaises(BindError, Service(self.reactor, number=port).privilegedStartService)
        self.assertIn("or choose another --some-port", str(error))
        service.gone.callback(None)
        self.assert_over(service, self.stop(service))

    def test_no_ports(self) -> None:
        """A server that is mounted in somebody else's site has none."""
        service = self.start(Service(self.reactor, ServerConfig(listen=False)))
        self.assertEqual((service.addresses, self.reactor.getReaders()), ([], []))
        service.gone.callback(None)
        self.assert_over(service, self.stop(service))

    def test_port_in_use(self) -> None:
        """A port that is taken is told, and nothing stays open."""
        other, port = occupied()
        self.addCleanup(other.close)
        self.before = descriptors()
        self.assertRaises(BindError, Service(self.reactor, number=port).startService)
        self.assertEqual(descriptors(), self.before)

    def test_inherited(self) -> None:
        """Sockets that listen already are served, and go on listening when the service has stopped; once more, too."""
        listening, port = occupied()
        self.addCleanup(listening.close)
        self.before = descriptors()
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        inherited = InheritedSockets(environ, listening.fileno())
        for _ in range(2):
            service = self.start(Service(self.reactor, wanted=[SystemdSocket(0)], inherited=inherited))
            self.assertEqual(service.addresses, [("127.0.0.1", port)])
            service.gone.callback(None)
            self.assert_over(service, self.stop(service))
            inherited.give_back()
            with socket.create_connection(("127.0.0.1", port), 5):
                listening.accept()[0].close()

    def test_not_inherited(self) -> None:
        """A socket that was not passed is told, with the option that asks for it."""
        service = Service(self.reactor, wanted=[SystemdSocket(None, "https")], inherited=InheritedSockets({}))
        error = self.assertRaises(BindError, service.privilegedStartService)
        self.assertEqual(
            str(error),
            "--some-socket systemd:name=https: no socket was passed: start it by its socket unit,"
            " or leave the option away",
        )

    def test_never_started(self) -> None:
        """Sockets that were bound and never accepted anybody are closed."""
        service = Service(self.reactor)
        service.privilegedStartService()
        service.gone.callback(None)
        self.assert_over(service, self.stop(service))

    def test_drain(self) -> None:
        """Ports first, then everybody is told; it is over when the last one has gone, inside the door or beyond it."""
        service = self.start(Service(self.reactor))
        peer = self.connect(service)
        stopped = self.stop(service)
        self.assertEqual((service.addresses, service.told, peer.finished), ([], 1, True))
        service.gone.callback(None)
        self.assertNoResult(stopped)
        peer.hang_up()
        self.assert_over(service, stopped)

    def test_grace(self) -> None:
        """Who is at the door for longer than the grace is cut off."""
        service = self.start(Service(self.reactor))
        peer = self.connect(service)
        service.gone.callback(None)
        stopped = self.stop(service)
        self.reactor.advance(DRAIN_SECONDS - 0.5)
        self.assertFalse(peer.aborted)
        self.assertNoResult(stopped)
        self.reactor.advance(0.5)
        self.assertTrue(peer.aborted)
        self.assert_over(service, stopped)

    def test_restart(self) -> None:
        """Where another process goes on, who was accepted is heard before everybody is told; for a while only."""
        service = self.start(Service(self.reactor))
        service.is_restart = True
        heard, silent = self.connect(service), self.connect(service)
        service.gone.callback(None)
        stopped = self.stop(service)
        heard.receive(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.reactor.pump([0.1] * 5)
        self.assertEqual((service.told, heard.taken()[:12]), (0, b"HTTP/1.1 404"))
        self.reactor.pump([0.1] * 20)
        self.assertEqual((service.told, silent.finished), (1, True))
        for peer in (heard, silent):
            peer.hang_up()
        self.assert_over(service, stopped)

    def test_restart_with_nobody(self) -> None:
        """There nobody is waited for who has said what it wants."""
        service = self.start(Service(self.reactor))
        service.is_restart = True
        service.gone.callback(None)
        self.assert_over(service, self.stop(service))

    def test_given(self) -> None:
        """Sockets that listen already are taken as they are."""
        bound = socket.create_server(("127.0.0.1", 0))
        service = Service(self.reactor)
        service._sockets = [bound]
        address = bound.getsockname()
        self.assertEqual(self.start(service).addresses, [address])
        service.gone.callback(None)
        self.assert_over(service, self.stop(service))

    def test_abort(self) -> None:
        """Who does not want to wait ends it."""
        service = self.start(Service(self.reactor))
        peer = self.connect(service)
        service.gone.callback(None)
        stopped = self.stop(service)
        self.assertNoResult(stopped)
        service.abort()
        self.assertTrue(peer.aborted)
        self.assert_over(service, stopped)
