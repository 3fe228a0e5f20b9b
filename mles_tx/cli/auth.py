"""`mles-tx auth`: the auth value for a uid on a channel."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from mles_tx.client.config import ClientConfig, ClientConfigError
from mles_tx.protocol.auth import auth_value
from mles_tx.service.config import ConfigError
from mles_tx.service.sources import read

from .client_options import LOCAL_SERVER, Command

__all__ = ["AuthOptions", "auth"]


class AuthOptions(Command):
    """What `mles-tx auth` understands.

    Args:
        environ: the environment; `MLES_KEY` is looked at.
    """

    synopsis = "[options] UID CHANNEL"
    longdesc = (
        "Prints the auth value that lets a uid join a channel of a server with a key, for a client that is not to know"
        " the key itself. Without a key it prints the one of a server that has none."
    )

    optParameters = (["key-file", None, None, "File with the key of the server. [default: $MLES_KEY]", Path],)

    def __init__(self, environ: Mapping[bytes, bytes] = os.environb) -> None:
        super().__init__()
        self._environ = environ

    def parseArgs(self, uid: str, channel: str) -> None:  # type: ignore[override]  # noqa: N802
        """Who, and where."""
        self["uid"] = uid
        self["channel"] = channel

    @property
    def key(self) -> bytes | None:
        """The server's key; None: it has none.

        Raises:
            ConfigError: its file cannot be read.
        """
        if self["key-file"] is None:
            return self._environ.get(b"MLES_KEY")
        return read("--key-file", self["key-file"], Path()).rstrip(b"\r\n")


def auth(options: AuthOptions) -> NoReturn:
    """Print it, and exit."""
    try:
        config = ClientConfig(LOCAL_SERVER, options["uid"], options["channel"], key=options.key)
    except (ClientConfigError, ConfigError) as error:
        sys.exit(f"mles-tx auth: {error}")
    print(auth_value(config.uid, config.channel, config.key))
    sys.exit(0)
