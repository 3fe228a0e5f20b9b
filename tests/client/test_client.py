"""A client as a whole, with a server in memory."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client import (
    Callbacks,
    ClientClosed,
    ClientConfig,
    Message,
    MlesClient,
    QueueFull,
    Repeats,
    State,
)
from mles_tx.protocol.auth import digest
from mles_tx.testing import MemoryServer
from mles_tx.transport.connections import MlesFactory

from .fakes import URL, Heard, Way


class ClientTestCase(SynchronousTestCase):
    """A server in memory, and members that are told apart from the client."""

    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        self.server = MemoryServer(rate_limit=0, **self.settings)
        self.way = Way(self.server)
        self.addCleanup(self.look_at_timers)

    def look_at_timers(self) -> None:
        """When all clients are closed, no timer of theirs is left."""
        calls: Any = self.server.clock.getDelayedCalls()
        self.assertEqual([str(call) for call in calls if call.func.__module__.startswith("mles_tx.client")], [])
        self.server.stop()

    def started(self, uid: str = "alice", **settings: Any) -> Heard:
        """A client that has joined."""
        heard = Heard(self.way, uid, **settings)
        heard.client.startService()
        heard.pass_time(2)
        self.addCleanup(self.stop, heard)
        return heard

    def stop(self, heard: Heard) -> None:
        """Stop it, and look whether it has left nothing behind."""
        stopped = heard.client.stopService()
        heard.pass_time(7)
        self.successResultOf(stopped)
        self.assertEqual(heard.client.status.state, State.CLOSED)


class JoiningTests(ClientTestCase):
    """Joining and leaving."""

    def test_states(self) -> None:
        """It connects, joins and is live; and when it is stopped it leaves with a close frame."""
        heard = Heard(self.way)
        self.assertEqual(heard.client.status.state, State.IDLE)
        heard.client.startService()
        heard.pass_time(2)
        self.assertEqual(heard.states, [State.CONNECTING, State.JOINING, State.LIVE])
        stopped = heard.client.stopService()
        heard.pass_time(0)
        status = self.successResultOf(stopped)
        self.assertEqual((status.state, status.why, status.code, status.is_error), (State.CLOSED, "left", 1000, False))
        self.assertEqual(len(self.server.service.listener.websocket.connections), 0)

    def test_first_frame(self) -> None:
        """Unless more is asked for, the first frame has what all servers know, and nothing else."""
        bob = self.server.join("bob", "news")
        self.started()
        later = self.server.join("carol", "news")
        frames = [json.loads(frame) for frame in later.received]
        self.assertIn({"uid": "alice", "channel": "news"}, frames)
        self.assertEqual(bob.received, [])
        self.assertIn(b"Sec-WebSocket-Protocol: mles-websocket\r\n", self.way.sides[0].written)
        self.assertNotIn(b"Extensions", self.way.sides[0].written)

    def test_history(self) -> None:
        """What was said before comes first, and is marked; what is said then is not."""
        bob = self.server.join("bob", "news")
        bob.send("before")
        self.server.advance(0)
        heard = self.started()
        bob.send(b"after")
        heard.pass_time(0)
        self.assertEqual(heard.said, ["before", b"after"])
        self.assertEqual([one.is_replayed for one in heard.messages], [True, True, False])

    def test_some_history(self) -> None:
        """Of the history it gets as much as it asks for."""
        bob = self.server.join("bob", "news")
        for number in range(5):
            bob.send(f"line {number}")
        self.server.advance(0)
        self.assertEqual(self.started(history=2).said, ["line 3", "line 4"])

    def test_publish_only(self) -> None:
        """A client that only publishes is told nothing."""
        bob = self.server.join("bob", "news")
        bob.send("before")
        heard = self.started(receive=False)
        bob.send("after")
        heard.client.publish("hello")
        heard.pass_time(0)
        self.assertEqual((heard.messages, bob.received), ([], ["hello"]))

    def test_refused(self) -> None:
        """A reason that says that trying again is of no use ends it with an error."""
        self.server.join("alice", "news")
        heard = Heard(self.way)
        heard.client.startService()
        closed = heard.client.when_closed()
        heard.pass_time(5)
        status = self.successResultOf(closed)
        self.assertEqual((status.code, status.is_error, status.why), (4512, True, "uid is in use on this channel"))
        self.assertIs(self.failureResultOf(heard.client.publish("more"), ClientClosed).value.status, status)

    def test_stopped_while_waiting(self) -> None:
        """Stopped while there is no link, it is closed at once."""
        self.way.is_up = False
        heard = Heard(self.way)
        heard.client.startService()
        self.assertEqual(heard.states, [State.CONNECTING, State.WAITING])
        self.assertEqual(self.successResultOf(heard.client.stopService()).is_error, False)

    def test_listeners(self) -> None:
        """A listener that fails disturbs neither the others nor the client."""
        heard = Heard(self.way)

        def broken(_: object) -> None:
            raise RuntimeError("oops")

        heard.client.listen(Callbacks(broken, broken))
        seen: list[Message] = []
        heard.client.listen(Callbacks(seen.append))
        heard.client.startService()
        heard.pass_time(2)
        self.server.join("bob", "news").send("hello")
        heard.pass_time(0)
        self.assertEqual((heard.said, [one.text for one in seen]), (["hello"], ["hello"]))
        self.stop(heard)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 5)


class KeyTests(ClientTestCase):
    """A server with a key."""

    settings = {"key": b"s3cret"}

    def test_key(self) -> None:
        """Who knows the key gets in."""
        self.assertEqual(self.started(key=b"s3cret").states[-1], State.LIVE)

    def test_auth(self) -> None:
        """And so does who was given the auth value."""
        config = ClientConfig(URL, "alice", "news", key=b"s3cret")
        self.assertEqual(self.started(auth=config.auth_value).states[-1], State.LIVE)

    def test_wrong(self) -> None:
        """Who does not is told, and does not try again."""
        for key in (b"wrong", None):
            heard = Heard(self.way, key=key)
            heard.client.startService()
            heard.pass_time(5)
            self.assertEqual((heard.client.status.state, heard.client.status.is_error), (State.CLOSED, True))
            self.assertIn("auth", heard.client.status.why)


class PublishTests(ClientTestCase):
    """What it says."""

    def test_order(self) -> None:
        """What was said before there was a link comes first, and text and binary stay what they are."""
        bob = self.server.join("bob", "news")
        heard = Heard(self.way)
        handed = [heard.client.publish("one"), heard.client.publish(b"two")]
        self.assertEqual(heard.client.waiting_messages, 2)
        heard.client.startService()
        heard.pass_time(0)
        handed.append(heard.client.publish("three"))
        heard.pass_time(0)
        self.assertEqual([self.successResultOf(one) for one in handed], [None] * 3)
        self.assertEqual(bob.received, ["one", b"two", "three"])
        self.stop(heard)

    def test_back_pressure(self) -> None:
        """While the system takes nothing, what is said waits; on request it fails when that is too much."""
        heard = self.started(max_queued_messages=3, max_queued_bytes=100)
        self.way.sides[0].is_stalled = True
        first = heard.client.publish("on its way")
        waiting = [heard.client.publish(str(number)) for number in range(3)]
        self.successResultOf(first)
        self.assertEqual([self.assertNoResult(one) for one in waiting], [None] * 3)
        self.failureResultOf(heard.client.publish("too much", fail_when_full=True), QueueFull)
        patient = heard.client.publish("x" * 200)
        self.way.sides[0].take()
        self.assertEqual([self.successResultOf(one) for one in [*waiting, patient]], [None] * 4)
        self.assertIsNone(self.successResultOf(heard.client.publish("more", fail_when_full=True)))

    def test_bytes(self) -> None:
        """The bound counts bytes as well, and lets one message through in any case."""
        heard = Heard(self.way, max_queued_bytes=100)
        self.assertNoResult(heard.client.publish("x" * 200, fail_when_full=True))
        self.failureResultOf(heard.client.publish("y", fail_when_full=True), QueueFull)

    def test_too_large(self) -> None:
        """A message that no server takes is refused at once."""
        heard = Heard(self.way)
        self.assertRaises(ValueError, heard.client.publish, b"x" * (1024 * 1024 + 1))

    def test_finish(self) -> None:
        """Finishing, it leaves when everything was taken."""
        bob = self.server.join("bob", "news")
        heard = Heard(self.way)
        heard.client.publish("one")
        finished = heard.client.finish()
        self.failureResultOf(heard.client.publish("late"), ClientClosed)
        heard.client.startService()
        heard.pass_time(0)
        self.assertEqual((self.successResultOf(finished).state, bob.received), (State.CLOSED, ["one"]))
        self.assertEqual(heard.client.unsure_messages, 0)

    def test_finish_at_once(self) -> None:
        """With nothing to say it leaves at once."""
        heard = self.started()
        finished = heard.client.finish()
        heard.pass_time(0)
        self.assertEqual(self.successResultOf(finished).why, "left")

    def test_finish_after_a_break(self) -> None:
        """When the link breaks before the server has answered, it comes back, and says again what is not there."""
        bob = self.server.join("bob", "news")
        heard = self.started()
        self.way.sides[0].peer.is_read = False  # what is said now is on its way
        heard.client.publish("one")
        finished = heard.client.finish()
        heard.pass_time(0)
        self.way.cut()
        heard.pass_time(10)
        self.assertEqual((self.successResultOf(finished).is_error, bob.received), (False, ["one"]))

    def test_finish_while_paused(self) -> None:
        """Nobody need take the messages for the goodbye to be answered; what had not been taken is there still."""
        heard = self.started()
        messages = heard.client.messages()
        bob = self.server.join("bob", "news")
        for number in range(400):
            bob.send(str(number))
        heard.pass_time(1)
        self.assertEqual(self.successResultOf(messages.__anext__()).text, "0")
        finished = heard.client.finish()
        heard.pass_time(1)
        self.assertEqual(self.successResultOf(finished).why, "left")
        self.assertEqual([self.successResultOf(messages.__anext__()).text for _ in range(399)], heard.said[1:])
        self.failureResultOf(messages.__anext__(), StopAsyncIteration)

    def test_finish_fails(self) -> None:
        """When the server does not let it in, that is an error."""
        self.server.join("alice", "news")
        heard = Heard(self.way)
        heard.client.publish("one")
        finished = heard.client.finish()
        heard.client.startService()
        heard.pass_time(5)
        self.assertEqual(self.failureResultOf(finished, ClientClosed).value.status.code, 4512)


class BreakTests(ClientTestCase):
    """Links that break."""

    def test_comes_back(self) -> None:
        """It comes back, and what was said meanwhile is there once."""
        bob = self.server.join("bob", "news")
        heard = self.started()
        bob.send("before")
        heard.pass_time(0)
        self.way.cut()
        self.assertEqual(heard.client.status.state, State.WAITING)
        self.assertEqual((heard.client.status.why, heard.client.status.seconds), ("the connection was lost", 0.5))
        bob.send("meanwhile")
        heard.pass_time(8)
        bob.send("after")
        heard.pass_time(0)
        self.assertEqual(heard.said, ["before", "meanwhile", "after"])
        self.assertEqual(heard.states[-3:], [State.CONNECTING, State.JOINING, State.LIVE])
        self.assertIn(b'"since"', self.unmasked(self.way.sides[1].written))

    @staticmethod
    def unmasked(written: bytes) -> bytes:
        """The payload of the first frame that a client has written."""
        frame = written.partition(b"\r\n\r\n")[2]
        size, at = frame[1] & 127, 2
        if size == 126:
            size, at = int.from_bytes(frame[2:4], "big"), 4
        mask, body = frame[at : at + 4], frame[at + 4 : at + 4 + size]
        return bytes(byte ^ mask[index % 4] for index, byte in enumerate(body))

    def test_without_since(self) -> None:
        """A server that knows no `since` replays everything; what is known of it is dropped."""
        bob = self.server.join("bob", "news")
        bob.send("before")
        heard = self.started(resume=False, repeats=Repeats.DROP_REPLAYED)
        bob.send("live")
        heard.pass_time(0)
        self.way.cut()
        bob.send("live")
        heard.pass_time(8)
        self.assertEqual(heard.said, ["before", "live", "live"])

    def test_nothing_to_go_on_from(self) -> None:
        """Who asked for no history and has heard nothing gets what was said during a break, and nothing older."""
        bob = self.server.join("bob", "news")
        bob.send("before")
        heard = self.started(history=0)
        self.way.cut()
        bob.send("meanwhile")
        heard.pass_time(12)
        self.assertEqual(heard.said, ["meanwhile"])

    def test_said_twice(self) -> None:
        """Who wants unique payloads hears each once; who does not hears what is said twice, twice."""
        bob = self.server.join("bob", "news")
        once, each = self.started("alice"), self.started("carol", repeats=Repeats.DROP_REPLAYED)
        bob.send("yes")
        bob.send("yes")
        once.pass_time(0)
        self.assertEqual((once.said, each.said), (["yes"], ["yes", "yes"]))

    def test_keep(self) -> None:
        """Who has a memory of its own gets everything."""
        bob = self.server.join("bob", "news")
        heard = self.started(repeats=Repeats.KEEP, resume=False)
        bob.send("one")
        heard.pass_time(0)
        self.way.cut()
        heard.pass_time(8)
        self.assertEqual(heard.said, ["one", "one"])

    def test_lost_on_the_way(self) -> None:
        """What was written to a link that broke is said again, unless the history has it; in order, and each once."""
        bob = self.server.join("bob", "news")
        heard = self.started()
        heard.client.publish("arrives")
        heard.pass_time(0)
        self.way.sides[0].peer.is_read = False
        for text in ("lost 1", "lost 2"):
            self.successResultOf(heard.client.publish(text))
        self.assertEqual(heard.client.unsure_messages, 3)
        self.way.cut()
        heard.client.publish("later")
        heard.pass_time(8)
        self.assertEqual(bob.received[-4:], ["arrives", "lost 1", "lost 2", "later"])
        self.assertEqual(bob.received.count("arrives"), 1)
        self.assertEqual(heard.said, [])

    def test_same_text_of_others(self) -> None:
        """What a client says first may be the same words as the history has: they are not taken for its own."""
        for how in ("not read", "read", "read before others"):
            with self.subTest(how=how):
                channel = how
                bob = self.server.join("bob", channel)
                before = Heard(self.way, "alice", channel, receive=False)
                before.client.publish("disk full")
                before.client.startService()
                before.client.finish()
                before.pass_time(2)
                heard = Heard(self.way, "alice", channel, receive=False)
                if how == "not read":
                    heard.client.startService()
                    heard.pass_time(0)
                    self.way.sides[-1].peer.is_read = False
                    heard.client.publish("disk full")
                else:
                    heard.client.publish("disk full")
                    heard.client.startService()
                heard.pass_time(0)
                if how == "read before others":
                    bob.send("what now?")
                    heard.pass_time(0)
                finished = heard.client.finish()
                self.way.cut()
                heard.pass_time(10)
                self.assertFalse(self.successResultOf(finished).is_error)
                self.assertEqual(bob.received.count("disk full"), 2)

    def test_same_text_after_several_breaks(self) -> None:
        """However often the link breaks, what was taken is found behind the first frame of the link it was sent on."""
        bob = self.server.join("bob", "news")
        bob.send("hello")
        heard = self.started(receive=False)
        heard.client.publish("hello")
        heard.pass_time(0)
        for _ in range(3):
            self.way.cut()
            heard.pass_time(0.5)
            self.way.sides[-1].is_read = False  # it is let in, and does not hear the end of the history
            heard.pass_time(1)
        self.way.cut()
        heard.pass_time(10)
        self.assertEqual(bob.received.count("hello"), 1)

    def test_looks_no_further_back(self) -> None:
        """It looks for what may be lost behind what it had heard when it said it, and not in all there is."""
        bob = self.server.join("bob", "news")
        heard = self.started()
        bob.send("before")
        heard.pass_time(0)
        self.way.sides[0].peer.is_read = False
        heard.client.publish("lost")
        bob.send("after")
        heard.pass_time(0)
        self.way.cut()
        heard.pass_time(8)
        first = json.loads(self.unmasked(self.way.sides[1].written))
        self.assertEqual(first["since"], [f"{digest(b'before'):016x}"])
        self.assertEqual((bob.received[-1], heard.said), ("lost", ["before", "after"]))

    def test_breaks_while_it_looks(self) -> None:
        """A link that breaks in the middle of the replay is not begun with the same place again."""
        self.server.service.listener.websocket.more_headers = b""  # else the end of the replay is known at once
        bob = self.server.join("bob", "news")
        heard = self.started()
        self.way.sides[0].peer.is_read = False
        heard.client.publish("lost")
        heard.pass_time(0)
        self.way.cut()
        bob.send("meanwhile")
        heard.pass_time(0.75)
        self.assertEqual(heard.states[-1], State.JOINING)
        self.way.cut()
        heard.pass_time(10)
        first = json.loads(self.unmasked(self.way.sides[-1].written))
        self.assertEqual(first["since"], [f"{digest(b'meanwhile'):016x}"])
        self.assertEqual((bob.received[-1], bob.received.count("lost"), heard.said), ("lost", 1, ["meanwhile"]))

    def test_same_text_again(self) -> None:
        """The same words said earlier are not taken for those that were lost."""
        bob = self.server.join("bob", "news")
        heard = self.started()
        heard.client.publish("disk full")
        heard.pass_time(125)
        self.way.sides[0].peer.is_read = False
        heard.client.publish("disk full")
        heard.pass_time(0)
        self.assertEqual(bob.received, ['{"uid":"alice","channel":"news"}', "disk full"][-len(bob.received) :])
        self.way.cut()
        heard.pass_time(8)
        self.assertEqual(bob.received.count("disk full"), 2)

    def test_server_lost_everything(self) -> None:
        """A server that has lost its history gets again what may not have arrived."""
        heard = self.started()
        heard.client.publish("one")
        heard.pass_time(0)
        self.way.cut()
        self.way.restart()
        bob = self.way.server.join("bob", "news")
        heard.pass_time(8)
        self.assertEqual(bob.received[-1], "one")

    def test_backoff(self) -> None:
        """While nobody is there the waits grow, and each is any part of its bound."""
        heard = self.started()
        self.way.is_up = False
        self.way.cut()
        heard.pass_time(40)
        waits = [status.seconds for status in heard.statuses if status.state is State.WAITING]
        self.assertEqual(waits[:6], [0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
        self.assertEqual(heard.client.status.why, "nobody listens on mles.test:80")
        self.way.is_up = True
        heard.pass_time(40)
        self.assertEqual(heard.client.status.state, State.LIVE)

    def test_patience(self) -> None:
        """Who never got in gives up when its patience is at an end; who did, never."""
        self.way.is_up = False
        heard = Heard(self.way, patience=10)
        heard.client.startService()
        heard.pass_time(40)
        status = heard.client.status
        self.assertEqual((status.state, status.is_error), (State.CLOSED, True))

    def test_patience_without_an_answer(self) -> None:
        """So it does where nobody answers at all; only without any patience there is one whole attempt."""
        self.way.hangs = True
        for patience, seconds in ((3, 4), (0, 20)):
            heard = Heard(self.way, patience=patience)
            heard.client.startService()
            heard.pass_time(2)
            self.assertIs(heard.client.status.state, State.CONNECTING)
            heard.pass_time(seconds - 2)
            self.assertIs(heard.client.status.state, State.CLOSED)
            self.assertIn("no answer from", heard.client.status.why)

    def test_uid_of_the_link_before(self) -> None:
        """However long it was a member: when its link breaks and still has the uid, it is asked for again."""
        heard = self.started(receive=False)
        heard.pass_time(200)
        self.way.cut()
        holder = self.server.join("alice", "news")
        heard.pass_time(10)
        self.assertIn((State.WAITING, 4512), [(status.state, status.code) for status in heard.statuses])
        holder.close()
        heard.pass_time(15)
        self.assertIs(heard.client.status.state, State.LIVE)

    def test_no_answer(self) -> None:
        """An attempt that stays without an answer is given up, and made again."""
        self.way.hangs = True
        heard = Heard(self.way)
        heard.client.startService()
        heard.pass_time(20)
        self.assertEqual(heard.statuses[1].why, "no answer from mles.test:80")
        self.way.hangs = False
        heard.pass_time(5)
        self.assertEqual(heard.client.status.state, State.LIVE)
        self.stop(heard)


class PauseTests(ClientTestCase):
    """Taking messages at one's ease."""

    def test_pause(self) -> None:
        """Paused, it is told nothing and reads nothing; then it is told all, in order."""
        bob = self.server.join("bob", "news")
        heard = self.started()
        heard.client.pause_receiving()
        bob.send("one")
        bob.send("two")
        heard.pass_time(0)
        self.assertEqual((heard.said, self.way.sides[0].is_read), ([], False))
        heard.client.resume_receiving()
        heard.pass_time(0)
        self.assertEqual(heard.said, ["one", "two"])

    def test_pause_in_the_middle(self) -> None:
        """Paused by a listener in the middle of what arrived together, it keeps the rest."""
        bob = self.server.join("bob", "news")
        heard = self.started()
        heard.client.listen(Callbacks(lambda _: heard.client.pause_receiving()))
        for number in range(3):
            bob.send(str(number))
        heard.pass_time(0)
        self.assertEqual(heard.said, ["0"])
        for _ in range(2):
            heard.client.resume_receiving()
            heard.pass_time(0)
        self.assertEqual(heard.said, ["0", "1", "2"])

    def test_stream(self) -> None:
        """`async for` gets each message, and ends when the client has left."""
        heard = self.started()
        got: list[str | None] = []

        async def loop() -> None:
            async for message in heard.client.messages():
                got.append(message.text)

        looping = Deferred.fromCoroutine(loop())
        bob = self.server.join("bob", "news")
        bob.send("one")
        bob.send("two")
        heard.pass_time(0)
        self.assertEqual(got, ["one", "two"])
        heard.client.stopService()
        heard.pass_time(0)
        self.assertIsNone(self.successResultOf(looping))


