"""Tests of the history in a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mles_tx.channels.history import IDLE_SECONDS, MAX_CHANNEL_BYTES, MemoryHistory
from mles_tx.stores.sqlite import SqliteHistory

from .contract import Listener, StoreContract
from .threads import HeldThread, PromptThread


class MemoryContractTests(StoreContract, TestCase):
    """The store in memory keeps the promises of all stores."""

    outlives = False

    async def begin(self, limit: int = 200, max_bytes: int = MAX_CHANNEL_BYTES) -> None:
        self.clock = Clock()
        self.listener = Listener()
        self.history = MemoryHistory(self.clock, limit, max_bytes)
        self.history.start(self.listener)
        self.history.open()

    async def settled(self) -> None:
        pass

    async def pass_idle_time(self) -> None:
        self.clock.advance(IDLE_SECONDS + 1)


class _SqliteTests(TestCase):
    """A store on a clock."""

    strict = False
    make_thread: Callable[[], Any] = PromptThread

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(mode=0o700)
        self.path = self.directory / "history.db"
        self.clock = Clock()
        self.wall = 1_700_000_000.0
        self.options: dict[str, Any] = {}
        self.files = 0

    async def begin(self, limit: int = 200, max_bytes: int = MAX_CHANNEL_BYTES, **options: Any) -> None:
        self.files += 1
        self.path = self.directory / f"history-{self.files}.db"
        self.options = {"limit": limit, "max_bytes": max_bytes, "strict": self.strict, **options}
        self.build()

    def build(self) -> None:
        self.thread = self.make_thread()
        self.listener = Listener()
        self.history = SqliteHistory(
            self.clock,
            self.path,
            thread=self.thread,
            wall_clock=lambda: self.wall + self.clock.seconds(),
            **self.options,
        )
        self.history.start(self.listener)
        self.history.open()
        self.addCleanup(self.end, self.history, self.thread)

    async def end(self, history: SqliteHistory, thread: PromptThread) -> None:
        closed = history.close()
        if isinstance(thread, HeldThread):
            thread.run()
        await closed

    async def settled(self) -> None:
        for _ in range(8):
            if isinstance(self.thread, HeldThread):
                self.thread.run()
            self.clock.advance(0.05)

    async def again(self) -> None:
        await self.end(self.history, self.thread)
        self.build()

    async def pass_idle_time(self) -> None:
        self.clock.advance(IDLE_SECONDS + 1)
        await self.settled()


class RelaxedContractTests(_SqliteTests, StoreContract):
    """The store in a file keeps the promises of all stores."""


class StrictContractTests(_SqliteTests, StoreContract):
    """So it does when what is delivered has to be on disk."""

    strict = True


class SlowContractTests(_SqliteTests, StoreContract):
    """So it does when the disk is slow."""

    make_thread = HeldThread


class SlowStrictContractTests(_SqliteTests, StoreContract):
    """So it does when the disk is slow, and what is delivered has to be there."""

    strict = True
    make_thread = HeldThread
