"""What the commands that are clients have in common: which server, who joins, whose certificate, which secret.

Each setting comes from the command line, else from the environment, else from a file, the way the server's do.
"""

import getopt
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from getpass import getpass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import platformdirs
from twisted.python import usage

import mles_tx
from mles_tx.client.config import ENVIRONMENT, ClientConfig, ClientConfigError, Trust
from mles_tx.service.config import ConfigError
from mles_tx.service.parsing import whole_number
from mles_tx.service.sources import from_file, kinds, read

__all__ = ["LOCAL_SERVER", "ClientOptions", "Command", "config_file"]

#: The server when nobody names one: that of `mles-tx serve`.
LOCAL_SERVER = "ws://localhost:8080/"

#: The exit code after Ctrl-C, as shells have it.
_INTERRUPTED = 130

#: Seconds a server that could not be reached yet is waited for.
_WAIT = 10


def config_file() -> Path:
    """Where settings of clients are looked for when no file is named."""
    return platformdirs.user_config_path("mles-tx") / "client.toml"


class Command(usage.Options):
    """A subcommand: options may stand anywhere, also behind what they are for."""

    synopsis: ClassVar[str]

    opt_h = usage.Options.opt_help

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        print(f"mles_tx {mles_tx.__version__}")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse.

        Raises:
            UsageError: an option cannot be made sense of.
        """
        words = list(sys.argv[1:] if options is None else options)
        try:
            given, others = getopt.gnu_getopt(words, self.shortOpt, self.longOpt)
        except getopt.error as error:
            raise usage.UsageError(str(error)) from None
        self.given = {self.synonyms[name.lstrip("-")] for name, _ in given}
        has_value = {name[:-1] for name in self.longOpt if name.endswith("=")}
        pairs = [
            f"{name}={value}" if name.startswith("--") and name[2:] in has_value else f"{name}{value}"
            for name, value in given
        ]
        try:
            super().parseOptions([*pairs, "--", *others])
        except usage.UsageError as error:
            if str(error) != "Wrong number of arguments.":
                raise
            raise usage.UsageError(f"give {self.synopsis.partition('] ')[2]}, and nothing more") from None


class ClientOptions(Command):
    """The options of a client.

    Args:
        environ: the environment; `MLES_SERVER`, `MLES_KEY` and `MLES_SECRET` are looked at.
    """

    synopsis = "[options] CHANNEL"

    optFlags: Sequence[Sequence[Any]] = (["ask-secret", None, "Ask for the secret to encrypt messages with."],)

    optParameters: Sequence[Sequence[Any]] = (
        ["ca-file", None, None, "PEM file with the authorities to trust instead of the system's.", Path],
        [
            "config",
            None,
            None,
            "TOML file with options by their names. [default: client.toml in the user's directory for mles-tx]",
            Path,
        ],
        ["fingerprint", None, None, "SHA-256 of the one certificate to trust, whatever its name and issuer."],
        ["key-file", None, None, "File with the key the server asks for. [default: $MLES_KEY]", Path],
        ["origin", None, None, "Origin header to send, for a server that asks for one."],
        ["proxy", None, None, "HTTP proxy to go through, or none. [default: $HTTPS_PROXY, but for $NO_PROXY]"],
        [
            "secret-file",
            None,
            None,
            "File with the secret to encrypt messages with. [default: $MLES_SECRET]",
            Path,
        ],
        ["server", "s", None, f"URL of the server. [default: $MLES_SERVER, else {LOCAL_SERVER}]"],
        ["uid", "u", None, "Who joins. [default: a name made for this run]"],
        [
            "wait",
            "w",
            _WAIT,
            "Seconds to wait for a server that could not be reached yet, 0 to 999999.",
            whole_number("--wait", 0, 999_999),
        ],
    )

    def __init__(self, environ: Mapping[bytes, bytes] = os.environb) -> None:
        super().__init__()
        self._environ = environ

    def postOptions(self) -> None:
        try:
            self._take_file()
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None
        variable = self._environ.get(b"MLES_SERVER")
        if variable and "server" not in self.given:
            self["server"] = os.fsdecode(variable)

    def _take_file(self) -> None:
        path: Path = self["config"] or config_file()
        if self["config"] is None and not path.exists():
            return
        known = {name: kind for name, kind in kinds(ClientOptions()).items() if name not in ("config", "ask-secret")}
        content = read("--config", path, Path())
        source = from_file(path, content, path.absolute().parent, known, (), ())
        for name, words in source.words.items():
            values = ClientOptions({})
            try:
                usage.Options.parseOptions(values, ["--config=/dev/null", *words])
            except usage.UsageError as error:
                raise ConfigError(f"{source.called[name]}: {str(error).removeprefix(f'--{name} ')}") from None
            if name in self and name not in self.given:
                self[name] = values[name]

    @property
    def key(self) -> bytes | None:
        """The server's key.

        Raises:
            ClientConfigError: it is empty, or its file cannot be read.
        """
        return self._secret("key-file", b"MLES_KEY", "key")

    @property
    def secret(self) -> bytes | None:
        """What messages are encrypted with; None: they are not. It may be asked for.

        Raises:
            ClientConfigError: it is empty, or its file cannot be read.
        """
        if self["ask-secret"]:
            return self._asked()
        return self._secret("secret-file", b"MLES_SECRET", "secret")

    def _asked(self) -> bytes:
        if not sys.stdin.isatty():
            raise ClientConfigError("--ask-secret: there is no terminal to ask on; give --secret-file or MLES_SECRET")
        try:
            secret = getpass("Secret: ").encode("utf-8", "surrogateescape")
        except EOFError:
            secret = b""
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        if not secret:
            raise ClientConfigError("--ask-secret: empty; give the secret its members have agreed upon")
        return secret

    def _secret(self, option: str, variable: bytes, what: str) -> bytes | None:
        path: Path | None = self[option]
        if path is None:
            value = self._environ.get(variable)
            if value == b"":
                raise ClientConfigError(f"{variable.decode()}: empty; set it to the {what}, or unset it")
            return value
        try:
            value = read(f"--{option}", path, Path()).rstrip(b"\r\n")
        except ConfigError as error:
            raise ClientConfigError(str(error)) from None
        if not value:
            raise ClientConfigError(f"--{option} {path}: empty; write the {what} into it")
        return value

    def config(self, channel: str, **more: Any) -> ClientConfig:
        """The configuration these options stand for.

        Args:
            channel: the channel.
            more: further fields of `ClientConfig`.

        Raises:
            ClientConfigError: they make no sense.
        """
        if self["ca-file"] is not None and self["fingerprint"] is not None:
            raise ClientConfigError("--fingerprint: --ca-file is given as well; keep one of them")
        trust = Trust(self["ca-file"]) if self["fingerprint"] is None else Trust.pinned(self["fingerprint"])
        settings: dict[str, Any] = {
            "url": self["server"] or LOCAL_SERVER,
            "uid": self["uid"] or f"mles-tx-{secrets.token_hex(4)}",
            "channel": channel,
            "key": self.key,
            "trust": trust,
            "proxy": ENVIRONMENT if self["proxy"] is None else "" if self["proxy"] == "none" else self["proxy"],
            "origin": self["origin"],
            "patience": float(self["wait"]),
        }
        return ClientConfig(**settings | more)
