"""The usual request for an upgrade (RFC 6455 section 4.2.1), taken apart in one go, and the answers: yes and no.

It knows less than Autobahn, and what it does not know it leaves to it: headers that stand twice, other versions,
whatever is to be refused. It must not take what Autobahn would refuse.
"""

import re
from binascii import b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1

__all__ = ["FOREIGN", "Upgrade", "any_usual_upgrade", "refusing", "switching", "usual_upgrade"]

#: A whole head of printable ASCII, and of HTTP/1.1; its target is a path, with a query or without.
_HEAD = re.compile(rb"GET /(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/?-]* HTTP/1\.1\r\n((?:[!-9;-~]+:[ -~]*\r\n)+)\r\n")

#: Without a port, or with one that is a number.
_HOST = re.compile(r"([^:]+|\[.+\])(:[0-9]{1,5})?")

#: What browsers offer: none of it is accepted, but it has to be well-formed.
_EXTENSIONS = ("", "permessage-deflate", "permessage-deflate; client_max_window_bits")

#: RFC 6455 section 1.3.
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")

#: The line with the key, as clients write it. All else is the same in every request of one client, and of all those
#: that run the same program: it is taken apart once.
_KEY_NAME = b"\r\nSec-WebSocket-Key: "
_KEY_LINE = re.compile(rb"\r\nSec-WebSocket-Key: ([A-Za-z0-9+/]{22}==)(?=\r\n)")

#: As many heads are remembered, of so many bytes at most: what clients send has 200 to 600.
_REMEMBERED = 64
_REMEMBERED_BYTES = 1024

_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n%b"
    b"Sec-WebSocket-Protocol: %b\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)

#: Whoever sees this in a browser may be the one who runs the server, and has forgotten a page.
FOREIGN = (
    "Pages of this origin may not connect to this server: its operator has to name the origin of the page"
    " (scheme, host and port) with --origin."
)

_PHRASES = {400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 426: "Upgrade Required"}


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What a request for an upgrade asks for.

    Attributes:
        key: Sec-WebSocket-Key.
        protocols: the subprotocols it offers.
        origin: the page it comes from, or None.
    """

    key: bytes
    protocols: tuple[str, ...]
    origin: str | None


def usual_upgrade(head: bytes) -> Upgrade | None:
    """Take a head apart; None when it is for Autobahn to find out what is unusual about it."""
    start = head.find(_KEY_NAME)
    line = None if start < 0 else _KEY_LINE.match(head, start)
    if line is None or len(head) > _REMEMBERED_BYTES:
        return any_usual_upgrade(head)
    upgrade = _with_some_key(head[:start], head[line.end() :])
    return None if upgrade is None else Upgrade(line[1], upgrade.protocols, upgrade.origin)


@lru_cache(_REMEMBERED)
def _with_some_key(before: bytes, behind: bytes) -> Upgrade | None:
    return any_usual_upgrade(before + b"\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==" + behind)


def any_usual_upgrade(head: bytes) -> Upgrade | None:
    """The same, without what is remembered of others."""
    match = _HEAD.fullmatch(head)
    if match is None:
        return None
    fields: dict[str, str] = {}
    lines = match[1].decode("ascii").split("\r\n")
    for line in lines[:-1]:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    if len(fields) != len(lines) - 1:
        return None
    key = fields.get("sec-websocket-key", "").encode("ascii")
    protocols = tuple(protocol.strip() for protocol in fields.get("sec-websocket-protocol", "").split(","))
    if (
        fields.get("upgrade", "").lower() != "websocket"
        or "upgrade" not in [option.strip() for option in fields.get("connection", "").lower().split(",")]
        or fields.get("sec-websocket-version") != "13"
        or _KEY.fullmatch(key) is None
        or _HOST.fullmatch(fields.get("host", "")) is None
        or fields.get("sec-websocket-extensions", "") not in _EXTENSIONS
        or len(set(protocols)) != len(protocols)
    ):
        return None
    return Upgrade(key, protocols, fields.get("origin"))


def switching(key: bytes, protocol: bytes, more: bytes = b"") -> bytes:
    """The answer to a request with a Sec-WebSocket-Key that names the subprotocol (RFC 6455 section 4.2.2).

    Args:
        key: as it came.
        protocol: the subprotocol.
        more: further header lines, each with its end.
    """
    return _SWITCHING % (more, protocol, b2a_base64(sha1(key + _MAGIC, usedforsecurity=False).digest(), newline=False))


def refusing(code: int, text: str, headers: Iterable[tuple[str, object]] = ()) -> bytes:
    """The answer that refuses; the connection ends behind it.

    Args:
        code: its status.
        text: why, for people; printable ASCII.
        headers: more of them.
    """
    body = text.encode("ascii") + b"\n"
    lines = [
        f"HTTP/1.1 {code} {_PHRASES.get(code, 'Refused')}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
