"""A certificate for names nobody can get a public one for."""

import stat
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pem
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.pairs import Pair
from mles_tx.transport.certificates.selfsigned import self_signed_pair
from mles_tx.transport.certificates.store import CertificateDirectory

from .making import NOW, make

DAY = timedelta(days=1)


class SelfSignedTests(SynchronousTestCase):
    """The certificate of a server without a domain of its own."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "self-signed"
        self.store = CertificateDirectory(self.path)

    def pair(self, names: Sequence[str] = ("localhost",), now: datetime = NOW) -> Pair:
        """The pair a server gets that is started now."""
        return self_signed_pair(self.store, names, now)

    def kept(self, name: str = "localhost") -> x509.Certificate:
        """The certificate in a file."""
        _, certificate = self.store.load(name)
        return x509.load_pem_x509_certificate(certificate.as_bytes())

    def test_made(self) -> None:
        """It is for all the names and addresses, and valid for 364 days, an hour back in time as well."""
        names = ("localhost", "chat.internal", "127.0.0.1", "::1")
        pair = self.pair(names)
        self.assertEqual(pair.names, names)
        self.assertEqual(pair.not_valid_after, NOW + 364 * DAY)
        certificate = self.kept()
        self.assertEqual(certificate.not_valid_before_utc, NOW - timedelta(hours=1))
        self.assertLessEqual(certificate.not_valid_after_utc - certificate.not_valid_before_utc, 365 * DAY)

    def test_form(self) -> None:
        """It is what browsers and libraries take for a server's, and cannot vouch for any other."""
        self.pair()
        certificate = self.kept()
        certificate.verify_directly_issued_by(certificate)
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual((constraints.value.ca, constraints.critical), (False, True))
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.SERVER_AUTH])
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.assertIsInstance(key.curve, ec.SECP256R1)
        self.assertGreater(certificate.serial_number.bit_length(), 64)

    def test_file(self) -> None:
        """It lies in a file of the first name, key first, readable by nobody else."""
        self.pair(("::1", "localhost"))
        file = self.path / "__1.pem"
        self.assertEqual(list(self.path.iterdir()), [file])
        key, certificate = pem.parse_file(file)
        self.assertIsInstance(key, pem.Key)
        self.assertIsInstance(certificate, pem.Certificate)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)

    def test_kept(self) -> None:
        """The next start, months later, shows the same certificate: who was told to trust it need not be told again."""
        self.pair(("localhost", "::1"))
        first = self.kept()
        for days in (0, 1, 333):
            self.assertEqual(self.pair(("localhost", "::1"), NOW + days * DAY).not_valid_after, NOW + 364 * DAY)
            self.assertEqual(self.pair(("::1", "localhost"), NOW + days * DAY).not_valid_after, NOW + 364 * DAY)
        self.assertEqual(self.kept(), first)

    def test_kept_whatever_the_order(self) -> None:
        """The order of the names behind the first makes no difference."""
        self.pair(("localhost", "a.test", "b.test"))
        first = self.kept()
        self.pair(("localhost", "b.test", "a.test"))
        self.assertEqual(self.kept(), first)

    def test_renewed(self) -> None:
        """With 30 days or less to go, or past its end, a new one is made."""
        for days in (334, 364, 1000):
            CertificateDirectory(self.path).save("localhost", self._objects_from(NOW))
            now = NOW + days * DAY
            self.assertEqual(self.pair(now=now).not_valid_after, now + 364 * DAY)
            self.assertEqual(self.kept().not_valid_after_utc, now + 364 * DAY)

    def test_clock_was_ahead(self) -> None:
        """One that begins in the future, made while the clock was wrong, is replaced: nobody would take it."""
        CertificateDirectory(self.path).save("localhost", self._objects_from(NOW + 1000 * DAY))
        self.assertEqual(self.pair().not_valid_after, NOW + 364 * DAY)

    def _objects_from(self, start: datetime) -> list[pem.AbstractPEMObject]:
        """What was kept by a server that was first started then."""
        store = CertificateDirectory(Path(self.mktemp()))
        self_signed_pair(store, ["localhost"], start)
        return store.load("localhost")

    def test_other_names(self) -> None:
        """When the names are others, more or fewer, a new one is made for exactly these."""
        seen = set()
        for names in (
            ("localhost", "a.test"),
            ("localhost", "a.test", "b.test"),
            ("localhost", "b.test"),
            ("localhost",),
        ):
            self.assertEqual(self.pair(names).names, names)
            seen.add(self.kept())
        self.assertEqual(len(seen), 4)

    def test_new_key(self) -> None:
        """A new certificate comes with a new key."""
        self.pair(("localhost",))
        first = self.kept().public_key()
        self.pair(("localhost", "a.test"))
        self.assertNotEqual(self.kept().public_key(), first)

    def test_broken(self) -> None:
        """A file that is broken, or holds something else, is replaced and keeps no server from starting."""
        good, other = make("localhost", days=200), make("localhost")
        damaged = make("localhost").certificate_pem.splitlines()
        for content in (
            b"",
            bytes(range(256)),
            good.key_pem,
            good.certificate_pem,
            good.key_pem + other.certificate_pem,
            good.key_pem + b"\n".join(damaged[:3] + damaged[-1:]),
            good.certificate_pem[: len(good.certificate_pem) // 2],
        ):
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "localhost.pem").write_bytes(content)
            self.assertEqual(self.pair().not_valid_after, NOW + 364 * DAY)
            self.assertEqual(self.kept().not_valid_after_utc, NOW + 364 * DAY)

    def test_broken_names(self) -> None:
        """A file in which the names have become garbage is replaced like any other broken one."""
        made = make("localhost")
        der = made.certificate.public_bytes(Encoding.DER)
        broken = pem.Certificate(
            x509.load_der_x509_certificate(der.replace(b"localhost", b"\xfflocalhos")).public_bytes(Encoding.PEM)
        )
        self.store.save("localhost", [made.objects[0], broken])
        self.assertEqual(self.pair().not_valid_after, NOW + 364 * DAY)

    def test_cannot_be_kept(self) -> None:
        """When it cannot be kept the operator is told: else every start would show another."""
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(b"a file")
        self.assertRaises(OSError, self.pair)
        self.assertEqual(self.path.read_bytes(), b"a file")

    def test_long_name(self) -> None:
        """A name may be longer than a common name may be."""
        name = "a" * 60 + "." + "b" * 60 + ".test"
        self.assertEqual(self.pair((name,)).names, (name,))
        (common,) = self.kept(name).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        self.assertEqual(common.value, name[:64])
