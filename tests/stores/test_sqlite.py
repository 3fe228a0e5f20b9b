"""Tests of the history in a file."""

import os
import sqlite3
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from mles_tx.channels.history import IDLE_SECONDS, MAX_CHANNEL_BYTES, HistoryError, MemoryHistory
from mles_tx.stores import saver, writer
from mles_tx.stores.schema import connect
from mles_tx.stores.sqlite import SqliteHistory
from mles_tx.stores.tables import Tables
from tests.channels.fakes import hello, said

from .contract import Listener, StoreContract, join_of, read_all
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
        self.patch(writer, "connect", partial(connect, busy_seconds=0.01))  # nobody lets go while a test waits
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
    shows_joins_early = True


class SlowContractTests(_SqliteTests, StoreContract):
    """So it does when the disk is slow."""

    make_thread = HeldThread


class SlowStrictContractTests(_SqliteTests, StoreContract):
    """So it does when the disk is slow, and what is delivered has to be there."""

    strict = True
    shows_joins_early = True
    make_thread = HeldThread


class FaultTests(_SqliteTests):
    """What goes wrong with the file, and how it goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []

        def observe(event: LogEvent) -> None:
            if event["log_namespace"].startswith("mles_tx.stores"):
                self.lines.append(f"{event['log_level'].name} {formatEvent(event)}")

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def say(self, *texts: str, channel: str = "example") -> None:
        for text in texts:
            self.history.append(channel, [said(text)])

    async def wait(self, seconds: float = 6.0) -> None:
        """Longer than any delay between two tries."""
        for _ in range(int(seconds / 0.05)):
            self.clock.advance(0.05)

    async def read(self, channel: str = "example") -> list[str]:
        replay = self.history.replay(channel, "zoe", None, ())
        if isinstance(self.thread, HeldThread):
            self.thread.run()
        return await read_all(replay)

    async def stored(self, channel: str = "example") -> list[str]:
        """What is there after a restart."""
        await self.again()
        return await self.read(channel)

    def assert_ready(self) -> None:
        self.assertEqual(self.history.not_ready(), [])
        self.assertEqual(self.history.counts().waiting, 0)

    def lock_out(self) -> sqlite3.Connection:
        """Another program that writes, and takes its time."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        return other

    async def change(self, *statements: str) -> None:
        """Change the file while nobody uses it, as no server would."""
        await self.end(self.history, self.thread)
        database = sqlite3.connect(self.path, isolation_level=None)
        for statement in statements:
            database.execute(statement)
        database.close()
        self.build()

    async def test_damaged_rows(self) -> None:
        """Rows a disk has changed are left out, and the others are there; what is said goes on."""
        await self.begin()
        self.say("1", "2", "3", "4", "5")
        self.say("x", channel="other")
        await self.wait()
        one, two, three, four, _ = (
            f"WHERE n = (SELECT n FROM messages LIMIT 1 OFFSET {number})" for number in range(5)
        )
        await self.change(
            f"UPDATE messages SET frame = 'text' {one}",
            f"UPDATE messages SET frame = x'8801' {two}",
            f"UPDATE messages SET uid = x'00' {three}",
            f"UPDATE messages SET uid = CAST(x'ff' AS TEXT) {four}",
            "UPDATE channels SET name = x'00' WHERE name = 'other'",
        )
        self.say("6")
        await self.wait()
        self.assert_ready()
        self.assertEqual(await self.stored(), ["4", "5", "6"])

    async def test_impossible_numbers(self) -> None:
        """A file in which no message could follow is set aside, also when that is found out later."""
        for statement in (
            "UPDATE messages SET n = 9223372036854775807 WHERE n = (SELECT max(n) FROM messages)",
            "UPDATE channels SET last = 9223372036854775807",
        ):
            await self.begin()
            self.say("1")
            await self.wait()
            await self.change(statement)
            self.say("2")
            await self.wait()
            self.assert_ready()
            self.assertEqual(await self.stored(), ["2"])
            self.assertEqual(len(list(self.directory.glob(f"{self.path.name}.corrupt-*Z"))), 1)

    async def test_unreadable_schema(self) -> None:
        """A file whose schema is no text any more is set aside like any other broken one."""
        await self.begin()
        self.say("1")
        await self.wait()
        await self.end(self.history, self.thread)
        content = self.path.read_bytes()
        self.assertIn(b"WITHOUT ROWID", content)
        self.path.write_bytes(content.replace(b"WITHOUT ROWID", b"WITHOUT ROWI\xff"))
        self.build()
        self.say("2")
        await self.wait()
        self.assert_ready()
        self.assertEqual(await self.stored(), ["2"])

    async def test_locked(self) -> None:
        """While another program has the file locked, messages are delivered and kept, and written later, each once."""
        await self.begin()
        self.say("1")
        await self.wait()
        other = self.lock_out()
        self.say("2", "3")
        await self.wait()
        self.assertEqual(self.listener.texts(), ["1", "2", "3"])
        words = "another program has it locked"
        self.assertEqual(
            self.history.not_ready(),
            [f"history {self.path}: {words}; until it can be used, what is said is in memory alone"],
        )
        self.assertEqual(tuple(self.history.counts()), (2, 0, 1))
        self.assertEqual(await self.read(), ["1", "2", "3"])
        self.say("4")
        other.execute("ROLLBACK")
        await self.wait()
        self.assert_ready()
        self.say("5")
        await self.wait()
        self.assertEqual(await self.stored(), ["1", "2", "3", "4", "5"])
        self.assertEqual(
            self.lines,
            [
                f"error history {self.path}: {words}; messages are delivered, and written later",
                f"info history {self.path}: is written to again",
            ],
        )

    async def test_locked_strict(self) -> None:
        """Strict, they are refused meanwhile; join frames wait for the file."""
        self.strict = True
        await self.begin()
        self.say("1")
        await self.wait()
        other = self.lock_out()
        self.say("2", "3")
        self.history.append("example", [join_of("bob")])
        await self.wait()
        self.say("4")
        self.assertEqual(self.listener.texts(), ["1"])
        self.assertEqual(
            [m.frame for _, batch in self.listener.sent_back for m in batch], [said(t).frame for t in "234"]
        )
        self.assertEqual(
            self.history.not_ready(),
            [f"history {self.path}: another program has it locked; until it can be used, messages are refused"],
        )
        self.assertEqual(tuple(self.history.counts()), (1, 3, 1))
        other.execute("ROLLBACK")
        await self.wait()
        self.assert_ready()
        self.say("5")
        await self.wait()
        self.assertEqual(self.listener.texts(), ["1", hello("bob").decode(), "5"])
        self.assertEqual(await self.stored(), ["1", hello("bob").decode(), "5"])

    async def test_probed(self) -> None:
        """Strict, it is found out that the file can be used again without anybody saying something."""
        self.strict = True
        await self.begin()
        other = self.lock_out()
        self.say("1")
        await self.wait()
        self.assertEqual(len(self.history.not_ready()), 1)
        other.execute("ROLLBACK")
        await self.wait()
        self.assert_ready()

    async def test_delays(self) -> None:
        """A file that fails is tried again after a quarter of a second, then after longer and longer, at most 5."""
        await self.begin()
        self.lock_out()
        self.say("1")
        calls, tries, now = self.thread.calls, [], 0.0
        while now < 25:
            self.clock.advance(0.01)
            now += 0.01
            if self.thread.calls > calls:
                calls = self.thread.calls
                tries.append(now)
        waits = [round(later - earlier, 1) for earlier, later in pairwise(tries)]
        self.assertEqual(waits, [0.3, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0][: len(waits)])
        self.assertGreater(len(waits), 6)

    async def test_removed(self) -> None:
        """When the file is removed, a new one gets all that is in memory, and what is said from then on."""
        for strict in (False, True):
            self.strict = strict
            await self.begin()
            self.history.append("example", [join_of("bob")])
            self.say("1", "2")
            await self.wait()
            self.path.unlink()
            self.say("3")
            await self.wait()
            self.assert_ready()
            self.assertEqual(self.listener.texts(), [hello("bob").decode(), "1", "2", "3"])
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
            self.assertEqual(await self.stored(), [hello("bob").decode(), "1", "2", "3"])
            self.assertEqual(self.lines, [f"error history {self.path}: the file was taken away; a new one is begun"])
            self.lines.clear()

    async def test_removed_in_silence(self) -> None:
        """That is noticed within a second also when nobody says anything."""
        await self.begin()
        self.say("1")
        await self.wait()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink()
        await self.wait(1.2)
        self.assertTrue(self.path.exists())
        self.assertEqual(await self.stored(), ["1"])

    async def test_removed_in_between(self) -> None:
        """When a look finds the file gone while messages are on their way to it, they are in the new one, once."""
        self.make_thread = HeldThread
        for strict in (False, True):
            self.strict = strict
            await self.begin()
            self.say("1")
            await self.settled()
            thread = self.thread
            assert isinstance(thread, HeldThread)
            while not thread.waiting:  # until it looks at the file
                self.clock.advance(0.05)
            self.say("2")
            self.clock.advance(0.05)
            self.assertEqual(len(thread.waiting), 2)
            self.path.unlink()
            thread.step()
            self.say("3")
            self.clock.advance(0.05)
            self.assertEqual(len(thread.waiting), 2)
            await self.settled()
            self.assertEqual(self.listener.texts(), ["1", "2", "3"])
            self.assertEqual(await self.read(), ["1", "2", "3"])
            self.assertEqual(await self.stored(), ["1", "2", "3"])

    def damage(self) -> None:
        """Something overwrites the file, its journal included."""
        for path in self.directory.glob(f"{self.path.name}*"):
            if not path.name.endswith((".lock", "-shm")):
                path.write_bytes(b"no database" * 1000)

    async def test_corrupt(self) -> None:
        """A file that is no database any more is set aside as it is, and a new one gets what is in memory."""
        for strict in (False, True):
            self.strict = strict
            await self.begin()
            self.say("1", "2")
            await self.wait()
            self.history._writer._let_go()  # else it goes on with what it has in memory
            self.damage()
            self.say("3")
            await self.wait()
            self.assert_ready()
            self.assertEqual(self.listener.texts(), ["1", "2", "3"])
            (aside,) = (path for path in self.directory.glob(f"{self.path.name}.corrupt-*Z"))
            self.assertEqual(
                aside.name, f"{self.path.name}.corrupt-{'20231114T221338Z' if strict else '20231114T221326Z'}"
            )
            self.assertTrue(aside.read_bytes().startswith(b"no database"))
            self.assertEqual(await self.stored(), ["1", "2", "3"])
            self.assertEqual(
                self.lines,
                [f"error history {self.path}: the file was broken, and is now {aside}; a new one is begun"],
            )
            self.lines.clear()

    async def test_corrupt_at_the_start(self) -> None:
        """So is one that is found at the start."""
        await self.begin()
        self.say("1")
        await self.end(self.history, self.thread)
        self.damage()
        self.build()
        self.assert_ready()
        self.assertEqual(self.history.counts().faults, 1)
        self.assertEqual(len(list(self.directory.glob("*.corrupt-*Z"))), 1)
        self.say("2")
        self.assertEqual(await self.stored(), ["2"])

    async def test_broken_inside(self) -> None:
        """A page that is damaged is found when it is read: who joins gets what is in memory, and it goes on."""
        await self.begin(limit=100_000)
        for number in range(3):
            self.history.append(f"channel {number}", [said("x" * 500 + str(n)) for n in range(500)])
        await self.end(self.history, self.thread)
        with self.path.open("r+b") as file:
            size = self.path.stat().st_size
            for at in range(4096 * 8, size, 4096):
                file.seek(at)
                file.write(b"\xff" * 200)
        self.build()
        self.say("new", channel="channel 1")
        self.assertEqual(await self.read("channel 1"), ["new"])
        await self.wait()
        self.assert_ready()
        self.assertEqual(len(list(self.directory.glob("*.corrupt-*Z"))), 1)
        self.assertEqual(await self.stored("channel 1"), ["new"])

    async def test_backlog(self) -> None:
        """What waits for the file is bounded: what was said first is given up, and counted."""
        self.patch(saver, "BACKLOG_BYTES", 100_000)
        await self.begin(limit=1000)
        other = self.lock_out()
        for number in range(1000):
            self.say(f"{number:03}" + "x" * 200)
        await self.wait()
        waiting, lost, _ = self.history.counts()
        self.assertEqual(waiting + lost, 1000)
        self.assertTrue(100 < waiting < 250, waiting)
        self.assertEqual(len(self.listener.texts()), 1000)
        other.execute("ROLLBACK")
        await self.wait()
        self.assert_ready()
        self.assertEqual(len(await self.read()), 1000, "it is in memory all the same")
        self.assertEqual([text[:3] for text in await self.stored()], [f"{n:03}" for n in range(1000 - waiting, 1000)])

    async def test_backlog_strict(self) -> None:
        """Strict, what is too much for a slow disk is refused."""
        self.patch(saver, "BACKLOG_BYTES", 10_000)
        self.strict = True
        self.make_thread = HeldThread
        await self.begin()
        for number in range(100):
            self.say(f"{number:03}" + "x" * 200)
        self.history.append("example", [join_of("bob")])
        refused = [m for _, batch in self.listener.sent_back for m in batch]
        self.assertTrue(50 < len(refused) < 90, len(refused))
        await self.settled()
        self.assertEqual(len(self.listener.texts()), 101 - len(refused))
        self.assertEqual(self.history.counts().lost, len(refused))

    async def test_starts_when_the_file_cannot_be_used(self) -> None:
        """A server starts while the file is locked, and adds what was said to what is there, once it is free."""
        await self.begin()
        self.say("1")
        self.say("1", channel="quiet")
        await self.end(self.history, self.thread)
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("PRAGMA user_version = 1")
        self.build()
        self.assertEqual(len(self.history.not_ready()), 1)
        self.say("2")
        self.assertEqual(await self.read(), ["2"])
        other.execute("COMMIT")
        other.close()
        await self.wait()
        self.assert_ready()
        self.assertEqual(await self.read(), ["1", "2"])
        self.assertEqual(await self.read("quiet"), ["1"])
        self.assertEqual(set(self.history.channels()), {"example", "quiet"})

    async def test_two_servers(self) -> None:
        """A file belongs to one server at a time; when that has ended, to the next."""
        await self.begin()
        second = SqliteHistory(self.clock, self.path, 10, thread=PromptThread())
        second.start(Listener())
        error = self.assertRaises(HistoryError, second.open)
        self.assertEqual(str(error), f"{self.path}: another server uses it; give each server a file of its own")
        await self.end(self.history, self.thread)
        second.open()
        await second.close()

    async def test_refused_at_the_start(self) -> None:
        """What somebody has to do something about ends the start with a line that says what."""
        nowhere = self.directory / "nowhere" / "h.db"
        fifo, newer, other, letter = (self.directory / name for name in ("fifo", "newer.db", "other.db", "letter"))
        os.mkfifo(fifo)
        letter.write_text("Dear operator, this is no database.")
        for path, statement in ((newer, "PRAGMA user_version = 99"), (other, "CREATE TABLE x (y)")):
            database = sqlite3.connect(path)
            database.execute(statement)
            database.close()
        for path, text in (
            (nowhere, f"there is no directory {nowhere.parent}; make it, for its owner alone"),
            (self.directory, "not an ordinary file; give another one"),
            (fifo, "not an ordinary file; give another one"),
            (
                newer,
                "written by a newer version of mles_tx (its schema is 99, the newest known here 1);"
                " upgrade, or give another file",
            ),
            (other, "a database of another program; give another file"),
            (letter, "that is no history, and never was one; give another file"),
        ):
            before = path.read_bytes() if path.is_file() else b""
            history = SqliteHistory(self.clock, path, 10, thread=PromptThread())
            history.start(Listener())
            error = self.assertRaises(HistoryError, history.open)
            self.assertEqual(str(error), f"{path}: {text}")
            await history.close()
            self.assertEqual(path.read_bytes() if path.is_file() else b"", before)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_closed_while_it_fails(self) -> None:
        """A server ends also when the file cannot be written to, and says what is lost."""
        await self.begin()
        self.lock_out()
        self.say("1", "2")
        await self.wait()
        await self.history.close()
        self.assertEqual(
            self.lines[-1],
            f"error history {self.path}: another program has it locked; the last 2 messages are lost",
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_closed_while_the_disk_hangs(self) -> None:
        """It ends within 5 seconds when the disk does not answer, whatever that does later."""
        self.make_thread = HeldThread
        await self.begin()
        self.say("1")
        self.clock.advance(0.05)
        closed = self.history.close()
        self.clock.advance(4.9)
        self.assertNoResult(closed)
        self.clock.advance(0.2)
        self.successResultOf(closed)
        self.assertIn("the disk did not answer within 5 seconds; the last 1 messages are lost", self.lines[-1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        thread = self.thread
        assert isinstance(thread, HeldThread)
        thread.is_running = True
        thread.run()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OutsideTests(_SqliteTests):
    """Other programs that change the file while it is in use."""

    async def test_changed_outside(self) -> None:
        """What another program adds and takes away is seen within a second, what is said meanwhile is not lost."""
        await self.begin()
        for name in ("a", "b", "c"):
            self.history.append(name, [said(f"1 of {name}")])
        await self.settled()
        database = connect(self.path)
        tables = Tables(database, 200, MAX_CHANNEL_BYTES)
        with tables.transaction():
            tables.forget("a")
            for name in ("b", "d"):
                tables.lay_in(name, [(5, said(f"0 of {name}"))])
        database.close()
        self.history.append("c", [said("2 of c")])
        self.clock.advance(1.1)
        await self.settled()
        self.assertEqual((set(self.history.channels()), self.listener.lost), ({"b", "c", "d"}, ["a"]))
        for name, expected in (("a", []), ("b", ["0 of b", "1 of b"]), ("c", ["1 of c", "2 of c"]), ("d", ["0 of d"])):
            self.assertEqual(await read_all(self.history.replay(name, "zoe", None, ())), expected, name)


class BoundsTests(_SqliteTests):
    """What a file takes, and what is kept in memory."""

    async def fill(self, channels: int, size: int = 1000) -> None:
        for number in range(channels):
            self.history.append(f"channel {number}", [said("x" * size) for _ in range(100)])
            self.clock.advance(0.1)

    async def test_file_bytes(self) -> None:
        """A file that has become too large loses the least recently used channels, first those without members."""
        await self.begin(file_bytes=2_000_000)
        self.listener.occupied = {"channel 3"}
        await self.fill(40)
        for _ in range(2000):
            self.clock.advance(0.05)
        names = set(self.history.channels())
        self.assertTrue(10 < len(names) < 20, names)
        self.assertTrue({"channel 3", "channel 39", "channel 38"} <= names, names)
        self.assertNotIn("channel 5", names)
        self.assertLess(self.path.stat().st_size, 2_600_000)
        await self.again()
        self.assertEqual(set(self.history.channels()), names)
        self.assertEqual(len(await read_all(self.history.replay("channel 39", "zoe", None, ()))), 100)
        self.assertEqual(await read_all(self.history.replay("channel 5", "zoe", None, ())), [])

    async def test_one_channel(self) -> None:
        """One channel that is too large alone loses its older half in the file."""
        await self.begin(limit=1_000_000, file_bytes=500_000)
        self.history.append("example", [said(f"{n:04}" + "x" * 1000) for n in range(1000)])
        for _ in range(200):
            self.clock.advance(0.05)
        await self.again()
        found = await read_all(self.history.replay("example", "zoe", None, ()))
        self.assertTrue(200 < len(found) < 600, len(found))
        self.assertEqual([text[:4] for text in found], [f"{n:04}" for n in range(1000 - len(found), 1000)])

    async def test_memory(self) -> None:
        """Channels that were not used for longest go from memory, and come back from the file when they are wanted."""
        await self.begin(total_bytes=500_000)
        await self.fill(20)
        self.assertLess(self.history.memory, 500_001)
        self.assertLess(self.history.messages, 500)
        for number in range(20):
            found = await read_all(self.history.replay(f"channel {number}", "zoe", None, ()))
            self.assertEqual(len(found), 100, f"{number}")
            self.assertLess(self.history.memory, 650_000)

    async def test_limit_lowered(self) -> None:
        """A lower limit, later or after a restart, holds for what was said before."""
        await self.begin(limit=100)
        self.history.append("example", [said(str(n)) for n in range(100)])
        await self.settled()
        self.history.change(30, 1_000_000)
        expected = [str(n) for n in range(70, 100)]
        self.assertEqual(await read_all(self.history.replay("example", "zoe", None, ())), expected)
        self.options["limit"] = 5
        await self.again()
        self.assertEqual(await read_all(self.history.replay("example", "zoe", None, ())), expected[-5:])


class ClockTests(_SqliteTests):
    """Time, on the clocks of a computer."""

    async def names_after(self, days: float, **steps: float) -> set[str]:
        """The channels that are left when a server starts again some days later, by the wall clock."""
        await self.end(self.history, self.thread)
        self.wall += days * 86400
        self.build()
        self.history.sweep()
        return set(self.history.channels())

    async def test_restart_later(self) -> None:
        """The days in which no server runs count: a channel is forgotten after 30 days."""
        await self.begin()
        self.history.append("example", [said("1")])
        self.assertEqual(await self.names_after(29), {"example"})
        self.assertEqual(await self.names_after(1.1), set())

    async def test_wall_clock_is_set(self) -> None:
        """Setting the wall clock while a server runs makes nothing old and brings no order into disorder."""
        await self.begin()
        for days in (31, -62, 31):
            self.wall += days * 86400
            self.history.append("example", [said(str(days))])
            self.history.sweep()
            await self.settled()
        self.assertEqual(await self.names_after(0), {"example"})
        self.assertEqual(await read_all(self.history.replay("example", "zoe", None, ())), ["31", "-62", "31"])

    async def test_wall_clock_was_wrong(self) -> None:
        """A computer that starts in 1970 forgets nothing, and goes on with the order."""
        await self.begin()
        self.history.append("example", [said("1")])
        self.assertEqual(await self.names_after(-19000), {"example"})
        self.history.append("example", [said("2")])
        self.assertEqual(await self.names_after(19000), {"example"})
        self.assertEqual(await read_all(self.history.replay("example", "zoe", None, ())), ["1", "2"])
