"""The servers requests are passed on to: connections opened, kept for the next request, and counted.

It must not know what is said on them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger

from mles_tx.channels.deadlines import Deadlines
from mles_tx.transport.certificates.names import is_ip_address

from .upstream import UpstreamConnection

__all__ = [
    "CLOSING_SECONDS",
    "CONNECT_SECONDS",
    "FAULTS",
    "IDLE_SECONDS",
    "LOG_SECONDS",
    "MAX_IDLE",
    "TooManyConnections",
    "Upstream",
    "UpstreamCounts",
    "Upstreams",
]

#: Seconds for a connection, name lookup included. On one machine it takes microseconds; two lost packets on the way
#: to another one are three seconds.
CONNECT_SECONDS = 5.0

#: Seconds a connection is kept for the next request: less than the 5 s after which Node.js and uvicorn close theirs, so
#: that a request seldom meets a connection that is just being closed.
IDLE_SECONDS = 4.0

#: Connections kept for the next request to one upstream.
MAX_IDLE = 16

#: Seconds for what is left to be sent on a connection that is to be closed.
CLOSING_SECONDS = 10.0

#: Seconds between two lines of the log about one upstream: when it is down, every request finds that out.
LOG_SECONDS = 10.0


#: What a client gets when an upstream fails: an answer with one of these statuses, or the end of one that had begun.
FAULTS = ("502", "503", "504", "cut")


@dataclass(frozen=True, slots=True)
class UpstreamCounts:
    """What has been passed on.

    Attributes:
        requests: requests for upstreams since the start; one that is sent twice counts once.
        failed: those of them that an upstream did not answer as it should, by what the client got: one of `FAULTS`.
        connections: connections to upstreams that are open or being opened.
    """

    requests: int
    failed: Mapping[str, int]
    connections: int


class TooManyConnections(Exception):
    """There are as many connections to upstreams as there may be."""


class _Factory(ClientFactory):
    noisy = False

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream

    def buildProtocol(self, addr: object) -> UpstreamConnection:
        return UpstreamConnection(self._upstream)


class Upstream:
    """One server requests are passed on to. It is made by `Upstreams`.

    Args:
        shared: what all upstreams share.
        host: its name or address.
        port: its port.
        name: how it is called in the log.
    """

    _log = Logger()

    def __init__(self, shared: "Upstreams", host: str, port: int, name: str) -> None:
        self.shared = shared
        self.clock = shared.reactor
        self._name = name
        self._idle: list[UpstreamConnection] = []
        self._told_at: float | None = None
        self._untold = 0
        endpoint: Any = HostnameEndpoint
        if is_ip_address(host):
            endpoint = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        self._endpoint = endpoint(shared.reactor, host, port)

    def asked(self) -> None:
        """Count a request."""
        self.shared.requests += 1

    def failed(self, fault: str) -> None:
        """Count a request that was not answered as it should have been.

        Args:
            fault: what the client got, one of `FAULTS`.
        """
        self.shared.failed[fault] += 1

    def connect(self, *, fresh: bool) -> "Deferred[UpstreamConnection]":
        """A connection for one request.

        Args:
            fresh: a new one, because the request could not be sent again when a used one turns out to be closed.

        Returns:
            A Deferred of it. It fails with `TooManyConnections`, with a `TimeoutError` of Twisted's after
            `CONNECT_SECONDS`, or with what the system says.
        """
        if self._idle and not fresh:
            connection = self._idle.pop()
            self.shared.idle.met(connection)
            connection.is_reused = True
            return succeed(connection)
        if not self.shared.has_room():
            return fail(TooManyConnections())
        self.shared.opening += 1
        opening: Deferred[UpstreamConnection] = self._endpoint.connect(_Factory(self))
        opening.addTimeout(CONNECT_SECONDS, self.shared.reactor)
        return opening.addBoth(self._done)

    def _done(self, result: Any) -> Any:
        self.shared.opening -= 1
        return result

    def opened(self, connection: UpstreamConnection) -> None:
        """A connection is there."""
        self.shared.connections[connection] = self

    def keep(self, connection: UpstreamConnection) -> None:
        """A connection may carry another request."""
        if self.shared.is_stopped or len(self._idle) >= MAX_IDLE:
            connection.close()
            return
        connection.resumeProducing()  # to hear when it is closed
        self._idle.append(connection)
        self.shared.idle.start(connection)

    def take_out(self, connection: UpstreamConnection) -> None:
        """A connection carries no further request; no harm when it is in use."""
        self.shared.idle.met(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def closes(self, connection: UpstreamConnection) -> None:
        """A connection is to be gone in some seconds at the latest."""
        self.shared.closing.start(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self.take_out(connection)
        self.shared.forget(connection)

    def close_oldest(self) -> bool:
        """Close one that is idle; False when there is none."""
        if not self._idle:
            return False
        oldest = self._idle[0]
        self.take_out(oldest)
        oldest.abort()
        return True

    def expire(self, connection: UpstreamConnection) -> None:
        """A connection was idle for long enough."""
        self.take_out(connection)
        connection.close()

    def report(self, problem: str) -> None:
        """Log that a request could not be answered; of many in a short time, one."""
        now = self.shared.reactor.seconds()
        if self._told_at is not None and now - self._told_at < LOG_SECONDS:
            self._untold += 1
            return
        more = " (and {untold} more times since the last such line)" if self._untold else ""
        self._log.warn("proxy: {upstream} {problem}" + more, upstream=self._name, problem=problem, untold=self._untold)
        self._told_at, self._untold = now, 0


class Upstreams:
    """All upstreams of a server, and what they share.

    Args:
        reactor: whose connections these are.
        limit: connections there may be to all of them together.
    """

    def __init__(self, reactor: Any, limit: int) -> None:
        self.reactor = reactor
        self._limit = limit
        self._upstreams: dict[tuple[str, int], Upstream] = {}
        self._empty: Deferred[None] | None = None
        self.connections: dict[UpstreamConnection, Upstream] = {}
        self.opening = 0
        self.requests = 0
        self.failed = dict.fromkeys(FAULTS, 0)
        self.is_stopped = False
        self.idle = Deadlines[UpstreamConnection](
            reactor, IDLE_SECONDS, lambda connection: self.connections[connection].expire(connection)
        )
        self.closing = Deadlines[UpstreamConnection](reactor, CLOSING_SECONDS, UpstreamConnection.abort)

    def get(self, host: str, port: int, name: str) -> Upstream:
        """The upstream at an address; one for all routes that lead to it."""
        if (host, port) not in self._upstreams:
            self._upstreams[host, port] = Upstream(self, host, port, name)
        return self._upstreams[host, port]

    def counts(self) -> UpstreamCounts:
        """What has been passed on."""
        return UpstreamCounts(self.requests, dict(self.failed), len(self.connections) + self.opening)

    def has_room(self) -> bool:
        """Whether one more connection may be opened; an idle one makes room for it."""
        if len(self.connections) + self.opening < self._limit:
            return True
        return any(upstream.close_oldest() for upstream in self._all())

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self.closing.met(connection)
        self.connections.pop(connection, None)
        if not self.connections and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def stop(self) -> "Deferred[None]":
        """End all connections; whoever uses one has gone.

        Returns:
            A Deferred that fires when no connection and no timer is left.
        """
        self.is_stopped = True
        self.idle.stop()
        self.closing.stop()
        for connection in list(self.connections):
            connection.abort()
        if not self.connections:
            return succeed(None)
        self._empty = Deferred()
        return self._empty

    def _all(self) -> Iterable[Upstream]:
        return self._upstreams.values()
