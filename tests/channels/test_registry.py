"""Tests of joining, speaking and leaving: what everybody gets to read, from the first frame to the last."""

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mles_tx.channels import history as history_module
from mles_tx.channels.claims import IClaims, IHolders
from mles_tx.channels.history import IDLE_SECONDS, ICommitted, IHistory, IReplay, MemoryHistory, Message
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.metrics import Metrics
from mles_tx.protocol.auth import digest
from mles_tx.protocol.closing import CloseReason, ProtocolViolation
from mles_tx.protocol.frames import encode_message
from mles_tx.protocol.header import parse_header

from .fakes import FakeMember, ForwardingHistory, LateHistory, LateReplay, ListReplay, header, hello


class StoreError(Exception):
    """The disk is full."""


class _BrokenHistory(ForwardingHistory):
    """A store that fails where it is told to."""

    def __init__(self, inner: MemoryHistory) -> None:
        super().__init__(inner)
        self.broken: set[str] = set()  # channels that cannot be appended to
        self.unreadable: set[str] = set()
        self.sweeps = 0

    def append(self, channel: str, batch: Sequence[Message]) -> None:
        if channel in self.broken:
            raise StoreError(channel)
        super().append(channel, batch)

    def replay(self, channel: str, uid: str, history: int | None, since: Sequence[int]) -> IReplay:
        if channel in self.unreadable:
            raise StoreError(channel)
        return super().replay(channel, uid, history, since)

    def sweep(self) -> None:
        self.sweeps += 1
        if self.broken:
            raise StoreError


class _RegistryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = MemoryHistory(self.clock, 200)
        self.history = self.store()
        self.registry = ChannelRegistry(self.clock, self.history)

    def store(self) -> IHistory:
        return self.memory

    def begin(
        self,
        uid: str,
        channel: str = "example",
        history: int | None = None,
        since: Sequence[int] = (),
        receive: bool = True,
        member: FakeMember | None = None,
    ) -> tuple[FakeMember, "Deferred[None]"]:
        """Somebody asks to join."""
        member = member or FakeMember(uid)
        first = header(uid, channel, history, since, receive)
        try:
            joining = self.registry.join(first, member)
        except Exception:
            joining = fail()
        return member, succeed(None) if joining is None else joining

    def join(
        self,
        uid: str,
        channel: str = "example",
        history: int | None = None,
        since: Sequence[int] = (),
        receive: bool = True,
        member: FakeMember | None = None,
    ) -> FakeMember:
        """Somebody joins, and need not wait."""
        member, joining = self.begin(uid, channel, history, since, receive, member)
        self.assertIsNone(self.successResultOf(joining))
        return member

    def say(self, member: FakeMember, *texts: str) -> None:
        for text in texts:
            self.registry.publish(member, [encode_message(text.encode(), False)])

    def turn(self) -> None:
        """The reactor's turn ends."""
        self.clock.advance(0)

    def refusal(self, joining: "Deferred[None]") -> CloseReason:
        error = self.failureResultOf(joining, ProtocolViolation).value
        assert isinstance(error, ProtocolViolation)
        return error.reason

    @property
    def members(self) -> list[FakeMember]:
        found = list(self.registry.members)
        assert all(isinstance(member, FakeMember) for member in found)
        return found  # type: ignore[return-value]

    def remembered(self, channel: str = "example") -> list[str]:
        """What a newcomer would be replayed."""
        reader = FakeMember("reader")
        reader.replay(self.memory.replay(channel, "reader", None, ()))
        return reader.texts


@implementer(IClaims)
class _Claims:
    """What other nodes know: which uids are free is said by the test."""

    def __init__(self) -> None:
        self.held: list[tuple[str, str]] = []  # claimed, and not released
        self.asked: list[Deferred[bool]] = []  # claims that wait for an answer
        self.answer: bool | None = True  # at once; None: the test answers
        self.place: Deferred[None] | None = None  # None: this node hears the others
        self.holders: IHolders

    def attach(self, holders: IHolders) -> None:
        self.holders = holders

    def claim(self, channel: str, uid: str) -> "Deferred[bool]":
        self.held.append((channel, uid))
        if self.answer is not None:
            return succeed(self.answer)
        self.asked.append(Deferred())
        return self.asked[-1]

    def placed(self, channel: str) -> "Deferred[None] | None":
        return self.place

    def release(self, channel: str, uid: str) -> None:
        self.held.remove((channel, uid))


class JoinTests(_RegistryTests):
    """Becoming a member."""

    def test_interface(self) -> None:
        """A store can tell the registry what may be delivered."""
        self.assertTrue(verifyObject(ICommitted, self.registry))

    def test_in_order(self) -> None:
        """A newcomer is a member first, its join frame is remembered, and it is replayed what was there before that."""
        seen: list[tuple[list[FakeMember], list[str]]] = []

        class Watcher(FakeMember):
            def replay(watcher, replay: IReplay) -> None:
                seen.append((self.members, self.remembered()))
                super().replay(replay)

        alice = self.join("alice")
        self.say(alice, "hi")
        self.turn()
        bob = self.join("bob", member=Watcher("bob"))
        before = [hello("alice").decode(), "hi"]
        self.assertEqual(seen, [([alice, bob], [*before, hello("bob").decode()])])
        self.assertEqual(bob.texts, before)
        self.assertEqual(self.remembered(), [*before, hello("bob").decode()])

    def test_who_was_there_ends(self) -> None:
        """Who joins at the moment in which what was said before ends the last member is on the channel all the same."""
        slow = self.join("slow")
        slow.on_write = lambda: self.registry.leave(slow)
        self.registry.announce("example", "program", encode_message(b"hi", False))
        alice, bob = self.join("alice", history=0), self.join("bob", history=0)
        self.say(alice, "hello")
        self.turn()
        self.assertEqual(bob.texts, ["hello"])
        self.registry.leave(alice)
        self.assertEqual(self.members, [bob])

    def test_who_it_is(self) -> None:
        """A member has its uid and channel, and a number that no other membership ever had."""
        members = [self.join(uid, channel) for channel in ("a", "b") for uid in ("x", "y")]
        self.registry.leave(members[0])
        members.append(self.join("x", "a"))
        self.assertEqual([member.uid for member in members], ["x", "y", "x", "y", "x"])
        self.assertEqual([m.channel and m.channel.name for m in members], [None, "a", "b", "b", "a"])
        self.assertEqual(len({member.serial for member in members}), 5)
        self.assertEqual(set(self.members), set(members[1:]))

    def test_join_frames(self) -> None:
        """Later joiners see who joined before them; those who are there already are not told."""
        alice, bob = self.join("alice"), self.join("bob")
        carol = self.join("carol")
        self.turn()
        self.assertEqual(
            [member.texts for member in (alice, bob, carol)],
            [[], [hello("alice").decode()], [hello("alice").decode(), hello("bob").decode()]],
        )

    def test_join_frame_without_secrets(self) -> None:
        """Later joiners see the first frame without what was meant for the server, as a text frame."""
        alice = FakeMember("alice")
        first = parse_header(b'{"uid":"alice","auth":"0","channel":"example","name":"Al","history":3}', False)
        self.assertIsNone(self.registry.join(first, alice))
        bob = self.join("bob")
        self.assertEqual(bob.frames, [encode_message(b'{"uid":"alice","channel":"example","name":"Al"}', False)])

    def test_said_in_the_same_turn(self) -> None:
        """What was said just before a join reaches the newcomer with its history and the others live, each once."""
        alice, bob = self.join("alice"), self.join("bob")
        self.say(alice, "1", "2")
        carol = self.join("carol")
        self.say(alice, "3")
        self.turn()
        self.assertEqual(bob.texts, [hello("alice").decode(), "1", "2", "3"])
        self.assertEqual(carol.texts, [hello("alice").decode(), hello("bob").decode(), "1", "2", "3"])
        self.assertEqual(self.remembered()[2:], ["1", "2", hello("carol").decode(), "3"])

    def test_slow_reader_returns(self) -> None:
        """Who loses its link behind a large message and reads its history slowly gets what follows once."""
        alice = self.join("alice")
        self.say(alice, "x" * 100_000)
        self.turn()
        self.registry.leave(self.join("phone"))
        phone = self.join("phone", member=FakeMember("phone", reads=False))
        self.say(alice, "1", "2")
        self.turn()
        phone.catch_up()
        self.assertEqual(
            [text[:40] for text in phone.texts],
            [hello("alice").decode(), "x" * 40, hello("phone").decode(), "1", "2"],
        )

    def test_asked_for_less(self) -> None:
        """A newcomer that asks for less of the history gets what it asked for."""
        alice = self.join("alice")
        self.say(alice, "1", "2", "3", "4")
        self.turn()
        for number, (history, since, expected) in enumerate(
            (
                (0, (), []),
                (2, (), ["3", "4"]),
                (None, (digest(b"2"),), ["3", "4"]),
                (1, (digest(b"2"),), ["4"]),
                (10, (digest(b"4"),), []),
            )
        ):
            reader = self.join(f"reader{number}", history=history, since=since)
            found = [text for text in reader.texts if not text.startswith("{")]
            self.assertEqual(found, expected, f"{history=} {since=}")

    def test_publish_only(self) -> None:
        """Who only publishes is replayed nothing and sent nothing, but is heard and remembered."""
        alice = self.join("alice")
        self.say(alice, "old")
        self.turn()
        meter = self.join("meter", receive=False)
        self.say(alice, "1")
        self.say(meter, "2")
        self.turn()
        self.say(alice, "3")
        self.turn()
        self.assertEqual((meter.replays, meter.writes, meter.receives), (0, [], False))
        self.assertEqual(alice.texts, ["2"])
        self.assertEqual(self.remembered()[2:], [hello("meter").decode(), "1", "2", "3"])

    def test_channels_apart(self) -> None:
        """Nothing that happens on one channel is heard or remembered on another."""
        a, b = self.join("alice", "a"), self.join("bob", "b")
        other = self.join("alice", "b")
        self.say(a, "on a")
        self.say(b, "on b")
        self.turn()
        self.assertEqual((a.texts, b.texts, other.texts), ([], [], [hello("bob", "b").decode(), "on b"]))
        self.assertEqual(self.remembered("a"), [hello("alice", "a").decode(), "on a"])

    def test_unreadable_history(self) -> None:
        """When the history cannot be read the join fails, and after its leave there is no trace of the newcomer."""
        history = _BrokenHistory(self.memory)
        self.registry = ChannelRegistry(self.clock, history)
        history.unreadable.add("example")
        member, joining = self.begin("alice")
        self.failureResultOf(joining, StoreError)
        self.registry.leave(member)
        self.assertEqual((self.members, self.remembered(), member.frames), ([], [], []))
        history.unreadable.clear()
        self.assertEqual(self.join("alice").texts, [])


