"""Ports for programs that cannot be given port 0, and tell which one they got."""

import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

__all__ = ["free_port"]

#: How many ports there are to choose from, below those that the system gives to whoever asks for any.
_MANY = 12_000

#: Where the latter begin, if nothing else is known: on Linux, as it comes.
_USUAL_EPHEMERAL = 32_768

#: What keeps other processes of the tests from the ports of this one, as long as it lives.
_ours: list[IO[bytes]] = []


def free_port() -> int:
    """A TCP port of the loopback address that nobody has, nor gets by chance; UDP's of that number is free as well.

    It is this process's from now on: no test gets it, in whatever process.
    """
    directory = Path(tempfile.gettempdir()) / "mles-tx-test-ports"
    directory.mkdir(exist_ok=True)
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    end = int(ephemeral.read_text().split()[0]) if ephemeral.exists() else _USUAL_EPHEMERAL
    first = max(end - _MANY, 1024)
    while True:
        port = random.randrange(first, end)
        lock = (directory / str(port)).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(type=kind) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
        else:
            _ours.append(lock)
            return port
