"""Tests of one channel on one node: its place in the stream, and what is remembered."""

from itertools import product

from twisted.internet.defer import Deferred

from mles_tx.stores.redis import followed as module
from mles_tx.stores.redis import news
from mles_tx.stores.redis.followed import State
from tests.stores.contract import join_of, read_all

from .nodes import NodesTestCase

LOG, META = "mles:{example}:log", "mles:{example}:meta"


class AnnouncementTests(NodesTestCase):
    """What is announced."""

    def test_nonsense(self) -> None:
        """What somebody else announces in our place disturbs nobody."""
        one, other = self.node(), self.node()
        epoch = self.server.redis.hget(META, "epoch") or b"x"
        for data in (b"", b"nonsense", b"%s 5-0 9-9\n1 x 1 -\nx\t1\n" % epoch, b"y 5-0 9-9\nx"):
            self.server.redis.publish("mles:0:{example}", data)
        one.speak()
        other.speak()
        self.server.settle()
        self.assert_everybody_heard_everything()

    def test_strange_entry(self) -> None:
        """An entry somebody else has put into the stream is passed over."""
        one, other = self.node(), self.node()
        one.speak()
        self.server.settle()
        other.link.cut()
        self.server.redis.xadd(LOG, {"b": "nonsense", "c": 1, "s": 1, "p": "0-0"})
        one.speak()
        self.recover()
        self.assert_everybody_heard_everything()
        self.assertEqual(self.replayed(self.node()), ["a.0", "a.1"])


class GapTests(NodesTestCase):
    """What was not heard is read."""

    def test_links_cut(self) -> None:
        """What is said while a node's links are down is there when they are up again, once, in order."""
        one, other = self.node(), self.node()
        for cut in ("cut", "cut_hearing", "cut_commands"):
            getattr(other.link, cut)()
            for _ in range(20):
                one.speak()
            self.server.settle()
            other.link.mend()
            self.server.settle()
            self.assertEqual(other.heard, one.said, cut)
        self.assert_everybody_heard_everything()

    def test_many_pages(self) -> None:
        """Likewise when it is more than can be read at once, and goes on meanwhile."""
        self.patch(module, "_PAGE_BYTES", 100)
        one, other = self.node(), self.node()
        other.link.cut()
        for _ in range(50):
            one.speak()
        self.server.settle()
        other.link.mend()
        while self.server.work():
            if len(one.said) < 150:
                one.speak()
        self.assertEqual(other.heard, one.said)
        self.assert_everybody_heard_everything()

    def test_too_much_held(self) -> None:
        """Likewise when more is announced meanwhile than is kept for later."""
        self.patch(news, "_HELD_BYTES", 100)
        self.patch(module, "_PAGE_BYTES", 100)
        one, other = self.node(), self.node()
        other.link.cut()
        for _ in range(20):
            one.speak()
        self.server.settle()
        other.link.mend()
        while self.server.work():
            if len(one.said) < 80:
                one.speak()
        self.assert_everybody_heard_everything()

    def test_missed(self) -> None:
        """What was forgotten before it could be read is missing, and it is said so."""
        one, other = self.node(5), self.node(5)
        one.speak()
        self.server.settle()
        other.link.cut()
        for _ in range(20):
            one.speak()
        self.server.settle()
        last = self.server.redis.xrevrange(LOG, count=1)[0][0]
        self.server.redis.xtrim(LOG, minid=last, approximate=False)
        self.server.redis.hset(META, "trimmed", b"%d-0" % (int(last.split(b"-")[0]) - 1))
        faults = other.history.counts().faults
        self.recover()
        self.assertEqual(other.heard, ["a.0", "a.20"])
        self.assertEqual(other.history.counts().faults, faults + 1)
        one.speak()
        self.server.settle()
        self.assertEqual(other.heard, ["a.0", "a.20", "a.21"])