class PublishTests(_RegistryTests):
    """Speaking."""

    def test_at_the_end_of_the_turn(self) -> None:
        """What is said is delivered when the turn ends: all of a turn as one write to each member."""
        alice, bob, carol = self.join("alice"), self.join("bob", history=0), self.join("carol", history=0)
        self.say(alice, "1", "2")
        self.say(bob, "3")
        self.assertEqual((alice.writes, bob.writes, carol.writes), ([], [], []))
        self.turn()
        self.say(alice, "4")
        self.turn()
        self.turn()
        self.assertEqual(alice.turns, [["3"]])
        self.assertEqual(bob.turns, [["1", "2"], ["4"]])
        self.assertEqual(carol.turns, [["1", "2", "3"], ["4"]])

    def test_remembered(self) -> None:
        """Everything that is said is remembered, the speaker's own messages are replayed to it when it returns."""
        alice = self.join("alice")
        self.say(alice, "1")
        self.turn()
        self.registry.leave(alice)
        self.assertEqual(self.join("alice").texts, [hello("alice").decode(), "1"])

    def test_order(self) -> None:
        """All members of a channel read the messages of others in the same order."""
        speakers = [self.join(f"s{number}", history=0) for number in range(3)]
        listener = self.join("listener", history=0)
        said = []
        for number in range(30):
            text = f"{number}"
            said.append((number * 7 % 3, text))
            self.say(speakers[number * 7 % 3], text)
            if number % 4 == 0:
                self.turn()
        self.turn()
        self.assertEqual(listener.texts, [text for _, text in said])
        for number, speaker in enumerate(speakers):
            self.assertEqual(speaker.texts, [text for by, text in said if by != number])

    def test_several(self) -> None:
        """Several messages given at once stay several, in their order: delivered, remembered, never sent back."""
        alice, bob = self.join("alice"), self.join("bob", history=0)
        frames = [encode_message(text, is_binary) for text, is_binary in ((b"1", False), (b"2", True), (b"", False))]
        self.registry.publish(alice, frames)
        self.say(bob, "3")
        self.registry.publish(alice, iter(frames[:2]))
        self.assertEqual((len(self.clock.getDelayedCalls()), bob.writes), (1, []))
        self.turn()
        self.assertEqual(bob.writes, [b"".join([*frames, *frames[:2]])])
        self.assertEqual(alice.texts, ["3"])
        self.assertEqual(self.remembered()[2:], ["1", "2", "", "3", "1", "2"])
        reader = FakeMember("reader")
        reader.replay(self.memory.replay("example", "reader", None, ()))
        self.assertEqual(reader.frames[2:5], frames)

    def test_several_of_a_stranger(self) -> None:
        """Of several messages of somebody who is no member none is taken."""
        bob = self.join("bob")
        stranger = FakeMember("stranger")
        self.registry.publish(stranger, [encode_message(b"1", False), encode_message(b"2", False)])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.turn()
        self.assertEqual((bob.texts, self.remembered()), ([], [hello("bob").decode()]))

    def test_before_joining(self) -> None:
        """Who is no member yet is not heard."""
        listener = self.join("listener")
        self.say(FakeMember("stranger"), "hi")
        self.turn()
        self.assertEqual((listener.texts, self.clock.getDelayedCalls()), ([], []))

    def test_after_leaving(self) -> None:
        """Who has left is not heard any more, and hears nothing."""
        alice, bob = self.join("alice"), self.join("bob", history=0)
        self.registry.leave(bob)
        self.say(bob, "I am gone")
        self.say(alice, "is he?")
        self.turn()
        self.assertEqual((alice.texts, bob.texts), ([], []))
        self.assertEqual(self.remembered()[2:], ["is he?"])

    def test_last_words(self) -> None:
        """What a member says in the turn in which it leaves is still delivered and remembered."""
        alice, bob = self.join("alice"), self.join("bob", history=0)
        self.say(alice, "1", "bye")
        self.registry.leave(alice)
        self.turn()
        self.assertEqual((alice.texts, bob.texts), ([], ["1", "bye"]))
        self.say(bob, "bye too")
        self.registry.leave(bob)
        self.turn()
        self.assertEqual(self.remembered()[2:], ["1", "bye", "bye too"])

    def test_answers_at_once(self) -> None:
        """Who answers as it is written to is heard once, behind what it answers."""
        alice, bob, carol = self.join("alice"), self.join("bob", history=0), self.join("carol", history=0)
        bob.on_write = lambda: self.say(bob, f"answer {len(bob.writes)}")
        self.say(alice, "1")
        self.turn()
        self.turn()
        self.assertEqual(alice.turns, [["answer 1"]])
        self.assertEqual(bob.turns, [["1"]])
        self.assertEqual(carol.turns, [["1"], ["answer 1"]])

    def test_joins_while_others_are_written_to(self) -> None:
        """Who joins while a message is on its way to the others puts no later one before it, for nobody."""
        alice, bob, carol = self.join("alice"), self.join("bob", history=0), self.join("carol", history=0)
        newcomers: list[FakeMember] = []

        def answer() -> None:
            bob.on_write = None
            self.say(bob, "2")
            newcomers.append(self.join("dave"))  # what was said before belongs to its history
            self.say(newcomers[0], "3")
            newcomers.append(self.join("eve"))

        bob.on_write = answer
        before = self.registry.metrics.total_messages_sent
        self.say(alice, "1")
        self.turn()
        self.assertEqual(carol.turns, [["1"], ["2"], ["3"]])
        self.assertEqual((alice.texts[-2:], bob.texts), (["2", "3"], ["1", "3"]))
        dave, eve = newcomers
        self.assertEqual([text for text in dave.texts if text.isdigit()], ["1", "2"])
        self.assertEqual([text for text in eve.texts if text.isdigit()], ["1", "2", "3"])
        self.assertEqual(self.registry.metrics.total_messages_sent - before, 2 + 2 + 3)
        self.say(eve, "4")
        self.turn()
        self.assertEqual([each.turns[-1] for each in (alice, bob, carol, dave)], [["4"]] * 4)

    def test_flush(self) -> None:
        """A server that stops delivers what waits at once, and only once."""
        alice, bob = self.join("alice"), self.join("bob", history=0)
        self.registry.flush()
        self.say(alice, "1")
        self.registry.flush()
        self.assertEqual((bob.turns, self.clock.getDelayedCalls()), ([["1"]], []))
        self.turn()
        self.say(alice, "2")
        self.turn()
        self.assertEqual(bob.turns, [["1"], ["2"]])

    def test_idle(self) -> None:
        """While nobody speaks there is no timer."""
        alice = self.join("alice")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.say(alice, "1", "2")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class UidTests(_RegistryTests):
    """One uid, one member."""

    def test_alive(self) -> None:
        """While its holder lives a uid is taken: the newcomer is refused, and nobody notices anything else."""
        holder = self.join("alice")
        before = self.remembered()
        member, joining = self.begin("alice")
        self.assertIs(self.refusal(joining), CloseReason.UID_TAKEN)
        self.assertEqual((self.members, holder.reason, holder.asked), ([holder], None, 1))
        self.assertEqual((member.channel, member.replays, member.writes), (None, 0, []))
        self.assertEqual(self.remembered(), before)

    def test_dead(self) -> None:
        """A holder that gives no sign of life is replaced, and the newcomer gets everything."""
        bob, holder = self.join("bob"), self.join("alice")
        self.say(holder, "last words")
        holder.alive = False
        again = self.join("alice")
        self.assertIs(holder.reason, CloseReason.REPLACED)
        self.assertEqual((holder.channel, self.members), (None, [bob, again]))
        self.say(bob, "hi")
        self.turn()
        self.assertEqual(holder.texts, [hello("bob").decode()])
        self.assertEqual(again.texts, [hello("bob").decode(), hello("alice").decode(), "last words", "hi"])
        self.assertEqual(bob.texts, ["last words"])
        self.assertEqual(self.remembered(), [hello("bob").decode(), "last words", hello("alice").decode(), "hi"])

    def test_dead_and_alone(self) -> None:
        """The same holds when the holder was the only one on its channel."""
        holder = self.join("alice")
        holder.alive = False
        holder.on_close = lambda: self.registry.leave(holder)
        again = self.join("alice")
        self.assertIs(holder.reason, CloseReason.REPLACED)
        self.assertEqual(self.members, [again])
        self.say(again, "1")
        self.turn()
        self.assertEqual(self.join("bob").texts, [hello("alice").decode(), "1"])

    def test_elsewhere(self) -> None:
        """A uid is taken on its channel only, and holders are not bothered for other uids."""
        holder = self.join("alice", "a")
        self.join("alice", "b")
        self.join("Alice", "a")
        self.assertEqual((len(self.members), holder.asked), (3, 0))

    def test_free_again(self) -> None:
        """Who has left leaves its uid free, without a question."""
        holder = self.join("alice")
        self.registry.leave(holder)
        again = self.join("alice")
        self.assertEqual((self.members, holder.asked, holder.reason), ([again], 0, None))

    def test_waits_for_the_answer(self) -> None:
        """Until the holder is known to be dead the newcomer is nobody."""
        holder = self.join("alice")
        holder.alive = Deferred()
        member, joining = self.begin("alice")
        self.assertNoResult(joining)
        self.say(holder, "1")
        self.say(member, "not yet")
        self.turn()
        self.assertEqual((self.members, member.replays), ([holder], 0))
        holder.alive.callback(False)
        self.successResultOf(joining)
        self.assertEqual((self.members, member.texts), ([member], [hello("alice").decode(), "1"]))

    def test_at_once(self) -> None:
        """Who finds its uid free is in by the time the call returns, and there is nothing to wait for."""
        alice = FakeMember("alice")
        self.assertIsNone(self.registry.join(header("alice"), alice))
        self.assertEqual((self.members, alice.uid, alice.serial > 0), ([alice], "alice", True))
        self.assertEqual(self.remembered(), [hello("alice").decode()])

    def test_not_at_once(self) -> None:
        """Who finds it taken gets something to wait for: it fires with nothing, or with why not."""
        for alive in (False, True):
            holder = FakeMember("holder")
            self.assertIsNone(self.registry.join(header("alice", f"{alive}"), holder))
            holder.alive = Deferred()
            newcomer = FakeMember("newcomer")
            joining = self.registry.join(header("alice", f"{alive}"), newcomer)
            assert joining is not None
            self.assertNoResult(joining)
            self.assertIsNone(newcomer.channel)
            holder.alive.callback(alive)
            if alive:
                self.assertIs(self.refusal(joining), CloseReason.UID_TAKEN)
            else:
                self.assertIsNone(self.successResultOf(joining))
            self.assertEqual([newcomer.channel is None, holder.channel is None], [alive, not alive])

    def test_answer_at_hand(self) -> None:
        """Where the holder's answer is known already, what there is to wait for has fired when the call returns."""
        holder = self.join("alice")
        joining = self.registry.join(header("alice"), FakeMember("other"))
        assert joining is not None
        self.assertTrue(joining.called)
        self.assertIs(self.refusal(joining), CloseReason.UID_TAKEN)
        holder.alive = False
        newcomer = FakeMember("newcomer")
        joining = self.registry.join(header("alice"), newcomer)
        assert joining is not None
        self.assertIsNone(self.successResultOf(joining))
        self.assertEqual(self.members, [newcomer])

    def test_answers_in_the_end(self) -> None:
        """A holder that takes its time but answers stays."""
        holder = self.join("alice")
        holder.alive = Deferred()
        _, joining = self.begin("alice")
        self.clock.advance(2.9)
        holder.alive.callback(True)
        self.assertIs(self.refusal(joining), CloseReason.UID_TAKEN)
        self.assertEqual((self.members, holder.reason), ([holder], None))

    def test_holder_leaves_meanwhile(self) -> None:
        """When the holder leaves by itself while it is asked, the newcomer is in and nobody is thrown out."""
        holder = self.join("alice")
        holder.alive = Deferred()
        member, joining = self.begin("alice")
        self.registry.leave(holder)
        self.assertNoResult(joining)
        holder.alive.callback(False)
        self.successResultOf(joining)
        self.assertEqual((self.members, holder.reason), ([member], None))

    def test_newcomer_vanishes(self) -> None:
        """A newcomer that is gone before the answer is not added, whatever the answer would have been."""
        for answer in (True, False):
            self.setUp()
            holder = self.join("alice")
            cancelled: list[Deferred[bool]] = []
            holder.alive = Deferred(cancelled.append)
            member, joining = self.begin("alice")
            joining.cancel()
            self.failureResultOf(joining, CancelledError)
            self.assertEqual(cancelled, [holder.alive])
            holder.alive = answer
            self.assertEqual((self.members, member.channel, holder.reason), ([holder], None, None))
            self.assertEqual((member.replays, self.remembered()), (0, [hello("alice").decode()]))

    def test_two_newcomers(self) -> None:
        """Of two who want the uid of a dead holder one gets it, and the other is refused."""
        for order in ((0, 1), (1, 0)):
            self.setUp()
            holder = self.join("alice")
            answers: list[Deferred[bool]] = []
            newcomers = []
            for _ in range(2):
                holder.alive = Deferred()
                answers.append(holder.alive)
                newcomers.append(self.begin("alice"))
            for number in order:
                answers[number].callback(False)
            winner, first = newcomers[order[0]]
            loser, second = newcomers[order[1]]
            self.successResultOf(first)
            self.assertIs(self.refusal(second), CloseReason.UID_TAKEN)
            self.assertEqual((self.members, winner.asked, loser.channel), ([winner], 1, None))
            self.assertEqual((holder.reason, winner.reason), (CloseReason.REPLACED, None))
            self.assertEqual(self.remembered(), [hello("alice").decode()])

    def test_two_newcomers_on_one_question(self) -> None:
        """The same holds when closing the holder is what answers the second one."""
        holder = self.join("alice")
        first_answer: Deferred[bool] = Deferred()
        second_answer: Deferred[bool] = Deferred()

        def closed() -> None:
            self.registry.leave(holder)
            second_answer.callback(False)

        holder.on_close = closed
        holder.alive = first_answer
        first, joining = self.begin("alice")
        holder.alive = second_answer
        second, waiting = self.begin("alice")
        first_answer.callback(False)
        self.successResultOf(waiting)
        self.assertIs(self.refusal(joining), CloseReason.UID_TAKEN)
        self.assertEqual((self.members, first.channel, second.asked), ([second], None, 1))

    def test_chain_of_the_dead(self) -> None:
        """A newcomer goes on asking when somebody else, dead as well, got the uid meanwhile."""
        holder = self.join("alice")
        holder.alive = Deferred()
        member, joining = self.begin("alice")
        self.registry.leave(holder)
        other = self.join("alice")
        other.alive = False
        holder.alive.callback(False)
        self.successResultOf(joining)
        self.assertEqual((self.members, other.reason, holder.reason), ([member], CloseReason.REPLACED, None))


