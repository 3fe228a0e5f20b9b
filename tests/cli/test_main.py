"""The `mles-tx` command."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

import mles_tx
from mles_tx.cli import main as command
from mles_tx.cli.doctor import DoctorOptions
from mles_tx.service.options import Options

#: The subcommands.
NAMES = "serve, chat, sub, pub, proxy, auth, key, completion, history, doctor, health or install-unit"

#: Arguments, line on standard error.
BAD = (
    ("", f"mles-tx: a subcommand is needed: {NAMES}; --help says more\n"),
    ("swerve", "mles-tx: Unknown command: swerve; --help says more\n"),
    ("--nonsense", "mles-tx: option --nonsense not recognized; --help says more\n"),
    ("--port 8080", "mles-tx: option --port not recognized; --help says more\n"),
    ("serve --port x", "mles: --port 'x': give a whole number from 0 to 65535\n"),
    ("serve --nonsense", "mles: option --nonsense not recognized; --help lists the options\n"),
    ("serve extra", "mles: 'extra': not an option; --help lists the options\n"),
)


class MainTests(SynchronousTestCase):
    """The command line."""

    def setUp(self) -> None:
        self.served: list[Options] = []
        self.patch(command, "serve", self.served.append)

    def run_command(self, argv: Sequence[str] | None) -> tuple[object, str, str]:
        """How it ends: code, standard output, standard error."""
        out, err = StringIO(), StringIO()
        code: object = None
        with redirect_stdout(out), redirect_stderr(err):
            try:
                command.main(argv)
            except SystemExit as error:
                code = error.code
        return code, out.getvalue(), err.getvalue()

    def test_serve(self) -> None:
        """`serve` runs a server with the options that stand behind it."""
        self.assertEqual(self.run_command(["serve", "--port", "1234", "--limit", "7"]), (None, "", ""))
        (options,) = self.served
        self.assertIsInstance(options, Options)
        self.assertEqual((options["port"], options["limit"]), (1234, 7))

    def test_doctor(self) -> None:
        """`doctor` looks with the options that stand behind it, and serves nothing."""
        looked: list[DoctorOptions] = []
        self.patch(command, "doctor", looked.append)
        self.assertEqual(self.run_command(["doctor", "--domains", "example.org"]), (None, "", ""))
        self.assertEqual([options["domains"] for options in looked], [["example.org"]])
        self.assertEqual(self.served, [])

    def test_arguments_of_the_process(self) -> None:
        """Started as a program it takes the program's arguments."""
        self.patch(sys, "argv", ["mles-tx", "serve", "--port", "4321"])
        self.assertEqual(self.run_command(None), (None, "", ""))
        self.assertEqual([options["port"] for options in self.served], [4321])

    def test_bad(self) -> None:
        """What it cannot make sense of is told in one line, with code 1, and nothing is served."""
        found = [(line, *self.run_command(line.split())) for line, _ in BAD]
        self.assertEqual(found, [(line, 1, "", message) for line, message in BAD])
        self.assertEqual(self.served, [])

    def test_version(self) -> None:
        """The version is shown, before the subcommand and behind it."""
        for line in ("--version", "serve --version", "doctor --version"):
            self.assertEqual(self.run_command(line.split()), (0, f"mles_tx {mles_tx.__version__}\n", ""))

    def test_help(self) -> None:
        """--help and -h show the subcommands with what they do, and end well."""
        code, out, err = self.run_command(["--help"])
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(self.run_command(["-h"]), (code, out, err))
        self.assertIn("serve", out)
        self.assertIn("until Ctrl-C", out)
        self.assertIn("doctor", out)

    def test_help_of_serve(self) -> None:
        """The help of a subcommand says how it is called, and what its options are."""
        code, out, err = self.run_command(["serve", "--help"])
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(self.run_command(["serve", "-h"]), (code, out, err))
        self.assertIn("--port=", out)
        self.assertEqual(out.splitlines()[0], "Usage: mles-tx serve [options]")
