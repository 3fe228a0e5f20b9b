"""How challenges are answered: what txacme tells when one begins and ends, and what the authority sees in TLS.

TLS-ALPN-01 (RFC 8737) is answered within the handshake, by a certificate of its own. Its context has to be chosen
before the handshake begins: to change it once the protocol is known ends the process, with TLS 1.2. So the client's
first message is looked at while it is still in the socket, and only while a challenge is outstanding.
"""

import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol
from weakref import WeakSet

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from txacme.interfaces import IResponder
from zope.interface import implementer

from mles_tx.transport.contexts import make_context

from .answers import LOOK_SECONDS, ChallengeAnswers
from .clienthello import RECORD_HEADER_BYTES, parse_client_hello, record_bytes

__all__ = ["ACME_TLS_1", "HTTP01Responder", "Responder", "TLSALPN01Responder", "TLSChallenges", "challenge_context"]

#: The protocol of the challenge (RFC 8737 section 6.2).
ACME_TLS_1 = b"acme-tls/1"

#: Where the certificate says what is proved (RFC 8737 section 6.1), and the DER header of 32 bytes.
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_OCTETS_32 = b"\x04\x20"


class Responder(Protocol):
    """What the service needs of a responder, besides txacme's interface."""

    challenge_type: str

    def forget(self, server_name: str) -> None:
        """End all that is outstanding for a name: txacme does not say so when it fails half way."""


class Peekable(Protocol):
    """A connection on which TLS has not begun."""

    socket: socket.socket
    context: SSL.Context


class _ProtocolRefused(SSL.Error):
    """The client wants a protocol that there is not."""


@implementer(IResponder)
class TLSALPN01Responder:
    """Lets the TLS port answer TLS-ALPN-01."""

    challenge_type = "tls-alpn-01"

    def __init__(self, answers: ChallengeAnswers, clock: IReactorTime) -> None:
        self._answers = answers
        self._clock = clock

    def start_responding(self, server_name: str, challenge: Any, response: Any) -> "Deferred[None]":
        self._answers.put_tls(server_name, response.key_authorization)
        return deferLater(self._clock, 2 * LOOK_SECONDS, lambda: None)  # until all processes have seen it

    def stop_responding(self, server_name: str, challenge: Any, response: Any) -> None:
        self._answers.remove_tls(server_name)

    def forget(self, server_name: str) -> None:
        self._answers.remove_tls(server_name)


@implementer(IResponder)
class HTTP01Responder:
    """Lets the site on port 80 answer HTTP-01."""

    challenge_type = "http-01"

    def __init__(self, answers: ChallengeAnswers) -> None:
        self._answers = answers
        self._tokens: dict[str, str] = {}

    def start_responding(self, server_name: str, challenge: Any, response: Any) -> None:
        token = challenge.encode("token")
        self._answers.put_http(token, response.key_authorization)
        self._tokens[server_name] = token

    def stop_responding(self, server_name: str, challenge: Any, response: Any) -> None:
        self.forget(server_name)

    def forget(self, server_name: str) -> None:
        token = self._tokens.pop(server_name, None)
        if token is not None:
            self._answers.remove_http(token)


class TLSChallenges:
    """Gives the connections of a certificate authority the context they came for.

    Args:
        answers: what is outstanding.
        now: the time, with its zone.
    """

    def __init__(self, answers: ChallengeAnswers, now: Callable[[], datetime]) -> None:
        self._answers = answers
        self._now = now
        self._contexts: dict[tuple[str, bytes], SSL.Context] = {}
        # Sockets that were told to wait for more: what TLS reads later is shorter, and has to be told of.
        self._waiting: WeakSet[socket.socket] = WeakSet()

    def look_for_challenge(self, connection: Peekable) -> bool:
        """Look at what a client has sent, and choose the context of its challenge.

        Costs nothing while no challenge is outstanding. Else the first record is looked at, and left in the socket;
        as long as it is not whole, the socket is told not to be readable before it is.

        Args:
            connection: whose socket is readable, and on which TLS has not begun. Its context is replaced when the
                client wants to see a challenge, also one that there is not: then its handshake fails.

        Returns:
            True when TLS can begin, also with what TLS will refuse; False: when it is readable again, ask again.
        """
        if not self._answers.tls_names():
            if self._waiting:
                self._wait_no_more(connection.socket)  # the challenge has ended since the last look
            return True
        waited_for = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        try:
            record = _peek(connection.socket, waited_for)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            record = b""  # TLS finds the same
        if record is None:
            self._waiting.add(connection.socket)
            return False
        self._wait_no_more(connection.socket)
        if record:
            hello = parse_client_hello(record)
            if ACME_TLS_1 in hello.protocols:
                connection.context = self._context_for(hello.server_name or "")
        return True

    def _wait_no_more(self, sock: socket.socket) -> None:
        if sock in self._waiting:
            self._waiting.discard(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def _context_for(self, name: str) -> SSL.Context:
        key_authorization = self._answers.tls(name)
        if key_authorization is None:
            name, key_authorization = "", b""
        key = (name, key_authorization)
        if key not in self._contexts:
            if len(self._contexts) > len(self._answers.tls_names()):
                self._contexts.clear()  # of challenges that are over
            self._contexts[key] = challenge_context(name, key_authorization, self._now())
        return self._contexts[key]


def _peek(sock: socket.socket, waited_for: int) -> bytes | None:
    """The first record, left in the socket; empty when it is no handshake, or ends early; None: wait for the rest."""
    record = sock.recv(RECORD_HEADER_BYTES, socket.MSG_PEEK)
    length = record_bytes(record) if record else None
    if length is None:
        return b""
    if len(record) == RECORD_HEADER_BYTES:
        record = sock.recv(length, socket.MSG_PEEK)
    if len(record) < length:
        if waited_for >= length:
            return b""  # readable with less than was asked for: nothing more comes
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, length)
        return None
    return record


def challenge_context(name: str, key_authorization: bytes, now: datetime) -> SSL.Context:
    """The context that shows the certificate of a challenge, and nothing besides (RFC 8737 section 3).

    Args:
        name: the name it is for; empty: no challenge is outstanding, so that every handshake fails.
        key_authorization: what is proved.
        now: the time, with its zone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme.invalid")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + timedelta(days=1))
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name or "acme.invalid")]), critical=False)
        .add_extension(
            x509.UnrecognizedExtension(_ACME_IDENTIFIER, _OCTETS_32 + sha256(key_authorization).digest()),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    context = make_context([certificate], key)
    context.set_tlsext_servername_callback(lambda connection: None)
    context.set_alpn_select_callback(_select_challenge if name else _refuse)
    context.set_info_callback(_end_after_handshake)
    return context


def _select_challenge(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    return ACME_TLS_1 if ACME_TLS_1 in offered else _refuse(connection, offered)


def _refuse(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    # Raised in the callback, it becomes the alert no_application_protocol, and comes out of the handshake again.
    raise _ProtocolRefused([("mles_tx", "ALPN", "no application protocol")])


def _end_after_handshake(connection: SSL.Connection, where: int, _: int) -> None:
    # The handshake is all there is to see (RFC 8737 section 3): whatever the client sends after it, we have read the
    # end of the stream, so that nothing of it reaches a protocol.
    if where & SSL.SSL_CB_HANDSHAKE_DONE:
        connection.set_shutdown(SSL.RECEIVED_SHUTDOWN)
