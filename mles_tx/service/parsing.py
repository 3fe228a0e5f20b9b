"""What option values are made from: text in, value out, or a `UsageError` that names the option and the remedy.

For all commands that have an option of the same name. It must not know what the values are for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from twisted.python import usage

from mles_tx.transport.inherited import SystemdSocket, systemd_socket

from .privileges import Account, PrivilegeError, find_account

__all__ = [
    "WholeNumber",
    "canonical_address",
    "domain_names",
    "inherited_socket",
    "one_line",
    "one_of",
    "user_account",
    "whole_number",
]


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
