"""Tests of a node, whatever happens to it in whatever order."""

from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels import history, member
from mles_tx.stores import sqlite
from mles_tx.transport import websocket
from tests import examples

from .machine import BOUNDS, MAX_BACKLOG, FileMachine, MemoryMachine, NodeMachine

#: Steps of one example.
_STEPS = 50

#: Examples that are tried with one seed.
_EXAMPLES = 30


class _SmallOutbox(member.Outbox):
    def __init__(self, send: Any, stalled: Any, cut: Any, **more: Any) -> None:
        super().__init__(send, stalled, cut, MAX_BACKLOG, **more)


class NodeTests(SynchronousTestCase):
    """A node and everybody who uses it."""

    def setUp(self) -> None:
        self.patch(websocket, "Outbox", _SmallOutbox)
        self.patch(member, "PIECE_BYTES", 20)
        self.patch(history, "_RUN_MESSAGES", 3)
        self.patch(history, "_RUN_BYTES", 100)
        for module in (history, sqlite):
            self.patch(module, "IDLE_SECONDS", BOUNDS.idle_seconds)

    def run_machine(self, machine: type[NodeMachine], steps: int) -> None:
        """Go on until so many steps are done, with the same ones each time; in the long run with ever new ones."""
        usual = settings(
            max_examples=_EXAMPLES,
            stateful_step_count=_STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        first = 0 if examples(0) == 0 else Random().getrandbits(32)
        machine.steps = 0
        for number in count(first):
            if machine.steps >= examples(steps):
                return
            before = machine.steps
            run_state_machine_as_test(seed(number)(machine), settings=usual)
            self.assertGreater(machine.steps, before)

    def test_memory(self) -> None:
        """With the store in memory."""
        self.run_machine(MemoryMachine, 6000)

    def _test_file(self, strict: bool) -> None:
        directory = Path(self.mktemp())
        directory.mkdir(mode=0o700)
        numbers = count()

        class Machine(FileMachine):
            @staticmethod
            def next_path() -> Path:
                return directory.absolute() / f"{next(numbers)}.db"

        Machine.strict = strict
        self.run_machine(Machine, 2500)

    def test_relaxed(self) -> None:
        """With the store in a file."""
        self._test_file(strict=False)

    def test_strict(self) -> None:
        """With the store in a file, when what is delivered has to be on disk."""
        self._test_file(strict=True)
