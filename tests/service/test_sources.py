"""Options in a file and in the environment."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.config import ConfigError, ServerConfig
from mles_tx.service.options import Options
from mles_tx.service.sources import Kind, kinds, read, variable
from mles_tx.stores.redis.address import RedisAddress
from mles_tx.transport.certificates.authority import ExternalAccount

DOCS = Path(__file__).parents[2] / "docs"

#: What stands in the file, and a field of the configuration with its value. `{here}` is the file's directory.
GOOD = (
    ("", "limit", 200),
    ("# nothing but a comment", "limit", 200),
    ("limit = 7", "limit", 7),
    ("limit = 0x10", "limit", 16),
    ("limit = 1_000", "limit", 1000),
    ("rate-limit = 0", "rate_limit", 0),
    ("ping-interval = 1500", "ping_interval", 1.5),
    ("no-metrics-logging = true", "metrics_logging", False),
    ("no-metrics-logging = false", "metrics_logging", True),
    ('"limit" = 7', "limit", 7),
    ('wwwroot = "."', "wwwroot", "{here}"),
    ('wwwroot = "{here}"', "wwwroot", "{here}"),
    ('cache = "there"', "cache", "{here}/there"),
    ('history = "sqlite:there.db"', "history", "{here}/there.db"),
    ('history = "sqlite:/srv/there.db"', "history", "/srv/there.db"),
    ('history = "redis+unix:///run/redis.sock?db=1"', "history", RedisAddress("", path="/run/redis.sock", database=1)),
    ('history = "memory"', "history", None),
    ('cache = "../there"', "cache", "{here}/../there"),
    ('cache = "/srv/there"', "cache", "/srv/there"),
    ('domains = "a.test"', "domains", ("a.test",)),
    ('domains = "a.test,b.test"', "domains", ("a.test", "b.test")),
    ('domains = ["a.test", "B.test"]', "domains", ("a.test", "b.test")),
    ("domains = []", "domains", ()),
    ('origin = ["https://a.test", "null"]', "origins", ("https://a.test", "null")),
    ('key-file = "key"', "keys", (b"s3cret",)),
    ('key-file = ["key", "other"]', "keys", (b"s3cret", b"0ther")),
    (
        'domains = "a.test"\ncertificate = ["a.pem", "/b.pem"]\nprivate-key = ["a.key", "/b.key"]',
        "certificates",
        (("{here}/a.pem", "{here}/a.key"), ("/b.pem", "/b.key")),
    ),
    ('domains = "a.test"\nstaging = false\nacme-directory = "https://ca.test/"', "acme_directory", "https://ca.test/"),
    ('domains = "a.test"\nredirect = true', "redirect_port", 80),
    (
        'domains = "example.org"\nacme-key-id = 12345\nacme-hmac-key = "key"',
        "acme_account",
        ExternalAccount("12345", "s3cret"),
    ),
    ('domains = "example.org"\nemail = ["me@a.test", "you@a.test"]', "emails", ("me@a.test", "you@a.test")),
)

_NUMBER = "give a whole number, without quotes"
_TEXT = "give a text in quotes"
_TEXTS = "give a text in quotes, or a list of them"
_UNKNOWN = "no option of this name; "
_KEY = "a key does not stand in this file; write it into one of its own, and name that with key-file"

#: What stands in the file, and the error behind its name.
BAD = (
    ("rate_limit = 5", f"rate_limit: {_UNKNOWN}did you mean rate-limit?"),
    ("ratelimit = 5", f"ratelimit: {_UNKNOWN}did you mean rate-limit?"),
    ("Port = 5", f"Port: {_UNKNOWN}did you mean port?"),
    ('domain = "a.test"', f"domain: {_UNKNOWN}did you mean domains?"),
    ("zzz = 5", f"zzz: {_UNKNOWN}--help lists the options"),
    ('"a\\nb" = 5', f"a\\nb: {_UNKNOWN}--help lists the options"),
    ("help = true", f"help: {_UNKNOWN}--help lists the options"),
    ("[limits]\nlimit = 5", "limits: no option, and options stand in no table; write NAME = VALUE, one a line"),
    ("check = true", "check: of no use in a file; give --check on the command line"),
    ('config = "x"', "config: of no use in a file; give --config on the command line"),
    ('key = "s3cret"', f"key: {_KEY}"),
    ('MLES_KEY = "s3cret"', f"MLES_KEY: {_KEY}"),
    ('limit = "7"', f"limit: {_NUMBER}"),
    ("limit = 7.0", f"limit: {_NUMBER}"),
    ("limit = true", f"limit: {_NUMBER}"),
    ("limit = [7]", f"limit: {_NUMBER}"),
    ("limit = {a = 7}", f"limit: {_NUMBER}"),
    ("limit = 1979-05-27", f"limit: {_NUMBER}"),
    ("limit = 0", "limit '0': give a whole number from 1 to 999999"),
    ("limit = -5", "limit '-5': give a whole number from 1 to 999999"),
    ("limit = 99999999999999999999", "limit '99999999999999999999': give a whole number from 1 to 999999"),
    ("redirect = 1", "redirect: give true or false"),
    ('redirect = "true"', "redirect: give true or false"),
    ("redirect = true", "redirect: needs --domains; without it only this machine is served"),
    ("cache = 5", f"cache: {_TEXT}"),
    ("cache = true", f"cache: {_TEXT}"),
    ('cache = ["a"]', f"cache: {_TEXT}"),
    ('cache = ""', "cache: empty; give a value, or leave the line away"),
    ('cache = "a\\u0000b"', "cache: has a NUL in it; leave that away"),
    ("domains = 5", f"domains: {_TEXTS}"),
    ("domains = [5]", f"domains: {_TEXTS}"),
    ("domains = {a = 5}", f"domains: {_TEXTS}"),
    (
        'domains = ["a b"]',
        "domains 'a b': not a host name; give names like example.org, international ones in their xn-- form",
    ),
    ('wwwroot = "no"', "wwwroot {here}/no: not a directory; make it, or leave the option away"),
    ('key-file = "no"', "key-file {here}/no: No such file or directory; give a file that can be read"),
    (
        'domains = "a.test"\ncertificate = "a.pem"',
        "certificate: each one needs its --private-key, given in the same order",
    ),
    (
        'domains = "a.test"\nstaging = true\nacme-directory = "https://ca.test/"',
        "staging: --acme-directory is given as well; keep one of them",
    ),
)

#: What stands in the file, and the error behind `--config` and its name.
BROKEN = (
    (b"limit =", "broken TOML: Invalid value (at end of document); mend that line"),
    (b"limit = 5\nlimit = 6", "broken TOML: Cannot overwrite a value (at end of document); mend that line"),
    (
        b"ok = 1\n\nlimit 5",
        "broken TOML: Expected '=' after a key in a key/value pair (at line 3, column 7); mend that line",
    ),
    (b"\n\nemail = '\xff'", "line 3 is not UTF-8; save the file as UTF-8"),
    (b"a = " + b"[" * 5000, "broken TOML; options are NAME = VALUE, one a line"),
    (b"#" * (1024 * 1024 + 1), "larger than 1048576 bytes; give the file that was meant"),
)

#: Variables, and a field of the configuration with its value.
GOOD_VARIABLES: tuple[tuple[dict[bytes, bytes], str, object], ...] = (
    ({b"MLES_TX_LIMIT": b"7"}, "limit", 7),
    ({b"MLES_TX_RATE_LIMIT": b"0"}, "rate_limit", 0),
    *(({b"MLES_TX_NO_METRICS_LOGGING": on}, "metrics_logging", False) for on in (b"1", b"true", b"YES")),
    *(({b"MLES_TX_NO_METRICS_LOGGING": off}, "metrics_logging", True) for off in (b"0", b"False", b"no")),
    ({b"MLES_TX_DOMAINS": b"a.test, b.test"}, "domains", ("a.test", "b.test")),
    ({b"MLES_TX_ORIGIN": b"https://a.test,null"}, "origins", ("https://a.test", "null")),
    ({b"MLES_TX_DOMAINS": b""}, "domains", ()),
    ({b"MLES_TX_CACHE": "caf\u00e9".encode()}, "cache", Path("caf\u00e9")),
    ({b"MLES_SERVER": b"x", b"MLES_SECRET": b"\xff", b"MLES_LIMIT": b"1", b"TX_LIMIT": b"1"}, "limit", 200),
    ({b"MLES_KEY": b"\xff"}, "keys", (b"\xff",)),
)

_VARIABLE = "no option has this variable; "

BAD_VARIABLES: tuple[tuple[dict[bytes, bytes], str], ...] = (
    ({b"MLES_TX_RATE_LIMT": b"7"}, f"MLES_TX_RATE_LIMT: {_VARIABLE}did you mean MLES_TX_RATE_LIMIT?"),
    ({b"MLES_TX_rate_limit": b"7"}, f"MLES_TX_rate_limit: {_VARIABLE}did you mean MLES_TX_RATE_LIMIT?"),
    ({b"MLES_TX_RATE-LIMIT": b"7"}, f"MLES_TX_RATE-LIMIT: {_VARIABLE}did you mean MLES_TX_RATE_LIMIT?"),
    ({b"MLES_TX_": b"7"}, f"MLES_TX_: {_VARIABLE}--help lists the options"),
    ({b"MLES_TX_\xff\n": b"7"}, f"MLES_TX_\\xff\\n: {_VARIABLE}--help lists the options"),
    (
        {b"MLES_TX_KEY": b"s3cret"},
        f"MLES_TX_KEY: {_VARIABLE}a key is set as MLES_KEY, files with keys as MLES_TX_KEY_FILE",
    ),
    ({b"MLES_TX_CHECK": b"1"}, "MLES_TX_CHECK: of no use as a variable; give --check on the command line"),
    ({b"MLES_TX_LIMIT": b"x"}, "MLES_TX_LIMIT 'x': give a whole number from 1 to 999999"),
    ({b"MLES_TX_LIMIT": b""}, "MLES_TX_LIMIT: empty; set a value, or unset it"),
    ({b"MLES_TX_CACHE": b""}, "MLES_TX_CACHE: empty; set a value, or unset it"),
    ({b"MLES_TX_LIMIT": b"\xff"}, "MLES_TX_LIMIT: not UTF-8; set it to a text in UTF-8"),
    ({b"MLES_TX_REDIRECT": b"on"}, "MLES_TX_REDIRECT 'on': give 1 or 0, true or false, yes or no"),
    ({b"MLES_TX_REDIRECT": b""}, "MLES_TX_REDIRECT '': give 1 or 0, true or false, yes or no"),
    ({b"MLES_TX_REDIRECT": b"1"}, "MLES_TX_REDIRECT: needs --domains; without it only this machine is served"),
    (
        {b"MLES_TX_CONFIG": b"/no"},
        "MLES_TX_CONFIG /no: No such file or directory; give a file that can be read",
    ),
    (
        {b"MLES_TX_ORIGIN": b"https://a.test,"},
        "MLES_TX_ORIGIN '': give an origin like https://example.org, https://*.example.org or null",
    ),
)


class SourcesTestCase(SynchronousTestCase):
    """A file in a directory of its own."""

    maxDiff = None

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "mles.toml"
        (self.directory / "key").write_bytes(b"s3cret\n")
        (self.directory / "other").write_bytes(b"0ther\n")

    def options(self, text: str, environ: Mapping[bytes, bytes] | None = None, line: str = "") -> Options:
        """Options from a file, variables and a command line."""
        self.file.write_text(text.replace("{here}", str(self.directory)))
        options = Options(environ or {})
        options.parse(["--config", str(self.file), *line.split()])
        return options

    def config(self, text: str, environ: Mapping[bytes, bytes] | None = None, line: str = "") -> ServerConfig:
        """What they say."""
        return self.options(text, environ, line).config()

    def error(self, text: str, environ: Mapping[bytes, bytes] | None = None, line: str = "") -> str:
        """What is wrong with them."""
        try:
            self.config(text, environ, line)
        except (ConfigError, usage.UsageError) as error:
            return str(error)
        return "nothing"

    def here(self, value: object) -> object:
        """A value of the tables with the name of the directory; texts in tuples of two are paths."""
        if isinstance(value, str) and ("{here}" in value or value.startswith("/")):
            return Path(value.replace("{here}", str(self.directory)))
        return tuple(map(self.here, value)) if isinstance(value, tuple) else value


class FileTests(SourcesTestCase):
    """What stands in a file."""

    def test_good(self) -> None:
        """Options stand in the file by their names, with values of their types; paths begin beside it."""
        found = [(text, name, getattr(self.config(text), name)) for text, name, _ in GOOD]
        self.assertEqual(found, [(text, name, self.here(value)) for text, name, value in GOOD])

    def test_bad(self) -> None:
        """A wrong name, type or value is told with the file, the name and what to do."""
        found = [(text, self.error(text)) for text, _ in BAD]
        expected = [(text, f"{self.file}: {error}".replace("{here}", str(self.directory))) for text, error in BAD]
        self.assertEqual(found, expected)

    def test_broken(self) -> None:
        """A file that is no TOML is told, with the line where that is known, and what is in it is not shown."""
        for content, error in BROKEN:
            self.file.write_bytes(content)
            options = Options({})
            told = self.assertRaises(ConfigError, options.parse, ["--config", str(self.file)])
            self.assertEqual(str(told), f"--config {self.file}: {error}")

    def test_secrets(self) -> None:
        """What is written into the wrong place is not shown."""
        for text in ('key = "s3cret"', 'MLES_KEY = "s3cret"', 'zzz = "s3cret"', 'limit = "s3cret"', 'key = s3cret"'):
            self.assertNotIn("s3cret", self.error(text))

    def test_every_option(self) -> None:
        """Every option of the command line may stand there, or is told to be of no use there."""
        for name, kind in kinds(Options({})).items():
            value = {Kind.FLAG: "false", Kind.NUMBER: "1000", Kind.LIST: "[]"}.get(kind, '"x"')
            error = self.error(f"{name} = {value}")
            self.assertEqual("of no use in a file" in error, name in Options.not_in_file, error)
            self.assertNotIn("no option of this name", error)

    def test_name_of_the_file(self) -> None:
        """A file that is not there is told; it may be named by a variable, and --config is stronger."""
        self.file.write_text("limit = 7")
        options = Options({b"MLES_TX_CONFIG": os.fsencode(self.file)})
        options.parse([])
        self.assertEqual(options.config().limit, 7)
        other = self.directory / "other.toml"
        other.write_text("limit = 8")
        options = Options({b"MLES_TX_CONFIG": os.fsencode(self.file)})
        options.parse(["--config", str(other)])
        self.assertEqual(options.config().limit, 8)

    def test_example(self) -> None:
        """The example of the operators' page is good, once its files are there."""
        text = (DOCS / "operations.md").read_text()
        example = text.partition("```toml\n")[2].partition("```")[0]
        self.assertGreater(len(tomllib.loads(example)), 5)
        for name in ("srv/sites", "keys"):
            (self.directory / name).mkdir(parents=True)
        for name in ("keys/new", "keys/old"):
            (self.directory / name).write_text(name)
        config = self.config(example)
        self.assertEqual(
            (config.domains, config.keys), (("example.org", "www.example.org"), (b"keys/new", b"keys/old"))
        )


