"""What option values are made from: text in, value out, or a `UsageError` that names the option and the remedy.

For all commands that have an option of the same name. It must not know what the values are for.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from twisted.python import usage

from mles_tx.web.routes import Route, climbs

__all__ = ["canonical_address", "directory_url", "domain_names", "proxy_route", "whole_number"]

#: What a URL is made of, less what only fragments and logins need (RFC 8555 section 6.1 wants plain https).
_NOT_IN_DIRECTORY_URL = frozenset('#@\\"<>')

#: A path in its plain form, of which no part has to be decoded.
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;:@-]+)*/?")

#: A name or address as it stands in a URL.
_URL_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


def whole_number(option: str, low: int, high: int, *, or_zero: bool = False) -> Callable[[str], int]:
    """A coerce function for a whole number in a range."""

    def coerce(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if low <= value <= high or (or_zero and value == 0):
            return value
        off = ", or 0 to switch it off" if or_zero else ""
        raise usage.UsageError(f"{option} {text!r}: give a whole number from {low} to {high}{off}")

    return coerce


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


def directory_url(text: str) -> str:
    """The coerce function of `--acme-directory`: an https URL (RFC 8555 section 6.1)."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # looked at when it is asked for
    except ValueError:
        parts = urlsplit("")
    plain = text.isascii() and text.isprintable() and " " not in text and _NOT_IN_DIRECTORY_URL.isdisjoint(text)
    if parts.scheme != "https" or not parts.hostname or not plain:
        raise usage.UsageError(f"--acme-directory {text!r}: give the https:// URL of the authority's directory")
    return text


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
