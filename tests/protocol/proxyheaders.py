"""Headers of the PROXY protocol, made by hand."""

import struct
from ipaddress import ip_address

from mles_tx.protocol.proxyheader import SIGNATURE

__all__ = ["GOOD", "LOCAL", "TCP4", "TCP6", "UNIX", "UNSPEC", "v1", "v2"]

UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX, UNIX_DATAGRAMS = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32

#: TLVs as HAProxy sends them: ALPN, a checksum (of nothing), an authority.
TLVS = b"\x01\x00\x02h2" + b"\x03\x00\x04\x00\x00\x00\x00" + b"\x02\x00\x0bexample.org"


def v1(source: str = "192.0.2.7", destination: str = "192.0.2.1", port: int = 4711, other: int = 443) -> bytes:
    """A line of version 1."""
    return f"PROXY TCP{ip_address(source).version} {source} {destination} {port} {other}\r\n".encode("ascii")


def v2(source: str = "192.0.2.7", destination: str = "192.0.2.1", port: int = 4711, more: bytes = b"") -> bytes:
    """A header of version 2."""
    addresses = ip_address(source).packed + ip_address(destination).packed + struct.pack("!HH", port, 443)
    return block(TCP4 if ":" not in source else TCP6, addresses + more)


def block(family: int, content: bytes, *, command: int = 0x21, length: int | None = None) -> bytes:
    """A header of version 2 with any content."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(content) if length is None else length) + content


#: What a proxy sends when it looks whether we are there.
LOCAL = block(UNSPEC, b"", command=0x20)

#: Whole headers, and whose connection each of them tells of.
GOOD: tuple[tuple[bytes, tuple[str, int] | None], ...] = (
    (v1(), ("192.0.2.7", 4711)),
    (v1("255.255.255.255", "255.255.255.255", 65535, 65535), ("255.255.255.255", 65535)),
    (v1(port=0, other=0), ("192.0.2.7", 0)),
    (v1("2001:db8::7", "::1"), ("2001:db8::7", 4711)),
    (v1("2001:DB8:0:0::7", "::1"), ("2001:db8::7", 4711)),
    (v1("::ffff:192.0.2.7", "::1"), ("192.0.2.7", 4711)),
    (v1(":".join(["ffff"] * 8), ":".join(["ffff"] * 8), 65535, 65535), (":".join(["ffff"] * 8), 65535)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n", None),
    (b"PROXY UNKNOWN \xff\n\x00\r\n", None),
    (v2(), ("192.0.2.7", 4711)),
    (v2(more=TLVS), ("192.0.2.7", 4711)),
    (v2(more=b"\xee\x00"), ("192.0.2.7", 4711)),
    (v2("2001:db8::7", "::1"), ("2001:db8::7", 4711)),
    (v2("2001:db8::7", "::1", more=TLVS), ("2001:db8::7", 4711)),
    (v2("::ffff:192.0.2.7", "::1"), ("192.0.2.7", 4711)),
    (v2(more=bytes(4096 - 28)), ("192.0.2.7", 4711)),
    (block(UDP4, bytes(12)), ("0.0.0.0", 0)),
    (block(UDP6, bytes(36)), ("::", 0)),
    (block(UNIX, bytes(216)), None),
    (block(UNIX_DATAGRAMS, bytes(216) + TLVS), None),
    (block(UNSPEC, b""), None),
    (block(UNSPEC, TLVS), None),
    (LOCAL, None),
    (block(TCP4, bytes(12), command=0x20), None),
    (block(TCP4, b"", command=0x20), None),
    (block(0xFF, TLVS, command=0x20), None),
)
