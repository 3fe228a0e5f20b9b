"""Tests of one channel: who gets a batch, in how many writes, and what a member that fails does to the others."""

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.channel import Channel
from mles_tx.channels.history import Message
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import encode_message, payload_of

from .fakes import FakeMember, hello, said


class WriteError(Exception):
    """A member that cannot be written to."""


class _ChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.channel = Channel("example")
        self.members: list[FakeMember] = []

    def add(self, *uids: str, receives: bool = True) -> list[FakeMember]:
        added = []
        for uid in uids:
            member = FakeMember(uid)
            member.uid = uid
            member.receives = receives
            member.channel = self.channel
            self.members.append(member)
            member.serial = len(self.members)
            self.channel.add(member)
            added.append(member)
        return added

    def say(self, *what: tuple[FakeMember, str]) -> None:
        self.channel.fan_out([said(text, member.uid, member.serial) for member, text in what])


class MembersTests(_ChannelTests):
    """Who is on a channel."""

    def test_add_and_remove(self) -> None:
        """Members are known by their uid as long as they are there."""
        a, b = self.add("a", "b")
        self.assertEqual((self.channel.name, self.channel.members), ("example", {"a": a, "b": b}))
        self.channel.remove(a)
        self.assertEqual(self.channel.members, {"b": b})

    def test_comings_and_goings(self) -> None:
        """Each message reaches exactly those who are there at that moment."""
        speaker, a = self.add("speaker", "a")
        self.say((speaker, "1"))
        (b,) = self.add("b")
        self.say((speaker, "2"))
        self.channel.remove(a)
        self.say((speaker, "3"))
        (again,) = self.add("a")
        self.say((speaker, "4"))
        self.assertEqual([member.texts for member in (speaker, a, b, again)], [[], ["1", "2"], ["2", "3", "4"], ["4"]])


class FanOutTests(_ChannelTests):
    """Everybody gets what the others say."""

    def test_one_message(self) -> None:
        """A message reaches everybody but its sender, as the one frame it is."""
        a, b, c = self.add("a", "b", "c")
        message = said("hi", "a", a.serial)
        self.channel.fan_out([message])
        self.assertEqual((a.writes, len(b.writes), len(c.writes)), ([], 1, 1))
        self.assertIs(b.writes[0], message.frame)
        self.assertIs(c.writes[0], message.frame)

    def test_one_write(self) -> None:
        """A batch of several messages reaches each listener in order and as one write, shared by all."""
        a, b, c = self.add("a", "b", "c")
        self.say((a, "1"), (a, "2"), (a, "3"))
        self.assertEqual([member.turns for member in (a, b, c)], [[], [["1", "2", "3"]], [["1", "2", "3"]]])
        self.assertIs(b.writes[0], c.writes[0])

    def test_nobody_hears_itself(self) -> None:
        """Of a batch of several senders each of them gets the others' messages, in order, as one write."""
        a, b, c = self.add("a", "b", "c")
        self.say((a, "1"), (b, "2"), (a, "3"), (b, "4"))
        self.assertEqual([member.turns for member in (a, b, c)], [[["2", "4"]], [["1", "3"]], [["1", "2", "3", "4"]]])

    def test_origin_is_the_membership(self) -> None:
        """Who joins again under its uid gets what the earlier membership said last: it has not seen it stored."""
        (earlier,) = self.add("a")
        self.channel.remove(earlier)
        (again,) = self.add("a")
        self.say((earlier, "last words"))
        self.assertEqual((earlier.texts, again.texts), ([], ["last words"]))

    def test_publish_only(self) -> None:
        """A member that only publishes is heard and hears nothing."""
        (listener,) = self.add("listener")
        (publisher,) = self.add("publisher", receives=False)
        self.say((publisher, "1"), (listener, "2"))
        self.say((listener, "3"))
        self.assertEqual((listener.texts, publisher.writes), (["1"], []))

    def test_join_frames_are_not_delivered(self) -> None:
        """Those who are there are not sent the join frames of others."""
        a, b = self.add("a", "b")
        self.channel.fan_out([Message(encode_message(hello("b"), False), "b", b.serial, is_join=True)])
        self.channel.fan_out([Message(encode_message(hello("z"), False), "z", 99, is_join=True)])
        self.assertEqual((a.writes, b.writes), ([], []))

    def test_from_elsewhere(self) -> None:
        """A batch of senders who are not members here, or not any more, reaches everybody."""
        a, b = self.add("a", "b")
        self.channel.fan_out([said("1", "far", 98), said("2", "away", 99)])
        self.assertEqual([member.turns for member in (a, b)], [[["1", "2"]]] * 2)

    def test_counted(self) -> None:
        """Whoever delivers is told how many messages were handed to members, each counted once a member."""
        self.assertEqual(self.channel.fan_out([said("1")]), 0)
        a, b, _ = self.add("a", "b", "c")
        self.add("meter", receives=False)
        for batch, sent in (
            ([said("1", "a", a.serial)], 2),
            ([said("1", "a", a.serial), said("2", "a", a.serial)], 4),
            ([said("1", "a", a.serial), said("2", "b", b.serial)], 4),
            ([said("1", "far", 99)], 3),
            ([Message(said("x").frame, "a", a.serial, is_join=True)], 0),
        ):
            self.assertEqual(self.channel.fan_out(batch), sent, f"{batch}")
        self.assertEqual(sum(len(turn) for member in self.members for turn in member.turns), 13)

    def test_nobody_there(self) -> None:
        """A batch for an empty channel does no harm."""
        self.channel.fan_out([said("1"), said("2")])
        self.assertEqual(self.channel.members, {})

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        deaf=st.lists(st.booleans(), min_size=1, max_size=6),
        senders=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    )
    def test_any_batch(self, deaf: list[bool], senders: list[int]) -> None:
        """Whoever says what: each who receives gets all others' messages in order, in at most one write."""
        self.setUp()
        for number, publishes_only in enumerate(deaf):
            self.add(str(number), receives=not publishes_only)
        batch = [said(f"{at} by {sender}", str(sender), sender + 1) for at, sender in enumerate(senders)]
        self.channel.fan_out(batch)
        for member in self.members:
            expected = [m.frame for m in batch if m.origin != member.serial] if member.receives else []
            self.assertEqual(member.frames, expected, f"{deaf} {senders} {member}")
            self.assertEqual(len(member.writes), bool(expected), f"{deaf} {senders} {member}")


