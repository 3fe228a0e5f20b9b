"""What the service manager is told: on a clock, and with a service manager that is a socket."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.notify import Notify

from .servers import logged


class NotifyTests(SynchronousTestCase):
    """Telling it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.directory = self.enterContext(TemporaryDirectory(prefix="mles-"))  # a socket's path is short
        self.path = f"{self.directory}/notify"
        self.manager = self.listen(self.path)

    def listen(self, address: str) -> socket.socket:
        """A service manager."""
        manager = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.bind(address)
        manager.setblocking(False)
        return manager

    def notify(self, environ: Mapping[str, str] | None = None) -> Notify:
        """One that tells it."""
        notify = Notify(self.clock, {"NOTIFY_SOCKET": self.path, **(environ or {})})
        self.addCleanup(notify.stop)
        return notify

    def told(self, manager: socket.socket | None = None) -> list[list[str]]:
        """The messages that came since the last look, by lines."""
        messages = []
        while True:
            try:
                messages.append((manager or self.manager).recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages

    def test_life(self) -> None:
        """Ready, how it goes, reloading, ready again, stopping."""
        notify = self.notify()
        self.assertTrue(notify.is_wanted)
        notify.ready("serving on port 443")
        notify.status("three lines\nand\n\n one  of them READY=0")
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        notify.reloading()
        notify.ready("serving again")
        notify.stopping("going", 7.5)
        ready, status, (reloading, at), again, stopping = self.told()
        self.assertEqual(ready, ["READY=1", "STATUS=serving on port 443"])
        self.assertEqual(status, ["STATUS=three lines and one of them READY=0"])
        self.assertEqual(reloading, "RELOADING=1")
        name, _, microseconds = at.partition("=")
        self.assertEqual(name, "MONOTONIC_USEC")
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        self.assertTrue(before - 0.001 <= int(microseconds) / 1e6 <= now)
        self.assertEqual(again, ["READY=1", "STATUS=serving again"])
        self.assertEqual(stopping, ["STOPPING=1", "STATUS=going", "EXTEND_TIMEOUT_USEC=7500000"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abstract(self) -> None:
        """Its address may be a name without a file."""
        name = f"@mles-tx-test-{os.getpid()}"
        manager = self.listen("\0" + name[1:])
        self.notify({"NOTIFY_SOCKET": name}).ready("here")
        self.assertEqual(self.told(manager), [["READY=1", "STATUS=here"]])

    def test_nobody_asks(self) -> None:
        """Without a service manager nobody is told, and no timer is set."""
        for environ in ({}, {"NOTIFY_SOCKET": ""}, {"WATCHDOG_USEC": "1000000"}):
            notify = Notify(self.clock, dict(environ))
            self.assertFalse(notify.is_wanted)
            with logged() as lines:
                notify.ready("here")
                notify.reloading()
                notify.stopping("gone", 1)
            self.assertEqual((lines, self.clock.getDelayedCalls()), ([], []))
        self.assertEqual(self.told(), [])

    def test_nobody_hears(self) -> None:
        """A service manager that is not there, or takes nothing, is told in the log once, and keeps nobody waiting."""
        for address in (f"{self.directory}/missing", self.path, "vsock:2:1", "/" + "x" * 200, "@" + "x" * 200):
            notify = self.notify({"NOTIFY_SOCKET": address})
            with logged() as lines:
                for _ in range(5000):  # more than its queue takes
                    notify.status("here")
            self.assertEqual(len(lines), 1)
            self.assertIn("the service manager at NOTIFY_SOCKET cannot be told how it goes", lines[0])

    def test_watchdog(self) -> None:
        """Once it is ready it says twice in each period that it is alive, until it is stopped."""
        notify = self.notify({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        notify.ready("here")
        notify.ready("after a reload")
        self.assertEqual([message[0] for message in self.told()], ["READY=1", "WATCHDOG=1", "READY=1"])
        for _ in range(3):
            self.clock.advance(1.4)
            self.assertEqual(self.told(), [])
            self.clock.advance(0.1)
            self.assertEqual(self.told(), [["WATCHDOG=1"]])
        notify.stopping("gone", 1)
        self.told()
        self.clock.advance(1.5)
        self.assertEqual(self.told(), [["WATCHDOG=1"]])
        notify.stop()
        notify.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_watchdog_of_another(self) -> None:
        """A watchdog for another process, or none that can be understood, is not fed; one for whomever it is."""
        other = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
        for environ in (other, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}):
            self.notify(environ).ready("here")
            self.assertEqual((len(self.told()), self.clock.getDelayedCalls()), (1, []))
        self.notify({"WATCHDOG_USEC": "3000000"}).ready("here")
        self.assertEqual(len(self.told()), 2)

    def test_environment(self) -> None:
        """Its variables are gone afterwards, so that no child finds them; others stay."""
        environ = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
        Notify(self.clock, environ)
        self.assertEqual(environ, {"PATH": "/bin"})
        self.assertTrue(Path(self.path).exists())