class LeaveTests(_RegistryTests):
    """Going away."""

    def _is_forgotten(self, channel: str = "example") -> bool:
        return channel not in self.registry._channels

    def test_any_number_of_times(self) -> None:
        """A member may be let go several times, also one that never joined, and its successor is not touched."""
        self.registry.leave(FakeMember("stranger"))
        alice = self.join("alice")
        self.registry.leave(alice)
        self.registry.leave(alice)
        again = self.join("alice")
        self.registry.leave(alice)
        self.assertEqual((self.members, alice.channel, again.channel is None), ([again], None, False))

    def test_last_member(self) -> None:
        """A channel vanishes with its last member, and its history stays."""
        alice, bob = self.join("alice"), self.join("bob")
        earlier = alice.channel
        self.say(alice, "1")
        self.turn()
        self.registry.leave(alice)
        self.assertFalse(self._is_forgotten())
        self.registry.leave(bob)
        self.assertTrue(self._is_forgotten())
        carol = self.join("carol")
        self.assertIsNot(carol.channel, earlier)
        self.assertEqual(carol.texts, [hello("alice").decode(), hello("bob").decode(), "1"])

    def test_last_member_with_last_words(self) -> None:
        """A channel whose last member spoke before it left vanishes at the end of the turn."""
        alice = self.join("alice")
        self.say(alice, "bye")
        self.registry.leave(alice)
        self.turn()
        self.assertTrue(self._is_forgotten())
        self.assertEqual(self.remembered(), [hello("alice").decode(), "bye"])

    def test_joined_in_between(self) -> None:
        """Who joins between the last words of the last member and the end of the turn keeps the channel."""
        alice = self.join("alice")
        self.say(alice, "bye")
        self.registry.leave(alice)
        bob = self.join("bob")
        self.turn()
        self.assertEqual((bob.texts, self._is_forgotten()), ([hello("alice").decode(), "bye"], False))
        carol = self.join("carol", history=0)
        self.say(carol, "hi")
        self.turn()
        self.assertEqual(bob.texts[2:], ["hi"])

    def test_several_generations_in_one_turn(self) -> None:
        """Members who come, speak and go in one turn leave nothing behind but the history, in order."""
        for number in range(5):
            member = self.join(f"m{number}")
            self.say(member, f"{number}")
            self.registry.leave(member)
        self.turn()
        self.assertTrue(self._is_forgotten())
        self.assertEqual([text for text in self.remembered() if not text.startswith("{")], list("01234"))

    def test_all_are_cut_off(self) -> None:
        """A channel whose members all vanish while they are written to vanishes too."""
        for last_words in (False, True):
            self.setUp()
            alice, bob = self.join("alice"), self.join("bob", history=0)

            def cut(alice: FakeMember = alice, bob: FakeMember = bob) -> None:
                self.registry.leave(bob)
                self.registry.leave(alice)

            bob.on_write = cut
            self.say(alice, "1")
            if last_words:
                self.registry.leave(alice)
            self.turn()
            self.turn()
            self.assertEqual((bob.texts, self.members, self._is_forgotten()), (["1"], [], True))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_thousands(self) -> None:
        """After two thousand channels came and went the table is empty."""
        members = [self.join("alice", f"c{number}") for number in range(2_000)]
        for member in members[::2]:
            self.say(member, "1")
        for member in members:
            self.registry.leave(member)
        self.turn()
        self.assertEqual((self.members, len(self.registry._channels)), ([], 0))


