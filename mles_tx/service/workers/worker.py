"""The process that serves, under a supervisor: ``python -m mles_tx.service.workers.worker``.

It is told everything over its standard input, has its sockets from the supervisor, and leaves signals to that. When
its input ends the supervisor is gone, however that was, and it ends as well.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from prometheus_client import ProcessCollector
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogEvent, Logger, globalLogBeginner
from twisted.python import usage
from twisted.python.failure import Failure

from mles_tx.channels.history import HistoryError
from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.port import BindError

from ..banner import banner
from ..certificates import read_pairs
from ..changing import with_live_of
from ..config import ConfigError, ServerConfig
from ..exported import read_all, running_versions
from ..heap import Heap
from ..lag import ReactorLag
from ..logs import JsonLines, Log
from ..options import Options
from ..part import Part, share_of
from ..resources import raise_descriptor_limit
from ..server import MlesService
from ..turns import follow_monotonic_time, lean_turns
from .shared import SharedMemory, SharedWindow
from .totals import process_readings
from .wire import MEMORY, SOCKETS, Given, Lines, decode, encode

__all__ = ["Worker", "main", "pipe_log"]

#: Seconds waited for the history before connections are accepted: who comes back wants it.
_HISTORY_SECONDS = 2.0
_LOOK_SECONDS = 0.02

#: What is the supervisor's business, also when a terminal sends it to all.
_NOT_OURS = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def make_report(server: MlesService, lag: ReactorLag, process: Collector) -> dict[str, Any]:
    """How a worker is, as it goes over the pipe.

    Args:
        server: what it serves.
        lag: the lag of its reactor.
        process: reads the numbers of the process.
    """
    return {
        "metrics": [asdict(reading) for reading in read_all(server)],
        "lag": lag.counts,
        "lag_total": lag.total,
        "process": [asdict(reading) for reading in process_readings(process)],
        "versions": running_versions(),
        "snapshot": asdict(server.metrics()),
        "not_ready": server.not_ready(),
        "warnings": server.warnings(),
    }


def settings(given: Given, live: Given | None, is_first: bool) -> tuple[ServerConfig, Callable[[Path], bytes]]:
    """What a worker is to be, and a function that gives what is in its files.

    Args:
        given: the settings.
        live: what of them has changed since the server was started; None: nothing has.
        is_first: whether it is the first worker.

    Raises:
        ConfigError: they do not fit together.
        UsageError: an option cannot be made sense of.
    """
    config = share_of(_options(given).config(), is_first)
    if live is None:
        return config, partial(_content, given.contents)
    config = with_live_of(config, share_of(_options(live).config(), is_first))
    return config, partial(_content, {**given.contents, **live.contents})


def _options(given: Given) -> Options:
    return Options.resumed(given.arguments, given.directory, given.contents)


def _content(contents: Mapping[Path, bytes], path: Path) -> bytes:
    return contents[path]


class Worker(Protocol):
    """What is done with what the supervisor says.

    Args:
        reactor: where the server runs.
        log: its log.
        memory: what it has in common with the other processes.
        sockets: makes a socket of its descriptor.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, log: Log, memory: SharedMemory, sockets: Callable[[int], socket.socket] = socket.socket
    ) -> None:
        self._reactor = reactor
        self._program_log = log
        self._memory = memory
        self._sockets = sockets
        self._lines = Lines(self._said)
        self._service: MlesService | None = None
        self._is_first = False
        self._lag = ReactorLag(reactor)
        self._heap: Heap | None = None
        self._process = ProcessCollector(registry=None)
        self._looking: IDelayedCall | None = None
        self._stopping: Deferred[None] | None = None
        self._is_leaving = False
        self._is_lost = False

    def dataReceived(self, data: bytes) -> None:
        self._lines.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        if self._is_leaving:
            self._reactor.stop()
        elif self._stopping is None:
            self._log.error("the supervisor is gone: this worker ends as well")
            self.stop(False)

    def _said(self, line: bytes) -> None:
        message = decode(line)
        kind = message["kind"]
        if kind == "start":
            self._start(message)
        elif kind == "change":
            self._tell("changed", why=self._change(Given.unpack(message["given"])))
        elif kind == "report":
            self._program_log.settle(time.time())
            if self._service is not None:
                self._tell("report", report=make_report(self._service, self._lag, self._process))
        elif kind == "ping":
            self._tell("pong")
        elif kind == "stop":
            self.stop(message["is_restart"])
        elif kind == "abort" and self._service is not None:
            self._service.abort()

    def _tell(self, kind: str, **fields: Any) -> None:
        if self.transport is not None:
            self.transport.write(encode(kind, **fields))

    # -- start

    def _start(self, message: Mapping[str, Any]) -> None:
        try:
            live = None if message["live"] is None else Given.unpack(message["live"])
            self._is_first = message["is_first"]
            config, read = settings(Given.unpack(message["given"]), live, self._is_first)
            self._program_log.set_level(config.log_level)
            listening, redirecting = message["listening"], message["redirecting"]
            part = Part(
                [self._socket(number) for number in range(listening)],
                [self._socket(listening + number) for number in range(redirecting)],
                read,
                self._is_first,
                partial(SharedWindow, self._memory),
                partial(self._count_channels, message["slot"]),
            )
            self._service = MlesService(config, self._reactor, part)
            self._service.privilegedStartService()
            self._service.channels.startService()
        except (BindError, CertificateError, ConfigError, usage.UsageError) as error:
            self._fail(str(error))
        except HistoryError as error:
            self._fail(f"--history {error}")
        except Exception:
            self._log.failure("the worker could not start")
            self._fail("a worker could not start: the log has more")
        else:
            self._serve_with_history(self._reactor.seconds() + _HISTORY_SECONDS, message["workers"])

    def _socket(self, number: int) -> socket.socket:
        made = self._sockets(fileno=SOCKETS + number)  # type: ignore[call-arg]
        made.setblocking(False)
        return made

    def _count_channels(self, slot: int, channels: int) -> int:
        self._memory.set_channels(slot, channels)
        return self._memory.count_channels()

    def _serve_with_history(self, until: float, workers: int) -> None:
        self._looking = None
        service = self._service
        assert service is not None
        if service.channels.history.not_ready() and self._reactor.seconds() < until:
            self._looking = self._reactor.callLater(_LOOK_SECONDS, self._serve_with_history, until, workers)
            return
        try:
            service.startService()
        except (BindError, CertificateError) as error:
            self._fail(str(error))
            return
        self._lag.startService()
        self._heap = Heap(self._reactor, lambda: len(service.listener.websocket.connections))
        self._heap.startService()
        lines = banner(
            service.config,
            service.listener.addresses[0][1],
            workers * service.listener.admission.max_connections,
            service.certificates.states(),
            None if service.redirect is None else service.redirect.addresses[0][1],
        )
        self._tell(
            "serving",
            banner=lines,
            port=service.listener.addresses[0][1],
            report=make_report(service, self._lag, self._process),
        )

    def _fail(self, why: str) -> None:
        self._tell("failed", why=why)
        self._stopping = Deferred()
        self._reactor.callLater(0, self._leave)

    # -- changes

    def _change(self, given: Given) -> str:
        """Have other settings; why that could not be, or nothing."""
        service = self._service
        if service is None or self._stopping is not None:
            return ""
        try:
            config = with_live_of(service.config, share_of(_options(given).config(), self._is_first))
            pairs = read_pairs(config, partial(_content, given.contents))
        except (CertificateError, ConfigError, usage.UsageError) as error:
            return str(error)
        service.take_over(config, pairs)
        self._program_log.set_level(config.log_level)
        return ""

    # -- end

    def stop(self, is_restart: bool) -> None:
        """Tell everybody that it is over, and end; any number of times.

        Args:
            is_restart: whether somebody else goes on.
        """
        if self._stopping is not None:
            return
        self._stopping = Deferred()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self._service is None:
            self._leave()
            return
        for ports in (self._service.listener, self._service.redirect):
            if ports is not None:
                ports.is_restart = is_restart
        for watch in (self._lag, self._heap):
            if watch is not None and watch.running:
                watch.stopService()
        self._service.stopService().addErrback(self._not_stopped).addCallback(self._stopped)

    def _not_stopped(self, failure: Failure) -> None:
        self._log.failure("the worker did not stop as it should", failure)

    def _stopped(self, _: object) -> None:
        assert self._service is not None
        self._tell("report", report=make_report(self._service, self._lag, self._process))
        self._leave()

    def _leave(self) -> None:
        self._is_leaving = True
        self._program_log.settle(inf)  # nothing is held back any longer
        if self._is_lost or self.transport is None:
            self._reactor.callLater(0, self._reactor.stop)
        else:
            self.transport.loseConnection()  # what was said last is sent before


def main() -> None:
    """Serve as one of several."""
    # First of all: standard output is for answers, and whatever prints goes where the log goes.
    answers = os.dup(1)
    os.dup2(2, 1)
    os.set_inheritable(MEMORY, False)
    for number in _NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    from twisted.internet import reactor as global_reactor
    from twisted.internet.stdio import StandardIO

    reactor: Any = global_reactor
    follow_monotonic_time(reactor)
    lean_turns(reactor)
    raise_descriptor_limit()
    log = pipe_log(2)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
    worker = Worker(reactor, log, SharedMemory(MEMORY))
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, lambda *_: reactor.callFromThread(worker.stop, False))
    stdio: Any = StandardIO
    stdio(worker, stdin=0, stdout=answers, reactor=reactor)
    reactor.run(installSignalHandlers=False)


def pipe_log(descriptor: int) -> Log:
    """A log whose events go to the supervisor, each at once: what is to be held back is decided there."""
    lines = JsonLines()

    def observe(event: LogEvent) -> None:
        line = lines(event).encode("utf-8", "backslashreplace")
        with suppress(OSError):  # the supervisor is gone
            while line:
                line = line[os.write(descriptor, line) :]

    return Log(observe, "info")


if __name__ == "__main__":
    main()
