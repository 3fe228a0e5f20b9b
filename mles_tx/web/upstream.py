"""A connection to a server requests are passed on to: one request after the other, or a WebSocket.

HTTP is h11's. It must not know clients, nor who opens connections and keeps them.
"""

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
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mles_tx.transport.tcp import acknowledged

__all__ = ["MAX_PIECES", "Owner", "UpstreamConnection", "User"]

#: Pieces of a body that are taken in a turn: each costs 10 µs, whatever its size, and 64 KiB may hold 10,000.
MAX_PIECES = 200

#: Bytes of the head of an answer: more than of a request, because of cookies.
_MAX_HEAD_BYTES = 64 * 1024


class Owner(Protocol):
    """Who has opened a connection, and keeps it between two requests."""

    clock: Any  #: the reactor

    def opened(self, connection: "UpstreamConnection") -> None:
        """It is there."""

    def keep(self, connection: "UpstreamConnection") -> None:
        """It may carry another request."""

    def take_out(self, connection: "UpstreamConnection") -> None:
        """It may not, if it was kept for one."""

    def closes(self, connection: "UpstreamConnection") -> None:
        """It is to be gone as soon as everything was sent, and in some seconds at the latest."""

    def forget(self, connection: "UpstreamConnection") -> None:
        """It is gone."""


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
        owner: whose it is.
    """

    transport: Any
    _log = Logger()

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
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
        self._owner.opened(self)

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
            self._owner.take_out(self)
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
        self._owner.forget(self)
        if user is not None:
            user.failed()

    def close(self) -> None:
        """Send what waits, and close; nobody is told."""
        self._user = None
        if not self.is_lost:
            self._owner.closes(self)
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
                        self._later = self._owner.clock.callLater(0, self._read_on)
                    break
                if event is NEED_DATA or event is PAUSED or not self._told(event):
                    break
            if user is not None and not self._is_switched:
                user.flush()
        except RemoteProtocolError as error:
            error.__traceback__ = None  # h11 has raised it in a frame that refers to it
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
            self._owner.keep(self)
        else:
            self.abort()

    def _fail(self) -> None:
        user, self._user = self._user, None
        self.abort()
        if user is not None:
            user.failed()
