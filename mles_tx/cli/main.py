"""The `mles-tx` command: finds the subcommand and runs it."""

import sys
from collections.abc import Sequence
from typing import Any

from twisted.python import usage

import mles_tx
from mles_tx.service.options import Options as ServeOptions

from .auth import AuthOptions, auth
from .chat import ChatOptions, chat
from .completion import CompletionOptions, completion
from .doctor import DoctorOptions, doctor
from .health import HealthOptions, health
from .history import HistoryOptions, history
from .install_unit import InstallUnitOptions, install_unit
from .key import KeyOptions, key
from .proxy import ProxyOptions, proxy
from .pub import PubOptions, pub
from .serve import serve
from .sub import SubOptions, sub

__all__ = ["main"]


class _Options(usage.Options):
    """What stands before the subcommand."""

    synopsis = "Usage: mles-tx"
    subCommands = (
        ["serve", None, ServeOptions, "Run a server in the foreground, until Ctrl-C."],
        ["chat", None, ChatOptions, "Talk on a channel."],
        ["sub", None, SubOptions, "Print what is said on a channel."],
        ["pub", None, PubOptions, "Say something on a channel."],
        ["proxy", None, ProxyOptions, "Pass on what is said on a channel between servers, or to MQTT and back."],
        ["auth", None, AuthOptions, "Print the auth value that lets somebody join a channel."],
        ["key", None, KeyOptions, "Print a new key for a server, or secret for a channel."],
        ["completion", None, CompletionOptions, "Print what a shell needs to complete commands and options."],
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
            *names, last = (str(row[0]) for row in self.subCommands)
            raise usage.UsageError(f"a subcommand is needed: {', '.join(names)} or {last}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; exits with one line when it is wrong."""
    options = _Options()
    try:
        options.parseOptions(list(sys.argv[1:] if argv is None else argv))
    except usage.UsageError as error:
        sys.stderr.write(f"mles-tx: {error}; --help says more\n")
        sys.exit(1)
    given: Any = options.subOptions
    match options.subCommand:
        case "serve":
            serve(given)
        case "chat":
            chat(given)
        case "sub":
            sub(given)
        case "pub":
            pub(given)
        case "proxy":
            proxy(given)
        case "auth":
            auth(given)
        case "key":
            key(given)
        case "completion":
            completion(given, _Options)
        case "history":
            history(given)
        case "doctor":
            doctor(given)
        case "health":
            health(given)
        case "install-unit":
            install_unit(given)
