"""Requests to the web side in memory: through twisted.web's own channel, with no reactor running."""

import re
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet import task
from twisted.internet.defer import DeferredSemaphore, maybeDeferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel
from twisted.web.server import Site

from mles_tx.transport.share import TurnShare
from mles_tx.web.bodies import BodyCache
from mles_tx.web.files import FileStock
from tests.transport.fakes import FakeTransport, Turns

__all__ = ["Reply", "WebTestCase", "get"]

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]+")


class _Transport(FakeTransport):
    """A connection that is not read any more once it is to be closed."""

    def loseConnection(self) -> None:
        super().loseConnection()
        self.disconnecting = True


@dataclass(frozen=True)
class Reply:
    """An answer, taken apart; the names of its headers in lower case, without the date."""

    status: int
    headers: dict[str, str]
    body: bytes


def get(target: bytes, *headers: bytes, method: bytes = b"GET", host: bytes | None = b"localhost") -> bytes:
    """A request, with more headers if need be."""
    hosts = [] if host is None else [b"Host: " + host]
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", *hosts, *headers]) + b"\r\n\r\n"


class WebTestCase(SynchronousTestCase):
    """A test that asks sites, and sees what is logged meanwhile."""

    def setUp(self) -> None:
        self.clock = task.Clock()
        self.logged: list[str] = []
        observer: Any = self._observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def stock(self, slots: int = 256, room: int = 0, pieces: int = 1) -> FileStock:
        """What sites share: without a cache, and a piece of work for each turn of the clock, unless told otherwise."""
        bodies = BodyCache(room, lambda make: maybeDeferred(make))
        return FileStock(DeferredSemaphore(slots), bodies, TurnShare(cast(Any, Turns(self.clock)), pieces))

    def _observe(self, event: LogEvent) -> None:
        self.logged.append(formatEvent(event))

    def connect(self, site: Site) -> FakeTransport:
        """A connection to a site."""
        channel: Any = HTTPChannel()
        channel.timeOut = None
        channel.site = site
        channel.requestFactory = site.requestFactory
        return _Transport(channel)

    def finish(self) -> None:
        """Hand out everything that can be handed out."""
        while self.clock.getDelayedCalls():
            self.clock.advance(1)

    def ask(self, site: Site, request: bytes) -> Reply:
        """The answer to one request, all of it."""
        peer = self.connect(site)
        peer.receive(request)
        self.finish()
        answer = peer.taken()
        peer.hang_up()
        head, _, body = answer.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(status_line)
        if status is None:
            self.fail(f"no HTTP answer: {answer[:200]!r}")
        fields = [line.decode("latin-1").split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in fields}
        self.assertEqual(len(headers), len(fields), f"a header stands there twice: {head!r}")
        headers.pop("date", None)
        return Reply(int(status[1]), headers, body)
