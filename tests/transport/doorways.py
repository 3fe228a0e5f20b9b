"""A door in memory, with a site and Mles behind it."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.static import Data

from mles_tx.channels.history import MemoryHistory
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.transport.connection import Settings
from mles_tx.transport.connections import MlesFactory
from mles_tx.transport.doors import DoorFactory
from mles_tx.transport.share import TurnShare
from mles_tx.web.hosts import make_site

from .fakes import FakeTransport

__all__ = ["GET", "DoorTestCase", "Late"]

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Late(Resource):
    """A resource that answers when it is told to."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def render(self, request: Request) -> int:
        self.requests.append(request)
        return NOT_DONE_YET

    def answer(self) -> None:
        """Answer the oldest request."""
        request = self.requests.pop(0)
        request.write(b"late")
        request.finish()


class DoorTestCase(SynchronousTestCase):
    """A door factory in front of a site and a registry."""

    def setUp(self) -> None:
        self.clock = Clock()
        registry = ChannelRegistry(self.clock, MemoryHistory(self.clock, limit=200))
        self.late = Late()
        sites: dict[str, Any] = {"localhost": Data(b"<!doctype html>hello", "text/html"), "late": self.late}
        self.websocket = MlesFactory(self.clock, registry, Settings())
        self.is_full = False
        share = TurnShare(self.clock, 1_000_000)  # all in one turn
        self.factory = DoorFactory(self.clock, self.websocket, make_site(sites), lambda: self.is_full, share=share)

    def connect(self, *provides: Any) -> FakeTransport:
        """A peer that has connected and said nothing."""
        return FakeTransport(self.factory.buildProtocol(None), *provides)

    def answers(self, peer: FakeTransport) -> list[bytes]:
        """Status codes of the answers since the last look."""
        return [part[:3] for part in peer.taken().split(b"HTTP/1.1 ")[1:]]
