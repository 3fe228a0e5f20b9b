"""Which web pages may connect: a look at the Origin header of an upgrade (RFC 6454)."""

from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["OriginPolicy", "any_origin", "is_loopback_name", "pages_of_this_machine"]

#: Tells whether an origin may connect; None stands for a client that sends no Origin.
OriginPolicy = Callable[[str | None], bool]


def any_origin(origin: str | None) -> bool:
    """Everybody: what a public server does."""
    return True


def pages_of_this_machine(origin: str | None) -> bool:
    """Everything but web pages that come from elsewhere: what a server on a laptop does.

    A page on the web must not reach a server that its visitor runs for himself. What is no web page passes:
    programs send no Origin, files and apps send ``null`` or a scheme of their own.
    """
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        host = parts.hostname
    except ValueError:
        return False
    return parts.scheme not in ("http", "https") or (host is not None and is_loopback_name(host))


def is_loopback_name(host: str) -> bool:
    """Whether a host name or address always means this machine (RFC 6761 section 6.3)."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
