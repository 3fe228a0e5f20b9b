"""A stream in Redis with something in it that no node has written, and an announcement and a question likewise."""

from twisted.internet.task import Clock

from mles_tx.stores.redis.history import RedisHistory
from mles_tx.stores.redis.keys import channel_announcements, channel_keys
from tests.channels.fakes import said
from tests.stores.contract import Listener
from tests.stores.redis.fakes import FakeLink, FakeServer

from .logged import nothing_failed
from .redis_entries import seeds as entries

__all__ = ["run", "seeds"]

_CHANNEL = "example"


def run(data: bytes) -> None:
    """What a node says before and after it is heard once, in order, and nothing fails."""
    kind, content = (data[0] if data else 0) % 5, data[1:]
    clock, server = Clock(), FakeServer()
    link = FakeLink(server, "a", clock)
    listener = Listener()
    listener.occupied = {_CHANNEL}
    history = RedisHistory(clock, link, "a", "redis://test", 0, 200)
    stream = channel_keys(_CHANNEL, "log")[0] if kind < 3 else ""
    with nothing_failed():
        history.start(listener)
        history.open()
        if kind == 0:
            server.redis.xadd(stream, {content[:3] or b"x": content[3:]})
        history.append(_CHANNEL, [said("before", "us")])
        server.settle()
        if kind == 1:
            server.redis.xadd(stream, {b"b": content})
        elif kind == 2:
            server.redis.publish(channel_announcements(_CHANNEL, 0), content)
        elif kind == 3:
            server.redis.publish(link.own_announcements, content)
        elif kind == 4:
            server.redis.set(channel_keys(_CHANNEL, "log")[0], content)
        server.settle()
        history.append(_CHANNEL, [said("after", "us")])
        for _ in range(40):
            server.settle()
            clock.advance(0.05)
        history.close()
        server.settle()
        clock.advance(5)
    heard = [text for text in listener.texts() if text in ("before", "after")]
    assert heard == ["before", "after"], heard


def seeds() -> list[bytes]:
    """Good entries in all places, and a question of another node."""
    question = b'{"ask": 1, "from": "b", "channel": "example", "uid": "ann"}'
    return [bytes([kind]) + entry for kind in range(3) for entry in entries()] + [b"\3" + question, b"\4x", b"\x00xyz"]
