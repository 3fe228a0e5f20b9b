"""Bridges between channels in memory: each message once, whatever shape they have and whatever breaks."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.bridge import MAX_REPEATS, Bridge

from .bridges import MemoryChannel, MemoryLink


class _BridgeTests(SynchronousTestCase):
    """Channels and the links of bridges to them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.channels: list[MemoryChannel] = []
        self.links: list[MemoryLink] = []

    def new_channels(self, number: int, *histories: Sequence[str], limit: int = 10_000) -> list[MemoryChannel]:
        """So many channels, the first ones with something in their history."""
        self.channels = [MemoryChannel(limit) for _ in range(number)]
        for channel, history in zip(self.channels, histories, strict=False):
            channel.history.extend(history)
            channel.everything.extend(history)
        return self.channels

    def bridge(self, *channels: int, bridge: Bridge | None = None) -> list[MemoryLink]:
        """A bridge between some of the channels; its links, which have not joined yet."""
        bridge = bridge or Bridge(self.clock)
        links = [MemoryLink(bridge, self.channels[index], f"side {index}") for index in channels]
        self.links += links
        return links

    def settle(self) -> None:
        """Until nothing is on its way any more."""
        for _ in range(100_000):
            if not sum([link.arrive() for link in self.links]):
                return
        self.fail("it never comes to rest")

    def assert_said(self, *expected: Iterable[str]) -> None:
        """What was said on each channel since it began, in order."""
        self.assertEqual([channel.everything for channel in self.channels], [list(one) for one in expected])


