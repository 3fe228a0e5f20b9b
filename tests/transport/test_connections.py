"""All connections together: what the operator changes, and the end."""

from dataclasses import replace
from typing import Any

from mles_tx.protocol.auth import auth_value
from mles_tx.protocol.closing import CloseReason
from mles_tx.transport.connection import MlesConnection, Settings
from mles_tx.transport.origins import ListedOrigins, pages_of_this_machine
from tests.wire import Frame, client_frame, header, upgrade

from .peers import ConnectionTestCase, Peer


class ChangeTests(ConnectionTestCase):
    """What the operator changes while members are there."""

    settings = Settings(keys=(b"old",), rate_limit=100)

    def change(self, **fields: Any) -> None:
        """Settings that are different in something."""
        self.factory.change(replace(self.factory.settings, **fields))

    def enter(self, uid: str, key: bytes) -> Peer:
        """Somebody who wants to join with a key."""
        peer = self.open()
        peer.receive(header(uid, auth=auth_value(uid, "example", key), history=0))
        return peer

    def members(self) -> set[str]:
        """Who is there."""
        return {member.uid for member in self.registry.members}

    def test_keys(self) -> None:
        """Another key lets in from now on, the old one no more, and who is in stays in."""
        self.enter("alice", b"old")
        waiting = self.open()
        self.change(keys=(b"new", b"old"))
        self.enter("bob", b"old")
        self.enter("carol", b"new")
        self.change(keys=(b"new",))
        self.assertClosed(self.enter("dave", b"old"), CloseReason.AUTH_WRONG)
        waiting.receive(header("eve", auth=auth_value("eve", "example", b"old")))
        self.assertClosed(waiting, CloseReason.AUTH_WRONG)
        self.assertEqual(self.members(), {"alice", "bob", "carol"})

    def test_rate(self) -> None:
        """Another rate is that of everybody, also of those who are there."""
        alice = self.enter("alice", b"old")
        self.change(rate_limit=10)
        alice.receive(client_frame(1, b"x") * 60)
        self.assertEqual("paused", alice.producerState)
        self.clock.advance(1.1)
        self.assertEqual("producing", alice.producerState)

    def test_slowed_down(self) -> None:
        """Who has to wait under the old rate, perhaps for minutes, is read again when there is another."""
        for rate in (9999, 0):
            alice = self.enter("alice", b"old")
            alice.receive(client_frame(1, b"x") * 5000)
            self.assertEqual("paused", alice.producerState)
            self.change(rate_limit=rate)
            self.clock.advance(0)
            self.assertEqual("producing", alice.producerState)
            alice.receive(client_frame(1, b"x") * 5000)
            self.assertEqual("producing", alice.producerState)
            self.change(rate_limit=100)
            alice.hang_up()

    def test_same_rate(self) -> None:
        """A change of something else lets nobody off."""
        alice = self.enter("alice", b"old")
        alice.receive(client_frame(1, b"x") * 700)
        self.change(max_missed_pongs=1, keys=(b"new",))
        self.clock.advance(1.9)
        self.assertEqual("paused", alice.producerState)

    def test_pings(self) -> None:
        """Another interval and another number of pings are those of everybody."""
        alice = self.enter("alice", b"old")
        self.change(ping_interval=1.0, max_missed_pongs=1)
        self.clock.pump([0.125] * 10)
        self.assertEqual([Frame(9, b"")], alice.frames())
        self.clock.pump([0.125] * 10)
        self.assertClosed(alice, CloseReason.PING_TIMEOUT)

    def test_origins(self) -> None:
        """Other origins are those of the next upgrade."""
        self.change(origin_allowed=pages_of_this_machine)
        self.assertIn(b"403", self.refused("https://example.org"))
        self.change(origin_allowed=ListedOrigins(["https://example.org"]))
        peer = self.connect()
        peer.receive(upgrade("Origin: https://example.org"))
        self.assertIn(b"101", peer.taken()[:20])

    def refused(self, origin: str) -> bytes:
        """The answer to an upgrade."""
        peer = self.connect()
        peer.receive(upgrade(f"Origin: {origin}"))
        return peer.taken()


