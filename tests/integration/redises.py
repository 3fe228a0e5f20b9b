"""Real Redis servers: started, stopped, killed and started again with what they have kept."""

import shutil
import signal
from functools import cache
from typing import Any

import redis

from tests.ports import free_port

from .parts import debian_libraries, debian_program
from .processes import Kept

__all__ = ["RedisServer"]


@cache
def _program() -> tuple[str, dict[str, str]]:
    """The server and what its environment needs: the installed one, or that of Debian's packages.

    Raises:
        SkipTest: there is none to be had.
    """
    for name in ("redis-server", "valkey-server"):
        installed = shutil.which(name)
        if installed is not None:
            return installed, {}
    # It is the same program under another name.
    checker = debian_program("redis-tools", "redis-check-rdb")
    server = checker.with_name("redis-server")
    if not server.exists():
        server.symlink_to(checker.name)
    return str(server), {"LD_LIBRARY_PATH": debian_libraries("libjemalloc2", "liblzf1")}


class RedisServer(Kept):
    """A Redis on a socket of its own, which keeps what it was told in a file.

    Args:
        options: more of them, as on its command line.
        tcp: whether it listens on a free port as well.
        tls: whether it does so with TLS.

    Attributes:
        url: where it is, for `--history`.
    """

    def __init__(self, *options: str, tcp: bool = False, tls: bool = False) -> None:
        self._program, self._environ = _program()
        super().__init__()
        self.socket = self.directory / "redis.sock"
        self.url = f"redis+unix://{self.socket}"
        self.port = free_port() if tcp or tls else 0
        self._options = ("--tls-port" if tls else "--port", str(self.port), *(("--port", "0") if tls else ()), *options)
        self.start()

    @property
    def client(self) -> Any:
        """A client of it, for looking into it."""
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=20)

    def start(self) -> None:
        """Start it, with what it has kept."""
        command = [
            *(self._program, "--bind", "127.0.0.1", "--unixsocket", str(self.socket)),
            *("--dir", str(self.directory), "--appendonly", "yes", "--appendfsync", "no", "--save", "", *self._options),
        ]
        self.begin(command, self._environ, "eady to accept connections")

    def cut(self, kind: str) -> None:
        """Cut the connections for commands (normal) or announcements (pubsub)."""
        with self.client as client:
            client.client_kill_filter(_type=kind, skipme=True)

    def stop(self) -> None:
        """End it, and forget what it has kept; any number of times."""
        if self.process.is_running:
            self.process.signal(signal.SIGCONT)
        super().stop()