class AnnounceTests(_RegistryTests):
    """The program the server is part of says something."""

    def announce(self, text: str, channel: str = "example", uid: str = "server") -> None:
        self.registry.announce(channel, uid, encode_message(text.encode(), False))

    def test_reaches_all(self) -> None:
        """All members get it at the end of the turn, in its place among what members say, and the history has it."""
        alice, bob = self.join("alice"), self.join("bob", history=0)
        self.say(alice, "1")
        self.announce("2")
        self.say(bob, "3")
        self.assertEqual(bob.texts, [])
        self.turn()
        self.assertEqual((alice.texts, bob.texts), (["2", "3"], ["1", "2"]))
        self.assertEqual(self.remembered()[2:], ["1", "2", "3"])

    def test_nobody_there(self) -> None:
        """On a channel without members it is remembered, and nothing else is left."""
        self.announce("1", "new")
        self.announce("2", "new")
        self.turn()
        self.assertEqual(self.remembered("new"), ["1", "2"])
        self.assertEqual((self.registry.has_members("new"), self.registry.count_channels()), (False, 1))
        self.assertEqual(self.join("alice", "new").texts, ["1", "2"])

    def test_member_of_the_same_name(self) -> None:
        """A member that has the uid it is said under gets it as well."""
        alice = self.join("alice")
        self.announce("1", uid="alice")
        self.turn()
        self.assertEqual(alice.texts, ["1"])


