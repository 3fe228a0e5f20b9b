"""The file of a history on SQLite: how it is opened, what is in it, and how older ones are brought up to date.

The schema has a number, `PRAGMA user_version`; each migration leads from one number to the next, in one transaction.
Nothing here knows who uses the file.

    channels   id, name, last, count, bytes     one row a channel; without a name: forgotten, its messages are going
    messages   n, channel, uid, is_join, frame  one row a message, in their order
    meta       name, value                      what was written to find out whether it can be

`n` is the microsecond since 1970 in which a message was taken, or one more than that of the message before: it is
unique and grows, so that two files can be laid together.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mles_tx.channels.history import HistoryError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "ChannelRow", "Migration", "connect", "create", "user_version"]

#: Marks the file as one of ours (`PRAGMA application_id`, shown by file(1)): "MLES".
APPLICATION_ID = 0x4D4C4553

#: Pages the journal may have before it is taken over into the file: 1 MiB. Small, so that little is to be synced at a
#: time, and that a small disk has room for it.
_CHECKPOINT_PAGES = 256

#: Bytes of the journal that stay allocated.
_JOURNAL_BYTES = 4 * 1024 * 1024


class ChannelRow(NamedTuple):
    """One channel as it stands in the file.

    Attributes:
        name: its name.
        last: the number of the newest message it ever had: microseconds since 1970.
        messages: how many messages it has.
        bytes: bytes of their frames.
    """

    name: str
    last: int
    messages: int
    bytes: int


#: Changes the schema from one number to the next, within a transaction.
Migration = Callable[[sqlite3.Connection], None]


def _first(database: sqlite3.Connection) -> None:
    for statement in (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
        "CREATE TABLE channels (id INTEGER PRIMARY KEY, name TEXT UNIQUE, last INTEGER NOT NULL,"
        " count INTEGER NOT NULL, bytes INTEGER NOT NULL)",
        "CREATE TABLE messages (n INTEGER PRIMARY KEY, channel INTEGER NOT NULL, uid TEXT NOT NULL,"
        " is_join INTEGER NOT NULL, frame BLOB NOT NULL)",
        "CREATE INDEX by_channel ON messages (channel)",  # and by n: that is what the rows are numbered by
        "CREATE INDEX joins ON messages (channel, uid) WHERE is_join",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ):
        database.execute(statement)


#: What leads from each number of the schema to the next. Never changed, only added to.
MIGRATIONS: Sequence[Migration] = (_first,)


def create(path: Path) -> bool:
    """Make the file, empty and for its owner alone, if it is not there.

    Returns:
        Whether it was made.

    Raises:
        HistoryError: there is something else.
        OSError: it cannot be made.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)  # else a power cut may take the file, and what is synced in it
        finally:
            os.close(directory)
        return True
    if not stat.S_ISREG(found.st_mode):
        raise HistoryError(f"{path}: not an ordinary file; give another one")
    return False


def connect(
    path: Path, *, full_sync: bool = False, busy_seconds: float = 0.25, migrations: Sequence[Migration] = MIGRATIONS
) -> sqlite3.Connection:
    """Open a file that is there, and bring its schema up to date.

    Args:
        path: the file.
        full_sync: whether a commit is on disk when it returns, also after a power cut.
        busy_seconds: how long to wait for other programs that write to it.
        migrations: to be left as it is, but in tests.

    Returns:
        A connection in autocommit mode: transactions are begun by hand. It may be used by one thread at a time.

    Raises:
        HistoryError: it is a database of something else, or of a newer version of this program.
        sqlite3.Error: anything else.
    """
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    database.text_factory = _text
    try:
        _prepare(database, path, migrations)
        database.execute(f"PRAGMA synchronous = {'FULL' if full_sync else 'NORMAL'}")
    except BaseException:
        database.close()
        raise
    return database


def _text(stored: bytes) -> str:
    """A text as it stands in the file; bytes that are none are shown as such: the rest can be used."""
    return stored.decode("utf-8", "replace")


def user_version(database: sqlite3.Connection) -> int:
    """The number of the schema a file has; 0: it is empty."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _prepare(database: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    version = user_version(database)
    newest = len(migrations)
    if version > newest:
        raise HistoryError(
            f"{path}: written by a newer version of mles_tx (its schema is {version}, the newest known here"
            f" {newest}); upgrade, or give another file"
        )
    (application,) = database.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise HistoryError(f"{path}: a database of another program; give another file")
    if not version:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table is made
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    database.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
    database.execute("PRAGMA secure_delete = FAST")
    if version < newest:
        database.execute("PRAGMA synchronous = FULL")
        _migrate(database, migrations)


def _migrate(database: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        # Another program may have done it while this one waited.
        for number in range(user_version(database), len(migrations)):
            migrations[number](database)
            database.execute(f"PRAGMA user_version = {number + 1}")
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise
