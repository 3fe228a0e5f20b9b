"""Where certificates and keys lie: who may read them, and how they are written."""

import signal
import stat
from pathlib import Path

from .program import Probe, Run, main


def look(run: Run) -> None:
    """Start a server on an empty directory under a loose umask, and again when its files are broken."""
    directory = run.directory()
    before = ("sh", "-c", 'umask 000; exec "$@"', "sh")
    server = run.start(before=before, directory=directory)
    with run.pair():
        cache = directory / "cache"
        files = [path for path in cache.rglob("*") if path.is_file()]
        folders = [cache, *(path for path in cache.rglob("*") if path.is_dir())]
        run.equal("files in its cache, at least", len(files) >= 1, True)
        run.equal("modes of the files", _modes(files), "0o600")
        run.equal("modes of the directories", _modes(folders), "0o700")
    server.signal(signal.SIGTERM)
    server.wait()
    pem = next(path for path in files if b"PRIVATE KEY" in path.read_bytes())
    before_inode = pem.stat().st_ino
    # Somebody has the old file open, and goes on seeing the old one: it is not written over.
    with pem.open("r+b") as held:
        held.truncate(100)
        server = run.start(before=before, directory=directory)
        held.seek(0)
        run.equal("a broken file is replaced by a new one", pem.stat().st_ino != before_inode, True)
        run.equal("the old one is not written to", len(held.read()), 100)
    run.equal("modes of the files after that", _modes([path for path in cache.rglob("*") if path.is_file()]), "0o600")
    run.equal("left over beside them", [path.name for path in cache.rglob("*") if "tmp" in path.name.lower()], [])
    run.no_faults()


def _modes(paths: list[Path]) -> str:
    return ", ".join(sorted({oct(stat.S_IMODE(path.stat().st_mode)) for path in paths}))


PROBE = Probe(
    promise="certificates and keys on disk: 0600 in a 0700 directory, written to a new file and renamed",
    does=look,
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
