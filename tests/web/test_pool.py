"""Upstreams: connections opened, kept, counted, and what is logged about them."""

from twisted.internet.defer import TimeoutError
from twisted.internet.error import ConnectError
from twisted.python.failure import Failure

from mles_tx.web.pool import (
    CLOSING_SECONDS,
    CONNECT_SECONDS,
    FAULTS,
    IDLE_SECONDS,
    LOG_SECONDS,
    MAX_IDLE,
    TooManyConnections,
    UpstreamCounts,
)
from mles_tx.web.progress import LOOK_SECONDS, SILENT_LOOKS

from .proxying import ProxyTestCase, ask
from .upstreams import OK, UpstreamTestCase


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
        self.assertEqual((self.upstreams.connections, self.reactor.getDelayedCalls()), ({}, []))

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


class CountTests(ProxyTestCase):
    """What is counted."""

    def counts(self) -> UpstreamCounts:
        return self.proxy.upstreams.counts()

    def test_requests(self) -> None:
        """A request counts once, answered or not; a connection while it is opened and while it is kept."""
        self.connect(ask())
        self.assertEqual(self.counts(), UpstreamCounts(1, dict.fromkeys(FAULTS, 0), 1))
        self.accept().receive(OK)
        self.connect(ask())
        self.assertEqual(self.counts(), UpstreamCounts(2, dict.fromkeys(FAULTS, 0), 1), "over the same connection")
        self.connect(ask(host="elsewhere.example"))
        self.assertEqual(self.counts().requests, 2, "that is no host of ours")

    def test_sent_again(self) -> None:
        """A request that met a connection just being closed, and goes well at the second one, is one good request."""
        _, upstream = self.exchange(ask())
        upstream.receive(OK)
        client = self.connect(ask())
        upstream.reset()
        self.accept().receive(OK)
        self.assertIn(b" 200 OK", client.taken())
        self.assertEqual((self.counts().requests, set(self.counts().failed.values())), (2, {0}))

    def test_faults(self) -> None:
        """What an upstream does wrong is counted by what the client gets for it."""
        self.connect(ask())
        self.refuse()
        self.exchange(ask())[1].receive(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.exchange(ask())
        self.reactor.advance(LOOK_SECONDS)
        self.exchange(ask())[1].receive(OK[:-1])
        self.reactor.pump([LOOK_SECONDS] * SILENT_LOOKS)
        upstream = self.exchange(ask())[1]
        upstream.receive(OK[:-1])
        upstream.reset()
        self.assertEqual(self.counts(), UpstreamCounts(5, {"502": 2, "503": 0, "504": 1, "cut": 2}, 0))

    def test_full(self) -> None:
        """So are those that were not asked, because there are too many connections."""
        for _ in range(self.limit + 2):
            self.connect(ask())
        self.assertEqual((self.counts().failed["503"], self.counts().connections), (2, self.limit))

    def test_faults_of_clients(self) -> None:
        """A client that goes, or sends what is no request, is no fault of an upstream."""
        self.exchange(ask())[0].hang_up()
        self.exchange(ask("/api/x", "Transfer-Encoding: chunked", method="PUT") + b"x\r\n")
        self.connect(ask("/api/../x"))
        self.assertEqual(set(self.counts().failed.values()), {0})


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
