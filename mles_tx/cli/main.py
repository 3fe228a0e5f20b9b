"""The `mles-tx` command: finds the subcommand and runs it."""

import sys
from collections.abc import Sequence

from twisted.python import usage

import mles_tx
from mles_tx.service.options import Options as ServeOptions

from .doctor import DoctorOptions, doctor
from .history import HistoryOptions, history
from .serve import serve

__all__ = ["main"]


class _Options(usage.Options):
    """What stands before the subcommand."""

    synopsis = "Usage: mles-tx"
    subCommands = (
        ["serve", None, ServeOptions, "Run a server in the foreground, until Ctrl-C."],
        ["history", None, HistoryOptions, "Look into the file of a history, also while a server uses it."],
        ["doctor", None, DoctorOptions, "Look at what a first certificate depends on, before it is ordered."],
    )

    opt_h = usage.Options.opt_help

    def opt_version(self) -> None:
        """Show the version and exit."""
        print(f"mles_tx {mles_tx.__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        if self.subCommand is None:
            raise usage.UsageError("a subcommand is needed: serve, history or doctor")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; exits with one line when it is wrong."""
    options = _Options()
    try:
        options.parseOptions(list(sys.argv[1:] if argv is None else argv))
    except usage.UsageError as error:
        sys.stderr.write(f"mles-tx: {error}; --help says more\n")
        sys.exit(1)
    if options.subCommand == "doctor":
        doctor(options.subOptions)
    elif options.subCommand == "history":
        history(options.subOptions)
    else:
        serve(options.subOptions)
