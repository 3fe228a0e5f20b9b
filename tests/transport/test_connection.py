"""Members: joining, the rate, pings, one uid twice, those that do not read."""

import gc
import json
import re
import weakref
from dataclasses import replace
from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from mles_tx.channels.history import IReplay, MemoryHistory
from mles_tx.channels.member import IMember
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.protocol.auth import auth_value
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.extensions import CAUGHT_UP, parse_extensions
from mles_tx.transport.connection import PROBE_SECONDS, MlesConnection, Settings
from mles_tx.transport.connections import MlesFactory
from tests.channels.fakes import LateReplay
from tests.wire import Frame, client_frame, close_of, header, read_frames, upgrade

from .peers import ConnectionTestCase


class FirstFrameTests(ConnectionTestCase):
    """Joining."""

    def test_member(self) -> None:
        """A connection is a member as its channel knows it."""
        verifyObject(IMember, self.open().connection)

    def test_exchange(self) -> None:
        """What a member says reaches the others with type and payload, and not itself."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(1, "grüße".encode()) + client_frame(2, b"\x00\xff"))
        self.end_turn()
        self.assertEqual([Frame(1, "grüße".encode()), Frame(2, b"\x00\xff")], bob.frames())
        self.assertEqual([], alice.frames())

    def test_byte_by_byte(self) -> None:
        """However a peer's bytes are cut, the result is the same."""
        alice, bob = self.connect(), self.join("bob")
        alice.receive_by_byte(upgrade() + header("alice") + client_frame(1, b"hello"))
        self.end_turn()
        self.assertEqual([b"hello"], bob.messages())

    def test_all_at_once(self) -> None:
        """A client that sends its first messages together with the upgrade is understood."""
        alice, bob = self.connect(), self.join("bob")
        alice.receive(upgrade() + header("alice") + client_frame(1, b"hello"))
        self.end_turn()
        self.assertEqual([b"hello"], bob.messages())

    def test_history(self) -> None:
        """Who joins later gets the join frames of the others and what was said, without auth."""
        alice = self.join("alice", auth=auth_value("alice", "example"))
        alice.receive(client_frame(1, b"one") + client_frame(2, b"two"))
        self.end_turn()
        bob = self.open()
        bob.receive(header("bob"))
        join, *rest = bob.frames()
        self.assertEqual({"uid": "alice", "channel": "example"}, json.loads(join.payload))
        self.assertEqual([Frame(1, b"one"), Frame(2, b"two")], rest)

    def test_refusals(self) -> None:
        """A first frame that breaks a rule is answered at once with the reason."""
        cases: list[tuple[bytes, CloseReason]] = [
            (client_frame(2, b"{}"), CloseReason.HEADER_NOT_TEXT),
            (client_frame(1, b"hello"), CloseReason.HEADER_NOT_JSON),
            (client_frame(1, b"{}"), CloseReason.HEADER_UID),
            (header("alice", ""), CloseReason.HEADER_CHANNEL),
            (header("alice", auth="0"), CloseReason.AUTH_WRONG),
            (header("alice", since="x"), CloseReason.HEADER_SINCE),
            (client_frame(1, b" " * 16385), CloseReason.HEADER_TOO_LARGE),
            (client_frame(1, b"\xff"), CloseReason.INVALID_UTF8),
            (client_frame(1, b"{}", masked=False), CloseReason.PROTOCOL_ERROR),
        ]
        for frame, reason in cases:
            peer = self.open()
            peer.receive(frame)
            self.assertClosed(peer, reason)
            peer.receive(client_frame(8, reason.code.to_bytes(2, "big")))
            self.assertTrue(peer.finished, reason)
        self.assertEqual([], list(self.registry.members))

    def test_no_first_frame(self) -> None:
        """A connection that says nothing is closed after 30 seconds, and cut off five later."""
        peer = self.open()
        self.clock.advance(29.9)
        self.assertEqual([], peer.frames())
        self.clock.advance(0.2)
        self.assertClosed(peer, CloseReason.NO_HEADER)
        self.clock.advance(5)
        self.assertTrue(peer.aborted)

    def test_ping_before_the_first_frame(self) -> None:
        """A ping before the first frame is answered, and does not count as one."""
        peer = self.open()
        peer.receive(client_frame(9, b"are you there"))
        self.assertEqual([Frame(10, b"are you there")], peer.frames())
        peer.receive(header("alice"))
        self.assertEqual(["alice"], [member.uid for member in self.registry.members])

    def test_publish_only(self) -> None:
        """A member that asked to receive nothing gets neither history nor messages, but may speak."""
        alice, bob = self.join("alice"), self.join("bob", receive=False)
        alice.receive(client_frame(1, b"one"))
        bob.receive(client_frame(1, b"two"))
        self.end_turn()
        self.assertEqual([b"two"], alice.messages())
        self.assertEqual([], bob.frames())

    def test_no_room(self) -> None:
        """Who would open one channel too many is told so at once, and reaches nobody."""
        self.registry = ChannelRegistry(self.clock, MemoryHistory(self.clock, limit=200), max_channels=1)
        self.factory = MlesFactory(self.clock, self.registry, self.settings)
        alice, bob = self.join("alice"), self.open()
        bob.receive(header("bob", "another") + client_frame(1, b"hello"))
        self.assertClosed(bob, CloseReason.SERVER_FULL)
        self.end_turn()
        self.assertEqual([alice.connection], list(self.registry.members))
        self.assertEqual(0, self.factory.metrics.total_messages_received)

    def test_a_fault_of_ours(self) -> None:
        """When the server itself cannot take somebody in, it says no more than that, and nobody is left half joined."""

        def broken(*args: object) -> IReplay:
            raise OSError(5, "private matters")

        self.patch(MemoryHistory, "replay", broken)
        alice = self.open()
        alice.receive(header("alice") + client_frame(1, b"hello"))
        self.assertEqual(1, len(self.flushLoggedErrors(OSError)))
        self.assertClosed(alice, CloseReason.INTERNAL_ERROR)
        self.assertEqual(([], 0), (list(self.registry.members), self.factory.metrics.total_messages_received))


