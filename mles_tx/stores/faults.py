"""What goes wrong with a file, in words for an operator."""

import errno
import sqlite3

__all__ = ["BrokenContentError", "FileReplaced", "StoreFault", "code_of", "fault_of", "is_corrupt"]


class BrokenContentError(Exception):
    """A file holds what no server has written into it."""


class StoreFault(Exception):
    """A store cannot be used at the moment; the text says why. It may be usable again later."""


class FileReplaced(Exception):
    """Another file has taken the place of the one that was in use: what is still in memory belongs into it.

    Attributes:
        why: what has happened, for the log.
        generation: the number of the file that is in use now.
    """

    def __init__(self, why: str, generation: int) -> None:
        super().__init__(why)
        self.why = why
        self.generation = generation


_OF_SQLITE = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it cannot be written to",
    sqlite3.SQLITE_PERM: "it cannot be written to",
    sqlite3.SQLITE_BUSY: "another program has it locked",
    sqlite3.SQLITE_LOCKED: "another program has it locked",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}

_OF_SYSTEM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EROFS: "it cannot be written to",
}


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 when the error is not SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_corrupt(error: BaseException) -> bool:
    """Whether an error means that a file is no sound database."""
    if isinstance(error, BrokenContentError | UnicodeDecodeError):  # SQLite quotes broken text when it complains
        return True
    return isinstance(error, sqlite3.Error) and code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def fault_of(error: sqlite3.Error | OSError | BrokenContentError | UnicodeDecodeError) -> StoreFault:
    """What has failed, in words."""
    if isinstance(error, BrokenContentError | UnicodeDecodeError):
        return StoreFault("it is broken")
    if isinstance(error, OSError):
        return StoreFault(_OF_SYSTEM.get(error.errno or 0, (error.strerror or "it cannot be used").lower()))
    return StoreFault(_OF_SQLITE.get(code_of(error), f"SQLite says {getattr(error, 'sqlite_errorname', 'no more')}"))
