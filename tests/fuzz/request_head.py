"""What comes first on a connection: the door's, up to the answer or the upgrade; cut where the first byte says."""

from twisted.internet.task import Clock
from twisted.web.static import Data

from mles_tx.channels.history import MemoryHistory
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.transport.connection import Settings
from mles_tx.transport.connections import MlesFactory
from mles_tx.transport.doors import DoorFactory
from mles_tx.transport.share import TurnShare
from mles_tx.transport.upgrade import usual_upgrade
from mles_tx.web.hosts import make_site
from tests.transport.fakes import FakeTransport
from tests.wire import upgrade

from .logged import nothing_failed

__all__ = ["run", "seeds"]

#: Statuses there is a reason for. 200 to 416 are the web side's.
_STATUSES = {b"101", b"200", b"304", b"400", b"403", b"404", b"405", b"408", b"412", b"413", b"414", b"426", b"431"}
_STATUSES |= {b"206", b"301", b"416", b"501", b"503", b"505"}


def run(data: bytes) -> None:
    """An answer with a status we know, or silence; nothing of the request comes back, and nothing stays."""
    cut, stream = (data[0] if data else 0), data[1:]
    usual_upgrade(stream)
    clock = Clock()
    registry = ChannelRegistry(clock, MemoryHistory(clock, 10))
    websocket = MlesFactory(clock, registry, Settings())
    site = make_site({"localhost": Data(b"a page", "text/plain")})
    factory = DoorFactory(clock, websocket, site, share=TurnShare(clock, 1_000_000))
    with nothing_failed():
        peer = FakeTransport(factory.buildProtocol(None))
        for part in (stream[:cut], stream[cut:]):
            if part and not peer.lost:
                peer.receive(part)
                clock.advance(0)
        answer = peer.taken()
        for seconds in (1, 31, 31, 10):
            clock.advance(seconds)
        if not peer.lost:
            peer.hang_up()
        factory.stop()
        websocket.stop()
        registry.stop()
    assert not websocket.connections and not factory.doors
    if answer:
        assert answer.startswith(b"HTTP/1.") and answer[9:12] in _STATUSES, answer[:40]


def seeds() -> list[bytes]:
    """Requests for pages and for an upgrade."""
    page = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return [
        b"\x00" + page,
        b"\x05" + page + page,
        b"\x20" + upgrade(),
        b"\x00" + upgrade("Origin: null", protocol="a, mles-websocket"),
        b"\x00HEAD /%2e%2e/x?y HTTP/1.0\r\nRange: bytes=1-\r\n\r\n",
        b"\x00POST / HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 1\r\n\r\nx",
    ]
