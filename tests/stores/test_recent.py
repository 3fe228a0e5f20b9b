"""Tests of what a durable history holds in memory."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.channels.history import MAX_CHANNEL_BYTES, IReplay, Message
from mles_tx.protocol.frames import payload_of
from mles_tx.stores.recent import LateReplay, RecentChannel, RecentChannels
from tests.channels.fakes import said

from .contract import join_of


class RecentTests(SynchronousTestCase):
    """Channels, cold and warm."""

    def setUp(self) -> None:
        self.recent = RecentChannels(10, MAX_CHANNEL_BYTES, 1_000_000)

    def rows(self, *texts: str, n: int = 1) -> list[tuple[int, Message]]:
        return [(n + index, said(text)) for index, text in enumerate(texts)]

    def cold(self, name: str = "a") -> RecentChannel:
        """A channel whose messages are in the store."""
        self.recent.take_over([(name, 5.0)])
        found = self.recent.get(name)
        assert found is not None
        return found

    def texts(self, replay: IReplay) -> list[str]:
        pulled = replay.pull(1 << 20)
        assert isinstance(pulled, list)
        return [payload_of(frame).decode() for frame in pulled]

    def held(self, channel: RecentChannel) -> list[str]:
        return [payload_of(message.frame).decode() for message in self.recent.log_of(channel)]

    def test_gap(self) -> None:
        """What was said behind a gap follows what the store has; what both have is there once."""
        channel = self.cold()
        self.recent.remember(channel, 50, [said("50"), said("51")], 6.0)
        self.assertFalse(channel.is_whole)
        self.recent.load(channel, [*self.rows("1", "2"), *self.rows("50", n=50)])
        self.assertTrue(channel.is_whole)
        self.assertEqual(self.held(channel), ["1", "2", "50", "51"])

    def test_behind_a_gap_too_much(self) -> None:
        """When more was said behind a gap than is remembered, what is in the store is too old."""
        channel = self.cold()
        self.recent.remember(channel, 50, [said(str(n)) for n in range(8)], 6.0)
        self.recent.remember(channel, 60, [join_of("bob")], 6.0)
        self.recent.remember(channel, 61, [join_of("bob")], 6.0)
        self.recent.remember(channel, 62, [said("8")], 6.0)
        self.assertFalse(channel.is_whole)
        self.recent.remember(channel, 63, [said("9")], 6.0)
        self.assertTrue(channel.is_whole)
        self.recent.load(channel, self.rows("old"))
        self.assertEqual(self.held(channel)[:2], ["1", "2"])

    def test_late_replay(self) -> None:
        """A replay that waits for the store is answered when it has, with its end where it was asked for."""
        channel = self.cold()
        self.recent.remember(channel, 50, [said("50")], 6.0)
        replay = LateReplay(tuple(channel.log or ()), (), "zoe", None, ())
        self.assertTrue(verifyObject(IReplay, replay))
        channel.waiting.append(replay)
        pulled = replay.pull(1)
        assert isinstance(pulled, Deferred)
        self.assertNoResult(pulled)
        self.recent.remember(channel, 51, [said("51")], 6.0)
        self.recent.load(channel, self.rows("1", "2"))
        self.assertEqual(self.successResultOf(pulled), [said("1").frame])
        self.assertEqual(self.texts(replay), ["2", "50"])
        self.assertEqual(self.texts(replay), [])

    def test_late_replay_not_asked(self) -> None:
        """One that is asked only later answers then."""
        replay = LateReplay([said("3")], (), "zoe", 2, ())
        replay.begin([said("1"), said("2")], 10, MAX_CHANNEL_BYTES)
        self.assertEqual(self.texts(replay), ["2", "3"])

    def test_memory(self) -> None:
        """Memory is counted up and down to nothing."""
        for number in range(5):
            channel = self.recent.add(f"c{number}", 1.0)
            self.recent.remember(channel, number, [said("x" * 100)], 1.0)
        self.assertGreater(self.recent.memory, 500)
        self.assertEqual(len(self.recent.warm), 5)
        first, second, third, *_ = self.recent
        self.recent.cool(first)
        self.recent.cool(first)
        self.recent.load(first, self.rows("1"))
        self.recent.forget(first)
        self.recent.forget(second)
        third.unwritten = 1
        self.assertEqual(self.recent.take_over([("c3", 1.0), ("new", 2.0)]), ["c4"])
        self.assertEqual(list(self.recent.names), ["c3", "new", "c2"])
        self.assertEqual(self.recent.warm, [third])
        self.recent.cool(third)
        self.assertEqual(self.recent.memory, 0)

    def test_room(self) -> None:
        """When it is too much, the least recently used go from memory, but for what is not written yet."""
        self.recent.total_bytes = 5_000
        channels = [self.recent.add(f"c{number}", 1.0) for number in range(10)]
        for channel in channels:
            self.recent.remember(channel, 1, [said("x" * 500)], 1.0)
        channels[0].unwritten = 1
        channels[1].is_loading = True
        self.recent.make_room()
        self.assertLess(self.recent.memory, 4_501)
        self.assertEqual(self.recent.warm, [*channels[:2], *channels[-len(self.recent.warm) + 2 :]])
        self.assertEqual(len(self.recent.names), 10)

    def test_order(self) -> None:
        """The least recently used stand first."""
        self.recent.take_over([("a", 1.0), ("b", 2.0), ("c", 3.0)])
        found = self.recent.get("a")
        assert found is not None
        self.recent.remember(found, 1, [said("x")], 4.0)
        self.assertEqual([channel.name for channel in self.recent.oldest()], ["b", "c", "a"])
        self.assertEqual([channel.used_at for channel in self.recent], [2.0, 3.0, 4.0])

    def test_forgotten_while_loading(self) -> None:
        """What comes from the store for a channel that is forgotten meanwhile answers who waits, and is not kept."""
        channel = self.cold()
        replay = LateReplay((), (), "zoe", None, ())
        channel.waiting.append(replay)
        self.recent.clear()
        self.recent.load(channel, self.rows("1"))
        self.assertEqual(self.texts(replay), ["1"])
        self.assertEqual((list(self.recent.names), self.recent.memory), ([], 0))
