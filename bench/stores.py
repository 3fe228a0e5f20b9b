"""Our server with each kind of history, and in several processes; and a Redis for those that need one."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .servers import Process, ServerError, Target, start_ours

__all__ = ["VARIANTS", "Variant", "cpu_seconds", "processes_of", "start_redis", "start_variant"]

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run it.

    Attributes:
        name: what the table calls it.
        history: the kind of its history: memory, sqlite or redis.
        options: more of its options.
    """

    name: str
    history: str
    options: tuple[str, ...] = ()

    @property
    def is_on_redis(self) -> bool:
        """Whether Redis has a part in it."""
        return self.history == "redis"


#: The first one is what the others are held against.
VARIANTS = (
    Variant("memory", "memory"),
    Variant("relaxed", "sqlite"),
    Variant("strict", "sqlite", ("--durability", "strict")),
    Variant("redis", "redis"),
    Variant("2 workers", "redis", ("--workers", "2")),
    Variant("4 workers", "redis", ("--workers", "4")),
)


def start_redis(directory: Path, program: str | None) -> tuple[Process, Path]:
    """Start a Redis that keeps a log of what it is told, as one that is relied on does.

    Args:
        directory: for its file and its socket.
        program: the server; None: what is installed.

    Returns:
        The process, and its socket.

    Raises:
        ServerError: there is none, or it does not start.
    """
    found = program or shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise ServerError("there is no redis-server: on Debian, apt-get install redis-server (or give --redis PROGRAM)")
    socket = directory / "redis.sock"
    command = [found, "--port", "0", "--unixsocket", str(socket), "--dir", str(directory), "--appendonly", "yes"]
    process = Process([*command, "--save", ""], directory / "redis.log")
    try:
        process.expect("eady to accept connections")
    except ServerError:
        process.stop()
        raise
    return process, socket


def start_variant(directory: Path, variant: Variant, redis: Path | None, database: int) -> Target:
    """Start our server in one way.

    Args:
        directory: for its files.
        variant: in which way.
        redis: the socket of a Redis; None: there is none.
        database: which of its databases the server has for itself.
    """
    history = {
        "memory": "memory",
        "sqlite": f"sqlite:{directory}/{variant.name}.db",
        "redis": f"redis+unix://{redis}?db={database}",
    }
    options = ("--history", history[variant.history], *variant.options)
    target = start_ours(directory, options=options, name=variant.name)
    return replace(target, pids=tuple(processes_of(target.pids)))


def processes_of(pids: Sequence[int]) -> list[int]:
    """Some processes and their children."""
    children = (Path(f"/proc/{pid}/task/{pid}/children").read_text().split() for pid in pids)
    return [*pids, *(int(child) for some in children for child in some)]


def cpu_seconds(pids: Sequence[int]) -> float:
    """The CPU time processes have taken, in all."""
    total = 0
    for pid in pids:
        # The name of a program stands in parentheses, and may have anything in it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS
