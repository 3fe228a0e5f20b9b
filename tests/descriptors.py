"""What a process has open, for tests that say that nothing stays so."""

import gc
from contextlib import suppress
from pathlib import Path

__all__ = ["descriptors"]


def descriptors() -> set[tuple[int, str]]:
    """The descriptors of this process, each with what it is of.

    Garbage is collected first: what an earlier test has left in it would be closed at any moment.
    """
    gc.collect()
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one of this look
            found.add((int(entry.name), str(entry.readlink())))
    return found
