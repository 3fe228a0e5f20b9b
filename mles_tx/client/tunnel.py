"""A way through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6), and behind it a connection like any other."""

from base64 import b64encode
from typing import Any

import h11
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["ProxyRefused", "TunnelEndpoint"]

#: Bytes of the proxy's answer.
_MAX_HEAD_BYTES = 16 * 1024


class ProxyRefused(Exception):
    """The proxy does not let through, or is none. The text says what it has answered.

    Attributes:
        status: the HTTP status; 0: it was no HTTP.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class _Tunnel(Protocol):
    """Asks the proxy, and passes everything on once it has said yes."""

    transport: Any

    def __init__(self, authority: str, login: str | None, factory: IProtocolFactory, peer: Any) -> None:
        self._authority = authority
        self._login = login
        self._factory = factory
        self._peer = peer
        self._inner: Any = None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self.open: Deferred[IProtocol] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        headers = [("Host", self._authority)]
        if self._login is not None:
            headers.append(("Proxy-Authorization", f"Basic {b64encode(self._login.encode()).decode('ascii')}"))
        request = h11.Request(method="CONNECT", target=self._authority, headers=headers)
        self.transport.write(self._http.send(request))
        self.transport.write(self._http.send(h11.EndOfMessage()) or b"")

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self.open.called:
            return
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = self._http.next_event()
        except h11.RemoteProtocolError:
            self._refuse(ProxyRefused("the proxy does not answer in HTTP"))
            return
        if isinstance(event, h11.Response):
            if 200 <= event.status_code < 300:
                self._go_through(self._http.trailing_data[0])
            else:
                self._refuse(ProxyRefused(f"the proxy has answered with {event.status_code}", event.status_code))

    def _go_through(self, rest: bytes) -> None:
        inner: Any = self._factory.buildProtocol(self._peer)
        if inner is None:
            self._refuse(ProxyRefused("given up"))
            return
        self._inner = inner
        inner.makeConnection(self.transport)
        if rest:
            inner.dataReceived(rest)
        self.open.callback(inner)

    def _refuse(self, error: Exception) -> None:
        self.transport.abortConnection()
        self.open.errback(Failure(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.open.called:
            self.open.errback(Failure(ProxyRefused("the proxy has hung up")))


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """Connects to a host by way of an HTTP proxy.

    Args:
        proxy: how the proxy itself is reached.
        authority: the host and port that are wanted.
        login: ``USER:PASSWORD`` for the proxy; None: it asks for none.
    """

    def __init__(self, proxy: IStreamClientEndpoint, authority: str, login: str | None = None) -> None:
        self._proxy = proxy
        self._authority = authority
        self._login = login

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's name
        """Connect, ask, and connect a protocol of the factory to what is behind the proxy.

        Errors:
            ProxyRefused: the proxy has said no, or is not there.
        """

        class Tunnels(Factory):
            noisy = False

            def buildProtocol(inner, addr: Any) -> _Tunnel:
                return _Tunnel(self._authority, self._login, protocolFactory, addr)

        connecting: Deferred[Any] = self._proxy.connect(Tunnels())
        return connecting.addCallbacks(lambda tunnel: tunnel.open, self._unreachable)

    @staticmethod
    def _unreachable(failure: Failure) -> Failure:
        is_ours = failure.check(CancelledError, ConnectingCancelledError)
        return failure if is_ours else Failure(ProxyRefused("the proxy cannot be reached"))
