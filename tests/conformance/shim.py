"""What stands between a WebSocket client that does not know Mles and the server: it joins on the client's behalf.

Each connection gets a channel of its own, with a companion there that echoes. The upgrade passes unchanged; once the
server has agreed to it, and before the client hears of that, the join frame is sent. All other bytes pass unchanged
both ways, and so do the end of the stream and a reset. Towards the client there is no TLS; towards the server there
is, when its URL says so, and then the end of the stream is that of TLS.

A program: ``python -m tests.conformance.shim URL [--ca FILE]`` listens on a free port of the loopback address, says
where, and relays until a signal ends it.
"""

import argparse
import sys
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.wire import header

from .companion import Companion, join_companion

__all__ = ["ShimFactory", "server_endpoint"]

_END_OF_HEAD = b"\r\n\r\n"


@implementer(IHalfCloseableProtocol)
class _Side(Protocol):
    """One of the two connections of a pair: what comes from it goes to the other."""

    transport: Any
    other: "_Side"
    _is_paired = False
    _is_lost = False
    _peer_has_ended = False
    _has_ended = False

    def pair_with(self, other: "_Side") -> None:
        """From now on bytes pass, at the pace of whoever is slower."""
        self.other, other.other = other, self
        self._is_paired = other._is_paired = True
        self.transport.registerProducer(other.transport, True)
        other.transport.registerProducer(self.transport, True)

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.other.transport.write(data)

    def readConnectionLost(self) -> None:  # noqa: N802
        self._peer_has_ended = True
        self.other.end()
        if self._has_ended:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:  # noqa: N802
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        if not self._is_paired:
            return
        if reason.check(ConnectionDone):
            self.other.end()
        else:
            self.other.reset()

    def end(self) -> None:
        """Send the end of the stream; the peer's is still waited for."""
        if self._is_lost or self._has_ended:
            return
        self._has_ended = True
        self.transport.unregisterProducer()
        if self._peer_has_ended or ISSLTransport.providedBy(self.transport):
            self.transport.loseConnection()  # over TLS, what the peer still sends goes on coming
        else:
            self.transport.loseWriteConnection()

    def reset(self) -> None:
        """End it as the other one ended: without a word."""
        if not self._is_lost:
            self.transport.abortConnection()


class _ToServer(_Side):
    """The connection to the server. It waits for the answer to the upgrade, and joins behind it."""

    factory: "_ServerFactory"
    _head: bytes | None = b""

    def dataReceived(self, data: bytes) -> None:
        if self._head is None:
            self.other.transport.write(data)
            return
        self._head += data
        if _END_OF_HEAD in self._head:
            head, self._head = self._head, None
            if head.startswith(b"HTTP/1.1 101 "):
                self.transport.write(header("fuzzer", self.factory.channel, history=0))
            self.other.transport.write(head)


class _ServerFactory(Factory[_ToServer]):
    noisy = False
    protocol = _ToServer

    def __init__(self, channel: str) -> None:
        self.channel = channel


class _ToClient(_Side):
    """The connection of the client. It is not read before its channel is ready."""

    factory: "ShimFactory"
    _log = Logger()
    _companion: Companion | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.pauseProducing()
        preparing: Deferred[None] = Deferred.fromCoroutine(self._prepare())
        preparing.addErrback(self._give_up)

    async def _prepare(self) -> None:
        channel = self.factory.next_channel()
        self._companion = await join_companion(self.factory.reactor, self.factory.server, channel)
        to_server: Any = await self.factory.server.connect(_ServerFactory(channel))
        if self._is_lost:
            to_server.reset()
            self._companion.leave()
        else:
            self.pair_with(to_server)
            self.transport.resumeProducing()

    def _give_up(self, failure: Failure) -> None:
        self._log.failure("the channel could not be prepared", failure)
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._companion is not None:
            self._companion.leave()


class ShimFactory(Factory[_ToClient]):
    """Numbers the channels.

    Args:
        reactor: where it runs.
        server: where the server is, TLS included.
    """

    noisy = False
    protocol = _ToClient

    def __init__(self, reactor: Any, server: IStreamClientEndpoint) -> None:
        self.reactor = reactor
        self.server = server
        self._numbers = count(1)

    def next_channel(self) -> str:
        """A channel nobody has been on."""
        return f"case-{next(self._numbers)}"


def server_endpoint(reactor: Any, url: str, authority: bytes | None) -> IStreamClientEndpoint:
    """Where a server on this machine is.

    Args:
        reactor: where connections to it run.
        url: ``ws`` or ``wss``.
        authority: for ``wss``, the certificate to trust, as PEM.
    """
    parts = urlsplit(url)
    endpoint: IStreamClientEndpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", parts.port or 0)
    if parts.scheme != "wss":
        return endpoint
    trusted = None if authority is None else Certificate.loadPEM(authority)
    secured: IStreamClientEndpoint = wrapClientTLS(optionsForClientTLS("localhost", trustRoot=trusted), endpoint)
    return secured


def main(arguments: list[str]) -> None:
    """Relay until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.shim", description="Join for each client.")
    parser.add_argument("url", help="where the server is: ws://localhost:PORT/ or wss://localhost:PORT/")
    parser.add_argument("--ca", type=Path, help="the certificate to trust")
    options = parser.parse_args(arguments)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    reactor: Any = installed_reactor
    server = server_endpoint(reactor, options.url, options.ca and options.ca.read_bytes())
    port = reactor.listenTCP(0, ShimFactory(reactor, server), interface="127.0.0.1")
    print(f"relaying on ws://localhost:{port.getHost().port}/", flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
