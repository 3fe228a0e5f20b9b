"""The `mles-tx` command: finds the subcommand and runs it."""

import sys
from collections.abc import Sequence

from twisted.python import usage

import mles_tx
from mles_tx.service.options import Options as ServeOptions

from .doctor import DoctorOptions, doctor
from .health import HealthOptions, health
from .history import HistoryOptions, history
from .install_unit import InstallUnitOptions, install_unit
from .proxy import ProxyOptions, proxy
from .serve import serve

__all__ = ["main"]


class _Options(usage.Options):
    """What stands before the subcommand."""

    synopsis = "Usage: mles-tx"
    subCommands = (
        ["serve", None, ServeOptions, "Run a server in the foreground, until Ctrl-C."],
        ["proxy", None, ProxyOptions, "Pass on what is said on a channel between servers, or to MQTT and back."],
        ["history", None, HistoryOptions, "Look into the file of a history, also while a server uses it."],
        ["doctor", None, DoctorOptions, "Look at what a first certificate depends on, before it is ordered."],
        ["health", None, HealthOptions, "Ask a running server whether it is ready, or alive."],
        ["install-unit", None, InstallUnitOptions, "Print a systemd unit that runs a server."],
    )

    opt_h = usage.Options.opt_help

    def opt_version(self) -> None:
        """Show the version and exit."""
        print(f"mles_tx {mles_tx.__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        if self.subCommand is None:
            raise usage.UsageError("a subcommand is needed: serve, proxy, doctor, health, history or install-unit")


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
    elif options.subCommand == "health":
        health(options.subOptions)
    elif options.subCommand == "install-unit":
        install_unit(options.subOptions)
    elif options.subCommand == "proxy":
        proxy(options.subOptions)
    elif options.subCommand == "history":
        history(options.subOptions)
    else:
        serve(options.subOptions)
