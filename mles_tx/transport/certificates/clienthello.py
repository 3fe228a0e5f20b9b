"""The first message of a TLS client, as far as it matters before the handshake: the server and the protocol it wants.

RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301 section 3.1. What is no such message has no names in it: to
refuse it is up to TLS.
"""

from dataclasses import dataclass

__all__ = ["RECORD_HEADER_BYTES", "ClientHello", "parse_client_hello", "record_bytes"]

#: Type, version, length (RFC 8446 section 5.1).
RECORD_HEADER_BYTES = 5

#: The most a record may hold (RFC 8446 section 5.1).
_MAX_RECORD = 1 << 14

_HANDSHAKE = 22
_TLS = 3
_CLIENT_HELLO = 1
_SERVER_NAME, _HOST_NAME = 0, 0
_PROTOCOLS = 16


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client asks for.

    Attributes:
        server_name: in lower case; None: it names none, or no ASCII.
        protocols: what it offers with ALPN, in its order.
    """

    server_name: str | None = None
    protocols: tuple[bytes, ...] = ()


class _Reader:
    """Takes a message apart; ValueError when there is less than it says."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise ValueError("shorter than it says")
        self._at += count
        return taken

    def number(self, digits: int) -> int:
        return int.from_bytes(self.take(digits), "big")

    def sized(self, digits: int) -> "_Reader":
        return _Reader(self.take(self.number(digits)))

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)


def record_bytes(head: bytes) -> int | None:
    """How long the record is that begins so, with its header.

    Args:
        head: its first bytes, one or more.

    Returns:
        `RECORD_HEADER_BYTES` as long as the length has not come; None: it is no handshake.
    """
    if head[0] != _HANDSHAKE or head[1:2] not in (b"", bytes([_TLS])):
        return None
    if len(head) < RECORD_HEADER_BYTES:
        return RECORD_HEADER_BYTES
    length = int.from_bytes(head[3:5], "big")
    return RECORD_HEADER_BYTES + length if 0 < length <= _MAX_RECORD else None


def parse_client_hello(record: bytes) -> ClientHello:
    """What the client asks for whose first record this is, with its header.

    A message that spans several records is taken for one that asks for nothing: no certificate authority sends one.
    """
    try:
        message = _Reader(record[RECORD_HEADER_BYTES:])
        if message.number(1) != _CLIENT_HELLO:
            return ClientHello()
        return _parse_body(message.sized(3))
    except ValueError:
        return ClientHello()


def _parse_body(body: _Reader) -> ClientHello:
    body.take(2 + 32)  # version, random
    body.sized(1)  # session
    body.sized(2)  # suites
    body.sized(1)  # compression
    server_name: str | None = None
    protocols: tuple[bytes, ...] = ()
    if body:
        extensions = body.sized(2)
        while extensions:
            kind, content = extensions.number(2), extensions.sized(2)
            if kind == _SERVER_NAME:
                server_name = _parse_names(content.sized(2))
            elif kind == _PROTOCOLS:
                protocols = _parse_protocols(content.sized(2))
    return ClientHello(server_name, protocols)


def _parse_names(names: _Reader) -> str | None:
    while names:
        kind, name = names.number(1), names.sized(2).rest()
        if kind == _HOST_NAME:
            return name.decode("ascii").lower() if name.isascii() else None
    return None


def _parse_protocols(protocols: _Reader) -> tuple[bytes, ...]:
    found = []
    while protocols:
        found.append(protocols.sized(1).rest())
    return tuple(found)
