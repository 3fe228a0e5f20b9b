"""Clients of a server in the same reactor: bare connections that collect what comes."""

from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["AnyCertificate", "Client", "dial", "get"]

reactor: Any = global_reactor


@implementer(IOpenSSLClientConnectionCreator)
class AnyCertificate:
    """A client's TLS that looks at no certificate.

    Args:
        name: the server it asks for; None: it names none.
    """

    def __init__(self, name: str | None) -> None:
        self._name = name

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection


class Client(Protocol):
    """Collects what comes, and lets tests wait for it."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[None] = Deferred()
        self._wanted = b""
        self._found: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._found is not None and self._wanted in self.received:
            found, self._found = self._found, None
            found.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._found is not None:
            found, self._found = self._found, None
            found.errback(AssertionError(f"{self._wanted!r} did not come, but {self.received!r}"))
        self.ended.callback(None)

    async def until(self, wanted: bytes) -> None:
        """Wait until something has come."""
        if wanted not in self.received:
            self._wanted, self._found = wanted, Deferred()
            await self._found

    async def to_the_end(self) -> bytes:
        """All that comes until the server closes the connection."""
        await self.ended
        return self.received

    async def hang_up(self) -> None:
        """Close the connection, and wait until it is closed."""
        self.transport.abortConnection()
        await self.ended


async def dial(port: int, tls: Any = None, host: str = "127.0.0.1") -> Client:
    """A connection to a server on this machine.

    Args:
        port: where it listens.
        tls: what `optionsForClientTLS` made; None: in plain text.
        host: the numeric address.
    """
    endpoint: Any = TCP4ClientEndpoint(reactor, host, port)
    if tls is not None:
        endpoint = wrapClientTLS(tls, endpoint)
    client = Client()
    await connectProtocol(endpoint, client)
    return client


async def get(port: int, path: str = "/", host: str = "localhost", tls: Any = None) -> tuple[str, bytes]:
    """Status line and body of an answer to a request for a page."""
    client = await dial(port, tls)
    client.transport.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await client.to_the_end()).partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode("ascii"), body
