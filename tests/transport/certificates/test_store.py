"""A directory of certificates."""

import os
import stat
from pathlib import Path

import pem
from twisted.trial.unittest import SynchronousTestCase
from txacme.interfaces import ICertificateStore

from mles_tx.transport.certificates.store import CertificateDirectory

from .making import make


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


class CertificateDirectoryTests(SynchronousTestCase):
    """Certificates on disk."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp())
        self.base.mkdir()
        self.path = self.base / "cache" / "certificates"
        self.store = CertificateDirectory(self.path)
        self.first = make("example.org").objects
        self.second = make("example.org").objects

    def names(self) -> list[str]:
        """The files that are there."""
        return sorted(path.name for path in self.path.iterdir())

    def test_interface(self) -> None:
        """What issues certificates can fill it: it has all that txacme calls."""
        # verifyObject would refuse every store: the interface lists `self` among the arguments.
        self.assertTrue(ICertificateStore.providedBy(self.store))
        self.assertEqual([name for name in ICertificateStore.names() if not callable(getattr(self.store, name))], [])

    def test_kept(self) -> None:
        """What is saved is there afterwards, also for the next server, in the order in which it was given."""
        self.store.save("example.org", self.first)
        self.store.save("other.example", self.second)
        for store in (self.store, CertificateDirectory(self.path)):
            self.assertEqual(store.load("example.org"), self.first)
            self.assertEqual(store.load("other.example"), self.second)
        self.assertEqual(self.names(), ["example.org.pem", "other.example.pem"])

    def test_replaced(self) -> None:
        """A new certificate takes the place of the old one."""
        self.store.save("example.org", self.first)
        self.store.save("example.org", self.second)
        self.assertEqual(self.store.load("example.org"), self.second)
        self.assertEqual(self.names(), ["example.org.pem"])

    def test_missing(self) -> None:
        """There is no certificate for a name that none was saved for, also before the directory is there."""
        self.assertRaises(KeyError, self.store.load, "example.org")
        self.assertFalse(self.path.exists())
        self.store.save("example.org", self.first)
        self.assertRaises(KeyError, self.store.load, "www.example.org")

    def test_nothing_in_it(self) -> None:
        """A file with no certificate in it is as good as none."""
        self.path.mkdir(parents=True)
        for content in (b"", b"\n", bytes(range(256)), b"-----BEGIN CERTIFICATE-----\n"):
            (self.path / "example.org.pem").write_bytes(content)
            self.assertRaises(KeyError, self.store.load, "example.org")

    def test_no_ordinary_file(self) -> None:
        """A pipe makes nobody wait, and a link, a directory and an endless file are no certificates."""
        self.store.save("good.example", self.first)
        os.mkfifo(self.path / "pipe.example.pem")
        (self.path / "directory.example.pem").mkdir()
        (self.path / "link.example.pem").symlink_to(self.path / "good.example.pem")
        good = (self.path / "good.example.pem").read_bytes()
        (self.path / "long.example.pem").write_bytes(good + bytes(1 << 19))
        for name in ("pipe", "directory", "link", "long"):
            self.assertRaises(KeyError, self.store.load, f"{name}.example")
        self.assertEqual(self.successResultOf(self.store.as_dict()), {"good.example": self.first})
        self.store.save("pipe.example", self.second)
        self.assertEqual(self.store.load("pipe.example"), self.second)

    def test_modes(self) -> None:
        """Nobody but the server's user can read the files or list the directory, whatever the umask."""
        for umask in (0o000, 0o022, 0o077):
            old = os.umask(umask)
            try:
                path = self.base / f"{umask:o}"
                CertificateDirectory(path).save("example.org", self.first)
            finally:
                os.umask(old)
            self.assertEqual((mode(path), mode(path / "example.org.pem")), (0o700, 0o600))

    def test_mode_of_replaced(self) -> None:
        """A file that others could read is replaced by one they cannot."""
        self.path.mkdir(parents=True)
        file = self.path / "example.org.pem"
        file.write_bytes(b"old")
        file.chmod(0o644)
        self.store.save("example.org", self.first)
        self.assertEqual(mode(file), 0o600)

    def test_written_anew(self) -> None:
        """The old file is not written into: who has it open goes on reading what was there."""
        self.store.save("example.org", self.first)
        with (self.path / "example.org.pem").open("rb") as reading:
            self.store.save("example.org", self.second)
            self.assertEqual(pem.parse(reading.read()), self.first)

    def test_link_not_followed(self) -> None:
        """Where a link stands in its place, the link is replaced and its target left alone."""
        self.path.mkdir(parents=True)
        target = self.base / "target"
        target.write_bytes(b"somebody else's")
        (self.path / "example.org.pem").symlink_to(target)
        self.store.save("example.org", self.first)
        self.assertEqual(target.read_bytes(), b"somebody else's")
        self.assertEqual(self.store.load("example.org"), self.first)

    def test_not_saved(self) -> None:
        """A certificate that cannot be put in its place leaves nothing behind, and no other file changed."""
        self.store.save("other.example", self.second)
        (self.path / "example.org.pem" / "in the way").mkdir(parents=True)
        self.assertRaises(OSError, self.store.save, "example.org", self.first)
        self.assertEqual(self.names(), ["example.org.pem", "other.example.pem"])
        self.assertEqual(self.store.load("other.example"), self.second)

    def test_no_directory(self) -> None:
        """A directory that cannot be made or read is told as what it is, and not as a missing certificate."""
        file = self.base / "file"
        file.write_bytes(b"")
        store = CertificateDirectory(file / "certificates")
        self.assertRaises(OSError, store.save, "example.org", self.first)
        self.assertRaises(OSError, store.load, "example.org")
        self.assertEqual(file.read_bytes(), b"")

    def test_deferred(self) -> None:
        """What issues certificates gets the same with Deferreds."""
        self.failureResultOf(self.store.get("example.org"), KeyError)
        self.assertIsNone(self.successResultOf(self.store.store("example.org", self.first)))
        self.assertEqual(self.successResultOf(self.store.get("example.org")), self.first)
        self.assertEqual(self.store.load("example.org"), self.first)
        (self.path / "example.org.pem").unlink()
        (self.path / "example.org.pem" / "in the way").mkdir(parents=True)
        self.failureResultOf(self.store.store("example.org", self.first), OSError)

    def test_all(self) -> None:
        """All certificates by name; nothing as long as there is no directory."""
        self.assertEqual(self.successResultOf(self.store.as_dict()), {})
        self.store.save("example.org", self.first)
        self.store.save("*.example.net", self.second)
        (self.path / "notes.txt").write_bytes(b"of the operator's")
        self.assertEqual(
            self.successResultOf(self.store.as_dict()),
            {"example.org": self.first, "*.example.net": self.second},
        )

    def test_all_but_broken(self) -> None:
        """A broken file does not hide the others, and is left as it is."""
        self.store.save("example.org", self.first)
        broken = self.path / "broken.pem"
        broken.write_bytes(b"half a cert")
        (self.path / "directory.pem").mkdir()
        self.assertEqual(self.successResultOf(self.store.as_dict()), {"example.org": self.first})
        self.assertEqual(broken.read_bytes(), b"half a cert")