class GarbageTests(ConnectionTestCase):
    """What a connection leaves behind."""

    def test_nothing_to_look_for(self) -> None:
        """A connection that is gone is gone at once: Python need not look for it among all that is in use, which took a
        thirtieth of a join."""
        gc.disable()
        self.addCleanup(gc.enable)
        for how in ("lost", "left", "refused", "slow"):
            peer = self.join("alice", channel=how) if how != "refused" else self.open()
            if how == "left":
                peer.receive(client_frame(8, b"\x03\xe8"))
            elif how == "refused":
                peer.receive(header("", ""))
            elif how == "slow":
                peer.full = True
                peer.connection.write(b"waits")
                peer.connection.write(b"behind it")
            connection = weakref.ref(peer.connection)
            peer.hang_up()
            del peer.protocol, peer.connection  # as Twisted's transports do
            self.assertIsNone(connection(), how)


class LogTests(ConnectionTestCase):
    """One line when a member joins, and one when it leaves."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []

        def observe(event: LogEvent) -> None:
            if event["log_namespace"] == MlesConnection.__module__ + ".MlesConnection":
                self.events.append(event)

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def test_lines(self) -> None:
        """They say who, where, why, for how long and how much, as text and as fields."""
        self.clock.advance(100)
        alice = self.join("alice", "a {b} channel")
        self.clock.advance(2.25)
        alice.receive(client_frame(1, b"hello"))
        alice.receive(client_frame(8, b"\x03\xe8"))
        alice.hang_up()
        joined, left = self.events
        serial = alice.connection.serial
        size = len(
            upgrade() + header("alice", "a {b} channel") + client_frame(1, b"hello") + client_frame(8, b"\x03\xe8")
        )
        self.assertEqual(f"joined: uid alice, channel a {{b}} channel, member {serial}", formatEvent(joined))
        self.assertEqual(
            f"left: uid alice, channel a {{b}} channel, member {serial}: left after 2.2 s, {size} bytes received",
            formatEvent(left),
        )
        who = {"uid": "alice", "channel": "a {b} channel", "serial": serial}
        self.assertEqual(who, {name: joined[name] for name in who})
        found = {**who, "reason": "left", "seconds": 2.25, "received_bytes": size}
        self.assertEqual(found, {name: left[name] for name in found})
        self.assertEqual((None, None), (joined["address"], left["address"]))
        self.assertEqual(["info", "info"], [event["log_level"].name for event in self.events])

    def test_address(self) -> None:
        """So is the client's address, where it is known."""
        alice = self.open()
        alice.connection.address = "2001:db8::7"
        alice.receive(header("alice"))
        alice.hang_up()
        joined, left = self.events
        self.assertTrue(formatEvent(joined).endswith(f", member {alice.connection.serial}, from 2001:db8::7"))
        self.assertEqual((joined["address"], left["address"]), ("2001:db8::7", "2001:db8::7"))

    def test_why(self) -> None:
        """Each reason has its own word, and who never joined is not mentioned."""
        alice, bob, stranger = self.join("alice"), self.join("bob"), self.open()
        stranger.hang_up()
        alice.hang_up()
        bob.receive(client_frame(3))
        reasons = [event["reason"] for event in self.events if "reason" in event]
        self.assertEqual([CloseReason.CONNECTION_LOST.label, CloseReason.PROTOCOL_ERROR.label], reasons)

    def test_long_names(self) -> None:
        """Of long names the beginning is shown, in the line and in the fields."""
        self.join("u" * 1000, "c" * 1000).hang_up()
        for event in self.events:
            self.assertEqual(("u" * 64, "c" * 64), (event["uid"], event["channel"]))
            self.assertIn(f"uid {'u' * 64}, channel {'c' * 64}, member", formatEvent(event))
        self.assertEqual(2, len(self.events))

    def test_secrets(self) -> None:
        """Nothing of what was said, or proves who somebody is, is in them."""
        auth = auth_value("alice", "example")
        alice = self.join("alice", auth=auth)
        alice.receive(client_frame(1, b"private matters") * 2 + client_frame(2, b"private matters" * 400))
        alice.hang_up()
        self.assertEqual(2, len(self.events))
        for event in self.events:
            self.assertNotRegex(repr(event), f"private|{auth}")


