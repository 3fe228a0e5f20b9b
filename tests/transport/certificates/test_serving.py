"""The best certificate at hand."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pem
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase
from txacme.interfaces import ICertificateStore
from zope.interface.verify import verifyObject

from mles_tx.transport.certificates import store
from mles_tx.transport.certificates.choice import FixedCertificates
from mles_tx.transport.certificates.pairs import CertificateError, pair_from_pem
from mles_tx.transport.certificates.serving import StoredCertificates
from mles_tx.transport.contexts import ICertificates

from .making import listen, make, twice_extended


def _no_more_files(path: Path, limit: int) -> bytes:
    raise OSError(errno.EMFILE, "Too many open files", str(path))


class ServingTests(SynchronousTestCase):
    """What clients are shown."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "certificates"
        self.fallback = FixedCertificates([pair_from_pem(make("a.test", "b.test").objects)])
        self.changed: list[str] = []
        self.served = self.another()

    def another(self) -> StoredCertificates:
        """The same, as another process sees it."""
        return StoredCertificates(
            self.path, ["a.test", "b.test"], self.fallback, lambda: datetime.now(UTC), self.changed.append
        )

    @property
    def self_signed(self) -> SSL.Context:
        return self.fallback.context_for(None)

    def save(self, name: str, objects: list[pem.AbstractPEMObject]) -> None:
        """A certificate is issued."""
        self.assertIsNone(self.successResultOf(self.served.store(name, objects)))

    def test_interfaces(self) -> None:
        """It can be asked by the TLS port, and be filled by what issues certificates."""
        verifyObject(ICertificates, self.served)
        self.assertTrue(ICertificateStore.providedBy(self.served))

    def test_none_yet(self) -> None:
        """While there is none the fallback serves."""
        self.served.refresh()
        for name in ("a.test", "b.test", None, "other.test"):
            self.assertIs(self.served.context_for(name), self.self_signed)
        self.assertIsNone(self.served.certificate("a.test"))

    def test_stored(self) -> None:
        """A certificate serves as soon as it is stored: its own name, and for the first also who names none."""
        self.save("a.test", make("a.test").objects)
        context = self.served.context_for("a.test")
        self.assertIsNot(context, self.self_signed)
        self.assertIs(self.served.context_for(None), context)
        self.assertIs(self.served.context_for("a.test."), context)
        self.assertIs(self.served.context_for("b.test"), self.self_signed)
        self.assertIs(self.served.context_for("other.test"), self.self_signed)
        self.save("b.test", make("b.test").objects)
        self.assertIsNot(self.served.context_for("b.test"), self.self_signed)
        self.assertIs(self.served.context_for(None), context)
        self.assertEqual(self.changed, ["a.test", "b.test"])

    def test_one_context(self) -> None:
        """There is one context a certificate, and a new one only for a new certificate."""
        self.save("a.test", make("a.test").objects)
        context = self.served.context_for("a.test")
        self.served.refresh()
        self.assertIs(self.served.context_for("a.test"), context)
        self.save("a.test", make("a.test").objects)
        self.assertIsNot(self.served.context_for("a.test"), context)

    def test_other_process(self) -> None:
        """What another process has stored serves here after the next look, and after a start."""
        for other in (self.another(), self.another()):
            made = make("a.test")
            self.successResultOf(other.store("a.test", made.objects))
            self.served.refresh()
            found = self.served.certificate("a.test")
            assert found is not None
            self.assertEqual(found.pair.not_valid_after, made.certificate.not_valid_after_utc)
            self.assertLess(abs((found.stored - datetime.now(UTC)).total_seconds()), 60)
        self.assertEqual(len(self.changed), 4)

    def test_expired(self) -> None:
        """One that has expired is served rather than a self-signed one."""
        self.save("a.test", make("a.test", days=-1).objects)
        self.assertIsNot(self.served.context_for("a.test"), self.self_signed)

    def test_broken(self) -> None:
        """Broken and foreign files serve nobody, and stay as they are."""
        self.path.mkdir(parents=True)
        made = make("a.test")
        other = b"".join(item.as_bytes() for item in make("other.test").objects)
        for content in (
            b"",
            b"half a cert",
            bytes(range(256)),
            made.certificate_pem,
            made.key_pem,
            other,
            twice_extended("a.test"),
        ):
            (self.path / "a.test.pem").write_bytes(content)
            served = self.another()
            served.refresh()
            self.assertIs(served.context_for("a.test"), self.self_signed)
            self.assertEqual((self.path / "a.test.pem").read_bytes(), content)
        (self.path / "b.test.pem").mkdir()
        served.refresh()
        self.assertEqual(self.changed, [])

    def test_told_once(self) -> None:
        """The operator is told once that a file is no use, and again when it has become another one that is none."""
        self.path.mkdir(parents=True)
        path = self.path / "a.test.pem"
        told = listen(self)
        for count, content in ((1, b"half a cert"), (2, twice_extended("a.test")), (3, b"nothing")):
            path.write_bytes(content)
            for _ in range(3):
                self.served.refresh()
            self.assertEqual(len(told), count, told)
            self.assertIn("a.test.pem is no certificate for a.test", told[-1])
        self.assertIs(self.served.context_for("a.test"), self.self_signed)
        path.write_bytes(b"".join(item.as_bytes() for item in make("a.test").objects))
        self.served.refresh()
        self.assertIsNot(self.served.context_for("a.test"), self.self_signed)

    def test_read_again(self) -> None:
        """A file that could not be read at a moment serves as soon as it can be, and is complained of once."""
        self.save("a.test", make("a.test").objects)
        served = self.another()
        told = listen(self)
        used = self.patch(store, "read_small", _no_more_files)
        served.refresh()
        served.refresh()
        self.assertEqual(len(told), 1, told)
        self.assertIs(served.context_for("a.test"), self.self_signed)
        used.restore()
        served.refresh()
        self.assertIsNot(served.context_for("a.test"), self.self_signed)

    def test_left_behind(self) -> None:
        """What a crash has left half written goes away, at the start and later; what is being written stays."""
        self.path.mkdir(parents=True)
        now = datetime.now(UTC)
        served = StoredCertificates(self.path, ["a.test"], self.fallback, lambda: now)
        for hours, left in ((2, set()), (0, {".b.new"}), (-2, set())):
            made = self.path / (".a.new" if hours > 0 else ".b.new")
            if hours >= 0:
                made.write_bytes(b"a private key")
                os.utime(made, (now.timestamp() - hours * 3600,) * 2)
            else:
                now += timedelta(hours=2)
            served.refresh()
            self.assertEqual({path.name for path in self.path.iterdir()}, left)

    def test_broken_while_serving(self) -> None:
        """A file that is broken or removed while its certificate serves leaves that serving; but it is not kept."""
        for harm in (
            lambda path: path.write_bytes(b"harm"),
            lambda path: path.unlink(),
            lambda path: os.truncate(path, 9),
        ):
            self.save("a.test", make("a.test").objects)
            context = self.served.context_for("a.test")
            found = self.served.certificate("a.test")
            self.assertTrue(found is not None and found.is_kept)
            harm(self.path / "a.test.pem")
            self.served.refresh()
            self.assertIs(self.served.context_for("a.test"), context)
            found = self.served.certificate("a.test")
            self.assertTrue(found is not None and not found.is_kept)
            self.assertFalse(self.served.is_unkept("a.test"))

    def test_not_kept(self) -> None:
        """A certificate that cannot be written is not lost: it serves, its issuer is told, and it is written later."""
        (self.path / "a.test.pem" / "in the way").mkdir(parents=True)
        self.failureResultOf(self.served.store("a.test", make("a.test").objects), OSError)
        context = self.served.context_for("a.test")
        self.assertIsNot(context, self.self_signed)
        self.assertTrue(self.served.is_unkept("a.test"))
        self.assertRaises(OSError, self.served.keep, "a.test")
        self.assertTrue(self.served.is_unkept("a.test"))
        (self.path / "a.test.pem" / "in the way").rmdir()
        (self.path / "a.test.pem").rmdir()
        self.served.keep("a.test")
        found = self.served.certificate("a.test")
        self.assertTrue(found is not None and found.is_kept)
        self.assertFalse(self.served.is_unkept("a.test"))
        self.assertEqual(len(self.successResultOf(self.served.get("a.test"))), 2)

    def test_unusable(self) -> None:
        """A certificate without its key is not stored."""
        self.failureResultOf(self.served.store("a.test", make("a.test").objects[1:]), CertificateError)
        self.assertEqual(self.successResultOf(self.served.as_dict()), {})
        self.assertIs(self.served.context_for("a.test"), self.self_signed)
