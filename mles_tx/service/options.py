"""The options of the server: parsed, one at a time.

An option appears here with its function. It must not import Autobahn: that would cost `twistd --help` a
third of a second.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mles_tx.transport.certificates.authority import ExternalAccount

from .config import LOG_FORMATS, LOG_LEVELS, ConfigError, ServerConfig
from .endpoints import endpoint
from .layered import LayeredOptions
from .parsing import history_place, inherited_socket, one_of, proxy_route, user_account, whole_number
from .privileges import Account

__all__ = ["Options"]

_HTTP_PORT = 80


class Options(LayeredOptions):
    """What `twistd mles` and `mles-tx serve` understand.

    Args:
        environ: the environment; `MLES_KEY`, `STATE_DIRECTORY` and what begins with `MLES_TX_` are looked at.
    """

    command = "mles"
    wrong = 1
    synopsis = "[options]"
    longdesc = (
        "A Mles v2 server. Without --domains it serves this machine alone, over plain HTTP and WebSocket"
        " on port 8080. With --domains it serves everybody, over TLS, with certificates it orders by itself;"
        " that agrees to the terms of the certificate authority, Let's Encrypt unless told otherwise. The"
        " environment variable MLES_KEY holds the key that clients need to join, if any. Every option can also be"
        " given in the file of --config, or as a variable: MLES_TX_RATE_LIMIT=50."
    )

    together = (
        ("certificate", "private-key"),
        ("staging", "acme-directory"),
        ("acme-key-id", "acme-hmac-key"),
        ("redirect", "redirect-port", "redirect-listen"),
    )
    instead = {"listen": ("port", "interface"), "port": ("listen",), "interface": ("listen",)}
    path_lists = ("certificate", "private-key", "key-file")
    not_in_environment = ("check",)
    not_in_file = ("check", "config")

    optFlags = (
        ["check", None, "Look whether a server could start with these settings, say so and exit; binds nothing."],
        ["cors", None, "Isolate pages from those of other origins (COOP, COEP and CORP), as SharedArrayBuffer needs."],
        ["no-metrics-logging", None, "Do not log the metrics every 10 seconds. SIGUSR1 logs them at any time."],
        ["no-tls", None, "Plain HTTP and WebSocket, for use behind a proxy that speaks TLS."],
        ["proxy-protocol", None, "Read the PROXY header that connections of a --trusted-proxy begin with."],
        ["redirect", "r", "Send browsers from http to https, and let the authority validate there, on port 80."],
        ["staging", "s", "Order from Let's Encrypt's staging environment: certificates for trying things out."],
    )

    optParameters = (
        ["acme-ca", None, None, "PEM file with the authorities to trust when talking to --acme-directory.", Path],
        [
            "acme-directory",
            None,
            None,
            "URL of the directory of another certificate authority. [default: Let's Encrypt]",
        ],
        ["acme-hmac-key", None, None, "File with the HMAC key of --acme-key-id, as the authority gave it.", Path],
        ["acme-key-id", None, None, "Account with the authority that ours is to be bound to, where it asks for one."],
        [
            "admin",
            None,
            None,
            "Where /metrics, /livez and /readyz are answered: tcp:PORT (on 127.0.0.1), tcp:PORT:interface=ADDRESS or"
            " unix:PATH. [default: nowhere]",
            endpoint("--admin"),
        ],
        ["cache", "c", None, "Directory for certificates. [default: the state directory]", Path],
        [
            "compression-cache",
            "C",
            10,
            "Megabytes of memory for files of the web side and their compressed forms; 0 keeps none.",
            whole_number("--compression-cache", 1, 999999, or_zero=True),
        ],
        [
            "config",
            None,
            None,
            "TOML file with options by their names; environment and command line are stronger.",
            Path,
        ],
        [
            "drain",
            None,
            0,
            "Seconds over which members are told to go when the server ends, 0 to 3600; for a server whose members"
            " another one takes in. 0 tells all at once.",
            whole_number("--drain", 0, 3600),
        ],
        [
            "filelimit",
            "f",
            256,
            "Files the web side has open at one time, 1 to 999999.",
            whole_number("--filelimit", 1, 999999),
        ],
        [
            "durability",
            None,
            "relaxed",
            "With a history in a file: relaxed delivers a message at once and has it in the file 100 ms later, strict"
            " delivers it when it is on disk.",
            one_of("--durability", ("relaxed", "strict")),
        ],
        [
            "history",
            None,
            None,
            "Where messages are remembered: memory, until the server ends; sqlite:FILE; or the URL of a Redis, by which"
            " several servers are one. [default: memory]",
            history_place,
        ],
        [
            "history-max",
            None,
            1024,
            "Megabytes the file of a history may take; above it the least recently used channels are forgotten.",
            whole_number("--history-max", 16, 99999999),
        ],
        [
            "history-total",
            None,
            None,
            "Megabytes of memory all histories together may take; above it the least recently used channels lose"
            " theirs. [default: a quarter of the machine's]",
            whole_number("--history-total", 1, 99999999),
        ],
        [
            "limit",
            "l",
            200,
            "Messages a channel's history holds, 1 to 999999.",
            whole_number("--limit", 1, 999999),
        ],
        [
            "log-format",
            None,
            "readable",
            "Lines of the log: readable, or json for programs, one object a line.",
            one_of("--log-format", LOG_FORMATS),
        ],
        [
            "log-level",
            None,
            "info",
            "What is logged: debug, info, warn or error, and everything above it.",
            one_of("--log-level", LOG_LEVELS),
        ],
        [
            "max-channels",
            None,
            100000,
            "Channels with members or a history, 1 to 99999999.",
            whole_number("--max-channels", 1, 99999999),
        ],
        [
            "max-missed-pongs",
            None,
            3,
            "Pings a client may leave unanswered, 1 to 9.",
            whole_number("--max-missed-pongs", 1, 9),
        ],
        [
            "per-ip-limit",
            None,
            None,
            "Connections one address may open in a window, 1 to 99999, 0 for any number."
            " [default: 60 with TLS or --trusted-proxy, else 0]",
            whole_number("--per-ip-limit", 1, 99999, or_zero=True),
        ],
        [
            "per-ip-window",
            None,
            None,
            "Seconds of that window, 1 to 86399. [default: 60]",
            whole_number("--per-ip-window", 1, 86399),
        ],
        [
            "ping-interval",
            None,
            24000,
            "Milliseconds between two pings, 1000 or more.",
            whole_number("--ping-interval", 1000, 999999999),
        ],
        [
            "port",
            "p",
            None,
            "Port to listen on; 0 takes a free one. [default: 443 with TLS, else 8080]",
            whole_number("--port", 0, 65535),
        ],
        [
            "rate-limit",
            None,
            100,
            "Messages a second of one connection, 1 to 9999, 0 for any number. Above it the connection is"
            " read more slowly; five seconds' worth may come at once.",
            whole_number("--rate-limit", 1, 9999, or_zero=True),
        ],
        [
            "redirect-port",
            None,
            None,
            "The port of --redirect, and switches it on; 0 takes a free one. [default: 80]",
            whole_number("--redirect-port", 0, 65535),
        ],
        [
            "run-as",
            None,
            None,
            "User to become once the ports are bound, USER or USER:GROUP, if it is started as root.",
            user_account,
        ],
        [
            "workers",
            None,
            None,
            "Processes that serve, 1 to 256, for a machine with several cores; they share what is said through the"
            " Redis of --history. [default: this process alone]",
            whole_number("--workers", 1, 256),
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
        super().__init__(environ)
        self["email"] = []
        self["listen"] = []
        self["redirect-listen"] = []
        self["certificate"] = []
        self["key-file"] = []
        self["origin"] = []
        self["private-key"] = []
        self["trusted-proxy"] = []
        self["proxy"] = []

    def opt_email(self, value: str) -> None:
        """Address the certificate authority may write to; may be given again."""
        self["email"].append(value)

    opt_e = opt_email

    def opt_listen(self, value: str) -> None:
        """Socket to listen on that systemd passes, systemd:index=N or systemd:name=NAME; may be given again."""
        self["listen"].append(inherited_socket("--listen", value))

    def opt_redirect_listen(self, value: str) -> None:
        """Like --listen, for --redirect, which it switches on; may be given again."""
        self["redirect-listen"].append(inherited_socket("--redirect-listen", value))

    def opt_certificate(self, value: str) -> None:
        """PEM file with a certificate and its chain; may be given again, each with its --private-key."""
        self["certificate"].append(Path(value))

    def opt_private_key(self, value: str) -> None:
        """PEM file with the private key of the --certificate."""
        self["private-key"].append(Path(value))

    def opt_key_file(self, value: str) -> None:
        """File with a key that clients need to join; may be given again: any of them and MLES_KEY lets in."""
        self["key-file"].append(Path(value))

    def opt_proxy(self, value: str) -> None:
        """PREFIX=http://HOST:PORT: pass on requests whose path begins with the prefix; may be given again."""
        self["proxy"].append(proxy_route(value))

    def opt_trusted_proxy(self, value: str) -> None:
        """Address or network of a proxy whose X-Forwarded-For is believed; more by commas, or given again."""
        for network in value.split(","):
            if network.strip() not in self["trusted-proxy"]:
                self["trusted-proxy"].append(network.strip())

    def opt_origin(self, value: str) -> None:
        """Origin of pages that may connect; more by commas, or given again. [default: any; without --domains local]"""
        self["origin"].extend(origin.strip() for origin in value.split(","))

    def parse(self, options: Sequence[str] | None = None) -> None:
        super().parse(options)
        config = self.config()
        if self["check"]:
            # Here, not above: nothing else needs OpenSSL so early.
            from .checking import check

            with self.naming():
                lines = check(config)
            for line in lines:
                print(f"mles: {line}")
            sys.exit(0)

    def config(self) -> ServerConfig:
        """The configuration these options stand for.

        Raises:
            ConfigError: they do not fit together.
        """
        with self.naming():
            return self._config()

    def _config(self) -> ServerConfig:
        keys = self._keys()
        if len(self["certificate"]) != len(self["private-key"]):
            raise ConfigError("--certificate: each one needs its --private-key, given in the same order")
        return ServerConfig(
            domains=tuple(self["domains"]),
            port=self["port"],
            interfaces=tuple(self["interface"]),
            listen_on=tuple(self["listen"]),
            tls=not self["no-tls"],
            certificates=tuple(zip(self["certificate"], self["private-key"], strict=True)),
            cache=self.cache,
            emails=tuple(self["email"]),
            acme_directory=self.directory,
            acme_ca=self["acme-ca"],
            acme_account=self._acme_account(),
            redirect_port=self._redirect_port(),
            redirect_on=tuple(self["redirect-listen"]),
            wwwroot=self["wwwroot"],
            proxies=tuple(self["proxy"]),
            key=keys[0] if keys else None,
            other_keys=keys[1:],
            origins=tuple(dict.fromkeys(self["origin"])),
            limit=self["limit"],
            ping_interval=self["ping-interval"] / 1000,
            max_missed_pongs=self["max-missed-pongs"],
            rate_limit=self["rate-limit"],
            filelimit=self["filelimit"],
            compression_cache=self["compression-cache"],
            cors=bool(self["cors"]),
            trusted_proxies=tuple(self["trusted-proxy"]),
            proxy_protocol=bool(self["proxy-protocol"]),
            per_ip_limit=self["per-ip-limit"],
            per_ip_window=self["per-ip-window"],
            max_channels=self["max-channels"],
            history=self["history"],
            durability=self["durability"],
            history_max=self["history-max"],
            history_total=self["history-total"],
            run_as=self["run-as"],
            workers=self["workers"],
            drain=self["drain"],
            metrics_logging=not self["no-metrics-logging"],
            admin=self["admin"],
            log_format=self["log-format"],
            log_level=self["log-level"],
        )

    def _redirect_port(self) -> int | None:
        given: int | None = self["redirect-port"]
        is_default = self["redirect"] and given is None and not self["redirect-listen"]
        return _HTTP_PORT if is_default else given

    def _acme_account(self) -> ExternalAccount | None:
        key_id, path = self["acme-key-id"], self["acme-hmac-key"]
        if key_id is None and path is None:
            return None
        if key_id is None or path is None:
            given, missing = (
                ("--acme-key-id", "--acme-hmac-key") if path is None else ("--acme-hmac-key", "--acme-key-id")
            )
            raise ConfigError(f"{given}: needs {missing}; the authority gives both")
        try:
            return ExternalAccount(key_id, self.read("--acme-hmac-key", path).decode("ascii").strip())
        except ValueError:
            raise ConfigError(f"--acme-hmac-key {path}: no key in base64url; write the key into it") from None

    def _keys(self) -> tuple[bytes, ...]:
        variable = self._environ.get(b"MLES_KEY")
        keys = [] if variable is None else [variable]
        for path in self["key-file"]:
            key = self.read("--key-file", path).rstrip(b"\r\n")
            if not key:
                raise ConfigError(f"--key-file {path}: empty; write the key into it")
            keys.append(key)
        return tuple(dict.fromkeys(keys))

    def home(self) -> Path | None:
        run_as: Account | None = self["run-as"]
        needs_cache = self["domains"] and not self["no-tls"] and not self["certificate"]
        if run_as is not None and run_as.home is None and needs_cache:
            raise ConfigError(f"--run-as {run_as}: has no home directory; give --cache, a directory of its own")
        return None if run_as is None else run_as.home
