"""The file of a history in use: locked, opened, watched, and begun anew when it is broken or gone.

Everything here but `open` runs in the one thread of the store. What fails is a `StoreFault`, and the next call
opens the file again.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mles_tx.channels.history import HistoryError, Message

from .faults import BrokenContentError, FileReplaced, StoreFault, code_of, fault_of, is_corrupt
from .schema import ChannelRow, connect, create
from .tables import Batch, Tables

__all__ = ["Change", "Report", "Writer"]

#: A change to the tables: messages to be written, or something to be done within the same transaction.
Change = Batch | Callable[[Tables], object]


class Report(NamedTuple):
    """How the file is after something was done.

    Attributes:
        file_bytes: what the file takes.
        channels: all channels, when another program has changed the file; else None.
        has_more: whether there is more to be tidied.
    """

    file_bytes: int
    channels: list[ChannelRow] | None
    has_more: bool = False


#: What every database of SQLite begins with.
_MAGIC = b"SQLite format 3\0"


class Writer:
    """One file, from the lock that keeps other servers off it to the last commit.

    Args:
        path: the file.
        limit: messages a channel holds.
        max_bytes: bytes of frames a channel holds.
        full_sync: whether what is written is on disk, also after a power cut, when `write` returns.
        wall_clock: seconds since 1970, for the names of files that are set aside.
    """

    def __init__(
        self,
        path: Path,
        limit: int,
        max_bytes: int,
        full_sync: bool,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self.limit = limit
        self._max_bytes = max_bytes
        self._full_sync = full_sync
        self._wall_clock = wall_clock
        self._lock: int | None = None
        self._database: sqlite3.Connection | None = None
        self._tables: Tables | None = None
        self._identity: tuple[int, int] | None = None  # of the file that was in use last
        self._journal: tuple[int, int] | None = None  # and of its journal
        self._generation = 0  # which file it is, of those that were in use
        self._is_gone = False  # there is another one
        self._is_reopened = False  # and may have been changed while it was not open
        self._is_begun = False  # from then on nothing is the operator's mistake

    def open(self) -> list[ChannelRow]:
        """Begin with the file: made if it is not there.

        Returns:
            Its channels, the least recently used first.

        Raises:
            HistoryError: somebody has to do something about it first.
            StoreFault: it may become usable by itself.
            FileReplaced: it was broken, and an empty one has taken its place.
        """
        directory = self._path.parent
        if not directory.is_dir():
            raise HistoryError(f"{self._path}: there is no directory {directory}; make it, for its owner alone")
        for found, wanted in ((directory, os.W_OK | os.X_OK), (self._path, os.R_OK | os.W_OK)):
            if found.exists() and not os.access(found, wanted):
                raise HistoryError(f"{self._path}: user {os.geteuid()} cannot write to {found}; change who owns it")
        if self._is_foreign():
            raise HistoryError(f"{self._path}: that is no history, and never was one; give another file")
        with self._faults():
            channels = self._use().channels()
        self._is_begun = True
        self._is_reopened = False
        return channels

    def write(self, changes: Sequence[Change], generation: int) -> Report:
        """Make changes, all of them or none.

        Args:
            changes: the changes.
            generation: the number of the file they are for: 0, or that of the last `FileReplaced`.

        Raises:
            StoreFault: they could not be made.
            FileReplaced: nor were these, and an empty file has taken the place of the one that was there.
        """
        with self._faults():
            tables = self._use()
            if generation != self._generation:
                raise FileReplaced("the file was replaced", self._generation)
            with tables.transaction():
                _make(tables, changes)
            return self._report(tables)

    def look(self) -> Report:
        """See how the file is, and take a step to tidy it.

        Raises:
            StoreFault: that could not be done.
            FileReplaced: an empty file has taken the place of the one that was there.
        """
        with self._faults():
            tables = self._use()
            has_more = tables.tidy()
            return self._report(tables)._replace(has_more=has_more)

    def read(self, name: str, before: int | None) -> list[tuple[int, Message]]:
        """The newest messages of a channel with their numbers, oldest first.

        Raises:
            StoreFault: they cannot be read.
            FileReplaced: nor can they ever.
        """
        with self._faults():
            return self._use().read(name, before, self.limit)

    def close(self) -> None:
        """Sync the file, and let go of it.

        Raises:
            StoreFault: it could not be synced; it is let go of all the same.
        """
        try:
            if self._tables is not None:
                with self._faults():
                    self._tables.take_over()
        finally:
            self._let_go()
            self._identity = None
            self._is_begun = False
            self._give_lock_back()

    # -- the file

    def _use(self) -> Tables:
        """The tables of the file that is there now."""
        if self._tables is not None:
            if self._identity == _identity(self._path):
                self._tables.limit = self.limit
                return self._tables
            self._let_go()
            self._is_gone = True
            self._drop_journal()
        self._take_lock()
        before = self._identity
        self._is_gone |= create(self._path) or before != _identity(self._path)
        tables = self._connect()
        is_gone, self._is_gone = self._is_gone, False
        if is_gone and before is not None:
            self._generation += 1
            raise FileReplaced("the file was taken away", self._generation)
        return tables

    def _connect(self) -> Tables:
        self._database = connect(self._path, full_sync=self._full_sync)
        self._identity = _identity(self._path)
        self._tables = Tables(self._database, self.limit, self._max_bytes)
        self._is_reopened = True
        return self._tables

    def _is_foreign(self) -> bool:
        """Whether another kind of file stands there. One of ours that is broken has its lock beside it."""
        if not self._path.is_file():
            return False  # to open a pipe would wait for ever
        try:
            with self._path.open("rb") as opened:
                magic = opened.read(len(_MAGIC))
        except OSError:
            return False  # what is wrong will be told
        return magic not in (b"", _MAGIC) and not self._lock_path.exists()

    @property
    def _lock_path(self) -> Path:
        return Path(f"{self._path}.lock")

    def _drop_journal(self) -> None:
        """The file was taken away and its journal left: it must not be taken for that of the next file."""
        journal = Path(f"{self._path}-wal")
        if self._journal is not None and self._journal == _identity(journal):
            journal.unlink()
            Path(f"{self._path}-shm").unlink(missing_ok=True)

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        # A file of its own: closing any descriptor of the database would give back SQLite's own locks.
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise HistoryError(f"{self._path}: another server uses it; give each server a file of its own") from None
        except BaseException:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def _give_lock_back(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _report(self, tables: Tables) -> Report:
        self._journal = _identity(Path(f"{self._path}-wal"))
        changed = tables.changed_outside() or self._is_reopened
        self._is_reopened = False
        return Report(tables.file_bytes(), tables.channels() if changed else None)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Say what fails in words; a broken file is set aside."""
        try:
            yield
        except HistoryError as error:
            self._let_go()
            if not self._is_begun:
                self._give_lock_back()
                raise
            raise StoreFault(str(error)) from None
        except (sqlite3.Error, BrokenContentError, UnicodeDecodeError) as error:
            self._is_begun = True
            if is_corrupt(error):
                self._begin_anew()
            if not isinstance(error, sqlite3.Error) or code_of(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
                self._let_go()
            raise fault_of(error) from None
        except OSError as error:
            self._is_begun = True
            self._let_go()
            raise fault_of(error) from None

    def _begin_anew(self) -> None:
        """Set a broken file aside, with its journal, and begin an empty one."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._wall_clock()))
        aside, number = f"{self._path}.corrupt-{stamp}", 1
        while Path(aside).exists():
            number += 1
            aside = f"{self._path}.corrupt-{stamp}-{number}"
        try:
            # While it is still open: when it is closed, its journal goes.
            for suffix in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
            self._let_go()
            create(self._path)
            self._connect()
        except (sqlite3.Error, OSError) as error:
            self._let_go()
            raise fault_of(error) from None
        self._generation += 1
        raise FileReplaced(f"the file was broken, and is now {aside}", self._generation)

    def _let_go(self) -> None:
        database, self._database, self._tables = self._database, None, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, whatever it is called; None: there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _make(tables: Tables, changes: Sequence[Change]) -> None:
    """Make changes in their order, within a transaction."""
    batches: list[Batch] = []
    for change in changes:
        if isinstance(change, Batch):
            batches.append(change)
        else:
            tables.append(batches)
            batches.clear()
            change(tables)
    tables.append(batches)
