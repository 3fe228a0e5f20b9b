"""The files of one site, as HTTP has them: in the coding a client likes best, whole, in part, or not again.

Small bodies and compressed ones come from a cache; long ones are read while they are sent. It must not know about
hosts, nor who listens.
"""

import os
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from mles_tx.transport.share import PIECE_BYTES, Share

from .bodies import BodyCache, compress
from .choice import Choice, Choices, Codings
from .conditions import NOT_MODIFIED, OK, UNSATISFIABLE, Fields, requested_range, status_for
from .lookup import Root, Stamp, open_regular
from .negotiation import IDENTITY_ONLY, acceptable_codings
from .pages import FAILED, NOT_FOUND, Answer
from .policy import REVALIDATE
from .sending import bytes_source, file_source, send

__all__ = ["ABOUT_THE_BODY", "MAX_QUICK_BYTES", "FileStock", "SiteFiles"]

#: Bytes of a body that is answered in one piece: what one connection may give to the kernel in a turn.
MAX_QUICK_BYTES = 128 * 1024

#: Seconds since a file was written before its body is kept: two changes in one tick of the file system's clock (10 ms)
#: leave the same time.
_SETTLED_SECONDS = 0.05

#: What is shown where nothing is found.
_NOT_FOUND_PAGE = b"/404.html"

#: All headers that an answer with a file has, and no other.
_ABOUT_A_FILE = (
    b"accept-ranges",
    b"access-control-allow-origin",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"etag",
    b"last-modified",
    b"vary",
)

#: Headers that do not hold for what was asked for when another page is shown instead.
_NOT_ABOUT_THE_PAGE = frozenset((b"accept-ranges", b"etag", b"last-modified"))

#: Headers that say how a body is to be read; an answer without one has none (RFC 9110 section 15.4.5).
ABOUT_THE_BODY = (b"content-encoding", b"content-type")

_CONTENT_RANGE = b"content-range"

#: How often a file that is replaced between choosing and opening it is looked for.
_TRIES = 3

_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


class FileStock:
    """What the sites of a server share: descriptors, kept bodies, and the web side's part of a turn.

    Args:
        slots: one for each file that may be open.
        bodies: kept bodies.
        share: how much may be done in a turn.
    """

    def __init__(self, slots: DeferredSemaphore, bodies: BodyCache, share: Share) -> None:
        self.slots = slots
        self.bodies = bodies
        self.share = share


