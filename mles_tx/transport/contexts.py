"""TLS contexts after Mozilla's "intermediate" recommendation, and who chooses one by server name."""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import Certificate
from OpenSSL import SSL
from zope.interface import Interface

__all__ = ["ICertificates", "make_context"]

#: Forward-secret AEAD suites only, for TLS 1.2 (those of TLS 1.3 all are).
_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

#: AES with 128 bits first, as in Mozilla's list: its keys come from SHA-256, and those of the other from SHA-384, for
#: which most machines have no instruction. That is 18 of the 220 µs a handshake takes.
_SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

#: ``SSL_OP_PRIORITIZE_CHACHA``, which pyOpenSSL does not name: who puts ChaCha20 first has no instructions for AES, and
#: gets it.
_PRIORITIZE_CHACHA = 1 << 21

#: The groups keys are agreed on in, without the slow ones OpenSSL would offer.
_GROUPS = b"X25519MLKEM768:X25519:P-256:P-384"

#: ``SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER``, which pyOpenSSL does not name: what could not be sent is tried again from
#: another place in memory.
_ACCEPT_MOVING_WRITE_BUFFER = 0x2

_HTTP_1_1 = b"http/1.1"
_ACME_TLS_1 = b"acme-tls/1"


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
    # pyOpenSSL has no calls for these, or has not had one for long.
    openssl: Any = SSL
    openssl._lib.SSL_CTX_set_ciphersuites(context._context, _SUITES)
    openssl._lib.SSL_CTX_set1_curves_list(context._context, _GROUPS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA)
    # An idle connection then holds no record buffers (34 KB).
    context.set_mode(SSL.MODE_RELEASE_BUFFERS | _ACCEPT_MOVING_WRITE_BUFFER)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_select_protocol)
    context.set_tlsext_servername_callback(_server_named)
    context.use_certificate(chain[0])
    for issuer in chain[1:]:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(key)
    context.check_privatekey()
    return context


class _NoApplicationProtocol(SSL.Error):
    """Ends the handshake with the alert of that name (RFC 7301 section 3.2)."""


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    # Never h2: it has no upgrade to WebSocket. Who does not offer http/1.1 gets it without a word about ALPN, but for
    # an authority that comes to validate: it would take that for the answer of somebody else's server.
    if _HTTP_1_1 in offered:
        return _HTTP_1_1
    if _ACME_TLS_1 in offered:
        raise _NoApplicationProtocol
    return SSL.NO_OVERLAPPING_PROTOCOLS


def _server_named(connection: SSL.Connection) -> None:
    # Every context has this callback, and every connection brings along whom to ask: a context that has been used
    # cannot be changed any more.
    name = connection.get_servername()
    if name is not None:
        certificates: ICertificates = connection.get_app_data()
        connection.set_context(certificates.context_for(name.decode("ascii", "replace").lower()))