class LostTests(NodesTestCase):
    """Redis has lost something."""

    def test_everything(self) -> None:
        """When a stream is begun anew, everybody hears what is in it, and nothing of before a second time."""
        one, other = self.node(), self.node()
        one.speak()
        self.server.settle()
        for node in self.nodes:
            node.link.cut()
        self.server.redis.flushall()
        one.speak()
        other.speak()
        self.recover()
        self.assert_everybody_heard_everything()
        other.speak()
        one.speak()
        self.server.settle()
        self.assert_everybody_heard_everything()

    def test_under_way(self) -> None:
        """Likewise when what was delivered had not been answered for, and is sent again."""
        one, other = self.node(), self.node()
        one.speak()
        one.link.cut_commands(taken=1)
        self.server.settle()
        self.assertEqual(other.heard, ["a.0"])
        other.link.cut()
        self.server.redis.flushall()
        self.recover()
        self.assertEqual((one.heard, other.heard), (["a.0"], ["a.0"]))

    def test_while_connected(self) -> None:
        """Likewise when it happens while all are connected."""
        one, other = self.node(), self.node()
        one.speak()
        self.server.settle()
        self.server.redis.flushall()
        other.speak()
        self.server.settle()
        one.speak()
        other.speak()
        self.server.settle()
        self.assert_everybody_heard_everything()

    def test_taken_and_lost(self) -> None:
        """What Redis has taken and lost before it was announced here is heard here all the same, and not twice."""
        one = self.node()
        one.link.cut_hearing()
        one.followed.state = State.READING  # it reads, and does not get an answer
        one.speak()
        self.server.settle()
        one.followed.state = State.FOLLOWING
        self.server.redis.flushall()
        one.link.cut()
        self.recover()
        one.speak()
        self.server.settle()
        self.assertEqual(one.heard, ["a.0", "a.1"])


class JoinTests(NodesTestCase):
    """Who joins when."""

    def test_first_member(self) -> None:
        """The first member on a node gets what was said elsewhere, and from then on hears everything."""
        one = self.node()
        for _ in range(5):
            one.speak()
        self.server.settle()
        other = self.node()
        self.assertEqual(self.replayed(other), one.said)
        one.speak()
        self.server.settle()
        self.assertEqual(other.heard, ["a.5"])

    def test_while_others_speak(self) -> None:
        """At whatever moment the first member of a node joins, replay and what is heard are everything, once."""
        for steps in range(12):
            self.setUp()
            one = self.node()
            for _ in range(3):
                one.speak()
            self.server.settle()
            other = self.node(is_up=False)
            other.history.open()
            reading = Deferred.fromCoroutine(other.remembered())
            for step in range(12):
                one.speak()
                if step == steps:
                    other.say("b.0")
                self.server.work()
            self.server.settle()
            replayed = self.successResultOf(reading)
            self.assertEqual([text for text in replayed + other.heard if text != "b.0"], one.said)

    def test_while_away(self) -> None:
        """Who joins while Redis is away gets what is known here, and later what was said elsewhere since."""
        one, other = self.node(), self.node()
        one.speak()
        self.server.settle()
        self.server.held = True
        other.history._unfollow("example")
        reading = Deferred.fromCoroutine(other.remembered())
        self.assertNoResult(reading)
        other.speak()
        self.clock.advance(0.2)
        self.clock.advance(0.01)
        self.assertEqual(self.successResultOf(reading), [])
        self.assertEqual(other.heard, ["a.0", "b.0"])
        one.speak()
        self.clock.advance(2)
        self.recover()
        self.assertEqual(other.heard.count("b.0"), 1)
        self.assertEqual(other.heard.count("a.1"), 1)
        self.assertEqual(self.replayed(other), self.replayed(one))

    def test_behind(self) -> None:
        """Who joins while Redis is away gets what was said here meanwhile, before and after it returns, once."""
        one = self.node()
        one.speak()
        self.server.settle()
        one.link.cut()
        one.speak()
        self.clock.advance(0.21)
        self.clock.advance(0.01)
        one.history.append("example", [join_of("bob")])
        one.history.append("example", [join_of("bob")])
        expected = ["a.0", "a.1", '{"uid":"bob","channel":"example"}']
        self.assertEqual(self.replayed(one), expected)
        count = Deferred.fromCoroutine(read_all(one.history.replay("example", "zoe", 1, ())))
        self.assertEqual(self.successResultOf(count), ["a.1"])
        self.recover()
        self.assertEqual(self.replayed(one), expected)

    def test_before_the_link(self) -> None:
        """Who joins before the first connection is there hears what is said from then on, also without a history."""
        self.patch(module, "_MARGIN_SECONDS", 60.0)  # Redis in memory has the time of this machine, and takes some
        one = self.node()
        one.speak()
        self.server.settle()
        other = self.node(is_up=False)
        reading = Deferred.fromCoroutine(read_all(other.history.replay("example", "zoe", 0, ())))
        one.speak()
        self.server.settle()
        other.history.open()
        self.server.settle()
        one.speak()
        self.server.settle()
        self.assertEqual(self.successResultOf(reading), [])
        # What was said just before may come as well: the clocks are not compared that closely.
        self.assertEqual([text for text in other.heard if text != "a.0"], ["a.1", "a.2"])

    def test_no_redis_ever(self) -> None:
        """A node that has never seen a Redis serves its own members, and catches up when there is one."""
        one = self.node()
        one.speak()
        self.server.settle()
        other = self.node(is_up=False)
        reading = Deferred.fromCoroutine(other.remembered())
        other.speak()
        self.clock.advance(0.2)
        self.clock.advance(0.01)
        self.assertEqual((self.successResultOf(reading), other.heard), ([], ["b.0"]))
        self.recover()
        one.speak()
        self.server.settle()
        self.assertEqual(one.heard, ["a.0", "b.0", "a.1"])
        self.assertEqual(self.replayed(other), self.replayed(one))

    def test_cannot_be_read(self) -> None:
        """A channel whose keys are somebody else's still works on each node, and the fault is logged."""
        self.server.redis.set(META, "mine")
        one = self.node()
        self.assertEqual(self.replayed(one), [])
        one.speak()
        self.server.settle()
        self.assertEqual(one.heard, ["a.0"])
        self.assertGreater(len(self.flushLoggedErrors()), 0)


