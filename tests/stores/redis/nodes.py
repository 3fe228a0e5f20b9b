"""Several nodes on one Redis in memory."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.redis.followed import Followed
from mles_tx.stores.redis.history import RedisHistory
from tests.channels.fakes import said
from tests.stores.contract import Listener, read_all

from .fakes import FakeLink, FakeServer

__all__ = ["Node", "NodesTestCase"]


class Node:
    """One node: its store, and what its members have heard."""

    def __init__(self, server: FakeServer, clock: Clock, name: str, limit: int = 200, **more: int) -> None:
        self.name = name
        self.said: list[str] = []
        self.link = FakeLink(server, name, clock)
        self.listener = Listener()
        self.listener.occupied = {"example"}
        self.history = RedisHistory(clock, self.link, name, "redis://test", 0, limit, **more)
        self.history.start(self.listener)

    def say(self, *texts: str) -> None:
        """Somebody here says something, all of it in one turn."""
        self.said += texts
        self.history.append("example", [said(text, uid=self.name) for text in texts])

    def speak(self) -> None:
        """Likewise, whatever."""
        self.say(f"{self.name}.{len(self.said)}")

    @property
    def followed(self) -> Followed:
        """The channel, as it stands here."""
        return self.history._followed["example"]

    @property
    def heard(self) -> list[str]:
        """What members here have been given."""
        return self.listener.texts()

    async def remembered(self) -> list[str]:
        """What a joiner is sent here."""
        return await read_all(self.history.replay("example", "zoe", None, ()))


class NodesTestCase(SynchronousTestCase):
    """Several nodes on one Redis."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = FakeServer()
        self.nodes: list[Node] = []

    def node(self, limit: int = 200, is_up: bool = True, **more: int) -> Node:
        """A node with somebody on the channel."""
        node = Node(self.server, self.clock, "abcdefgh"[len(self.nodes)], limit, **more)
        self.nodes.append(node)
        if is_up:
            node.history.open()
        else:
            node.link._linked = node.history
        node.history.replay("example", "reader", None, ())
        self.server.settle()
        return node

    def pass_time(self, seconds: float) -> None:
        """Time passes, while Redis works if it can."""
        while seconds > 0:
            self.server.settle()
            self.clock.advance(min(seconds, 0.05))
            seconds -= 0.05
        self.server.settle()

    def recover(self) -> None:
        """Everything is well again."""
        self.server.held = False
        for node in self.nodes:
            node.link.mend()
        self.pass_time(1.0)

    def replayed(self, node: Node) -> list[str]:
        reading = Deferred.fromCoroutine(node.remembered())
        self.server.settle()
        return self.successResultOf(reading)

    def assert_everybody_heard_everything(self) -> None:
        """Every message was heard on every node exactly once, in each sender's order, and is remembered alike."""
        for node in self.nodes:
            for sender in self.nodes:
                heard = [text for text in node.heard if text.split(".")[0] == sender.name]
                self.assertEqual(heard, sender.said, f"of {sender.name} at {node.name}")
        remembered = [self.replayed(node) for node in self.nodes]
        for found in remembered:
            self.assertEqual(found, remembered[0])
        for node in self.nodes:
            self.assertEqual(node.history.not_ready(), [])
            self.assertEqual(node.history.counts()[:2], (0, 0))
