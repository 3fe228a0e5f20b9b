"""Which values of a configuration fit together: each rule names the option and the remedy.

It must not know how the values are used.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from mles_tx.protocol.forwarded import parse_network
from mles_tx.stores.redis.address import RedisAddress
from mles_tx.transport.certificates.authority import LETS_ENCRYPT_STAGING
from mles_tx.transport.certificates.names import is_ip_address
from mles_tx.transport.inherited import SystemdSocket
from mles_tx.transport.origins import ListedOrigins

if TYPE_CHECKING:
    from .config import ServerConfig

__all__ = ["LOCAL_HOSTS", "LOG_FORMATS", "LOG_LEVELS", "LOOPBACK", "ConfigError", "check"]

LOG_FORMATS = ("readable", "json")

#: What may be asked for. Above them there is `critical`, which is always logged.
LOG_LEVELS = ("debug", "info", "warn", "error")

#: Where the local mode and `--no-tls` listen.
LOOPBACK = ("127.0.0.1", "::1")

#: The names of this machine.
LOCAL_HOSTS = ("localhost", *LOOPBACK)

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
    "workers": (1, 256),
}

#: Enough to see that it is an address; who it is for tells the rest.
_EMAIL = re.compile(r"[!-?A-~]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")

#: Characters of a name certificates are ordered for: files are called after it.
_MAX_ACME_NAME = 240

#: RFC 1123 section 2.1, with the underscore that private networks use.
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


class ConfigError(Exception):
    """Values that cannot be served with; the text names the option and the remedy."""


def _remedy_for_network(text: str) -> str:
    try:
        if "%" in text:
            return "leave the zone away"
        return f"write it as {ip_network(text, strict=False)}, or give a single address"
    except ValueError:
        return "not an address or network; give some like 127.0.0.1, 10.0.0.0/8 or fd00::/8"


def check(config: "ServerConfig") -> None:
    """Look at the values of a configuration as a whole.

    Raises:
        ConfigError: they do not fit together.
    """
    for name, (low, high) in _RANGES.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: give a value from {low:g} to {high:g}")
    for option, choice, choices in (
        ("--log-format", config.log_format, LOG_FORMATS),
        ("--log-level", config.log_level, LOG_LEVELS),
    ):
        if choice not in choices:
            raise ConfigError(f"{option} {choice!r}: give {', '.join(choices[:-1])} or {choices[-1]}")
    for domain in config.domains:
        if ("%" in domain or not is_ip_address(domain)) and _DOMAIN.fullmatch(domain) is None:
            raise ConfigError(
                f"--domains {domain!r}: not a host name; give names like example.org,"
                " international ones in their xn-- form"
            )
        if is_ip_address(domain) and str(ip_address(domain)) != domain:
            raise ConfigError(f"--domains {domain}: write it as {ip_address(domain)}, as browsers do")
    for interface in config.interfaces:
        if not is_ip_address(interface):
            raise ConfigError(
                f"--interface {interface!r}: not an IP address; give one of this machine's, or 0.0.0.0 for all"
            )
    if config.per_ip_window is not None and not config.connections_per_ip:
        raise ConfigError(
            f"--per-ip-window {config.per_ip_window}: the connections of an address are not limited here; give"
            " --per-ip-limit N as well, or leave it away"
        )
    _check_inherited(config)
    _check_proxies(config)
    if config.history is None and config.durability == "strict":
        raise ConfigError("--durability strict: memory does not last; give --history sqlite:FILE as well")
    if isinstance(config.history, RedisAddress) and config.durability == "strict":
        raise ConfigError("--durability strict: Redis decides that itself (appendfsync); leave it away")
    if config.workers is not None:
        _check_workers(config)
    if config.key == b"":
        raise ConfigError("MLES_KEY: empty; set a key, or unset it to let everybody join")
    if b"" in config.other_keys:
        raise ConfigError("--key-file: a key is empty; write the key into the file")
    for origin in config.origins:
        try:
            ListedOrigins([origin])
        except ValueError as error:
            raise ConfigError(f"--origin {origin!r}: {error}") from None
    if config.wwwroot is not None and not config.wwwroot.is_dir():
        raise ConfigError(f"--wwwroot {config.wwwroot}: not a directory; make it, or leave the option away")
    _check_routes(config)
    if config.is_local:
        _check_local(config)
    else:
        _check_public(config)
    _check_admin(config)


def _check_admin(config: "ServerConfig") -> None:
    if config.admin is None or not config.admin.port or not config.listen:
        return
    for port, option in ((config.listen_port, "--port"), (config.redirect_port, "--redirect-port")):
        if config.admin.port == port and any(config.admin.overlaps(name) for name in config.listen_interfaces):
            raise ConfigError(f"--admin {config.admin}: port {port} is that of {option} already; give another one")


def _check_workers(config: "ServerConfig") -> None:
    if not isinstance(config.history, RedisAddress):
        raise ConfigError(
            f"--workers {config.workers}: several processes share what is said through Redis; give --history"
            " redis://HOST/DB as well"
        )
    if not config.listen:
        raise ConfigError(f"--workers {config.workers}: needs a port of the server's own; leave it away")


def _check_inherited(config: "ServerConfig") -> None:
    for given, option, others in (
        (config.listen_on, "--listen", ((config.port is not None, "--port"), (config.interfaces, "--interface"))),
        (config.redirect_on, "--redirect-listen", ((config.redirect_port is not None, "--redirect-port"),)),
    ):
        for is_given, other in others:
            if given and is_given:
                raise ConfigError(f"{option}: {other} is given as well; keep one of them")
        seen: set[SystemdSocket] = set() if option == "--listen" else set(config.listen_on)
        for wanted in given:
            if wanted in seen:
                raise ConfigError(f"{option} {wanted}: taken already; name each socket once")
            seen.add(wanted)


def _check_proxies(config: "ServerConfig") -> None:
    for network in config.trusted_proxies:
        try:
            parse_network(network)
        except ValueError:
            raise ConfigError(f"--trusted-proxy {network!r}: {_remedy_for_network(network)}") from None
    if config.proxy_protocol and not config.trusted_proxies:
        raise ConfigError("--proxy-protocol: needs --trusted-proxy; give the address of the proxy")
    if config.proxy_protocol and not config.listen:
        raise ConfigError("--proxy-protocol: needs a port of its own; leave it to the site")


def _check_routes(config: "ServerConfig") -> None:
    prefixes = [route.prefix for route in config.proxies]
    own = {*LOCAL_HOSTS, *config.interfaces, *config.domains}
    for route in config.proxies:
        if prefixes.count(route.prefix) > 1:
            raise ConfigError(f"--proxy {route.prefix}: given more than once; keep one of them")
        if route.port == config.listen_port and route.host in own:
            raise ConfigError(f"--proxy {route.prefix}: {route.origin} is this server; give another program's URL")
        if not config.listen:
            raise ConfigError(f"--proxy {route.prefix}: needs a port of the server's own; leave it away")


def _check_local(config: "ServerConfig") -> None:
    for given, option in (
        (config.interfaces, "--interface"),
        (config.listen_on, "--listen"),
        (config.certificates, "--certificate"),
    ):
        if given:
            raise ConfigError(f"{option}: needs --domains; without it only this machine is served")
    _refuse_acme(config, "needs --domains; without it only this machine is served")


def _check_public(config: "ServerConfig") -> None:
    if not config.tls:
        if config.certificates:
            raise ConfigError("--certificate: of no use with --no-tls; leave one of them away")
        _refuse_acme(config, "of no use with --no-tls; leave one of them away")
        return
    if config.redirect_port and config.redirect_port == config.listen_port and not config.listen_on:
        raise ConfigError(f"--redirect-port {config.redirect_port}: that is --port already; give another one")
    for email in config.emails:
        if _EMAIL.fullmatch(email) is None:
            raise ConfigError(f"--email {email!r}: not an address; give one like me@example.org")
    for domain in config.acme_names:
        if len(domain) > _MAX_ACME_NAME:
            raise ConfigError(
                f"--domains {domain}: longer than {_MAX_ACME_NAME} characters; give --certificate and --private-key"
            )
    if not config.acme_names:
        reason = (
            "of no use with --certificate" if config.certificates else "no authority gives those names certificates"
        )
        _refuse_acme(config, f"{reason}; leave it away", redirect=False)
    try:
        _ = config.authority
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _refuse_acme(config: "ServerConfig", reason: str, *, redirect: bool = True) -> None:
    """Say that an option would do nothing, if it is given."""
    for given, option in (
        (config.emails, "--email"),
        (config.acme_directory == LETS_ENCRYPT_STAGING, "--staging"),
        (config.acme_directory, "--acme-directory"),
        (config.acme_ca, "--acme-ca"),
        (config.acme_account, "--acme-key-id"),
        (redirect and config.redirect_port is not None, "--redirect"),
        (redirect and config.redirect_on, "--redirect-listen"),
    ):
        if given:
            raise ConfigError(f"{option}: {reason}")