class FailingMemberTests(_ChannelTests):
    """One bad member does not spoil a channel."""

    def _speak(self, senders: Sequence[int]) -> None:
        self.say(*((self.members[sender], f"{at}") for at, sender in enumerate(senders)))

    def test_write_fails(self) -> None:
        """A member that cannot be written to is closed as our fault, and all others get everything."""
        for senders in ([0], [0, 0], [0, 1], [0, 2, 1]):
            self.setUp()
            _, bad, *others = self.add("speaker", "bad", "c", "d")
            bad.broken = WriteError()
            self._speak(senders)
            self.assertIs(bad.reason, CloseReason.INTERNAL_ERROR, f"{senders}")
            for number, member in enumerate(others, 2):
                expected = [f"{at}" for at, sender in enumerate(senders) if sender != number]
                self.assertEqual((member.texts, member.reason), (expected, None), f"{senders} {member}")
            self.assertEqual(len(self.flushLoggedErrors(WriteError)), 1, f"{senders}")

    def test_close_fails_too(self) -> None:
        """A member that cannot even be closed does not keep the others from their messages."""
        speaker, bad, c = self.add("speaker", "bad", "c")
        bad.broken, bad.stuck = WriteError(), ZeroDivisionError()
        self.say((speaker, "1"))
        self.assertEqual((c.texts, bad.reason), (["1"], None))
        self.assertEqual(len(self.flushLoggedErrors(WriteError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_leaves_as_it_is_written_to(self) -> None:
        """Members that leave, or make others leave, as they are written to do not disturb the walk."""

        def leave() -> None:
            leaver.on_write = None
            self.channel.remove(leaver)
            self.channel.remove(b)

        speaker, leaver, b, c = self.add("speaker", "leaver", "b", "c")
        leaver.on_write = leave
        self.say((speaker, "1"))
        self.say((speaker, "2"))
        self.assertEqual((leaver.texts, c.texts), (["1"], ["1", "2"]))
        self.assertNotIn("2", b.texts)
        self.assertEqual(self.channel.members, {"speaker": speaker, "c": c})

    def test_payloads_unchanged(self) -> None:
        """Payload and type arrive as they were sent, empty ones and large ones, binary and text."""
        a, b = self.add("a", "b")
        for payload in (b"", b"\xff\x00", b"x" * 200, b"y" * 70_000):
            frame = encode_message(payload, True)
            self.channel.fan_out([Message(frame, "a", a.serial, False), Message(frame, "a", a.serial, False)])
            self.assertEqual([payload_of(got) for got in b.frames[-2:]], [payload, payload])
            self.assertEqual(b.frames[-2:], [frame, frame])
