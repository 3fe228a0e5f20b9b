"""Why there is no link, in words for people, and whether trying again may help."""

from dataclasses import dataclass

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
    UnknownHostError,
)
from twisted.python.failure import Failure

from .config import ServerAddress
from .link import Ending
from .tunnel import ProxyRefused

__all__ = ["Fault", "fault_of", "printable"]

#: Characters of a server's words that are shown.
_MAX_TEXT = 200

#: Statuses of HTTP that pass: too many requests, and what servers and proxies say about themselves.
_PASSING = frozenset((408, 425, 429))


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no link.

    Attributes:
        text: a line for people.
        code: the server's close code; None: it has sent no close frame.
        is_final: whether trying again is of no use, as long as it has never worked.
    """

    text: str
    code: int | None = None
    is_final: bool = False


def printable(text: str) -> str:
    """What somebody else has said, on one line, without anything that is not to be printed, and not too long."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return shown if len(shown) <= _MAX_TEXT else f"{shown[:_MAX_TEXT]}…"


def fault_of(ending: Ending, failure: Failure, server: ServerAddress) -> Fault:
    """What is wrong.

    Args:
        ending: what the link knows of its end; a new one: there was none.
        failure: how the connection was lost, or could not be made.
        server: where it was to go.
    """
    if ending.code is not None:
        text = printable(ending.text) or f"the server has closed the connection with code {ending.code}"
        return Fault(text, ending.code)
    if ending.status is not None:
        passes = ending.status >= 500 or ending.status in _PASSING
        return Fault(ending.text, is_final=not passes)
    if ending.text:
        return Fault(ending.text)
    return _of_failure(failure, server)


def _of_failure(failure: Failure, server: ServerAddress) -> Fault:
    error = failure.value
    if isinstance(error, VerificationError | CertificateError):
        return Fault(f"the certificate of {server.authority} is for another name", is_final=True)
    if isinstance(error, SSL.Error):
        return _of_tls(error, server)
    if isinstance(error, ProxyRefused):
        return Fault(str(error), is_final=400 <= error.status < 500 and error.status not in _PASSING)
    if isinstance(error, DNSLookupError | UnknownHostError):
        return Fault(f"there is no host {server.host}")
    if isinstance(error, ConnectionRefusedError):
        return Fault(f"nobody listens on {server.authority}")
    if isinstance(error, TimeoutError | CancelledError | ConnectingCancelledError):
        return Fault(f"no answer from {server.authority}")
    if isinstance(error, ConnectionDone | ConnectionLost | ConnectionAborted):
        return Fault("the connection was lost")
    if isinstance(error, ConnectError | ConnectBindError):
        return Fault(f"{server.authority} cannot be reached: {printable(str(error.osError or error))}")
    return Fault(f"{server.authority} cannot be reached: {printable(str(error))}")


def _of_tls(error: SSL.Error, server: ServerAddress) -> Fault:
    reasons = [str(entry[-1]) for entry in (error.args[0] if error.args and isinstance(error.args[0], list) else [])]
    if any("certificate verify failed" in reason for reason in reasons):
        return Fault(f"the certificate of {server.authority} is not one to be trusted", is_final=True)
    if any("wrong version number" in reason or "packet length too long" in reason for reason in reasons):
        return Fault(f"what answers on {server.authority} speaks no TLS", is_final=True)
    return Fault(f"TLS with {server.authority} has failed{': ' + printable(reasons[-1]) if reasons else ''}")
