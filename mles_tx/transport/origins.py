"""Which web pages may connect: a look at the Origin header of an upgrade (RFC 6454)."""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

__all__ = [
    "ListedOrigins",
    "OriginPolicy",
    "any_origin",
    "canonical_origin",
    "is_loopback_name",
    "pages_of_this_machine",
]

#: Tells whether an origin may connect; None stands for a client that sends no Origin.
OriginPolicy = Callable[[str | None], bool]

#: What a page without an origin of its own sends (RFC 6454 section 7.1): one from a file, in a sandbox or a data: URL.
_NULL = "null"

#: RFC 6454 section 6.2: a scheme, a host and a port, in ASCII. Browsers send files and some apps as a scheme alone.
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|)(?::(?P<port>[0-9]{1,5}))?"
)

#: With a star, and with what stands behind it in a URL.
_NEARLY_AN_ORIGIN = re.compile(
    "(?P<origin>" + _ORIGIN.pattern.replace("://(", r"://(?:\*\.)?(", 1) + r")(?:[/?#][!-~]*)?"
)

_DEFAULT_PORTS = {"http": 80, "https": 443}

#: What a page connects to, and does not come from.
_NOT_OF_PAGES = {"ws": "http", "wss": "https"}

_STAR = "*."

_REMEDY = "give an origin like https://example.org, https://*.example.org or null"


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


def canonical_origin(text: str) -> str:
    """An origin as browsers write it: in lower case, without the port that its scheme has anyway.

    Raises:
        ValueError: it is none; the text says how to write one.
    """
    if not text.isascii():
        raise ValueError("write an international name in its xn-- form")
    lower = text.lower()
    if lower == _NULL:
        return _NULL
    match = _ORIGIN.fullmatch(lower)
    if match is None:
        raise ValueError(_remedy(lower))
    scheme, host, port = match["scheme"], match["host"], match["port"]
    if scheme in _NOT_OF_PAGES:
        raise ValueError(f"a page is loaded by http or https: give {_NOT_OF_PAGES[scheme]}{lower[len(scheme) :]}")
    if not host:
        if port is not None or scheme in _DEFAULT_PORTS:
            raise ValueError(_REMEDY)
        return f"{scheme}://"
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except ValueError:
            raise ValueError(_REMEDY) from None
    if port is None:
        return f"{scheme}://{host}"
    number = int(port)
    if not 0 < number < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return f"{scheme}://{host}" if number == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{host}:{number}"


def _remedy(text: str) -> str:
    """How to write what somebody may have meant."""
    candidate = text if "://" in text else f"https://{text}"
    match = _NEARLY_AN_ORIGIN.fullmatch(candidate)
    if match is None or not match["host"]:
        return _REMEDY
    return f"an origin is a scheme, a host and perhaps a port: give {match['origin']}"


class ListedOrigins:
    """Pages of some origins, and programs: what a server has whose operator knows which pages are to connect.

    Who sends no Origin is no page in a browser, and is let in: an Origin can be made up by everybody else.

    Args:
        origins: each as `https://example.org`, with a port where it is not the usual one; `https://*.example.org`
            stands for every name below example.org, however deep, and not for example.org; `null` for pages without
            an origin.

    Raises:
        ValueError: one is no origin; the text says how to write one.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        exact, below = set(), set()
        for origin in origins:
            scheme, separator, rest = origin.partition("://")
            if rest.startswith(_STAR):
                below.add(_without_star(scheme + separator + rest.removeprefix(_STAR)))
            else:
                exact.add(canonical_origin(origin))
        self._exact = frozenset(exact)
        self._below = frozenset(below)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListedOrigins) and (self._exact, self._below) == (other._exact, other._below)

    def __hash__(self) -> int:
        return hash((self._exact, self._below))

    def __call__(self, origin: str | None) -> bool:
        if origin is None or origin in self._exact:
            return True
        try:
            canonical = canonical_origin(origin)
        except ValueError:
            return False
        if canonical in self._exact:
            return True
        if not self._below:
            return False
        scheme, separator, rest = canonical.partition("://")
        while "." in rest:
            rest = rest.partition(".")[2]
            if scheme + separator + rest in self._below:
                return True
        return False


def _without_star(text: str) -> str:
    """The origin below which all names are meant."""
    origin = canonical_origin(text)
    host = origin.partition("://")[2].partition(":")[0]
    if not host or host.startswith("[") or host.replace(".", "").isdigit():
        raise ValueError("a star stands for names below a name: give one like https://*.example.org")
    return origin


def is_loopback_name(host: str) -> bool:
    """Whether a host name or address always means this machine (RFC 6761 section 6.3)."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
