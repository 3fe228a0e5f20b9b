"""Tests of members that are part of the program: what they hear, say, and how they end."""

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mles_tx.channels.history import IReplay, MemoryHistory
from mles_tx.channels.local import LocalMember
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.protocol.closing import CloseReason, ProtocolViolation
from mles_tx.protocol.frames import encode_message
from mles_tx.protocol.header import make_header

from .fakes import FakeMember, LateReplay, ListReplay, PromptReplay, header, hello


def text(message: str) -> bytes:
    """A text message as frames."""
    return encode_message(message.encode(), False)


@implementer(IReplay)
class _Broken:
    """A history that cannot be read."""

    def pull(self, max_bytes: int) -> list[bytes]:
        raise OSError("broken")


class LocalTestCase(SynchronousTestCase):
    """A registry on a clock, and members of the program."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = ChannelRegistry(self.clock, MemoryHistory(self.clock, 200))
        self.heard: list[str | bytes] = []
        self.closed: list[CloseReason] = []

    def member(self) -> LocalMember:
        """Somebody who writes down what it hears, and is on no channel yet."""
        return LocalMember(self.registry, self.heard.append, self.closed.append)

    def join(self, member: LocalMember, uid: str = "local", channel: str = "example", history: int | None = 0) -> None:
        """Take it in."""
        self.successResultOf(
            maybeDeferred(self.registry.join, make_header(uid, channel, history), member),
        )

    def fake(self, uid: str, history: int | None = 0) -> FakeMember:
        """Somebody else on the channel."""
        other = FakeMember(uid)
        self.successResultOf(maybeDeferred(self.registry.join, header(uid, history=history), other))
        return other


class HearingTests(LocalTestCase):
    """What is said reaches a function."""

    def test_types(self) -> None:
        """Text comes as str, a binary message as bytes, each alone, in order, also when they come in one turn."""
        self.join(self.member())
        other = self.fake("alice")
        for frame in (text("Zoë \U0001f600"), encode_message(b"\xff\x00", True), text(""), encode_message(b"", True)):
            self.registry.publish(other, [frame])
        self.assertEqual(self.heard, [])
        self.clock.advance(0)
        self.assertEqual(self.heard, ["Zoë \U0001f600", b"\xff\x00", "", b""])

    def test_both_ways(self) -> None:
        """What it publishes reaches the others with its type, and not itself."""
        member = self.member()
        self.join(member)
        other = self.fake("alice")
        member.publish("hello")
        member.publish(b"\x00\x01")
        self.clock.advance(0)
        self.assertEqual(b"".join(other.writes), text("hello") + encode_message(b"\x00\x01", True))
        self.assertEqual(self.heard, [])

    def test_history_first(self) -> None:
        """It hears the history before what is said later: all with the join frames, or as much as it asked for."""
        other = self.fake("alice")
        for number in range(5):
            self.registry.publish(other, [text(str(number))])
        self.clock.advance(0)
        self.join(self.member(), history=2)
        self.registry.publish(other, [text("live")])
        self.clock.advance(0)
        self.assertEqual(self.heard, ["3", "4", "live"])
        self.heard.clear()
        self.join(self.member(), "other", history=None)
        self.assertEqual(self.heard[0], '{"uid":"alice","channel":"example"}')
        self.assertEqual(self.heard[1:6], ["0", "1", "2", "3", "4"])

    def test_what_it_raises(self) -> None:
        """A function that fails hears the next message all the same, and what it raised is logged."""

        def received(message: str | bytes) -> None:
            self.heard.append(message)
            if message == "bad":
                raise LookupError(message)

        member = LocalMember(self.registry, received)
        self.join(member)
        other, another = self.fake("alice"), self.fake("bob")
        self.registry.publish(other, [text("bad")])
        self.registry.publish(other, [text("good")])
        self.clock.advance(0)
        self.assertEqual(self.heard, ["bad", "good"])
        self.assertEqual(another.texts, ["bad", "good"])
        self.assertEqual([str(error.value) for error in self.flushLoggedErrors(LookupError)], ["bad"])
        self.assertTrue(self.successResultOf(member.is_alive()))

    def test_answer_at_once(self) -> None:
        """It may publish while it hears: the answer goes out after the message, once."""
        member = LocalMember(self.registry, lambda message: member.publish(f"{message!s}!"))
        self.join(member)
        other = self.fake("alice")
        self.registry.publish(other, [text("hello")])
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(other.texts, ["hello!"])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ReplayTests(LocalTestCase):
    """Histories that take their time."""

    def begin(self, replay: IReplay) -> LocalMember:
        """A member whose history is this."""
        member = self.member()
        self.join(member)
        self.heard.clear()
        member.replay(replay)
        return member

    def test_late(self) -> None:
        """What is said while a history is on its way is heard behind it."""
        replay = LateReplay([text("a"), text("b")])
        member = self.begin(replay)
        member.write(text("live"))
        self.assertEqual(self.heard, [])
        replay.answer()
        self.assertEqual(self.heard, ["a", "b"])
        member.write(text("later"))
        replay.answer()
        self.assertEqual(self.heard, ["a", "b", "live", "later"])
        member.write(text("last"))
        self.assertEqual(self.heard[-1], "last")
        self.assertEqual(replay.pulls, 2)

    def test_more_while_it_hears_what_waited(self) -> None:
        """What is delivered because it lets somebody join, as it hears what has waited, comes behind all of that."""

        def received(message: str | bytes) -> None:
            self.heard.append(message)
            if message == "a":
                self.fake("bob")

        other = self.fake("alice")
        member = LocalMember(self.registry, received)
        self.join(member)
        replay = LateReplay([])
        member.replay(replay)
        for message in ("a", "b"):
            self.registry.publish(other, [text(message)])
        self.clock.advance(0)
        self.registry.publish(other, [text("c")])
        replay.answer()
        self.assertEqual(self.heard, ["a", "b", "c"])

    def test_prompt(self) -> None:
        """A long history whose pieces are all there already is heard to its end."""
        frames = [text(str(number)) for number in range(3000)]
        self.begin(PromptReplay(frames, page=1))
        self.assertEqual(self.heard, [str(number) for number in range(3000)])

    def test_in_pieces(self) -> None:
        """A history that is larger than one piece is heard in pieces, and whole."""
        frames = [encode_message(bytes((number,)) * 50_000, True) for number in range(20)]
        replay = ListReplay(frames)
        self.begin(replay)
        self.assertEqual([message[0] for message in self.heard], list(range(20)))
        self.assertGreater(len(replay.asked), 3)

    def test_failed(self) -> None:
        """A history that cannot be read ends the membership, which is told, and logged."""
        replay = LateReplay([text("a")])
        member = self.begin(replay)
        member.write(text("live"))
        replay.fail(OSError("broken"))
        self.assertEqual(self.closed, [CloseReason.INTERNAL_ERROR])
        self.assertIsNone(member.channel)
        self.assertEqual(self.heard, [])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_failed_at_once(self) -> None:
        """So does one that fails where it stands; the uid is free then."""
        self.begin(_Broken())
        self.assertEqual(self.closed, [CloseReason.INTERNAL_ERROR])
        self.assertEqual(list(self.registry.members), [])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_left_meanwhile(self) -> None:
        """Who leaves while its history is on its way hears no more of it, and nobody is asked for more."""
        replay = LateReplay([text("a")])
        member = self.begin(replay)
        member.write(text("live"))
        member.leave()
        replay.answer()
        self.assertEqual((self.heard, replay.pulls), ([], 1))

    def test_joined_again_meanwhile(self) -> None:
        """A history that comes, or fails, when its membership is over does nothing to the next one."""
        for fails in (False, True):
            replay = LateReplay([text("old")])
            member = self.begin(replay)
            member.leave()
            self.join(member)
            self.heard.clear()
            if fails:
                replay.fail(OSError("too late"))
            else:
                replay.answer()
            self.assertEqual((self.heard, self.closed, replay.pulls), ([], [], 1))
            member.write(text("new"))
            self.assertEqual(self.heard, ["new"])
            member.leave()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class EndTests(LocalTestCase):
    """Memberships that are over."""

    def test_leave(self) -> None:
        """Who has left, any number of times, neither hears nor says anything, and is not told about it."""
        member = self.member()
        self.join(member)
        other = self.fake("alice")
        member.leave()
        member.leave()
        member.publish("is anybody there?")
        self.registry.publish(other, [text("no")])
        self.clock.advance(0)
        self.assertEqual((self.heard, self.closed, other.texts), ([], [], []))
        self.assertFalse(self.successResultOf(member.is_alive()))
        self.assertEqual([who.uid for who in self.registry.members], ["alice"])

    def test_leave_while_it_hears(self) -> None:
        """Who leaves at a message does not hear the next one, of the history or of the same turn."""

        def received(message: str | bytes) -> None:
            self.heard.append(message)
            if message == "stop":
                member.leave()

        other = self.fake("alice")
        for message in ("a", "stop", "b"):
            self.registry.publish(other, [text(message)])
        member = LocalMember(self.registry, received)
        self.join(member)
        self.clock.advance(0)
        self.assertEqual(self.heard, [])
        for message in ("c", "stop", "d"):
            self.registry.publish(other, [text(message)])
        self.clock.advance(0)
        self.assertEqual(self.heard, ["c", "stop"])
        member = LocalMember(self.registry, received)
        self.heard.clear()
        self.join(member, "again", history=9)
        self.assertEqual(self.heard, ["a", "stop"])
        self.assertEqual([who.uid for who in self.registry.members], ["alice"])

    def test_answer_while_it_hears_the_history(self) -> None:
        """What it says while it hears its history is said behind its join, and no join frame reaches who is there."""
        other = self.fake("alice")
        self.registry.publish(other, [text("old")])
        self.clock.advance(0)

        def received(message: str | bytes) -> None:
            if message == "old":
                member.publish("answer")

        member = LocalMember(self.registry, received)
        self.join(member, history=9)
        self.clock.advance(0)
        self.assertEqual(other.turns, [["answer"]])
        late = self.fake("bob", history=None)
        self.assertEqual(late.texts[-2:], ['{"uid":"local","channel":"example"}', "answer"])

    def test_lets_another_join_while_it_hears_the_history(self) -> None:
        """Likewise, when it lets somebody join before it has heard all: who joins is told that it came first."""
        other = self.fake("alice")
        for message in ("old", "older"):
            self.registry.publish(other, [text(message)])
        self.clock.advance(0)

        def received(message: str | bytes) -> None:
            self.heard.append(message)
            if message == "old":
                member.publish("answer")
                invited.append(self.fake("bob", history=None))

        invited: list[FakeMember] = []
        member = LocalMember(self.registry, received)
        self.join(member, history=9)
        self.clock.advance(0)
        self.assertEqual(self.heard, ["old", "older"])
        self.assertEqual((other.turns, invited[0].texts[-2:]), ([["answer"]], [hello("local").decode(), "answer"]))
        self.assertEqual(
            self.fake("carol", history=None).texts[-3:], [hello("local").decode(), "answer", hello("bob").decode()]
        )

    def test_answer_to_what_a_join_has_delivered(self) -> None:
        """Likewise, when somebody else joins in the turn in which it hears something it answers to."""
        other = self.fake("alice")
        member = LocalMember(self.registry, lambda message: member.publish("answer"))
        self.join(member)
        self.registry.publish(other, [text("question")])
        newcomer = self.fake("bob")
        self.clock.advance(0)
        self.assertEqual(other.turns, [["answer"]])
        self.assertEqual(newcomer.turns, [["answer"]])

    def test_closed(self) -> None:
        """The end of its membership is told once, with the reason."""
        member = self.member()
        self.join(member)
        self.registry.stop()
        member.close(CloseReason.INTERNAL_ERROR)
        self.assertEqual(self.closed, [CloseReason.SERVER_STOPPING])
        self.assertIsNone(member.channel)

    def test_told_in_vain(self) -> None:
        """When being told fails, that is logged, and the others are told as well."""

        def fails(reason: CloseReason) -> None:
            raise LookupError(reason.label)

        self.join(LocalMember(self.registry, self.heard.append, fails), "first")
        self.join(self.member(), "second")
        self.registry.stop()
        self.assertEqual(self.closed, [CloseReason.SERVER_STOPPING])
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_not_told(self) -> None:
        """Who does not want to know about its end just ends."""
        member = LocalMember(self.registry, self.heard.append)
        self.join(member)
        member.close(CloseReason.SERVER_STOPPING)
        self.assertIsNone(member.channel)

    def test_again_while_it_hears(self) -> None:
        """Who leaves and joins again as it hears a message hears the rest once, as history: not from before as well."""
        rest = ["b", "c"]

        def received(message: str | bytes) -> None:
            self.heard.append(message)
            if message == "a":
                member.leave()
                self.join(member, history=2)

        other = self.fake("alice")
        member = LocalMember(self.registry, received)
        self.join(member)
        for message in ("a", *rest):
            self.registry.publish(other, [text(message)])
        self.clock.advance(0)
        self.assertEqual(self.heard, ["a", *rest])

    def test_again_while_another_hears(self) -> None:
        """Likewise when it is another one that hears the message first, and when it joins another channel."""
        other = self.fake("alice")
        for channel, heard in (("example", ["a"]), ("elsewhere", [])):
            member = self.member()

            def received(message: str | bytes, member: LocalMember = member, channel: str = channel) -> None:
                member.leave()
                self.join(member, "local", channel, history=1)

            first = LocalMember(self.registry, received)
            self.join(first, "first")
            self.join(member)
            self.registry.publish(other, [text("a")])
            self.clock.advance(0)
            self.assertEqual(self.heard, heard)
            first.leave()
            member.leave()
            self.heard.clear()

    def test_again_while_it_hears_what_waited(self) -> None:
        """Likewise with what has come while its history was late."""

        def received(message: str | bytes) -> None:
            self.heard.append(message)
            if message == "a":
                member.leave()
                self.join(member)

        member = LocalMember(self.registry, received)
        self.join(member)
        replay = LateReplay([text("old")])
        member.replay(replay)
        member.write(text("a"))
        member.write(text("b"))
        replay.answer()
        replay.answer()
        self.assertEqual(self.heard, ["old", "a"])

    def test_uid_is_taken(self) -> None:
        """While it is a member nobody else gets its uid; once it has left, the uid is free."""
        member, other = self.member(), self.member()
        self.join(member)
        joining = maybeDeferred(self.registry.join, make_header("local", "example"), other)
        self.assertIs(self.failureResultOf(joining, ProtocolViolation).value.reason, CloseReason.UID_TAKEN)
        self.assertIsNone(other.channel)
        member.leave()
        self.join(other)
        self.assertEqual(list(self.registry.members), [other])

    def test_uid_is_taken_at_the_last_moment(self) -> None:
        """Whoever is let in as somebody hears what a join delivers has the uid, and who was about to join has not."""
        other = self.fake("alice")
        member = LocalMember(self.registry, lambda message: self.join(first, "zoe"))
        first, second = self.member(), self.member()
        self.join(member)
        self.registry.publish(other, [text("come")])
        joining = maybeDeferred(self.registry.join, make_header("zoe", "example"), second)
        self.assertIs(self.failureResultOf(joining, ProtocolViolation).value.reason, CloseReason.UID_TAKEN)
        self.assertEqual((list(self.registry.members), self.registry.member_count), ([other, member, first], 3))

    def test_again(self) -> None:
        """Who has left can join again, elsewhere, with another uid."""
        member = self.member()
        self.join(member)
        member.leave()
        self.join(member, "renamed", "elsewhere")
        self.registry.announce("elsewhere", "server", text("welcome"))
        self.clock.advance(0)
        self.assertEqual((member.uid, self.heard), ("renamed", ["welcome"]))