class SilenceTests(ClientTestCase):
    """Dead links."""

    settings = {"ping_interval": 3600.0}

    def test_silent_and_dead(self) -> None:
        """A link without a sign of life is asked for one, and left when there is none."""
        heard = self.started()
        self.way.sides[0].peer.is_read = False
        heard.pass_time(85)
        self.assertEqual(len(self.way.sides), 1)
        heard.pass_time(12)
        self.assertGreater(len(self.way.sides), 1)

    def test_silent_and_alive(self) -> None:
        """A link on which nobody says anything is kept when the server answers."""
        heard = self.started()
        heard.pass_time(300)
        self.assertEqual((len(self.way.sides), heard.client.status.state), (1, State.LIVE))

    def test_paused(self) -> None:
        """A client that does not read does not take silence for death."""
        heard = self.started()
        heard.client.pause_receiving()
        heard.pass_time(300)
        self.assertEqual(len(self.way.sides), 1)


class _Held:
    """Somebody who holds three messages."""

    def held_frames(self) -> list[Message]:
        return [Message(text, text == b"2", digest(text)) for text in (b"1", b"2", b"3")]


class ResyncTests(ClientTestCase):
    """Servers that have lost what was said, and those that only may have."""

    def first_frames(self) -> list[dict[str, Any]]:
        return [json.loads(BreakTests.unmasked(side.written)) for side in self.way.sides]

    def begin(self, **settings: Any) -> Heard:
        heard = Heard(self.way, held=_Held(), **settings)
        heard.client.startService()
        heard.pass_time(0)
        self.addCleanup(self.stop, heard)
        return heard

    def remembered(self) -> list[str | bytes]:
        """What the server has now."""
        late = self.started("late")
        return late.said

    def test_restarted(self) -> None:
        """A server that was restarted is offered what is held, and has it from then on."""
        heard = self.begin()
        self.way.cut()
        self.way.restart()
        heard.pass_time(5)
        self.assertEqual([frame.get("resync") for frame in self.first_frames()], [None, 3])
        self.assertEqual(self.remembered(), ["1", b"2", "3"])

    def test_same_server(self) -> None:
        """One that was not is offered nothing, and neither is one that says nothing about itself."""
        heard = self.begin()
        self.way.cut()
        heard.pass_time(5)
        self.patch(MlesFactory, "_say_extensions", lambda factory: None)
        self.way.cut()
        self.way.restart()
        heard.pass_time(5)
        self.way.cut()
        self.way.restart()
        heard.pass_time(5)
        self.assertEqual([frame.get("resync") for frame in self.first_frames()], [None] * 4)

    def test_sent_again(self) -> None:
        """What was sent, and perhaps lost, is sent again and not offered: it is there once."""
        heard = self.begin()
        heard.client.publish("3")
        heard.pass_time(0)
        self.way.cut()
        self.way.restart()
        heard.pass_time(5)
        self.assertEqual(self.first_frames()[-1]["resync"], 2)
        self.assertEqual(self.remembered(), ["1", b"2", "3"])

    def test_waits_to_be_sent(self) -> None:
        """Nor is offered what still waits to be sent."""
        heard = self.begin()
        self.way.cut()
        heard.client.publish("3")
        self.way.restart()
        heard.pass_time(5)
        self.assertEqual(self.first_frames()[-1]["resync"], 2)
        self.assertEqual(self.remembered(), ["1", b"2", "3"])

    def test_end_of_the_history(self) -> None:
        """Where a server tells that the history has come, nothing has to be guessed: it is live at once."""
        heard = self.begin()
        self.assertIs(heard.client.status.state, State.LIVE)
        self.patch(MlesFactory, "_say_extensions", lambda factory: None)
        self.way.cut()
        self.way.restart()
        heard.pass_time(0.75)
        self.assertIs(heard.client.status.state, State.JOINING)
        heard.pass_time(7)
        self.assertIs(heard.client.status.state, State.LIVE)

    def test_client_is_a_service(self) -> None:
        """It can stand in a tree of services."""
        client = MlesClient(ClientConfig(URL, "alice", "news"), self.server.clock, endpoint=self.way)
        client.setName("mles")
        client.startService()
        self.assertTrue(client.running)
        client.stopService()
        self.assertFalse(client.running)