class EnvironmentTests(SourcesTestCase):
    """What stands in variables."""

    def test_good(self) -> None:
        """Every option can be a variable; flags are switched by words, lists go by commas, others are ignored."""
        found = [(environ, name, getattr(self.config("", environ), name)) for environ, name, _ in GOOD_VARIABLES]
        self.assertEqual(found, list(GOOD_VARIABLES))

    def test_bad(self) -> None:
        """A variable for no option, or with a wrong value, is told by its name."""
        found = []
        for environ, _ in BAD_VARIABLES:
            options = Options(environ)
            found.append((environ, str(self.assertRaises(ConfigError, options.parse, []))))
        self.assertEqual(found, list(BAD_VARIABLES))

    def test_names(self) -> None:
        """No two options have the same variable."""
        names = {variable(name) for name in kinds(Options({}))}
        self.assertEqual(len(names), len(kinds(Options({}))))
        self.assertEqual(variable("rate-limit"), "MLES_TX_RATE_LIMIT")


class ReadTests(SourcesTestCase):
    """Files of the operator's."""

    def test_pipe(self) -> None:
        """What would keep a running server waiting is refused instead."""
        self.file.write_text("")
        path = self.directory / "pipe"
        os.mkfifo(path)
        error = self.assertRaises(ConfigError, read, "--key-file", Path("pipe"), self.directory, again=True)
        self.assertEqual(str(error), "--key-file pipe: no regular file, so it cannot be read again; restart the server")
