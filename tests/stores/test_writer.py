"""Tests of a file in use."""

import os
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import MAX_CHANNEL_BYTES, HistoryError
from mles_tx.protocol.frames import payload_of
from mles_tx.stores.faults import FileReplaced, StoreFault
from mles_tx.stores.tables import Batch, Tables
from mles_tx.stores.writer import Writer
from tests.channels.fakes import said


class WriterTests(SynchronousTestCase):
    """One file."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.path = self.directory / "history.db"

    def writer(self) -> Writer:
        writer = Writer(self.path, 100, MAX_CHANNEL_BYTES, full_sync=False, wall_clock=lambda: 0.0)
        self.addCleanup(writer.close)
        return writer

    def opened(self) -> Writer:
        writer = self.writer()
        writer.open()
        return writer

    def batch(self, n: int, *texts: str, channel: str = "a") -> Batch:
        return Batch(channel, n, [said(text) for text in texts])

    def texts(self, writer: Writer, channel: str = "a") -> list[str]:
        return [payload_of(message.frame).decode() for _, message in writer.read(channel, None)]

    def test_life(self) -> None:
        """A file is made, written to, let go of and found again, with nothing else left in its directory."""
        writer = self.writer()
        self.assertEqual(writer.open(), [])
        report = writer.write([self.batch(1, "1"), self.batch(2, "2", channel="b")], 0)
        self.assertEqual((report.channels, report.has_more), (None, False))
        self.assertGreater(report.file_bytes, 4096)
        writer.close()
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), ["history.db", "history.db.lock"])
        rows = writer.open()
        self.assertEqual([(row.name, row.last, row.messages) for row in rows], [("a", 1, 1), ("b", 2, 1)])
        self.assertEqual(self.texts(writer), ["1"])

    def test_changes_in_order(self) -> None:
        """Changes of all kinds take effect in their order, together."""
        writer = self.opened()
        writer.write([self.batch(1, "1"), lambda tables: tables.forget("a"), self.batch(2, "2"), self.batch(3, "3")], 0)
        self.assertEqual(self.texts(writer), ["2", "3"])

        def fail(tables: Tables) -> None:
            raise sqlite3.OperationalError("out of luck")

        self.assertRaises(StoreFault, writer.write, [self.batch(4, "4"), fail], 0)
        self.assertEqual(self.texts(writer), ["2", "3"])

    def test_lock(self) -> None:
        """A file is one writer's, until that has closed it."""
        first, second = self.opened(), self.writer()
        self.assertRaises(HistoryError, second.open)
        self.assertRaises(HistoryError, second.open)
        first.close()
        second.open()

    def test_replaced(self) -> None:
        """A file that is taken away, or exchanged, is noticed before anything is written into its place."""
        writer = self.opened()
        writer.write([self.batch(1, "1")], 0)
        self.path.unlink()
        replaced = self.assertRaises(FileReplaced, writer.write, [self.batch(2, "2")], 0)
        self.assertEqual((replaced.why, replaced.generation), ("the file was taken away", 1))
        # What was on its way when that was found out was for the old file.
        self.assertRaises(FileReplaced, writer.write, [self.batch(2, "2")], 0)
        self.assertEqual(writer.read("a", None), [])
        self.assertEqual(writer.write([self.batch(2, "2")], 1).channels, writer.open())
        other = Writer(self.directory / "other.db", 100, MAX_CHANNEL_BYTES, full_sync=False)
        other.open()
        other.write([self.batch(7, "7", channel="z")], 0)
        other.close()
        (self.directory / "other.db").rename(self.path)
        self.assertRaises(FileReplaced, writer.look)
        report = writer.look()
        assert report.channels is not None
        self.assertEqual([row.name for row in report.channels], ["z"])

    def test_broken(self) -> None:
        """A file that is broken is set aside with its journal, and each of them under a name of its own."""
        for name in ("history.db.corrupt-19700101T000000Z", "history.db.corrupt-19700101T000000Z-2"):
            self.path.write_bytes(b"no database" * 100)
            writer = self.writer()
            Path(f"{self.path}.lock").touch()  # it was in use once
            replaced = self.assertRaises(FileReplaced, writer.open)
            self.assertEqual(replaced.why, f"the file was broken, and is now {self.directory / name}")
            self.assertEqual((self.directory / name).read_bytes(), b"no database" * 100)
            writer.write([self.batch(1, "1")], replaced.generation)
            self.assertEqual(self.texts(writer), ["1"])
            writer.close()

    def test_directory_taken_away(self) -> None:
        """Without its directory a file cannot be used; with it, it can again."""
        writer = self.opened()
        aside = self.directory.with_name(self.directory.name + "-aside")
        self.directory.rename(aside)
        self.assertRaises(StoreFault, writer.write, [self.batch(1, "1")], 0)
        self.assertRaises(StoreFault, writer.look)
        self.assertRaises(StoreFault, writer.read, "a", None)
        self.directory.mkdir()
        self.assertRaises(FileReplaced, writer.write, [self.batch(1, "1")], 0)
        writer.write([self.batch(1, "1")], 1)
        self.assertEqual(self.texts(writer), ["1"])

    def test_not_allowed(self) -> None:
        """What the user may not write to is refused at the start, with the user and the place."""
        self.opened().close()
        allowed = self.patch(os, "access", lambda path, mode: path != self.path)
        error = self.assertRaises(HistoryError, self.writer().open)
        allowed.restore()
        self.assertEqual(
            str(error), f"{self.path}: user {os.geteuid()} cannot write to {self.path}; change who owns it"
        )

    def test_newer_meanwhile(self) -> None:
        """A file that a newer version has taken over meanwhile is a fault like others: the server goes on."""
        writer = self.opened()
        database = sqlite3.connect(self.path)
        database.execute("PRAGMA user_version = 99")
        database.close()
        writer._let_go()
        fault = self.assertRaises(StoreFault, writer.write, [self.batch(1, "1")], 0)
        self.assertIn("written by a newer version", str(fault))
