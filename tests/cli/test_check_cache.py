"""The directory for certificates."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.check_cache import find_certificate, look_at_cache
from mles_tx.cli.checks import Verdict
from mles_tx.transport.certificates.store import CertificateDirectory
from tests.transport.certificates.making import Made, make


class CacheTestCase(SynchronousTestCase):
    """A directory."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.mkdir(mode=0o700)

    def write(self, name: str, content: bytes = b"", mode: int = 0o600) -> Path:
        """A file in it."""
        file = self.path / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
        return file

    def keep(self, name: str, made: Made) -> Path:
        """A certificate with its key, as the server keeps them."""
        return self.write(name, made.key_pem + made.certificate_pem)


class LookTests(CacheTestCase):
    """Whether it can be written to, and who reads it."""

    def assert_finds(self, verdict: Verdict, text: str, remedy: str, path: Path | None = None) -> None:
        """What is found, and that nothing has changed by looking."""
        before = sorted(self.path.rglob("*"))
        finding = look_at_cache(self.path if path is None else path)
        self.assertEqual((finding.verdict, finding.text, finding.remedy), (verdict, text, remedy))
        self.assertEqual(sorted(self.path.rglob("*")), before)

    def test_good(self) -> None:
        """A directory and files for their owner alone are as they should be; files without a key do not matter."""
        good = f"--cache {self.path} can be written to, by its owner alone"
        self.assert_finds(Verdict.OK, good, "")
        made = make("example.org")
        self.keep("example.org.pem", made)
        self.write("self-signed/localhost.pem")
        self.write("notes.txt", mode=0o644)
        self.write("chain.pem", made.certificate_pem, mode=0o644)
        self.assert_finds(Verdict.OK, good, "")

    def test_made_by_the_server(self) -> None:
        """A directory that the server has made itself is as it should be."""
        path = self.path / "state" / "cache"
        CertificateDirectory(path / "self-signed").save("example.org", make("example.org").objects)
        self.assert_finds(Verdict.OK, f"--cache {path} can be written to, by its owner alone", "", path)

    def test_missing(self) -> None:
        """A directory that is not there is made by the server, if it can be."""
        path = self.path / "a" / "b"
        self.assert_finds(Verdict.OK, f"--cache {path} will be made at the first start", "", path)

    def test_cannot_be_made(self) -> None:
        """One that cannot be made is told, with what is in the way."""
        file = self.write("file")
        path = file / "cache"
        text = f"--cache {path} is not there, and {file} cannot be written to"
        self.assert_finds(Verdict.FAIL, text, "make it, with mode 0700, for the server's user", path)

    def test_file(self) -> None:
        """A file is no directory."""
        file = self.write("file")
        self.assert_finds(
            Verdict.FAIL, f"--cache {file} is not a directory", "give a directory that can be written to", file
        )

    def test_read_only(self) -> None:
        """A directory that cannot be written to is told (one that not even root can write to)."""
        path = Path("/proc/self/task")
        finding = look_at_cache(path)
        self.assertEqual(finding.verdict, Verdict.FAIL)
        self.assertTrue(finding.text.startswith(f"--cache {path}: "), finding.text)
        self.assertEqual(finding.remedy, "let the server's user own it, or run this as that user")

    def test_keys_for_everybody(self) -> None:
        """A key that others can read is a failure, wherever it lies."""
        for name, mode in (("example.org.pem", 0o644), ("deep/er/example.net.pem", 0o640)):
            file = self.write(name, make("example.org").key_pem, mode)
            self.assert_finds(
                Verdict.FAIL, f"{file} has mode {mode:04o}: others can get at its key", f"chmod 600 {file}"
            )
            file.chmod(0o600)

    def test_directory_for_everybody(self) -> None:
        """A directory that others can look into is worth a word."""
        self.path.chmod(0o755)
        self.assert_finds(
            Verdict.WARN, f"--cache {self.path} has mode 0755: others can look into it", f"chmod 700 {self.path}"
        )

    def test_of_somebody_else(self) -> None:
        """So is one that belongs to another user: the server may be a third."""
        uid = os.geteuid()
        self.patch(os, "geteuid", lambda: uid + 1)
        self.assert_finds(
            Verdict.WARN,
            f"--cache {self.path} can be written to, but belongs to another user",
            "run this as that user",
        )


class FindTests(CacheTestCase):
    """Which certificate is kept for a domain."""

    def test_found(self) -> None:
        """The one that is for the domain, and of several the one that ends last."""
        last, wild = make("example.org", "www.example.org", days=60), make("*.example.net")
        self.keep("a.pem", make("example.org", days=30))
        self.keep("deep/b.pem", last)
        self.keep("c.pem", make("example.org", days=-1))
        self.keep("d.pem", wild)
        for domain, made in (
            ("example.org", last),
            ("www.example.org", last),
            ("www.example.net", wild),
            ("example.net", None),
            ("foreign.example", None),
        ):
            found = find_certificate([self.path], domain)
            self.assertEqual((domain, found), (domain, made and made.certificate))

    def test_several_directories(self) -> None:
        """A directory that comes first is enough, even when a later one has one that ends later."""
        first, second = make("example.org", days=30), make("example.org", "example.net")
        self.keep("first/a.pem", first)
        self.keep("second/a.pem", second)
        directories = [self.path / "none", self.path / "first", self.path / "second"]
        self.assertEqual(find_certificate(directories, "example.org"), first.certificate)
        self.assertEqual(find_certificate(directories, "example.net"), second.certificate)

    def test_chain(self) -> None:
        """Behind the certificate there may be those of its authority."""
        authority, made = make("authority.example"), make("example.org")
        self.write("a.pem", made.key_pem + made.certificate_pem + authority.certificate_pem)
        self.assertEqual(find_certificate([self.path], "example.org"), made.certificate)
        self.assertIsNone(find_certificate([self.path], "authority.example"))

    def test_broken(self) -> None:
        """What is broken, foreign, too long or no ordinary file is passed over."""
        made = make("example.org")
        self.write("a.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.write("b.pem", made.key_pem)
        self.write("c.pem", b"\xff\x00")
        self.write("d.pem", made.certificate_pem + b"\n" * 300_000)
        self.write("e.txt", made.certificate_pem)
        os.mkfifo(self.path / "f.pem")
        (self.path / "g.pem").symlink_to(self.path / "e.txt")
        (self.path / "h.pem").mkdir()
        self.assertIsNone(find_certificate([self.path], "example.org"))

    def test_no_directory(self) -> None:
        """In a directory that is not there, there is none."""
        self.assertIsNone(find_certificate([self.path / "none"], "example.org"))
