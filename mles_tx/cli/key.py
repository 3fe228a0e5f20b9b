"""`mles-tx key`: a new key for a server, or secret for a channel."""

import secrets
import sys
from typing import NoReturn

from twisted.python import usage

from .client_options import Command

__all__ = ["KeyOptions", "key"]

#: Bytes of chance in it: more than anybody can try.
_BYTES = 32


class KeyOptions(Command):
    """What `mles-tx key` understands."""

    synopsis = "[options]"
    longdesc = (
        "Prints a new random key: for MLES_KEY or --key-file of a server, or as a secret for --secret-file."
        " For example: (umask 077; mles-tx key > key)"
    )

    def parseArgs(self, *arguments: str) -> None:  # noqa: N802
        """There are options only."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]!r}: not an option")


def key(options: KeyOptions) -> NoReturn:
    """Print one, and exit."""
    print(secrets.token_urlsafe(_BYTES))
    sys.exit(0)
