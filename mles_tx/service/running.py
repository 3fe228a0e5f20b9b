"""Running a server as a program, in one process."""

import os
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from mles_tx.transport.certificates.pairs import Pair

from .banner import banner
from .changing import Change
from .config import ServerConfig
from .heap import Heap
from .logs import Log
from .process import OwnProcess
from .server import MlesService

__all__ = ["Program"]


class Program(OwnProcess, MlesService):
    """A server that has its process to itself.

    Args:
        config: what it is to be.
        reactor: where it is to run.
        announce: called with each line of the banner.
        log: where it logs. Under twistd it takes the place of twistd's own; else it has to be in place already. None:
            that is somebody else's business.
        environ: the environment.
        reread: called on SIGHUP for what it is to be from then on; None: the same, but files are read again.
    """

    def __init__(
        self,
        config: ServerConfig,
        reactor: Any,
        announce: Callable[[str], object],
        log: Log | None = None,
        environ: MutableMapping[str, str] = os.environ,
        reread: Callable[[], ServerConfig] | None = None,
    ) -> None:
        OwnProcess.__init__(self, reactor, announce, log, environ)  # first: it sees to the descriptors
        MlesService.__init__(self, config, reactor)
        self._reread = reread
        self._heap = Heap(reactor, lambda: self.connections)

    @property
    def port(self) -> int:
        return self.listener.addresses[0][1]

    @property
    def connections(self) -> int:
        return len(self.listener.websocket.connections)

    def startService(self) -> None:
        super().startService()
        self._heap.startService()
        self.serves(
            banner(
                self.config,
                self.port,
                self.listener.admission.max_connections,
                self.certificates.states(),
                None if self.redirect is None else self.redirect.addresses[0][1],
            )
        )

    def stopService(self) -> "Deferred[None]":
        if self._heap.running:
            self._heap.stopService()
        return super().stopService()

    def change(self) -> list[Change]:
        return self.reload(self.config if self._reread is None else self._reread())

    def restart(self) -> None:
        self._log.warn("SIGUSR2 replaces the processes of --workers; this server has one: restart it to replace that")

    def cut_off(self) -> None:
        self.abort()

    def log_metrics(self) -> None:
        self.housekeeping.log_metrics()

    def take_over(self, config: ServerConfig, pairs: Sequence[Pair]) -> None:
        super().take_over(config, pairs)
        self.set_log_level(config.log_level)
