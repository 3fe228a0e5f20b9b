"""Programs for tests: on a reactor in memory, with real sockets that nobody connects to."""

import signal
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.config import ServerConfig
from mles_tx.service.running import Program
from mles_tx.transport.door import Door
from tests.transport.fakes import FakeTransport
from tests.wire import header, upgrade

__all__ = ["ProgramTestCase", "Reactor", "join"]


class Reactor(MemoryReactorClock):
    """A reactor in memory that can be told something by a signal handler."""

    def callFromThread(self, function: Any, *args: Any) -> None:  # noqa: N802
        self.callLater(0, function, *args)


def join(program: Program, uid: str) -> FakeTransport:
    """A member of a program that runs."""
    door = program.listener.door.buildProtocol(None)
    assert isinstance(door, Door)
    peer = FakeTransport(door)
    peer.receive(upgrade() + header(uid, history=0))
    peer.taken()
    return peer


class ProgramTestCase(SynchronousTestCase):
    """Programs on a reactor in memory, with real sockets that nobody connects to."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.announced: list[str] = []
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

        self.environ: dict[str, str] = {}

    def program(self, **fields: Any) -> Program:
        """A program that listens on a free port, unless told otherwise."""
        config = ServerConfig(**{"port": 0, "cache": self.directory / "cache", **fields})
        return Program(config, self.reactor, self.announced.append, environ=self.environ)

    def start(self, program: Program) -> None:
        """Start it, as twistd does."""
        program.privilegedStartService()
        program.startService()

    def stop(self, program: Program) -> "Deferred[None]":
        """Stop it; what has to wait for peers still waits."""
        stopped = program.stopService()
        self.reactor.advance(0)
        return stopped
