"""Sites by host name: one server, several domains."""

import re
from collections.abc import Mapping
from typing import Any

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from .pages import BAD_REQUEST, METHOD_NOT_ALLOWED, MISDIRECTED, NOT_FOUND
from .policy import PLAIN, Policy

__all__ = ["Hosts", "asked_host", "bare_site", "host_name", "make_site", "was_named_otherwise"]

#: A Host header: a name or address, and perhaps a port (RFC 9110 section 7.2).
_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(:[0-9]{0,5})?", re.IGNORECASE)


class Hosts(Resource):
    """Hands each request to the site its Host header names.

    Args:
        sites: the sites by host name, in lower case, IPv6 addresses without brackets.
        policy: the headers all answers have.
    """

    isLeaf = True

    def __init__(self, sites: Mapping[str, IResource], policy: Policy) -> None:
        super().__init__()
        self._sites = sites
        self._policy = policy

    def render(self, request: Request) -> bytes | int:
        name = asked_host(request)
        request.responseHeaders.removeHeader(b"server")
        for field, value in self._policy.fields(name or ""):
            request.setHeader(field, value)
        if not name or not request.uri.startswith(b"/"):
            answer: IResource = BAD_REQUEST
        elif name not in self._sites:
            answer = NOT_FOUND
        elif was_named_otherwise(request.channel.transport, name):
            answer = MISDIRECTED
        elif request.method not in (b"GET", b"HEAD"):
            answer = METHOD_NOT_ALLOWED
        else:
            answer = self._sites[name]
        rendered: bytes | int = answer.render(request)
        return rendered


def was_named_otherwise(transport: Any, host: str) -> bool:
    """Whether another host than a request's was named when TLS began (RFC 9110 section 7.4)."""
    ask = getattr(transport, "server_name", None)
    return ask is not None and ask() not in (None, host)


class _Request(Request):
    """twisted.web answers a request for ``*`` by itself, whatever its Host; here it is a path like any other."""

    def process(self) -> None:
        if self.uri == b"*":
            self.uri = self.path = b"/*"
        super().process()


def asked_host(request: Request) -> str | None:
    """The host a request names; empty: none; None: that is wrong, or there twice, or missing (RFC 9112 section 3.2)."""
    hosts = request.requestHeaders.getRawHeaders(b"host", [b""] if request.clientproto == b"HTTP/1.0" else [])
    if len(hosts) != 1:
        return None
    return host_name(hosts[0]) if hosts[0] else ""


def host_name(host: bytes) -> str | None:
    """The name in a Host header: lower case, no port, no trailing dot, no brackets; None when it is none."""
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    return match[1].decode("ascii").lower().strip("[]").removesuffix(".")


def make_site(sites: Mapping[str, IResource], policy: Policy = PLAIN) -> Site:
    """The web side as the door needs it."""
    return bare_site(Hosts(sites, policy))


def bare_site(root: IResource) -> Site:
    """A site as a door needs it. It is never started as a factory: it keeps no access log and no timer."""
    return Site(root, requestFactory=_Request, parsePOSTFormSubmission=False)
