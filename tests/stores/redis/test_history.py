"""Tests of the history on Redis: the promises of all stores, several nodes, and a Redis that goes and comes."""

import random
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from mles_tx.channels.history import MAX_CHANNEL_BYTES, Message
from mles_tx.stores.redis import backlog
from mles_tx.stores.redis.history import RedisHistory
from tests import examples
from tests.channels.fakes import said
from tests.stores.contract import Listener, StoreContract, join_of

from .fakes import FakeLink, FakeServer
from .nodes import Node, NodesTestCase


class ContractTests(StoreContract, TestCase):
    """The store on Redis keeps the promises of all stores."""

    knows_all = False
    shows_joins_early = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes = 0

    async def begin(self, limit: int = 200, max_bytes: int = MAX_CHANNEL_BYTES) -> None:
        self.server = FakeServer()
        self.limits = limit, max_bytes
        self.build()

    def build(self) -> None:
        self.nodes += 1
        node = f"n{self.nodes}"
        self.link = FakeLink(self.server, node, self.clock)
        self.listener = Listener()
        self.history = RedisHistory(self.clock, self.link, node, "redis://test", 0, *self.limits)
        self.history.start(self.listener)
        self.history.open()
        self.server.settle()

    async def settled(self) -> None:
        for _ in range(3):
            self.server.settle()
            self.clock.advance(0.02)

    async def again(self) -> None:
        self.server.settle()
        closed = self.history.close()
        self.server.settle()
        self.clock.advance(0.1)
        await closed
        self.server.links.remove(self.link)
        self.build()

    async def test_idle(self) -> None:
        """Redis forgets a channel nobody has spoken on for 30 days; the node does at once, when nobody is there."""
        await self.begin()
        await self.add("old", channel="a")
        await self.add(join_of("bob"), channel="b")
        self.listener.occupied = {"b"}
        self.history.sweep()
        self.assertEqual(set(self.history.channels()), {"b"})
        self.assertEqual(await self.read(channel="a"), ["old"])
        keys = self.server.redis.keys()
        self.assertEqual({self.server.redis.pttl(key) // 86_400_000 for key in keys if b"node:" not in key}, {29})

    async def test_forget_one(self) -> None:
        """To make room, a channel without members is let go of; what it holds stays in Redis."""
        await self.begin()
        for name in ("a", "b"):
            await self.add("1", channel=name)
        self.listener.occupied = {"b"}
        self.assertEqual([self.history.forget_one() for _ in range(2)], [True, False])
        self.assertEqual(set(self.history.channels()), {"b"})
        self.assertEqual(await self.read_twice(channel="a"), ["1"])


class NodesTests(NodesTestCase):
    """What nodes hear of each other."""

    def test_one_order(self) -> None:
        """While Redis is there, all nodes hear everything in one order."""
        nodes = [self.node() for _ in range(3)]
        for number in range(30):
            nodes[number % 3].speak()
            nodes[number % 2].speak()
            if number % 4 == 0:
                self.server.work()
        self.server.settle()
        for node in nodes:
            self.assertEqual(node.heard, nodes[0].heard)
        self.assert_everybody_heard_everything()

    def test_others_come_first(self) -> None:
        """What was said here waits for what was said elsewhere and is before it in the stream."""
        one, other = self.node(), self.node()
        other.link.cut_hearing()
        one.speak()
        self.server.settle()
        other.speak()
        self.server.settle()
        self.assertEqual(other.heard, ["a.0", "b.0"])
        self.recover()
        self.assert_everybody_heard_everything()

    def test_alone(self) -> None:
        """While Redis is away, members of one node hear each other after a fifth of a second, and then at once."""
        one, other = self.node(), self.node()
        self.server.held = True
        one.speak()
        self.clock.advance(0.19)
        self.assertEqual(one.heard, [])
        self.clock.advance(0.01)
        self.clock.advance(0.01)
        self.assertEqual(one.heard, ["a.0"])
        one.speak()
        self.assertEqual((one.heard, other.heard), (["a.0", "a.1"], []))
        self.assertEqual(len(one.history.not_ready()), 1)
        self.assertEqual(one.history.counts()[::2], (2, 1))
        self.recover()
        self.assert_everybody_heard_everything()

    def test_answered_at_once(self) -> None:
        """Who answers in the middle of a delivery, while Redis is away, is heard behind all that waits, anywhere."""
        one, _ = self.node(), self.node()
        committed = one.listener.committed

        def answering(channel: str, batch: Sequence[Message]) -> None:
            committed(channel, batch)
            if len(one.said) < 6:
                one.speak()

        self.server.held = True
        one.speak()
        one.speak()
        self.patch(one.listener, "committed", answering)
        self.clock.advance(0.2)
        self.clock.advance(0.01)
        self.assertEqual(one.heard, one.said)
        self.assertEqual(len(one.said), 6)
        del one.said[:], one.listener.heard[:]
        one.say("a.one")
        self.assertEqual((one.heard, len(one.said)), (one.said, 6))
        self.server.held = False
        self.pass_time(1.0)
        self.assertEqual(self.nodes[1].heard[-6:], one.said)
        self.assertEqual(self.replayed(one)[-6:], one.said)

    def test_placed(self) -> None:
        """A node knows when it hears the others: when Redis has told it where the channel is, or does not answer."""
        one = self.node()
        for answers in (True, False):
            other = Node(self.server, self.clock, "yz"[answers])
            other.history.open()
            self.server.settle()
            self.server.held = True
            other.history.replay("example", "reader", 0, ())
            placed = other.history.placed("example")
            assert placed is not None
            other.history.append("example", [join_of("reader")])
            self.assertNoResult(placed)
            if answers:
                self.server.held = False
                self.server.settle()
                self.assertIsNone(other.history.placed("example"))
                one.speak()
                self.server.settle()
                self.assertEqual(other.heard[-1:], one.said)
            else:
                self.pass_time(0.3)
            self.assertIsNone(self.successResultOf(placed))
            self.server.held = False
            self.nodes.append(other)
        self.recover()

    def test_slow_again_and_again(self) -> None:
        """An operator reads every ten seconds that Redis is too slow, and not every half second."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        one = self.node()
        for _ in range(30):
            self.server.held = True
            one.speak()
            self.clock.advance(0.2)
            self.clock.advance(0.02)
            self.server.held = False
            self.pass_time(0.4)
        self.assertEqual(one.history.counts().faults, 30)
        self.assertEqual(sum("does not answer in time" in line for line in lines), 2)
        self.assertEqual(sum("answers in time again" in line for line in lines), 2)
        self.assertEqual(one.heard, one.said)

    def test_own_pause(self) -> None:
        """A node that was held up itself, and finds the answer when it looks, does not go on alone."""
        one = self.node()
        one.speak()
        self.clock.advance(5)
        self.assertEqual((one.heard, one.history.not_ready()), ([], []))
        self.server.settle()
        self.clock.advance(0.01)
        self.assertEqual((one.heard, one.history.not_ready()), (["a.0"], []))

    def test_too_much(self) -> None:
        """What is too much to be kept while Redis is away is heard here, and counted as lost."""
        self.patch(backlog, "MAX_BACKLOG_BYTES", 100)
        one, other = self.node(), self.node()
        one.link.cut()
        for _ in range(50):
            one.speak()
        self.recover()
        self.assertEqual(one.heard, one.said)
        lost = one.history.counts().lost
        self.assertTrue(0 < lost < 50)
        self.assertEqual(other.heard, one.said[lost:])

    def test_too_much_of_one_that_is_left(self) -> None:
        """What is dropped may be of a channel nobody is on any more; what pushed it out is heard all the same."""
        self.patch(backlog, "MAX_BACKLOG_BYTES", 100)
        one = self.node()
        one.history.replay("other", "reader", None, ())
        self.server.settle()
        one.history.append("other", [said("x" * 90)])
        one.link.cut_commands(taken=1)  # it is announced, and the answer does not come
        self.server.settle()
        self.assertEqual(len(one.listener.texts("other")), 1)
        one.history.sweep()
        self.assertEqual(list(one.history.channels()), ["example"])
        one.say("a.0")
        one.say("a.1")
        self.assertEqual(one.history.counts().lost, 1)
        self.recover()
        self.assertEqual(one.heard, one.said)

    def test_too_much_at_once(self) -> None:
        """What is dropped because somebody answers it, when Redis has gone, is heard once."""
        self.patch(backlog, "MAX_BACKLOG_BYTES", 100)
        one = self.node()
        committed = one.listener.committed

        def answering(channel: str, batch: Sequence[Message]) -> None:
            committed(channel, batch)
            if len(one.said) == 2:
                one.say("a.2" + 94 * "x")

        one.link.cut()
        one.speak()
        one.speak()
        self.patch(one.listener, "committed", answering)
        self.clock.advance(0.2)
        self.clock.advance(0.01)
        self.assertEqual((one.heard, one.history.counts().lost), (one.said, 2))

    def test_closed_and_opened(self) -> None:
        """A node can be closed and opened again; what is said meanwhile elsewhere is there afterwards."""
        one, other = self.node(), self.node()
        for _ in range(3):
            one.speak()
            other.speak()
            closing = one.history.close()
            self.server.settle()
            self.assertIsNone(self.successResultOf(closing))
            other.speak()
            self.server.settle()
            one.history.open()
            self.pass_time(1)
        self.assert_everybody_heard_everything()

    def test_closed_without_redis(self) -> None:
        """Closing takes three seconds at most when Redis does not answer, and leaves no timer."""
        one = self.node()
        self.server.held = True
        one.speak()
        closing = one.history.close()
        for _ in range(12):
            self.assertNoResult(closing)
            self.clock.advance(0.25)
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual((one.heard, self.clock.getDelayedCalls()), (["a.0"], []))

    def test_room(self) -> None:
        """Channels nobody is on any more are let go of, those with members stay."""
        one = self.node()
        one.history.append("other", [said("x")])
        self.server.settle()
        one.history.sweep()
        self.assertEqual(list(one.history.channels()), ["example"])
        self.assertFalse(one.history.forget_one())

    def test_chance(self) -> None:
        """Whatever is cut, held and mended in whatever order, everybody hears everything once, and joiners come in."""
        for seed in range(examples(150)):
            self.setUp()
            self._by_chance(random.Random(seed), seed)

    def _by_chance(self, chance: random.Random, seed: int) -> None:
        nodes = [self.node() for _ in range(chance.choice((2, 2, 3)))]
        joining: list[Deferred[list[str]]] = []
        for _ in range(chance.randint(10, 80)):
            node = chance.choice(nodes)
            step = chance.choice("sssssSwwwwWtTchmMHmbjf")
            if step == "s":
                node.speak()
            elif step == "S":
                first = len(node.said)
                node.say(*(f"{node.name}.{first + number}" for number in range(3)))
            elif step == "w":
                self.server.work()
            elif step == "W":
                self.server.settle()
            elif step == "t":
                self.clock.advance(chance.choice((0.01, 0.1)))
            elif step == "T":
                self.clock.advance(0.3)
            elif step == "c":
                node.link.cut(chance.choice((0, 0, 1, 2, 5)))
            elif step == "h":
                node.link.cut_hearing()
            elif step == "b":
                node.link.cut_commands(chance.choice((0, 1, 3)))
            elif step == "m":
                node.link.mend()
            elif step == "M":
                node.link.mend_hearing()
            elif step == "H":
                self.server.held = not self.server.held
            elif step == "j":
                node.history.append("example", [join_of(chance.choice(("ann", "bob")))])
            elif step == "f":
                node.followed.forget()
                joining.append(Deferred.fromCoroutine(node.remembered()))
        self.recover()
        for node in nodes:
            node.listener.heard = [(c, b) for c, b in node.listener.heard if not b[0].is_join]
        try:
            for reading in joining:
                self.successResultOf(reading)
            self.assert_everybody_heard_everything()
        except Exception as error:
            raise AssertionError(f"{seed=}") from error
