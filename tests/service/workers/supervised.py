"""Supervised servers for tests, whose workers are none."""

import signal
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.options import Options
from mles_tx.service.workers.child import Child, ChildState
from mles_tx.service.workers.supervisor import Supervisor

from .fakes import FakeProcess

__all__ = ["SupervisedTestCase"]


class _Reactor(MemoryReactorClock):
    """A reactor in memory, whose processes are none."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[FakeProcess] = []
        self.is_stopped = False

    def spawnProcess(self, child: Child, *arguments: Any, **more: Any) -> None:  # noqa: N802
        self.started.append(FakeProcess(child, 100 + len(self.started)))

    def callFromThread(self, function: Any, *args: Any) -> None:  # noqa: N802
        self.callLater(0, function, *args)

    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:  # noqa: N802
        self.callLater(0, callable, *args, **kw)

    def stop(self) -> None:
        self.is_stopped = True


class SupervisedTestCase(SynchronousTestCase):
    """A supervisor of two workers, with its settings in a file."""

    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.config = self.directory / "mles.toml"
        self.announced: list[str] = []
        self.environ: dict[str, str] = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    @property
    def lines(self) -> list[str]:
        """What was logged."""
        return [formatEvent(event) for event in self.events]

    def write(self, text: str) -> None:
        """Write the file with the settings."""
        self.config.write_text(f'port = 0\nworkers = 2\nhistory = "redis://h/0"\n{text}')

    def supervisor(self, text: str = "") -> Supervisor:
        """A supervisor that was started; its workers were too."""
        self.write(text)
        options = Options({})
        options.parse(["--config", str(self.config)])
        supervisor = Supervisor(options, options.config(), self.reactor, self.announced.append, None, self.environ)
        supervisor.privilegedStartService()
        supervisor.startService()
        self.reactor.advance(0)
        self.addCleanup(self.end, supervisor)
        return supervisor

    def serving(self, text: str = "") -> Supervisor:
        """One whose workers serve."""
        supervisor = self.supervisor(text)
        for process in self.reactor.started:
            process.serve(sent=2)
        return supervisor

    def end(self, supervisor: Supervisor) -> None:
        """Stop it, and let its workers end."""
        if supervisor.running:
            stopped = supervisor.stopService()
            for process in self.reactor.started:
                if process.child.state is not ChildState.ENDED:
                    process.end()
            self.reactor.advance(1.0)
            self.successResultOf(stopped)
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if call.active()], [])
