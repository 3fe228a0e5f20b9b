"""The reverse proxy: what a client sends, and what an upstream answers, with a zero byte between them."""

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.web.static import Data

from mles_tx.channels.history import MemoryHistory
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.protocol.forwarded import NOBODY
from mles_tx.transport.connection import Settings
from mles_tx.transport.connections import MlesFactory
from mles_tx.transport.doors import DoorFactory
from mles_tx.transport.share import TurnShare
from mles_tx.web.hosts import make_site
from mles_tx.web.proxy import Proxy
from tests.web.proxying import API, Peer, ask

from .logged import nothing_failed

__all__ = ["run", "seeds"]

_SEPARATOR = b"\0\0"


def run(data: bytes) -> None:
    """Both ends get messages that h11 has made, or nothing; and in the end nothing is left."""
    asked, _, answered = data.partition(_SEPARATOR)
    reactor: Any = MemoryReactorClock()
    mles = MlesFactory(reactor, ChannelRegistry(reactor, MemoryHistory(reactor, limit=10)), Settings())
    proxy = Proxy(reactor, (API,), {"localhost"}, 4, NOBODY, lambda client: 0.0)
    site = make_site({"localhost": Data(b"a page", "text/plain")})
    door = DoorFactory(reactor, mles, site, share=TurnShare(reactor, 1_000_000), relays=proxy)
    with nothing_failed():
        client = Peer(door.buildProtocol(None))
        client.receive(asked)
        reactor.advance(0)
        upstreams = []
        for _, _, factory, _, _ in list(reactor.tcpClients):
            upstream = Peer(factory.buildProtocol(None))
            upstreams.append(upstream)
            half = len(answered) // 2
            for part in (answered[:half], answered[half:]):
                if part and not upstream.lost:
                    upstream.receive(part)
                    reactor.advance(0)
            if not upstream.lost:
                upstream.end()
        reactor.advance(1)
        said = client.taken()
        door.abort_all()
        door.stop()
        stopped = proxy.stop()
        reactor.advance(60)
        mles.stop()
    assert stopped.called and not door.doors and not proxy.upstreams.connections
    assert reactor.getDelayedCalls() == [], reactor.getDelayedCalls()
    if said:
        assert said.startswith(b"HTTP/1."), said[:40]


def seeds() -> list[bytes]:
    """Requests with and without a body, and answers framed in all ways."""
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n"
    switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\0"
    upgrading = ask("/api/w", "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
    body = ask("/api/x", "Content-Length: 3", method="POST", body=b"abc")
    parts = ask("/api/x", "Transfer-Encoding: chunked", method="PUT", body=b"1\r\na\r\n0\r\n\r\n")
    until_end = b"HTTP/1.0 404 No\r\n\r\nto the end"
    pairs = ((ask(), page), (ask(), chunked), (body, page), (parts, until_end), (upgrading, switching))
    interim = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + page
    return [_SEPARATOR.join(pair) for pair in (*pairs, (ask("/api/%2e%2e/x"), interim))]
