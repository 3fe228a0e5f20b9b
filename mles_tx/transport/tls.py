"""TLS on the connections: contexts after Mozilla's "intermediate" recommendation, chosen by server name."""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import Certificate
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime, ISSLTransport
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import Interface, implementer

__all__ = ["ICertificates", "end_stream", "make_context", "tls_factory"]

#: Forward-secret AEAD suites only, for TLS 1.2 (those of TLS 1.3 all are).
_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

_HTTP_1_1 = b"http/1.1"


class ICertificates(Interface):
    """Who knows which certificate a client is to be shown."""

    def context_for(server_name: str | None) -> SSL.Context:
        """The context for a name the client asked for (SNI), or None when it asked for none.

        Answers at once, also while a better certificate is being fetched, and for names it does not know.
        A context is made once for each certificate: making one costs a millisecond.
        """


def make_context(
    chain: Sequence[Certificate], key: EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey
) -> SSL.Context:
    """A context that shows a certificate.

    Args:
        chain: the certificate first, then those that lead to its root.
        key: its private key.

    Raises:
        SSL.Error: the key does not belong to the certificate.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # An idle connection then holds no record buffers (34 KB).
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_select_protocol)
    context.set_tlsext_servername_callback(_server_named)
    context.use_certificate(chain[0])
    for issuer in chain[1:]:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(key)
    context.check_privatekey()
    return context


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    # Never h2: it has no upgrade to WebSocket. Who does not offer http/1.1 gets it without a word about ALPN.
    return _HTTP_1_1 if _HTTP_1_1 in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _server_named(connection: SSL.Connection) -> None:
    # Every context has this callback, and every connection brings along whom to ask: a context that has been used
    # cannot be changed any more.
    name = connection.get_servername()
    if name is not None:
        factory: _Factory = connection.get_app_data().factory
        connection.set_context(factory.certificates.context_for(name.decode("ascii", "replace").lower()))


@implementer(IOpenSSLServerConnectionCreator)
class _ConnectionCreator:
    """Makes each connection with the default context, and changes it once the client has named the server."""

    def __init__(self, certificates: ICertificates) -> None:
        self._certificates = certificates

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._certificates.context_for(None), None)
        connection.set_app_data(protocol)
        return connection


class _Factory(TLSMemoryBIOFactory):
    # The default protocol collects small writes for a turn. Ours come collected.
    protocol = TLSMemoryBIOProtocol
    noisy = False
    certificates: ICertificates


def end_stream(transport: Any) -> None:
    """Send what is left, and then the end of the stream; the peer's end is still read.

    Closing at once would reset the connection when the peer has sent something we have not read, and what was
    on its way to it would be lost. Whoever calls this sees to it that the connection is aborted when the peer's
    end never comes.
    """
    if ISSLTransport.providedBy(transport):
        transport.loseConnection()  # says so within TLS, and waits for the peer to do the same
    else:
        transport.loseWriteConnection()


def tls_factory(clock: IReactorTime, certificates: ICertificates, inner: Factory) -> TLSMemoryBIOFactory:
    """A factory whose connections speak TLS, and are then what `inner` builds."""
    factory = _Factory(_ConnectionCreator(certificates), False, inner, clock)
    factory.certificates = certificates
    return factory
