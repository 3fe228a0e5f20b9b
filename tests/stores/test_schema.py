"""Tests of the file and its schema."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import MAX_CHANNEL_BYTES, HistoryError
from mles_tx.stores.schema import APPLICATION_ID, MIGRATIONS, Migration, connect, create, user_version
from mles_tx.stores.tables import Batch, Tables
from tests.channels.fakes import said


def _second(database: sqlite3.Connection) -> None:
    """A migration there may be one day."""
    database.execute("ALTER TABLE channels ADD COLUMN topic TEXT NOT NULL DEFAULT 'none'")


def _fails(database: sqlite3.Connection) -> None:
    database.execute("CREATE TABLE half (x)")
    raise sqlite3.OperationalError("out of luck")


class SchemaTests(SynchronousTestCase):
    """Opening."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.path = self.directory / "history.db"

    def open(self, migrations: Sequence[Migration] = MIGRATIONS) -> sqlite3.Connection:
        database = connect(self.path, migrations=migrations)
        self.addCleanup(database.close)
        return database

    def pragma(self, database: sqlite3.Connection, name: str) -> object:
        return database.execute(f"PRAGMA {name}").fetchone()[0]

    def test_create(self) -> None:
        """The file is made for its owner alone, whatever the umask, and only once."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.assertTrue(create(self.path))
        self.assertEqual(self.path.stat().st_mode & 0o7777, 0o600)
        self.open().execute("INSERT INTO channels (name, last, count, bytes) VALUES ('a', 0, 0, 0)")
        self.assertFalse(create(self.path))
        self.assertEqual(self.path.with_name("history.db-wal").stat().st_mode & 0o7777, 0o600)

    def test_new(self) -> None:
        """A new file has the newest schema, is marked as ours and can be made smaller."""
        create(self.path)
        database = self.open()
        self.assertEqual(user_version(database), len(MIGRATIONS))
        self.assertEqual(self.pragma(database, "application_id"), APPLICATION_ID)
        self.assertEqual(self.pragma(database, "auto_vacuum"), 2)
        self.assertEqual(self.pragma(database, "journal_mode"), "wal")
        self.assertEqual(self.pragma(database, "synchronous"), 1)
        database.close()
        full = connect(self.path, full_sync=True)
        self.addCleanup(full.close)
        self.assertEqual(self.pragma(full, "synchronous"), 2)

    def test_migration(self) -> None:
        """A file of an older version is brought up to date, once, with all that is in it."""
        create(self.path)
        database = self.open()
        tables = Tables(database, 100, MAX_CHANNEL_BYTES)
        with tables.transaction():
            tables.append([Batch("example", 1, [said("1"), said("2")])])
        database.close()
        for _ in range(2):
            database = self.open((*MIGRATIONS, _second))
            self.assertEqual(user_version(database), len(MIGRATIONS) + 1)
            self.assertEqual(database.execute("SELECT name, topic FROM channels").fetchall(), [("example", "none")])
            self.assertEqual(len(Tables(database, 100, MAX_CHANNEL_BYTES).read("example")), 2)
            database.close()

    def test_migration_that_fails(self) -> None:
        """A migration is done as a whole or not at all."""
        create(self.path)
        self.open().close()
        with self.assertRaises(sqlite3.OperationalError):
            self.open((*MIGRATIONS, _second, _fails))
        database = self.open()
        self.assertEqual(user_version(database), len(MIGRATIONS))
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        self.assertEqual(sorted(names), ["channels", "messages", "meta"])

    def test_newer(self) -> None:
        """A file of a newer version is refused as it is, with what can be done."""
        create(self.path)
        self.open((*MIGRATIONS, _second)).close()
        before = self.path.read_bytes()
        error = self.assertRaises(HistoryError, self.open)
        self.assertEqual(
            str(error),
            f"{self.path}: written by a newer version of mles_tx (its schema is {len(MIGRATIONS) + 1}, the newest known"
            f" here {len(MIGRATIONS)}); upgrade, or give another file",
        )
        self.assertEqual(self.path.read_bytes(), before)

    def test_strange_names(self) -> None:
        """A file may be called anything."""
        for name in ("a b.db", "50%?mode=ro#x.db", "grüße.db", "'.db"):
            self.path = self.directory / name
            create(self.path)
            self.assertEqual(user_version(self.open()), len(MIGRATIONS))
            self.assertTrue(self.path.stat().st_size)
