"""Whether the model finds faults: each is made here by an assignment, and has to be found within so many steps."""

from typing import Any

from hypothesis import Phase, Verbosity, settings

from mles_tx.channels.channel import Channel
from mles_tx.channels.local import LocalMember
from mles_tx.channels.member import Outbox
from mles_tx.protocol.session import Session
from mles_tx.stores.saver import Saver
from mles_tx.transport import connection
from mles_tx.transport.connection import MlesConnection

from .machine import MemoryMachine, NodeMachine
from .running import USUAL, MachineTestCase

#: Nearly always a few hundred are enough.
_MOST_STEPS = 20_000

_probe_ended: Any = MlesConnection._probe_ended

_QUICK = settings(USUAL, phases=[Phase.generate], verbosity=Verbosity.quiet)


class MutationTests(MachineTestCase):
    """A server with one fault."""

    def find(self, *machines: type[NodeMachine]) -> None:
        """Look for it with each store."""
        for machine in machines:
            error = self.assertRaises(AssertionError, self.run_machine, machine, _MOST_STEPS, how=_QUICK)
            self.assertNotIsInstance(error, self.failureException)
            self.assertNotEqual(str(error), "", "it was found, and not said what is wrong")
            self.assertNotIn("Traceback", str(error), "the server itself has noticed")

    @property
    def files(self) -> tuple[type[NodeMachine], type[NodeMachine]]:
        """Stores in a file, relaxed and strict."""
        return self.make_file_machine(strict=False), self.make_file_machine(strict=True)

    def test_live_before_the_replay_has_ended(self) -> None:
        """What is said while somebody is sent the history is put before the rest of it."""
        write = Outbox.write

        def mutated(outbox: Any, data: bytes) -> None:
            if outbox._replay is not None and not outbox._rest:
                outbox._send(data)
            else:
                write(outbox, data)

        self.patch(Outbox, "write", mutated)
        self.find(MemoryMachine, *self.files)

    def test_live_before_the_replay_of_a_local_member_has_ended(self) -> None:
        """Likewise with a member of the program, whose history is late."""
        self.patch(LocalMember, "write", LocalMember._hear)
        self.find(*self.files)

    def test_lost_while_a_history_is_late(self) -> None:
        """What is said while somebody waits for the history is not kept for it."""
        write = Outbox.write

        def mutated(outbox: Any, data: bytes) -> None:
            if outbox._pull.name != "WAITING":
                write(outbox, data)

        self.patch(Outbox, "write", mutated)
        self.find(*self.files)

    def test_early_messages_are_dropped(self) -> None:
        """What somebody has said before it was let in is thrown away."""
        joined = Session.joined

        def mutated(session: Any) -> list[bytes]:
            joined(session)
            return []

        self.patch(Session, "joined", mutated)
        self.find(MemoryMachine, *self.files)

    def test_failed_writes_come_back_in_the_wrong_order(self) -> None:
        """Changes that could not be written are tried again, the last one first."""
        not_written: Any = Saver._not_written

        def mutated(saver: Any, failure: Any, group: list[Any]) -> None:
            group.reverse()
            not_written(saver, failure, group)

        self.patch(Saver, "_not_written", mutated)
        self.find(*self.files)

    def test_deliveries_within_others(self) -> None:
        """What is committed while another message is delivered reaches some members before it."""
        fan_out = Channel.fan_out

        def mutated(channel: Any, batch: Any) -> int:
            channel._behind = None
            return fan_out(channel, batch)

        self.patch(Channel, "fan_out", mutated)
        self.find(MemoryMachine)

    def test_too_little_time_for_a_sign_of_life(self) -> None:
        """Whoever holds a uid is replaced when it has not answered within two of its three seconds."""
        self.patch(connection, "PROBE_SECONDS", 2.0)
        self.find(MemoryMachine, *self.files)

    def test_what_is_taken_is_no_sign_of_life(self) -> None:
        """Whoever holds a uid is replaced although it takes what it was behind with."""
        self.patch(MlesConnection, "_probe_ended", lambda holder, before: _probe_ended(holder, None))
        self.find(MemoryMachine, *self.files)
