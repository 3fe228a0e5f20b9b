"""What the options of all commands have in common."""

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.common import CommonOptions
from mles_tx.service.config import ConfigError, state_directory
from mles_tx.transport.certificates.authority import LETS_ENCRYPT_STAGING


class Some(CommonOptions):
    """The options of a command."""

    command = "some command"
    wrong = 7
    optFlags = (["staging", "s", "Try."],)
    optParameters = (["cache", None, None, "Directory.", Path], ["acme-directory", None, None, "URL."])

    def postOptions(self) -> None:
        if "bad" in self["domains"]:
            raise ConfigError("--domains bad: give better ones")
        if "worse" in self["domains"]:
            raise usage.UsageError("--domains worse: give better ones")


def parse(line: str, environ: dict[bytes, bytes] | None = None) -> Some:
    """A command line."""
    options = Some(environ or {})
    options.parseOptions(line.split())
    return options


class CommonOptionsTests(SynchronousTestCase):
    """One option, one meaning."""

    def test_errors(self) -> None:
        """A wrong line is answered with one line, the code of the command, and where to read on if that helps."""
        for line, text in (
            ("--nonsense", "option --nonsense not recognized; --help lists the options"),
            ("-d bad", "--domains bad: give better ones"),
            ("-d worse", "--domains worse: give better ones"),
        ):
            err = StringIO()
            with redirect_stderr(err):
                error = self.assertRaises(SystemExit, parse, line)
            self.assertEqual((error.code, err.getvalue()), (7, f"some command: {text}\n"))

    def test_lists(self) -> None:
        """What is given twice counts once."""
        options = parse("-d a.test,B.test. --domains a.test --interface ::0001 --interface ::1")
        self.assertEqual((options["domains"], options["interface"]), (["a.test", "b.test"], ["::1"]))

    def test_cache(self) -> None:
        """The cache is where it is asked for, or where systemd or the platform has it."""
        by_systemd = {b"STATE_DIRECTORY": b"/var/lib/mles:/var/lib/other"}
        self.assertEqual(parse("--cache here", by_systemd).cache, Path("here"))
        self.assertEqual(parse("", by_systemd).cache, Path("/var/lib/mles"))
        self.assertEqual(parse("").cache, state_directory())

    def test_directory(self) -> None:
        """The authority is the one that is asked for; there is but one."""
        self.assertEqual(parse("").directory, None)
        self.assertEqual(parse("-s").directory, LETS_ENCRYPT_STAGING)
        self.assertEqual(parse("--acme-directory https://ca.test/").directory, "https://ca.test/")
        both = parse("-s --acme-directory https://ca.test/")
        self.assertRaises(ConfigError, lambda: both.directory)
