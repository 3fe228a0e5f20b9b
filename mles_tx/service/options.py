"""The command line and the environment: parsed, one option at a time.

An option appears here with its function. It must not import Autobahn: that would cost `twistd --help` a
third of a second.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

from twisted.python import usage

import mles_tx

from .config import ConfigError, ServerConfig, state_directory

__all__ = ["Options"]


def _whole(option: str, low: int, high: int, *, or_zero: bool = False) -> Callable[[str], int]:
    """A coerce function for a whole number in a range."""

    def coerce(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if low <= value <= high or (or_zero and value == 0):
            return value
        off = ", or 0 to switch it off" if or_zero else ""
        raise usage.UsageError(f"{option} {text!r}: give a whole number from {low} to {high}{off}")

    return coerce


def _canonical(name: str) -> str:
    """An address in the form browsers and certificates have it; a name as it is."""
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return name
    return name if getattr(address, "scope_id", None) else str(address)


class Options(usage.Options):
    """What `twistd mles` and `mles-tx serve` understand.

    Args:
        environ: the environment; `MLES_KEY` and `STATE_DIRECTORY` are looked at.
    """

    synopsis = "[options]"
    longdesc = (
        "A Mles v2 server. Without --domains it serves this machine alone, over plain HTTP and WebSocket"
        " on port 8080. With --domains it serves everybody, over TLS. The environment variable MLES_KEY"
        " holds the key that clients need to join, if any."
    )

    optFlags = (
        ["no-metrics-logging", None, "Do not log the metrics every 10 seconds. SIGUSR1 logs them at any time."],
        ["no-tls", None, "Plain HTTP and WebSocket, for use behind a proxy that speaks TLS."],
    )

    optParameters = (
        ["cache", "c", None, "Directory for certificates. [default: the state directory]", Path],
        ["key-file", None, None, "File with the key that clients need to join, instead of MLES_KEY.", Path],
        [
            "filelimit",
            "f",
            256,
            "Files the web side has open at one time, 1 to 999999.",
            _whole("--filelimit", 1, 999999),
        ],
        [
            "history-total",
            None,
            None,
            "Megabytes of memory all histories together may take; above it the least recently used channels lose"
            " theirs. [default: a quarter of the machine's]",
            _whole("--history-total", 1, 99999999),
        ],
        [
            "limit",
            "l",
            200,
            "Messages a channel's history holds, 1 to 999999.",
            _whole("--limit", 1, 999999),
        ],
        [
            "max-channels",
            None,
            100000,
            "Channels with members or a history, 1 to 99999999.",
            _whole("--max-channels", 1, 99999999),
        ],
        [
            "max-missed-pongs",
            None,
            3,
            "Pings a client may leave unanswered, 1 to 9.",
            _whole("--max-missed-pongs", 1, 9),
        ],
        [
            "per-ip-limit",
            None,
            None,
            "Connections one address may open in a window, 1 to 99999, 0 for any number."
            " [default: 60 with TLS, else 0]",
            _whole("--per-ip-limit", 1, 99999, or_zero=True),
        ],
        [
            "per-ip-window",
            None,
            60,
            "Seconds of that window, 1 to 86399.",
            _whole("--per-ip-window", 1, 86399),
        ],
        [
            "ping-interval",
            None,
            24000,
            "Milliseconds between two pings, 1000 or more.",
            _whole("--ping-interval", 1000, 999999999),
        ],
        [
            "port",
            "p",
            None,
            "Port to listen on; 0 takes a free one. [default: 443 with TLS, else 8080]",
            _whole("--port", 0, 65535),
        ],
        [
            "rate-limit",
            None,
            100,
            "Messages a second of one connection, 1 to 9999, 0 for any number. Above it the connection is"
            " read more slowly; five seconds' worth may come at once.",
            _whole("--rate-limit", 1, 9999, or_zero=True),
        ],
        [
            "wwwroot",
            "w",
            None,
            "Directory with one directory of web pages a domain. [default: the bundled page]",
            Path,
        ],
    )

    def __init__(self, environ: Mapping[bytes, bytes] = os.environb) -> None:
        super().__init__()
        self._environ = environ
        self["domains"] = []
        self["interface"] = []
        self["certificate"] = []
        self["private-key"] = []

    def opt_domains(self, value: str) -> None:
        """Domain to serve; more of them by commas, or by giving the option again."""
        for name in value.split(","):
            domain = _canonical(name.strip().lower().rstrip("."))
            if domain not in self["domains"]:
                self["domains"].append(domain)

    opt_d = opt_domains

    def opt_interface(self, value: str) -> None:
        """Address to listen on; may be given again. [default: all, with --no-tls loopback]"""
        address = _canonical(value)
        if address not in self["interface"]:
            self["interface"].append(address)

    def opt_certificate(self, value: str) -> None:
        """PEM file with a certificate and its chain; may be given again, each with its --private-key."""
        self["certificate"].append(Path(value))

    def opt_private_key(self, value: str) -> None:
        """PEM file with the private key of the --certificate."""
        self["private-key"].append(Path(value))

    opt_h = usage.Options.opt_help

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        print(f"mles_tx {mles_tx.__version__}")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse; on an error, say in one line what is wrong and exit with code 1."""
        try:
            super().parseOptions(options)
            self.config()
        except (usage.UsageError, ConfigError) as error:
            text = str(error)
            if not text.startswith(("--", "MLES_KEY")):
                text += "; --help lists the options"
            sys.stderr.write(f"mles: {text}\n")
            sys.exit(1)

    def config(self) -> ServerConfig:
        """The configuration these options stand for.

        Raises:
            ConfigError: they do not fit together.
        """
        if len(self["certificate"]) != len(self["private-key"]):
            raise ConfigError("--certificate: each one needs its --private-key, given in the same order")
        return ServerConfig(
            domains=tuple(self["domains"]),
            port=self["port"],
            interfaces=tuple(self["interface"]),
            tls=not self["no-tls"],
            certificates=tuple(zip(self["certificate"], self["private-key"], strict=True)),
            cache=self["cache"] or self._state_directory(),
            wwwroot=self["wwwroot"],
            key=self._key(),
            limit=self["limit"],
            ping_interval=self["ping-interval"] / 1000,
            max_missed_pongs=self["max-missed-pongs"],
            rate_limit=self["rate-limit"],
            filelimit=self["filelimit"],
            per_ip_limit=self["per-ip-limit"],
            per_ip_window=self["per-ip-window"],
            max_channels=self["max-channels"],
            history_total=self["history-total"],
            metrics_logging=not self["no-metrics-logging"],
        )

    def _state_directory(self) -> Path:
        # systemd lists several with colons; the first is ours.
        given = self._environ.get(b"STATE_DIRECTORY", b"").split(b":")[0]
        return Path(os.fsdecode(given)) if given else state_directory()

    def _key(self) -> bytes | None:
        path, variable = self["key-file"], self._environ.get(b"MLES_KEY")
        if path is None:
            return variable
        if variable is not None:
            raise ConfigError("--key-file: MLES_KEY is set as well; keep one of them")
        try:
            key: bytes = path.read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise ConfigError(f"--key-file {path}: {error.strerror}; give a file that can be read") from None
        if not key:
            raise ConfigError(f"--key-file {path}: empty; write the key into it")
        return key
