"""Connections to the servers requests are passed on to: opened, used for one request after the other, closed.

HTTP is h11's. It must not know clients.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from h11 import (
    CLIENT,
    DONE,
    NEED_DATA,
    PAUSED,
    Connection,
    Data,
    EndOfMessage,
    Event,
    InformationalResponse,
    RemoteProtocolError,
    Response,
)
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mles_tx.channels.deadlines import Deadlines
from mles_tx.transport.certificates.names import is_ip_address
from mles_tx.transport.tcp import acknowledged

__all__ = [
    "CLOSING_SECONDS",
    "CONNECT_SECONDS",
    "IDLE_SECONDS",
    "LOG_SECONDS",
    "MAX_IDLE",
    "MAX_PIECES",
    "TooManyConnections",
    "Upstream",
    "UpstreamConnection",
    "Upstreams",
    "User",
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

#: Pieces of a body that are taken in a turn: each costs 10 µs, whatever its size, and 64 KiB may hold 10,000.
MAX_PIECES = 200

#: Bytes of the head of an answer: more than of a request, because of cookies.
_MAX_HEAD_BYTES = 64 * 1024


class TooManyConnections(Exception):
    """There are as many connections to upstreams as there may be."""


class User(Protocol):
    """Who has sent a request on a connection, and is told what comes of it."""

    def informed(self, event: InformationalResponse) -> None:
        """An answer before the answer (1xx), 101 excepted."""

    def answered(self, event: Response) -> None:
        """The head of the answer."""

    def body(self, data: bytes) -> None:
        """A piece of its body."""

    def flush(self) -> None:
        """That was all that came at one time."""

    def ended(self) -> None:
        """The whole answer was there; the connection has been taken back."""

    def switched(self, event: InformationalResponse, rest: bytes) -> None:
        """The upstream switches to WebSocket (101), and has sent `rest` behind that."""

    def upstream_received(self, data: bytes) -> None:
        """After a switch: something came."""

    def upstream_half_closed(self) -> None:
        """After a switch: the upstream sends nothing more."""

    def failed(self) -> None:
        """The connection broke, or what came is no HTTP; it is gone."""


@implementer(IHalfCloseableProtocol)
class UpstreamConnection(TwistedProtocol):
    """One connection to an upstream.

    Args:
        upstream: whose it is.
    """

    transport: Any
    _log = Logger()

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
        self._http = Connection(CLIENT, _MAX_HEAD_BYTES)
        self._user: User | None = None
        self._is_switched = False
        self._is_paused = False
        self._later: IDelayedCall | None = None  # for what has come and was not told yet
        self.is_lost = False
        self.is_reused = False  #: it has carried a request before
        self.received = 0  #: bytes that came since the request

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._upstream.shared.connections.add(self)

    def use(self, user: User) -> None:
        """Send one request on it."""
        self._user = user
        self.received = 0

    def send(self, event: Event) -> None:
        """A part of the request."""
        data = self._http.send(event)
        if data:
            self.transport.write(data)

    @property
    def bytes_taken(self) -> int:
        """Bytes of all requests that the upstream's system has acknowledged."""
        return acknowledged(self.transport.getHandle())

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        if self._user is None:
            self.abort()  # nobody has asked: it must not be taken for the next answer
        elif self._is_switched:
            self._user.upstream_received(data)
        else:
            self._http.receive_data(data)
            if self._later is None:
                self._read()

    def pauseProducing(self) -> None:
        """Read nothing more of the answer for now."""
        self._is_paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._is_paused = False
        if self._later is None:
            self.transport.resumeProducing()

    def readConnectionLost(self) -> None:  # noqa: N802
        user = self._user
        if user is None:
            self._upstream.take_out(self)
            self.transport.loseConnection()
        elif self._is_switched:
            user.upstream_half_closed()
        else:
            self._http.receive_data(b"")  # the end of an answer without a length, perhaps
            self._read()
            if self._user is not None:
                self._fail()

    def writeConnectionLost(self) -> None:  # noqa: N802
        pass  # that was us

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_lost = True
        self._forget_rest()
        user, self._user = self._user, None
        self._upstream.shared.forget(self)
        self._upstream.take_out(self)
        if user is not None:
            user.failed()

    def close(self) -> None:
        """Send what waits, and close; nobody is told."""
        self._user = None
        if not self.is_lost:
            self._upstream.shared.closing.start(self)
            self.transport.loseConnection()

    def abort(self) -> None:
        """End it now; nobody is told."""
        self._user = None
        self._forget_rest()
        if not self.is_lost:
            self.transport.abortConnection()

    def _forget_rest(self) -> None:
        later, self._later = self._later, None
        if later is not None:
            later.cancel()

    def _read_on(self) -> None:
        self._later = None
        self._read()
        if self._later is None and self._user is not None and not self._is_paused:
            self.transport.resumeProducing()

    def _read(self) -> None:
        pieces: list[bytes] = []
        user = self._user
        try:
            while self._user is not None:
                event = self._http.next_event()
                if type(event) is Data:
                    pieces.append(event.data)
                    if len(pieces) < MAX_PIECES:
                        continue
                if pieces:
                    self._user.body(b"".join(pieces))
                    pieces = []
                if type(event) is Data:
                    self.transport.pauseProducing()  # the others have their turn first
                    if self._later is None:
                        self._later = self._upstream.shared.reactor.callLater(0, self._read_on)
                    break
                if event is NEED_DATA or event is PAUSED or not self._told(event):
                    break
            if user is not None and not self._is_switched:
                user.flush()
        except RemoteProtocolError:
            self._fail()
        except Exception:
            self._log.failure("an upstream's answer could not be passed on")
            self._fail()

    def _told(self, event: Any) -> bool:
        """Tell the user of an event; whether there may be more of them."""
        user = self._user
        if user is None:
            return False
        if type(event) is InformationalResponse:
            if event.status_code != 101:
                user.informed(event)
                return True
            self._is_switched = True
            user.switched(event, self._http.trailing_data[0])
        elif type(event) is Response:
            user.answered(event)
            return True
        elif type(event) is EndOfMessage:
            self._user = None
            self._give_back()
            user.ended()
        return False

    def _give_back(self) -> None:
        http = self._http
        if http.our_state is DONE and http.their_state is DONE and not http.trailing_data[0] and not self.is_lost:
            http.start_next_cycle()
            self._upstream.keep(self)
        else:
            self.abort()

    def _fail(self) -> None:
        user, self._user = self._user, None
        self.abort()
        if user is not None:
            user.failed()


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
        self._name = name
        self._idle: list[UpstreamConnection] = []
        self._told_at: float | None = None
        self._untold = 0
        endpoint: Any = HostnameEndpoint
        if is_ip_address(host):
            endpoint = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        self._endpoint = endpoint(shared.reactor, host, port)

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
        return opening.addBoth(self._opened)

    def _opened(self, result: Any) -> Any:
        self.shared.opening -= 1
        return result

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
        self.connections: set[UpstreamConnection] = set()
        self.opening = 0
        self.is_stopped = False
        self.idle = Deadlines[UpstreamConnection](
            reactor, IDLE_SECONDS, lambda connection: connection._upstream.expire(connection)
        )
        self.closing = Deadlines[UpstreamConnection](reactor, CLOSING_SECONDS, UpstreamConnection.abort)

    def get(self, host: str, port: int, name: str) -> Upstream:
        """The upstream at an address; one for all routes that lead to it."""
        if (host, port) not in self._upstreams:
            self._upstreams[host, port] = Upstream(self, host, port, name)
        return self._upstreams[host, port]

    def has_room(self) -> bool:
        """Whether one more connection may be opened; an idle one makes room for it."""
        if len(self.connections) + self.opening < self._limit:
            return True
        return any(upstream.close_oldest() for upstream in self._all())

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self.closing.met(connection)
        self.connections.discard(connection)
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