class TwoSidesTests(_BridgeTests):
    """One bridge between two channels."""

    def setUp(self) -> None:
        super().setUp()
        self.a, self.b = self.new_channels(2)

    def join(self, bridge: Bridge | None = None) -> tuple[MemoryLink, MemoryLink]:
        first, second = self.bridge(0, 1, bridge=bridge)
        for link in (first, second):
            link.join()
        self.settle()
        return first, second

    def test_both_ways(self) -> None:
        """What is said on one is said on the other, in order, and does not come back."""
        self.join()
        self.a.say("1")
        self.a.say("2")
        self.settle()
        self.b.say("3")
        self.settle()
        self.assert_said(["1", "2", "3"], ["1", "2", "3"])

    def test_same_words(self) -> None:
        """What is said again in the same words is not passed on: it looks like something that came another way."""
        self.join()
        for text in ("ok", "ok", "then", "ok"):
            self.a.say(text)
        self.settle()
        self.b.say("ok")
        self.settle()
        self.assert_said(["ok", "ok", "then", "ok"], ["ok", "then", "ok"])

    def test_same_words_passed_on(self) -> None:
        """Where that is asked for they are, as long as they come live and from the same side."""
        self.join(Bridge(self.clock, passes_repeats=True))
        for text in ("ok", "ok", "then", "ok"):
            self.a.say(text)
        self.settle()
        self.assert_said(["ok", "ok", "then", "ok"], ["ok", "ok", "then", "ok"])
        self.b.say("ok")
        self.settle()
        self.assertEqual(self.a.counts["ok"], 3)

    def test_same_words_without_end(self) -> None:
        """Even then nothing is passed on for ever: were two bridges to feed each other, it would end."""
        self.join(Bridge(self.clock, passes_repeats=True))
        for _ in range(3 * MAX_REPEATS):
            self.a.say("ok")
        self.settle()
        self.assertEqual(self.b.counts["ok"], MAX_REPEATS)

    def test_one_is_down(self) -> None:
        """What is said while one link is down is passed on when it is back, once."""
        first, second = self.join()
        self.a.say("1")
        self.settle()
        second.cut()
        for text in ("2", "3"):
            self.a.say(text)
        self.b.say("4")
        self.settle()
        second.join()
        self.settle()
        self.assert_said(["1", "2", "3", "4"], ["1", "4", "2", "3"])
        self.assertEqual((second.side.counts.links, first.side.counts.links), (2, 1))

    def test_came_another_way(self) -> None:
        """What waits for one that is down, and is there already when it is back, is not said once more."""
        _, second = self.join()
        second.cut()
        for text in ("1", "2", "3"):
            self.a.say(text)
        self.settle()
        self.b.say("2")
        second.join()
        self.settle()
        self.assert_said(["1", "2", "3"], ["2", "1", "3"])
        self.assertEqual(second.side.counts.spared, 1)

    def test_not_before_the_history(self) -> None:
        """Nothing is said on a link before its history has come, since it may be there already."""
        first, second = self.bridge(0, 1)
        first.join()
        self.settle()
        second.join()
        self.a.say("1")
        first.arrive()
        self.assertEqual(self.b.everything, [])
        self.settle()
        self.assertEqual(self.b.everything, ["1"])

    def test_full(self) -> None:
        """When more waits for one than may, the other is not heard, and nothing is lost."""
        first, second = self.join(Bridge(self.clock, max_waiting=4))
        second.is_slow = True
        texts = [str(number) for number in range(20)]
        for text in texts:
            self.a.say(text)
        self.settle()
        self.assertEqual((len(second.side), first.is_held, second.is_held), (4, True, False))
        self.assertTrue(first.side.counts.is_held)
        while second.stuck:
            second.take()
            self.settle()
        self.assert_said(texts, texts)
        self.assertFalse(first.is_held or first.side.counts.is_held)

    def test_full_of_what_is_read_already(self) -> None:
        """Where a link has read more than was passed on, the order is kept when it goes on."""
        texts = [str(number) for number in range(40)]
        _, second = self.join(Bridge(self.clock, max_waiting=10))
        second.is_slow = True
        for text in texts:
            self.a.say(text)
        self.settle()
        second.is_slow = False
        second.take()
        self.settle()
        self.assert_said(texts, texts)

    def test_full_before_the_history(self) -> None:
        """So it is when more waits than may before a link has begun, and there is something before all that."""
        texts = [str(number) for number in range(40)]
        self.new_channels(2, texts[:10], texts[:1])
        first, second = self.bridge(0, 1, bridge=Bridge(self.clock, max_waiting=10))
        first.join()
        self.settle()
        for text in texts[10:]:
            self.channels[0].say(text)
        self.settle()
        self.assertTrue(first.is_held)
        second.join()
        self.settle()
        self.assertEqual(self.channels[1].everything, texts)

    def test_full_of_bytes(self) -> None:
        """The same with bytes."""
        first, second = self.join(Bridge(self.clock, max_waiting_bytes=1000))
        second.cut()
        for number in range(6):
            self.a.say(f"{number}" * 300)
        self.settle()
        self.assertEqual((len(second.side), first.is_held), (4, True))
        second.join()
        self.settle()
        self.assertEqual(self.b.everything, self.a.everything)

    def test_both_full(self) -> None:
        """Two sides that have both more to say to each other than may wait do not wait for each other."""
        first, second = self.join(Bridge(self.clock, max_waiting=4))
        first.cut()
        for number in range(10):
            self.a.say(f"a{number}")
            self.b.say(f"b{number}")
        self.settle()
        self.assertTrue(second.is_held)
        second.cut()
        for link in (first, second):
            link.join()
        self.settle()
        for channel in (self.a, self.b):
            self.assertEqual(sorted(channel.everything), sorted(f"{side}{n}" for side in "ab" for n in range(10)))

    def test_too_large(self) -> None:
        """What is too large for one side is counted, and everything else goes on."""
        _, second = self.join()
        second.side.max_payload = 5
        self.a.say("123456")
        self.a.say("12345")
        self.settle()
        self.assertEqual((self.b.everything, second.side.counts.refused), (["12345"], 1))

    def test_counts(self) -> None:
        """It is counted what happened on each side."""
        first, second = self.join()
        for text in ("1", "2", "2"):
            self.a.say(text)
        self.settle()
        counts = first.bridge.counts
        self.assertEqual(list(counts), ["side 0", "side 1"])
        a, b = counts["side 0"], counts["side 1"]
        self.assertEqual((a.heard, a.repeated, a.said, a.waiting, a.is_up), (3, 1, 0, 0, True))
        self.assertEqual((b.heard, b.repeated, b.said, b.waiting, b.is_up), (0, 0, 2, 0, True))
        second.cut()
        self.assertFalse(counts["side 1"].is_up)

    def test_held_for_a_server(self) -> None:
        """What is on a side is remembered in its order, for a server that loses it: nothing that waits for it."""
        first, second = self.join()
        self.a.say("1")
        self.settle()
        self.b.say("2")
        self.settle()
        second.cut()
        self.a.say("3")
        self.settle()
        for link, texts in ((first, ["1", "2", "3"]), (second, ["1", "2"])):
            self.assertEqual([message.payload.decode() for message in link.side.held.held_frames()], texts)


