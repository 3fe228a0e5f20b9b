"""Tests of the choice of a history."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import MemoryHistory
from mles_tx.service.config import ServerConfig
from mles_tx.service.history import make_history


class MakeHistoryTests(SynchronousTestCase):
    """Which store a configuration gets."""

    def test_memory(self) -> None:
        """Unless something else is asked for, what is said is kept in memory."""
        self.assertIsInstance(make_history(Clock(), ServerConfig()), MemoryHistory)
