"""Whether a domain's addresses lead to this machine."""

import socket
from collections.abc import Iterable, Sequence
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address, ip_address

from mles_tx.transport.certificates.names import is_ip_address, is_local_name

from .checks import Finding, Verdict
from .lookups import Dns, DnsError, DnsSilence

__all__ = ["Machine", "judge_addresses", "look_at_addresses"]

#: Addresses for documentation (RFC 5737, RFC 3849): the way there is the way to anywhere.
_ANYWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}


class Machine:
    """The addresses of this machine."""

    def has(self, address: str) -> bool:
        """Whether an address is one of this machine's."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
                probe.bind((address, 0))
        except OSError:
            return False
        return not ip_address(address).is_unspecified

    def source(self, version: int) -> str | None:
        """The address this machine has on its way to the internet; None: there is no way.

        Args:
            version: 4 or 6.
        """
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        try:
            with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
                probe.connect((_ANYWHERE[version], 9))  # sends nothing
                return str(probe.getsockname()[0])
        except OSError:
            return None


async def look_at_addresses(name: str, dns: Dns, machine: Machine, is_public: bool) -> Finding:
    """Whether the authority, when it comes to a domain, comes here.

    Args:
        name: the domain, or an address.
        dns: who is asked.
        machine: this machine.
        is_public: whether the authority is one on the internet.
    """
    if is_ip_address(name):
        return judge_addresses(name, [name], machine, is_public)
    if is_public and is_local_name(name):
        return Finding(
            Verdict.WARN,
            "is a local name: no authority on the internet issues for it",
            "none needed: the server makes a certificate for it by itself",
        )
    try:
        addresses = await dns.addresses(name)
    except DnsError as error:
        return Finding(Verdict.FAIL, str(error), "see that the domain's name servers answer")
    except DnsSilence as error:
        return Finding(Verdict.UNKNOWN, str(error), "name a DNS server that answers with --dns")
    return judge_addresses(name, addresses, machine, is_public)


def judge_addresses(name: str, addresses: Sequence[str], machine: Machine, is_public: bool) -> Finding:
    """Whether the authority, when it comes to a name, comes here.

    Args:
        name: the domain.
        addresses: what it resolves to; an address stands for itself.
        machine: this machine.
        is_public: whether the authority is one on the internet.
    """
    if not addresses:
        return Finding(
            Verdict.FAIL, "has no address in the DNS", f"add an A record for {name} with this machine's public address"
        )
    found = [ip_address(address) for address in addresses]
    private = [address for address in found if not address.is_global]
    if is_public and private:
        return Finding(
            Verdict.FAIL,
            f"resolves to {_listed(private)}: no authority on the internet gets there",
            f"give {name} public addresses alone",
        )
    foreign = [address for address in found if not machine.has(str(address))]
    if not foreign:
        return Finding(Verdict.OK, f"resolves to {_listed(found)}, of this machine")
    elsewhere = [address for address in foreign if not _may_lead_here(address, machine)]
    if elsewhere:
        kinds = " and ".join(sorted({"AAAA" if address.version == 6 else "A" for address in elsewhere}))
        return Finding(
            Verdict.FAIL,
            f"resolves to {_listed(elsewhere)}, not an address of this machine",
            f"let the {kinds} record of {name} point to this machine, or remove it",
        )
    here = machine.source(foreign[0].version) or "no way to the internet"
    return Finding(
        Verdict.WARN,
        f"resolves to {_listed(foreign)}; this machine is behind NAT ({here}), so it cannot be known here"
        " whether that is its way in",
        "compare it with the router's public address, and let the router forward the ports",
    )


def _may_lead_here(address: IPv4Address | IPv6Address, machine: Machine) -> bool:
    """Whether something in front of this machine may pass on what comes to an address."""
    source = machine.source(address.version)
    if source is None:
        return address.version == 4
    return address.is_global and not ip_address(source.partition("%")[0]).is_global


def _listed(addresses: Iterable[IPv4Address | IPv6Address]) -> str:
    return ", ".join(str(address) for address in addresses)
