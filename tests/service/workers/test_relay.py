"""Events of a worker, as its supervisor logs them."""

import json
from typing import Any

from twisted.logger import Logger, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.logs import JsonLines, ReadableLines
from mles_tx.service.workers.relay import event_of, words_of


class RelayTests(SynchronousTestCase):
    """From one log to the other."""

    def said(self, log: Any) -> bytes:
        """The line a worker writes for what is logged."""
        events: list[Any] = []
        observer: Any = events.append
        log(Logger("test", observer=observer))
        return JsonLines()(events[0]).encode()

    def test_line(self) -> None:
        """An event has its text, level, time and fields, and the number of the worker."""
        line = self.said(lambda log: log.info("joined: uid {uid}", uid="alice"))
        event = event_of(line, 2)
        assert event is not None
        self.assertEqual((formatEvent(event), event["log_level"]), ("joined: uid alice", LogLevel.info))
        self.assertRegex(ReadableLines()(event), r"^\S+ \[worker 2 test#info\] joined: uid alice\n$")
        again = json.loads(JsonLines()(event))
        self.assertEqual(again, {**json.loads(line), "worker": 2})

    def test_fault(self) -> None:
        """A traceback is there as well, in both formats."""

        def fault(log: Logger) -> None:
            try:
                raise ValueError("no")
            except ValueError:
                log.failure("it went wrong")

        line = self.said(fault)
        event = event_of(line, 1)
        assert event is not None
        self.assertRegex(
            ReadableLines()(event), r"\[worker 1 test#critical\] it went wrong\n\tTraceback(?s:.*)ValueError: no"
        )
        self.assertEqual(json.loads(JsonLines()(event)), {**json.loads(line), "worker": 1})

    def test_earlier_way(self) -> None:
        """What was logged in Twisted's earlier way has the worker as well."""
        line = b'{"time":"2026-01-31T12:00:00.250Z","level":"info","logger":"log_legacy","text":"said"}'
        event = event_of(line, 1)
        assert event is not None
        self.assertEqual(json.loads(JsonLines()(event))["worker"], 1)

    def test_no_event(self) -> None:
        """Anything else is a line of text."""
        for line in (
            b"Fatal Python error: Aborted",
            b"{}",
            b"[1]",
            b'{"level":"loud","text":"","logger":"","time":""}',
        ):
            self.assertIs(event_of(line, 1), None)
        event = words_of(b"Fatal \xff error", 3)
        self.assertEqual((formatEvent(event), event["worker"]), ("Fatal \\xff error", 3))
