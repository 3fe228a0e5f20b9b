"""Connections to upstreams: opened, used again, closed, and what is logged about them."""

from typing import Any

from h11 import EndOfMessage, InformationalResponse, Request, Response
from twisted.internet.defer import TimeoutError
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.web.upstream import (
    CLOSING_SECONDS,
    CONNECT_SECONDS,
    IDLE_SECONDS,
    LOG_SECONDS,
    MAX_IDLE,
    TooManyConnections,
    UpstreamConnection,
    Upstreams,
)

from .proxying import Peer, ProxyTestCase

GET = Request(method="GET", target="/", headers=[("Host", "localhost")])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _User:
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

    def ask(self, connection: UpstreamConnection) -> _User:
        """Send a request."""
        user = _User()
        connection.use(user)
        connection.send(GET)
        connection.send(EndOfMessage())
        return user


class ConnectionTests(UpstreamTestCase):
    """One request after the other."""

    def test_interface(self) -> None:
        """It hears of an end that is not the end of both directions."""
        self.assertTrue(verifyObject(IHalfCloseableProtocol, self.open()[0]))

    def test_used_again(self) -> None:
        """After a whole answer the connection carries the next request; the latest one first, new ones on demand."""
        first, peer = self.open()
        self.assertFalse(first.is_reused)
        user = self.ask(first)
        peer.receive(OK)
        self.assertEqual(user.told, [200, b"ok", "ended"])
        again, _ = self.open()
        self.assertIs(again, first)
        self.assertTrue(again.is_reused)
        self.assertEqual(again.received, len(OK))
        user = self.ask(again)
        self.assertEqual(again.received, 0)
        other, _ = self.open()
        self.assertIsNot(other, first)
        peer.receive(OK)
        self.assertEqual(user.told, [200, b"ok", "ended"])
        fresh, _ = self.open(fresh=True)
        self.assertNotIn(fresh, (first, other))

    def test_not_used_again(self) -> None:
        """A connection is not used again when somebody wants to close it, or more came than was asked for."""
        for answer in (
            OK.replace(b"Content", b"Connection: close\r\nContent"),
            OK.replace(b"1.1", b"1.0"),
            OK + b"x",
            OK + OK,
        ):
            connection, peer = self.open()
            user = self.ask(connection)
            peer.receive(answer)
            self.assertEqual((user.told, peer.aborted), ([200, b"ok", "ended"], True), answer)
        before = len(self.reactor.tcpClients)
        self.open()
        self.assertEqual(len(self.reactor.tcpClients), before + 1)

    def test_something_unasked(self) -> None:
        """What comes when nobody has asked is never taken for the next answer."""
        connection, peer = self.open()
        self.ask(connection)
        peer.receive(OK)
        peer.receive(OK)
        self.assertTrue(peer.aborted)
        other, _ = self.open()
        self.assertIsNot(other, connection)

    def test_closed_while_idle(self) -> None:
        """A connection that the upstream closes is not used again."""
        for end in (Peer.end, Peer.reset):
            connection, peer = self.open()
            self.ask(connection)
            peer.receive(OK)
            end(peer)
            other, _ = self.open()
            self.assertIsNot(other, connection)
            other.abort()

    def test_idle(self) -> None:
        """It is kept for some seconds, and no longer."""
        connection, peer = self.open()
        self.ask(connection)
        peer.receive(OK)
        self.reactor.advance(IDLE_SECONDS - 1)
        self.assertFalse(peer.finished)
        self.reactor.advance(1)
        self.assertTrue(peer.finished)
        self.reactor.advance(CLOSING_SECONDS)
        self.assertTrue(peer.aborted, "and it is not waited for")

    def test_many_idle(self) -> None:
        """No more are kept than may be of use."""
        pairs = [self.open() for _ in range(MAX_IDLE + 2)]
        for connection, peer in pairs:
            self.ask(connection)
            peer.receive(OK)
        self.assertEqual([peer.finished for _, peer in pairs], [False] * MAX_IDLE + [True] * 2)

    def test_user_fails(self) -> None:
        """A fault in whoever gets the answer is logged, and ends the connection."""
        connection, peer = self.open()
        user = self.ask(connection)
        user.body = lambda data: 1 / 0  # type: ignore[assignment, method-assign]
        peer.receive(OK)
        self.assertEqual((user.told, peer.aborted), ([200, "failed"], True))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LimitTests(UpstreamTestCase):
    """How many connections there are."""

    def test_limit(self) -> None:
        """There is a bound for all upstreams together; idle connections make room."""
        pairs = [self.open() for _ in range(20)]
        self.failureResultOf(self.upstream.connect(fresh=False), TooManyConnections)
        other = self.upstreams.get("::1", 3000, "http://[::1]:3000")
        self.failureResultOf(other.connect(fresh=False), TooManyConnections)
        connection, peer = pairs[0]
        self.ask(connection)
        peer.receive(OK)
        self.assertNoResult(other.connect(fresh=False))
        self.assertTrue(peer.aborted)
        self.failureResultOf(self.upstream.connect(fresh=False), TooManyConnections)

    def test_opening(self) -> None:
        """Those on their way count, and those that failed do not."""
        opening = [self.upstream.connect(fresh=False) for _ in range(20)]
        self.failureResultOf(self.upstream.connect(fresh=False), TooManyConnections)
        self.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(ConnectError()))
        self.failureResultOf(opening[0], ConnectError)
        self.assertNoResult(self.upstream.connect(fresh=False))

    def test_one_address(self) -> None:
        """Routes to the same address share its connections."""
        self.assertIs(self.upstreams.get("127.0.0.1", 3000, "x"), self.upstream)
        self.assertIsNot(self.upstreams.get("127.0.0.1", 3001, "x"), self.upstream)

    def test_addresses(self) -> None:
        """Addresses of both kinds are connected to as they are."""
        self.upstream.connect(fresh=False)
        self.upstreams.get("::1", 3001, "").connect(fresh=False)
        self.assertEqual([client[:2] for client in self.reactor.tcpClients], [("127.0.0.1", 3000), ("::1", 3001)])

    def test_timeout(self) -> None:
        """A connection that does not come about is given up."""
        opening = self.upstream.connect(fresh=False)
        self.reactor.advance(CONNECT_SECONDS)
        failure = self.failureResultOf(opening)
        self.assertTrue(failure.check(TimeoutError) or "Cancelled" in failure.type.__name__, failure)
        self.assertEqual(self.upstreams.opening, 0)

    def test_stop(self) -> None:
        """When the server stops all are closed, whatever they are doing, and no timer is left."""
        used, idle = self.open(), self.open()
        self.ask(idle[0])
        idle[1].receive(OK)
        self.ask(used[0])
        self.successResultOf(self.upstreams.stop())
        self.assertEqual((used[1].aborted, idle[1].aborted), (True, True))
        self.assertEqual((self.upstreams.connections, self.reactor.getDelayedCalls()), (set(), []))


class ReportTests(ProxyTestCase):
    """What is logged."""

    def test_rate(self) -> None:
        """One line in ten seconds for an upstream, with the number of those that were left out."""
        one = self.proxy.upstreams.get("127.0.0.1", 1, "http://127.0.0.1:1")
        two = self.proxy.upstreams.get("127.0.0.1", 2, "http://127.0.0.1:2")
        for _ in range(5):
            one.report("failed")
        two.report("failed")
        self.assertEqual(self.logged, ["proxy: http://127.0.0.1:1 failed", "proxy: http://127.0.0.1:2 failed"])
        self.reactor.advance(LOG_SECONDS)
        one.report("failed again")
        self.assertEqual(
            self.logged[2:], ["proxy: http://127.0.0.1:1 failed again (and 4 more times since the last such line)"]
        )
