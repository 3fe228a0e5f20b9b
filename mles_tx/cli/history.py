"""`mles-tx history`: looks into the file of a history and changes it, also while a server uses it.

Changes are made in short transactions; the server notices within a second.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from twisted.python import usage

from mles_tx.channels.history import MAX_CHANNEL_BYTES, HistoryError, Message
from mles_tx.service.parsing import whole_number
from mles_tx.stores.faults import fault_of, is_corrupt
from mles_tx.stores.schema import connect
from mles_tx.stores.tables import Tables

from .history_lines import BadLine, channel_table, exported, imported, shown

__all__ = ["HistoryOptions", "history"]

#: Seconds to wait for a server that is writing.
_BUSY_SECONDS = 10.0

#: Messages of one transaction.
_AT_A_TIME = 200

#: Bytes of an exported line: a message of 1 MiB in base64, or as text with all letters escaped, and its names.
_LINE_BYTES = 8 * 1024 * 1024

#: Microseconds by which another machine's clock may be ahead.
_AHEAD = 60_000_000

_INTERRUPTED = 130


class _WithFile(usage.Options):
    """A command for one file."""

    def parseArgs(self, file: str = "", *rest: str) -> None:  # noqa: N802
        self["file"] = Path(file.removeprefix("sqlite:"))
        self["rest"] = rest
        if not file:
            raise usage.UsageError("give the file of the history")
        self.check()

    def check(self) -> None:
        """Raises UsageError: something is missing, or too much."""
        if self["rest"]:
            raise usage.UsageError("give one file and nothing else")

    opt_h = usage.Options.opt_help


class _List(_WithFile):
    synopsis = "FILE"


class _Show(_WithFile):
    synopsis = "[--last N] FILE CHANNEL"
    optParameters = (["last", "n", None, "Messages to show. [default: all]", whole_number("--last", 1, 999999999)],)

    def check(self) -> None:
        if len(self["rest"]) != 1:
            raise usage.UsageError("give one file and one channel")


class _Export(_WithFile):
    synopsis = "FILE [CHANNEL ...]"

    def check(self) -> None:
        pass


class _Import(_WithFile):
    synopsis = "FILE [INPUT]"

    def check(self) -> None:
        if len(self["rest"]) > 1:
            raise usage.UsageError("give one file, and one with the lines of an export, or these on standard input")


class _Prune(_WithFile):
    synopsis = "[--idle DAYS] [--keep N] FILE [CHANNEL ...]"
    optParameters = (
        ["idle", None, None, "Channels nobody has spoken on for so many days.", whole_number("--idle", 0, 99999)],
        ["keep", None, None, "Leave the last so many messages of each.", whole_number("--keep", 1, 999999999)],
    )

    def check(self) -> None:
        if not self["rest"] and self["idle"] is None and self["keep"] is None:
            raise usage.UsageError("give channels, --idle DAYS or --keep N: else all would be forgotten")


class HistoryOptions(usage.Options):
    """What `mles-tx history` understands."""

    synopsis = "list|show|export|import|prune"
    longdesc = (
        "Looks into the file of --history sqlite:FILE, also while a server uses it, and changes it. list: the channels."
        " show: what was said on one. export: messages as lines of JSON, on standard output. import: adds such lines;"
        " messages that are there already stay as they are. prune: forgets channels, or all but their last messages."
    )
    subCommands = (
        ["list", None, _List, "The channels, the least recently used first."],
        ["show", None, _Show, "What was said on a channel."],
        ["export", None, _Export, "Messages as lines of JSON, of some channels or of all."],
        ["import", None, _Import, "Add exported messages: from a file, or from standard input."],
        ["prune", None, _Prune, "Forget channels, or all but their last messages."],
    )

    opt_h = usage.Options.opt_help

    def parseOptions(self, options: Any = None) -> None:
        """Parse; on an error, say in one line what is wrong and exit with code 2."""
        try:
            super().parseOptions(options)
            if self.subCommand is None:
                raise usage.UsageError("a command is needed: list, show, export, import or prune")
        except usage.UsageError as error:
            sys.stderr.write(f"mles-tx history: {error}; --help says more\n")
            sys.exit(2)


def history(options: HistoryOptions) -> NoReturn:
    """Do what was asked for, and exit."""
    given: Any = options.subOptions
    path: Path = given["file"]
    try:
        with _tables(path) as tables:
            _COMMANDS[str(options.subCommand)](tables, given)
            sys.stdout.flush()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # who reads has seen enough
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (HistoryError, BadLine) as error:
        text = str(error)
    except sqlite3.Error as error:
        reason = "the file is broken" if is_corrupt(error) else str(fault_of(error))
        text = f"{path}: {reason}"
    except OSError as error:
        text = f"{error.filename or path}: {(error.strerror or 'cannot be used').lower()}"
    sys.stderr.write(f"mles-tx history: {text}\n")
    sys.exit(1)


@contextmanager
def _tables(path: Path) -> Iterator[Tables]:
    """The tables of a file that is there."""
    if not path.is_file():
        raise HistoryError(f"{path}: there is no such file")
    database = connect(path, full_sync=True, busy_seconds=_BUSY_SECONDS)
    try:
        yield Tables(database, sys.maxsize, MAX_CHANNEL_BYTES)
    finally:
        database.close()


def _known(tables: Tables, names: Iterable[str]) -> list[str]:
    """The names, when all of them are channels; all channels when there are none."""
    channels = [row.name for row in tables.channels()]
    for name in names:
        if name not in channels:
            raise HistoryError(f"channel {name!r}: nothing was said there")
    return list(names) or channels


def _list(tables: Tables, given: Any) -> None:
    for line in channel_table(tables.channels()):
        print(line)


def _show(tables: Tables, given: Any) -> None:
    (name,) = _known(tables, given["rest"])
    for n, message in tables.read(name, limit=given["last"]):
        print(shown(n, message))


def _export(tables: Tables, given: Any) -> None:
    for name in _known(tables, given["rest"]):
        for n, message in tables.read(name):
            print(exported(name, n, message))


def _import(tables: Tables, given: Any) -> None:
    if not given["rest"]:
        _add(tables, sys.stdin, "standard input")
    else:
        with Path(given["rest"][0]).open(encoding="utf-8", errors="replace") as lines:
            _add(tables, lines, given["rest"][0])


def _add(tables: Tables, lines: TextIO, source: str) -> None:
    newest = time.time_ns() // 1000 + _AHEAD

    def messages() -> Iterator[tuple[str, int, Message]]:
        number = 0
        while line := lines.readline(_LINE_BYTES):
            number += 1
            if line.strip():
                try:
                    yield imported(line, newest)
                except BadLine as error:
                    raise BadLine(f"{source}, line {number}: {error}; what stands before it was added") from None

    total = added = 0
    group: list[tuple[str, int, Message]] = []

    def store() -> int:
        with tables.transaction():
            return sum(tables.lay_in(channel, [(n, message)]) for channel, n, message in group)

    try:
        for read in messages():
            group.append(read)
            total += 1
            if len(group) == _AT_A_TIME:
                added += store()
                group.clear()
    finally:
        added += store()
    print(f"{added} of {total} messages were new")


def _prune(tables: Tables, given: Any) -> None:
    names = set(_known(tables, given["rest"]))
    rows = [row for row in tables.channels() if row.name in names]
    if given["idle"] is not None:
        before = time.time_ns() // 1000 - given["idle"] * 86_400_000_000
        rows = [row for row in rows if row.last < before]
    messages = 0
    for row in rows:
        with tables.transaction():
            if given["keep"] is None:
                tables.forget(row.name)
                messages += row.messages
            else:
                messages += tables.keep(row.name, given["keep"])
    while tables.tidy():
        pass
    what = "forgotten" if given["keep"] is None else "looked at"
    print(f"{len(rows)} channels {what}, {messages} messages deleted")


_COMMANDS: dict[str, Callable[[Tables, Any], None]] = {
    "list": _list,
    "show": _show,
    "export": _export,
    "import": _import,
    "prune": _prune,
}
