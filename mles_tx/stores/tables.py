"""What is done to the tables of a history on SQLite: messages written, read, counted and forgotten.

Everything here waits for the disk, and runs in a thread or in a program of its own. A statement is worth many rows:
between two statements the thread may have to wait for the one of the reactor.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from mles_tx.channels.history import Message
from mles_tx.protocol.frames import is_message

from .faults import BrokenContentError
from .schema import ChannelRow

__all__ = ["Batch", "Tables"]

#: Rows one statement inserts, at most; five values each, and SQLite takes 32,766 of them.
_ROWS = (256, 32, 8, 1)

#: Rows that are looked at or deleted in one step: some milliseconds.
_STEP_ROWS = 1000

#: Pages that are given back to the file system in one step.
_STEP_PAGES = 256

#: Of a file this share of pages, and so many more, may be free for what comes next.
_FREE_SHARE = 16
_FREE_PAGES = 64

#: Channels whose counts are kept at hand.
_KNOWN = 100_000

#: Bytes that are written to find out whether anything can be: more than a page.
_PROBE_BYTES = 8192


#: No message has a higher number than that, for a hundred thousand years.
_HIGHEST = 2**62

#: The types of a row of channels.
_CHANNEL_TYPES = (str, int, int, int)


class Batch(NamedTuple):
    """Messages of one channel to be written.

    Attributes:
        channel: the channel's name.
        n: the number of the first message; the others follow on it.
        messages: the messages, at least one.
    """

    channel: str
    n: int
    messages: Sequence[Message]


def _check_number(n: int) -> None:
    """Look whether a message can have a number: those of the next ones are higher."""
    if n > _HIGHEST:
        raise BrokenContentError(f"a message has the number {n}")


class _Known:
    """A channel in the file: its id, how much it holds."""

    __slots__ = ("bytes", "count", "id", "last")

    def __init__(self, id: int, last: int, count: int, bytes: int) -> None:
        self.id = id
        self.last = last
        self.count = count
        self.bytes = bytes


def _insert(rows: int) -> str:
    values = ",".join(["(?,?,?,?,?)"] * rows)
    return f"INSERT INTO messages (channel, n, uid, is_join, frame) VALUES {values}"


_INSERT = {rows: _insert(rows) for rows in _ROWS}


class Tables:
    """The tables of one file.

    Args:
        database: a connection in autocommit mode.
        limit: messages a channel holds, about: the oldest go in steps, some are still there.
        max_bytes: bytes of frames, likewise.
    """

    def __init__(self, database: sqlite3.Connection, limit: int, max_bytes: int) -> None:
        self._database = database
        self.limit = limit
        self._max_bytes = max_bytes
        self._known: dict[str, _Known] = {}
        self._newest = 0  # the highest number in the file, once it was looked at
        self._version = self._data_version()
        self._is_changed = False
        self._has_shrunk = False
        self._has_forgotten = True  # unless a look has found none

    # -- in transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of something, or nothing of it; nobody else writes meanwhile."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._look_outside()
            if not self._known:
                (self._newest,) = self._database.execute("SELECT ifnull(max(n), 0) FROM messages").fetchone()
                _check_number(self._newest)
            yield
            self._database.execute("COMMIT")
        except BaseException:
            self._known.clear()
            if self._database.in_transaction:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
            raise

    def changed_outside(self) -> bool:
        """Whether another program has written to the file since this was asked last."""
        self._look_outside()
        changed, self._is_changed = self._is_changed, False
        return changed

    def append(self, batches: Sequence[Batch]) -> None:
        """Write messages, within a transaction. Of what is too much for its channel, only the end.

        Batches that are written for a second time, alone or with what has come since, stand once.
        """
        by_channel: dict[str, list[Batch]] = {}
        for batch in self._numbered(self._kept(batches)):
            by_channel.setdefault(batch.channel, []).append(batch)
        for name, runs in by_channel.items():
            self._append(name, runs)

    def _kept(self, batches: Sequence[Batch]) -> list[Batch]:
        """What its channel remembers when all of it is written."""
        left: dict[str, int] = {}
        joined: set[tuple[str, str]] = set()
        kept: list[Batch] = []
        for batch in reversed(batches):
            name, n, messages = batch
            keep = left.get(name, self.limit)
            if not keep:
                continue
            if messages[0].is_join:  # it comes alone
                join = name, messages[0].uid
                if join in joined:
                    continue
                joined.add(join)
            if len(messages) > keep:
                n += len(messages) - keep
                messages = messages[len(messages) - keep :]
                batch = Batch(name, n, messages)
            left[name] = keep - len(messages)
            kept.append(batch)
        kept.reverse()
        return kept

    def _numbered(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """What is to be written of batches, with their numbers: those that are given, if they grow.

        They grow from channel to channel, not within each of them: so they are looked at before channels are.
        """
        for batch in batches:
            if batch.n > self._newest:
                self._newest = batch.n + len(batch.messages) - 1
                yield batch
                continue
            # Either the clock was set back while the file could not be read, or this is tried for a second time and
            # had been written at the first. What is numbered here is written later: it is not found.
            id = self._channel(batch.channel).id
            for n, message in enumerate(batch.messages, batch.n):
                if self._at(n) != (id, message.frame, message.uid):
                    self._newest = max(self._newest + 1, n)
                    yield Batch(batch.channel, self._newest, [message])

    def _append(self, name: str, runs: list[Batch]) -> None:
        known = self._channel(name)
        for run in runs:
            if run.messages[0].is_join:
                self._take_out_join(known, run.messages[0].uid)
        values: list[Any] = []
        for run in runs:
            for n, message in enumerate(run.messages, run.n):
                values += (known.id, n, message.uid, message.is_join, message.frame)
                known.bytes += len(message.frame)
                known.last = n
        count = len(values) // 5
        at = 0
        for rows in _ROWS:
            while count >= rows:
                self._database.execute(_INSERT[rows], values[at : at + 5 * rows])
                at += 5 * rows
                count -= rows
        known.count += len(values) // 5
        if len(values) == 5 * self.limit:
            # What stood there before is too much, all of it.
            self._database.execute("DELETE FROM messages WHERE channel = ? AND n < ?", (known.id, values[1]))
            known.count, known.bytes = len(values) // 5, sum(map(len, values[4::5]))
        elif known.count > self.limit + min(self.limit // 4, _STEP_ROWS) or known.bytes > self._max_bytes * 5 // 4:
            self._trim(known)
        self._write_counts(known)

    def lay_in(self, name: str, rows: Iterable[tuple[int, Message]]) -> int:
        """Add messages of any age, within a transaction; those that are there already stay as they are.

        Of a uid's join frames the newest stays.

        Returns:
            How many are new.
        """
        known = self._channel(name)
        before = known.count
        for given, message in rows:
            n = given
            while (found := self._at(n)) not in (None, (known.id, message.frame, message.uid)):
                n += 1
            if found is None and not (message.is_join and self._has_joined_behind(known, message.uid, n)):
                if message.is_join:
                    self._take_out_join(known, message.uid)
                self._database.execute(_INSERT[1], (known.id, n, message.uid, message.is_join, message.frame))
                known.count += 1
                known.bytes += len(message.frame)
                known.last = max(known.last, n)
                self._newest = max(self._newest, n)
        self._write_counts(known)
        return known.count - before

    def _has_joined_behind(self, known: _Known, uid: str, n: int) -> bool:
        """Whether there is a newer join frame."""
        query = "SELECT 1 FROM messages WHERE channel = ? AND uid = ? AND is_join AND n > ?"
        return self._database.execute(query, (known.id, uid, n)).fetchone() is not None

    def _at(self, n: int) -> tuple[int, bytes, str] | None:
        """Whose message has a number, and what it says."""
        found: tuple[int, bytes, str] | None = self._database.execute(
            "SELECT channel, frame, uid FROM messages WHERE n = ?", (n,)
        ).fetchone()
        return found

    def forget(self, name: str) -> None:
        """Forget a channel, within a transaction: at once for everybody, on disk in steps."""
        # Without a name there may be many.
        self._database.execute("UPDATE channels SET name = NULL WHERE name = ?", (name,))
        self._known.pop(name, None)
        self._has_forgotten = True

    def keep(self, name: str, count: int) -> int:
        """Of what a channel holds keep so many messages, the newest, within a transaction.

        Returns:
            How many went.
        """
        known = self._channel(name)
        before = known.count
        found = self._database.execute(
            "SELECT n FROM messages WHERE channel = ? ORDER BY n DESC LIMIT 1 OFFSET ?", (known.id, count)
        ).fetchone()
        if found is not None:
            self._database.execute("DELETE FROM messages WHERE channel = ? AND n <= ?", (known.id, found[0]))
            known.count, known.bytes = self._count(known.id)
            self._write_counts(known)
        return before - known.count

    def halve(self, name: str) -> None:
        """Forget the older half of what a channel holds, within a transaction."""
        self.keep(name, self._channel(name).count // 2)

    def probe(self) -> None:
        """Write something, within a transaction, to find out whether that can be done."""
        self._database.execute("INSERT OR REPLACE INTO meta VALUES ('probe', zeroblob(?))", (_PROBE_BYTES,))

    # -- by themselves

    def channels(self) -> list[ChannelRow]:
        """All channels, the least recently used first."""
        rows = self._database.execute(
            "SELECT name, last, count, bytes FROM channels WHERE name IS NOT NULL ORDER BY last, id"
        )
        channels = [ChannelRow(*row) for row in rows if tuple(map(type, row)) == _CHANNEL_TYPES]
        if channels:
            _check_number(channels[-1].last)
        return channels

    def read(self, name: str, before: int | None = None, limit: int | None = None) -> list[tuple[int, Message]]:
        """The newest messages of a channel with their numbers, oldest first.

        Args:
            name: the channel's name.
            before: only what has lower numbers.
            limit: at most that many.
        """
        rows = self._database.execute(
            "SELECT n, frame, uid, is_join FROM messages WHERE channel = (SELECT id FROM channels WHERE name = ?)"
            " AND n < ? ORDER BY n DESC LIMIT ?",
            (name, 2**62 if before is None else before, -1 if limit is None else limit),
        ).fetchall()
        rows.reverse()
        # A disk that changes bytes by itself may have changed any of them: what is left is good.
        return [
            (n, Message(frame, uid, 0, bool(is_join)))
            for n, frame, uid, is_join in rows
            if type(frame) is bytes and is_message(frame) and type(uid) is str
        ]

    def file_bytes(self) -> int:
        """What the file takes, without its journal."""
        (size,) = self._database.execute("PRAGMA page_size").fetchone()
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        return int(size) * int(pages)

    def tidy(self) -> bool:
        """Take one small step: delete what is forgotten, give pages back.

        Returns:
            Whether there is more to do.
        """
        return self._delete_forgotten() or self._shrink()

    def take_over(self) -> None:
        """Take the whole journal over into the file, and sync both."""
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def is_intact(self) -> bool:
        """Whether the file is what it should be: reads all of it."""
        found: tuple[str] = self._database.execute("PRAGMA integrity_check(1)").fetchone()
        return found == ("ok",)

    # -- the rest

    def _look_outside(self) -> None:
        version = self._data_version()
        if version != self._version:
            self._version = version
            self._is_changed = self._has_forgotten = True
            self._known.clear()

    def _data_version(self) -> int:
        return int(self._database.execute("PRAGMA data_version").fetchone()[0])

    def _channel(self, name: str) -> _Known:
        """A channel of the file, new if need be."""
        known = self._known.get(name)
        if known is None:
            row = self._database.execute("SELECT id, last FROM channels WHERE name = ?", (name,)).fetchone()
            if row is None:
                added = self._database.execute(
                    "INSERT INTO channels (name, last, count, bytes) VALUES (?, 0, 0, 0)", (name,)
                )
                row = (added.lastrowid, 0)
            # Counted, not looked up: after a failure nobody knows whether the last change was counted twice.
            count, size = self._count(row[0])
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = self._known[name] = _Known(row[0], row[1], count, size)
        return known

    def _write_counts(self, known: _Known) -> None:
        self._database.execute(
            "UPDATE channels SET last = ?, count = ?, bytes = ? WHERE id = ?",
            (known.last, known.count, known.bytes, known.id),
        )

    def _take_out_join(self, known: _Known, uid: str) -> None:
        earlier = self._database.execute(
            "SELECT n, length(frame) FROM messages WHERE channel = ? AND uid = ? AND is_join", (known.id, uid)
        ).fetchall()
        for n, size in earlier:
            self._database.execute("DELETE FROM messages WHERE channel = ? AND n = ?", (known.id, n))
            known.count -= 1
            known.bytes -= size

    def _count(self, id: int) -> tuple[int, int]:
        """How many messages a channel has, and how many bytes their frames."""
        count, size = self._database.execute(
            "SELECT count(*), total(length(frame)) FROM messages WHERE channel = ?", (id,)
        ).fetchone()
        return count, int(size)

    def _trim(self, known: _Known) -> None:
        """Delete the oldest that are too many, a step of them."""
        count, size, behind = known.count, known.bytes, None
        for n, length in self._database.execute(
            "SELECT n, length(frame) FROM messages WHERE channel = ? ORDER BY n LIMIT ?", (known.id, _STEP_ROWS)
        ).fetchall():
            if count <= self.limit and size <= self._max_bytes:
                break
            count -= 1
            size -= length
            behind = n
        if behind is not None:
            self._database.execute("DELETE FROM messages WHERE channel = ? AND n <= ?", (known.id, behind))
            known.count, known.bytes = count, size

    def _delete_forgotten(self) -> bool:
        if not self._has_forgotten:
            return False
        found = self._database.execute("SELECT id FROM channels WHERE name IS NULL LIMIT 1").fetchone()
        if found is None:
            self._has_forgotten = False
            return False
        with self.transaction():
            edge = self._database.execute(
                "SELECT n FROM messages WHERE channel = ? ORDER BY n LIMIT 1 OFFSET ?", (found[0], _STEP_ROWS)
            ).fetchone()
            if edge is not None:
                self._database.execute("DELETE FROM messages WHERE channel = ? AND n < ?", (found[0], edge[0]))
            else:
                self._database.execute("DELETE FROM messages WHERE channel = ?", found)
                self._database.execute("DELETE FROM channels WHERE id = ?", found)
        return True

    def _shrink(self) -> bool:
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        (free,) = self._database.execute("PRAGMA freelist_count").fetchone()
        if free <= _FREE_PAGES + pages // _FREE_SHARE:
            if self._has_shrunk:
                # Only now the file gets shorter.
                self._has_shrunk = False
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return False
        self._has_shrunk = True
        # By `execute` it would be one page: its rows have no columns, and so nobody would fetch them.
        self._database.executescript(f"PRAGMA incremental_vacuum({_STEP_PAGES})")
        return True
