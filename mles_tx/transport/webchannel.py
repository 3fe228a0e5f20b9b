"""twisted.web's HTTP behind the door: one request at a time, and none with a body."""

from typing import Protocol

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from twisted.web.server import Site

__all__ = ["Doorkeeper", "WebChannel"]


class Doorkeeper(Protocol):
    """Whose connection it is between two requests: a `Door`."""

    def refuse(self, status: bytes) -> None:
        """Answer with a status line and nothing else, and close."""

    def answered(self, rest: bytes) -> None:
        """A request has been answered; behind it, the peer has sent `rest` already."""

    def stalls(self, stalls: bool) -> None:
        """Whether some of an answer waits to be taken."""

    def leave(self) -> None:
        """Send what is left, and the end of the stream."""


def _ignore(data: bytes) -> None:
    """Drop what follows a request that could not be understood, or was the last one."""


class WebChannel(HTTPChannel):
    """Reads one request and writes its answer; between two of them the door has the connection.

    Args:
        door: the door.
        site: who answers.
    """

    timeOut = None  # it would begin anew with every byte

    def __init__(self, door: Doorkeeper, site: Site) -> None:
        super().__init__()
        self._door = door
        self.site = site
        self.requestFactory = site.requestFactory

    def allHeadersReceived(self) -> None:
        if self.length != 0:
            # Nothing behind this door takes a body, and reading one away has no end.
            self._door.refuse(b"413 Content Too Large")
        else:
            super().allHeadersReceived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._transferDecoder = None  # of a body that was refused: it refers to this

    def requestDone(self, request: Request) -> None:
        rest = b"".join(self._dataBuffer)
        self._dataBuffer = []
        super().requestDone(request)
        self._door.answered(rest)

    def loseConnection(self) -> None:
        self.lineReceived = self.rawDataReceived = _ignore  # type: ignore[method-assign]
        self._door.leave()

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._door.stalls(True)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._door.stalls(False)
