"""Tests of what waits to be written. What becomes of it when a file fails is tested with the history as a whole."""

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import MAX_CHANNEL_BYTES
from mles_tx.stores import saver as module
from mles_tx.stores.recent import RecentChannel
from mles_tx.stores.saver import CLOSE_SECONDS, RELAXED_SECONDS, Queued, Saver
from mles_tx.stores.schema import ChannelRow
from mles_tx.stores.tables import Batch
from mles_tx.stores.writer import Report, Writer
from tests.channels.fakes import said

from .threads import HeldThread


class _Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.rows: list[list[str]] = []
        self.reports = 0

    def saved(self, group: Sequence[Queued]) -> None:
        self.groups.append([queued.channel.name for queued in group])

    def refused(self, batch: Batch) -> None:
        raise AssertionError("nothing is refused here")

    def replaced(self, said: Sequence[Batch]) -> None:
        raise AssertionError("nothing is replaced here")

    def holds(self, channels: Sequence[ChannelRow]) -> None:
        self.rows.append([row.name for row in channels])

    def reported(self, report: Report) -> None:
        self.reports += 1


class SaverTests(SynchronousTestCase):
    """Groups."""

    def build(self, strict: bool) -> None:
        path = Path(self.mktemp()).absolute()
        self.clock, self.thread, self.owner = Clock(), HeldThread(), _Owner()
        writer = Writer(path, 100, MAX_CHANNEL_BYTES, strict)
        self.saver = Saver(self.clock, writer, self.thread, strict, str(path), self.owner)
        self.saver.open()
        self.addCleanup(self.close)
        self.n = 0

    def close(self) -> None:
        closed = self.saver.close()
        self.thread.run()
        self.successResultOf(closed)

    def add(self, *names: str, size: int = 1) -> None:
        for name in names:
            self.n += 1
            self.saver.add(RecentChannel(name, 0.0, True), Batch(name, self.n, [said("x" * size)]))

    def test_relaxed(self) -> None:
        """Relaxed, what is said within a moment is one group; what comes while it is written is the next."""
        self.build(strict=False)
        self.add("a")
        self.clock.advance(RELAXED_SECONDS / 2)
        self.add("b")
        self.assertEqual(len(self.thread.waiting), 0)
        self.clock.advance(RELAXED_SECONDS / 2)
        self.assertEqual(len(self.thread.waiting), 1)
        self.add("c", "d")
        self.clock.advance(1)
        self.assertEqual(len(self.thread.waiting), 1)
        self.assertEqual(self.saver.counts().waiting, 4)
        self.thread.run()
        self.assertEqual((self.owner.groups, self.saver.counts().waiting), ([["a", "b"]], 2))
        self.clock.advance(RELAXED_SECONDS)
        self.thread.run()
        self.assertEqual((self.owner.groups[1:], self.saver.counts().waiting), ([["c", "d"]], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_promise(self) -> None:
        """With half of the 100 ms that are promised left for the commit."""
        self.assertLess(RELAXED_SECONDS, 0.051)

    def test_strict(self) -> None:
        """Strict, a group is what is said in a turn, or while the one before is written."""
        self.build(strict=True)
        self.add("a", "b")
        self.clock.advance(0)
        self.add("c")
        self.clock.advance(0)
        self.add("d")
        self.assertEqual(len(self.thread.waiting), 1)
        self.thread.run()
        self.clock.advance(0)
        self.thread.run()
        self.assertEqual(self.owner.groups, [["a", "b"], ["c", "d"]])

    def test_large(self) -> None:
        """Much that waits is written in several commits, of which none takes long."""
        self.build(strict=True)
        self.patch(module, "_GROUP_BYTES", 3_000)
        self.add(*"abcdefgh", size=1_000)
        for _ in range(5):
            self.clock.advance(0)
            self.thread.run()
        self.assertEqual(self.owner.groups, [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]])

    def test_closing(self) -> None:
        """At the end all that waits is written at once, behind what is being written."""
        self.build(strict=False)
        self.add("a")
        self.clock.advance(RELAXED_SECONDS)
        self.add("b")
        closed, again = self.saver.close(), self.saver.close()
        self.assertNoResult(closed)
        self.thread.run()
        self.successResultOf(closed)
        self.successResultOf(again)
        self.assertEqual((self.saver.counts().waiting, self.saver.counts().lost), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.thread.is_running)

    def test_never_opened(self) -> None:
        """What was never opened is closed already."""
        self.build(strict=False)
        self.close()
        owner = _Owner()
        writer = Writer(Path(self.mktemp()).absolute(), 100, MAX_CHANNEL_BYTES, False)
        self.successResultOf(Saver(self.clock, writer, self.thread, False, "x", owner).close())

    def test_bounded(self) -> None:
        """It takes 5 seconds at most."""
        self.assertEqual(CLOSE_SECONDS, 5.0)

    def test_many(self) -> None:
        """A group has a bound, and while more waits the next one is begun at once."""
        self.build(strict=False)
        self.patch(module, "_GROUP_MESSAGES", 3)
        self.add(*"abcdefg")
        self.clock.advance(RELAXED_SECONDS)
        self.thread.run()
        self.clock.advance(0)
        self.thread.run()
        self.assertEqual(self.owner.groups, [["a", "b", "c"], ["d", "e", "f"]])
        self.clock.advance(0)
        self.thread.run()
        self.assertEqual(self.owner.groups[2:], [["g"]])

    def test_more_than_is_written(self) -> None:
        """Who says more than is written waits for the thread: the longer the more waits, and with moments between."""
        self.build(strict=False)
        self.patch(module, "_MANY_MESSAGES", 2)
        self.clock.advance(1.0)
        self.add("a", "b")
        self.assertEqual(self.thread.given, 0.0)
        self.add("c", "d")
        self.assertEqual(self.thread.given, 1e-6)
        self.clock.advance(0.006)
        self.add("e")
        self.assertEqual(self.thread.given, 4e-6)
