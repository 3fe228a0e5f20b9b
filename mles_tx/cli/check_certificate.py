"""Which certificate clients get for a domain, and until when."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID
from twisted.internet.error import ConnectError

from mles_tx.transport.certificates.names import covers, is_ip_address, is_local_name, names_of

from .asking import shown_certificate
from .check_ports import dialable
from .checks import Finding, Verdict

__all__ = ["judge_certificate", "look_at_certificate"]

#: Which part of its life a certificate still has when it should have been renewed long ago: the server begins at a
#: third.
_OVERDUE = 1 / 4

_SEE_LOG = "the server's log says why no other has come"


async def look_at_certificate(
    reactor: Any,
    domain: str,
    interfaces: Sequence[str],
    port: int,
    kept: Callable[[str], Awaitable[Certificate | None]],
    now: datetime,
) -> Finding:
    """The certificate a server shows for a domain, or the one that is kept for it.

    Args:
        reactor: the reactor.
        domain: who is asked for.
        interfaces: numeric addresses the server listens on; the first is asked.
        port: where it listens.
        kept: finds the certificate for a domain in the cache.
        now: the time, with its zone.
    """
    server_name = None if is_ip_address(domain) else domain
    try:
        certificate = await shown_certificate(reactor, dialable(interfaces[0]), port, server_name)
    except ConnectError:
        certificate = await kept(domain)
        if certificate is None:
            return Finding(Verdict.OK, "there is none yet, and no server is running: one comes when it starts")
        finding = judge_certificate(domain, certificate, now)
        return Finding(finding.verdict, f"kept, and not served at the moment: {finding.text}", finding.remedy)
    if certificate is None:
        return Finding(Verdict.UNKNOWN, f"nobody shows one on port {port}", "see the port's own line")
    return judge_certificate(domain, certificate, now)


def judge_certificate(domain: str, certificate: Certificate, now: datetime) -> Finding:
    """What a client makes of a certificate."""
    try:
        names = names_of(certificate)
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        issuer = _issuer(certificate)
    except ValueError:
        return Finding(Verdict.FAIL, "it is malformed", "replace it")
    text = f"{issuer}, until {ends:%Y-%m-%d %H:%M} UTC"
    if not covers(names, domain):
        return Finding(Verdict.FAIL, f"{text}, but for {', '.join(names[:5]) or 'nobody'}", f"serve {domain} there")
    if ends <= now:
        return Finding(Verdict.FAIL, f"{text}: it has expired", _SEE_LOG)
    if begins > now:
        return Finding(Verdict.FAIL, f"{text}: it begins {begins:%Y-%m-%d %H:%M} UTC", "set the clock")
    if certificate.issuer == certificate.subject:
        if is_local_name(domain):
            return Finding(Verdict.OK, text)
        return Finding(Verdict.WARN, f"{text}: clients refuse it", _SEE_LOG)
    if ends - now < (ends - begins) * _OVERDUE:
        return Finding(Verdict.WARN, f"{text}: it should have been renewed", _SEE_LOG)
    return Finding(Verdict.OK, text)


def _issuer(certificate: Certificate) -> str:
    if certificate.issuer == certificate.subject:
        return "self-signed"
    kinds = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
    named = [str(attribute.value) for kind in kinds for attribute in certificate.issuer.get_attributes_for_oid(kind)]
    return "from " + (" ".join(named) or "an authority without a name")
