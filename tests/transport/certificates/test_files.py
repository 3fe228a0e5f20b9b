"""Files for their owner alone."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.files import (
    add_private,
    lock,
    make_private_directory,
    read_small,
    replace_private,
    sweep_new,
)


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


class FilesTests(SynchronousTestCase):
    """Files that are replaced as a whole."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp())
        self.base.mkdir()
        self.path = self.base / "file"

    def test_directories(self) -> None:
        """All directories that are made are the server's alone, whatever the umask; those that are there stay."""
        old = os.umask(0)
        try:
            self.base.chmod(0o755)
            make_private_directory(self.base / "a" / "b")
            make_private_directory(self.base / "a" / "b")
        finally:
            os.umask(old)
        self.assertEqual([mode(self.base / name) for name in (".", "a", "a/b")], [0o755, 0o700, 0o700])

    def test_replaced(self) -> None:
        """A file is replaced, not written into; it is the owner's alone, and nothing else is left beside it."""
        for content in (b"first", b"second"):
            replace_private(self.path, content)
            self.assertEqual((self.path.read_bytes(), mode(self.path)), (content, 0o600))
        with self.path.open("rb") as reading:
            replace_private(self.path, b"third")
            self.assertEqual(reading.read(), b"second")
        self.assertEqual([path.name for path in self.base.iterdir()], ["file"])

    def test_not_replaced(self) -> None:
        """What cannot be put in its place leaves nothing behind."""
        (self.path / "in the way").mkdir(parents=True)
        self.assertRaises(OSError, replace_private, self.path, b"content")
        self.assertRaises(OSError, replace_private, self.base / "nowhere" / "file", b"content")
        self.assertEqual([path.name for path in self.base.iterdir()], ["file"])

    def test_added(self) -> None:
        """Of two who add a file the first one does; the second is told, and changes nothing."""
        self.assertTrue(add_private(self.path, b"first"))
        self.assertFalse(add_private(self.path, b"second"))
        self.assertEqual((self.path.read_bytes(), mode(self.path)), (b"first", 0o600))
        self.assertEqual([path.name for path in self.base.iterdir()], ["file"])

    def test_read(self) -> None:
        """A file of the right size is read; a longer one and none are nothing."""
        self.assertIsNone(read_small(self.path, 5))
        for content, found in ((b"", b""), (b"12345", b"12345"), (b"123456", None)):
            self.path.write_bytes(content)
            self.assertEqual(read_small(self.path, 5), found)

    def test_not_a_file(self) -> None:
        """Links are not followed, pipes and directories are no files, and nobody waits for them."""
        self.path.symlink_to("/etc/passwd")
        self.assertRaises(OSError, read_small, self.path, 99999)
        os.mkfifo(self.base / "pipe")
        for path in (self.base / "pipe", self.base, Path("/dev/zero")):
            self.assertIsNone(read_small(path, 5), path)

    def test_swept(self) -> None:
        """What was half written more than an hour ago goes away, and nothing else; there need be no directory."""
        sweep_new(self.base / "nowhere", 1e9)
        for name, age in ((".a.new", 3601), (".b.new", 3599), ("c.new", 9999), (".d", 9999), (".e.new", -9999)):
            (self.base / name).write_bytes(b"content")
            os.utime(self.base / name, (1e9 - age, 1e9 - age))
        (self.base / ".f.new").mkdir()
        os.utime(self.base / ".f.new", (0, 0))
        sweep_new(self.base, 1e9)
        self.assertEqual({path.name for path in self.base.iterdir()}, {".b.new", "c.new", ".d", ".e.new", ".f.new"})

    def test_lock(self) -> None:
        """One at a time has a lock; the next can have it when the first has given it back."""
        first = lock(self.path)
        assert first is not None
        self.assertIsNone(lock(self.path))
        first.close()
        second = lock(self.path)
        assert second is not None
        second.close()
        self.assertEqual(mode(self.path), 0o600)

    def test_lock_of_a_dead_process(self) -> None:
        """A process that dies gives its lock back, also when a child of ours is still there."""
        script = (
            "import fcntl, os, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print('has it', flush=True); input()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(self.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"has it\n")
            self.assertIsNone(lock(self.path))
            process.kill()
        taken = lock(self.path)
        assert taken is not None
        taken.close()
