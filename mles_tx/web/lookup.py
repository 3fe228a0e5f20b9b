"""Which file stands for a path: one below the root of a site, or none.

Regular files only: no listings, no dotfiles, no FIFOs or devices, no links that lead out of the root. What was found
once is known, and is looked at again with one system call. It must not know about HTTP.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from cachetools import LRUCache

__all__ = ["MAX_KNOWN_BYTES", "Found", "Root", "Stamp", "open_regular"]

#: A path's own method takes twice as long, and this is done with each request.
_stat = os.stat

#: What a directory shows.
_INDEX = "index.html"

#: Paths a site remembers. An entry takes about 1 KiB.
_KNOWN_PATHS = 4096

#: Bytes of a path that is worth to be remembered; a file's path has at most 4096.
MAX_KNOWN_BYTES = 1024

#: What never stands in the name of a file that is served.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")


class Stamp(NamedTuple):
    """What changes when a file does."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """The stamp in what the system says of a file."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be served.

    Attributes:
        path: where it is, with all links followed.
        asked: where it was found: links not followed.
        stamp: how it was at that moment.
    """

    path: Path
    asked: str
    stamp: Stamp

    def is_unchanged(self) -> bool:
        """Whether the path it was found at still leads to the same file, and nobody has written to it."""
        try:
            status = _stat(self.asked)
        except OSError:
            return False
        stamp = self.stamp
        return (
            status.st_mtime_ns == stamp.mtime_ns
            and status.st_size == stamp.size
            and status.st_ino == stamp.inode
            and status.st_ctime_ns == stamp.ctime_ns
            and status.st_dev == stamp.device
        )


class Root:
    """A directory below which things are found.

    Args:
        path: the directory. It may come, go and change at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: LRUCache[bytes, Found] = LRUCache(_KNOWN_PATHS)

    def find(self, target: bytes) -> Found | bool:
        """What stands for a path.

        Args:
            target: the path as in a request: percent-encoded, beginning with a slash, without a query.

        Returns:
            The file; True: a directory with an index, and the path lacks the slash behind it; False: nothing.
        """
        known = self._known.get(target)
        if known is not None:
            if known.is_unchanged():
                return known
            del self._known[target]
        found = self._search(target)
        if isinstance(found, Found) and len(target) <= MAX_KNOWN_BYTES:
            self._known[target] = found
        return found

    def forget(self, target: bytes) -> None:
        """Look for a path anew the next time: what was found is not where it was, though its path still leads to it."""
        self._known.pop(target, None)

    def _search(self, target: bytes) -> Found | bool:
        names = _names(target)
        if names is None:
            return False
        # The root is not resolved here: it may be a link that leads to another release tomorrow.
        asked = str(self._path.joinpath(*names))
        try:
            _stat(asked)  # nearly always that tells at once; following thousands of links by hand takes long
            root = self._path.resolve(strict=True)
            path = root.joinpath(*names).resolve(strict=True)
            if any(part.startswith(".") for part in path.relative_to(root).parts):
                return False
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                return not target.endswith(b"/") and (path / _INDEX).is_file()
            return stat.S_ISREG(status.st_mode) and Found(path, asked, Stamp.of(status))
        except (OSError, ValueError, RuntimeError):
            return False  # not there, not readable, not below the root, or a loop of links


def _names(target: bytes) -> list[str] | None:
    """The path's names; an empty last one is the index. None: a path that is never served."""
    try:
        names = [unquote_to_bytes(segment).decode("utf-8") for segment in target[1:].split(b"/")]
    except UnicodeDecodeError:
        return None
    if not names[-1]:
        names[-1] = _INDEX
    if any(not name or name.startswith(".") or _FORBIDDEN.search(name) for name in names):
        return None
    return names


def open_regular(found: Found) -> int:
    """Open a file that was found; its descriptor.

    Raises:
        OSError: it is not there any more, may not be read, or is not the one that was found.
    """
    # Without O_NONBLOCK, opening a FIFO waits for a writer, and the whole server with it.
    descriptor = os.open(found.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if Stamp.of(os.fstat(descriptor)) != found.stamp:
        os.close(descriptor)
        raise OSError("another file stands there now")
    return descriptor