class MaxChannelsTests(_RegistryTests):
    """So many channels, and no more."""

    def setUp(self) -> None:
        super().setUp()
        self.metrics = Metrics()
        self.registry = ChannelRegistry(self.clock, self.history, self.metrics, max_channels=3)

    @property
    def known(self) -> set[str]:
        return set(self.memory.channels())

    def test_oldest_is_forgotten(self) -> None:
        """A new channel takes the place of the one without members that was not used for longest."""
        for channel in "abc":
            self.registry.leave(self.join("alice", channel))
        keeper = self.join("bob", "a")
        self.join("bob", "d")
        self.assertEqual((self.known, self.registry.count_channels()), ({"a", "c", "d"}, 3))
        self.join("bob", "e")
        self.assertEqual(self.known, {"a", "d", "e"})
        self.assertEqual((keeper.reason, self.registry.has_members("a")), (None, True))

    def test_known_ones_stay_open(self) -> None:
        """Who joins a channel that is there, with members or a history alone, takes nobody's place."""
        for channel in "abc":
            self.registry.leave(self.join("alice", channel))
        for channel in "abcabc":
            member = self.join("bob", channel)
            self.assertEqual(self.known, {"a", "b", "c"})
            self.registry.leave(member)

    def test_counted_with_others(self) -> None:
        """The limit may be one for several registries: each says how many it has when one is new, and hears of all."""
        said: list[int] = []

        def count_all(here: int) -> int:
            said.append(here)
            return here + 2

        self.registry = ChannelRegistry(self.clock, self.history, max_channels=3, count_all=count_all)
        alice = self.join("alice", "a")
        self.assertEqual(said, [1])
        _, joining = self.begin("bob", "b")
        self.assertIs(self.refusal(joining), CloseReason.SERVER_FULL)
        self.assertEqual(said, [1, 2, 1])
        self.join("bob", "a")
        self.assertEqual((said, alice.reason), ([1, 2, 1], None))
        self.registry.start()
        self.clock.advance(60)
        self.assertEqual(said, [1, 2, 1, 1])
        self.registry.stop()

    def test_full(self) -> None:
        """When all have members a new channel is refused, and that changes nothing; the others go on."""
        alices = [self.join("alice", channel) for channel in "abc"]
        bob, joining = self.begin("bob", "d")
        self.assertIs(self.refusal(joining), CloseReason.SERVER_FULL)
        self.assertEqual((bob.channel, bob.frames, bob.serial), (None, [], 0))
        self.assertEqual((self.members, self.known), (alices, {"a", "b", "c"}))
        self.assertFalse(self.registry.has_members("d"))
        self.assertRaises(ProtocolViolation, self.registry.announce, "d", "server", encode_message(b"x", False))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        carol = self.join("carol", "a", history=0)
        self.say(alices[0], "hello")
        self.turn()
        self.assertEqual(carol.texts, ["hello"])

    def test_full_at_once(self) -> None:
        """The refusal comes out of the call itself: there is nothing to wait for."""
        for channel in "abc":
            self.join("alice", channel)
        with self.assertRaises(ProtocolViolation) as caught:
            self.registry.join(header("bob", "d"), FakeMember("bob"))
        self.assertIs(caught.exception.reason, CloseReason.SERVER_FULL)

    def test_silent_channels_count(self) -> None:
        """Members whose channel was forgotten, because nobody spoke on it for a month, take a place all the same."""
        for channel in "bc":
            self.join("alice", channel)
        self.clock.advance(IDLE_SECONDS + 1)
        self.registry.leave(self.join("eve", "a"))
        self.history.sweep()
        self.join("bob", "d")
        self.assertEqual((self.known, self.registry.active_channels), ({"d"}, 3))
        _, joining = self.begin("bob", "a")
        self.assertIs(self.refusal(joining), CloseReason.SERVER_FULL)

    def test_silent_channels_beside_histories(self) -> None:
        """Channels with members alone and those with a history alone are counted together, and each of them once."""
        bobs = [self.join("bob", channel) for channel in "bc"]
        self.clock.advance(IDLE_SECONDS + 1)
        self.history.sweep()
        self.assertEqual((self.known, self.registry.count_channels()), (set(), 2))
        for channel in "xyz":
            self.registry.leave(self.join("eve", channel))
            self.assertEqual((self.known, self.registry.count_channels()), ({channel}, 3))
        self.say(bobs[0], "hello")
        self.turn()
        self.assertEqual((self.known, self.registry.count_channels()), ({"b", "z"}, 3))
        self.registry.leave(bobs[1])
        self.registry.leave(self.join("eve", "w"))
        self.assertEqual((self.known, self.registry.count_channels()), ({"b", "z", "w"}, 3))

    def test_full_in_the_end(self) -> None:
        """Who waited for the holder of its uid, and finds no room when that has gone, is refused as well."""
        holder = self.join("alice", "a")
        self.join("alice", "b")
        holder.alive = Deferred()
        newcomer, joining = self.begin("alice", "a")
        # The holder leaves, its channel makes room for others, and those stay.
        self.registry.leave(holder)
        for channel in "cd":
            self.join("alice", channel)
        holder.alive.callback(False)
        self.assertIs(self.refusal(joining), CloseReason.SERVER_FULL)
        self.assertEqual((newcomer.channel, newcomer.frames, self.known), (None, [], {"b", "c", "d"}))

    def test_room_again(self) -> None:
        """As soon as the last member has left a channel, a new one can take its place."""
        alices = [self.join("alice", channel) for channel in "abc"]
        self.registry.leave(alices[1])
        self.join("bob", "d")
        self.assertEqual(self.known, {"a", "c", "d"})
        _, joining = self.begin("bob", "b")
        self.assertIs(self.refusal(joining), CloseReason.SERVER_FULL)

    def test_never_more(self) -> None:
        """However many come and go, there are never more channels than that."""
        present: list[FakeMember] = []
        for number in range(200):
            member, joining = self.begin("alice", f"channel {number}")
            if member.channel is None:
                self.refusal(joining)
            else:
                self.successResultOf(joining)
                present.append(member)
            self.assertLessEqual(self.registry.count_channels(), 3)
            if number % 3 == 2 and present:
                self.registry.leave(present.pop(0))


class CountTests(_RegistryTests):
    """What is counted."""

    def setUp(self) -> None:
        super().setUp()
        self.metrics = Metrics()
        self.registry = ChannelRegistry(self.clock, self.history, self.metrics)

    def test_sent(self) -> None:
        """Each message counts once for each member it is handed to; joins and histories do not count."""
        alice, bob, _ = self.join("alice"), self.join("bob"), self.join("carol")
        self.assertEqual(self.metrics.total_messages_sent, 0)
        self.say(alice, "1", "2")
        self.turn()
        self.assertEqual(self.metrics.total_messages_sent, 4)
        self.say(alice, "3")
        self.say(bob, "4")
        self.turn()
        self.assertEqual(self.metrics.total_messages_sent, 8)
        self.join("dave")
        self.assertEqual(self.metrics.total_messages_sent, 8)

    def test_sent_to_nobody(self) -> None:
        """What nobody receives is not counted: alone on a channel, or with those who only publish."""
        alice = self.join("alice")
        self.join("meter", receive=False)
        self.say(alice, "1")
        self.turn()
        self.assertEqual(self.metrics.total_messages_sent, 0)

    def test_announced(self) -> None:
        """What the program says counts once for each member."""
        self.join("alice")
        self.join("bob")
        self.registry.announce("example", "server", encode_message(b"x", False))
        self.turn()
        self.assertEqual(self.metrics.total_messages_sent, 2)

    def test_members(self) -> None:
        """Members count from their join to their end, however often that is told, and channels with them."""
        self.assertEqual((self.registry.member_count, self.registry.active_channels), (0, 0))
        alice, bob = self.join("alice"), self.join("bob")
        self.assertEqual((self.registry.member_count, self.registry.active_channels), (2, 1))
        for _ in range(2):
            self.registry.leave(alice)
        self.assertEqual((self.registry.member_count, self.registry.active_channels), (1, 1))
        alice = self.join("alice")
        self.registry.leave(bob)
        self.assertEqual((self.registry.member_count, self.registry.active_channels), (1, 1))
        self.registry.leave(alice)
        self.turn()
        self.assertEqual((self.registry.member_count, self.registry.active_channels), (0, 0))

    def test_channels(self) -> None:
        """A channel counts once, whether it has members, a history, or both, and no more when it has neither."""
        self.assertEqual(self.registry.count_channels(), 0)
        alice = self.join("alice", "a")
        self.join("bob", "b")
        self.assertEqual(self.registry.count_channels(), 2)
        self.registry.leave(alice)
        self.assertEqual(self.registry.count_channels(), 2)
        self.memory.forget_one()
        self.assertEqual(self.registry.count_channels(), 1)
        self.clock.advance(IDLE_SECONDS + 1.0)
        self.memory.sweep()
        self.assertEqual((set(self.memory.channels()), self.registry.count_channels()), (set(), 1))


