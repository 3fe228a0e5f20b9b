"""Tests of what is done to the tables."""

import sqlite3
from itertools import pairwise
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import MAX_CHANNEL_BYTES, Message
from mles_tx.protocol.frames import payload_of
from mles_tx.stores.schema import connect, create
from mles_tx.stores.tables import Batch, Tables
from tests.channels.fakes import said

from .contract import join_of


class _TablesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        create(self.path)
        self.tables = self.open()

    def open(self, limit: int = 100, max_bytes: int = MAX_CHANNEL_BYTES) -> Tables:
        self.database = connect(self.path)
        self.addCleanup(self.database.close)
        return Tables(self.database, limit, max_bytes)

    def write(self, *batches: Batch, tables: Tables | None = None) -> None:
        used = tables or self.tables
        with used.transaction():
            used.append(batches)

    def batch(self, n: int, *texts: str, channel: str = "a") -> Batch:
        return Batch(channel, n, [said(text) for text in texts])

    def texts(self, channel: str = "a") -> list[str]:
        return [payload_of(message.frame).decode() for _, message in self.tables.read(channel)]

    def assert_counts(self) -> None:
        """What the table of channels says is what the table of messages has."""
        for row in self.tables.channels():
            rows = self.tables.read(row.name)
            self.assertEqual((row.messages, row.bytes), (len(rows), sum(len(m.frame) for _, m in rows)), row.name)