class BeginningTests(_BridgeTests):
    """A bridge that finds histories."""

    def begin(self, *order: int) -> None:
        links = self.bridge(*range(len(self.channels)))
        for index in order:
            links[index].join()
            self.settle()

    def test_nothing_in_common(self) -> None:
        """Histories that have nothing in common were never bridged: only what is said from now on is passed on."""
        self.new_channels(2, ["a1", "a2"], ["b1"])
        self.begin(0, 1)
        self.channels[0].say("new")
        self.settle()
        self.assert_said(["a1", "a2", "new"], ["b1", "new"])

    def test_begins_again(self) -> None:
        """A bridge that begins again passes on what was said meanwhile, on either side, and nothing twice."""
        for order in ((0, 1), (1, 0)):
            self.links.clear()
            self.new_channels(2, ["1", "2", "a3", "a4"], ["1", "2", "b3"])
            self.begin(*order)
            self.assertEqual(sorted(self.channels[0].everything), sorted(["1", "2", "a3", "a4", "b3"]))
            self.assertEqual(self.channels[1].everything, ["1", "2", "b3", "a3", "a4"])

    def test_older_than_what_is_remembered(self) -> None:
        """What one server remembers and the other has forgotten is not passed on."""
        self.new_channels(2, ["1", "2", "3", "4"], ["3", "4"])
        self.begin(0, 1)
        self.assert_said(["1", "2", "3", "4"], ["3", "4"])

    def test_one_comes_late(self) -> None:
        """What is said before the last server is there for the first time waits for it, in order."""
        self.new_channels(2, ["1", "2", "3"], ["1", "5", "6"])
        first, second = self.bridge(0, 1)
        first.join()
        self.settle()
        for text in ("4", "5", "7"):
            self.channels[0].say(text)
        self.settle()
        second.join()
        self.settle()
        self.assertEqual(self.channels[1].everything, ["1", "5", "6", "2", "3", "4", "7"])
        self.assertEqual(self.channels[0].everything, ["1", "2", "3", "4", "5", "7", "6"])

    def test_three(self) -> None:
        """The same with three sides."""
        self.new_channels(3, ["1", "a"], ["1", "b"], ["1", "c"])
        self.begin(0, 1, 2)
        for channel in self.channels:
            self.assertEqual(sorted(channel.everything), ["1", "a", "b", "c"])


#: Channels and, for each bridge, those it joins.
SHAPES: dict[str, tuple[int, tuple[tuple[int, ...], ...]]] = {
    "chain": (4, ((0, 1), (1, 2), (2, 3))),
    "star": (4, ((0, 1, 2, 3),)),
    "star of bridges": (4, ((0, 1), (0, 2), (0, 3))),
    "two in parallel": (2, ((0, 1), (0, 1))),
    "ring": (3, ((0, 1), (1, 2), (2, 0))),
    "ring of five": (5, ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0))),
    "mesh": (3, ((0, 1, 2), (0, 1, 2), (0, 1, 2))),
    "tangle": (5, ((0, 1, 2), (1, 3), (3, 4, 0), (2, 4), (0, 1))),
}


