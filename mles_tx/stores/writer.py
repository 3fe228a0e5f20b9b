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

from .faults import FileReplaced, StoreFault, fault_of, is_corrupt
from .schema import connect, create
from .tables import Batch, ChannelRow, Tables

__all__ = ["Change", "Report", "Writer"]

#: A change to the tables: messages to be written, or something to be done within the same transaction.
Change = Batch | Callable[[Tables], object]


class Report(NamedTuple):
    """How the file is after something was done.

    Attributes:
        used: bytes of the file that hold something.
        channels: all channels, when another program has changed the file; else None.
        has_more: whether there is more to be tidied.
    """

    used: int
    channels: list[ChannelRow] | None
    has_more: bool = False


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
        with self._faults():
            channels = self._use().channels()
        self._is_begun = True
        return channels

    def write(self, changes: Sequence[Change]) -> Report:
        """Make changes, all of them or none.

        Raises:
            StoreFault: they could not be made.
            FileReplaced: nor were these, and an empty file has taken the place of the one that was there.
        """
        with self._faults():
            tables = self._use()
            with tables.transaction():
                batches: list[Batch] = []
                for change in changes:
                    if isinstance(change, Batch):
                        batches.append(change)
                    else:
                        tables.append(batches)
                        batches.clear()
                        change(tables)
                tables.append(batches)
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

    def channels(self) -> list[ChannelRow]:
        """All channels, the least recently used first.

        Raises:
            StoreFault: they cannot be read.
            FileReplaced: nor can they ever.
        """
        with self._faults():
            return self._use().channels()

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
            if self._identity == self._identity_now():
                self._tables.limit = self.limit
                return self._tables
            self._let_go()
        before = self._identity
        self._take_lock()
        tables = self._connect()
        if before not in (None, self._identity):
            raise FileReplaced("the file was taken away")
        return tables

    def _connect(self) -> Tables:
        create(self._path)
        self._database = connect(self._path, full_sync=self._full_sync)
        self._identity = self._identity_now()
        self._tables = Tables(self._database, self.limit, self._max_bytes)
        return self._tables

    def _identity_now(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        # A file of its own: closing any descriptor of the database would give back SQLite's own locks.
        name = f"{self._path}.lock"
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
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
        return Report(tables.space().used, tables.channels() if tables.changed_outside() else None)

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
        except sqlite3.Error as error:
            self._is_begun = True
            if is_corrupt(error):
                self._begin_anew()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
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
            self._connect()
        except (sqlite3.Error, OSError) as error:
            self._let_go()
            raise fault_of(error) from None
        raise FileReplaced(f"the file was broken, and is now {aside}")

    def _let_go(self) -> None:
        database, self._database, self._tables = self._database, None, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()
