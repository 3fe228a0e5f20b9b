"""What a server is to be: values that were looked at as a whole.

The options only parse; here it is decided whether the values fit together. It must not know how they are
used.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from platformdirs import user_state_path

from mles_tx.stores.redis.address import RedisAddress
from mles_tx.transport.certificates.authority import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Authority, ExternalAccount
from mles_tx.transport.certificates.names import is_ip_address, is_local_name
from mles_tx.transport.inherited import SystemdSocket
from mles_tx.transport.origins import OriginPolicy, any_origin, pages_of_this_machine

from .privileges import Account
from .resources import machine_memory

__all__ = ["LOOPBACK", "ConfigError", "ServerConfig", "state_directory"]

#: Where the local mode and `--no-tls` listen.
LOOPBACK = ("127.0.0.1", "::1")

_EVERYWHERE = ("0.0.0.0", "::")

_LOCAL_HOSTS = ("localhost", *LOOPBACK)

#: What each number may be. The ping interval is in seconds here, and in milliseconds on the command line.
_RANGES: Mapping[str, tuple[float, float]] = {
    "port": (0, 65535),
    "redirect_port": (0, 65535),
    "limit": (1, 999999),
    "ping_interval": (1, 1000000),
    "max_missed_pongs": (1, 9),
    "rate_limit": (0, 9999),
    "filelimit": (1, 999999),
    "compression_cache": (0, 999999),
    "per_ip_limit": (0, 99999),
    "per_ip_window": (1, 86399),
    "max_channels": (1, 99999999),
    "history_max": (16, 99999999),
    "history_total": (1, 99999999),
    "drain": (0, 3600),
}

_TLS_PORT = 443
_PLAIN_PORT = 8080

_PER_IP_LIMIT = 60

#: Enough to see that it is an address; who it is for tells the rest.
_EMAIL = re.compile(r"[!-?A-~]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")

#: Characters of a name certificates are ordered for: files are called after it.
_MAX_ACME_NAME = 240

#: RFC 1123 section 2.1, with the underscore that private networks use.
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


def state_directory(home: Path | None = None) -> Path:
    """Where a program's state goes on this platform: for the user it runs as, or in another one's home."""
    return user_state_path("mles_tx") if home is None else home / ".local" / "state" / "mles_tx"


class ConfigError(Exception):
    """Values that cannot be served with; the text names the option and the remedy."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One server's configuration.

    Attributes:
        domains: host names or addresses to serve, lower case; none: the local mode, for this machine alone.
        port: where to listen; None: 443 with TLS, else 8080; 0: one that is free.
        interfaces: numeric addresses to listen on; none: all with TLS, else loopback.
        listen_on: sockets that listen already when the process starts, instead of port and interfaces.
        tls: False behind a proxy that speaks TLS. The local mode never does.
        certificates: files, certificate with chain and private key; the first is the default. Without them a
            certificate is ordered for each domain by ACME; the terms of the authority are agreed to by that.
        cache: directory for the certificates that are ordered or made; it is made when it is needed.
        emails: whom the authority may write to.
        acme_directory: URL of the authority's directory; None: Let's Encrypt.
        acme_ca: PEM file with the certificates to trust when talking to it, instead of the system's.
        acme_account: an account with the authority that ours is to be bound to.
        redirect_port: where browsers are sent from http to https and HTTP-01 is answered; 0: one that is free;
            None: nowhere, unless there is `redirect_on`.
        redirect_on: sockets for that which listen already when the process starts.
        wwwroot: directory with one directory a domain; None: the bundled page.
        key: the server's key, not empty; None: none is needed to join.
        limit: messages in a channel's history, 1 to 999999.
        ping_interval: seconds between two pings, 1 or more.
        max_missed_pongs: pings that may stay unanswered, 1 to 9.
        rate_limit: messages a second of one connection, 1 to 9999; 0: no limit.
        filelimit: files the web side has open at one time, 1 to 999999.
        compression_cache: MiB of memory for files of the web side and what is made of them, to 999999; 0: none.
        cors: whether pages are isolated from those of other origins (COOP, COEP and CORP).
        per_ip_limit: connections one address may open in a window, 1 to 99999; 0: any number; None: 60 with TLS,
            else any number, because then they all come from a proxy or from this machine.
        per_ip_window: length of the window in seconds, 1 to 86399.
        max_channels: channels with members or a history, 1 or more.
        history: the file messages are remembered in, or the Redis that makes one server of several nodes; None:
            memory, until the server ends.
        durability: with a file, "relaxed": delivered at once, in the file 100 ms later; "strict": delivered when it is
            on disk.
        history_max: MiB the file may take, about; 16 or more.
        history_total: MiB of memory all histories together may take; None: a quarter of the machine's.
        run_as: whom a program becomes once it has bound, if it was started as root; None: nobody else.
        drain: seconds over which members are told that the server ends, 0 to 3600; 0: all at once.
        metrics_logging: whether the metrics are logged every 10 seconds.
        listen: False for a server that is mounted in somebody else's site, and has no port of its own.

    Raises:
        ConfigError: the values do not fit together.
    """

    domains: tuple[str, ...] = ()
    port: int | None = None
    interfaces: tuple[str, ...] = ()
    listen_on: tuple[SystemdSocket, ...] = ()
    tls: bool = True
    certificates: tuple[tuple[Path, Path], ...] = ()
    cache: Path = field(default_factory=state_directory)
    emails: tuple[str, ...] = ()
    acme_directory: str | None = None
    acme_ca: Path | None = None
    acme_account: ExternalAccount | None = None
    redirect_port: int | None = None
    redirect_on: tuple[SystemdSocket, ...] = ()
    wwwroot: Path | None = None
    key: bytes | None = field(default=None, repr=False)
    limit: int = 200
    ping_interval: float = 24.0
    max_missed_pongs: int = 3
    rate_limit: int = 100
    filelimit: int = 256
    compression_cache: int = 10
    cors: bool = False
    per_ip_limit: int | None = None
    per_ip_window: int = 60
    max_channels: int = 100_000
    history: Path | RedisAddress | None = None
    durability: Literal["relaxed", "strict"] = "relaxed"
    history_max: int = 1024
    history_total: int | None = None
    run_as: Account | None = None
    drain: int = 0
    metrics_logging: bool = True
    listen: bool = True

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: give a value from {low:g} to {high:g}")
        for domain in self.domains:
            if ("%" in domain or not is_ip_address(domain)) and _DOMAIN.fullmatch(domain) is None:
                raise ConfigError(
                    f"--domains {domain!r}: not a host name; give names like example.org,"
                    " international ones in their xn-- form"
                )
            if is_ip_address(domain) and str(ip_address(domain)) != domain:
                raise ConfigError(f"--domains {domain}: write it as {ip_address(domain)}, as browsers do")
        for interface in self.interfaces:
            if not is_ip_address(interface):
                raise ConfigError(
                    f"--interface {interface!r}: not an IP address; give one of this machine's, or 0.0.0.0 for all"
                )
        self._check_inherited()
        if self.key == b"":
            raise ConfigError("MLES_KEY: empty; set a key, or unset it to let everybody join")
        if self.wwwroot is not None and not self.wwwroot.is_dir():
            raise ConfigError(f"--wwwroot {self.wwwroot}: not a directory; make it, or leave the option away")
        if self.history is None and self.durability == "strict":
            raise ConfigError("--durability strict: memory does not last; give --history sqlite:FILE as well")
        if isinstance(self.history, RedisAddress) and self.durability == "strict":
            raise ConfigError("--durability strict: Redis decides that itself (appendfsync); leave it away")
        if self.is_local:
            self._check_local()
        else:
            self._check_public()

    def _check_inherited(self) -> None:
        for given, option, others in (
            (self.listen_on, "--listen", ((self.port is not None, "--port"), (self.interfaces, "--interface"))),
            (self.redirect_on, "--redirect-listen", ((self.redirect_port is not None, "--redirect-port"),)),
        ):
            for is_given, other in others:
                if given and is_given:
                    raise ConfigError(f"{option}: {other} is given as well; keep one of them")
            seen: set[SystemdSocket] = set() if option == "--listen" else set(self.listen_on)
            for wanted in given:
                if wanted in seen:
                    raise ConfigError(f"{option} {wanted}: taken already; name each socket once")
                seen.add(wanted)

    def _check_local(self) -> None:
        for given, option in (
            (self.interfaces, "--interface"),
            (self.listen_on, "--listen"),
            (self.certificates, "--certificate"),
        ):
            if given:
                raise ConfigError(f"{option}: needs --domains; without it only this machine is served")
        self._refuse_acme("needs --domains; without it only this machine is served")

    def _check_public(self) -> None:
        if not self.tls:
            if self.certificates:
                raise ConfigError("--certificate: of no use with --no-tls; leave one of them away")
            self._refuse_acme("of no use with --no-tls; leave one of them away")
            return
        if self.redirect_port and self.redirect_port == self.listen_port and not self.listen_on:
            raise ConfigError(f"--redirect-port {self.redirect_port}: that is --port already; give another one")
        for email in self.emails:
            if _EMAIL.fullmatch(email) is None:
                raise ConfigError(f"--email {email!r}: not an address; give one like me@example.org")
        for domain in self.acme_names:
            if len(domain) > _MAX_ACME_NAME:
                raise ConfigError(
                    f"--domains {domain}: longer than {_MAX_ACME_NAME} characters; give --certificate and --private-key"
                )
        if not self.acme_names:
            reason = (
                "of no use with --certificate" if self.certificates else "no authority gives those names certificates"
            )
            self._refuse_acme(f"{reason}; leave it away", redirect=False)
        try:
            _ = self.authority
        except ValueError:
            raise ConfigError(
                f"--acme-directory {self.acme_directory!r}: give the https:// URL of the authority's directory"
            ) from None

    def _refuse_acme(self, reason: str, *, redirect: bool = True) -> None:
        """Say that an option would do nothing, if it is given."""
        for given, option in (
            (self.emails, "--email"),
            (self.acme_directory == LETS_ENCRYPT_STAGING, "--staging"),
            (self.acme_directory, "--acme-directory"),
            (self.acme_ca, "--acme-ca"),
            (self.acme_account, "--acme-key-id"),
            (redirect and self.redirect_port is not None, "--redirect"),
            (redirect and self.redirect_on, "--redirect-listen"),
        ):
            if given:
                raise ConfigError(f"{option}: {reason}")

    @property
    def is_local(self) -> bool:
        """Whether only this machine is served, in plain HTTP and WebSocket."""
        return not self.domains

    @property
    def speaks_tls(self) -> bool:
        """Whether connections are encrypted here."""
        return self.tls and not self.is_local

    @property
    def redirects(self) -> bool:
        """Whether browsers are sent from http to https."""
        return self.redirect_port is not None or bool(self.redirect_on)

    @property
    def authority(self) -> Authority:
        """Who issues the certificates."""
        return Authority(self.acme_directory or LETS_ENCRYPT, self.acme_ca, self.emails, self.acme_account)

    @property
    def acme_names(self) -> tuple[str, ...]:
        """The domains certificates are ordered for. Public authorities know no local names, and few an address."""
        if self.certificates or not self.speaks_tls:
            return ()
        is_public = self.acme_directory in (None, LETS_ENCRYPT, LETS_ENCRYPT_STAGING)
        return tuple(
            domain for domain in self.domains if not is_ip_address(domain) and not (is_public and is_local_name(domain))
        )

    @property
    def listen_port(self) -> int:
        """The port to bind; 0 for a free one."""
        if self.port is not None:
            return self.port
        return _TLS_PORT if self.speaks_tls else _PLAIN_PORT

    @property
    def listen_interfaces(self) -> tuple[str, ...]:
        """The addresses to bind. Those with a colon only count where the machine has IPv6, unless asked for."""
        return self.interfaces or (_EVERYWHERE if self.speaks_tls else LOOPBACK)

    @property
    def connections_per_ip(self) -> int:
        """Connections one address may open in a window; 0: any number."""
        if self.per_ip_limit is not None:
            return self.per_ip_limit
        return _PER_IP_LIMIT if self.speaks_tls else 0

    @property
    def history_bytes(self) -> int:
        """Bytes of memory all histories together may take."""
        if self.history_total is not None:
            return self.history_total * 1024 * 1024
        return machine_memory() // 4

    @property
    def hosts(self) -> dict[str, str]:
        """The directory below the root of sites, by each host name that is served."""
        if self.is_local:
            return dict.fromkeys(_LOCAL_HOSTS, "localhost")
        return {domain: domain for domain in self.domains}

    @property
    def origin_allowed(self) -> OriginPolicy:
        """Which web pages may connect."""
        return pages_of_this_machine if self.is_local and self.listen else any_origin