class FailureTests(_RegistryTests):
    """What breaks for one does not break for the others."""

    def setUp(self) -> None:
        super().setUp()
        self.broken = _BrokenHistory(self.memory)
        self.registry = ChannelRegistry(self.clock, self.broken)

    def test_member(self) -> None:
        """A member that cannot be written to is closed as our fault; the others, on all channels, get everything."""
        alice, bad, bob = self.join("alice"), self.join("bad", history=0), self.join("bob", history=0)
        far, away = self.join("far", "b"), self.join("away", "b", history=0)
        bad.broken = ZeroDivisionError()
        bad.on_close = lambda: self.registry.leave(bad)
        for text in ("1", "2"):
            self.say(alice, text)
            self.say(far, text)
            self.turn()
        self.assertIs(bad.reason, CloseReason.INTERNAL_ERROR)
        self.assertEqual((bob.texts, away.texts, bad.texts), (["1", "2"], ["1", "2"], []))
        self.assertEqual(self.members, [alice, bob, far, away])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_store(self) -> None:
        """A channel the store fails for does not stop the other channels, nor its own members when it recovers."""
        pairs = [(self.join("alice", name), self.join("bob", name, history=0)) for name in ("a", "b", "c")]
        self.broken.broken.add("a")
        for text in ("1", "2"):
            for alice, _ in pairs:
                self.say(alice, text)
            self.turn()
        self.assertEqual([bob.texts for _, bob in pairs[1:]], [["1", "2"], ["1", "2"]])
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 2)
        self.broken.broken.clear()
        self.say(pairs[0][0], "3")
        self.turn()
        self.assertEqual(pairs[0][1].texts[-1:], ["3"])

    def test_store_fails_at_a_join(self) -> None:
        """Who joins while the store cannot write is a member all the same."""
        alice = self.join("alice")
        self.broken.broken.add("example")
        bob = self.join("bob")
        self.assertEqual((self.members, bob.texts), ([alice, bob], [hello("alice").decode()]))
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)

    def test_sweep(self) -> None:
        """A look for idle channels that fails is followed by the next one a minute later."""
        self.registry.start()
        self.broken.broken.add("example")
        self.clock.advance(60.0)
        self.broken.broken.clear()
        self.clock.advance(60.0)
        self.assertEqual(self.broken.sweeps, 2)
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)
        self.registry.stop()


class SweepTests(_RegistryTests):
    """Idle channels."""

    def test_every_minute(self) -> None:
        """A history nobody used for 30 days is gone within a minute after that."""
        self.registry.start()
        alice = self.join("alice")
        self.say(alice, "1")
        self.turn()
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual(len(self.remembered()), 2)
        self.clock.advance(60.0)
        self.assertEqual((self.remembered(), self.members), ([], [alice]))
        self.registry.stop()

    def test_stop(self) -> None:
        """A registry that stops delivers what waits and leaves no timer; twice, or without a start, does no harm."""
        self.registry.stop()
        self.registry.start()
        alice, bob = self.join("alice"), self.join("bob", history=0)
        self.say(alice, "1")
        self.registry.stop()
        self.assertEqual((bob.texts, self.clock.getDelayedCalls()), (["1"], []))
        self.registry.stop()


class LateStoreTests(_RegistryTests):
    """A store that commits later than the turn."""

    late: LateHistory

    def store(self) -> IHistory:
        self.late = LateHistory(self.memory)
        return self.late

    def test_delivered_when_committed(self) -> None:
        """Nothing is delivered before the store has it, and then everything in order."""
        alice, bob = self.join("alice"), self.join("bob")
        self.say(alice, "1")
        self.turn()
        self.say(alice, "2")
        self.turn()
        self.assertEqual(bob.texts, [])
        self.late.commit()
        self.assertEqual(bob.turns, [["1"], ["2"]])

    def test_settle(self) -> None:
        """Who wants everybody to have what was said until now can wait for that, and does not for ever."""
        alice, bob = self.join("alice"), self.join("bob")
        self.late.commit()
        self.say(alice, "1")
        settled = Deferred.fromCoroutine(self.registry.settle(1.0))
        self.clock.advance(0.1)
        self.assertNoResult(settled)
        self.late.commit()
        self.clock.advance(0.1)
        self.successResultOf(settled)
        self.assertEqual(bob.texts, ["1"])
        self.successResultOf(Deferred.fromCoroutine(self.registry.settle(1.0)))
        self.say(alice, "2")
        settled = Deferred.fromCoroutine(self.registry.settle(1.0))
        self.clock.pump([0.1] * 12)
        self.successResultOf(settled)
        self.late.commit()

    def test_refused(self) -> None:
        """Who said what could not be stored is told so; the others stay, and nobody hears it."""
        alice, bob, eve = self.join("alice"), self.join("bob"), self.join("eve")
        eve.stuck = StoreError()
        self.late.commit()
        self.say(alice, "1")
        self.say(eve, "2")
        self.turn()
        self.registry.refused(*self.late.waiting.popleft())
        self.assertEqual((alice.reason, bob.reason), (CloseReason.NOT_STORED, None))
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)
        self.assertEqual((alice.texts, bob.texts), ([], []))

    def test_refused_too_late(self) -> None:
        """Nobody is disturbed when those who said it have left, or their channel with them."""
        alice = self.join("alice")
        self.late.commit()
        self.say(alice, "1")
        self.turn()
        self.registry.leave(alice)
        refused = self.late.waiting.popleft()
        self.registry.refused(*refused)
        bob = self.join("bob")
        self.registry.refused(*refused)
        self.assertEqual((alice.reason, bob.reason), (None, None))

    def test_joins_in_between(self) -> None:
        """Who joins while messages are on their way to the store gets each of them once, by history or live."""
        alice = self.join("alice", receive=False)
        self.late.commit()
        for text in ("1", "2", "3"):
            self.say(alice, text)
            self.turn()
        self.say(alice, "4")
        early = self.join("early")
        self.late.commit(2)
        middle = self.join("middle")
        self.say(alice, "5")
        self.turn()
        self.late.commit()
        after = self.join("after", history=5)
        for member in (early, middle, after):
            texts = [text for text in member.texts if not text.startswith("{")]
            self.assertEqual(texts, ["1", "2", "3", "4", "5"], f"{member}")
        self.assertEqual((early.turns, middle.turns), ([["1"], ["2"], ["3"], ["4"], ["5"]], [["3"], ["4"], ["5"]]))

    def test_all_gone(self) -> None:
        """What is committed after everybody has left is in the history, and nobody is disturbed."""
        alice = self.join("alice")
        self.say(alice, "1")
        self.turn()
        self.registry.leave(alice)
        bob = self.join("bob")
        self.late.commit()
        self.assertEqual((alice.texts, bob.texts), ([], ["1"]))
        self.assertEqual(self.remembered(), [hello("alice").decode(), "1", hello("bob").decode()])

    def test_nobody_there(self) -> None:
        """The same holds when nobody came after them."""
        alice = self.join("alice")
        self.say(alice, "1")
        self.turn()
        self.registry.leave(alice)
        self.late.commit()
        self.assertEqual(self.join("bob").texts, [hello("alice").decode(), "1"])

    def test_rejoins_in_between(self) -> None:
        """Who leaves and joins again before its messages are stored gets them live: its history lacks them."""
        alice = self.join("alice")
        self.say(alice, "mine")
        self.turn()
        self.registry.leave(alice)
        again = self.join("alice")
        self.say(again, "new")
        self.turn()
        self.late.commit()
        self.assertEqual(again.texts, ["mine"])


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 3)),
        st.tuples(st.just("leave"), st.integers(0, 3)),
        st.tuples(st.just("say"), st.integers(0, 3)),
        st.tuples(st.just("say"), st.integers(0, 3)),
        st.tuples(st.just("turn"), st.just(0)),
        st.tuples(st.just("commit"), st.integers(0, 3)),
        st.tuples(st.just("read"), st.integers(0, 3)),
    ),
    max_size=40,
)