class AppendTests(_TablesTests):
    """Writing."""

    def test_read(self) -> None:
        """What is written is read as it was, with its numbers, from the newest back."""
        messages = [said("1", "ann"), join_of("bob"), Message(b"\x82\x02\x00\xff", "eve", 9, is_join=False)]
        for n, message in enumerate(messages, 5):
            self.write(Batch("a", n, [message]))
        expected = [(n, message._replace(origin=0)) for n, message in enumerate(messages, 5)]
        self.assertEqual(self.tables.read("a"), expected)
        self.assertEqual(self.tables.read("a", before=7), expected[:2])
        self.assertEqual(self.tables.read("a", before=7, limit=1), expected[1:2])
        self.assertEqual(self.tables.read("b"), [])
        self.assertEqual([row.name for row in self.tables.channels()], ["a"])

    def test_sizes(self) -> None:
        """Any number of messages is written, in however many statements."""
        n = 1
        tables = self.open(limit=10_000)
        for size in (1, 7, 8, 31, 33, 255, 256, 257, 600):
            self.write(self.batch(n, *map(str, range(n, n + size))), tables=tables)
            n += size
        self.assertEqual(self.texts(), [str(number) for number in range(1, n)])
        self.assert_counts()

    def test_only_the_end(self) -> None:
        """Of more than a channel remembers only the end is written, over any number of batches."""
        self.write(self.batch(1, "old"))
        batches = [self.batch(10 * k, *(f"{k}.{part}" for part in range(9))) for k in range(1, 30)]
        self.write(*batches, self.batch(1000, "other", channel="b"))
        self.assertEqual(self.texts(), [f"{k}.{part}" for k in range(1, 30) for part in range(9)][-100:])
        self.assertEqual(self.texts("b"), ["other"])
        self.assert_counts()

    def test_trimmed_in_steps(self) -> None:
        """A channel holds a quarter more than it remembers at most, and what it remembers at least."""
        for n in range(1, 500):
            self.write(self.batch(n, str(n)))
            self.assertTrue(min(n, 100) <= len(self.texts()) <= 125, f"{n}: {len(self.texts())}")
        self.assertEqual(self.texts()[-1], "499")
        self.assert_counts()

    def test_bytes(self) -> None:
        """The same holds for bytes."""
        tables = self.tables = self.open(limit=10_000, max_bytes=10_000)
        for n in range(1, 200):
            self.write(self.batch(n, "x" * 498), tables=tables)
            size = sum(len(message.frame) for _, message in tables.read("a"))
            self.assertTrue(min(502 * n, 9_500) <= size <= 12_500 + 502, f"{n}: {size}")
        self.assert_counts()

    def test_a_lower_limit(self) -> None:
        """A channel that holds far too much comes down in steps."""
        self.write(self.batch(1, *map(str, range(3_500))), tables=self.open(limit=10_000))
        self.tables = self.open(limit=10)
        sizes = []
        for n in range(10_000, 10_006):
            self.write(self.batch(n, "x"))
            sizes.append(len(self.texts()))
        self.assertEqual(sizes, [2501, 1502, 503, 10, 11, 12])
        self.assert_counts()

    def test_joins(self) -> None:
        """Of a uid's join frames the newest is there, whether they come together or one by one."""
        self.write(Batch("a", 1, [join_of("bob")]), Batch("a", 2, [join_of("eve")]), Batch("a", 3, [join_of("bob")]))
        self.assertEqual([n for n, _ in self.tables.read("a")], [2, 3])
        self.write(Batch("a", 4, [join_of("eve")]))
        self.write(Batch("b", 5, [join_of("bob")]))
        self.assertEqual([n for n, _ in self.tables.read("a")], [3, 4])
        self.assert_counts()

    def test_numbers_that_are_taken(self) -> None:
        """What is written a second time stands once; what comes with an old number stands behind all the same."""
        first, second = self.batch(10, "1", "2"), self.batch(50, "b", channel="b")
        self.write(first, second)
        self.write(first, second)
        self.assertEqual((self.texts(), self.texts("b")), (["1", "2"], ["b"]))
        self.write(self.batch(5, "3"), self.batch(11, "4", "5"), self.batch(50, "6"))
        self.assertEqual(self.texts(), ["1", "2", "3", "4", "5", "6"])
        self.assert_counts()

    def numbers(self, channel: str = "a") -> list[int]:
        return [n for n, _ in self.tables.read(channel)]

    def test_same_words(self) -> None:
        """Who says the same again and again, on several channels at a time, is remembered each time, in its order."""
        self.tables = self.open(limit=1_000)
        batches = [self.batch(n, *["x"] * 10, channel="abc"[n // 10 % 3]) for n in range(1_000, 2_000, 10)]
        for first in range(0, len(batches), 7):
            self.write(*batches[first : first + 7])
        for channel in "abc":
            given = [batch.n + k for batch in batches if batch.channel == channel for k in range(10)]
            self.assertEqual(self.numbers(channel), given)
        self.assert_counts()

    def test_a_group_twice(self) -> None:
        """A group that is written again, with what has come since, stands once, with the numbers it had."""
        group = [
            *(self.batch(1000, "x"), self.batch(1001, "x", channel="b"), Batch("a", 1002, [join_of("bob")])),
            *(self.batch(1003, "x"), Batch("a", 1004, [join_of("bob")]), self.batch(1005, "x", channel="b")),
            *(self.batch(1006, "x"), self.batch(2000, *["x"] * 150, channel="c"), Batch("a", 3000, [join_of("eve")])),
        ]
        since = [self.batch(3001, "x", channel="b"), self.batch(3002, "x", "x"), self.batch(3004, "x", channel="b")]
        self.write(*group)
        for again in (group, [*group, *since], since):
            self.write(*again)
        self.assertEqual(self.numbers(), [1000, 1003, 1004, 1006, 3000, 3002, 3003])
        self.assertEqual(self.numbers("b"), [1001, 1005, 3001, 3004])
        self.assertEqual(self.numbers("c"), list(range(2050, 2150)))
        self.assert_counts()

    def test_clock_set_back(self) -> None:
        """What comes with old numbers stands behind what is there, in its order, also among what does not."""
        self.write(self.batch(1000, "1", "2"), self.batch(1010, "x", channel="b"))
        self.write(
            *(self.batch(500, "3"), self.batch(501, "x", channel="b"), self.batch(999, "4", "5", "6")),
            *(Batch("a", 1011, [join_of("bob")]), self.batch(1012, "x", channel="b"), self.batch(1013, "7")),
        )
        self.assertEqual(self.texts(), [*"123456", payload_of(join_of("bob").frame).decode(), "7"])
        self.assertEqual(self.texts("b"), ["x"] * 3)
        self.write(self.batch(1020, "8"))
        self.assertEqual(self.numbers()[-1], 1020)
        self.assert_counts()

    def test_nothing_of_it(self) -> None:
        """A transaction that fails leaves everything as it was, and the counts right."""
        self.write(self.batch(1, "1"))

        def fail() -> None:
            with self.tables.transaction():
                self.tables.append([self.batch(2, "2")])
                self.tables.forget("a")
                raise ValueError

        self.assertRaises(ValueError, fail)
        self.write(self.batch(2, "3"))
        self.assertEqual(self.texts(), ["1", "3"])
        self.assert_counts()

    def test_locked(self) -> None:
        """What cannot begin changes nothing, and can be tried again."""
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        self.database.execute("PRAGMA busy_timeout = 0")
        self.assertRaises(sqlite3.OperationalError, self.write, self.batch(1, "1"))
        other.close()
        self.write(self.batch(1, "1"))
        self.assertEqual(self.texts(), ["1"])


class ForgetTests(_TablesTests):
    """What is taken away."""

    def test_forget(self) -> None:
        """A channel is gone at once, and can be begun anew; its messages go in steps."""
        tables = self.open(limit=10_000)
        self.write(self.batch(1, *map(str, range(2_500))), self.batch(5_000, "b", channel="b"), tables=tables)
        self.write(self.batch(6_000, "new", channel="c"), tables=tables)
        with tables.transaction():
            tables.forget("a")
            tables.forget("b")
            tables.forget("nobody")
        self.write(self.batch(7_000, "again"), tables=tables)
        self.tables = tables
        self.assertEqual((self.texts(), self.texts("b"), self.texts("c")), (["again"], [], ["new"]))
        counts = []
        while tables.tidy():
            counts.append(self.database.execute("SELECT count(*) FROM messages").fetchone()[0])
        self.assertEqual(counts[:4], [1503, 503, 3, 2])
        self.assertEqual(self.database.execute("SELECT count(*) FROM channels").fetchone(), (2,))
        self.assert_counts()

    def test_interrupted(self) -> None:
        """What was not deleted when a program ended is deleted by the next one."""
        self.write(self.batch(1, "1", "2"))
        with self.tables.transaction():
            self.tables.forget("a")
        self.database.close()
        self.tables = self.open()
        self.assertTrue(self.tables.tidy())
        self.assertFalse(self.tables.tidy())
        self.assertEqual(self.database.execute("SELECT count(*) FROM messages").fetchone(), (0,))

    def test_keep(self) -> None:
        """The newest are kept, or the newer half."""
        self.write(self.batch(1, *map(str, range(10))))
        for count, gone, left in ((20, 0, 10), (10, 0, 10), (7, 3, 7)):
            with self.tables.transaction():
                self.assertEqual(self.tables.keep("a", count), gone)
            self.assertEqual(self.texts(), [str(n) for n in range(10 - left, 10)])
        with self.tables.transaction():
            self.tables.halve("a")
        self.assertEqual(self.texts(), ["7", "8", "9"])
        self.assert_counts()

    def test_shrinks(self) -> None:
        """Pages that hold nothing are given back in steps, all but a few."""
        for k in range(20):
            self.write(Batch(f"c{k}", 1 + k * 100, [said("x" * 1000) for _ in range(100)]))
        self.tables.take_over()
        full = self.tables.file_bytes()
        self.assertGreater(full, 2_000_000)
        with self.tables.transaction():
            for k in range(18):
                self.tables.forget(f"c{k}")
        sizes = [full]
        while self.tables.tidy():
            sizes.append(self.tables.file_bytes())
        self.assertTrue(all(0 <= before - after <= 256 * 4096 for before, after in pairwise(sizes)))
        self.assertLess(self.path.stat().st_size, full // 3)
        self.assertTrue(self.tables.is_intact())

    def test_probe(self) -> None:
        """Trying whether something can be written leaves nothing that anybody sees, any number of times."""
        sizes = []
        for _ in range(5):
            with self.tables.transaction():
                self.tables.probe()
            sizes.append(self.tables.file_bytes())
        self.assertEqual(len(set(sizes[1:])), 1)
        self.assertEqual(self.tables.channels(), [])


class OutsideTests(_TablesTests):
    """Two programs on one file."""

    def test_seen(self) -> None:
        """What another program has changed is noticed once, what this one has changed is not."""
        other = self.open()
        self.write(self.batch(1, "1"))
        self.assertFalse(self.tables.changed_outside())
        self.write(self.batch(2, "2"), tables=other)
        self.assertTrue(self.tables.changed_outside())
        self.assertFalse(self.tables.changed_outside())

    def test_counts(self) -> None:
        """Programs that write in turn do not lose count, also of channels that are new or forgotten."""
        other = self.open()
        for n in range(1, 40):
            self.write(self.batch(10 * n, f"{n}"), tables=(self.tables, other)[n % 2])
            self.assert_counts()
        with other.transaction():
            other.forget("a")
        self.write(self.batch(1_000, "new"))
        self.assertEqual(self.texts(), ["new"])
        self.assert_counts()

    def test_lay_in(self) -> None:
        """Older messages go where they belong, once; where a number is taken, a place or two behind."""
        self.write(self.batch(10, "10", channel="b"), self.batch(15, "15"), self.batch(20, "20"))
        rows = [(9, said("9")), (10, said("10")), (15, said("15")), (17, said("17")), (30, said("30"))]
        for new in (4, 0):
            with self.tables.transaction():
                self.assertEqual(self.tables.lay_in("a", rows), new)
            self.assertEqual([n for n, _ in self.tables.read("a")], [9, 11, 15, 17, 20, 30])
            self.assertEqual(self.texts(), ["9", "10", "15", "17", "20", "30"])
        self.assertEqual(self.texts("b"), ["10"])
        self.assert_counts()
        self.write(self.batch(25, "later"))
        self.assertEqual(self.texts()[-2:], ["30", "later"])
