"""The account's files."""

import os
import stat
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.account import Account

from .making import key_pem


class AccountTests(SynchronousTestCase):
    """The key of an account, and where the account is."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "acme" / "ca.example"
        self.account = Account(self.path)

    def test_key(self) -> None:
        """The key is made once, kept for its owner alone, and the same for the next server and for another one."""
        key = self.account.key()
        self.assertEqual(Account(self.path).key(), key)
        self.assertEqual(self.account.key(), key)
        (file,) = self.path.iterdir()
        self.assertEqual((file.name, stat.S_IMODE(file.stat().st_mode)), ("account-key.pem", 0o600))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)

    def test_broken_key(self) -> None:
        """What is no key, or none of this kind, is kept aside and replaced."""
        for content in (
            b"",
            b"half a key",
            key_pem(ec.generate_private_key(ec.SECP384R1())),
            key_pem(rsa.generate_private_key(65537, 2048)),
            key_pem(ec.generate_private_key(ec.SECP256R1()), passphrase=b"secret"),
            bytes(99999),
        ):
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "account-key.pem").write_bytes(content)
            key = self.account.key()
            self.assertEqual(self.account.key(), key)
            self.assertEqual((self.path / "account-key.broken").read_bytes(), content)

    def test_kept(self) -> None:
        """Where the account is and whom it names is kept, until it is forgotten."""
        key = self.account.key()
        self.assertIsNone(self.account.load(key))
        self.account.save(key, "https://ca.example/1", ("mailto:me@example.org",))
        self.assertEqual(Account(self.path).load(key), ("https://ca.example/1", ("mailto:me@example.org",)))
        self.account.forget()
        self.account.forget()
        self.assertIsNone(self.account.load(key))

    def test_other_key(self) -> None:
        """The account of another key is none of ours."""
        key = self.account.key()
        self.account.save(Account(self.path.parent).key(), "https://ca.example/1", ())
        self.assertIsNone(self.account.load(key))

    def test_broken(self) -> None:
        """A broken file is no account."""
        key = self.account.key()
        self.account.save(key, "https://ca.example/1", ())
        good = (self.path / "account.json").read_bytes()
        for content in (
            b"[]",
            b"7",
            b"\xff",
            b"{",
            b"[" * 9999,
            good.replace(b'"url"', b'"uri"'),
            good.replace(b"[]", b"7"),
            good.replace(b"https:", b"http:"),
        ):
            (self.path / "account.json").write_bytes(content)
            self.assertIsNone(self.account.load(key), content)

    def test_no_url(self) -> None:
        """What is at no https URL is not kept as an account."""
        key = self.account.key()
        self.account.save(key, "https://ca.example/1", ())
        for url in ("http://ca.example/2", "/2", ""):
            self.assertRaises(ValueError, self.account.save, key, url, ())
        self.assertEqual(self.account.load(key), ("https://ca.example/1", ()))

    def test_left_behind(self) -> None:
        """A key that a crash has left half written goes away at the next start; one being written stays."""
        self.path.mkdir(parents=True)
        for name, hours in ((".old.new", 2), (".young.new", 0)):
            (self.path / name).write_bytes(b"a private key")
            when = time.time() - hours * 3600
            os.utime(self.path / name, (when, when))
        self.account.key()
        self.assertEqual({path.name for path in self.path.iterdir()}, {".young.new", "account-key.pem"})
