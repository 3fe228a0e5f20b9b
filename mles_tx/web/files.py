"""The files of one site: what is under its root, and nothing else.

Regular files only: no listings, no dotfiles, no FIFOs or devices, no links that lead out of the root.
"""

import os
import re
import stat
from io import BufferedReader
from pathlib import Path

from twisted.internet.defer import DeferredSemaphore
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.static import File

from .pages import NOT_FOUND
from .types import media_type

__all__ = ["SiteFiles"]

#: Files that may be open when nobody says otherwise.
DEFAULT_FILES = 256

_INDEX = "index.html"

#: One range of bytes: from a place on, or so many at the end (RFC 9110 section 14.1.2).
_RANGE = re.compile(rb"bytes=(?:(?P<first>\d{1,18})-(?P<last>\d{0,18})|-(?P<suffix>\d{1,18}))")

#: What never stands in the name of a file that is served.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")


class SiteFiles(Resource):
    """A directory, served.

    Args:
        root: the directory. It may come, go and change at any time.
        slots: one for each file that may be open, shared by all sites of a server; requests wait for theirs.
    """

    isLeaf = True

    def __init__(self, root: Path, slots: DeferredSemaphore | None = None) -> None:
        super().__init__()
        self._root = root
        self._slots = DeferredSemaphore(DEFAULT_FILES) if slots is None else slots

    def render(self, request: Request) -> bytes | int:
        gone = request.notifyFinish()
        slot = self._slots.acquire()
        if slot.called:
            gone.addBoth(self._give_back)
            return self._answer(request)
        gone.addErrback(lambda _: slot.cancel())
        slot.addCallbacks(self._answer_late, lambda _: None, callbackArgs=(request,))
        return NOT_DONE_YET

    def _give_back(self, _: object) -> None:
        self._slots.release()

    def _answer_late(self, _: object, request: Request) -> None:
        request.notifyFinish().addBoth(self._give_back)
        answer = self._answer(request)
        if isinstance(answer, bytes):
            request.write(answer)
            request.finish()

    def _answer(self, request: Request) -> bytes | int:
        found = self._find(request.postpath or [b""])
        if found is None:
            return NOT_FOUND.render(request)
        path, opened = found
        if opened is None:
            _, question, query = request.uri.partition(b"?")
            request.redirect(request.path + b"/" + question + query)
            return b""
        _tidy_range(request, os.fstat(opened.fileno()).st_size)
        answer: bytes | int = _OpenFile(path, opened).render_GET(request)
        return answer

    def _find(self, segments: list[bytes]) -> tuple[Path, BufferedReader | None] | None:
        """The file for a path, open; the directory and None when a slash is missing; None: not found."""
        names = _names(segments)
        if names is None:
            return None
        try:
            root = self._root.resolve(strict=True)
            path = root.joinpath(*names).resolve(strict=True)
            inside = path.relative_to(root)
            if any(part.startswith(".") for part in inside.parts):
                return None
            if path.is_dir():
                return (path, None) if segments[-1] and (path / _INDEX).is_file() else None
            return path, _open_regular(path)
        except (OSError, ValueError, RuntimeError):
            return None  # not there, not readable, not below the root, or a loop of links


def _names(segments: list[bytes]) -> list[str] | None:
    """The path's names; an empty last one is the index. None: a path that is never served."""
    try:
        names = [segment.decode("utf-8") for segment in segments]
    except UnicodeDecodeError:
        return None
    if not names[-1]:
        names[-1] = _INDEX
    if any(not name or name.startswith(".") or _FORBIDDEN.search(name) for name in names):
        return None
    return names


def _open_regular(path: Path) -> BufferedReader:
    # Without O_NONBLOCK, opening a FIFO waits for a writer, and the whole server with it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return os.fdopen(descriptor, "rb")


def _tidy_range(request: Request, size: int) -> None:
    """Leave one range that twisted.web understands, or none (RFC 9110 section 14.2 allows to ignore any).

    It fails on some that ask for nothing or for more than there is, and sends as many copies of a file as
    it is asked for.
    """
    headers = request.requestHeaders.getRawHeaders(b"range", [])
    match = _RANGE.fullmatch(headers[0]) if len(headers) == 1 else None
    if match is None or (match["last"] and int(match["last"]) < int(match["first"])):
        request.requestHeaders.removeHeader(b"range")
    elif match["suffix"] and int(match["suffix"]) > size > 0:
        request.requestHeaders.setRawHeaders(b"range", [b"bytes=0-"])


class _OpenFile(File):
    """A file that was found and opened already: twisted.web adds ranges, validators and HEAD."""

    def __init__(self, path: Path, opened: BufferedReader) -> None:
        super().__init__(str(path))
        self.type, self.encoding = media_type(path.name), None
        self._opened = opened

    def openForReading(self) -> BufferedReader:
        return self._opened
