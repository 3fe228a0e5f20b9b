"""What a disk holds after a power cut: the files of a directory, made again from a record of what was done to them.

Run as a program it is the process that is recorded: ``python -m tests.integration.power_cut FILE MODE``.
"""

import os
import random
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["DELIVERED", "LIMIT", "Disk", "Record", "read_records"]

#: The file in which the recorded process notes what was delivered.
DELIVERED = "delivered"

_HEAD = struct.Struct("=IIQQ")
_WRITE, _TRUNCATE, _SYNC, _UNLINK, _RENAME = range(1, 6)

#: What a disk writes in one piece, bytes.
_SECTOR = 512

#: Times something is said, in each of two lives of the recorded process, and messages a channel remembers.
_STEPS = 250
LIMIT = 120


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that was done to a file."""

    what: int
    path: str
    offset: int
    data: bytes


def read_records(path: Path) -> list[Record]:
    """All records of a file, in order."""
    data, at, records = path.read_bytes(), 0, []
    while at < len(data):
        what, path_size, offset, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        name = data[at : at + path_size].decode()
        at += path_size
        content = data[at : at + size] if what in (_WRITE, _RENAME) else b""
        at += len(content)
        records.append(Record(what, name, offset, content))
    return records


@dataclass(slots=True)
class _File:
    """A file: what is safe, and what was done to it since it was synced."""

    safe: bytearray = field(default_factory=bytearray)
    unsafe: list[Record] = field(default_factory=list)
    is_listed: bool = False  # whether its directory was synced since it was made


def _apply(content: bytearray, record: Record) -> None:
    if record.what == _TRUNCATE:
        del content[record.offset :]
        content.extend(bytes(record.offset - len(content)))
    else:
        end = record.offset + len(record.data)
        content.extend(bytes(max(0, end - len(content))))
        content[record.offset : end] = record.data


class Disk:
    """The files of one directory on a disk that keeps only what was synced.

    Args:
        directory: the directory; it need not be there.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._files: dict[str, _File] = {}

    def do(self, record: Record) -> None:
        """Go on by one record."""
        if record.path == self._directory:
            for file in self._files.values():
                file.is_listed = True
        elif record.what == _UNLINK:
            self._files.pop(record.path, None)
        elif record.what == _RENAME:
            self._files[record.data.decode()] = self._files.pop(record.path)
        else:
            file = self._files.setdefault(record.path, _File())
            if record.what == _SYNC:
                for done in file.unsafe:
                    _apply(file.safe, done)
                file.unsafe.clear()
            else:
                file.unsafe.append(record)

    def cut(self, chance: random.Random | None) -> Iterator[tuple[str, bytes]]:
        """The names and contents of the files after a power cut now.

        Args:
            chance: decides which of the unsynced sectors are there all the same; None: none of them.
        """
        for path, file in self._files.items():
            content = bytearray(file.safe)
            if chance is not None:
                for record in file.unsafe:
                    for part in _sectors(record):
                        if chance.random() < 0.5:
                            _apply(content, part)
            if file.is_listed or chance is not None:
                yield Path(path).name, bytes(content)


def _sectors(record: Record) -> Iterator[Record]:
    """A write as the disk does it, in any order."""
    if record.what != _WRITE:
        yield record
        return
    at = 0
    while at < len(record.data):
        size = _SECTOR - (record.offset + at) % _SECTOR
        yield Record(_WRITE, record.path, record.offset + at, record.data[at : at + size])
        at += size


def main(path: Path, mode: str) -> None:
    """Say much on some channels, and note what was delivered."""
    from twisted.internet.task import Clock

    from mles_tx.protocol.frames import payload_of
    from mles_tx.stores.sqlite import SqliteHistory
    from tests.channels.fakes import said
    from tests.stores.contract import Listener, join_of
    from tests.stores.threads import HeldThread

    class Noting(Listener):
        def committed(self, channel: str, batch: object) -> None:
            super().committed(channel, batch)  # type: ignore[arg-type]
            for message in self.heard[-1][1]:
                if not message.is_join:
                    os.write(noted, b"%s %s\n" % (channel.encode(), payload_of(message.frame)))

    noted = os.open(path.parent / DELIVERED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    clock, chance, number = Clock(), random.Random(3), 0
    for _ in range(2):  # with a restart in between
        thread = HeldThread()
        history = SqliteHistory(clock, path, LIMIT, strict=mode == "strict", thread=thread)
        history.start(Noting())
        history.open()
        for _ in range(_STEPS):
            channel = f"c{chance.randrange(3)}"
            if chance.random() < 0.1:
                history.append(channel, [join_of(f"u{chance.randrange(5)}")])
            texts = [f"{number + n:05} ".ljust(chance.choice((10, 10, 500)), "x") for n in range(chance.randint(1, 8))]
            history.append(channel, [said(text) for text in texts])
            number += len(texts)
            if chance.random() < 0.6:
                clock.advance(0.1)
            if chance.random() < 0.4:
                thread.run()
        closed = history.close()
        thread.run()
        assert closed.called


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
