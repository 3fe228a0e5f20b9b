"""Memory that all processes of a server see."""

import os
import subprocess
import sys
from fcntl import LOCK_EX, lockf

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.admission import AddressWindow
from mles_tx.service.workers import shared
from mles_tx.service.workers.shared import SharedMemory, SharedWindow

#: Another process that counts an address so often in the memory on its descriptor 0, as soon as there are two.
_OTHER = """
import sys
from mles_tx.service.workers.shared import SharedMemory, SharedWindow
memory = SharedMemory(0)
window = SharedWindow(memory, 10**9, 60.0)
memory.set_channels(int(sys.argv[2]), 1)
while memory.count_channels() < 2:
    pass
for _ in range(int(sys.argv[1])):
    window.admit("192.0.2.1", 5.0)
"""


class SharedTestCase(SynchronousTestCase):
    """Memory of its own for each test."""

    def setUp(self) -> None:
        self.memory = SharedMemory.make()
        self.addCleanup(self.memory.close)


class WindowTests(SharedTestCase):
    """The connections of addresses."""

    def test_as_in_one_process(self) -> None:
        """It lets in whom a table of one process lets in."""
        shared_window, own = SharedWindow(self.memory, 3, 60.0), AddressWindow(3, 60.0)
        for now, address in [(float(step), f"192.0.2.{step % 7}") for step in range(200)]:
            self.assertEqual(shared_window.admit(address, now), own.admit(address, now))
            self.assertEqual(shared_window.seconds_left(address, now), own.seconds_left(address, now))
        self.assertEqual(shared_window.seconds_left("192.0.2.99", 200.0), 0.0)

    def test_change(self) -> None:
        """Another limit counts at once, with what was counted."""
        window = SharedWindow(self.memory, 1, 60.0)
        self.assertEqual([window.admit("a", 1.0) for _ in range(2)], [True, False])
        window.change(3, 60.0)
        self.assertEqual([window.admit("a", 1.0) for _ in range(2)], [True, False])
        window.forget_expired(1.0)
        self.assertEqual(window.seconds_left("a", 1.0), 60.0)

    def test_processes_at_once(self) -> None:
        """What several processes count at the same time is there; but for what had to do without the lock."""
        others = [
            subprocess.Popen([sys.executable, "-c", _OTHER, "20000", number], stdin=self.memory.descriptor)
            for number in ("1", "2")
        ]
        self.assertEqual([other.wait() for other in others], [0, 0])
        counted = self.memory.count("192.0.2.1", 60.0, 5.0, 0)[1]
        self.assertTrue(39990 <= counted <= 40000, counted)

    def test_many(self) -> None:
        """Of as many addresses as a table of one process holds nearly all are counted, and nobody is taken for two."""
        window = SharedWindow(self.memory, 1, 60.0)
        self.assertTrue(all(window.admit(f"{number}", 1.0) for number in range(100_000)))
        kept = sum(self.memory.count(f"{number}", 60.0, 1.0, 0)[1] for number in range(0, 100_000, 10))
        self.assertGreater(kept, 9_500)
        self.assertEqual(len(window), 100_000)

    def test_stuck(self) -> None:
        """Nobody waits for a process that is stopped while it has the lock."""
        self.patch(shared, "_LOCK_SECONDS", 0.001)
        other = os.fork()
        if other == 0:
            lockf(self.memory.descriptor, LOCK_EX)
            os.write(1, b"")
            os.kill(os.getpid(), 19)
            os._exit(0)
        try:
            os.waitpid(other, os.WUNTRACED)
            self.assertTrue(SharedWindow(self.memory, 1, 60.0).admit("a", 1.0))
        finally:
            os.kill(other, 9)
            os.waitpid(other, 0)


class ChannelsTests(SharedTestCase):
    """The channels of all processes."""

    def test_sum(self) -> None:
        """Each process says how many it has; all of them are added up."""
        self.memory.set_channels(0, 3)
        self.memory.set_channels(511, 4)
        self.memory.set_channels(0, 5)
        self.assertEqual(self.memory.count_channels(), 9)
        other = SharedMemory(os.dup(self.memory.descriptor))
        self.addCleanup(other.close)
        self.assertEqual(other.count_channels(), 9)
