"""Files for their owner alone, replaced as a whole, and locks between processes."""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

__all__ = [
    "SWEEP_SECONDS",
    "add_private",
    "lock",
    "make_private_directory",
    "read_small",
    "replace_private",
    "sweep_new",
]

#: Seconds between two looks for what crashes have left behind.
SWEEP_SECONDS = 3600.0

#: Seconds after which a file that was being written is one that a crash has left behind.
_NEW_SECONDS = 3600.0


def make_private_directory(path: Path) -> None:
    """Make a directory that only its owner can list; those above it are made likewise.

    Raises:
        OSError: it cannot be made.
    """
    if not path.is_dir():
        make_private_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def replace_private(path: Path, content: bytes) -> None:
    """Put a file in the place of another: at every moment, also after a power cut, one of them is there whole.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    new = _write_beside(path, content)
    try:
        new.rename(path)
    except BaseException:
        new.unlink()
        raise


def add_private(path: Path, content: bytes) -> bool:
    """Put a whole file where there is none.

    Returns:
        False when there is one already: it is left alone.

    Raises:
        OSError: it cannot be written.
    """
    new = _write_beside(path, content)
    try:
        os.link(new, path)
    except FileExistsError:
        return False
    finally:
        new.unlink()
    return True


def read_small(path: Path, limit: int) -> bytes | None:
    """What is in a file; None: there is no such file, it is no ordinary one, or longer than `limit` bytes.

    Raises:
        OSError: it is there, and cannot be read.
    """
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(limit + 1)
            return content if len(content) <= limit else None
    return None


def sweep_new(directory: Path, now: float) -> None:
    """Remove what crashes have left half written in a directory: there may be private keys in it.

    Args:
        directory: where; it need not be there.
        now: the time, in seconds since 1970.
    """
    for path in directory.glob(".*.new"):
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and now - status.st_mtime > _NEW_SECONDS:
                path.unlink()


def lock(path: Path) -> BinaryIO | None:
    """Take a lock that one process at a time can have: closing the file gives it back, and so does a crash.

    Returns:
        The file; None when somebody has the lock.

    Raises:
        OSError: the file of the lock cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "r+b")


def _write_beside(path: Path, content: bytes) -> Path:
    with NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".new", delete=False) as new:  # made with mode 0600
        try:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
        except BaseException:
            Path(new.name).unlink()
            raise
    return Path(new.name)