class KeyTests(ConnectionTestCase):
    """A server with a key."""

    settings = Settings(keys=(b"s3cret",))

    def test_key(self) -> None:
        """Only who knows the key joins."""
        cases: list[tuple[dict[str, Any], CloseReason | None]] = [
            ({"auth": "2446b8f3f28ff385"}, None),
            ({}, CloseReason.AUTH_REQUIRED),
            ({"auth": None}, CloseReason.AUTH_REQUIRED),
            ({"auth": "9b3b95527f7c2d80"}, CloseReason.AUTH_WRONG),
            ({"auth": "+446b8f3f28ff385"}, CloseReason.HEADER_AUTH),
        ]
        for more, reason in cases:
            peer = self.open()
            peer.receive(header("alice", **more))
            if reason is None:
                self.assertEqual(["alice"], [member.uid for member in self.registry.members])
                peer.hang_up()
            else:
                self.assertClosed(peer, reason)


class RateTests(ConnectionTestCase):
    """How fast a member is read."""

    def test_burst(self) -> None:
        """Five hundred messages at once all arrive, and the sender is read on."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(1, b"x") * 500)
        self.end_turn()
        self.assertEqual(500, len(bob.messages()))
        self.assertEqual("producing", alice.producerState)

    def test_rate(self) -> None:
        """Who sends more than the rate is read more slowly, and loses nothing."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(1, b"x") * 700)
        self.end_turn()
        self.assertEqual(700, len(bob.messages()))
        self.assertEqual("paused", alice.producerState)
        self.clock.advance(1.9)
        self.assertEqual("paused", alice.producerState)
        self.clock.advance(0.2)
        self.assertEqual("producing", alice.producerState)

    def test_rate_and_tls(self) -> None:
        """What was read already when a sender is slowed down is taken all the same, and waited for."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(1, b"x") * 600)
        alice.receive(client_frame(1, b"x") * 100)
        self.end_turn()
        self.assertEqual(700, len(bob.messages()))
        self.clock.advance(1.5)
        self.assertEqual("paused", alice.producerState)
        self.clock.advance(0.6)
        self.assertEqual("producing", alice.producerState)

    def test_pings_count(self) -> None:
        """Pings count like messages for the rate, since to answer one is as much work, but are no messages."""
        alice = self.join("alice")
        alice.receive(client_frame(9, b"x") * 700)
        self.assertEqual("paused", alice.producerState)
        self.assertEqual(0, self.factory.metrics.total_messages_received)
        self.clock.advance(2.1)
        self.assertEqual("producing", alice.producerState)

    def test_pongs_count(self) -> None:
        """So do pongs nobody has asked for."""
        alice = self.join("alice")
        alice.receive(client_frame(10, b"x") * 700)
        self.assertEqual("paused", alice.producerState)
        self.clock.advance(2.1)
        self.assertEqual("producing", alice.producerState)
        self.assertEqual(0, self.factory.metrics.total_messages_received)

    def test_large_fragments(self) -> None:
        """A large message in pieces is one message."""
        alice = self.join("alice")
        piece = b"x" * 1024
        for _ in range(3):
            alice.receive(client_frame(1, piece, final=False) + client_frame(0, piece, final=False) * 998)
            alice.receive(client_frame(0, piece))
            self.end_turn()
            self.assertEqual("producing", alice.producerState)

    def test_slow_sender_that_leaves(self) -> None:
        """A slowed sender that vanishes leaves no timer behind."""
        alice = self.join("alice")
        alice.receive(client_frame(1, b"x") * 700)
        alice.hang_up()
        self.end_turn()
        self.factory.stop()
        self.assertEqual([], self.clock.getDelayedCalls())


class ResyncTests(ConnectionTestCase):
    """Members who hold history."""

    settings = Settings(history_limit=200)

    def found(self) -> list[bytes]:
        """What somebody is sent who joins now."""
        zoe = self.open()
        zoe.receive(header("zoe", history=9999))
        found = zoe.messages()
        zoe.hang_up()
        return found

    def test_taken(self) -> None:
        """So many messages as were announced are history, however they come; what follows is said as ever."""
        for whole in (True, False):
            channel = f"whole {whole}"
            bob, alice = self.join("bob", channel), self.open()
            frames = [client_frame(1, b"one"), client_frame(2, b"two" * 2000), client_frame(1, b"three")]
            more = client_frame(1, b"four")
            first = header("alice", channel, resync=3)
            for part in [first + b"".join(frames) + more] if whole else [first, *frames, more]:
                alice.receive(part)
            self.end_turn()
            self.assertEqual([b"one", b"two" * 2000, b"three", b"four"], bob.messages())
            self.assertEqual(
                ["", "", "", "alice"],
                [message.uid for message in self.history._logs[channel] if not message.is_join],
            )
        self.assertEqual(8, self.factory.metrics.total_messages_received)

    def test_not_needed(self) -> None:
        """Where there are messages they are ignored, and what follows them is heard."""
        bob, alice = self.join("bob"), self.open()
        bob.receive(client_frame(1, b"there already"))
        alice.receive(header("alice", resync=2) + client_frame(1, b"one") + client_frame(2, b"two"))
        alice.receive(client_frame(1, b"new"))
        self.end_turn()
        self.assertEqual([b"new"], bob.messages())
        self.assertEqual([b"there already", b"new"], self.found())
        self.assertEqual(2, self.factory.metrics.total_messages_received)

    def test_goes_in_the_middle(self) -> None:
        """Who goes before all of it has come leaves what has come, and nothing is amiss."""
        alice = self.open()
        alice.receive(header("alice", resync=3) + client_frame(1, b"one"))
        alice.hang_up()
        self.end_turn()
        self.assertEqual([b"one"], self.found())

    def test_rate(self) -> None:
        """As much as a channel remembers is read at once, taken or not; what is more, at the rate like anything."""
        for channel in ("empty", "empty"):
            alice = self.open()
            alice.receive(header("alice", channel, resync=700) + client_frame(1, b"x") * 700)
            self.end_turn()
            self.assertEqual("producing", alice.producerState)
            alice.receive(client_frame(1, b"x") * 200)
            self.assertEqual("paused", alice.producerState)
            alice.hang_up()
        large = self.open()
        large.receive(header("large", resync=200) + client_frame(2, bytes(1_000_000)) * 100)
        large.receive(client_frame(2, bytes(1_000_000)) * 100)
        self.assertEqual("producing", large.producerState)
        large.receive(client_frame(1, b"x") * 320)
        self.assertEqual("paused", large.producerState)

    def test_said_beforehand(self) -> None:
        """A server says in its answer that it takes history, how much of it, and which run of it this is."""
        answers = []
        for limit in (200, 300):
            self.factory.change(replace(self.factory.settings, history_limit=limit))
            peer = self.connect()
            peer.receive(upgrade())
            found = re.search(rb"\r\nMles-Extensions: ([^\r]*)\r\n", peer.taken())
            assert found is not None
            extensions = parse_extensions(found[1].decode())
            assert extensions is not None
            self.assertIn("resync", extensions.keys)
            answers.append((extensions.limit, extensions.run))
        self.assertEqual([200, 300], [limit for limit, _ in answers])
        self.assertEqual(answers[0][1], answers[1][1])
        other = MlesFactory(self.clock, self.registry, self.settings)
        self.assertNotIn(answers[0][1], other.headers["Mles-Extensions"])

    def test_caught_up(self) -> None:
        """Who asks with a ping whether it has caught up is answered behind its history, others as ever ahead of it."""
        alice = self.join("alice")
        alice.receive(client_frame(2, bytes(200_000)) * 3)
        self.end_turn()
        bob = self.open()
        bob.full = True
        bob.receive(header("bob") + client_frame(9, CAUGHT_UP) + client_frame(9, b"x"))
        seen: list[Frame] = []
        data = b""
        while True:
            data += bob.taken()
            if data.endswith(b"\x8a\x0a" + CAUGHT_UP):
                break
            bob.drained()
        seen = read_frames(data)
        self.assertEqual(Frame(10, CAUGHT_UP), seen[-1])
        self.assertEqual(3, [frame.opcode for frame in seen].count(2))
        self.assertLess(seen.index(Frame(10, b"x")), len(seen) - 1)

    def test_caught_up_while_joining(self) -> None:
        """Asked while somebody else's sign of life is waited for, it is answered when the history has been sent."""
        self.join("alice").receive(client_frame(1, b"one"))
        second = self.open()
        second.receive(header("alice", history=5) + client_frame(9, CAUGHT_UP))
        self.assertEqual([], second.frames())
        self.clock.advance(4)
        self.assertEqual([Frame(1, b"one"), Frame(10, CAUGHT_UP)], second.frames())


