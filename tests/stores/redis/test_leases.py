"""Tests of which node's member has a uid."""

from itertools import product

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mles_tx.channels.claims import IClaims, IHolders
from mles_tx.protocol.closing import CloseReason
from mles_tx.stores.redis import leases
from mles_tx.stores.redis.history import RedisHistory
from mles_tx.stores.redis.keys import channel_keys, node_key
from tests.stores.contract import Listener

from .fakes import FakeLink, FakeServer

A = ("example", "alice")


@implementer(IHolders)
class _Members:
    """The members of a node: who has joined, and whether it is alive."""

    def __init__(self, history: RedisHistory) -> None:
        self.history = history
        self.alive: dict[tuple[str, str], bool] = {}
        self.expelled: list[tuple[str, CloseReason]] = []
        self.asked = 0
        self.answers: list[Deferred[bool]] | None = None  # given later

    def challenge(self, channel: str, uid: str) -> "Deferred[bool]":
        self.asked += 1
        if self.answers is not None:
            self.answers.append(Deferred())
            return self.answers[-1]
        alive = self.alive.get((channel, uid), False)
        if not alive:
            self.leave(channel, uid)
        return succeed(alive)

    def expel(self, channel: str, uid: str, reason: CloseReason) -> None:
        self.expelled.append((uid, reason))
        self.leave(channel, uid)

    def leave(self, channel: str, uid: str) -> None:
        if self.alive.pop((channel, uid), None) is not None:
            self.history.release(channel, uid)


