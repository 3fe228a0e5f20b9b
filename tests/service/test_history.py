"""Tests of the choice of a history, and of a server with one in a file."""

import sqlite3
import threading
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.claims import IClaims
from mles_tx.channels.history import HistoryCounts, HistoryError, MemoryHistory
from mles_tx.protocol.closing import CloseReason
from mles_tx.service.config import ServerConfig
from mles_tx.service.history import make_history
from mles_tx.service.server import MlesService
from mles_tx.stores.redis.address import RedisAddress
from mles_tx.stores.sqlite import SqliteHistory

from .clients import reactor
from .servers import ServerTestCase


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


class FileHistoryTests(ServerTestCase):
    """A server whose history is in a file, on the real reactor."""

    async def heard(self, service: MlesService, end: str = "end") -> list[str | bytes]:
        """What a newcomer hears, up to something that is said once it is there."""
        found: list[str | bytes] = []
        done: Deferred[None] = Deferred()

        def receive(message: str | bytes) -> None:
            found.append(message)
            if message == end:
                done.callback(None)

        member = await service.join("example", "newcomer", receive, history=10)
        service.publish("example", end)
        await done
        member.leave()
        return found

    async def test_restarts(self) -> None:
        """What was said in one life of a server, up to its end, is heard in the next; no thread is left of either."""
        threads = threading.active_count()
        path = self.directory / "h.db"
        for durability, expected in (("relaxed", []), ("strict", ["said", "relaxed", "last words"])):
            service = self.start(history=path, durability=durability)
            if not expected:
                service.publish("example", "said")
                expected = ["said"]
            self.assertEqual(await self.heard(service, durability), [*expected, durability])
            service.publish("example", "last words")
            await service.stopService()
            self.assertEqual(threading.active_count(), threads)
        self.assertEqual(service.metrics().history_lost, 0)

    async def test_same_server_again(self) -> None:
        """A server that is stopped and started again goes on with its file."""
        service = self.start(history=self.directory / "h.db")
        service.publish("example", "said")
        await service.stopService()
        service.privilegedStartService()
        service.startService()
        self.assertEqual(await self.heard(service), ["said", "end"])

    def test_in_use(self) -> None:
        """A second server on the file does not start, and leaves the first one alone."""
        first = self.start(history=self.directory / "h.db")
        second = MlesService(ServerConfig(port=0, cache=self.cache, history=self.directory / "h.db"), reactor)
        second.privilegedStartService()
        self.assertRaises(HistoryError, second.startService)
        self.addCleanup(second.stopService)
        self.assertEqual(first.not_ready(), [])

    async def test_shown(self) -> None:
        """What is wrong with the file is said by readiness and metrics, as long as it is so."""
        service = self.start(history=self.directory / "h.db", durability="strict")
        closed: Deferred[CloseReason] = Deferred()
        other = sqlite3.connect(self.directory / "h.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        member = await service.join("example", "alice", lambda message: None, closed.callback)
        member.publish("refused")
        self.assertIs(await closed, CloseReason.NOT_STORED)
        self.assertEqual(len(service.not_ready()), 1)
        self.assertIn("locked", service.not_ready()[0])
        metrics = service.metrics()
        self.assertEqual((metrics.history_waiting, metrics.history_lost, metrics.history_faults), (1, 1, 1))
        other.close()
        while service.not_ready():
            await deferLater(reactor, 0.01)
        self.assertEqual(service.metrics().history_waiting, 0)
