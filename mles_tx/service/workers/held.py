"""What a supervisor holds for its workers: the sockets that listen, the operator's files, the memory they share.

Sockets are bound and files read before root is given up; workers that are started later find them here. The sockets
stay open for as long as the supervisor runs, so that who connects while no worker is there waits for the next one.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from socket import socket
from typing import Any

from twisted.application.service import Service

from mles_tx.transport.certificates.pairs import Pair
from mles_tx.transport.inherited import InheritedSockets

from ..binding import bind_for
from ..certificates import make_self_signed, read_pairs, read_pairs_again
from ..config import ServerConfig
from ..options import Options
from .child import Child
from .shared import SharedMemory
from .wire import MEMORY, SOCKETS, Given

__all__ = ["Held"]

_WORKER = "mles_tx.service.workers.worker"


class Held(Service):
    """Sockets, files and memory.

    Args:
        reactor: who starts processes.
        config: what the server is to be.
        environ: the environment of the workers.

    Attributes:
        listening: the sockets of the port.
        redirecting: those of redirects.
        pairs: the operator's certificates.
    """

    def __init__(self, reactor: Any, config: ServerConfig, environ: dict[str, str] | None = None) -> None:
        self._reactor = reactor
        self._config = config
        self._environ = environ
        self._inherited = InheritedSockets()
        self._files: dict[Path, bytes] = {}
        self._memory: SharedMemory | None = None
        self.listening: list[socket] = []
        self.redirecting: list[socket] = []
        self.pairs: Sequence[Pair] = ()

    def privilegedStartService(self) -> None:
        """Bind, and read the operator's files.

        Raises:
            BindError: an address cannot be listened on.
            CertificateError: a file cannot be used.
        """
        super().privilegedStartService()
        config, inherited = self._config, self._inherited
        self.listening = bind_for(config, config.listen_port, "--port", config.listen_on, "--listen", inherited)
        if config.redirects:
            number, wanted = config.redirect_port or 0, config.redirect_on
            self.redirecting = bind_for(config, number, "--redirect-port", wanted, "--redirect-listen", inherited)
        self.pairs = read_pairs(config, self._read)

    def startService(self) -> None:
        """Have a certificate that all workers show until there is a better one.

        Raises:
            CertificateError: the cache directory cannot be used.
        """
        if not self.listening:
            self.privilegedStartService()
        super().startService()
        self._memory = SharedMemory.make()
        self.prepare(self._config)

    def stopService(self) -> None:
        """Listen no more."""
        super().stopService()
        for bound in (*self.listening, *self.redirecting):
            bound.close()
        self.listening, self.redirecting = [], []
        self._inherited.give_back()

    def let_go(self) -> None:
        """Give back the memory, when all have ended."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    @property
    def counts(self) -> dict[str, int]:
        """How many sockets a worker finds, for its start."""
        return {"listening": len(self.listening), "redirecting": len(self.redirecting)}

    def left_over(self) -> list[str]:
        """The sockets that were passed and that nobody has taken."""
        return self._inherited.left_over() if self._config.listen_on or self._config.redirect_on else []

    def prepare(self, config: ServerConfig) -> None:
        """Make what workers with a configuration need, and is not to be made by each of them.

        Raises:
            CertificateError: the cache directory cannot be used.
        """
        if config.uses_cache:
            make_self_signed(config)

    def given(self, options: Options) -> Given:
        """The settings for a worker, with the files that were read."""
        arguments, directory, contents = options.handed_on()
        return Given(arguments, directory, {**contents, **self._files})

    def read_again(self, config: ServerConfig) -> Sequence[Pair]:
        """Read the certificate files anew.

        Raises:
            CertificateError: a file cannot be used; then those from before are kept.
        """
        before, self._files = self._files, {}
        try:
            self.pairs = read_pairs_again(config, self._read)
        except BaseException:
            self._files = before
            raise
        return self.pairs

    def freed(self, slot: int) -> None:
        """A process has ended: what it had is nobody's."""
        if self._memory is not None:
            self._memory.set_channels(slot, 0)

    def launch(self, child: Child) -> None:
        """Start the process of a worker, of the version that is installed now."""
        assert self._memory is not None
        descriptors: dict[int, int | str] = {0: "w", 1: "r", 2: "r", MEMORY: self._memory.descriptor}
        for number, bound in enumerate((*self.listening, *self.redirecting)):
            descriptors[SOCKETS + number] = bound.fileno()
        # -P: what lies in the directory it is started in is not to be imported. The number is for those who read `ps`.
        command = [sys.executable, "-P", "-m", _WORKER, str(child.number)]
        environ = dict(os.environ if self._environ is None else self._environ)
        try:
            self._reactor.spawnProcess(child, sys.executable, command, env=environ, childFDs=descriptors)
        except OSError as error:
            child.not_started(
                f"--workers: user {os.geteuid()} cannot start {sys.executable}: {error.strerror}; install the server"
                " where that user can reach it"
            )

    def _read(self, path: Path) -> bytes:
        content = self._files[path] = path.read_bytes()
        return content
