"""Settings of clients: command line, environment, file."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli import client_options
from mles_tx.cli.client_options import LOCAL_SERVER, ClientOptions
from mles_tx.client.config import ENVIRONMENT, ClientConfig, ClientConfigError, Trust


class OptionsTestCase(SynchronousTestCase):
    """Somebody with a home of his own."""

    def setUp(self) -> None:
        directory = TemporaryDirectory(prefix="mles-tx-")
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name)
        self.file = self.home / "client.toml"
        self.patch(client_options, "config_file", lambda: self.file)

    def options(self, *arguments: str, **environ: bytes) -> ClientOptions:
        options = ClientOptions({name.encode(): value for name, value in environ.items()})
        options.parseOptions(list(arguments))
        return options

    def config(self, *arguments: str, **environ: bytes) -> ClientConfig:
        return self.options(*arguments, **environ).config("news")

    def write(self, name: str, content: str) -> str:
        path = self.home / name
        path.write_text(content)
        return str(path)


class SourcesTests(OptionsTestCase):
    """Who is believed."""

    def test_nothing(self) -> None:
        """Without anything it is the server of this machine, a new name each time, and what the system trusts."""
        config = self.config()
        self.assertEqual((config.url, config.trust, config.proxy), (LOCAL_SERVER, Trust(), ENVIRONMENT))
        self.assertEqual((config.key, config.channel, config.patience), (None, "news", 10.0))
        self.assertRegex(config.uid, "^mles-tx-[0-9a-f]{8}$")
        self.assertNotEqual(config.uid, self.config().uid)

    def test_server(self) -> None:
        """The command line is stronger than the environment, and that than the file."""
        self.write("client.toml", 'server = "ws://file/"\nuid = "filed"\n')
        self.assertEqual((self.config().url, self.config().uid), ("ws://file/", "filed"))
        self.assertEqual(self.config(MLES_SERVER=b"ws://environ/").url, "ws://environ/")
        self.assertEqual(self.config("-s", "ws://line/", MLES_SERVER=b"ws://environ/").url, "ws://line/")
        self.assertEqual(self.config(MLES_SERVER=b"").url, "ws://file/")

    def test_file(self) -> None:
        """A file has options by their names; paths in it begin where it is."""
        self.write("key", "s3cret\n")
        path = self.write("other.toml", 'key-file = "key"\nwait = 3\nproxy = "none"\n')
        config = self.config("--config", path)
        self.assertEqual((config.key, config.patience, config.proxy), (b"s3cret", 3.0, ""))

    def test_bad_file(self) -> None:
        """What is wrong in a file is named with its place."""
        for content, text in (
            ("nonsense = 1\n", "nonsense: no option of this name"),
            ('wait = "x"\n', "wait: give a whole number"),
            ("wait = 12345678\n", "wait"),
            ("server = \n", "broken TOML"),
            ('config = "x"\n', "config: no option"),
        ):
            path = self.write("client.toml", content)
            error = str(self.assertRaises(usage.UsageError, self.options))
            self.assertIn(path, error)
            self.assertIn(text, error)
        self.assertIn("/nowhere", str(self.assertRaises(usage.UsageError, self.options, "--config", "/nowhere")))


class SecretsTests(OptionsTestCase):
    """Keys and secrets."""

    def test_key(self) -> None:
        """The key comes from its file, else from the environment."""
        path = self.write("key", "filed\r\n")
        self.assertEqual(self.config(MLES_KEY=b"environ").key, b"environ")
        self.assertEqual(self.config("--key-file", path, MLES_KEY=b"environ").key, b"filed")

    def test_secret(self) -> None:
        """And so does the secret."""
        path = self.write("secret", "correct horse\n")
        self.assertIsNone(self.options().secret)
        self.assertEqual(self.options(MLES_SECRET=b"environ").secret, b"environ")
        self.assertEqual(self.options("--secret-file", path, MLES_SECRET=b"environ").secret, b"correct horse")

    def test_empty(self) -> None:
        """An empty one is an error, and not none."""
        path = self.write("empty", "\n")
        for get in (
            lambda: self.config(MLES_KEY=b""),
            lambda: self.options(MLES_SECRET=b"").secret,
            lambda: self.options("--secret-file", path).secret,
            lambda: self.options("--secret-file", "/nowhere").secret,
        ):
            self.assertRaises(ClientConfigError, get)

    def test_asked(self) -> None:
        """It is asked for where there is a terminal."""
        answers: list[Any] = ["correct horse", ""]
        self.patch(sys.stdin, "isatty", lambda: True)
        self.patch(client_options, "getpass", lambda _: answers.pop(0))
        self.assertEqual(self.options("--ask-secret", MLES_SECRET=b"other").secret, b"correct horse")
        self.assertRaises(ClientConfigError, lambda: self.options("--ask-secret").secret)

    def test_nobody_to_ask(self) -> None:
        """Without a terminal the line says what else there is."""
        self.patch(sys.stdin, "isatty", lambda: False)
        error = self.assertRaises(ClientConfigError, lambda: self.options("--ask-secret").secret)
        self.assertIn("--secret-file", str(error))


class TrustTests(OptionsTestCase):
    """Whose certificate is believed."""

    def test_trust(self) -> None:
        """A file with authorities, or one fingerprint, but not both."""
        self.assertEqual(self.config("--ca-file", "ca.pem").trust, Trust(Path("ca.pem")))
        self.assertEqual(self.config("--fingerprint", "AB" * 32).trust, Trust(fingerprint="ab" * 32))
        self.assertRaises(ClientConfigError, self.config, "--ca-file", "x", "--fingerprint", "ab" * 32)
        self.assertRaises(ClientConfigError, self.config, "--fingerprint", "abc")
