"""One question to whoever listens on a port: its certificate, or its answer to an HTTP request."""

from dataclasses import dataclass
from typing import Any

from cryptography.x509 import Certificate
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["NoTls", "Reply", "ask", "shown_certificate"]

#: Bytes of an answer that are read.
_MAX_REPLY = 16 * 1024

#: Seconds to connect, and to answer. Less than a check has, so that what is wrong can be told.
_SECONDS = 2.0


class NoTls(Exception):
    """Whoever listens there does not speak TLS, or none that is in use."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What somebody has answered.

    Attributes:
        head: the head of the answer in lower case; empty when there was none.
        body: what came of the body with it.
    """

    head: bytes
    body: bytes

    @property
    def status(self) -> int | None:
        """The HTTP status; None: it was no HTTP."""
        words = self.head.split(b" ", 2)
        is_http = len(words) > 1 and words[0].startswith(b"http/1.") and words[1].isdigit() and len(words[1]) == 3
        return int(words[1]) if is_http else None

    def header(self, name: bytes) -> bytes:
        """A header's value in lower case; empty when there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip() == name:
                return value.strip()
        return b""


@implementer(IOpenSSLClientConnectionCreator)
class _AnyCertificate:
    """TLS that looks at no certificate: which one there is, is the question. It offers no ALPN: some would hang up."""

    def __init__(self, server_name: str | None) -> None:
        self._server_name = server_name

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        connection = SSL.Connection(context, None)
        if self._server_name is not None:
            connection.set_tlsext_host_name(self._server_name.encode("ascii"))
        return connection


@implementer(IHandshakeListener)
class _Asker(Protocol):
    """Sends a request and collects the answer, or notes the certificate and hangs up."""

    transport: Any

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self.certificate: Deferred[Certificate | None] = Deferred(self._cancel)
        self.reply: Deferred[bytes] = Deferred(self._cancel)

    def connectionMade(self) -> None:
        if self._request:
            self.transport.write(self._request)

    def handshakeCompleted(self) -> None:
        if not self.certificate.called:
            self.certificate.callback(self.transport.getPeerCertificate().to_cryptography())
        if not self._request:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = Reply(head.lower(), b"").header(b"content-length")
        is_whole = bool(end) and (not length.isdigit() or len(length) > 8 or len(body) >= int(length))
        if is_whole or len(self._received) > _MAX_REPLY:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.certificate.called:
            self.certificate.callback(None)
        if self.reply.called:
            return
        if reason.check(SSL.Error) and not self._received:
            self.reply.errback(NoTls())
        else:
            self.reply.callback(self._received[:_MAX_REPLY])

    def _cancel(self, _: object) -> None:
        self.transport.abortConnection()


async def ask(
    reactor: Any, host: str, port: int, request: bytes, *, tls: bool, server_name: str | None = None
) -> Reply:
    """The answer to an HTTP request.

    Args:
        reactor: the reactor.
        host: numeric address.
        port: where somebody may listen.
        request: the whole request.
        tls: whether TLS is spoken; whose certificate it is does not matter.
        server_name: who is asked for in TLS; None: nobody.

    Returns:
        The answer; an empty one when the other side does not speak the same language, or hangs up.

    Raises:
        ConnectError: nobody listens there.
        NoTls: the handshake fails.
    """
    asker = await _dial(reactor, host, port, request, tls, server_name)
    received = await asker.reply.addTimeout(_SECONDS, reactor, onTimeoutCancel=lambda *_: b"")
    head, _, body = received.partition(b"\r\n\r\n")
    return Reply(head.lower(), body)


async def shown_certificate(reactor: Any, host: str, port: int, server_name: str | None) -> Certificate | None:
    """The certificate a client is shown; None when no TLS is spoken there.

    Raises:
        ConnectError: nobody listens there.
    """
    asker = await _dial(reactor, host, port, b"", True, server_name)
    asker.reply.addErrback(lambda _: None)
    return await asker.certificate.addTimeout(_SECONDS, reactor, onTimeoutCancel=lambda *_: None)


async def _dial(reactor: Any, host: str, port: int, request: bytes, tls: bool, server_name: str | None) -> _Asker:
    kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
    endpoint: Any = kind(reactor, host, port, timeout=_SECONDS)
    if tls:
        endpoint = wrapClientTLS(_AnyCertificate(server_name), endpoint)
    asker = _Asker(request)
    await connectProtocol(endpoint, asker)
    return asker
