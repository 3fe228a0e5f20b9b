"""Why there is no certificate, in a line that says what to do: the problem documents of RFC 8555 section 6.7."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["AccountRefused", "AcmeError", "Problem", "Refused", "Unavailable", "ValidationFailed", "clean", "explain"]

_PREFIX = "urn:ietf:params:acme:error:"

#: Characters of a text from outside that are shown.
_SHOWN = 300

_CONNECTION = {
    "tls-alpn-01": "let port 443 of {name} be reached from the internet, and lead to this server without ending TLS",
    "http-01": "let port 80 of {name} be reached from the internet, and lead to this server",
}
_ELSEWHERE = (
    "something else answers for {name}: let its DNS records point to this machine alone, with no proxy before it"
)

#: What to do, by the kind of problem (RFC 8555 section 6.7).
_REMEDIES = {
    "accountDoesNotExist": "the account is made anew at the next try",
    "badCSR": "it is no name this authority issues for; see its rules",
    "badPublicKey": "remove the account key from the cache directory, to have a new one",
    "badSignatureAlgorithm": "this authority takes no ECDSA account keys; choose another one",
    "caa": "a CAA record of {name} or its parents forbids it: allow this authority, or remove the record",
    "dns": "{name} does not resolve: let an A or AAAA record of it point to this machine",
    "externalAccountRequired": "this authority wants an account bound to yours there: give its key id and HMAC key",
    "invalidContact": "give another --email, or none",
    "unsupportedContact": "give another --email, or none",
    "rateLimited": "too many orders or failures: it is tried again later; use --staging to try things out",
    "rejectedIdentifier": "this authority does not issue for {name}: give a name of your own below a public domain",
    "unsupportedIdentifier": "this authority does not issue for {name}",
    "serverInternal": "the fault is at the authority: it is tried again later",
    "userActionRequired": "its terms have changed: follow the link in its message",
}

_ACCOUNT_REMEDIES = {
    "unauthorized": "the account is refused: check key id and HMAC key, or remove it from the cache directory",
    "malformed": "the account is refused: check key id and HMAC key",
}


def clean(text: object) -> str:
    """A text from outside, fit for one line of a log."""
    shown = " ".join(str(text).split())
    shown = "".join(character if character.isprintable() else "?" for character in shown)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."


@dataclass(frozen=True, slots=True)
class Problem:
    """What an authority says is wrong.

    Attributes:
        kind: the last part of its type, such as ``rateLimited``; empty when it has none of RFC 8555.
        detail: its words, on one line.
    """

    kind: str
    detail: str

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Problem":
        """What a problem document says. Of several problems in one the first counts: we order for one name."""
        inner = document.get("subproblems")
        if isinstance(inner, list) and inner and isinstance(inner[0], Mapping) and inner[0].get("type"):
            document = inner[0]
        kind = document.get("type")
        known = isinstance(kind, str) and kind.startswith(_PREFIX)
        detail = document.get("detail") or document.get("title") or kind or "no reason given"
        return cls(clean(kind)[len(_PREFIX) :] if known else "", clean(detail))


def explain(problem: Problem, name: str, challenge: str = "") -> str:
    """The problem and its remedy on one line.

    Args:
        problem: what the authority says.
        name: the name a certificate was ordered for; empty: it is about the account.
        challenge: the kind of challenge that failed, if one did.
    """
    if not name:
        remedy = _ACCOUNT_REMEDIES.get(problem.kind) or _REMEDIES.get(problem.kind, "")
    elif challenge and problem.kind in ("connection", "tls"):
        remedy = _CONNECTION[challenge]
    elif challenge and problem.kind in ("unauthorized", "incorrectResponse"):
        remedy = f"{_ELSEWHERE}, and {_CONNECTION[challenge]}"
    else:
        remedy = _REMEDIES.get(problem.kind, "")
    return ": ".join(
        part for part in (challenge, problem.kind, problem.detail, remedy.format(name=name or "this name")) if part
    )


class AcmeError(Exception):
    """No certificate this time; the text is one line for the operator.

    Attributes:
        retry_after: seconds to wait at least, as the authority wishes; 0.0: it did not say.
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Unavailable(AcmeError):
    """The authority does not answer, or nothing that makes sense.

    Before there is an order that concerns all names, and then the one that was ordered.
    """


class Refused(AcmeError):
    """The authority has said no.

    Attributes:
        problem: in its own words.
    """

    def __init__(self, problem: Problem, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text, retry_after)
        self.problem = problem


class AccountRefused(Refused):
    """The authority wants nothing to do with our account. It concerns all names."""


class ValidationFailed(Refused):
    """The challenge was not met: another kind of challenge may be."""
