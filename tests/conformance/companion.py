"""The other member of a channel: it sends back what it receives there."""

from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from tests.integration.clients import join_frame

__all__ = ["Companion", "join_companion"]

_JOINED = b"joined"


class Companion(WebSocketClientProtocol):
    """A client of the server that echoes."""

    factory: Any
    transport: Any
    _is_joined = False

    def onOpen(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.sendMessage(join_frame("companion", self.factory.channel).encode())
        self.sendPing(_JOINED)

    def onPong(self, payload: bytes) -> None:
        # It is answered in turn: the join frame has been taken before.
        if payload == _JOINED and not self._is_joined:
            self._is_joined = True
            self.factory.joined.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state == self.STATE_OPEN:  # the client may be gone already, and this one on its way
            self.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if not self._is_joined:
            self._is_joined = True
            self.factory.joined.errback(ConnectionError(f"the companion was not let in: {code} {reason}"))

    def leave(self) -> None:
        """Close, and wait for nothing."""
        self.sendClose(1000)


class _Factory(WebSocketClientFactory):
    protocol = Companion
    noisy = False

    def __init__(self, reactor: Any, channel: str) -> None:
        super().__init__("ws://localhost/", protocols=["mles-websocket"], reactor=reactor)
        self.channel = channel
        self.joined: Deferred[Companion] = Deferred()


async def join_companion(reactor: Any, server: IStreamClientEndpoint, channel: str) -> Companion:
    """A companion that the server has taken in.

    Args:
        reactor: where it runs.
        server: where the server is, TLS included.
        channel: where it is to be a member.

    Raises:
        ConnectionError: it was not let in.
    """
    factory = _Factory(reactor, channel)
    await server.connect(factory)
    return await factory.joined
