"""Tests of the choice of a history."""

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import MemoryHistory
from mles_tx.service.config import ServerConfig
from mles_tx.service.history import make_history
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


def make_relaxed() -> SqliteHistory:
    """A store as it is by default."""
    history = make_history(Clock(), ServerConfig(history=Path("/nowhere/h.db")))
    assert isinstance(history, SqliteHistory)
    return history
