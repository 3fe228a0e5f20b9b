"""Tests of what is said about faults."""

import errno
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.faults import BrokenContentError, FileReplaced, code_of, fault_of, is_corrupt


class FaultTests(SynchronousTestCase):
    """Words."""

    def error(self, code: int) -> sqlite3.Error:
        error = sqlite3.OperationalError("x")
        error.sqlite_errorcode = code
        error.sqlite_errorname = f"SQLITE_{code}"
        return error

    def test_sqlite(self) -> None:
        """Errors of SQLite are told in words; its extended codes count as what they extend."""
        for code, text in (
            (sqlite3.SQLITE_FULL, "the disk is full"),
            (sqlite3.SQLITE_READONLY_DIRECTORY, "it cannot be written to"),
            (sqlite3.SQLITE_BUSY_SNAPSHOT, "another program has it locked"),
            (sqlite3.SQLITE_IOERR_FSYNC, "the disk failed"),
            (sqlite3.SQLITE_CANTOPEN, "it cannot be opened"),
            (sqlite3.SQLITE_MISUSE, "SQLite says SQLITE_21"),
        ):
            self.assertEqual(str(fault_of(self.error(code))), text)
        self.assertEqual(str(fault_of(sqlite3.ProgrammingError("x"))), "SQLite says no more")
        self.assertEqual(code_of(sqlite3.ProgrammingError("x")), 0)

    def test_system(self) -> None:
        """So are those of the system."""
        for number, text in (
            (errno.ENOSPC, "the disk is full"),
            (errno.EROFS, "it cannot be written to"),
            (errno.EACCES, "permission denied"),
        ):
            self.assertEqual(str(fault_of(OSError(number, "Permission denied"))), text)
        self.assertEqual(str(fault_of(OSError())), "it cannot be used")

    def test_content(self) -> None:
        """A file is broken as well when it holds what no server has written, or text that is none."""
        unreadable = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        for error in (BrokenContentError("x"), unreadable):
            self.assertTrue(is_corrupt(error))
            self.assertEqual(str(fault_of(error)), "it is broken")

    def test_corrupt(self) -> None:
        """A broken file is told from one that cannot be used."""
        path = Path(self.mktemp())
        path.write_bytes(b"no database" * 1000)
        database = sqlite3.connect(path)
        error = self.assertRaises(sqlite3.DatabaseError, database.execute, "SELECT * FROM sqlite_master")
        database.close()
        self.assertTrue(is_corrupt(error))
        self.assertTrue(is_corrupt(self.error(sqlite3.SQLITE_CORRUPT_INDEX)))
        self.assertFalse(is_corrupt(self.error(sqlite3.SQLITE_FULL)))
        self.assertFalse(is_corrupt(OSError(errno.EIO, "x")))

    def test_replaced(self) -> None:
        """A file that was replaced says why."""
        self.assertEqual((FileReplaced("gone", 7).why, str(FileReplaced("gone", 7))), ("gone", "gone"))