class LeaseTests(SynchronousTestCase):
    """Two nodes and a Redis."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = FakeServer()
        self.one, self.other = self.node("a"), self.node("b")

    def node(self, name: str) -> _Members:
        link = FakeLink(self.server, name, self.clock)
        history = RedisHistory(self.clock, link, name, "redis://test", 0, 200)
        history.start(Listener())
        members = _Members(history)
        history.attach(members)
        history.open()
        self.links = [*getattr(self, "links", []), link]
        self.server.settle()
        return members

    def ask(self, members: _Members, key: tuple[str, str] = A) -> "Deferred[bool]":
        """Somebody wants to join; it does so when it may."""
        claiming = members.history.claim(*key)

        def decided(is_ours: bool) -> bool:
            if is_ours:
                members.alive[key] = True
            else:
                members.history.release(*key)
            return is_ours

        return claiming.addCallback(decided)

    def join(self, members: _Members, key: tuple[str, str] = A) -> bool:
        """Likewise, and it is decided."""
        claiming = self.ask(members, key)
        self.server.settle()
        return self.successResultOf(claiming)

    @property
    def holders(self) -> dict[bytes, bytes]:
        """What stands in Redis: uid and node."""
        found = self.server.redis.hgetall(*channel_keys("example", "uids"))
        return {uid: holder.split()[0] for uid, holder in found.items()}

    def test_interface(self) -> None:
        """The store can be asked for uids."""
        self.assertTrue(IClaims.providedBy(self.one.history))

    def test_taken(self) -> None:
        """A living member keeps its uid on all nodes, until it leaves; other uids and channels are free."""
        self.assertTrue(self.join(self.one))
        self.assertFalse(self.join(self.other))
        self.assertTrue(self.join(self.other, ("other", "alice")))
        self.assertTrue(self.join(self.other, ("example", "bob")))
        self.assertEqual(self.holders, {b"alice": b"a", b"bob": b"b"})
        self.one.leave(*A)
        self.server.settle()
        self.assertTrue(self.join(self.other))
        self.assertEqual(self.holders, {b"alice": b"b", b"bob": b"b"})

    def test_silent(self) -> None:
        """A member of another node that gives no sign of life is replaced."""
        self.assertTrue(self.join(self.one))
        self.one.alive[A] = False
        self.assertTrue(self.join(self.other))
        self.assertEqual((self.one.asked, self.one.alive, self.holders), (1, {}, {b"alice": b"b"}))

    def test_dead_node(self) -> None:
        """The members of a node that has died lose their uids as soon as it is known to be dead."""
        self.assertTrue(self.join(self.one))
        self.links[0].cut()
        self.server.redis.delete(node_key("a"))
        self.assertTrue(self.join(self.other))
        self.assertEqual(self.one.asked, 0)

    def test_deaf_node(self) -> None:
        """A node that lives and cannot be asked keeps its members for four seconds, and learns what has become."""
        self.assertTrue(self.join(self.one))
        self.links[0].cut_hearing()
        claiming = self.ask(self.other)
        for _ in range(7):
            self.server.settle()
            self.assertNoResult(claiming)
            self.clock.advance(0.5)
        for _ in range(3):
            self.server.settle()
            self.clock.advance(0.5)
        self.assertTrue(self.successResultOf(claiming))
        self.assertEqual(self.one.expelled, [])
        self.links[0].mend()
        self.server.settle()
        self.assertEqual(self.one.expelled, [("alice", CloseReason.UID_TAKEN)])
        self.assertEqual(self.holders, {b"alice": b"b"})

    def test_no_answer(self) -> None:
        """A node that hears and does not answer loses the uid after four seconds, and lets its member go."""
        self.assertTrue(self.join(self.one))
        self.one.answers = []
        claiming = self.ask(self.other)
        self.server.settle()
        self.clock.advance(3.9)
        self.assertNoResult(claiming)
        self.clock.advance(0.2)
        self.server.settle()
        self.assertTrue(self.successResultOf(claiming))
        self.assertEqual(self.one.expelled, [("alice", CloseReason.REPLACED)])
        self.assertEqual(self.holders, {b"alice": b"b"})

    def test_while_away(self) -> None:
        """While Redis is away each node decides for itself; when it returns, who had the uid first keeps it."""
        self.assertTrue(self.join(self.one))
        for link in self.links:
            link.cut()
        claiming = self.ask(self.other)
        self.assertTrue(self.successResultOf(claiming))
        for link in reversed(self.links):
            link.mend()
            self.server.settle()
        self.clock.advance(0.5)
        self.server.settle()
        self.assertEqual((self.one.expelled, self.other.expelled), ([], [("alice", CloseReason.UID_TAKEN)]))
        self.assertEqual(self.holders, {b"alice": b"a"})

    def test_moved_while_away(self) -> None:
        """A phone that went to another node while Redis was away keeps its uid there."""
        self.assertTrue(self.join(self.one))
        for link in self.links:
            link.cut()
        self.assertTrue(self.successResultOf(self.ask(self.other)))
        self.one.alive[A] = False
        for link in self.links:
            link.mend()
            self.server.settle()
        self.assertEqual((self.one.alive, self.other.expelled), ({}, []))
        self.assertEqual(self.holders, {b"alice": b"b"})

    def test_lost(self) -> None:
        """When Redis has lost everything, each member has its uid again as soon as it is there."""
        self.assertTrue(self.join(self.one))
        for link in self.links:
            link.cut()
        self.server.redis.flushall()
        for link in self.links:
            link.mend()
        self.server.settle()
        self.assertEqual(self.holders, {b"alice": b"a"})
        self.assertFalse(self.join(self.other))

    def test_forgotten(self) -> None:
        """What Redis forgets of those who are there it is told again in time, some of them at each sweep, in turn."""
        self.patch(leases, "_NEXT", 2)
        uids = [f"u{number}" for number in range(5)]
        for uid in uids:
            self.assertTrue(self.join(self.one, ("example", uid)))
        (key,) = channel_keys("example", "uids")
        self.server.redis.expire(key, 60)
        self.one.history.sweep()
        self.server.settle()
        self.assertGreater(self.server.redis.ttl(key), 60)
        self.server.redis.delete(key)
        for count in (2, 4, 5, 5):
            self.one.history.sweep()
            self.server.settle()
            self.assertEqual(len(self.holders), count)
        self.assertFalse(self.join(self.other, ("example", "u3")))
        self.assertEqual(self.one.expelled, [])

    def test_given_twice(self) -> None:
        """Of two who have a uid, because Redis had forgotten the first of them, one keeps it from the next sweep on."""
        self.assertTrue(self.join(self.one))
        self.server.redis.flushall()
        for link in self.links:
            self.server.redis.set(node_key(link.node), 1)
        self.assertTrue(self.join(self.other))
        for members in (self.one, self.other) * 2:
            members.history.sweep()
            self.server.settle()
        self.assertEqual((self.one.expelled, self.other.expelled), ([("alice", CloseReason.UID_TAKEN)], []))
        self.assertEqual(self.holders, {b"alice": b"b"})

    def test_not_swept(self) -> None:
        """While nobody can be asked, or an answer would not be heard, a sweep asks nothing."""
        self.assertTrue(self.join(self.one))
        self.server.redis.delete(*channel_keys("example", "uids"))
        self.links[0].cut_hearing()
        self.one.history.sweep()
        self.server.settle()
        self.assertEqual(self.holders, {})
        self.links[0].cut_commands()
        self.one.history.sweep()
        self.links[0].mend()
        self.server.settle()
        self.assertEqual(self.holders, {b"alice": b"a"})

    def test_stopped(self) -> None:
        """When Redis stops answering, who waits for it is let in after a fifth of a second."""
        self.server.held = True
        claiming = self.ask(self.one)
        self.clock.advance(0.2)
        self.clock.advance(0.01)
        self.assertTrue(self.successResultOf(claiming))
        self.server.held = False
        self.server.settle()
        self.clock.advance(0.25)
        self.server.settle()
        self.assertEqual(self.holders, {b"alice": b"a"})
        self.assertFalse(self.join(self.other))

    def test_gone_while_it_waits(self) -> None:
        """Who goes before it is decided leaves nothing in Redis."""
        claiming = self.one.history.claim(*A)
        claiming.addErrback(lambda _: None)
        claiming.cancel()
        self.one.history.release(*A)
        self.server.settle()
        self.assertEqual(self.holders, {})

    def test_gone_while_it_looks_again(self) -> None:
        """Who goes before it is decided takes the uid from nobody, also when somebody on the same node has it then."""
        self.assertTrue(self.join(self.other))
        self.links[1].cut_hearing()
        self.ask(self.one)
        self.server.settle()
        self.one.history.release(*A)
        self.other.leave(*A)
        self.server.settle()
        self.assertTrue(self.join(self.one))
        self.clock.advance(0.5)
        self.server.settle()
        self.assertEqual((self.one.expelled, self.holders), ([], {b"alice": b"a"}))

    def test_gone_while_it_asks(self) -> None:
        """Who goes while the holder's node gives no answer takes the uid from nobody."""
        self.assertTrue(self.join(self.other))
        self.other.answers = []
        self.ask(self.one)
        self.server.settle()
        self.one.history.release(*A)
        self.clock.advance(4)
        self.server.settle()
        self.assertEqual((self.other.expelled, self.holders), ([], {b"alice": b"b"}))

    def test_two_on_one_node(self) -> None:
        """Two members of one node share what it has claimed; it is given back with the last."""
        self.assertTrue(self.join(self.one))
        again = self.one.history.claim(*A)
        self.assertTrue(self.successResultOf(again))
        self.one.history.release(*A)
        self.server.settle()
        self.assertEqual(self.holders, {b"alice": b"a"})
        self.one.leave(*A)
        self.server.settle()
        self.assertEqual(self.holders, {})

    def test_left_behind(self) -> None:
        """What a node could not give back, because Redis was away, holds nobody up."""
        self.assertTrue(self.join(self.one))
        self.links[0].cut()
        self.one.leave(*A)
        self.links[0].mend()
        self.server.settle()
        self.assertTrue(self.join(self.other))

    def test_nonsense(self) -> None:
        """What is announced to a node and makes no sense is logged, and nothing else."""
        infinite = b'{"ask": 1e999, "from": "b", "channel": "example", "uid": "alice"}'
        lists = b'{"ask": 1, "from": "b", "channel": [], "uid": {}}'
        others = (infinite, lists, b'{"answer": []}', b"[" * 100_000)
        for data in (b"", b"{", b"[]", b"1", b'{"ask": 1}', b'{"answer": 99, "alive": true}', b'{"taken": 1}', *others):
            self.server.redis.publish(self.links[0].own_announcements, data)
        self.server.settle()
        self.assertTrue(self.join(self.one))

    def test_end(self) -> None:
        """A node that ends leaves at once, and with it all it has."""
        self.assertTrue(self.join(self.one))
        for members in (self.one, self.other):
            closing = members.history.close()
            self.server.settle()
            self.successResultOf(closing)
            if members is self.one:
                self.assertTrue(self.join(self.other))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end_while_it_asks(self) -> None:
        """A node that ends while it asks for a uid leaves no timer, and lets go who waits for the answer."""
        for steps, is_held in product(range(6), (False, True)):
            self.setUp()
            self.assertTrue(self.join(self.one))
            self.one.answers = []
            claiming = self.ask(self.other)
            for _ in range(steps):
                self.server.work()
            self.server.held = is_held
            for members in (self.other, self.one):
                closing = members.history.close()
                self.server.settle()
                self.clock.advance(3 * self.server.held)
                self.successResultOf(closing)
                self.server.held = False
            self.assertTrue(self.successResultOf(claiming))
            self.assertEqual(self.clock.getDelayedCalls(), [])
