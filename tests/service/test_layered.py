"""Options that come from several places."""

import os
import threading
from pathlib import Path

from mles_tx.service.config import ConfigError
from mles_tx.service.options import Options

from .test_sources import SourcesTestCase

#: The file, the environment, the command line, a field and its value: the last that says something is believed.
STRONGER: tuple[tuple[str, dict[bytes, bytes], str, str, object], ...] = (
    ("limit = 1", {}, "", "limit", 1),
    ("limit = 1", {b"MLES_TX_LIMIT": b"2"}, "", "limit", 2),
    ("limit = 1", {b"MLES_TX_LIMIT": b"2"}, "--limit 3", "limit", 3),
    ("limit = 1", {b"MLES_TX_LIMIT": b"2"}, "-l 3", "limit", 3),
    ("limit = 1", {b"MLES_TX_LIMIT": b"2"}, "--lim=200", "limit", 200),
    ("limit = 1", {b"MLES_TX_FILELIMIT": b"2"}, "--per-ip-limit 3", "limit", 1),
    ("no-metrics-logging = true", {b"MLES_TX_NO_METRICS_LOGGING": b"0"}, "", "metrics_logging", True),
    ("no-metrics-logging = false", {}, "--no-metrics-logging", "metrics_logging", False),
    (
        "no-metrics-logging = true",
        {b"MLES_TX_NO_METRICS_LOGGING": b"0"},
        "--no-metrics-logging",
        "metrics_logging",
        False,
    ),
    ('domains = ["a.test"]', {}, "--domains b.test", "domains", ("b.test",)),
    ('domains = ["a.test"]', {}, "-d b.test -d c.test", "domains", ("b.test", "c.test")),
    ('domains = ["a.test"]', {b"MLES_TX_DOMAINS": b"b.test"}, "", "domains", ("b.test",)),
    ('domains = ["a.test"]', {b"MLES_TX_DOMAINS": b""}, "", "domains", ()),
    (
        'domains = "a.test"\ncertificate = "a.pem"\nprivate-key = "a.key"',
        {},
        "--certificate /b.pem --private-key /b.key",
        "certificates",
        ((Path("/b.pem"), Path("/b.key")),),
    ),
    (
        'domains = "a.test"\nstaging = true',
        {},
        "--acme-directory https://ca.test/",
        "acme_directory",
        "https://ca.test/",
    ),
    (
        'domains = "a.test"\nacme-directory = "https://ca.test/"',
        {b"MLES_TX_STAGING": b"0"},
        "",
        "acme_directory",
        None,
    ),
    ('domains = "a.test"\nredirect-port = 81', {b"MLES_TX_REDIRECT": b"no"}, "", "redirect_port", None),
    ('domains = "a.test"\nredirect-port = 81', {}, "--redirect", "redirect_port", 80),
    ('domains = "a.test"\nport = 81\ninterface = "::1"', {}, "--listen systemd:index=0", "port", None),
    ('domains = "a.test"\nport = 81\ninterface = "::1"', {}, "--listen systemd:index=0", "interfaces", ()),
    ('domains = "a.test"\nlisten = "systemd:index=0"', {b"MLES_TX_PORT": b"81"}, "", "listen_on", ()),
    ('domains = "a.test"\nlisten = "systemd:index=0"', {}, "--interface ::1", "listen_on", ()),
    ('domains = "a.test"\nport = 81\ninterface = "::1"', {}, "--port 82", "interfaces", ("::1",)),
    ('key-file = "key"', {b"MLES_KEY": b"own"}, "", "keys", (b"own", b"s3cret")),
)

#: What is wrong is told, also when something stronger is believed.
WRONG_ALL_THE_SAME: tuple[tuple[str, dict[bytes, bytes], str, str], ...] = (
    ("limit = 0", {}, "--limit 3", "{file}: limit '0': give a whole number from 1 to 999999"),
    ("zzz = 0", {b"MLES_TX_LIMIT": b"2"}, "", "{file}: zzz: no option of this name; --help lists the options"),
    ("", {b"MLES_TX_LIMIT": b"0"}, "--limit 3", "MLES_TX_LIMIT '0': give a whole number from 1 to 999999"),
)


