"""Requests for files that are asked for again and again: answered from memory, without twisted.web.

Only plain ones: whole heads that are well-formed, GET or HEAD, nothing in them that changes the answer but the host,
the path, the codings and one entity tag. For anything else the answer is None, and twisted.web gives it; where both
could, both give the same.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers

from mles_tx.transport.share import PIECE_BYTES

from .choice import Choice
from .conditions import NOT_MODIFIED, OK
from .files import ABOUT_THE_BODY, SiteFiles
from .hosts import host_name
from .negotiation import acceptable_codings
from .pages import phrase
from .policy import Field, Policy

__all__ = ["QuickAnswers"]

#: A head that is well-formed beyond doubt (RFC 9112 sections 3 and 5). Browsers send about 20 fields.
_HEAD = re.compile(
    rb"(?P<method>GET|HEAD) (?P<path>/[A-Za-z0-9/._~%!$&'()*+,;=:@-]*)(?:\?[!-~]*)? HTTP/1\.1\r\n"
    rb"(?:[A-Za-z0-9-]+:[ -~]*\r\n){1,100}\r\n"
)

#: The headers that matter. All others change nothing here.
_FIELDS = re.compile(
    rb"\r\n(host|accept-encoding|connection|content-length|expect|if-[a-z-]+|range|te|trailer|transfer-encoding|upgrade)"
    rb":([ -~]*)",  # spaces are cut off later: to look for both ends here takes seconds when there are thousands
    re.IGNORECASE,
)

#: Heads of answers that are remembered. One takes about 1 KiB.
_KNOWN_STARTS = 4096

#: Bytes of a body that is put behind its head: what is sent at once. To copy a larger one costs more than to send it in
#: two parts.
_JOINED_BYTES = PIECE_BYTES

_HOST = b"host"
_CODINGS = b"accept-encoding"
_CONNECTION = b"connection"
_TAG = b"if-none-match"
_UNDERSTOOD = frozenset((_HOST, _CODINGS, _CONNECTION, _TAG))


class QuickAnswers:
    """Answers what it can at once.

    Args:
        sites: the sites by host name.
        policy: the headers all answers have.
        seconds: the time, in seconds since 1970.
    """

    def __init__(self, sites: Mapping[str, SiteFiles], policy: Policy, seconds: Callable[[], float]) -> None:
        self._sites = sites
        self._policy = policy
        self._seconds = seconds
        self._start = lru_cache(maxsize=_KNOWN_STARTS)(_start)
        self._second = 0
        self._date = b""

    def answer(self, head: bytes, server_name: str | None) -> bytes | tuple[bytes, bytes] | None:
        """The whole answer to a request.

        Args:
            head: the request's head, to its empty line.
            server_name: the host that was named when TLS began; None: none was.

        Returns:
            The bytes to send, or for a long body the head and the body; None: twisted.web is to answer.
        """
        match = _HEAD.fullmatch(head)
        if match is None:
            return None
        fields = {}
        for name, value in _FIELDS.findall(head):
            name = name.lower()
            if name in fields or name not in _UNDERSTOOD:
                return None
            fields[name] = value.strip(b" ")
        if fields.get(_CONNECTION, b"keep-alive").lower() != b"keep-alive":
            return None
        host = host_name(fields.get(_HOST, b""))
        site = None if host is None else self._sites.get(host)
        if site is None or host is None or (server_name is not None and server_name != host):
            return None
        choice = site.choose(match["path"], acceptable_codings(fields.get(_CODINGS)))
        if not isinstance(choice, Choice):
            return None
        tag = fields.get(_TAG)
        if tag is None:
            body = site.kept(choice)
            if body is None:
                return None
            start = self._start(OK, choice, len(body), self._policy.fields(host))
            if match["method"] != b"GET":
                return start + self._now()
            if len(body) > _JOINED_BYTES:
                return start + self._now(), body
            return b"".join((start, self._now(), body))
        if tag != choice.tag:
            return None
        return self._start(NOT_MODIFIED, choice, None, self._policy.fields(host)) + self._now()

    def _now(self) -> bytes:
        """The end of a head: the date."""
        second = int(self._seconds())
        if second != self._second:
            self._second = second
            self._date = b"Date: " + datetimeToString(second) + b"\r\n\r\n"
        return self._date


def _start(status: int, choice: Choice, length: int | None, more: tuple[Field, ...]) -> bytes:
    """The head of an answer, but for the date."""
    headers = Headers()  # it knows how names are written
    for name, value in (*choice.fields, *more):
        headers.addRawHeader(name, value)
    if length is None:
        for name in ABOUT_THE_BODY:
            headers.removeHeader(name)
    else:
        headers.addRawHeader(b"content-length", b"%d" % length)
    lines = [b"HTTP/1.1 %d %s\r\n" % (status, phrase(status))]
    lines.extend(b"%s: %s\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values)
    return b"".join(lines)
