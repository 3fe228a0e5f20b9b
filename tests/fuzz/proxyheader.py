"""The header of the PROXY protocol."""

from ipaddress import ip_address

from mles_tx.protocol.proxyheader import MAX_V2_BYTES, ProxyHeaderError, parse_proxy_header
from tests.protocol.proxyheaders import v1, v2

__all__ = ["run", "seeds"]


def run(data: bytes) -> None:
    """A header, more to wait for, or a `ProxyHeaderError`; what follows it and how it is cut changes nothing."""
    if not data:
        return
    try:
        found = parse_proxy_header(data)
    except ProxyHeaderError:
        return
    if found is None:
        assert len(data) < MAX_V2_BYTES
        return
    assert 0 < found.size <= len(data)
    if found.client is not None:
        ip_address(found.client[0])
        assert 0 <= found.client[1] <= 65535
    assert parse_proxy_header(data[: found.size]) == parse_proxy_header(data[: found.size] + b"GET /") == found
    for cut in range(1, found.size, max(1, found.size // 20)):
        assert parse_proxy_header(data[:cut]) is None


def seeds() -> list[bytes]:
    """Both versions, both families."""
    return [
        v1(),
        v1("2001:db8::7", "2001:db8::1"),
        b"PROXY UNKNOWN\r\n",
        v2(),
        v2("2001:db8::7", "2001:db8::1"),
        v2(more=b"\x04\0\1\0"),
    ]
