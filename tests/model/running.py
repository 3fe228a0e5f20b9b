"""State machines, run for so many steps in a node whose every bound is small."""

from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels import history, member
from mles_tx.stores import sqlite
from mles_tx.transport import websocket

from .machine import BOUNDS, MAX_BACKLOG, FileMachine, NodeMachine

__all__ = ["USUAL", "MachineTestCase"]

#: 30 examples of 50 steps with one seed.
USUAL = settings(
    max_examples=30,
    stateful_step_count=50,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class _SmallOutbox(member.Outbox):
    def __init__(self, send: Any, stalled: Any, cut: Any, **more: Any) -> None:
        super().__init__(send, stalled, cut, MAX_BACKLOG, **more)


class MachineTestCase(SynchronousTestCase):
    """A node and everybody who uses it."""

    def setUp(self) -> None:
        self.patch(websocket, "Outbox", _SmallOutbox)
        self.patch(member, "PIECE_BYTES", 20)
        self.patch(history, "_RUN_MESSAGES", 3)
        self.patch(history, "_RUN_BYTES", 100)
        for module in (history, sqlite):
            self.patch(module, "IDLE_SECONDS", BOUNDS.idle_seconds)

    def make_file_machine(self, strict: bool) -> type[FileMachine]:
        """One whose store is in files of its own."""
        directory = Path(self.mktemp())
        directory.mkdir(mode=0o700)
        numbers = count()

        class Machine(FileMachine):
            @staticmethod
            def next_path() -> Path:
                return directory.absolute() / f"{next(numbers)}.db"

        Machine.strict = strict
        return Machine

    def run_machine(self, machine: type[NodeMachine], steps: int, first: int = 0, how: settings = USUAL) -> None:
        """Go on with one seed after the other until so many steps are done."""
        machine.steps = 0
        for number in count(first):
            before = machine.steps
            run_state_machine_as_test(seed(number)(machine), settings=how)
            self.assertGreater(machine.steps, before, "no step was taken")
            if machine.steps >= steps:
                return