class AnyOrderTests(_RegistryTests):
    """Whatever members, reactor and store do, in whatever order."""

    def setUp(self) -> None:
        # Short runs, so that a few steps come to their ends.
        self.patch(history_module, "_RUN_MESSAGES", 4)
        self.patch(history_module, "_RUN_BYTES", 40)

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)
    @given(
        steps=_STEPS,
        is_late=st.booleans(),
        slow=st.sets(st.integers(0, 3)),
        deaf=st.sets(st.integers(0, 3), max_size=1),
    )
    def test_no_gap_and_no_duplicate(
        self, steps: list[tuple[str, int]], is_late: bool, slow: set[int], deaf: set[int]
    ) -> None:
        """Everybody who receives reads each message of the others exactly once, in one order for all."""
        case = f"{steps} {is_late=} {slow=} {deaf=}"
        self.clock = Clock()
        self.memory = MemoryHistory(self.clock, 1_000)
        late = LateHistory(self.memory)
        self.registry = ChannelRegistry(self.clock, late if is_late else self.memory)
        present: dict[int, FakeMember] = {}
        said: list[tuple[FakeMember, str]] = []
        for number, (step, who) in enumerate(steps):
            member = present.get(who)
            if step == "join" and member is None:
                member = FakeMember(f"u{who}", reads=who not in slow)
                present[who] = self.join(f"u{who}", receive=who not in deaf, member=member)
            elif step == "leave" and member is not None:
                self.registry.leave(present.pop(who))
            elif step == "say" and member is not None:
                said.append((member, f"{number}" + "." * (number % 3 * 20)))
                self.say(member, said[-1][1])
            elif step == "turn":
                self.turn()
            elif step == "commit" and late.waiting:
                late.commit(min(who + 1, len(late.waiting)))
            elif step == "read" and member is not None:
                member.catch_up()
        self.turn()
        late.commit()
        for who, member in present.items():
            member.catch_up()
            found = [text for text in member.texts if not text.startswith("{")]
            expected = [text for by, text in said if by is not member] if who not in deaf else []
            self.assertEqual(found, expected, f"{member}: {case}")
        self.assertEqual(self.members, list(present.values()), case)
        reader = [text for text in self.remembered() if not text.startswith("{")]
        self.assertEqual(reader, [text for _, text in said], case)


class FakesTests(SynchronousTestCase):
    """The stand-ins tell what happened."""

    def test_a_history_is_read_before_what_follows(self) -> None:
        """A member that reads slowly reads its history first, as its peer would."""
        member = FakeMember("slow", reads=False)
        member.replay(ListReplay([encode_message(b"old", False)]))
        member.write(encode_message(b"new", False))
        self.assertEqual(member.texts, [])
        member.catch_up()
        self.assertEqual(member.texts, ["old", "new"])


class RefillTests(_RegistryTests):
    """History that a member holds."""

    def offer(self, uid: str, *texts: str) -> FakeMember:
        """Somebody joins, has announced so many messages, and sends them."""
        member = FakeMember(uid)
        joining = self.registry.join(header(uid, resync=len(texts)), member)
        assert joining is not None
        self.assertIsNone(self.successResultOf(joining))
        self.refill(member, *texts)
        self.registry.end_refill(member)
        return member

    def refill(self, member: FakeMember, *texts: str) -> None:
        self.registry.refill(member, [encode_message(text.encode(), False) for text in texts])

    def test_taken(self) -> None:
        """An empty channel takes it: members hear it, later joiners find it, and it is nobody's in the history."""
        bob = self.join("bob")
        alice = self.offer("alice", "1", "2")
        self.turn()
        self.assertEqual((alice.texts, bob.texts), ([hello("bob").decode()], ["1", "2"]))
        self.assertEqual(self.remembered(), [hello("bob").decode(), hello("alice").decode(), "1", "2"])
        self.assertEqual(self.join("zoe", history=9).texts, ["1", "2"])
        self.assertEqual(self.registry.metrics.total_messages_received, 2)

    def test_not_needed(self) -> None:
        """A channel with messages takes nothing, were they said long ago, just now or in this turn."""
        bob = self.join("bob")
        self.say(bob, "1")
        self.offer("alice", "old")
        self.turn()
        self.offer("carol", "old")
        self.turn()
        self.registry.leave(bob)
        self.offer("dave", "old")
        self.turn()
        self.assertEqual(self.join("zoe", history=9).texts, ["1"])
        self.assertEqual(self.registry.metrics.total_messages_received, 0)

    def test_one_of_several(self) -> None:
        """Of several who offer at the same time the last one is heard, also when it has sent only a part."""
        alice, bob = FakeMember("alice"), FakeMember("bob")
        for member in (alice, bob):
            joining = self.registry.join(header(member.name, resync=2), member)
            assert joining is not None
            self.successResultOf(joining)
        self.refill(alice, "a1", "a2")
        self.refill(bob, "b1")
        self.registry.end_refill(alice)
        self.registry.leave(bob)
        self.refill(bob, "b2")
        self.offer("carol", "c1")
        self.turn()
        self.assertEqual(self.join("zoe", history=9).texts, ["b1"])

    def test_nothing_came(self) -> None:
        """Who announces history, and goes without sending any, does not keep others from it."""
        alice = FakeMember("alice")
        joining = self.registry.join(header("alice", resync=2), alice)
        assert joining is not None
        self.successResultOf(joining)
        self.registry.leave(alice)
        self.offer("bob", "b1")
        self.turn()
        self.assertEqual(self.join("zoe", history=9).texts, ["b1"])

    def test_said_meanwhile(self) -> None:
        """What others say while a history comes stands in it where it came, and nothing of either is lost."""
        bob, alice = self.join("bob"), FakeMember("alice")
        joining = self.registry.join(header("alice", resync=2), alice)
        assert joining is not None
        self.successResultOf(joining)
        self.refill(alice, "1")
        self.say(bob, "new")
        self.refill(alice, "2")
        self.registry.end_refill(alice)
        self.say(alice, "mine")
        self.turn()
        self.assertEqual(self.join("zoe", history=9).texts, ["1", "new", "2", "mine"])
        self.assertEqual(alice.texts[1:], ["new"])

    def test_late_store(self) -> None:
        """A store that answers late has a join wait for it; another offer is not heard meanwhile."""
        late = LateReplay([])
        alice = FakeMember("alice")
        patcher = self.patch(
            self.memory, "replay", lambda channel, uid, history, since: late if history else ListReplay([])
        )
        joining = self.registry.join(header("alice", resync=1), alice)
        assert joining is not None
        self.assertNoResult(joining)
        self.offer("bob", "b1")
        late.answer()
        self.assertIsNone(self.successResultOf(joining))
        patcher.restore()
        self.refill(alice, "a1")
        self.registry.end_refill(alice)
        self.turn()
        self.assertEqual(self.remembered()[-1], "a1")
        self.assertNotIn("b1", self.remembered())


