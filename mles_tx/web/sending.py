"""Long bodies on their way to a client: a piece at a time, at the client's pace and in the share of a turn that the web
side has.

It must not know what is sent.
"""

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

from mles_tx.transport.share import PIECE_BYTES, Paced, Share

__all__ = ["Source", "bytes_source", "file_source", "send"]

#: Reads so many bytes from a place on.
Source = Callable[[int, int], bytes]


def bytes_source(body: bytes) -> Source:
    """Reads from a body that is in memory."""
    return lambda place, length: body[place : place + length]


def file_source(descriptor: int) -> Source:
    """Reads from an open file."""
    return lambda place, length: os.pread(descriptor, length, place)


def send(request: Request, source: Source, places: range, share: Share) -> None:
    """Send a body behind the headers that the request has, and finish it.

    When less can be read than was promised, the connection is cut: no other end can tell the client that something is
    missing.

    Args:
        request: what is answered.
        source: where the body is read from.
        places: which bytes of it.
        share: how much may be done in a turn.
    """
    request.write(b"")  # the head
    if not places:
        request.finish()
        return
    sending = _Sending(request, source, places, share)
    request.notifyFinish().addErrback(lambda _: sending.stopProducing())
    request.registerProducer(sending, True)
    sending.resumeProducing()


@implementer(IPushProducer)
class _Sending(Paced):
    """One body on its way."""

    _log = Logger()

    def __init__(self, request: Request, source: Source, places: range, share: Share) -> None:
        super().__init__(share)
        self._request: Any = request
        self._source = source
        self._place, self._end = places.start, places.stop

    pauseProducing = Paced.pause
    resumeProducing = Paced.resume
    stopProducing = Paced.stop

    def piece(self) -> None:
        try:
            piece = self._source(self._place, min(PIECE_BYTES, self._end - self._place))
        except OSError as error:
            self._log.warn("a file could not be read to its end: {error}", error=error.strerror)
            piece = b""
        if not piece:
            self.stop()
            self._request.unregisterProducer()
            self._request.channel.transport.abortConnection()
            return
        self._place += len(piece)
        is_last = self._place == self._end
        if is_last:
            self.stop()
            self._request.unregisterProducer()
        self._request.write(piece)
        if is_last:
            self._request.finish()
        else:
            self.go_on()
