"""What every store promises, whatever it is made of: tests for each of them.

A test case of a store takes `StoreContract` as its last base and says how to build one, and how to wait for it.
"""

import random
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mles_tx.channels.history import DEFAULT_TOTAL_BYTES, MAX_CHANNEL_BYTES, ICommitted, IHistory, IReplay, Message
from mles_tx.protocol.auth import digest
from mles_tx.protocol.frames import encode_message, payload_of
from tests.channels.fakes import hello, said

__all__ = ["Listener", "StoreContract", "digests", "join_of", "read_all"]


def join_of(uid: str) -> Message:
    """A join frame."""
    return Message(encode_message(hello(uid), False), uid, 1, is_join=True)


def digests(*texts: str) -> tuple[int, ...]:
    """What a joiner with these last messages says in `since`."""
    return tuple(digest(text.encode()) for text in texts)


async def read_all(replay: IReplay, max_bytes: int = 1 << 20) -> list[str]:
    """The payloads of a replay, read to its end."""
    texts: list[str] = []
    while True:
        pulled = replay.pull(max_bytes)
        frames = await pulled if isinstance(pulled, Deferred) else pulled
        if not frames:
            return texts
        texts += [payload_of(frame).decode() for frame in frames]


@implementer(ICommitted)
class Listener:
    """Hears what may be delivered."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, list[Message]]] = []
        self.sent_back: list[tuple[str, list[Message]]] = []  #: what was refused
        self.occupied: set[str] = set()  #: channels with members
        self.lost: list[str] = []  #: what is forgotten

    def forgotten(self, channel: str) -> None:
        self.lost.append(channel)

    def texts(self, channel: str = "example") -> list[str]:
        """What may be delivered on a channel, in order."""
        return [payload_of(m.frame).decode() for name, batch in self.heard if name == channel for m in batch]

    def committed(self, channel: str, batch: Sequence[Message]) -> None:
        self.heard.append((channel, list(batch)))

    def refused(self, channel: str, batch: Sequence[Message]) -> None:
        self.sent_back.append((channel, list(batch)))

    def has_members(self, channel: str) -> bool:
        return channel in self.occupied


class StoreContract:
    """The promises.

    Attributes:
        outlives: whether what was said is there after the store was closed and opened again.
        knows_all: whether it knows the names of all channels, and not only of those that are in use here.
        shows_joins_early: whether a join frame may be in a replay before it is committed.
    """

    outlives = True
    knows_all = True
    shows_joins_early = False
    listener: Listener
    history: Any
    assertEqual: Any
    assertTrue: Any
    assertLess: Any
    assertIn: Any
    assertNotIn: Any

    # -- what a test case of a store says

    async def begin(self, limit: int = 200, max_bytes: int = MAX_CHANNEL_BYTES) -> None:
        """Make `self.listener` and `self.history`, started and open."""
        raise NotImplementedError

    async def settled(self) -> None:
        """Wait until nothing is under way: all that was appended is committed, and stored."""
        raise NotImplementedError

    async def again(self) -> None:
        """Close the store, and open it again as a new process does; with a new listener."""
        raise NotImplementedError

    async def pass_idle_time(self) -> None:
        """Let the time pass after which a channel is forgotten, and a bit, as far as the store can tell."""
        raise NotImplementedError

    # -- for the tests

    def append(self, *what: str | Message, channel: str = "example") -> None:
        """Append messages one batch each; a text is said by alice."""
        for item in what:
            self.history.append(channel, [said(item) if isinstance(item, str) else item])

    async def add(self, *what: str | Message, channel: str = "example") -> None:
        """Likewise, and wait until they are stored."""
        self.append(*what, channel=channel)
        await self.settled()

    async def read(
        self, uid: str = "zoe", history: int | None = None, since: Sequence[int] = (), channel: str = "example"
    ) -> list[str]:
        """What a joiner is sent."""
        replay = self.history.replay(channel, uid, history, since)
        await self.settled()
        return await read_all(replay)

    async def read_twice(self, **asked: Any) -> list[str]:
        """What a joiner is sent, now and by a new process."""
        now = await self.read(**asked)
        if self.outlives:
            await self.again()
            self.assertEqual(await self.read(**asked), now, "after a restart")
        return now

    # -- delivery

    async def test_interfaces(self) -> None:
        """Store and replays are what the seam asks for."""
        await self.begin()
        self.assertTrue(verifyObject(IHistory, self.history))
        await self.add("1")
        self.assertTrue(verifyObject(IReplay, self.history.replay("example", "zoe", None, ())))
        self.assertTrue(verifyObject(IReplay, self.history.replay("nobody was here", "zoe", None, ())))

    async def test_all_is_well(self) -> None:
        """A store that works says nothing."""
        await self.begin()
        await self.add("1")
        self.assertEqual(self.history.not_ready(), [])
        self.assertEqual(tuple(self.history.counts()), (0, 0, 0))

    async def test_in_order(self) -> None:
        """What is said on a channel may be delivered in its order, every message once and unchanged."""
        await self.begin()
        batches = [[said(f"{number}.{part}") for part in range(number % 3 + 1)] for number in range(40)]
        for number, batch in enumerate(batches):
            self.history.append(f"channel {number % 4}", batch)
        if self.history.is_settled:
            self.assertEqual(len(self.listener.heard), len(batches))
        await self.settled()
        self.assertTrue(self.history.is_settled)
        for channel in range(4):
            expected = [message for batch in batches[channel::4] for message in batch]
            found = [m for name, batch in self.listener.heard if name == f"channel {channel}" for m in batch]
            self.assertEqual([(m.frame, m.uid, m.is_join) for m in found], [(m.frame, m.uid, False) for m in expected])

    async def test_origin(self) -> None:
        """The membership that has sent a message is known when it may be delivered: it does not get it back."""
        await self.begin()
        await self.add(said("1", origin=7), said("2", origin=9))
        self.assertEqual([m.origin for _, batch in self.listener.heard for m in batch], [7, 9])

    async def test_remembered_when_delivered(self) -> None:
        """Who joins while a message is delivered gets it one way: it is in the replay already."""
        await self.begin()
        replays: list[IReplay] = []
        inner = self.listener.committed

        def committed(channel: str, batch: Sequence[Message]) -> None:
            inner(channel, batch)
            replays.append(self.history.replay(channel, "zoe", None, ()))

        self.listener.committed = committed  # type: ignore[method-assign]
        await self.add("1")
        await self.add("2")
        self.assertEqual([await read_all(replay) for replay in replays], [["1"], ["1", "2"]])

    async def test_no_gap_no_repetition(self) -> None:
        """At whatever moment somebody joins, replay and live delivery together are everything, once."""
        await self.begin()
        for moment in range(6):
            channel = f"channel {moment}"
            self.append("1", "2", channel=channel)
            if moment % 2:
                await self.settled()
            self.append("3", channel=channel)
            heard = len(self.listener.texts(channel))
            replay = self.history.replay(channel, "zoe", None, ())
            self.append("4", channel=channel)
            if moment % 3:
                await self.settled()
            self.append("5", channel=channel)
            await self.settled()
            live = self.listener.texts(channel)[heard:]
            self.assertEqual(await read_all(replay, 1) + live, ["1", "2", "3", "4", "5"], f"{moment=}")

    async def test_joins_at_the_same_time(self) -> None:
        """Who joins right behind somebody else finds the join frame, however slow the store is."""
        await self.begin()
        await self.add("1")
        for restart in (False, True):
            if restart and self.outlives:
                await self.again()
            self.append(join_of("bob"))
            replay = self.history.replay("example", "zoe", None, ())
            counted = self.history.replay("example", "zoe", 5, ())
            self.append(join_of("zoe"))
            await self.settled()
            found = await read_all(replay)
            self.assertEqual([text for text in found if "zoe" not in text], ["1", hello("bob").decode()])
            self.assertEqual(await read_all(counted), ["1"])

    # -- what is remembered

    async def test_whether_there_are_messages(self) -> None:
        """A replay of one message tells whether there are any: join frames are none."""
        await self.begin()
        self.assertEqual(await self.read_twice(history=1), [])
        await self.add(join_of("bob"))
        self.assertEqual(await self.read_twice(history=1), [])
        await self.add("1")
        self.assertEqual(await self.read_twice(history=1), ["1"])

    async def test_from_a_peer(self) -> None:
        """What a peer held is nobody's, and stands in the history like anything else."""
        await self.begin()
        await self.add(said("1", uid=""), said("2", uid=""), said("3"))
        self.assertEqual([m.uid for _, batch in self.listener.heard for m in batch], ["", "", "alice"])
        self.assertEqual(await self.read_twice(), ["1", "2", "3"])
        self.assertEqual(await self.read(since=digests("1", "2")), ["3"])

    async def test_everything(self) -> None:
        """Text and binary messages of any length, and join frames, are remembered as they are."""
        await self.begin()
        payloads = [
            b"",
            b"x",
            "grüße".encode(),
            b"\0" * 125,
            b"y" * 126,
            b"z" * 65_535,
            b"a" * 65_536,
            b"b" * 1_048_576,
        ]
        frames = [encode_message(payload, is_binary) for payload in payloads for is_binary in (False, True)]
        for frame in frames:
            self.history.append("example", [Message(frame, "alice", 1, is_join=False)])
        for restart in (False, True):
            if restart and self.outlives:
                await self.again()
            await self.settled()
            replay, found = self.history.replay("example", "zoe", None, ()), []
            await self.settled()
            while pulled := replay.pull(100_000):
                found += await pulled if isinstance(pulled, Deferred) else pulled
                if len(found) == len(frames):
                    break
            self.assertEqual(found, frames)

    async def test_count(self) -> None:
        """A channel remembers its last messages, however they came."""
        await self.begin(limit=10)
        for size in (1, 3, 10, 25):
            for start in range(0, 50, size):
                batch = [said(f"{size} {number}") for number in range(start, min(50, start + size))]
                self.history.append("example", batch)
            await self.settled()
            self.assertEqual(await self.read(), [f"{size} {number}" for number in range(40, 50)])
        self.assertEqual(await self.read_twice(), [f"25 {number}" for number in range(40, 50)])

    async def test_changed_limit(self) -> None:
        """It may be told to remember more, or less: a channel follows as soon as somebody speaks on it."""
        await self.begin(limit=3)
        for limit, remembered in ((3, 3), (6, 6), (2, 2)):
            self.history.change(limit, DEFAULT_TOTAL_BYTES)
            for number in range(10):
                self.history.append("example", [said(f"{limit} {number}")])
            await self.settled()
            self.assertEqual(await self.read(), [f"{limit} {number}" for number in range(10 - remembered, 10)])

    async def test_bytes(self) -> None:
        """A channel remembers no more bytes than it is given, and uses them up."""
        size = len(said("0" * 10).frame)
        await self.begin(max_bytes=5 * size)
        for number in range(40):
            await self.add(f"{number:010}")
        self.assertEqual(await self.read_twice(), [f"{number:010}" for number in range(35, 40)])

    async def test_larger_than_everything(self) -> None:
        """A message that is larger than the whole history is delivered, and empties it."""
        await self.begin(max_bytes=100)
        await self.add("1", join_of("bob"), "x" * 200)
        self.assertEqual(self.listener.texts()[-1], "x" * 200)
        self.assertEqual(await self.read_twice(), [])
        await self.add("2")
        self.assertEqual(await self.read_twice(), ["2"])

    async def test_joins(self) -> None:
        """Of each uid only the newest join frame is remembered, where it came last, and it takes one place."""
        await self.begin(limit=5)
        bob, eve = hello("bob").decode(), hello("eve").decode()
        await self.add(join_of("bob"), "1", join_of("eve"), "2", join_of("bob"), "3")
        self.assertEqual(await self.read_twice(), ["1", eve, "2", bob, "3"])
        for _ in range(30):
            self.append(join_of("eve"), join_of("bob"))
        await self.settled()
        self.assertEqual(await self.read_twice(), ["1", "2", "3", eve, bob])

    async def test_apart(self) -> None:
        """Channels do not get in each other's way, whatever they are called."""
        await self.begin(limit=2)
        names = ("a", "A", "a b", "'", '"; --', "%", "x" * 1000, "sqlite", "0")
        for name in names:
            self.append("1", f"of {name}", f"also of {name}", channel=name)
        await self.settled()
        for name in names:
            self.assertEqual(await self.read_twice(channel=name), [f"of {name}", f"also of {name}"])
        self.assertEqual(await self.read(channel="b"), [])
        if self.knows_all:
            self.assertEqual(set(self.history.channels()), set(names))

    # -- what is asked for

    async def test_history(self) -> None:
        """Who asks for a number of messages gets the last so many, without join frames."""
        await self.begin()
        await self.add("1", "2", join_of("bob"), "3")
        for count, expected in ((0, []), (1, ["3"]), (2, ["2", "3"]), (3, ["1", "2", "3"]), (9, ["1", "2", "3"])):
            self.assertEqual(await self.read_twice(history=count), expected, f"{count=}")

    async def test_since(self) -> None:
        """Who names its last messages gets what came behind them, else everything; its own ones do not count."""
        await self.begin()
        bob = hello("bob").decode()
        await self.add("1", "2", join_of("bob"), said("mine", "zoe"), "3", "2", "4")
        for names, expected in (
            (("1",), ["2", bob, "mine", "3", "2", "4"]),
            (("2",), [bob, "mine", "3", "2", "4"]),
            (("1", "2", "3"), ["2", "4"]),
            (("3", "2"), ["4"]),
            (("4",), []),
            (("mine",), ["1", "2", bob, "mine", "3", "2", "4"]),
            (("9",), ["1", "2", bob, "mine", "3", "2", "4"]),
        ):
            self.assertEqual(await self.read_twice(since=digests(*names)), expected, f"{names=}")
        self.assertEqual(await self.read_twice(since=digests("1"), history=2), ["2", "4"])

    async def test_pages(self) -> None:
        """A replay is read in pieces of about the size that is asked for, and then ends for good."""
        await self.begin()
        await self.add(*("x" * 8 for _ in range(200)))  # frames of 10 bytes
        if self.outlives:
            await self.again()
        replay = self.history.replay("example", "zoe", None, ())
        await self.settled()
        sizes = []
        for max_bytes in (1, 10, 11, 100, 10_000, 100):
            pulled = replay.pull(max_bytes)
            sizes.append(len(await pulled if isinstance(pulled, Deferred) else pulled))
        self.assertEqual(sizes, [1, 1, 2, 10, 186, 0])

    async def test_end_is_fixed(self) -> None:
        """What is said after somebody has joined is not part of its replay, what is pushed out by it is."""
        await self.begin(limit=20)
        await self.add(*map(str, range(30)))
        if self.outlives:
            await self.again()
        first = self.history.replay("example", "zoe", None, ())
        self.append("30", join_of("zoe"))
        heard = len(self.listener.heard)
        second = self.history.replay("example", "bob", None, ())
        in_second = [payload_of(m.frame).decode() for _, batch in self.listener.heard[:heard] for m in batch]
        self.append(*map(str, range(31, 80)))
        await self.settled()
        self.assertEqual(await read_all(first, 1), [str(number) for number in range(10, 30)])
        expected = [*map(str, range(30)), *in_second[-2:]][-20:]
        if not self.outlives:
            expected = [*map(str, range(12, 30)), "30", hello("zoe").decode()]
        found = await read_all(second, 1)
        if self.shows_joins_early:
            found = [text for text in found if text != hello("zoe").decode()]
        self.assertEqual(found, expected)

    # -- what is forgotten

    async def test_idle(self) -> None:
        """A channel nobody has spoken on for 30 days is forgotten, others are not."""
        await self.begin()
        await self.add("old", channel="a")
        await self.add("old", channel="b")
        await self.pass_idle_time()
        await self.add("new", channel="b")
        self.history.sweep()
        await self.settled()
        self.assertEqual(set(self.history.channels()), {"b"})
        self.assertEqual(await self.read_twice(channel="a"), [])
        self.assertEqual(await self.read_twice(channel="b"), ["old", "new"])
        self.assertEqual(set(self.history.channels()), {"b"})

    async def test_forget_one(self) -> None:
        """To make room, the least recently used channel without members is forgotten."""
        await self.begin()
        for name in ("a", "b", "c", "a"):
            await self.add("1", channel=name)
        self.listener.occupied = {"b"}
        self.assertTrue(self.history.forget_one())
        await self.settled()
        self.assertEqual((set(self.history.channels()), self.listener.lost), ({"a", "b"}, ["c"]))
        self.assertEqual(await self.read(channel="c"), [])
        self.listener.lost.clear()
        self.assertTrue(self.history.forget_one())
        self.assertEqual(self.listener.lost[0], "a")
        self.assertEqual(self.history.forget_one(), False)
        await self.add("2", channel="a")
        self.assertEqual(await self.read_twice(channel="a"), ["2"])
        self.assertEqual(await self.read_twice(channel="b"), ["1"])

    # -- beginning and end

    async def test_again(self) -> None:
        """A store that is closed and opened again goes on where it was, several times, and in the old order."""
        if not self.outlives:
            return
        await self.begin(limit=100)
        for number in range(5):
            self.append(f"{number} a", join_of("bob"), f"{number} b")
            await self.again()
        bob = hello("bob").decode()
        expected = [f"{number} {part}" for number in range(5) for part in "ab"]
        self.assertEqual(await self.read(), [*expected[:-1], bob, expected[-1]])

    async def test_closed(self) -> None:
        """Closing takes any number of times, and a store that was never opened can be closed."""
        await self.begin()
        self.append("1")
        first, second = self.history.close(), self.history.close()
        await self.settled()
        await first
        await second
        await self.history.close()

    # -- comparison with a list

    async def test_like_a_list(self) -> None:
        """Whatever is said, asked for, read late and restarted, everybody gets what a plain list would give.

        A join frame that has made room by coming again may bring back what it had pushed out, and nothing else.
        """
        for seed in range(30):
            await self._like_a_list(random.Random(seed), seed)

    async def _like_a_list(self, chance: random.Random, seed: int) -> None:
        limit, max_bytes = chance.choice((1, 3, 8, 50)), chance.choice((60, 300, MAX_CHANNEL_BYTES))
        channel = f"channel {seed}"
        await self.begin(limit, max_bytes)
        model: list[Message] = []
        ever: list[Message] = []
        replays: list[tuple[IReplay, list[str], list[str]]] = []
        heard = 0
        for step in range(60):
            action = chance.choice(("say", "say", "say", "join", "ask", "settle", "again"))
            if action == "say":
                uid = chance.choice(("ann", "bob"))
                batch = [
                    said(f"{step}.{part}" + "x" * chance.choice((0, 0, 30)), uid)
                    for part in range(chance.randint(1, 12))
                ]
                self.history.append(channel, batch)
            elif action == "join":
                self.history.append(channel, [join_of(chance.choice(("ann", "bob", "eve")))])
            elif action == "settle":
                await self.settled()
            elif action == "again" and self.outlives and chance.random() < 0.3:
                await self.settled()
                heard = self._follow(model, ever, heard, limit, max_bytes)
                self.assertEqual(heard, len(self.listener.heard))
                await self.again()
                heard = 0
            heard = self._follow(model, ever, heard, limit, max_bytes)
            if action == "ask":
                count = chance.choice((None, None, 2))
                replay = self.history.replay(channel, "zoe", count, ())
                replays.append((replay, *(_asked(messages, count) for messages in (model, ever))))
        await self.settled()
        for replay, texts, all_texts in replays:
            found = await read_all(replay, chance.choice((1, 50, 10_000)))
            if self.shows_joins_early:
                found, texts, all_texts = (
                    [text for text in some if not text.startswith("{")] for some in (found, texts, all_texts)
                )
            self.assertEqual(found[len(found) - len(texts) :], texts, f"{seed=}")
            self.assertEqual(found, all_texts[len(all_texts) - len(found) :], f"{seed=}")
            self.assertLess(len(found), limit + 1)

    def _follow(self, model: list[Message], ever: list[Message], heard: int, limit: int, max_bytes: int) -> int:
        """Do to the lists what was committed since."""
        for _, batch in self.listener.heard[heard:]:
            for message in batch:
                for messages in (model, ever):
                    if message.is_join:
                        messages[:] = [m for m in messages if not (m.is_join and m.uid == message.uid)]
                    messages.append(message)
            while model and (len(model) > limit or sum(len(m.frame) for m in model) > max_bytes):
                del model[0]
        return len(self.listener.heard)


def _asked(messages: list[Message], count: int | None) -> list[str]:
    """The payloads of the last so many messages without join frames, or of all."""
    wanted = [m for m in messages if count is None or not m.is_join]
    return [payload_of(m.frame).decode() for m in wanted[0 if count is None else max(0, len(wanted) - count) :]]
