"""--check."""

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.checking import check
from mles_tx.service.config import ConfigError, ServerConfig
from tests.transport.certificates.making import Made, make

GOOD = ["the settings are good"]


class CheckTests(SynchronousTestCase):
    """Settings, and the files they name."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def files(self, made: Made) -> tuple[Path, Path]:
        """A certificate and its key."""
        chain, key = self.directory / "chain.pem", self.directory / "key.pem"
        chain.write_bytes(made.certificate_pem)
        key.write_bytes(made.key_pem)
        return chain, key

    def error(self, **fields: Any) -> str:
        """What is in the way of a start."""
        return str(self.assertRaises(ConfigError, check, ServerConfig(**fields)))

    def test_nothing_to_look_at(self) -> None:
        """A server without files has nothing to look at, and nothing is made."""
        cache = self.directory / "a" / "cache"
        self.assertEqual(check(ServerConfig(cache=cache)), GOOD)
        self.assertEqual(check(ServerConfig(domains=("example.org",), cache=cache)), GOOD)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_certificates(self) -> None:
        """Certificates are read, and have to belong to their keys."""
        made, other = make("example.org"), make("example.org")
        pair = self.files(made)
        fields: dict[str, Any] = {"domains": ("example.org",), "certificates": (pair,)}
        self.assertEqual(check(ServerConfig(**fields)), GOOD)
        pair[1].write_bytes(other.key_pem)
        self.assertEqual(
            self.error(**fields),
            f"--certificate {pair[0]}, --private-key {pair[1]}: the key does not belong to the certificate:"
            " give matching files",
        )
        pair[1].unlink()
        self.assertEqual(
            self.error(**fields), f"--private-key {pair[1]}: No such file or directory; give a file that can be read"
        )

    def test_warnings(self) -> None:
        """What would not keep a server from starting is a warning."""
        pair = self.files(make("example.org", days=-1))
        (self.directory / "example.org").mkdir()
        config = ServerConfig(
            domains=("example.org", "a.test"), certificates=(pair,), wwwroot=self.directory, cache=self.directory
        )
        self.assertEqual(
            check(config),
            [
                "warning: the certificate for example.org has expired: replace it",
                "warning: no certificate is for a.test: clients will refuse it",
                f"warning: {self.directory / 'a.test'} is not a directory: a.test has no pages",
                *GOOD,
            ],
        )

    def test_authorities(self) -> None:
        """The file with the authorities to trust is read."""
        fields: dict[str, Any] = {"domains": ("a.test",), "acme_directory": "https://ca.test/", "cache": self.directory}
        path = self.directory / "ca.pem"
        self.assertEqual(self.error(**fields, acme_ca=path), f"--acme-ca {path}: No such file or directory")
        path.write_bytes(b"no PEM")
        self.assertEqual(self.error(**fields, acme_ca=path), f"--acme-ca {path}: no PEM certificate in this file")
        path.write_bytes(make("ca.test").certificate_pem)
        self.assertEqual(check(ServerConfig(**fields, acme_ca=path)), GOOD)

    def test_cache(self) -> None:
        """The cache directory has to be one, or there has to be one to make it in."""
        file = self.directory / "file"
        file.write_bytes(b"")
        for cache in (file, file / "cache"):
            self.assertEqual(
                self.error(domains=("a.test",), cache=cache),
                f"--cache {cache}: {file} is not a directory; give a directory that can be written to",
            )
        self.patch(os, "access", lambda path, mode: False)
        self.assertEqual(
            self.error(domains=("a.test",), cache=self.directory),
            f"--cache {self.directory}: {self.directory} cannot be written to; give a directory that can be written to",
        )
        self.assertEqual(check(ServerConfig(cache=file)), GOOD)
