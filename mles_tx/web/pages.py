"""Short answers in plain text. None of them repeats anything of the request."""

from http import HTTPStatus

from twisted.web.http import RESPONSES
from twisted.web.resource import Resource
from twisted.web.server import Request

__all__ = ["BAD_REQUEST", "FAILED", "METHOD_NOT_ALLOWED", "MISDIRECTED", "NOT_FOUND", "Answer", "phrase"]


def phrase(code: int) -> bytes:
    """The reason phrase of an HTTP status."""
    return RESPONSES.get(code) or HTTPStatus(code).phrase.encode("ascii")  # twisted.web knows but the older ones


class Answer(Resource):
    """A status and a line of text.

    Args:
        code: the HTTP status.
        text: ASCII.
        headers: more headers, by name.

    Attributes:
        code: the HTTP status.
        text: the line, without its end.
    """

    isLeaf = True

    def __init__(self, code: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self.code = code
        self.text = text
        self._body = text.encode("ascii") + b"\n"
        self._headers = headers or {}

    def render(self, request: Request) -> bytes:
        request.setResponseCode(self.code, phrase(self.code))
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        for name, value in self._headers.items():
            request.setHeader(name.encode("ascii"), value.encode("ascii"))
        request.setHeader(b"content-length", b"%d" % len(self._body))
        # twisted.web would drop a body that answers HEAD, and log the request.
        return b"" if request.method == b"HEAD" else self._body


BAD_REQUEST = Answer(400, "This is no request a web server can answer.")
NOT_FOUND = Answer(404, "There is nothing at this address.")
METHOD_NOT_ALLOWED = Answer(405, "Only GET and HEAD are answered here.", {"allow": "GET, HEAD"})
MISDIRECTED = Answer(421, "This connection was opened for another host.")
FAILED = Answer(500, "The server could not answer. Its log says why.")