class SiteFiles(Resource):
    """A directory, served.

    Args:
        root: the directory. It may come, go and change at any time.
        stock: what it shares with other sites.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, root: Path, stock: FileStock) -> None:
        super().__init__()
        self._choices = Choices(Root(root))
        self._stock = stock

    def choose(self, target: bytes, codings: Codings) -> Choice | bool:
        """What to send for a path: see `Choices.choose`."""
        return self._choices.choose(target, codings)

    def kept(self, choice: Choice) -> bytes | None:
        """The whole body of a choice, if it is in memory and short enough to be sent at once."""
        body = self._body(choice)
        return body if body is not None and len(body) <= MAX_QUICK_BYTES else None

    def _body(self, choice: Choice) -> bytes | None:
        """The whole body of a choice, if it is in memory: of a long file it never is."""
        may_be_kept = choice.is_made or choice.sent.stamp.size <= MAX_QUICK_BYTES
        return self._stock.bodies.get(choice.key) if may_be_kept else None

    def render(self, request: Request) -> int:
        answering = Deferred.fromCoroutine(self._answer(request))
        if not answering.called:
            request.notifyFinish().addErrback(lambda _: answering.cancel())
        answering.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _failed(self, failure: Failure, request: Any) -> None:
        if request._disconnected:
            return  # whoever asked has gone, and what was open is closed
        self._log.failure("a request could not be answered", failure)
        if request.startedWriting:
            request.channel.transport.abortConnection()
        else:
            _take_back(request)
            _finish_with(request, FAILED)

    async def _answer(self, request: Request) -> None:
        fields = _fields(request)
        accepted = fields(b"accept-encoding")
        # The bytes of a part are counted as they are on the disk.
        is_part = request.method == b"GET" and fields(b"range")
        codings = IDENTITY_ONLY if is_part else acceptable_codings(b",".join(accepted) if accepted else None)
        for _ in range(_TRIES):
            choice = self.choose(request.path, codings)
            if choice is True:
                _to_directory(request)
                return
            page = choice or self.choose(_NOT_FOUND_PAGE, codings)
            if not isinstance(page, Choice):
                break
            try:
                if choice:
                    await self._answer_with(request, page)
                else:
                    await self._answer_not_found(request, page)
            except OSError:  # it was replaced since it was chosen, has gone, or may not be read
                _take_back(request)
                codings = IDENTITY_ONLY  # the ready-made file may be the one at fault
            else:
                return
        _finish_with(request, NOT_FOUND)

    async def _answer_not_found(self, request: Request, page: Choice) -> None:
        """Answer with the site's own page for that.

        Raises:
            OSError: it is not there any more; nothing was sent.
        """
        request.setResponseCode(404)
        for name, value in page.fields:
            if name not in _NOT_ABOUT_THE_PAGE:
                request.setHeader(name, value)
        await self._send(request, page, None)

    async def _answer_with(self, request: Request, choice: Choice) -> None:
        """Answer with a file.

        Raises:
            OSError: it is not there any more; nothing was sent.
        """
        fields = _fields(request)
        size = choice.sent.stamp.size
        for name, value in choice.fields:
            request.setHeader(name, value)
        status = status_for(fields, choice.tag, choice.modified)
        places = requested_range(fields, size, choice.tag, choice.modified) if request.method == b"GET" else None
        if status != OK:
            request.setResponseCode(status)
            for name in ABOUT_THE_BODY:
                request.responseHeaders.removeHeader(name)
            if status == NOT_MODIFIED:
                request.finish()
            else:
                _finish(request, b"")
        elif places is UNSATISFIABLE:
            request.setResponseCode(_RANGE_NOT_SATISFIABLE)
            request.setHeader(_CONTENT_RANGE, b"bytes */%d" % size)
            _finish(request, b"")
        else:
            if places is not None:
                request.setResponseCode(_PARTIAL_CONTENT)
                request.setHeader(_CONTENT_RANGE, b"bytes %d-%d/%d" % (places.start, places.stop - 1, size))
            await self._send(request, choice, places)

    async def _send(self, request: Request, choice: Choice, places: range | None) -> None:
        """Answer with a body or its part, from memory where that can be.

        Raises:
            OSError: the file is not there any more; nothing was sent.
        """
        body = self._body(choice)
        if body is None and choice.is_made:
            body = await self._stock.bodies.make(
                choice.key, lambda: _compressed(choice), _is_settled(choice.sent.stamp)
            )
        if body is not None:
            self._send_body(request, body, places)
        elif request.method == b"HEAD":
            _finish(request, b"", choice.sent.stamp.size)
        else:
            await self._send_file(request, choice, places)

    def _send_body(self, request: Request, body: bytes, places: range | None) -> None:
        places = range(len(body)) if places is None else places
        if request.method == b"HEAD" or len(places) <= PIECE_BYTES:
            _finish(request, body[places.start : places.stop])
        else:
            request.setHeader(b"content-length", b"%d" % len(places))
            send(request, bytes_source(body), places, self._stock.share)

    async def _send_file(self, request: Request, choice: Choice, places: range | None) -> None:
        await self._stock.slots.acquire()
        try:
            descriptor = open_regular(choice.sent)
            try:
                await self._send_opened(request, choice, places, descriptor)
            finally:
                os.close(descriptor)
        finally:
            self._stock.slots.release()

    async def _send_opened(self, request: Request, choice: Choice, places: range | None, descriptor: int) -> None:
        bodies, stamp = self._stock.bodies, choice.sent.stamp
        settled = _is_settled(stamp)
        if stamp.size <= MAX_QUICK_BYTES and bodies.keeps:
            body = os.pread(descriptor, stamp.size, 0)
            if len(body) < stamp.size:
                raise OSError("it has shrunk")
            if settled:
                bodies.keep(choice.key, body)
            self._send_body(request, body, places)
            return
        over = request.notifyFinish()
        places = range(stamp.size) if places is None else places
        request.setHeader(b"content-length", b"%d" % len(places))
        send(request, file_source(descriptor), places, self._stock.share)
        await over


def _fields(request: Request) -> Fields:
    return lambda name: request.requestHeaders.getRawHeaders(name, [])


def _finish(request: Request, body: bytes, length: int | None = None) -> None:
    """End an answer whose body is short, or not sent."""
    request.setHeader(b"content-length", b"%d" % (len(body) if length is None else length))
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


def _finish_with(request: Request, answer: Answer) -> None:
    body = answer.render(request)
    if body:
        request.write(body)
    request.finish()


def _take_back(request: Request) -> None:
    """Forget what was said about a file, before something else is sent."""
    request.setResponseCode(OK)
    for name in _ABOUT_A_FILE:
        request.responseHeaders.removeHeader(name)


def _to_directory(request: Request) -> None:
    """Send a browser to the address with the slash."""
    _, question, query = request.uri.partition(b"?")
    request.setResponseCode(301)
    request.setHeader(b"location", request.path + b"/" + question + query)
    request.setHeader(b"cache-control", REVALIDATE)  # else browsers keep it for ever
    _finish(request, b"")


def _is_settled(stamp: Stamp) -> bool:
    """Whether whoever writes to a file from now on changes its stamp."""
    return abs(time.time() - stamp.mtime_ns / 1e9) > _SETTLED_SECONDS


def _compressed(choice: Choice) -> bytes:
    """The body of a choice that is to be made; in a thread.

    Raises:
        OSError: the file has gone, or was changed.
    """
    with os.fdopen(open_regular(choice.sent), "rb") as opened:
        return compress(choice.coding, opened.read())
