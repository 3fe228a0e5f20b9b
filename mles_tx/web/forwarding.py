"""Which headers pass a proxy, and what it adds to them (RFC 9110 section 7.6).

Plain functions on lists of names and values. It must not know connections.
"""

from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import ISSLTransport

from mles_tx.protocol.forwarded import Client, TrustedProxies, client_of

__all__ = ["Fields", "asks_for_upgrade", "request_fields", "response_fields", "sender_of", "tokens"]

#: Header fields: name and value, as they came.
Fields = Iterable[tuple[bytes, bytes]]

#: What concerns one connection alone (RFC 9110 section 7.6.1), in lower case; so does all that begins with Proxy-.
_HOP_BY_HOP = frozenset(
    (b"connection", b"http2-settings", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)

#: Whoever names these in Connection would change whom a request is for, or where it ends; and so would who writes them
#: with an underscore.
_NEVER_NAMED = frozenset((b"host", b"content-length"))

#: What a client could say about itself; only a proxy may.
_ABOUT_CLIENT = frozenset((b"forwarded", b"x-real-ip"))


def sender_of(transport: Any, fields: Fields, trusted: TrustedProxies) -> Client:
    """Who has sent a request, and whether over TLS.

    Args:
        transport: the connection it came on.
        fields: the request's headers.
        trusted: whose word there on the client is taken.
    """
    peer = str(getattr(transport.getPeer(), "host", "unknown"))
    told = client_of(peer, ((name, (value,)) for name, value in fields), trusted)
    scheme = "https" if ISSLTransport.providedBy(transport) else "http"
    return Client(told.address, told.scheme or scheme)


def tokens(fields: Fields, name: bytes) -> list[bytes]:
    """The elements of all headers of a name that is given in lower case, in lower case themselves."""
    lists = [value for field, value in fields if field.lower() == name]
    return [token.strip().lower() for value in lists for token in value.split(b",") if token.strip()]


def asks_for_upgrade(fields: Fields) -> bool:
    """Whether headers ask to switch to WebSocket (RFC 9110 section 7.8). Nothing else is passed on."""
    fields = list(fields)
    return tokens(fields, b"upgrade") == [b"websocket"] and b"upgrade" in tokens(fields, b"connection")


def request_fields(fields: Fields, client: Client, *, upgrade: bool = False) -> list[tuple[bytes, bytes]]:
    """The headers of a request as an upstream is to get them; how its body is framed is still to be added.

    Args:
        fields: as the client sent them, with one Host.
        client: who it is. What the client has said about itself, or about proxies before us, is left out.
        upgrade: whether it asks to switch to WebSocket.
    """
    fields = list(fields)
    kept = [(name, value) for name, value in _end_to_end(fields) if not _is_about_client(name)]
    hosts = [value for name, value in fields if name.lower() == b"host"]
    kept.append((b"X-Forwarded-For", client.address.encode("ascii")))
    kept.append((b"X-Forwarded-Proto", (client.scheme or "http").encode("ascii")))
    kept.extend((b"X-Forwarded-Host", host) for host in hosts)
    return kept + _switching(upgrade)


def response_fields(fields: Fields, *, upgrade: bool = False) -> list[tuple[bytes, bytes]]:
    """The headers of an answer as a client is to get them; of its framing, the length alone is left."""
    return _end_to_end(list(fields)) + _switching(upgrade)


def _switching(upgrade: bool) -> list[tuple[bytes, bytes]]:
    return [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")] if upgrade else []


def _end_to_end(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    named = {_plain(token) for token in tokens(fields, b"connection")} - _NEVER_NAMED
    dropped = _HOP_BY_HOP | named
    if tokens(fields, b"transfer-encoding"):
        dropped |= {b"content-length"}  # it does not count then (RFC 9112 section 6.3)
    return [
        (name, value)
        for name, value in fields
        if _plain(name) not in dropped
        and not _plain(name).startswith(b"proxy-")
        and not (b"_" in name and _plain(name) in _NEVER_NAMED)
    ]


def _is_about_client(name: bytes) -> bool:
    plain = _plain(name)
    return plain in _ABOUT_CLIENT or plain.startswith(b"x-forwarded-")


def _plain(name: bytes) -> bytes:
    """A name as programs behind CGI and WSGI see it: to them, an underscore is a hyphen."""
    return name.lower().replace(b"_", b"-")
