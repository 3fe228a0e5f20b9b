"""What the machine and the process have: descriptors and memory."""

import os
import resource
from contextlib import suppress
from pathlib import Path

__all__ = [
    "connections_for",
    "descriptor_limit",
    "has_descriptors",
    "machine_memory",
    "raise_descriptor_limit",
    "upstreams_for",
]

#: Descriptors for everything that is neither a connection nor a file of the web side: the reactor, ports, logs,
#: certificates, and the one that accepting needs.
_RESERVE = 48

_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")


def raise_descriptor_limit() -> None:
    """Let the process have as many descriptors as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems forbid what they say they allow: the soft limit stands then
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptor_limit() -> int:
    """How many descriptors the process has."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def has_descriptors() -> bool:
    """Whether the process can open anything more."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


def connections_for(descriptors: int, files: int) -> int:
    """How many connections there can be, beside so many open files; where there are few, files get a quarter."""
    return max(1, descriptors - _RESERVE - min(files, descriptors // 4))


def upstreams_for(descriptors: int) -> int:
    """How many connections to upstreams there can be, when requests are passed on at all."""
    return max(1, (descriptors - _RESERVE) // 4)


def machine_memory() -> int:
    """Bytes of memory of the machine, or of the container this runs in."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(_CGROUP_MEMORY.read_text()))
    except (OSError, ValueError):
        return memory  # no such file, or "max"
