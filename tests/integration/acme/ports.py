"""A server with a port for TLS and one for HTTP-01, as a certificate authority finds them; and clients of it."""

import socket
import ssl
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from mles_tx.transport.certificates.issuing import IssuingService
from mles_tx.transport.port import ListeningPort, bind

from ..processes import WAIT

__all__ = ["Seen", "TwoPorts", "look", "see"]


class _Greeter(Protocol):
    """Sends back what comes."""

    def connectionMade(self) -> None:
        self.factory.protocols.add(self)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.protocols.discard(self)


class _Answers(Resource):
    isLeaf = True

    def __init__(self, service: IssuingService) -> None:
        super().__init__()
        self._service = service
        self.asked = 0

    def render_GET(self, request: Request) -> bytes:  # noqa: N802 - Twisted's name
        self.asked += 1
        prefix, _, token = request.path.decode("latin-1").rpartition("/")
        answer = self._service.answer(token) if prefix == "/.well-known/acme-challenge" else None
        if answer is None:
            request.setResponseCode(404)
            return b""
        return answer


class TwoPorts:
    """The ports of one server.

    Args:
        reactor: whose ports these are.
        service: who knows certificates and answers.
        tls_port: for TLS; 0: one that is free; None: none.
        http_port: for HTTP-01, likewise.
    """

    def __init__(
        self, reactor: Any, service: IssuingService, tls_port: int | None, http_port: int | None = None
    ) -> None:
        self.factory = Factory.forProtocol(_Greeter)
        self.factory.protocols = set()  # type: ignore[attr-defined]
        self.looks = 0
        self._service = service
        self.answers = _Answers(service)
        self._ports: list[Any] = []
        if tls_port is not None:
            (bound,) = bind(("127.0.0.1",), tls_port)
            port = ListeningPort(
                bound, self.factory, reactor, certificates=service.certificates, preface=self._look_for_challenge
            )
            port.startListening()
            self.port: int = port.getHost().port
            self._ports.append(port)
        if http_port is not None:
            self._ports.append(reactor.listenTCP(http_port, Site(self.answers), interface="127.0.0.1"))

    def _look_for_challenge(self, connection: Any) -> bool:
        self.looks += 1
        return self._service.look_for_challenge(connection)

    async def stop(self) -> None:
        """Close ports and connections."""
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        for protocol in list(self.factory.protocols):  # type: ignore[attr-defined]
            protocol.transport.abortConnection()


@dataclass(frozen=True)
class Seen:
    """What a client has seen of a handshake.

    Attributes:
        certificate: what was shown.
        protocol: what ALPN has agreed on.
        version: of TLS.
        echoed: what came back.
    """

    certificate: x509.Certificate
    protocol: str | None
    version: str | None
    echoed: bytes

    @property
    def names(self) -> list[str]:
        found = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return found.get_values_for_type(x509.DNSName)


def look(
    port: int,
    name: str,
    *,
    root: str | None = None,
    protocols: tuple[str, ...] = ("http/1.1",),
    version: ssl.TLSVersion | None = None,
    say: bytes = b"hello",
    to_the_end: bool = False,
) -> Seen:
    """Make a handshake.

    Args:
        port: where to.
        name: the server's.
        root: the certificate to trust, as PEM; None: any.
        protocols: what is offered.
        version: of TLS; None: any.
        say: what is said afterwards.
        to_the_end: whether all that comes back is read, and not only the beginning.
    """
    context = ssl.create_default_context(cadata=root)
    if root is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), WAIT) as stream,
        context.wrap_socket(stream, server_hostname=name) as client,
    ):
        client.sendall(say)
        echoed = b"".join(iter(lambda: client.recv(65536), b"")) if to_the_end else client.recv(100)
        certificate = x509.load_der_x509_certificate(client.getpeercert(True) or b"")
        return Seen(certificate, client.selected_alpn_protocol(), client.version(), echoed)


def see(port: int, name: str, **more: Any) -> "Deferred[Seen]":
    """Make a handshake, in a thread: see `look`."""
    return deferToThread(look, port, name, **more)
