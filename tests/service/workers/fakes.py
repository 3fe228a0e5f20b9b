"""Worker processes that are none: what they are told is noted, and the test says what they say."""

import json
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mles_tx.service.workers.child import Child
from mles_tx.service.workers.wire import Given, encode

__all__ = ["GIVEN", "FakeProcess", "Processes", "report"]

GIVEN = Given(("--port", "0"), Path("/somewhere"), {Path("key"): b"s3cret"})


def report(sent: int = 0, **more: Any) -> dict[str, Any]:
    """How a worker is that has sent so many messages."""
    snapshot = {
        "active_connections": 1,
        "total_messages_sent": sent,
        "total_messages_received": 0,
        "total_channels": 1,
        "total_errors": 0,
        "total_dropped_connections": 1,
        "dropped_by_ip": {"192.0.2.1": 1},
        "history_waiting": 0,
        "history_lost": 0,
        "history_faults": 0,
        "certificate_ends": {"example.org": 1e9},
        "certificate_errors": {},
    }
    metrics = [
        {"name": name, "kind": kind, "help": "It is.", "label": label, "adds_up": adds_up, "value": value}
        for name, kind, label, adds_up, value in (
            ("mles_ready", "gauge", "", "min", 1.0),
            ("mles_members", "gauge", "", "sum", 3.0),
            ("mles_messages_sent_total", "counter", "", "sum", float(sent)),
            ("mles_worker_restarts_total", "counter", "", "sum", 0.0),
            ("mles_closed_connections_total", "counter", "reason", "sum", {"left": 2.0}),
            ("mles_certificate_expiry_timestamp_seconds", "gauge", "domain", "min", {"example.org": 1e9}),
        )
    ]
    process = [
        {"name": name, "kind": kind, "help": "It is.", "label": "", "adds_up": "sum", "value": value}
        for name, kind, value in (
            ("process_cpu_seconds_total", "counter", 2.0),
            ("process_open_fds", "gauge", 10.0),
            ("process_start_time_seconds", "gauge", 5.0),
        )
    ]
    return {
        "metrics": metrics,
        "process": process,
        "lag": [1] * 12,
        "lag_total": 0.25,
        "versions": {"version": "1", "python": "3", "twisted": "26"},
        "snapshot": snapshot,
        "not_ready": [],
        "warnings": [],
        **more,
    }


class FakeProcess:
    """The process of a worker.

    Attributes:
        told: what it was told, in order.
        signals: the signals it got.
        is_deaf: whether it has closed its input, as one does that is about to end.
    """

    def __init__(self, child: Child, pid: int) -> None:
        self.child = child
        self.pid = pid
        self.told: list[dict[str, Any]] = []
        self.signals: list[str] = []
        self.is_deaf = False
        child.makeConnection(self)

    @property
    def kinds(self) -> list[str]:
        """What it was told, without the details."""
        return [message["kind"] for message in self.told]

    def writeToChild(self, descriptor: int, data: bytes) -> None:  # noqa: N802
        assert descriptor == 0
        if self.is_deaf:
            raise KeyError(descriptor)  # as Twisted does
        self.told += [json.loads(line) for line in data.splitlines()]

    def signalProcess(self, name: str) -> None:  # noqa: N802
        self.signals.append(name)

    def say(self, kind: str, **fields: Any) -> None:
        """It says something."""
        self.child.childDataReceived(1, encode(kind, **fields))

    def serve(self, **more: Any) -> None:
        """It accepts connections."""
        self.say("serving", banner=["it serves"], port=8080, report=report(**more))

    def end(self, code: int | None = 0, signal: int | None = None) -> None:
        """It is no more."""
        reason = ProcessDone(0) if not code and signal is None else ProcessTerminated(code, signal)
        self.child.processEnded(Failure(reason))


class Processes:
    """All that were started, and a clock for them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.started: list[FakeProcess] = []

    def launch(self, child: Child) -> None:
        """Start one."""
        self.started.append(FakeProcess(child, 100 + len(self.started)))

    def of(self, number: int) -> FakeProcess:
        """The last one of a worker, from 1 on."""
        return [process for process in self.started if process.child.number == number][-1]
