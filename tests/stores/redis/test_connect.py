"""The way from an address to a history."""

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.redis.address import RedisAddress
from mles_tx.stores.redis.connect import connect


class ConnectTests(SynchronousTestCase):
    """A history that is not open yet."""

    def test_connects(self) -> None:
        """Once it is open it connects to the address, for commands and for announcements."""
        reactor = MemoryReactorClock()
        history = connect(reactor, RedisAddress("", path="/run/redis.sock"), 200, 1 << 20)
        self.assertEqual(reactor.unixClients, [])
        history.open()
        self.assertEqual([client[0] for client in reactor.unixClients], ["/run/redis.sock"] * 2)
        self.assertEqual(len(history.not_ready()), 1)
        history.close()
