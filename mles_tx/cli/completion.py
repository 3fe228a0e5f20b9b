"""`mles-tx completion`: what bash, zsh and fish need to complete commands and options, made from the options.

shtab writes the scripts. It reads argparse, so the options are told to that.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from twisted.python import reflect, usage

from .client_options import Command

__all__ = ["SHELLS", "CompletionOptions", "completion", "parser_for"]

#: Shells there are scripts for.
SHELLS = ("bash", "zsh", "fish")


class CompletionOptions(Command):
    """What `mles-tx completion` understands."""

    synopsis = "[options] bash|zsh|fish"
    longdesc = (
        "Prints a script that completes commands and options in a shell. For bash, for example:"
        " mles-tx completion bash > ~/.local/share/bash-completion/completions/mles-tx"
    )

    def parseArgs(self, shell: str) -> None:  # type: ignore[override]  # noqa: N802
        """One shell."""
        if shell not in SHELLS:
            raise usage.UsageError(f"{shell!r}: give {', '.join(SHELLS[:-1])} or {SHELLS[-1]}")
        self["shell"] = shell


def completion(options: CompletionOptions, command: type[usage.Options]) -> NoReturn:
    """Print the script, and exit.

    Args:
        options: which shell.
        command: the options of the whole command.
    """
    import shtab

    print(shtab.complete(parser_for(command), options["shell"]))
    sys.exit(0)


def parser_for(command: type[usage.Options]) -> argparse.ArgumentParser:
    """The options of a command as argparse has them, and those of its subcommands."""
    parser = argparse.ArgumentParser(prog="mles-tx", add_help=False)
    _fill(parser, command)
    return parser


def _fill(parser: argparse.ArgumentParser, kind: type[usage.Options]) -> None:
    import shtab

    options = kind()
    paths = _paths(kind)
    for name in dict.fromkeys(options.synonyms.values()):
        flags = [
            f"-{short}" if len(short) == 1 else f"--{short}" for short, full in options.synonyms.items() if full == name
        ]
        takes_value = f"{name}=" in options.longOpt
        help_text = _help(options, name)
        # argparse takes a percent sign for a placeholder, shtab hands texts on to shells.
        settings: dict[str, Any] = {"help": help_text.replace("%", "%%")}
        if not takes_value:
            settings["action"] = "store_true"
        added: Any = parser.add_argument(*sorted(set(flags), key=len), dest=name, **settings)
        if name in paths:
            added.complete = shtab.FILE
    subcommands: Any = getattr(options, "subCommands", ())
    if subcommands:
        commands = parser.add_subparsers(dest="command")
        for row in subcommands:
            _fill(commands.add_parser(str(row[0]), help=str(row[3]).replace("%", "%%"), add_help=False), row[2])
    elif kind is CompletionOptions:
        parser.add_argument("shell", choices=SHELLS)


def _help(options: usage.Options, name: str) -> str:
    text = options.docs.get(name) or ""
    if not text:
        method: Any = getattr(options, f"opt_{name.replace('-', '_')}", None)
        text = (method.__doc__ or "") if method is not None else ""
    return " ".join(str(text).partition(" [default")[0].split())


def _paths(kind: type[usage.Options]) -> Mapping[str, object]:
    rows: list[Any] = []
    reflect.accumulateClassList(kind, "optParameters", rows)
    return {str(row[0]): row for row in rows if len(row) > 4 and row[4] is Path}
