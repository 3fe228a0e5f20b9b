"""The stores a node is tried with, and what may be expected of each while it is late or broken."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mles_tx.channels.history import MemoryHistory
from mles_tx.channels.member import PIECE_BYTES
from mles_tx.protocol.frames import payload_of
from mles_tx.stores.faults import StoreFault
from mles_tx.stores.sqlite import SqliteHistory
from tests.stores.threads import HeldThread, PromptThread

from .expectation import Bounds

if TYPE_CHECKING:
    from .world import World

__all__ = ["FileStore", "MemoryStore", "Store"]


class Store:
    """What a node remembers with.

    Attributes:
        history: the store itself.
        is_exact: whether it remembers no more than has to be, and is never late.
        delivers_at_once: whether what is said is delivered at the end of the turn.
        shows_all_joins: whether every join frame that was said before is in a replay, and no other.
    """

    history: Any
    is_exact = True
    shows_all_joins = True
    delivers_at_once = True
    failed: Callable[[], object]  #: called when something could not be read or written

    @property
    def is_late(self) -> bool:
        """Whether something may be under way for a reason."""
        return False

    @property
    def may_refuse(self) -> bool:
        """Whether it may refuse what is said."""
        return False

    def being_read(self) -> Callable[[], bool]:
        """Tell whether a history that is asked for now is not read yet, and others may still be written before it."""
        return lambda: False

    def recover(self, world: "World") -> None:
        """Be well again, and do all that waits."""
        world.pass_time(1)

    def close(self, world: "World") -> None:
        """Let go of everything."""
        self.history.close()


class MemoryStore(Store):
    """Messages are remembered as long as the process lives."""

    def __init__(self, clock: Clock, bounds: Bounds) -> None:
        self.history = MemoryHistory(clock, bounds.messages, bounds.channel_bytes, bounds.total_bytes)


class _Disk(HeldThread):
    """A disk that works when it is told to, and then may fail."""

    is_broken = False
    failed: Callable[[], object]

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> "Deferred[Any]":
        def work() -> Any:
            if self.is_broken:
                self.failed()
                raise StoreFault("the disk is full")
            return function(*args, **kwargs)

        return super().call(work)


class FileStore(Store):
    """Messages are in a file, behind a thread that works when it is told to."""

    is_exact = False

    def __init__(self, clock: Clock, bounds: Bounds, path: Path, strict: bool) -> None:
        self._clock = clock
        self._bounds = bounds
        self._path = path
        self._strict = strict
        self.shows_all_joins = self.delivers_at_once = not strict
        self.disk = _Disk()
        self.disk.failed = lambda: self.failed()
        self.history = self._make(self.disk)
        self.history.open()

    def _make(self, thread: PromptThread) -> SqliteHistory:
        return SqliteHistory(
            self._clock,
            self._path,
            self._bounds.messages,
            strict=self._strict,
            max_bytes=self._bounds.channel_bytes,
            total_bytes=self._bounds.total_bytes,
            thread=thread,
            wall_clock=lambda: 1_700_000_000.0 + self._clock.seconds(),
        )

    @property
    def is_late(self) -> bool:
        return bool(self.disk.waiting) or self.disk.is_broken or bool(self.history.not_ready()) or self._strict

    @property
    def may_refuse(self) -> bool:
        return self._strict and bool(self.history.not_ready())

    def being_read(self) -> Callable[[], bool]:
        asked = list(self.disk.waiting) if self._strict else []
        return lambda: any(call in self.disk.waiting for call in asked)

    def recover(self, world: "World") -> None:
        self.disk.is_broken = False
        for _ in range(30):
            self.disk.run()
            world.pass_time(0.5)
        self.disk.run()
        world.settle()
        assert self.history.not_ready() == [], f"the disk is well, and not used: {self.history.not_ready()}"

    def close(self, world: "World") -> None:
        closed = self.history.close()
        self.disk.run()
        assert closed.called, "the file is not closed, and the disk has done all it was asked for"
        self._check_file(world)

    def _check_file(self, world: "World") -> None:
        """What the next server finds in the file is what was said, in order."""
        again = self._make(PromptThread())
        again.open()
        names = set(again.channels())
        assert names == world.histories.names, f"{names} are in the file, and should be {world.histories.names}"
        for name in sorted(names):
            replay = again.replay(name, "", None, ())
            found: list[bytes] = []
            while frames := replay.pull(PIECE_BYTES):
                assert isinstance(frames, list), f"the file was read, and {name} is not there yet"
                found += map(payload_of, frames)
            world.histories.replay(name, "", None, (), with_joins=True).check(found, is_whole=True)
        again.close()
