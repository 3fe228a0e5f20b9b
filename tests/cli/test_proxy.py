"""`mles-tx proxy`: its options and its line of numbers; what it does is tried in the integration tests."""

from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.main import main
from mles_tx.cli.proxy import ProxyOptions, counts_line
from mles_tx.client.config import Trust
from mles_tx.client.proxy import ProxyConfig
from mles_tx.client.side import SideCounts

A, B = "wss://a.test/", "wss://b.test/"

_PIN = "ab" * 32

#: Arguments, line on standard error.
BAD = (
    ((A, B), "--channel: give the channel"),
    (("--channel", "c", A), "a bridge has two sides: give two servers or more, or one and --mqtt"),
    (("--channel", "c", A, "b"), "server 'b': give a URL like wss://HOST/ or ws://HOST:PORT/"),
    (
        ("--channel", "c", "--standby", "60001", A, B),
        "--standby '60001': give a whole number from 1 to 60000, or 0 to switch it off",
    ),
    (
        ("--channel", "c", "--metrics-interval", "x", A, B),
        "--metrics-interval 'x': give a whole number from 1 to 86399, or 0 to switch it off",
    ),
    (("--channel", "c", "--log-format", "xml", A, B), "--log-format 'xml': give readable or json"),
    (
        ("--channel", "c", "--fingerprint", "ab", A, B),
        "fingerprint 'ab': give a SHA-256 as 64 hex digits, with or without colons",
    ),
    (
        ("--channel", "c", "--key-file", "/nowhere", A, B),
        "--key-file /nowhere: No such file or directory; give a file that can be read",
    ),
    (
        ("--channel", "c", "--key-file", "/dev/null", A, B),
        "--key-file /dev/null: empty; write the key into it, or give none",
    ),
    (
        ("--channel", "c", "--mqtt", "mqtt://me:s3cret@h:x", A),
        "--mqtt: this is no URL; give a URL like mqtt://[USER:PASSWORD@]HOST[:PORT][/TOPIC], or mqtts:// for TLS",
    ),
    (("--channel", "c", "--nonsense", A, B), "option --nonsense not recognized"),
)


class OptionsTests(SynchronousTestCase):
    """What the command line says."""

    def parse(self, *arguments: str, environ: Mapping[str, str] | None = None) -> ProxyConfig:
        options = ProxyOptions(environ or {})
        options.parseOptions(["--channel", "c", *arguments])
        config: ProxyConfig = options["config"]
        return config

    def test_plain(self) -> None:
        """A channel and two servers are enough."""
        self.assertEqual(self.parse(A, B), ProxyConfig("c", (A, B), trusts=(Trust(),)))

    def test_everything(self) -> None:
        """Every option is where it belongs."""
        key = Path(self.mktemp())
        key.write_text("s3cret\n")
        found = self.parse(
            *("--uid", "bridge", "--repeats", "--standby", "500", "--ca-file", "ca.pem", "--mqtt", "mqtt://h/t"),
            *("--key-file", "none", "--key-file", str(key), "--fingerprint", _PIN, "--fingerprint", "none", A, B),
        )
        ca = Path("ca.pem")
        expected = ProxyConfig(
            "c",
            (A, B),
            mqtt="mqtt://h/t",
            uid="bridge",
            keys=(None, b"s3cret"),
            trusts=(Trust(fingerprint=_PIN), Trust(ca_file=ca)),
            mqtt_ca=ca,
            passes_repeats=True,
            standby=0.5,
        )
        self.assertEqual(found, expected)

    def test_environment(self) -> None:
        """What is secret may come from the environment; the command line is stronger."""
        environ = {"MLES_KEY": "s3cret", "MLES_TX_MQTT": "mqtt://me:s3cret@h"}
        found = self.parse(A, environ=environ)
        self.assertEqual((found.mqtt, found.keys), ("mqtt://me:s3cret@h", (b"s3cret",)))
        found = self.parse("--mqtt", "mqtt://other", "--key-file", "none", A, environ=environ)
        self.assertEqual((found.mqtt, found.keys), ("mqtt://other", (None,)))

    def test_bad(self) -> None:
        """Whatever is wrong is said in one line that names the remedy, and without what may be secret."""
        self.patch(ProxyOptions.__init__, "__defaults__", ({},))
        for arguments, line in BAD:
            err = StringIO()
            with redirect_stderr(err):
                ended = self.assertRaises(SystemExit, main, ["proxy", *arguments])
            self.assertEqual((ended.code, err.getvalue()), (1, f"mles-tx: {line}; --help says more\n"))

    def test_empty_key(self) -> None:
        """An empty key in the environment is no key."""
        self.patch(ProxyOptions.__init__, "__defaults__", ({"MLES_KEY": ""},))
        err = StringIO()
        with redirect_stderr(err):
            self.assertRaises(SystemExit, main, ["proxy", "--channel", "c", A, B])
        self.assertIn("MLES_KEY is empty; set it to the servers' key, or unset it", err.getvalue())

    def test_help(self) -> None:
        """It can be asked what it understands, and which version it is."""
        for option, said in (("--help", "--standby"), ("-h", "--key-file"), ("--version", "mles_tx ")):
            out = StringIO()
            with redirect_stdout(out):
                ended = self.assertRaises(SystemExit, main, ["proxy", option])
            self.assertIn(ended.code, (0, None))
            self.assertIn(said, out.getvalue())


class LineTests(SynchronousTestCase):
    """What happened on a side, in a line."""

    def test_line(self) -> None:
        """Every number is there, and whether it is up and heard."""
        counts = SideCounts(1, 2, 3, 4, 5, 6, 7, is_up=True)
        numbers = "1 heard, 2 repeated, 3 said, 4 spared, 5 refused, 6 waiting, 7 links"
        self.assertEqual(counts_line(A, counts), f"{A}: up, {numbers}")
        counts.is_held, counts.is_up = True, False
        self.assertEqual(counts_line(A, counts), f"{A}: down, not heard at the moment, {numbers}")