class UnlimitedTests(ConnectionTestCase):
    """--rate-limit 0."""

    settings = Settings(rate_limit=0)

    def test_no_rate(self) -> None:
        """Without a limit any number of messages is read."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(1, b"x") * 5000)
        self.end_turn()
        self.assertEqual(5000, len(bob.messages()))
        self.assertEqual("producing", alice.producerState)


class PingTests(ConnectionTestCase):
    """Who is still there."""

    def test_unanswered(self) -> None:
        """A member that answers no ping is closed at the fourth."""
        alice = self.join("alice")
        self.clock.pump([1] * 95)
        self.assertEqual([Frame(9, b"")] * 3, alice.frames())
        self.clock.pump([1] * 3)
        self.assertClosed(alice, CloseReason.PING_TIMEOUT)

    def test_store_does_not_answer(self) -> None:
        """A member that answers no ping is closed, also while its history is waited for."""
        self.patch(MemoryHistory, "replay", lambda *_: LateReplay([]))
        alice = self.join("alice")
        self.clock.pump([1] * 98)
        self.assertClosed(alice, CloseReason.PING_TIMEOUT)

    def test_any_traffic_counts(self) -> None:
        """A member that says anything within three pings stays."""
        alice = self.join("alice")
        for _ in range(10):
            self.clock.pump([1] * 60)
            alice.receive(client_frame(10))
        self.assertEqual({9}, {frame.opcode for frame in alice.frames()})
        self.assertEqual(["alice"], [member.uid for member in self.registry.members])

    def test_not_read(self) -> None:
        """A member we do not read at the moment is not called dead."""
        alice = self.join("alice")
        alice.receive(client_frame(1, b"x") * 13_000)
        self.clock.pump([1] * 110)
        self.assertEqual("paused", alice.producerState)
        self.assertEqual(["alice"], [member.uid for member in self.registry.members])

    def test_client_pings(self) -> None:
        """A member's ping is answered, and neither passed on nor remembered."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(9, b"hi"))
        self.end_turn()
        self.assertEqual([Frame(10, b"hi")], alice.frames())
        self.assertEqual([], bob.frames())
        carol = self.open()
        carol.receive(header("carol"))
        self.assertEqual(2, len(carol.frames()))