class DrainTests(ConnectionTestCase):
    """The server ends."""

    def test_drain(self) -> None:
        """Everybody gets what was said, then 1001; when they have gone the drain is over."""
        alice, bob, stranger = self.join("alice"), self.join("bob"), self.connect()
        alice.receive(client_frame(1, b"hello"))
        done = self.factory.close_all(CloseReason.SERVER_STOPPING)
        self.assertEqual([Frame(1, b"hello"), Frame(8, b"\x03\xe9server is stopping")], bob.frames())
        self.assertTrue(stranger.aborted)
        self.assertNoResult(done)
        alice.hang_up()
        bob.hang_up()
        self.successResultOf(done)

    def test_nobody_there(self) -> None:
        """An empty server is drained at once."""
        self.successResultOf(self.factory.close_all(CloseReason.SERVER_STOPPING))

    def test_those_who_do_not_answer(self) -> None:
        """Who does not answer the close frame is cut off after five seconds."""
        self.join("alice")
        done = self.factory.close_all(CloseReason.SERVER_STOPPING)
        self.clock.advance(5)
        self.successResultOf(done)

    def assert_no_timer(self) -> None:
        """Once it has stopped nothing is left to run."""
        self.factory.stop()
        self.registry.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def told(self, members: list[Peer]) -> list[Peer]:
        """Those of some members who have just been told to come back; they hang up."""
        told = [peer for peer in members if peer.connection.state == MlesConnection.STATE_CLOSING]
        for peer in told:
            self.assertClosed(peer, CloseReason.SERVER_RESTARTING)
            peer.hang_up()
            members.remove(peer)
        return told

    def test_spread(self) -> None:
        """Spread over a while everybody is told in turn, and hears and says what there is until then."""
        left = [self.join(uid, history=0) for uid in ("alice", "bob", "carol", "dave")]
        done = self.factory.close_all(CloseReason.SERVER_RESTARTING, 8)
        self.assertEqual(len(self.told(left)), 1)
        speaker = left[0]
        speaker.receive(client_frame(1, b"still here"))
        self.end_turn()
        self.assertEqual([peer.messages() for peer in left[1:]], [[b"still here"]] * 2)
        self.clock.advance(1.9)
        self.assertEqual(self.told(left), [])
        for number in (2, 1, 0):
            self.clock.advance(2)
            self.assertEqual((len(self.told(left)), len(left)), (1, number))
        self.successResultOf(done)
        self.assert_no_timer()

    def test_spread_last_words(self) -> None:
        """What is said in the turn in which a member is told still reaches it before."""
        left = [self.join(uid, history=0) for uid in ("alice", "bob")]
        self.factory.close_all(CloseReason.SERVER_RESTARTING, 8)
        self.told(left)
        last = left[0]
        self.join("carol", history=0).receive(client_frame(1, b"last words"))
        last.taken()
        self.factory.close_rest()
        self.assertEqual([b"last words"], [frame.payload for frame in last.frames() if frame.opcode == 1])

    def test_spread_and_everybody_leaves(self) -> None:
        """When the members leave by themselves it is over at once, and no timer is left."""
        members = [self.join(uid) for uid in ("alice", "bob", "carol")]
        done = self.factory.close_all(CloseReason.SERVER_RESTARTING, 3600)
        for member in members:
            self.assertNoResult(done)
            member.hang_up()
        self.successResultOf(done)
        self.assert_no_timer()

    def test_close_rest(self) -> None:
        """Who does not want to wait tells all the others at once; without a drain there is nobody to tell."""
        self.factory.close_rest()
        left = [self.join(uid) for uid in ("alice", "bob", "carol")]
        self.factory.close_rest()
        self.assertEqual(self.told(left), [])
        done = self.factory.close_all(CloseReason.SERVER_RESTARTING, 3600)
        self.assertEqual(len(self.told(left)), 1)
        self.factory.close_rest()
        self.assertEqual(len(self.told(left)), 2)
        self.successResultOf(done)
        self.factory.close_rest()

    def test_no_timer_left(self) -> None:
        """Nothing is left to run once it has stopped."""
        self.join("alice")
        self.open()
        self.join("bob")
        self.factory.close_all(CloseReason.SERVER_STOPPING, 60)
        self.factory.abort_all()
        self.assert_no_timer()
