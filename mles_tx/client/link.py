"""One connection to a server: Autobahn's client protocol, set up once and kept within bounds.

It must not know what is said on it, nor what happens when it has ended.
"""

from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectionResponse
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Interface

from mles_tx.protocol.extensions import CAUGHT_UP, EXTENSIONS_HEADER, Extensions, parse_extensions
from mles_tx.protocol.header import MAX_MESSAGE_BYTES

from .config import ClientConfig

__all__ = ["SUBPROTOCOL", "Ending", "ILinkUser", "Link", "LinkFactory"]

#: The subprotocol registered with IANA for Mles.
SUBPROTOCOL = "mles-websocket"

#: Bytes of a message that are taken: servers may allow more than ours do.
_MAX_RECEIVED_BYTES = 16 * MAX_MESSAGE_BYTES

#: Bytes of the answer to our request.
_MAX_HEAD_BYTES = 64 * 1024


class Ending:
    """How a link has ended, as far as it is known.

    Attributes:
        code: the server's close code; None: it has sent no close frame.
        text: what it said with it, or what is wrong with it.
        status: the HTTP status when the server did not upgrade; None: it did, or it did not come to that.
        answered: whether the server has answered our close frame.
        failure: how the connection was lost.
    """

    __slots__ = ("answered", "code", "failure", "status", "text")

    def __init__(self) -> None:
        self.code: int | None = None
        self.text = ""
        self.status: int | None = None
        self.answered = False
        self.failure: Failure | None = None


class ILinkUser(Interface):
    """Who uses a link."""

    def link_open(link: "Link") -> None:
        """The WebSocket is open."""

    def link_received(link: "Link", payload: bytes, is_binary: bool) -> None:
        """A whole message came."""

    def link_heard(link: "Link") -> None:
        """Something came, whatever it is."""

    def link_caught_up(link: "Link") -> None:
        """All that waited for us when we asked has come; only from servers that answer this."""

    def link_writable(link: "Link") -> None:
        """More can be written."""

    def link_closing(link: "Link") -> None:
        """The server's close frame came: nothing more is said on either side."""

    def link_ended(link: "Link", ending: Ending) -> None:
        """The connection is gone; called once, last."""


class _Silence:
    """Takes Autobahn's log events and keeps none: they quote the peer, and one would be made for every read."""

    def __getattr__(self, _: str) -> Any:
        return lambda *args, **kwargs: None


class Link(WebSocketClientProtocol):
    """One connection.

    Attributes:
        is_writable: whether the transport takes more: it holds up to 64 KiB that the system does not take.
        has_ended: whether the connection is gone.
        extensions: what the server says it knows; None: nothing.
    """

    log = _Silence()
    _log = Logger()

    transport: Any
    factory: Any

    def __init__(self, user: Any) -> None:
        super().__init__()
        self._user = user
        self._ending = Ending()
        self.has_ended = False
        self.is_writable = True
        self.extensions: Extensions | None = None

    # -- beginning and end of the connection

    def connectionMade(self) -> None:
        lowest = getattr(self.transport, "transport", self.transport)  # that below TLS
        if hasattr(lowest, "setTcpNoDelay"):
            lowest.setTcpNoDelay(True)  # Autobahn's option has no effect on Twisted's TLS
        self.transport.registerProducer(self, True)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if not self.has_ended:
            self.has_ended = True
            self._ending.failure = reason
            self._user.link_ended(self, self._ending)

    def dataReceived(self, data: bytes) -> None:
        if self.state == self.STATE_CLOSED:
            return
        self._user.link_heard(self)
        try:
            super().dataReceived(data)
        except Exception:
            if self.state != self.STATE_CONNECTING:
                self._log.failure("what a server has sent could not be handled")
            self._no_websocket()
        if self.state == self.STATE_CONNECTING and len(self.data) > _MAX_HEAD_BYTES:
            self._no_websocket()

    def _no_websocket(self) -> None:
        self._ending.status = 0
        self._ending.text = "what answers there speaks no WebSocket"
        self.abort()

    # -- the transport's word on what was written

    def pauseProducing(self) -> None:
        self.is_writable = False

    def resumeProducing(self) -> None:
        if not self.is_writable:
            self.is_writable = True
            self._user.link_writable(self)

    def stopProducing(self) -> None:
        pass

    # -- what the server says

    def onConnect(self, response: ConnectionResponse) -> None:
        if response.protocol != SUBPROTOCOL:
            self._ending.text = "this is no Mles server: it does not speak the subprotocol mles-websocket"
            self._ending.status = 101
            self.abort()
        self.extensions = parse_extensions(response.headers.get(EXTENSIONS_HEADER.lower()))

    def onOpen(self) -> None:
        if not self._ending.status:
            self._user.link_open(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._user.link_received(self, payload, isBinary)

    def onPong(self, payload: bytes) -> None:
        if payload == CAUGHT_UP:
            self._user.link_caught_up(self)

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> bool | None:  # noqa: N803
        # One that has crossed ours says what the server wants; an answer says 1000 as well, or nothing.
        self._ending.answered = self.state == self.STATE_CLOSING and code in (1000, None)
        self._ending.code = 1005 if code is None else code
        self._ending.text = (reasonRaw or b"").decode("utf-8", "replace")
        answer: bool | None = super().onCloseFrame(code, reasonRaw)
        self._user.link_closing(self)
        return answer

    def failHandshake(self, reason: str) -> None:
        words = self.http_status_line.split() if hasattr(self, "http_status_line") else []
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        self._ending.status = status
        self._ending.text = (
            f"the server has answered with HTTP {status} instead of a WebSocket"
            if status and status != 101
            else "what answers there speaks no WebSocket"
        )
        super().failHandshake(reason)

    def _fail_connection(self, code: int = 1001, reason: str = "") -> None:
        if not self._ending.text:
            self._ending.text = "the server has broken a rule of WebSocket"
        self.failedByMe = True
        self.abort()

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        self._ending.text = f"the server has sent a message of {msg_size} bytes"
        self.failedByMe = True
        self.abort()

    # -- what the client does

    def ask_when_caught_up(self) -> None:
        """Ask to be told when the history has come; only of servers with extensions: some pass pings on."""
        self.sendPing(CAUGHT_UP)

    @property
    def can_send(self) -> bool:
        """Whether messages can be sent."""
        return bool(self.state == self.STATE_OPEN)

    def abort(self) -> None:
        """End it now."""
        self.transport.abortConnection()


class LinkFactory(WebSocketClientFactory):
    """Makes the links of one client.

    Args:
        config: what the client is told.
        user: an `ILinkUser`.
        reactor: the reactor, or a `Clock` in tests.
    """

    noisy = False

    def __init__(self, config: ClientConfig, user: Any, reactor: IReactorTime) -> None:
        server = config.server
        super().__init__(url=config.url, origin=config.origin, protocols=[SUBPROTOCOL], useragent=None, reactor=reactor)
        # What Autobahn has made of the URL does not know the brackets of addresses.
        self.host, self.port = server.authority.rpartition(":")[0], server.port
        self.resource = server.resource
        # Its timers follow a global reactor; ours the one we are given.
        self.setProtocolOptions(
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            serverConnectionDropTimeout=0,
            maxMessagePayloadSize=_MAX_RECEIVED_BYTES,
            failByDrop=True,
            tcpNoDelay=True,
        )
        self._user = user

    def buildProtocol(self, addr: Any) -> Link:
        link = Link(self._user)
        link.factory = self
        return link
