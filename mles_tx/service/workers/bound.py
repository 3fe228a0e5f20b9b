"""Which settings belong to the supervisor, so that they change only when the whole server is started again.

All others a worker takes over when it is replaced.
"""

from dataclasses import replace

from ..changing import Change, changes, option_of
from ..config import ServerConfig

__all__ = ["bound_changes"]

#: Fields of `ServerConfig`. Histories are among them because workers of the old one and of the new one would not hear
#: each other.
_BOUND = (
    "admin",
    "history",
    "interfaces",
    "listen_on",
    "log_format",
    "port",
    "redirect_on",
    "redirect_port",
    "run_as",
    "workers",
)


def bound_changes(old: ServerConfig, new: ServerConfig) -> list[Change]:
    """What is different, and cannot be changed by replacing workers."""
    bound = {option_of(name) for name in _BOUND}
    found = [replace(change, needs_restart=False) for change in changes(old, new) if change.name in bound]
    places = [(config.listen_port, config.listen_interfaces) for config in (old, new)]
    if not found and places[0] != places[1]:  # by default, as with and without TLS
        before, after = (f"port {port} of {', '.join(interfaces)}" for port, interfaces in places)
        found.append(Change("where it listens", before, after))
    return found
