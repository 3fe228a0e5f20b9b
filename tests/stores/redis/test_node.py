"""Between a channel and the node that follows it."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.stores.redis.history import RedisHistory
from mles_tx.stores.redis.node import INode

from .fakes import FakeLink, FakeServer


class NodeTests(SynchronousTestCase):
    """The node."""

    def test_interface(self) -> None:
        """The history on a Redis is one."""
        clock = Clock()
        history = RedisHistory(clock, FakeLink(FakeServer(), "n", clock), "n", "redis://test", 0, 200)
        self.assertTrue(verifyObject(INode, history))
