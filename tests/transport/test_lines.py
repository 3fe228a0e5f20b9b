"""Tests of the lines that come with joins and leaves."""

from typing import Any

from twisted.logger import LogEvent, Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.lines import Lines


class LinesTests(SynchronousTestCase):
    """Who listens to the log sees no difference."""

    def test_like_twisted(self) -> None:
        """An event has what Twisted's own logger puts into it."""
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        source = object()
        Lines("a.B").info(source, "joined: alice", uid="alice", serial=1)
        Logger("a.B", source).info("{line}", line="joined: alice", uid="alice", serial=1)
        ours, twisted = events
        for name in ("log_namespace", "log_source", "log_level", "log_format", "line", "uid", "serial"):
            self.assertEqual(ours[name], twisted[name], name)
        self.assertEqual(ours.keys(), twisted.keys())
        self.assertIs(ours["log_source"], source)
        self.assertLess(abs(ours["log_time"] - twisted["log_time"]), 60)
