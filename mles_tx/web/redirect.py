"""The site on port 80: it sends browsers to https, and answers what a certificate authority asks there (HTTP-01).

Nothing else is to be seen on it. It must not know who issues certificates, nor which pages there are.
"""

import re
from collections.abc import Callable, Iterable

from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from mles_tx.transport.certificates.answers import is_token

from .hosts import make_site
from .pages import BAD_REQUEST, NOT_FOUND, Answer

__all__ = ["MOVED_TEXT", "make_redirect_site"]

#: What a redirect says to somebody who reads it. `mles-tx doctor` knows the site by it.
MOVED_TEXT = "This site speaks https."

_HTTPS_PORT = 443

#: Where HTTP-01 answers are (RFC 8555 section 8.3).
_CHALLENGES = b"/.well-known/acme-challenge/"

#: What never stands in a URL (RFC 3986 section 2): what is not printable ASCII. Line ends are among it.
_NOT_IN_URL = re.compile(rb"[^\x21-\x7e]")

_MOVED = Answer(301, MOVED_TEXT)


class _ToHttps(Resource):
    """One host's requests, GET and HEAD: all of them are sent to https, but for challenges.

    Args:
        host: the host as it stands in a URL.
        https_port: where its https is.
        challenge: the answer to a token.
    """

    isLeaf = True

    def __init__(self, host: bytes, https_port: Callable[[], int], challenge: Callable[[str], bytes | None]) -> None:
        super().__init__()
        self._host = host
        self._https_port = https_port
        self._challenge = challenge

    def render(self, request: Request) -> bytes:
        path = request.uri.partition(b"?")[0]
        if path.startswith(_CHALLENGES):
            return self._answer_challenge(path.removeprefix(_CHALLENGES).decode("latin-1"), request)
        if _NOT_IN_URL.search(request.uri):
            return BAD_REQUEST.render(request)
        port = self._https_port()
        suffix = b"" if port == _HTTPS_PORT else b":%d" % port
        request.setHeader(b"location", b"https://" + self._host + suffix + request.uri)
        return _MOVED.render(request)

    def _answer_challenge(self, token: str, request: Request) -> bytes:
        answer = self._challenge(token) if is_token(token) else None
        if answer is None:
            return NOT_FOUND.render(request)
        request.setHeader(b"content-type", b"application/octet-stream")
        request.setHeader(b"content-length", b"%d" % len(answer))
        return b"" if request.method == b"HEAD" else answer


def make_redirect_site(
    hosts: Iterable[str],
    https_port: Callable[[], int],
    challenge: Callable[[str], bytes | None] = lambda token: None,
) -> Site:
    """The site, as a door needs it. Like that of the pages it is never started as a factory.

    Args:
        hosts: the hosts there are, in lower case, IPv6 addresses without brackets. Others get 404.
        https_port: asked at each request where https is: it may be a port that was free when the server started.
        challenge: asked for the answer to a challenge's token; None: there is none. It answers at once, and never
            raises.
    """
    return make_site({host: _ToHttps(_in_url(host), https_port, challenge) for host in hosts})


def _in_url(host: str) -> bytes:
    return (f"[{host}]" if ":" in host else host).encode("ascii")
