"""What option values are made from: text in, value out, or a `UsageError` that names the option and the remedy.

For all commands that have an option of the same name. It must not know what the values are for.
"""

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from twisted.python import usage

from mles_tx.stores.redis.address import SCHEMES, RedisAddress, parse_address
from mles_tx.transport.inherited import SystemdSocket, systemd_socket

from .privileges import Account, PrivilegeError, find_account

__all__ = [
    "canonical_address",
    "choice",
    "directory_url",
    "domain_names",
    "history_place",
    "inherited_socket",
    "user_account",
    "whole_number",
]

#: What a URL is made of, less what only fragments and logins need (RFC 8555 section 6.1 wants plain https).
_NOT_IN_DIRECTORY_URL = frozenset('#@\\"<>')


def whole_number(option: str, low: int, high: int, *, or_zero: bool = False) -> Callable[[str], int]:
    """A coerce function for a whole number in a range."""

    def coerce(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if low <= value <= high or (or_zero and value == 0):
            return value
        off = ", or 0 to switch it off" if or_zero else ""
        raise usage.UsageError(f"{option} {text!r}: give a whole number from {low} to {high}{off}")

    return coerce


def choice(option: str, *words: str) -> Callable[[str], str]:
    """A coerce function for one of some words."""

    def coerce(text: str) -> str:
        if text in words:
            return text
        raise usage.UsageError(f"{option} {text!r}: give {' or '.join(words)}")

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
