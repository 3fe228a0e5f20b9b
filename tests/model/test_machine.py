"""Tests of a node, whatever happens to it in whatever order."""

from random import Random

from tests import examples

from .machine import MemoryMachine, NodeMachine
from .running import MachineTestCase


class NodeTests(MachineTestCase):
    """The same steps each time; in the long run ever new ones."""

    def go_on(self, machine: type[NodeMachine], usual: int) -> None:
        """Take so many steps."""
        steps = examples(usual)
        self.run_machine(machine, steps, 0 if steps == usual else Random().getrandbits(32))

    def test_memory(self) -> None:
        """With the store in memory."""
        self.go_on(MemoryMachine, 6000)

    def test_relaxed(self) -> None:
        """With the store in a file."""
        self.go_on(self.make_file_machine(strict=False), 2500)

    def test_strict(self) -> None:
        """With the store in a file, when what is delivered has to be on disk."""
        self.go_on(self.make_file_machine(strict=True), 2500)
