"""What a server is to be: values that were looked at as a whole.

The options only parse; whether the values fit together is decided in `rules`, whenever a configuration is made. It must
not know how they are used.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from platformdirs import user_state_path

from mles_tx.protocol.forwarded import TrustedProxies
from mles_tx.stores.redis.address import RedisAddress
from mles_tx.transport.certificates.authority import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Authority, ExternalAccount
from mles_tx.transport.certificates.names import is_ip_address, is_local_name
from mles_tx.transport.inherited import SystemdSocket
from mles_tx.transport.origins import ListedOrigins, OriginPolicy, any_origin, pages_of_this_machine
from mles_tx.web.routes import Route

from .endpoints import Endpoint
from .privileges import Account
from .resources import machine_memory
from .rules import LOCAL_HOSTS, LOG_FORMATS, LOG_LEVELS, LOOPBACK, ConfigError, check

__all__ = ["LOG_FORMATS", "LOG_LEVELS", "LOOPBACK", "ConfigError", "ServerConfig", "state_directory"]

_EVERYWHERE = ("0.0.0.0", "::")

_TLS_PORT = 443
_PLAIN_PORT = 8080

_PER_IP_LIMIT = 60
_PER_IP_SECONDS = 60


def state_directory(home: Path | None = None) -> Path:
    """Where a program's state goes on this platform: for the user it runs as, or in another one's home."""
    return user_state_path("mles_tx") if home is None else home / ".local" / "state" / "mles_tx"


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
        proxies: path prefixes, no two alike, whose requests are passed on, and where to.
        key: the server's key, not empty; None: none is needed to join.
        other_keys: more keys, none of them empty: any of them lets in as well, as while a key is being changed.
        origins: which web pages may connect, each as `https://example.org`; none: any, or in the local mode those
            of this machine.
        limit: messages in a channel's history, 1 to 999999.
        ping_interval: seconds between two pings, 1 or more.
        max_missed_pongs: pings that may stay unanswered, 1 to 9.
        rate_limit: messages a second of one connection, 1 to 9999; 0: no limit.
        filelimit: files the web side has open at one time, 1 to 999999.
        compression_cache: MiB of memory for files of the web side and what is made of them, to 999999; 0: none.
        cors: whether pages are isolated from those of other origins (COOP, COEP and CORP).
        trusted_proxies: addresses and networks of proxies whose X-Forwarded-For is believed.
        proxy_protocol: whether each connection begins with a header of the PROXY protocol, and comes from one of them.
        per_ip_limit: connections one address may open in a window, 1 to 99999; 0: any number; None: 60 with TLS or
            trusted proxies, else any number, because then they all come from a proxy or from this machine.
        per_ip_window: length of the window in seconds, 1 to 86399, where there is such a limit; None: 60.
        max_channels: channels with members or a history, 1 or more.
        history: the file messages are remembered in, or the Redis that makes one server of several nodes; None:
            memory, until the server ends.
        durability: with a file, "relaxed": delivered at once, in the file 100 ms later; "strict": delivered when it is
            on disk.
        history_max: MiB the file may take, about; 16 or more.
        history_total: MiB of memory all histories together may take; None: a quarter of the machine's.
        run_as: whom a program becomes once it has bound, if it was started as root; None: nobody else.
        workers: processes that serve, 1 to 256, all of them on one Redis; None: the one this is read in.
        drain: seconds over which members are told that the server ends, 0 to 3600; 0: all at once.
        metrics_logging: whether the metrics are logged every 10 seconds.
        admin: where its metrics and its state are to be asked for; None: nowhere.
        log_format: lines of the log, one of `LOG_FORMATS`. Only a program of its own logs by itself: a server in
            somebody else's leaves that to it.
        log_level: what such a program logs, one of `LOG_LEVELS`.
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
    proxies: tuple[Route, ...] = ()
    key: bytes | None = field(default=None, repr=False)
    other_keys: tuple[bytes, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    limit: int = 200
    ping_interval: float = 24.0
    max_missed_pongs: int = 3
    rate_limit: int = 100
    filelimit: int = 256
    compression_cache: int = 10
    cors: bool = False
    trusted_proxies: tuple[str, ...] = ()
    proxy_protocol: bool = False
    per_ip_limit: int | None = None
    per_ip_window: int | None = None
    max_channels: int = 100_000
    history: Path | RedisAddress | None = None
    durability: Literal["relaxed", "strict"] = "relaxed"
    history_max: int = 1024
    history_total: int | None = None
    run_as: Account | None = None
    workers: int | None = None
    drain: int = 0
    metrics_logging: bool = True
    admin: Endpoint | None = None
    log_format: str = "readable"
    log_level: str = "info"
    listen: bool = True

    def __post_init__(self) -> None:
        check(self)

    @property
    def is_local(self) -> bool:
        """Whether only this machine is served, in plain HTTP and WebSocket."""
        return not self.domains

    @property
    def speaks_tls(self) -> bool:
        """Whether connections are encrypted here."""
        return self.tls and not self.is_local

    @property
    def uses_cache(self) -> bool:
        """Whether certificates are ordered or made here, and kept in the cache directory."""
        return self.speaks_tls and not self.certificates

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
        return _PER_IP_LIMIT if self.speaks_tls or self.trusted_proxies else 0

    @property
    def seconds_per_ip(self) -> int:
        """The length of that window."""
        return _PER_IP_SECONDS if self.per_ip_window is None else self.per_ip_window

    @property
    def trusted(self) -> TrustedProxies:
        """The proxies whose word on their clients is taken."""
        return TrustedProxies(self.trusted_proxies)

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
            return dict.fromkeys(LOCAL_HOSTS, "localhost")
        return {domain: domain for domain in self.domains}

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys any of which lets in; none: everybody may join."""
        own = () if self.key is None else (self.key,)
        return tuple(dict.fromkeys((*own, *self.other_keys)))

    @property
    def origin_allowed(self) -> OriginPolicy:
        """Which web pages may connect."""
        if self.origins:
            return ListedOrigins(self.origins)
        return pages_of_this_machine if self.is_local and self.listen else any_origin
