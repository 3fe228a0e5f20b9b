"""The usual request for an upgrade (RFC 6455 section 4.2.1), taken apart in one go, and the answers: yes and no.

It knows less than Autobahn, and what it does not know it leaves to it: headers that stand twice, other versions,
whatever is to be refused. It must not take what Autobahn would refuse.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha1

__all__ = ["FOREIGN", "Upgrade", "refusing", "switching", "usual_upgrade"]

#: A whole head of printable ASCII, and of HTTP/1.1; its target is a path, with a query or without.
_HEAD = re.compile(rb"GET /(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/?-]* HTTP/1\.1\r\n((?:[!-9;-~]+:[ -~]*\r\n)+)\r\n")

#: Without a port, or with one that is a number.
_HOST = re.compile(r"([^:]+|\[.+\])(:[0-9]{1,5})?")

#: What browsers offer: none of it is accepted, but it has to be well-formed.
_EXTENSIONS = ("", "permessage-deflate", "permessage-deflate; client_max_window_bits")

#: RFC 6455 section 1.3.
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")

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

    key: str
    protocols: list[str]
    origin: str | None


def usual_upgrade(head: bytes) -> Upgrade | None:
    """Take a head apart; None when it is for Autobahn to find out what is unusual about it."""
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
    key = fields.get("sec-websocket-key", "")
    protocols = [protocol.strip() for protocol in fields.get("sec-websocket-protocol", "").split(",")]
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


def switching(key: str, protocol: bytes, headers: Mapping[str, str]) -> bytes:
    """The answer to a request with a Sec-WebSocket-Key that names the subprotocol (RFC 6455 section 4.2.2)."""
    more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("ascii")
    return _SWITCHING % (more, protocol, b64encode(sha1(key.encode("ascii") + _MAGIC, usedforsecurity=False).digest()))


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
