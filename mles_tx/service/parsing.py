"""What option values are made from: text in, value out, or a `UsageError` that names the option and the remedy.

For all commands that have an option of the same name. It must not know what the values are for.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from twisted.python import usage

from mles_tx.stores.redis.address import SCHEMES, RedisAddress, parse_address
from mles_tx.transport.inherited import SystemdSocket, systemd_socket
from mles_tx.web.routes import Route, climbs

from .privileges import Account, PrivilegeError, find_account

__all__ = [
    "WholeNumber",
    "canonical_address",
    "domain_names",
    "history_place",
    "inherited_socket",
    "one_line",
    "one_of",
    "proxy_route",
    "user_account",
    "whole_number",
]

#: A path in its plain form, of which no part has to be decoded.
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;:@-]+)*/?")

#: A name or address as it stands in a URL.
_URL_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


#: A path in its plain form, of which no part has to be decoded.
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;:@-]+)*/?")

#: A name or address as it stands in a URL.
_URL_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


@dataclass(frozen=True, slots=True)
class WholeNumber:
    """The coerce function of an option whose value is a whole number in a range."""

    option: str
    low: int
    high: int
    or_zero: bool

    def __call__(self, text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if self.low <= value <= self.high or (self.or_zero and value == 0):
            return value
        off = ", or 0 to switch it off" if self.or_zero else ""
        raise usage.UsageError(f"{self.option} {text!r}: give a whole number from {self.low} to {self.high}{off}")


def whole_number(option: str, low: int, high: int, *, or_zero: bool = False) -> WholeNumber:
    """A coerce function for a whole number in a range."""
    return WholeNumber(option, low, high, or_zero)


def one_line(text: str) -> str:
    """A text with everything in it that is not to be printed, line ends among them, written out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def one_of(option: str, choices: Sequence[str]) -> Callable[[str], str]:
    """A coerce function for one of some words."""

    def coerce(text: str) -> str:
        if text in choices:
            return text
        raise usage.UsageError(f"{option} {text!r}: give {', '.join(choices[:-1])} or {choices[-1]}")

    return coerce


def history_place(text: str) -> Path | RedisAddress | None:
    """The coerce function of `--history`: the file, or the Redis; None: memory."""
    if text == "memory":
        return None
    scheme, _, rest = text.partition(":")
    if scheme in SCHEMES:
        try:
            return parse_address(text)
        except ValueError as error:
            # Not the URL: there may be a password in it.
            raise usage.UsageError(f"--history {scheme}: {error}; give a URL like redis://HOST:6379/0") from None
    if scheme != "sqlite" or not rest or "\0" in rest:
        raise usage.UsageError(
            f"--history {text!r}: give memory, sqlite:FILE with the file to keep it in, or the URL of a Redis"
        )
    return Path(rest).absolute()


def canonical_address(name: str) -> str:
    """An address in the form browsers and certificates have it; a name as it is."""
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return name
    return name if getattr(address, "scope_id", None) else str(address)


def domain_names(text: str) -> list[str]:
    """The domains of one `--domains`: by commas, in lower case, without the root's dot."""
    return [canonical_address(name.strip().lower().rstrip(".")) for name in text.split(",")]


def inherited_socket(option: str, text: str) -> SystemdSocket:
    """A socket of `--listen` or `--redirect-listen`."""
    try:
        return systemd_socket(text)
    except ValueError:
        raise usage.UsageError(
            f"{option} {text!r}: give systemd:index=N or systemd:name=NAME; for an address there are"
            " --port and --interface"
        ) from None


def user_account(text: str) -> Account:
    """The coerce function of `--run-as`."""
    try:
        return find_account(text)
    except PrivilegeError as error:
        raise usage.UsageError(f"--run-as {text!r}: {error}") from None


def proxy_route(text: str) -> Route:
    """What one `--proxy` says: a prefix, and the URL of an upstream."""
    prefix, equals, url = text.partition("=")
    usual = "give PREFIX=http://HOST:PORT, like /api=http://127.0.0.1:3000"
    if not equals:
        raise usage.UsageError(f"--proxy {text!r}: {usual}")
    if not prefix.startswith("/") or not _PLAIN_PATH.fullmatch(prefix) or climbs(prefix.encode("ascii")):
        raise usage.UsageError(
            f"--proxy {text!r}: a prefix is a path of plain letters and digits, like /api; give one that begins with /"
        )
    parts, port = _http_url(url)
    if parts is None or not parts.hostname or not _URL_HOST.fullmatch(parts.hostname):
        raise usage.UsageError(f"--proxy {text!r}: upstreams are reached over plain http; {usual}")
    if not _PLAIN_PATH.fullmatch(parts.path) or climbs(parts.path.encode("ascii")) or "?" in url or "#" in url:
        raise usage.UsageError(f"--proxy {text!r}: behind the port there may be a plain path; leave the rest away")
    return Route(prefix.rstrip("/") or "/", canonical_address(parts.hostname), port, parts.path or None)


def _http_url(url: str) -> tuple[SplitResult | None, int]:
    """An http URL taken apart, and its port; None when it is none, or somebody would log in with it."""
    try:
        parts = urlsplit(url)
        port = 80 if parts.port is None else parts.port
    except ValueError:
        return None, 0
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    return (parts, port) if parts.scheme == "http" and plain and port else (None, 0)
