"""Upstreams in memory: their connections, and who uses these."""

from collections.abc import Sequence
from typing import Any

from h11 import EndOfMessage, InformationalResponse, Request, Response
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.pool import Upstreams
from mles_tx.web.upstream import UpstreamConnection

from .proxying import Peer

__all__ = ["OK", "Told", "UpstreamTestCase"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def informed(self, event: InformationalResponse) -> None:
        self.told.append(event.status_code)

    def answered(self, event: Response) -> None:
        self.told.append(event.status_code)

    def body(self, data: bytes) -> None:
        self.told.append(data)

    def flush(self) -> None:
        pass

    def ended(self) -> None:
        self.told.append("ended")

    def switched(self, event: InformationalResponse, rest: bytes) -> None:
        self.told.append((event.status_code, rest))

    def upstream_received(self, data: bytes) -> None:
        self.told.append(data)

    def upstream_half_closed(self) -> None:
        self.told.append("half closed")

    def failed(self) -> None:
        self.told.append("failed")


class UpstreamTestCase(SynchronousTestCase):
    """Upstreams on a reactor in memory."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.upstreams = Upstreams(self.reactor, limit=20)
        self.upstream = self.upstreams.get("127.0.0.1", 3000, "http://127.0.0.1:3000")

    def open(self, *, fresh: bool = False) -> tuple[UpstreamConnection, Peer]:
        """A connection, and its other end."""
        before = len(self.reactor.tcpClients)
        deferred = self.upstream.connect(fresh=fresh)
        if len(self.reactor.tcpClients) > before:
            Peer(self.reactor.tcpClients[-1][2].buildProtocol(None))
        connection = self.successResultOf(deferred)
        assert isinstance(connection, UpstreamConnection)
        return connection, connection.transport

    def ask(
        self, connection: UpstreamConnection, headers: Sequence[tuple[str, str]] = (("Host", "localhost"),)
    ) -> Told:
        """Send a request."""
        user = Told()
        connection.use(user)
        connection.send(Request(method="GET", target="/", headers=list(headers)))
        connection.send(EndOfMessage())
        return user
