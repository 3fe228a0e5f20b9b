"""Running a server of several processes as a program."""

import os
import signal

from .fakes import report
from .supervised import SupervisedTestCase


class SupervisorTests(SupervisedTestCase):
    """What the process that was started does."""

    def signal(self, number: int) -> None:
        """It gets a signal."""
        os.kill(os.getpid(), number)
        self.reactor.advance(0)

    def test_banner(self) -> None:
        """It says that it serves when all workers do, with the lines of the first one."""
        self.supervisor()
        one, other = self.reactor.started
        other.serve()
        self.assertEqual(self.announced, [])
        one.serve()
        self.assertEqual(self.announced, ["it serves", "2 processes serve"])

    def test_cannot_start(self) -> None:
        """When workers cannot start it ends, with the first line one has said."""
        supervisor = self.supervisor()
        one, other = self.reactor.started
        one.say("failed", why="no\ndisk")
        one.end(1)
        other.say("failed", why="no memory")
        other.end(1)
        self.reactor.advance(0)
        self.assertEqual((supervisor.failure, self.reactor.is_stopped, self.announced), ("no\\ndisk", True, []))

    def test_signals(self) -> None:
        """USR1 logs the metrics of all, HUP changes all, USR2 replaces all."""
        self.serving("limit = 5")
        one, other = self.reactor.started
        self.signal(signal.SIGUSR1)
        for process in (one, other):
            process.say("report", report=report(4))
        self.assertIn("total_messages_sent 8,", self.lines[-1])
        self.write("limit = 6")
        self.signal(signal.SIGHUP)
        self.assertEqual((one.kinds[-1], other.kinds[-1]), ("change", "change"))
        self.signal(signal.SIGUSR2)
        self.assertEqual([process.child.number for process in self.reactor.started], [1, 2, 1])
        self.assertIn("2 workers are replaced, one after another", self.lines)

    def test_while_replacing(self) -> None:
        """What comes while workers are replaced is done when they are."""
        self.serving("limit = 5")
        self.signal(signal.SIGUSR2)
        self.write("limit = 6")
        self.signal(signal.SIGHUP)
        self.signal(signal.SIGUSR2)
        self.assertEqual(len(self.reactor.started), 3)
        for number in (2, 3):
            self.reactor.started[number].serve()
            self.reactor.started[number - 2].end()
        self.assertIn("all workers are replaced", self.lines)
        self.assertIn("changed: --limit: 5 -> 6", self.lines)
        self.assertEqual(self.reactor.started[2].kinds[-1], "change")
        self.assertEqual([process.child.number for process in self.reactor.started[4:]], [1])

    def test_cannot_replace(self) -> None:
        """Wrong settings replace nobody."""
        self.serving("limit = 5")
        self.write("limit = 0")
        self.signal(signal.SIGUSR2)
        self.assertRegex(self.lines[-1], "^no worker is replaced: .*mles.toml: limit")
        self.assertEqual(len(self.reactor.started), 2)

    def test_end(self) -> None:
        """It ends when all workers have; who is in a hurry has them hurry."""
        supervisor = self.serving()
        one, other = self.reactor.started
        stopped = supervisor.stopService()
        self.assertEqual(one.told[-1], {"kind": "stop", "is_restart": False})
        self.signal(signal.SIGTERM)
        self.assertEqual((one.kinds[-1], other.kinds[-1]), ("abort", "abort"))
        one.end()
        self.assertNoResult(stopped)
        other.end()
        self.successResultOf(stopped)
        self.assertFalse(self.reactor.is_stopped)