class PrecedenceTests(SourcesTestCase):
    """Who is believed."""

    def test_stronger(self) -> None:
        """The command line is stronger than the environment, and that than the file; lists are not mixed."""
        found = [(*row[:4], getattr(self.config(*row[:3]), row[3])) for row in STRONGER]
        self.assertEqual(found, list(STRONGER))

    def test_wrong_all_the_same(self) -> None:
        """What nobody would have looked at is looked at as well."""
        found = [self.error(*row[:3]) for row in WRONG_ALL_THE_SAME]
        self.assertEqual(found, [row[3].replace("{file}", str(self.file)) for row in WRONG_ALL_THE_SAME])


class RereadTests(SourcesTestCase):
    """What is read while the server runs."""

    def test_reread(self) -> None:
        """What has changed in the file and in those it names is there; all else is as it was."""
        options = self.options('limit = 1\nkey-file = "key"', {b"MLES_TX_FILELIMIT": b"5"}, "--rate-limit 3")
        self.file.write_text('limit = 2\nrate-limit = 9\nkey-file = ["key", "other"]')
        (self.directory / "key").write_bytes(b"newer")
        config = options.reread().config()
        self.assertEqual((config.limit, config.filelimit, config.rate_limit), (2, 5, 3))
        self.assertEqual(config.keys, (b"newer", b"0ther"))
        self.assertEqual(options.config().limit, 1)

    def test_error(self) -> None:
        """What is wrong by then is told, and can be mended."""
        options = self.options("limit = 1")
        self.file.write_text("limit = 0")
        self.assertRaises(ConfigError, lambda: options.reread().config())
        self.file.write_text("limit = 2")
        self.assertEqual(options.reread().config().limit, 2)

    def test_elsewhere(self) -> None:
        """Files are found again by a program that has gone to another directory, as twistd may."""
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        self.file.write_text('key-file = "key"\ncache = "there"')
        options = Options({})
        options.parse(["--config", "mles.toml", "--key-file", "other"])
        self.assertEqual(options.config().keys, (b"0ther",))
        os.chdir("/")
        again = options.reread().config()
        self.assertEqual((again.keys, again.cache), ((b"0ther",), self.directory / "there"))

    def test_another_process(self) -> None:
        """Another process has the same options, with the files as they were; it does not look for them."""
        options = self.options('limit = 1\nkey-file = "key"', {}, "--rate-limit 3")
        config, handed_on = options.config(), options.handed_on()
        self.file.unlink()
        (self.directory / "key").unlink()
        again = Options.resumed(*handed_on, {}).config()
        self.assertEqual((again.limit, again.rate_limit, again.keys), (1, 3, config.keys))
        arguments, directory, contents = handed_on
        wrong = {**contents, self.file: b"limit = 0"}
        self.assertRaises(ConfigError, Options.resumed, arguments, directory, wrong, {})

    def test_pipe(self) -> None:
        """A pipe is read at the start, and once; later it would keep the server waiting, and is refused."""
        path = self.directory / "pipe"
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(b"s3cret",))
        writer.start()
        options = Options({})
        options.parse(["--key-file", str(path)])
        writer.join()
        self.assertEqual(options.config().keys, (b"s3cret",))
        error = self.assertRaises(ConfigError, options.reread)
        self.assertEqual(
            str(error), f"--key-file {path}: no regular file, so it cannot be read again; restart the server"
        )

    def test_nowhere(self) -> None:
        """A program whose directory has gone starts all the same."""
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        gone = self.directory / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()
        options = Options({})
        options.parse(["--key-file", str(self.directory / "key")])
        self.assertEqual(options.config().keys, (b"s3cret",))
