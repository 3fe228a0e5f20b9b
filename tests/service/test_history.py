"""Tests of the choice of a history."""

from pathlib import Path

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.claims import IClaims
from mles_tx.channels.history import HistoryCounts, HistoryError, MemoryHistory
from mles_tx.service.config import ServerConfig
from mles_tx.service.history import make_history
from mles_tx.stores.redis.address import RedisAddress
from mles_tx.stores.sqlite import SqliteHistory


class MakeHistoryTests(SynchronousTestCase):
    """Which store a configuration gets."""

    def test_memory(self) -> None:
        """Unless something else is asked for, what is said is kept in memory."""
        self.assertIsInstance(make_history(Clock(), ServerConfig()), MemoryHistory)

    def test_file(self) -> None:
        """A file is used as it was asked for: which one, how safely, and how much of memory and disk."""
        history = make_history(
            Clock(),
            ServerConfig(history=Path("/nowhere/h.db"), durability="strict", history_max=20, history_total=3, limit=7),
        )
        assert isinstance(history, SqliteHistory)
        self.assertEqual(
            (history.path, history.strict, history.file_bytes), (Path("/nowhere/h.db"), True, 20 * 1024 * 1024)
        )
        self.assertEqual((history.limit, history.total_bytes), (7, 3 * 1024 * 1024))
        self.assertFalse(make_relaxed().strict)

    def test_redis(self) -> None:
        """A Redis is what uids are claimed in as well; nothing is connected to before the server starts."""
        reactor = MemoryReactorClock()
        history = make_history(reactor, ServerConfig(history=RedisAddress("redis.test", 7), limit=7))
        self.assertTrue(IClaims.providedBy(history))
        self.assertEqual((history.counts(), reactor.tcpClients), (HistoryCounts(), []))
        self.assertIn("redis://redis.test:7/0", history.not_ready()[0])

    def test_redis_authority(self) -> None:
        """A file with authorities that cannot be used is found out at the start."""
        address = RedisAddress("redis.test", tls=True, ca=Path("/nowhere/ca.pem"))
        history = make_history(MemoryReactorClock(), ServerConfig(history=address))
        error = self.assertRaises(HistoryError, history.open)
        self.assertEqual(
            str(error),
            "rediss://redis.test:6379/0: the file of ca=: No such file or directory; give a PEM file with certificates",
        )


def make_relaxed() -> SqliteHistory:
    """A store as it is by default."""
    history = make_history(Clock(), ServerConfig(history=Path("/nowhere/h.db")))
    assert isinstance(history, SqliteHistory)
    return history
