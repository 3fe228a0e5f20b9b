"""Mles in a site that exists already: a resource that turns a request into a WebSocket connection."""

from typing import Any, Protocol

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from mles_tx.protocol.forwarded import NOBODY, TrustedProxies, client_of

from .pages import Answer

__all__ = ["MlesResource"]

_UPGRADE_REQUIRED = Answer(
    426,
    "This address is for WebSocket clients that speak mles-websocket.",
    {"upgrade": "websocket", "connection": "upgrade"},
)


class _Builder(Protocol):
    def buildProtocol(self, addr: Any) -> Any:
        """A WebSocket connection."""


class MlesResource(Resource):
    """Takes over the connection of a request for an upgrade.

    It works in any twisted.web site over HTTP/1.1, plain or on Twisted's own TLS.

    Args:
        factory: who builds WebSocket connections.
        trusted: proxies in front of the site, whose word on their clients is taken.
    """

    isLeaf = True

    def __init__(self, factory: _Builder, trusted: TrustedProxies = NOBODY) -> None:
        super().__init__()
        self._factory = factory
        self._trusted = trusted

    def render(self, request: Request) -> bytes | int:
        if request.requestHeaders.getRawHeaders(b"upgrade", [b""])[0].lower() != b"websocket":
            return _UPGRADE_REQUIRED.render(request)
        channel: Any = request.channel
        transport = channel.transport
        peer = transport.getPeer()
        connection: Any = self._factory.buildProtocol(peer)
        host = getattr(peer, "host", None)
        if host is not None:
            connection.address = client_of(host, request.requestHeaders.getAllRawHeaders(), self._trusted).address
        # The HTTP channel is the transport's producer, and has stopped it reading while the request was served.
        transport.unregisterProducer()
        channel.dataReceived = channel.rawDataReceived = connection.dataReceived
        channel.connectionLost = connection.connectionLost
        rest, channel._dataBuffer = b"".join(channel._dataBuffer), []
        channel.setTimeout(None)
        connection.makeConnection(transport)
        connection.dataReceived(_head(request))
        if rest:
            connection.dataReceived(rest)
        transport.resumeProducing()
        return NOT_DONE_YET


def _head(request: Request) -> bytes:
    """The request as it came."""
    lines = [b"%s %s %s" % (request.method, request.uri, request.clientproto)]
    for name, values in request.requestHeaders.getAllRawHeaders():
        lines.extend(b"%s: %s" % (name, value) for value in values)
    return b"\r\n".join(lines) + b"\r\n\r\n"
