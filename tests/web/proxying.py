"""A proxy in memory: clients at its door, and upstreams that do what tests tell them."""

import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.static import Data

from mles_tx.channels.history import MemoryHistory
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.protocol.forwarded import NOBODY
from mles_tx.transport.connection import Settings
from mles_tx.transport.connections import MlesFactory
from mles_tx.transport.doors import DoorFactory
from mles_tx.transport.share import TurnShare
from mles_tx.web.hosts import make_site
from mles_tx.web.proxy import Proxy
from mles_tx.web.routes import Route
from tests.transport.fakes import FakeTransport

__all__ = ["API", "Peer", "ProxyTestCase", "ask"]

API = Route("/api", "127.0.0.1", 3000)


def ask(target: str = "/api/x", *lines: str, method: str = "GET", host: str = "localhost", body: bytes = b"") -> bytes:
    """A request."""
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


class _Handle:
    """Stands for a socket: it knows what the other end has acknowledged."""

    def __init__(self, peer: "Peer") -> None:
        self._peer = peer

    def getsockopt(self, *_: int) -> bytes:
        """``struct tcp_info`` as Linux has it."""
        return bytes(120) + self._peer.bytes_acknowledged.to_bytes(8, sys.byteorder)


class Peer(FakeTransport):
    """One end of a connection. Like a real one it takes it easy when it is told to stop twice."""

    _lenient = True

    def getHandle(self) -> _Handle:  # noqa: N802
        return _Handle(self)

    def unregisterProducer(self) -> None:
        self.producer = None

    def end(self) -> None:
        """It sends nothing more."""
        self.protocol.readConnectionLost()

    def reset(self) -> None:
        """It breaks off."""
        self._lose(ConnectionLost())

    @property
    def is_read(self) -> bool:
        return self.producerState == "producing"


class ProxyTestCase(SynchronousTestCase):
    """A door with a site, Mles and a proxy behind it; the reactor is in memory."""

    routes: Sequence[Route] = (API,)
    limit = 10
    trusted = NOBODY

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        registry = ChannelRegistry(self.reactor, MemoryHistory(self.reactor, limit=200))
        self.mles = MlesFactory(self.reactor, registry, Settings())
        self.counted: list[str] = []
        self.proxy = Proxy(
            self.reactor, self.routes, {"localhost", "example.org"}, self.limit, self.trusted, self._seconds_to_wait
        )
        site = make_site({"localhost": Data(b"a page", "text/plain")})
        self.door = DoorFactory(
            self.reactor, self.mles, site, share=TurnShare(self.reactor, 1_000_000), relays=self.proxy
        )
        self.logged: list[str] = []
        observer: Any = self._observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _seconds_to_wait(self, client: str) -> float:
        """Two connections of an address are let in."""
        self.counted.append(client)
        return 0.0 if self.counted.count(client) <= 2 else 41.5

    def _observe(self, event: LogEvent) -> None:
        if event["log_level"].name in ("warn", "error", "critical"):
            self.logged.append(formatEvent(event))

    def connect(self, data: bytes = b"", *provides: Any) -> Peer:
        """A client that has sent something."""
        client = Peer(self.door.buildProtocol(None), *provides)
        if data:
            client.receive(data)
        return client

    @property
    def opening(self) -> list[Any]:
        """The factories of the connections to upstreams that have been asked for so far."""
        return [factory for _, _, factory, _, _ in self.reactor.tcpClients]

    def accept(self, index: int = -1) -> Peer:
        """An upstream takes a connection."""
        factory = self.opening[index]
        return Peer(factory.buildProtocol(None))

    def refuse(self, index: int = -1) -> None:
        """It does not."""
        self.opening[index].clientConnectionFailed(None, Failure(ConnectError()))

    def exchange(self, data: bytes) -> tuple[Peer, Peer]:
        """A client that has sent something, and the upstream that has taken the connection for it."""
        client = self.connect(data)
        return client, self.accept()

    def assert_nothing_left(self) -> None:
        """When the server has stopped, no timer and no connection is left."""
        self.door.abort_all()
        self.door.stop()
        stopped = self.proxy.stop()
        self.successResultOf(stopped)
        self.assertEqual((self.proxy.upstreams.connections, self.door.doors), ({}, set()))
        self.assertEqual(self.proxy.upstreams.opening, 0)
        self.mles.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