class SameUidTests(ConnectionTestCase):
    """Two connections with one uid."""

    def test_alive(self) -> None:
        """While the holder answers, a second one is refused with a reason, and may speak to nobody."""
        first, bob, second = self.join("alice"), self.join("bob"), self.open()
        second.receive(header("alice") + client_frame(1, b"from the second"))
        self.assertEqual("paused", second.producerState)
        self.assertEqual([Frame(9, b"")], first.frames())
        first.receive(client_frame(10))
        self.assertClosed(second, CloseReason.UID_TAKEN)
        self.end_turn()
        self.assertEqual([], bob.frames())
        self.assertEqual("producing", second.producerState)

    def test_dead(self) -> None:
        """A holder that gives no sign of life for three seconds is replaced, and nothing said meanwhile is lost."""
        first, bob, second = self.join("alice"), self.join("bob"), self.open()
        second.receive(header("alice") + client_frame(1, b"hello " * 5000))
        self.clock.advance(2.9)
        self.assertEqual([Frame(9, b"")], first.frames())
        self.clock.advance(0.2)
        self.assertClosed(first, CloseReason.REPLACED)
        self.end_turn()
        self.assertEqual([b"hello " * 5000], bob.messages())
        self.assertEqual("producing", second.producerState)

    def test_slow_holder(self) -> None:
        """A holder that is behind but takes what it is sent is alive."""
        first, second = self.join("alice"), self.open()
        first.full = True
        first.connection.write(b"\x82\x00")
        second.receive(header("alice"))
        self.clock.advance(1)
        first.drained()
        self.clock.advance(2)
        self.assertClosed(second, CloseReason.UID_TAKEN)

    def test_late_newcomer(self) -> None:
        """The wait for who is dead is not the newcomer's: it has said in time who it is."""
        first, second = self.join("alice"), self.open()
        self.clock.advance(28)
        second.receive(header("alice"))
        self.clock.advance(3.1)
        self.assertClosed(first, CloseReason.REPLACED)
        self.assertEqual([second.connection], list(self.registry.members))
        self.clock.advance(30)
        self.assertNotIn(8, [frame.opcode for frame in second.frames()])

    def test_behind_dead_newcomers(self) -> None:
        """Of many newcomers each asks those before it, and whoever cannot be let in for them is told so in time."""
        self.join("alice")
        newcomers = [self.open() for _ in range(12)]
        for newcomer in newcomers:
            newcomer.receive(header("alice"))
        self.clock.pump([3.1] * 9)
        self.assertEqual([newcomers[8].connection], list(self.registry.members))
        self.clock.advance(30 - 9 * 3.1 + 0.1)
        for newcomer in newcomers[9:]:
            self.assertClosed(newcomer, CloseReason.NOT_LET_IN)
        again = self.open()
        again.receive(header("alice"))
        self.clock.advance(3.1)
        self.assertEqual([again.connection], list(self.registry.members))

    def test_not_read_holder(self) -> None:
        """A holder we do not read at the moment is never thrown out."""
        first, second = self.join("alice"), self.open()
        first.receive(client_frame(1, b"x") * 5000)
        second.receive(header("alice"))
        self.assertClosed(second, CloseReason.UID_TAKEN)

    def test_newcomer_vanishes(self) -> None:
        """A newcomer that vanishes while it waits does not join."""
        first, second = self.join("alice"), self.open()
        second.receive(header("alice"))
        second.hang_up()
        self.clock.advance(4)
        self.assertEqual([first.connection], list(self.registry.members))

    def test_holder_answers_who_has_vanished(self) -> None:
        """A holder whose answer came when nobody waited for it any more is asked anew for the next newcomer."""
        first, second, third = self.join("alice"), self.open(), self.open()
        second.receive(header("alice"))
        second.hang_up()
        first.receive(client_frame(10, b""))
        first.taken()
        self.clock.advance(2)
        third.receive(header("alice"))
        self.assertEqual([Frame(9, b"")], first.frames())
        first.receive(client_frame(10, b""))
        self.assertClosed(third, CloseReason.UID_TAKEN)
        self.clock.advance(4)
        self.assertEqual([first.connection], list(self.registry.members))

    def test_holder_leaves_meanwhile(self) -> None:
        """When the holder leaves while it is asked, the newcomer is in at once."""
        first, second = self.join("alice"), self.open()
        second.receive(header("alice"))
        first.hang_up()
        self.assertEqual([second.connection], list(self.registry.members))


