"""The first record of a TLS client, as it is looked at before the handshake."""

from mles_tx.transport.certificates.clienthello import (
    RECORD_HEADER_BYTES,
    ClientHello,
    parse_client_hello,
    record_bytes,
)

__all__ = ["run", "seeds"]


def run(data: bytes) -> None:
    """What a client asks for, or nothing; and how much of it is to be waited for is bounded."""
    if data:
        size = record_bytes(data)
        assert size is None or RECORD_HEADER_BYTES <= size <= RECORD_HEADER_BYTES + (1 << 14)
    found = parse_client_hello(data)
    assert isinstance(found, ClientHello)
    assert found.server_name is None or found.server_name.isascii()


def seeds() -> list[bytes]:
    """A hello with a name and protocols."""
    name = b"example.org"
    names = len(name).to_bytes(2, "big")
    entry = b"\0" + names + name
    server_name = b"\0\0" + (len(entry) + 2).to_bytes(2, "big") + len(entry).to_bytes(2, "big") + entry
    alpn = b"\0\x10\0\x0d\0\x0b\x0aacme-tls/1"
    extensions = server_name + alpn
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return [b"\x16\3\1" + len(message).to_bytes(2, "big") + message, b"\x16\3\1\0\x05\1\0\0\1\0", b"GET / HTTP/1.1"]
