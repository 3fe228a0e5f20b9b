"""A request's head, understood strictly, and as an upstream is to get it.

What two programs could understand in two ways is refused: where a request ends must not be a matter of opinion
(RFC 9112 sections 6.3 and 11.2). It must not know connections.
"""

import re
from dataclasses import dataclass
from typing import Self

from h11 import Connection, EndOfMessage, RemoteProtocolError, Request

from mles_tx.protocol.forwarded import Client

from .forwarding import asks_for_upgrade, request_fields, tokens
from .pages import BAD_REQUEST, Answer

__all__ = ["Incoming", "Refusal", "outgoing", "read_head", "understand"]

#: What ends lines here and there, and is no line end of HTTP's (RFC 9112 section 2.2 allows to refuse it).
_BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")

#: Headers that say where a request ends, and what programs behind CGI would take for them.
_FRAMING = re.compile(rb"\r\n(?:content[-_]length|transfer[-_]encoding)[ \t]*:([^\r\n]*)", re.IGNORECASE)

#: Methods that may be sent twice (RFC 9110 section 9.2.2), when they have no body.
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class Refusal(Exception):
    """A request that is not passed on.

    Args:
        status: of the answer.
        text: of the answer, ASCII.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text

    @classmethod
    def like(cls, answer: Answer) -> Self:
        """One that is told as the web side tells it."""
        return cls(answer.code, answer.text)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request that was understood.

    Attributes:
        request: its head.
        is_whole: it has no body.
        is_upgrade: it asks to switch to WebSocket.
        is_repeatable: it may be sent twice.
        expects: the client asks whether to send the body.
    """

    request: Request
    is_whole: bool
    is_upgrade: bool
    is_repeatable: bool
    expects: bool


def read_head(http: Connection, head: bytes) -> Request:
    """Read a head, by the rules of HTTP alone.

    Args:
        http: the client's connection, new; it goes on with the body.
        head: from the first byte up to the empty line.

    Raises:
        Refusal: 400 or 501; then `http` knows of no request either.
    """
    framing = _FRAMING.findall(head)
    if _BARE_LINE_END.search(head) or len(framing) > 1 or b"," in b"".join(framing):
        raise Refusal.like(BAD_REQUEST)
    try:
        http.receive_data(head)
        request = http.next_event()
    except RemoteProtocolError as error:
        error.__traceback__ = None  # h11 has raised it in a frame that refers to it
        raise Refusal(501 if error.error_status_hint == 501 else BAD_REQUEST.code, BAD_REQUEST.text) from None
    if type(request) is not Request:
        raise Refusal.like(BAD_REQUEST)
    return request


def understand(http: Connection, request: Request) -> Incoming:
    """Understand what was read.

    Args:
        http: the client's connection.
        request: its head.

    Raises:
        Refusal: 400.
    """
    if (
        request.method == b"CONNECT"
        or request.http_version not in (b"1.0", b"1.1")
        or (request.http_version == b"1.0" and tokens(request.headers, b"transfer-encoding"))
    ):
        raise Refusal.like(BAD_REQUEST)
    is_whole = type(http.next_event()) is EndOfMessage
    may_switch = is_whole and request.method == b"GET" and request.http_version == b"1.1"
    is_upgrade = may_switch and asks_for_upgrade(request.headers)
    is_repeatable = is_whole and not is_upgrade and request.method in _IDEMPOTENT
    return Incoming(request, is_whole, is_upgrade, is_repeatable, http.they_are_waiting_for_100_continue)


def outgoing(incoming: Incoming, target: bytes, client: Client) -> Request:
    """The head an upstream is to get.

    Args:
        incoming: what came.
        target: path and query it is to be asked for.
        client: who asks.
    """
    fields = incoming.request.headers.raw_items()
    passed = request_fields(fields, client, upgrade=incoming.is_upgrade)
    if tokens(fields, b"transfer-encoding"):
        passed.append((b"Transfer-Encoding", b"chunked"))
    if not incoming.expects:
        passed = [(name, value) for name, value in passed if name.lower() != b"expect"]
    return Request(method=incoming.request.method, target=target, headers=passed)
