"""CAA records (RFC 8659): which authorities a domain lets issue certificates for it."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from .checks import Finding, Verdict
from .lookups import Dns, DnsError, DnsSilence

__all__ = ["Caa", "judge_caa", "look_at_caa", "parse_caa"]

#: The flag of a property that an authority must not issue without understanding (RFC 8659 section 4.1).
_CRITICAL = 128

#: Properties an authority understands (RFC 8659 section 4, RFC 9495).
_KNOWN_TAGS = frozenset(("issue", "issuewild", "issuemail", "iodef", "contactemail", "contactphone", "issuevmc"))

#: How the server can be validated (RFC 8657 section 4).
_METHODS = frozenset(("http-01", "tls-alpn-01"))


@dataclass(frozen=True, slots=True)
class Caa:
    """A CAA record: one property.

    Attributes:
        flags: 128 for critical.
        tag: the property, lower case.
        value: its value.
    """

    flags: int
    tag: str
    value: str


async def look_at_caa(name: str, dns: Dns, identities: Callable[[], Awaitable[Sequence[str] | None]]) -> Finding:
    """Whether the DNS lets the authority issue for a name.

    Args:
        name: the domain, no address.
        dns: who is asked.
        identities: the authority's names in CAA records; asked when there are records.
    """
    try:
        holder, wires = await dns.caa(name)
        records = [parse_caa(wire) for wire in wires]
    except DnsError as error:
        return Finding(
            Verdict.FAIL, f"{error}: the authority will not issue", "see that the domain's name servers answer for CAA"
        )
    except DnsSilence as error:
        return Finding(Verdict.UNKNOWN, str(error), "name a DNS server that answers with --dns")
    return judge_caa(holder, records, await identities() if records else None)


def parse_caa(data: bytes) -> Caa:
    """Take a record apart (RFC 8659 section 4.1).

    Raises:
        DnsError: it is malformed.
    """
    length = data[1] if len(data) > 1 else 0
    tag, value = data[2 : 2 + length], data[2 + length :]
    if length == 0 or len(tag) < length or not tag.isalnum():
        raise DnsError("a CAA record is malformed")
    return Caa(data[0], tag.decode("ascii").lower(), value.decode("utf-8", "replace"))


def judge_caa(holder: str, records: Sequence[Caa], identities: Sequence[str] | None) -> Finding:
    """Whether the authority may issue (RFC 8659 section 4.2), by a way the server has (RFC 8657).

    Args:
        holder: whose records these are.
        records: those that count; none: anybody may.
        identities: the authority's names in CAA records; None: not known.
    """
    if not records:
        return Finding(Verdict.OK, "no CAA record: any authority may issue")
    strange = [record.tag for record in records if record.flags & _CRITICAL and record.tag not in _KNOWN_TAGS]
    if strange:
        return Finding(
            Verdict.FAIL,
            f"{holder} has a critical CAA record of an unknown kind ({strange[0]}): no authority may issue",
            "remove it",
        )
    issuers = [_issuer(record.value) for record in records if record.tag == "issue"]
    if not issuers:
        return Finding(Verdict.OK, f"the CAA records of {holder} restrict nobody")
    named = ", ".join(name or '";"' for name, _ in issuers)
    if not identities:
        return Finding(
            Verdict.UNKNOWN,
            f"{holder} has CAA records for {named}; the authority does not say which is its own",
            "compare them with the authority's documents",
        )
    ours = [parameters for name, parameters in issuers if name in identities]
    wanted = f'add to {holder}: CAA 0 issue "{identities[0]}"'
    if not ours:
        return Finding(Verdict.FAIL, f"the CAA records of {holder} allow {named} and not {identities[0]}", wanted)
    usable = [parameters for parameters in ours if _METHODS.intersection(_methods(parameters))]
    if not usable:
        return Finding(
            Verdict.FAIL,
            f"the CAA records of {holder} allow {identities[0]} no validation that a server can do",
            f"{wanted}, or add tls-alpn-01 to its validationmethods",
        )
    if all("accounturi" in parameters for parameters in usable):
        return Finding(
            Verdict.WARN,
            f"the CAA records of {holder} allow {identities[0]} for one account alone",
            "compare it with the account the server has registered",
        )
    return Finding(Verdict.OK, f"the CAA records of {holder} allow {identities[0]}")


def _issuer(value: str) -> tuple[str, dict[str, str]]:
    """An issue property's issuer and parameters, in lower case."""
    issuer, *parameters = value.split(";")
    pairs = (parameter.partition("=") for parameter in parameters if parameter.strip())
    return issuer.strip().lower(), {tag.strip().lower(): text.strip() for tag, _, text in pairs}


def _methods(parameters: dict[str, str]) -> Iterable[str]:
    listed = parameters.get("validationmethods")
    return _METHODS if listed is None else (method.strip() for method in listed.split(","))
