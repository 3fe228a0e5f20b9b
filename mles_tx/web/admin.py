"""The site of operators and their programs: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever restarts.

It must not know what the metrics are, nor what a server is ready for.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from .hosts import asked_host, bare_site
from .pages import BAD_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, Answer

__all__ = ["make_admin_site"]

_TEXT = "text/plain; charset=utf-8"

_ALIVE = Answer(200, "alive")
_BROKEN = Answer(500, "The metrics could not be read; the log has more.")

_Ask = Callable[[], list[str]]

_Refresh = Callable[[], "Deferred[None]"]


class _Admin(Resource):
    """All of the site.

    Args:
        registry: what `/metrics` shows.
        not_ready: asked for the reasons of `/readyz`.
        warnings: asked for what will be one.
        refresh: called first of all, and waited for; None: everything is there.
    """

    isLeaf = True

    _log = Logger()

    def __init__(self, registry: CollectorRegistry, not_ready: _Ask, warnings: _Ask, refresh: _Refresh | None) -> None:
        super().__init__()
        self._refresh = refresh
        self._registry = registry
        self._not_ready = not_ready
        self._warnings = warnings
        self._pages = {b"/livez": _ALIVE.render, b"/readyz": self._readyz, b"/metrics": self._metrics}

    def render(self, request: Request) -> bytes | int:
        request.responseHeaders.removeHeader(b"server")
        request.setHeader(b"cache-control", b"no-store")
        if asked_host(request) is None:
            return BAD_REQUEST.render(request)
        if request.method not in (b"GET", b"HEAD"):
            return METHOD_NOT_ALLOWED.render(request)
        page = self._pages.get(request.uri.partition(b"?")[0])
        if page is None:
            return NOT_FOUND.render(request)
        if self._refresh is None or page == _ALIVE.render:
            return page(request)
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        def answer(result: object) -> None:
            if isinstance(result, Failure):
                self._log.failure("what is asked for could not be found out", result)
            if not gone:
                request.write(_BROKEN.render(request) if isinstance(result, Failure) else page(request))
                request.finish()

        self._refresh().addBoth(answer)
        return NOT_DONE_YET

    def _readyz(self, request: Request) -> bytes:
        reasons = self._not_ready()
        if reasons:
            return _send(request, 503, _TEXT, _lines(reasons))
        return _send(request, 200, _TEXT, _lines(["ready", *self._warnings()]))

    def _metrics(self, request: Request) -> bytes:
        # Not prometheus_client's own choice: it puts what the request says into the answer.
        wants = b",".join(request.requestHeaders.getRawHeaders(b"accept", []))
        try:
            if b"application/openmetrics-text" in wants:
                body: bytes = openmetrics.generate_latest(self._registry)
                kind = openmetrics.CONTENT_TYPE_LATEST
            else:
                body, kind = generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4
        except Exception:
            self._log.failure("the metrics could not be read")
            return _BROKEN.render(request)
        return _send(request, 200, kind, body)


def _lines(reasons: Iterable[str]) -> bytes:
    return "".join(f"{_line(reason)}\n" for reason in reasons).encode()


def _line(reason: str) -> str:
    """A reason as one line of printable text: some of them come from elsewhere, as an authority's errors do."""
    return "".join(char if char.isprintable() else " " for char in reason)


def _send(request: Request, code: int, kind: str, body: bytes) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"content-type", kind.encode("ascii"))
    request.setHeader(b"content-length", b"%d" % len(body))
    # twisted.web would drop a body that answers HEAD, and log the request.
    return b"" if request.method == b"HEAD" else body


def make_admin_site(
    registry: CollectorRegistry, not_ready: _Ask, warnings: _Ask = list, refresh: _Refresh | None = None
) -> Site:
    """The site as a door needs it. It answers whatever host is named, or none: nobody knows what it is called.

    Args:
        registry: what `/metrics` shows.
        not_ready: asked at each request for what keeps the server from doing what it is there for, a line each.
        warnings: asked, when that is nothing, for what will keep it from that unless something is done, likewise.
        refresh: called before anything of that is asked, and waited for; None: nothing has to be waited for.
    """
    return bare_site(_Admin(registry, not_ready, warnings, refresh))
