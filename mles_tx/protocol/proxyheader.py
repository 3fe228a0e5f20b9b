"""The header of the PROXY protocol, versions 1 and 2: where a connection comes from, told by the proxy in front of us.

It is HAProxy's protocol ("The PROXY protocol", versions 1 & 2), which nginx, load balancers and tunnels speak as well.
Twisted's own parsers want the beginning of a header whole, and take whatever stands where an address has to be.

It must not know how a header is read, nor who may send one.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from .forwarded import unmapped

__all__ = ["MAX_V1_BYTES", "MAX_V2_BYTES", "SIGNATURE", "ProxyHeader", "ProxyHeaderError", "parse_proxy_header"]

#: The longest line of version 1 (section 2.1), with its CRLF.
MAX_V1_BYTES = 107

#: Bytes of a header of version 2. It could announce 65551; what proxies tell of fits into 536, and nginx takes 4096.
MAX_V2_BYTES = 4096

#: How version 2 begins (section 2.2).
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

_V1_START = b"PROXY "
_PORT = rb"(0|[1-9][0-9]{0,4})"
_ADDRESS = rb"([0-9A-Fa-f:.]+)"
_V1 = re.compile(rb"PROXY (?:UNKNOWN(?: .*)?|TCP([46]) %b %b %b %b)" % (_ADDRESS, _ADDRESS, _PORT, _PORT), re.DOTALL)
_MAX_PORT = 65535

#: Signature, version and command, family and transport, length.
_V2_FIXED = 16
_VERSION = 2
_LOCAL, _PROXY = 0, 1

#: Bytes of both addresses, by family and transport. Others have to be refused.
_ADDRESS_BYTES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_INET, _INET6 = 1, 2


class ProxyHeaderError(Exception):
    """This is no header of the PROXY protocol."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says.

    Attributes:
        size: its bytes.
        client: address and port the connection comes from; None: from the proxy itself, or from where no IP address is.
    """

    size: int
    client: tuple[str, int] | None


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Take the header at the beginning of a connection apart.

    Args:
        data: what has come so far, one byte or more; what stands behind the header is not looked at.

    Returns:
        None as long as it is not whole: then all of `data` belongs to it.

    Raises:
        ProxyHeaderError: it is none, whatever follows.
    """
    if data.startswith(SIGNATURE[: len(data)]):
        return _parse_v2(data)
    if data.startswith(_V1_START[: len(data)]):
        return _parse_v1(data)
    raise ProxyHeaderError("neither version begins so")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:MAX_V1_BYTES].partition(b"\r\n")
    if not end:
        if len(data) >= MAX_V1_BYTES:
            raise ProxyHeaderError("the line is too long")
        return None
    match = _V1.fullmatch(line)
    if match is None:
        raise ProxyHeaderError("this is no line of version 1")
    size = len(line) + len(end)
    if match[1] is None:
        return ProxyHeader(size, None)
    family = IPv4Address if match[1] == b"4" else IPv6Address
    try:
        source, _ = (family(match[number].decode("ascii")) for number in (2, 3))
    except ValueError:
        raise ProxyHeaderError("these are no addresses of that family") from None
    port, other = int(match[4]), int(match[5])
    if max(port, other) > _MAX_PORT:
        raise ProxyHeaderError("there is no such port")
    return ProxyHeader(size, (str(unmapped(source)), port))


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_FIXED:
        return None
    version, command = divmod(data[12], 16)
    length = int.from_bytes(data[14:16], "big")
    size = _V2_FIXED + length
    if version != _VERSION or command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("this version or command is not known")
    if size > MAX_V2_BYTES:
        raise ProxyHeaderError("the header is too long")
    if command == _PROXY and length < _ADDRESS_BYTES.get(data[13], length + 1):
        raise ProxyHeaderError("this family is not known, or its addresses are missing")
    if len(data) < size:
        return None
    family = data[13] >> 4 if command == _PROXY else 0
    # Source address, destination address, source port, destination port; then what else the proxy likes to tell.
    if family == _INET:
        return ProxyHeader(size, (str(IPv4Address(data[16:20])), int.from_bytes(data[24:26], "big")))
    if family == _INET6:
        source6 = unmapped(IPv6Address(data[16:32]))
        return ProxyHeader(size, (str(source6), int.from_bytes(data[48:50], "big")))
    return ProxyHeader(size, None)
