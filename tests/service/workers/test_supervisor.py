"""Running a server of several processes as a program."""

import contextlib
import os
import signal
from socket import AF_UNIX, SOCK_DGRAM, socket
from tempfile import TemporaryDirectory

from mles_tx.service.workers.supervisor import Supervisor

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

    def told(self) -> list[str]:
        """What the service manager was told since the last look."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.manager.recv(4096).decode().split("\n")[0])
        return found

    def managed(self) -> Supervisor:
        """One that serves, for a service manager."""
        directory = self.enterContext(TemporaryDirectory(prefix="mles-"))
        self.manager = self.enterContext(socket(AF_UNIX, SOCK_DGRAM))
        self.manager.bind(f"{directory}/notify")
        self.manager.setblocking(False)
        self.environ["NOTIFY_SOCKET"] = f"{directory}/notify"
        supervisor = self.serving("limit = 5")
        self.reactor.advance(0)
        self.told()
        return supervisor

    def test_reread_everywhere(self) -> None:
        """The settings are read again when all workers have them; what has changed until then is read behind it."""
        supervisor = self.managed()

        def reread() -> int:
            return sum(line.startswith("settings read again") for line in self.lines)

        one, other = self.reactor.started
        self.write("limit = 6")
        self.signal(signal.SIGHUP)
        one.say("changed", why="")
        self.write("limit = 7")
        self.signal(signal.SIGHUP)
        self.assertEqual((self.told(), reread(), other.kinds.count("change")), (["RELOADING=1"], 0, 1))
        other.say("changed", why="")
        self.assertEqual((self.told(), reread(), other.kinds.count("change")), (["RELOADING=1"], 1, 2))
        one.end(1)  # who follows has them from the start
        self.assertEqual((self.told(), reread()), ([], 1))
        other.say("changed", why="no such file")
        self.assertEqual((self.told(), reread()), (["READY=1"], 2))
        self.signal(signal.SIGHUP)
        self.end(supervisor)
        self.assertEqual(self.told(), ["RELOADING=1", "STOPPING=1"])

    def test_replaced_while_rereading(self) -> None:
        """When workers are replaced before all have other settings, the service manager hears of both."""
        self.managed()
        self.signal(signal.SIGHUP)
        self.signal(signal.SIGUSR2)
        for process in self.reactor.started:
            process.say("changed", why="")
        replacing = "STATUS=replacing 2 workers, one after another"
        self.assertEqual(self.told(), ["RELOADING=1", replacing, "READY=1", replacing])
        for number in (2, 3):
            self.reactor.started[number].serve()
            self.reactor.started[number - 2].end()
        self.assertEqual(self.told(), ["READY=1"])

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

    def test_deaf_worker(self) -> None:
        """One that has closed its input, and is about to end, keeps nobody else from being cut off."""
        supervisor = self.serving()
        one, other = self.reactor.started
        stopped = supervisor.stopService()
        one.is_deaf = True
        supervisor.cut_off()
        self.assertEqual(other.kinds[-2:], ["stop", "abort"])
        for process in (one, other):
            process.end()
        self.successResultOf(stopped)

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