class SlowMemberTests(ConnectionTestCase):
    """Members that do not read."""

    def test_backlog(self) -> None:
        """A member with more than 8 MiB to read is cut off; the others get everything."""
        alice, slow, bob = self.join("alice"), self.join("slow"), self.join("bob")
        slow.full = True
        for _ in range(12):
            alice.receive(client_frame(2, bytes(1_000_000)))
            self.end_turn()
        self.assertEqual(12, len(bob.messages()))
        self.assertEqual({"alice", "bob"}, {member.uid for member in self.registry.members})
        self.clock.advance(5)
        self.assertTrue(slow.aborted)

    def test_stalled(self) -> None:
        """A member that takes nothing for a minute is cut off, however little waits."""
        alice, slow = self.join("alice"), self.join("slow")
        slow.full = True
        alice.receive(client_frame(1, b"hello"))
        self.end_turn()
        self.clock.advance(59)
        self.assertIn(slow.connection, list(self.registry.members))
        self.clock.advance(2)
        self.assertNotIn(slow.connection, list(self.registry.members))

    def test_close_frame_at_a_boundary(self) -> None:
        """A member that is cut in the middle of a message gets the rest of it, and then the reason."""
        alice, slow = self.join("alice"), self.join("slow")
        slow.full = True
        alice.receive(client_frame(2, bytes(1_000_000)))
        self.end_turn()
        slow.connection.close(CloseReason.TOO_SLOW)
        slow.drained()
        message, end = slow.frames()
        self.assertEqual(1_000_000, len(message.payload))
        self.assertEqual((1013, CloseReason.TOO_SLOW.text), close_of(end))

    def test_vanishing_in_the_middle_of_a_join(self) -> None:
        """A member that vanishes while its history is sent leaves nothing behind."""
        alice = self.join("alice")
        for _ in range(9):
            alice.receive(client_frame(2, bytes(1_000_000)))
        self.end_turn()
        slow = self.open()
        slow.full = True
        slow.receive(header("slow"))
        slow.hang_up()
        self.assertEqual([alice.connection], list(self.registry.members))
        self.assertEqual(0, len(self.factory.stalled))


