"""Who a client behind a proxy is: X-Forwarded-For and X-Forwarded-Proto, believed when a trusted proxy has sent them.

Each proxy adds the address it was connected from at the right end of X-Forwarded-For. What a trusted one has added is
true; what stands to the left of an address that is not trusted may be anybody's invention.

It must not know where a header comes from, nor what is done with the address.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

__all__ = ["MAX_HOPS", "NOBODY", "Client", "TrustedProxies", "client_of", "parse_network", "unmapped"]

#: Addresses that are looked at, from the right: nobody has so many proxies, one behind the other.
MAX_HOPS = 32

#: An address as proxies write it: IPv6 in brackets, IPv4 with a port or without, or IPv6 alone.
_HOP = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15})(?::[0-9]{1,5})?|([0-9A-Fa-f:.]{2,45})")

_FOR, _PROTO = b"x-forwarded-for", b"x-forwarded-proto"

_SCHEMES = {b"https": "https", b"wss": "https", b"http": "http", b"ws": "http"}

#: IPv4 addresses within IPv6 (RFC 4291 section 2.5.5.2) stand behind so many bits.
_MAPPED_BITS = 96


class Client(NamedTuple):
    """Where a request comes from.

    Attributes:
        address: the client's address, as `ipaddress` writes it.
        scheme: what it has used, ``https`` or ``http``; None: nobody has told.
    """

    address: str
    scheme: str | None


class TrustedProxies:
    """The proxies whose word on their clients is taken. False when there are none.

    Args:
        networks: addresses and networks, like ``127.0.0.1``, ``10.0.0.0/8`` and ``fd00::/8``.

    Raises:
        ValueError: one of them is neither.
    """

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(parse_network(network) for network in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, host: str) -> bool:
        """Whether an address is one of theirs. What is none, is not."""
        if not self._networks:
            return False
        try:
            address = unmapped(ip_address(host.partition("%")[0]))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


#: No proxy at all.
NOBODY = TrustedProxies()


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """An address or a network.

    Raises:
        ValueError: it is neither, or has bits behind its prefix.
    """
    if "%" in text:
        raise ValueError("networks have no zone")
    network = ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return IPv4Network((int(mapped), network.prefixlen - _MAPPED_BITS))
    return network


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An address as the one it stands for: IPv4 that was written as IPv6 is IPv4 again."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def client_of(peer: str, headers: Iterable[tuple[bytes, Sequence[bytes]]], trusted: TrustedProxies) -> Client:
    """Where a request comes from.

    The client is the first address from the right that is not a trusted proxy's; when all are, the last one that was
    looked at. What is no address (``unknown``, names, garbage) ends the search: nothing to the left of it is believed.

    Args:
        peer: the address of who has sent the request here.
        headers: names, in any case, and the values of each in their order: what `Headers.getAllRawHeaders` of
            twisted.web returns. From a peer that is not trusted they are not looked at.
        trusted: whose word is taken.
    """
    if peer not in trusted:
        return Client(peer, None)
    lines: list[bytes] = []
    scheme = b""
    for name, values in headers:
        lower = name.lower()
        if lower == _FOR:
            lines.extend(values)
        elif lower == _PROTO and values:
            # The last word is that of the proxy in front of us.
            scheme = values[-1].rpartition(b",")[2].strip().lower()
    address = peer
    for hop in reversed(b",".join(lines).rsplit(b",", MAX_HOPS)[-MAX_HOPS:]):
        text = hop.strip(b" \t").decode("latin-1")
        if not text:
            continue  # RFC 9110 section 5.6.1: empty elements do not count
        found = _parse_hop(text)
        if found is None:
            break
        address = found
        if address not in trusted:
            break
    return Client(address, _SCHEMES.get(scheme))


def _parse_hop(text: str) -> str | None:
    match = _HOP.fullmatch(text)
    if match is None or (match[1] is not None and ":" not in match[1]):
        return None
    try:
        return str(unmapped(ip_address(match[1] or match[2] or match[3])))
    except ValueError:
        return None