class ClaimTests(_RegistryTests):
    """Members of several nodes on one channel: each uid belongs to one of them."""

    def setUp(self) -> None:
        super().setUp()
        self.claims = _Claims()
        self.registry = ChannelRegistry(self.clock, self.history, claims=self.claims)

    def test_interfaces(self) -> None:
        """The registry can be asked for its members, and the stand-in for other nodes is what it wants."""
        self.assertTrue(verifyObject(IHolders, self.registry))
        self.assertTrue(verifyObject(IClaims, self.claims))
        self.assertIs(self.claims.holders, self.registry)

    def test_held_while_there(self) -> None:
        """A uid is claimed before its member is in, and given back once when it has left."""
        alice, bob = self.join("alice"), self.join("bob", "other")
        self.assertEqual(self.claims.held, [("example", "alice"), ("other", "bob")])
        self.registry.leave(alice)
        self.registry.leave(alice)
        self.assertEqual(self.claims.held, [("other", "bob")])
        self.registry.leave(bob)
        self.assertEqual(self.claims.held, [])

    def test_taken_elsewhere(self) -> None:
        """Who has the uid of a living member of another node is refused."""
        self.claims.answer = False
        _, joining = self.begin("alice")
        self.assertEqual(self.refusal(joining), CloseReason.UID_TAKEN)
        self.assertEqual((self.members, self.claims.held), ([], []))

    def test_waits(self) -> None:
        """Nobody is a member, hears or is heard, before the other nodes have been asked."""
        bob = self.join("bob")
        self.claims.answer = None
        alice, joining = self.begin("alice")
        self.say(bob, "1")
        self.turn()
        self.assertEqual((self.members, alice.replays), ([bob], 0))
        self.claims.asked.pop().callback(True)
        self.assertIsNone(self.successResultOf(joining))
        self.assertEqual((self.members, alice.texts), ([bob, alice], [hello("bob").decode(), "1"]))

    def test_told_when_it_hears(self) -> None:
        """Who joins is a member at once, and told so when it hears the other nodes too; it may go before that."""
        self.claims.place = Deferred()
        alice, joining = self.begin("alice")
        self.assertEqual(self.members, [alice])
        self.assertNoResult(joining)
        self.claims.place.callback(None)
        self.assertIsNone(self.successResultOf(joining))
        self.claims.place = Deferred()
        bob, joining = self.begin("bob")
        joining.cancel()
        self.registry.leave(bob)
        self.failureResultOf(joining, CancelledError)
        self.assertEqual((self.members, self.claims.held), ([alice], [("example", "alice")]))

    def test_gone_while_it_waits(self) -> None:
        """Who goes while the others are asked leaves nothing behind."""
        self.claims.answer = None
        _, joining = self.begin("alice")
        joining.cancel()
        self.failureResultOf(joining, CancelledError)
        self.assertEqual((self.members, self.claims.held), ([], []))

    def test_filled_on_another_node(self) -> None:
        """History that a member holds is not taken while a member of another node fills the channel."""
        self.claims.answer = None
        for channel, is_free, taken in (("one", False, []), ("two", True, ["1"])):
            alice = FakeMember("alice")
            joining = self.registry.join(header("alice", channel, resync=1), alice)
            assert joining is not None
            self.claims.asked.pop().callback(True)
            self.assertEqual(self.claims.held, [(channel, "alice"), (channel, "")])
            self.claims.asked.pop().callback(is_free)
            self.successResultOf(joining)
            self.registry.refill(alice, [encode_message(b"1", False)])
            self.registry.end_refill(alice)
            # What was taken may not have come to the other nodes yet: they are kept from it while somebody is here.
            self.assertEqual(self.claims.held, [(channel, "alice"), *([(channel, "")] if is_free else [])])
            self.assertEqual(self.remembered(channel)[1:], taken)
            self.registry.leave(alice)
            self.assertEqual(self.claims.held, [])

    def test_others_cannot_be_asked(self) -> None:
        """A claim that fails is a join that fails, and is given back."""
        self.claims.answer = None
        _, joining = self.begin("alice")
        self.claims.asked.pop().errback(StoreError())
        self.failureResultOf(joining, StoreError)
        self.assertEqual((self.members, self.claims.held), ([], []))

    def test_no_room(self) -> None:
        """A uid whose member is refused for want of room is free again."""
        self.registry = ChannelRegistry(self.clock, self.history, max_channels=1, claims=self.claims)
        self.join("alice")
        _, joining = self.begin("bob", "other")
        self.assertEqual(self.refusal(joining), CloseReason.SERVER_FULL)
        self.assertEqual(self.claims.held, [("example", "alice")])

    def test_taken_here(self) -> None:
        """A living member of this node keeps its uid, and other nodes are not asked."""
        self.join("alice")
        self.claims.answer = None
        _, joining = self.begin("alice")
        self.assertEqual(self.refusal(joining), CloseReason.UID_TAKEN)
        self.assertEqual((self.claims.held, self.claims.asked), ([("example", "alice")], []))

    def test_dead_here(self) -> None:
        """A member of this node that gives no sign of life is replaced; its claim goes with it."""
        old = self.join("alice")
        old.alive = False
        new = self.join("alice")
        self.assertEqual((old.reason, self.members), (CloseReason.REPLACED, [new]))
        self.assertEqual(self.claims.held, [("example", "alice")])

    def test_two_at_once(self) -> None:
        """Of two who come to this node at the same time one gets the uid, and the other's claim is given back."""
        self.claims.answer = None
        first, joining = self.begin("alice")
        _, second_joining = self.begin("alice")
        self.claims.asked[0].callback(True)
        self.claims.asked[1].callback(True)
        self.assertIsNone(self.successResultOf(joining))
        self.assertEqual(self.refusal(second_joining), CloseReason.UID_TAKEN)
        self.assertEqual((self.members, self.claims.held), ([first], [("example", "alice")]))

    def test_challenged(self) -> None:
        """Another node is told whether a member is alive; one that is not is let go."""
        alice, bob = self.join("alice"), self.join("bob")
        bob.alive = False
        challenge = self.registry.challenge
        found = [self.successResultOf(challenge("example", uid)) for uid in ("alice", "bob", "eve")]
        self.assertEqual(found, [True, False, False])
        self.assertFalse(self.successResultOf(challenge("other", "alice")))
        self.assertEqual((alice.reason, bob.reason), (None, CloseReason.REPLACED))
        self.assertEqual((self.members, self.claims.held), ([alice], [("example", "alice")]))

    def test_replaced_while_challenged(self) -> None:
        """A member that leaves while it is asked is not taken for the one that came after it."""
        old = self.join("alice")
        asked: Deferred[bool] = Deferred()
        old.alive = asked
        challenged = self.registry.challenge("example", "alice")
        self.registry.leave(old)
        new = self.join("alice")
        asked.callback(False)
        self.assertFalse(self.successResultOf(challenged))
        self.assertEqual((self.members, new.reason), ([new], None))

    def test_expelled(self) -> None:
        """A member whose uid belongs to another node's is let go with a reason; else nothing happens."""
        alice, bob = self.join("alice"), self.join("bob")
        for uid, channel in (("alice", "example"), ("eve", "example"), ("bob", "other")):
            self.registry.expel(channel, uid, CloseReason.UID_TAKEN)
        self.assertEqual((alice.reason, bob.reason), (CloseReason.UID_TAKEN, None))
        self.assertEqual((self.members, self.claims.held), ([bob], [("example", "bob")]))