class MemoryTests(NodesTestCase):
    """What is remembered here is a copy."""

    def test_forgotten(self) -> None:
        """What takes too much memory is dropped here, and read again when somebody joins."""
        one = self.node(total_bytes=20_000)
        for number in range(30):
            one.say(f"a.{number}")
            self.server.settle()
            other = f"channel {number}"
            one.history.append(other, [join_of("x" * 500)])
            self.server.settle()
        self.assertLess(one.history._memory, 20_000)
        self.assertEqual(self.replayed(one), one.said)
        self.assertEqual(one.heard, one.said)

    def test_goes_on_while_it_is_read_again(self) -> None:
        """What is said while it is read again comes behind it."""
        one, other = self.node(), self.node()
        for _ in range(5):
            one.speak()
        self.server.settle()
        other.followed.forget()
        reading = Deferred.fromCoroutine(other.remembered())
        one.speak()
        other.speak()
        self.server.settle()
        self.assertEqual(self.successResultOf(reading), ["a.0", "a.1", "a.2", "a.3", "a.4"])
        self.assert_everybody_heard_everything()

    def test_forgotten_while_it_is_read_on(self) -> None:
        """Who joins a channel that is being read on, and was dropped here, gets what was said, and then hears it."""
        self.patch(module, "_PAGE_BYTES", 60)
        for steps, is_cut in product(range(8), (False, True)):
            self.setUp()
            one, other = self.node(), self.node()
            for _ in range(3):
                one.speak()
            self.server.settle()
            other.link.cut_hearing()
            for _ in range(5):
                one.speak()
            self.server.settle()
            other.link.mend_hearing()
            while other.followed.state is State.FOLLOWING:
                self.server.work()
            for _ in range(steps):
                self.server.work()
            other.followed.forget()
            reading, known = Deferred.fromCoroutine(other.remembered()), len(other.heard)
            one.speak()
            other.speak()
            self.server.work()
            if is_cut:
                other.link.cut_commands()
                other.link.mend()
            self.server.settle()
            self.assertEqual(self.successResultOf(reading), one.said[:known], f"{steps=} {is_cut=}")
            self.assert_everybody_heard_everything()

    def test_limit(self) -> None:
        """Only as much is read as is remembered."""
        self.patch(module, "_PAGE_BYTES", 60)
        one = self.node(10)
        for _ in range(50):
            one.speak()
        self.server.settle()
        other = self.node(10)
        self.assertEqual(self.replayed(other), one.said[-10:])
        self.assertEqual(self.replayed(one), one.said[-10:])