class MetricsTests(ConnectionTestCase):
    """What is counted."""

    def test_active(self) -> None:
        """Connections count from the upgrade's request until they are gone, members or not."""
        metrics = self.factory.metrics
        self.assertEqual(0, metrics.active_connections)
        alice, stranger = self.join("alice"), self.open()
        self.assertEqual(2, metrics.active_connections)
        alice.hang_up()
        self.assertEqual(1, metrics.active_connections)
        stranger.connection.close(CloseReason.NO_HEADER)
        self.clock.advance(5)
        self.assertTrue(stranger.aborted)
        self.assertEqual(0, metrics.active_connections)

    def test_received(self) -> None:
        """Messages of members count, text and binary, in fragments once; first frames, pings and closes do not."""
        metrics = self.factory.metrics
        alice, bob = self.join("alice"), self.join("bob")
        self.assertEqual(0, metrics.total_messages_received)
        alice.receive(client_frame(1, b"one") + client_frame(2, b"two"))
        self.assertEqual(2, metrics.total_messages_received)
        bob.receive(client_frame(1, b"th", final=False) + client_frame(9) + client_frame(0, b"ree"))
        self.assertEqual(3, metrics.total_messages_received)
        bob.receive(client_frame(8, (1000).to_bytes(2, "big")))
        self.assertEqual(3, metrics.total_messages_received)

    def test_received_on_both_ways(self) -> None:
        """Small messages and large ones count alike, in whatever order they come in one piece."""
        alice = self.join("alice")
        small, large = client_frame(1, b"x"), client_frame(2, bytes(5000))
        alice.receive(small * 2 + large + small * 3 + client_frame(9) + small + large * 2)
        self.assertEqual(9, self.factory.metrics.total_messages_received)

    def test_received_before_a_late_join(self) -> None:
        """What was sent while the holder of the uid was asked counts as soon as the newcomer is in."""
        bob, _, newcomer = self.join("bob"), self.join("alice"), self.open()
        newcomer.receive(header("alice") + client_frame(1, b"x") * 3)
        self.assertEqual(0, self.factory.metrics.total_messages_received)
        self.clock.advance(PROBE_SECONDS)
        self.end_turn()
        self.assertEqual(3, len(bob.messages()))
        self.assertEqual(3, self.factory.metrics.total_messages_received)

    def test_received_with_the_first_frame(self) -> None:
        """What comes in one piece with the upgrade and the first frame counts as well."""
        self.connect().receive(upgrade() + header("alice") + client_frame(1, b"x") * 7)
        self.assertEqual(7, self.factory.metrics.total_messages_received)

    def test_errors(self) -> None:
        """Who is closed for a fault is counted, once."""
        metrics = self.factory.metrics
        self.join("alice")
        for number, frame in enumerate(
            (client_frame(1, b"hello"), header("bob", auth="0"), client_frame(1, b"{}", masked=False)),
            1,
        ):
            peer = self.open()
            peer.receive(frame)
            self.assertEqual(number, metrics.total_errors)
            peer.hang_up()
            self.assertEqual(number, metrics.total_errors)

    def test_uid_taken(self) -> None:
        """Who wants a uid that is in use is counted, the one who has it is not."""
        alice, other = self.join("alice"), self.open()
        other.receive(header("alice"))
        alice.receive(client_frame(10))
        self.assertClosed(other, CloseReason.UID_TAKEN)
        self.assertEqual(1, self.factory.metrics.total_errors)

    def test_silent(self) -> None:
        """Who never says who it is, or answers no pings, is counted."""
        self.open()
        self.clock.advance(30)
        self.assertEqual(1, self.factory.metrics.total_errors)
        self.join("alice")
        self.clock.pump([1] * 98)
        self.assertEqual(2, self.factory.metrics.total_errors)

    def test_reasons(self) -> None:
        """How each connection has ended is counted, once and for the first reason there was."""
        alice, bob, stranger = self.join("alice"), self.join("bob"), self.open()
        alice.receive(client_frame(8, (1000).to_bytes(2, "big")))
        alice.hang_up()
        bob.hang_up()
        stranger.receive(client_frame(1, b"hello"))
        stranger.hang_up()
        self.join("carol")
        self.factory.close_all(CloseReason.SERVER_STOPPING)
        self.assertEqual(
            dict(self.factory.metrics.closed),
            {"left": 1, "connection_lost": 1, "header_not_json": 1, "server_stopping": 1},
        )

    def test_backlog(self) -> None:
        """What waits for members that do not read is summed up, until they are gone."""
        alice, bob, carol = self.join("alice"), self.join("bob"), self.join("carol")
        for slow in (bob, carol):
            slow.full = True
        for _ in range(3):
            alice.receive(client_frame(1, b"x" * 100))
            self.clock.advance(0)
        self.assertEqual(self.factory.backlog, 2 * 2 * 102)
        bob.hang_up()
        self.assertEqual(self.factory.backlog, 2 * 102)
        carol.drained()
        self.assertEqual(self.factory.backlog, 0)

    def test_no_errors(self) -> None:
        """Who leaves, loses its link, or is there when the server ends is not counted."""
        alice, bob, carol = self.join("alice"), self.join("bob"), self.join("carol")
        alice.receive(client_frame(8, (1000).to_bytes(2, "big")))
        alice.hang_up()
        bob.hang_up()
        self.factory.close_all(CloseReason.SERVER_STOPPING)
        carol.hang_up()
        self.assertEqual((0, 0), (self.factory.metrics.total_errors, self.factory.metrics.active_connections))

    def test_own(self) -> None:
        """Two servers in one process count each for itself."""
        registry = ChannelRegistry(self.clock, MemoryHistory(self.clock, limit=200))
        other = MlesFactory(self.clock, registry, self.settings)
        self.join("alice")
        self.assertEqual((1, 0), (self.factory.metrics.active_connections, other.metrics.active_connections))
