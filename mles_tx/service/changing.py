"""What of a configuration can change while the server runs, and how a change is told.

    ==================================  =============================================
    setting                             who takes it over
    ==================================  =============================================
    keys, origins, rate, pings          `MlesFactory.change`: newcomers and members
    limits for addresses                `Admission.change`: the next connection
    open files                          `FileSlots.change`
    drain                               `Listener.change`: the end
    history and channels                `ChannelService.change`
    certificate files                   `CertificateService.show`: the next handshake
    metrics logging                     `Housekeeping` looks at the configuration
    log level                           `Program.set_log_level`
    ==================================  =============================================

A setting that is not in `LIVE` needs a restart, and keeps its old value until then. A new one that does not comes into
`LIVE`, and is taken over in `MlesService.take_over` or, if it is about the process, in that of `Program`.
"""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, fields

from twisted.logger import Logger

from .config import ServerConfig

__all__ = ["LIVE", "Change", "changes", "option_of", "tell", "with_live_of"]

#: The fields of `ServerConfig` that can change while the server runs.
LIVE = frozenset(
    {
        "certificates",
        "drain",
        "filelimit",
        "history_total",
        "key",
        "limit",
        "log_level",
        "max_channels",
        "max_missed_pongs",
        "metrics_logging",
        "origins",
        "other_keys",
        "per_ip_limit",
        "per_ip_window",
        "ping_interval",
        "rate_limit",
    }
)

#: Options that are not called like their fields.
_OPTIONS: Mapping[str, str] = {
    "acme_account": "acme-key-id",
    "certificates": "certificate",
    "emails": "email",
    "interfaces": "interface",
    "listen_on": "listen",
    "metrics_logging": "no-metrics-logging",
    "origins": "origin",
    "other_keys": "key-file",
    "proxies": "proxy",
    "redirect_on": "redirect-listen",
    "tls": "no-tls",
    "trusted_proxies": "trusted-proxy",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that has another value.

    Attributes:
        name: what it is called.
        before: its value, for people; of keys only how many there are.
        after: its new value, likewise.
        needs_restart: whether the old one stays until then.
    """

    name: str
    before: str
    after: str
    needs_restart: bool = False

    def __str__(self) -> str:
        told = f"{self.name}: {self.before} -> {self.after}"
        return f"{told} (needs a restart)" if self.needs_restart else told


def with_live_of(old: ServerConfig, new: ServerConfig) -> ServerConfig:
    """The old configuration with everything of the new one that can change while the server runs."""
    mixed = copy(old)
    for name in LIVE:
        if _is_live(name, old, new):
            # Not by `replace`: both were looked at, and a directory of the old one may have gone meanwhile.
            object.__setattr__(mixed, name, getattr(new, name))
    return mixed


def changes(old: ServerConfig, new: ServerConfig) -> list[Change]:
    """What is different, by name."""
    found = []
    if set(old.keys) != set(new.keys):
        before, after = _number(old), _number(new)
        found.append(Change("keys", before, after if after != before else f"{after}, not the same"))
    for field in fields(ServerConfig):
        name = field.name
        if name in ("key", "other_keys") or getattr(old, name) == getattr(new, name):
            continue
        before, after = _shown(name, getattr(old, name)), _shown(name, getattr(new, name))
        if not field.repr or before == after:
            before, after = "some", "others"  # what is secret about it
        found.append(Change(option_of(name), before, after, not _is_live(name, old, new)))
    return sorted(found, key=lambda change: change.name)


def tell(to: Logger, told: Iterable[Change]) -> None:
    """Log what has changed, and what is to change but needs a restart."""
    for change in told:
        if change.needs_restart:
            to.warn("not changed: {change}", change=str(change))
        else:
            to.info("changed: {change}", change=str(change))


def option_of(name: str) -> str:
    """The option a field comes from."""
    return f"--{_OPTIONS.get(name, name.replace('_', '-'))}"


def _is_live(name: str, old: ServerConfig, new: ServerConfig) -> bool:
    if name == "certificates":
        # From ordered ones to the operator's own, or back, is a restart.
        return bool(old.certificates) and bool(new.certificates)
    return name in LIVE


def _number(config: ServerConfig) -> str:
    return str(len(config.keys) or "none")


def _shown(name: str, value: object) -> str:
    if name == "certificates" and isinstance(value, tuple):
        value = tuple(certificate for certificate, _ in value)
    elif name == "acme_account":
        value = getattr(value, "key_id", None)
    elif name == "ping_interval" and isinstance(value, float):
        value = round(value * 1000)  # as on the command line
    elif name in ("tls", "metrics_logging"):
        value = not value  # the option says no
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value == ():
        return "default"
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if text.isprintable() else repr(text)