class ShapeTests(_BridgeTests):
    """Several bridges, and whatever happens to their links."""

    def run_shape(self, shape: str, seed: int, cuts: bool) -> None:
        chance = random.Random(seed)
        number, bridges = SHAPES[shape]
        self.links.clear()
        self.new_channels(number)
        for channels in bridges:
            room = chance.choice((5, 10_000))
            for link in self.bridge(*channels, bridge=Bridge(self.clock, max_waiting=room)):
                link.join()
        if cuts:
            self.settle()  # what is said before is older than the bridges, should a link be cut then
        spoken: list[list[str]] = [[] for _ in self.channels]
        for step in range(300):
            index = chance.randrange(number)
            text = f"{index}.{len(spoken[index])}"
            spoken[index].append(text)
            self.channels[index].say(text)
            for _ in range(chance.randrange(12)):
                chance.choice(self.links).arrive(chance.randrange(6))
            if cuts and step % 5 == 0:
                link = chance.choice(self.links)
                if link.is_up:
                    link.cut()
                else:
                    link.join()
        for link in self.links:
            if not link.is_up:
                link.join()
        self.settle()
        where = f"{shape}, seed {seed}"
        everything = sorted(text for texts in spoken for text in texts)
        for index, channel in enumerate(self.channels):
            counts = channel.counts
            self.assertEqual(sorted(counts), everything, where)
            ways = sum(index in channels for channels in bridges)
            self.assertLessEqual(max(counts.values()), ways + 1, where)
            first = list(dict.fromkeys(channel.everything))
            if not cuts:
                for texts in spoken:
                    own = [text for text in first if text in set(texts)]
                    self.assertEqual(own, texts, where)
            if len(bridges) < number:  # a tree: there is one way
                self.assertEqual(max(counts.values()), 1, where)

    def test_every_shape(self) -> None:
        """Every message comes to every channel, to a tree once, to others at most once from each bridge there."""
        for shape in SHAPES:
            for seed in range(3):
                self.run_shape(shape, seed, cuts=False)

    def test_every_shape_with_cuts(self) -> None:
        """The same when links are cut, with what is on its way, and come back."""
        for shape in SHAPES:
            for seed in range(3):
                self.run_shape(shape, seed, cuts=True)

    def test_standby(self) -> None:
        """Where those that close a circle wait, everything is there once, and they take over from one that fails."""
        for shape, seconds in (
            ("ring", (0, 0, 1)),
            ("ring of five", (0, 0, 1, 0, 0)),
            ("two in parallel", (1, 0)),
            ("mesh", (0, 1, 2)),
        ):
            self.links.clear()
            number, bridges = SHAPES[shape]
            self.new_channels(number)
            for channels, standby in zip(bridges, seconds, strict=True):
                for link in self.bridge(*channels, bridge=Bridge(self.clock, standby=standby)):
                    link.join()
            texts = [str(number) for number in range(50)]
            for index, text in enumerate(texts):
                self.channels[index % number].say(text)
            self.settle()
            self.clock.advance(3)
            self.settle()
            for channel in self.channels:
                self.assertEqual(channel.counts, Counter(texts), shape)
            self.clock.advance(3)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_takes_over(self) -> None:
        """What the other one does not pass on, one that stands by does, when it has waited, in order."""
        self.new_channels(2)
        first = self.bridge(0, 1)
        second = self.bridge(0, 1, bridge=Bridge(self.clock, standby=1.0))
        for link in (*first, *second):
            link.join()
        self.settle()
        self.channels[0].say("1")
        self.settle()
        first[1].cut()
        self.channels[0].say("2")
        self.settle()
        self.clock.advance(0.5)
        self.channels[0].say("3")
        self.settle()
        self.clock.advance(0.6)
        self.assertEqual(self.channels[1].everything, ["1", "2"])
        self.clock.advance(0.6)
        self.assertEqual(self.channels[1].everything, ["1", "2", "3"])
        first[1].join()
        self.settle()
        self.assertEqual(self.channels[1].everything, ["1", "2", "3"])
        self.channels[0].say("4")
        self.links[0].arrive()
        self.assertEqual(self.channels[1].everything[-1], "4")
        self.settle()
        for link in (first[0], second[0]):
            link.bridge.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_restarted_servers(self) -> None:
        """A server that has forgotten everything does not get old messages for new ones."""
        self.new_channels(3)
        for channels in SHAPES["ring"][1]:
            for link in self.bridge(*channels):
                link.join()
        for number in range(30):
            self.channels[number % 3].say(str(number))
            self.settle()
        before = [len(channel.everything) for channel in self.channels]
        self.channels[1].restart()
        for link in self.links:
            if not link.is_up:
                link.join()
        self.settle()
        self.assertEqual([len(channel.everything) for channel in self.channels], before)
        self.channels[0].say("new")
        self.settle()
        self.assertTrue(all(channel.counts["new"] for channel in self.channels))
