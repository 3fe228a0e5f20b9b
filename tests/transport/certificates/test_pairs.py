"""A certificate with its private key, looked at before anybody is shown it."""

import base64
from datetime import timedelta
from pathlib import Path

import pem
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.pairs import CertificateError, Pair, pair_from_files, pair_from_pem

from .making import NOW, Key, Made, key_pem, make, twice_extended

P256 = ec.SECP256R1()

DAMAGED = "the certificate or the key is damaged: replace it"
MISMATCH = "the key does not belong to the certificate: give matching files"
PASSPHRASE = "the key has a passphrase: remove it with openssl pkey"
WRONG_KIND = "the key is of a kind TLS has no use for: make an ECDSA or RSA key"
MISSING = "a private key and a certificate are needed"

PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


def armoured(der: bytes, label: str) -> bytes:
    """DER as PEM."""
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (
        label.encode(),
        base64.encodebytes(der),
        label.encode(),
    )


def changed(made: Made, old: bytes, new: bytes) -> bytes:
    """A certificate in which some bytes have become others of the same length."""
    der = made.certificate.public_bytes(Encoding.DER)
    if old not in der or len(old) != len(new):
        raise ValueError("there is nothing to change")
    return armoured(der.replace(old, new), "CERTIFICATE")


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """An RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


class PairFromPemTests(SynchronousTestCase):
    """PEM objects as a store holds them."""

    def assert_refused(self, text: bytes, message: str) -> None:
        """No pair is made of it, and the message says why."""
        error = self.assertRaises(CertificateError, pair_from_pem, pem.parse(text))
        self.assertEqual(str(error), message)

    def assert_taken(self, text: bytes) -> Pair:
        """A pair for example.org is made of it."""
        pair = pair_from_pem(pem.parse(text))
        self.assertEqual(pair.names, ("example.org",))
        self.assertIsInstance(pair.context, SSL.Context)
        return pair

    def test_pair(self) -> None:
        """It knows its names, and when it ends, with the zone."""
        pair = pair_from_pem(make("example.org", "10.0.0.1", days=12).objects)
        self.assertEqual(pair.names, ("example.org", "10.0.0.1"))
        self.assertEqual(pair.not_valid_after, NOW + timedelta(days=12))

    def test_kinds_of_keys(self) -> None:
        """Keys as certificate authorities and openssl make them are taken, in each of their forms."""
        keys: tuple[Key, ...] = (
            ec.generate_private_key(P256),
            ec.generate_private_key(ec.SECP384R1()),
            ed25519.Ed25519PrivateKey.generate(),
            rsa_key(2048),
        )
        for key in keys:
            made = make("example.org", key=key)
            self.assert_taken(made.key_pem + made.certificate_pem)
            if not isinstance(key, ed25519.Ed25519PrivateKey):
                self.assert_taken(key_pem(key, PrivateFormat.TraditionalOpenSSL) + made.certificate_pem)

    def test_order_and_surroundings(self) -> None:
        """Key and certificate may come in any order, with other objects, text and other line ends around them."""
        key = ec.generate_private_key(P256)
        made = make("example.org", key=key)
        for text in (
            made.certificate_pem + made.key_pem,
            b"for example.org:\n" + made.key_pem + b"\nand\n" + made.certificate_pem + b"\n",
            (made.key_pem + made.certificate_pem).replace(b"\n", b"\r\n"),
            PARAMETERS + key_pem(key, PrivateFormat.TraditionalOpenSSL) + made.certificate_pem,
        ):
            self.assert_taken(text)

    def test_chain(self) -> None:
        """The first certificate is the server's, what follows leads to its root: names and end are the first's."""
        root = make(common_name="root.example", days=3)
        made = make("example.org", issuer=root, days=2)
        pair = self.assert_taken(made.key_pem + made.certificate_pem + root.certificate_pem)
        self.assertEqual(pair.not_valid_after, NOW + timedelta(days=2))
        self.assert_refused(made.key_pem + root.certificate_pem + made.certificate_pem, MISMATCH)

    def test_expired(self) -> None:
        """A certificate that has ended is still one: better shown than none."""
        pair = pair_from_pem(make("example.org", days=-3).objects)
        self.assertEqual(pair.not_valid_after, NOW - timedelta(days=3))

    def test_missing(self) -> None:
        """Without a key, without a certificate or without both there is no pair."""
        made = make("example.org")
        for text in (b"", made.key_pem, made.certificate_pem, b"nothing of the sort"):
            self.assert_refused(text, MISSING)

    def test_not_matching(self) -> None:
        """The key has to be the certificate's own."""
        made = make("example.org")
        for other in (ec.generate_private_key(P256), ec.generate_private_key(ec.SECP384R1()), rsa_key(2048)):
            self.assert_refused(key_pem(other) + made.certificate_pem, MISMATCH)

    def test_passphrase(self) -> None:
        """A key with a passphrase is refused: nobody is there to type it."""
        key = ec.generate_private_key(P256)
        made = make("example.org", key=key)
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            self.assert_refused(key_pem(key, form, b"secret") + made.certificate_pem, PASSPHRASE)

    def test_wrong_kinds(self) -> None:
        """Keys that no browser accepts are refused as such."""
        for key in (dsa.generate_private_key(1024), ed448.Ed448PrivateKey.generate()):
            made = make("example.org", key=key)
            self.assert_refused(made.key_pem + made.certificate_pem, WRONG_KIND)

    def test_too_short(self) -> None:
        """A key that is too short for TLS is refused for that, and not for belonging to something else."""
        made = make("example.org", key=rsa_key(1024))
        error = self.assertRaises(CertificateError, pair_from_pem, made.objects)
        self.assertIn("short", str(error))
        self.assertNotIn("belong", str(error))

    def test_damaged(self) -> None:
        """What was cut off, garbled or overwritten is refused, and no fault of the libraries gets out."""
        key = ec.generate_private_key(P256)
        made = make("abcdef.example", key=key)
        der = made.certificate.public_bytes(Encoding.DER)
        key_der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        good = made.key_pem
        for text in (
            good + armoured(bytes(3), "CERTIFICATE"),
            good + armoured(der[:-9], "CERTIFICATE"),
            good + armoured(der[: len(der) // 2], "CERTIFICATE"),
            good + armoured(bytes(len(der)), "CERTIFICATE"),
            good + b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
            good + made.certificate_pem + armoured(der[:-9], "CERTIFICATE"),
            armoured(bytes(3), "PRIVATE KEY") + made.certificate_pem,
            armoured(key_der[:-9], "PRIVATE KEY") + made.certificate_pem,
            armoured(bytes(len(key_der)), "PRIVATE KEY") + made.certificate_pem,
            b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n" + made.certificate_pem,
            b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n" + made.certificate_pem,
        ):
            self.assert_refused(text, DAMAGED)

    def test_damaged_names(self) -> None:
        """A certificate whose names are no text is refused like any other damage."""
        made = make("abcdef.example")
        self.assert_refused(made.key_pem + changed(made, b"abcdef", b"\xff\xfe\xfd\xfc\xfb\xfa"), DAMAGED)

    def test_impossible_extensions(self) -> None:
        """A certificate with extensions that cannot be is refused like any other damage."""
        self.assert_refused(twice_extended("example.org"), DAMAGED)
        strange = make("example.org", others=[x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")])
        x400 = changed(strange, b"\xa0\x08\x06\x02\x2a\x03", b"\xa3\x08\x06\x02\x2a\x03")
        self.assert_refused(strange.key_pem + x400, DAMAGED)

    def test_damaged_key_kind(self) -> None:
        """A key on a curve that nobody knows is refused like any other damage."""
        key = ec.generate_private_key(P256)
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        prime256v1, unknown = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f")
        self.assertIn(prime256v1, der)
        made = make("example.org", key=key)
        error = self.assertRaises(
            CertificateError,
            pair_from_pem,
            pem.parse(armoured(der.replace(prime256v1, unknown), "PRIVATE KEY") + made.certificate_pem),
        )
        self.assertIn(str(error), (DAMAGED, WRONG_KIND))


class PairFromFilesTests(SynchronousTestCase):
    """The operator's own files."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.made = make("example.org")
        self.certificate = self.file("chain.pem", self.made.certificate_pem)
        self.key = self.file("key.pem", self.made.key_pem)

    def file(self, name: str, content: bytes) -> Path:
        """A file."""
        path = self.directory / name
        path.write_bytes(content)
        return path

    def assert_refused(self, certificate: Path, key: Path, message: str) -> None:
        """No pair is made of the files, and the message says which option is at fault, and why."""
        error = self.assertRaises(CertificateError, pair_from_files, certificate, key)
        self.assertEqual(str(error), message)

    def test_files(self) -> None:
        """Two files, or one with everything for both options."""
        both = self.file("both.pem", self.made.certificate_pem + self.made.key_pem)
        for certificate, key in (
            (self.certificate, self.key),
            (both, both),
            (both, self.key),
            (self.certificate, both),
        ):
            pair = pair_from_files(certificate, key)
            self.assertEqual((pair.names, pair.not_valid_after), (("example.org",), NOW + timedelta(days=90)))

    def test_own_file_counts(self) -> None:
        """The key comes from the key's file, also when the certificate's file has one too."""
        other = make("other.example")
        mixed = self.file("mixed.pem", other.key_pem + self.made.certificate_pem)
        self.assertEqual(pair_from_files(mixed, self.key).names, ("example.org",))
        mixed = self.file("mixed.pem", other.certificate_pem + self.made.key_pem)
        self.assertEqual(pair_from_files(self.certificate, mixed).names, ("example.org",))

    def test_missing_file(self) -> None:
        """A file that is not there, or is none, is named with its option."""
        missing = self.directory / "missing.pem"
        for path, reason in (
            (missing, "No such file or directory"),
            (self.directory, "Is a directory"),
            (self.key / "below", "Not a directory"),
        ):
            self.assert_refused(path, self.key, f"--certificate {path}: {reason}; give a file that can be read")
            self.assert_refused(self.certificate, path, f"--private-key {path}: {reason}; give a file that can be read")

    def test_files_without(self) -> None:
        """A file without what it is to hold is named with its option; so is one for the other option."""
        empty = self.file("empty.pem", b"")
        binary = self.file("binary.pem", bytes(range(256)))
        for path in (empty, binary, self.key):
            self.assert_refused(path, self.key, f"--certificate {path}: no PEM certificate in this file")
        for path in (empty, binary, self.certificate):
            self.assert_refused(self.certificate, path, f"--private-key {path}: no PEM private key in this file")

    def test_public_key(self) -> None:
        """A public key is no private key; beside the private one it does no harm."""
        public = self.made.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        path = self.file("public.pem", public)
        self.assert_refused(self.certificate, path, f"--private-key {path}: no PEM private key in this file")
        path = self.file("both.pem", public + self.made.key_pem)
        self.assertEqual(pair_from_files(self.certificate, path).names, ("example.org",))

    def test_not_matching(self) -> None:
        """When both files are fine but not made for each other, both are named."""
        other = self.file("other.pem", make("example.org").key_pem)
        self.assert_refused(
            self.certificate, other, f"--certificate {self.certificate}, --private-key {other}: {MISMATCH}"
        )

    def test_key_not_in_message(self) -> None:
        """No message repeats what is in a key file."""
        lines = self.made.key_pem.splitlines()
        damaged = self.file("damaged.pem", b"\n".join([*lines[:2], lines[-1]]))
        error = self.assertRaises(CertificateError, pair_from_files, self.certificate, damaged)
        self.assertEqual(str(error), f"--certificate {self.certificate}, --private-key {damaged}: {DAMAGED}")
        self.assertNotIn(lines[1].decode(), repr(error) + repr(error.__context__) + repr(error.__cause__))
