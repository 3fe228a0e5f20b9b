"""Tests of what a channel remembers and of what is replayed to whom."""

from collections.abc import Sequence
from itertools import accumulate

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mles_tx.channels import history as module
from mles_tx.channels.history import (
    DEFAULT_TOTAL_BYTES,
    IDLE_SECONDS,
    MAX_CHANNEL_BYTES,
    OVERHEAD_BYTES,
    HistoryCounts,
    ICommitted,
    IHistory,
    IReplay,
    MemoryHistory,
    Message,
)
from mles_tx.protocol.auth import digest
from mles_tx.protocol.frames import encode_message, payload_of

from .fakes import LateHistory, LateReplay, ListReplay, PromptReplay, hello, said


def _join(uid: str) -> Message:
    return Message(encode_message(hello(uid), False), uid, 1, is_join=True)


def _digests(*texts: str) -> tuple[int, ...]:
    return tuple(digest(text.encode()) for text in texts)


def _read(replay: IReplay, max_bytes: int = 1 << 20) -> list[str]:
    """The payloads of a replay, read to its end."""
    texts = []
    while pulled := replay.pull(max_bytes):
        assert isinstance(pulled, list)
        texts += [payload_of(frame).decode() for frame in pulled]
    return texts


@implementer(ICommitted)
class _Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, list[Message]]] = []
        self.occupied: set[str] = set()  #: channels with members
        self.lost: list[str] = []  #: what is forgotten

    def forgotten(self, channel: str) -> None:
        self.lost.append(channel)

    def committed(self, channel: str, batch: Sequence[Message]) -> None:
        self.heard.append((channel, list(batch)))

    def refused(self, channel: str, batch: Sequence[Message]) -> None:
        raise AssertionError("the memory store refuses nothing")

    def has_members(self, channel: str) -> bool:
        return channel in self.occupied


class _HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.listener = _Listener()
        self.history = self.build()

    def build(
        self, limit: int = 200, max_bytes: int = MAX_CHANNEL_BYTES, total_bytes: int = DEFAULT_TOTAL_BYTES
    ) -> MemoryHistory:
        history = MemoryHistory(self.clock, limit, max_bytes, total_bytes)
        history.start(self.listener)
        return history

    def add(self, *what: str | Message, channel: str = "example") -> None:
        """Append messages one batch each; a text is said by alice."""
        for item in what:
            self.history.append(channel, [said(item) if isinstance(item, str) else item])

    def read(
        self,
        uid: str = "zoe",
        history: int | None = None,
        since: Sequence[int] = (),
        channel: str = "example",
    ) -> list[str]:
        return _read(self.history.replay(channel, uid, history, since))


class SeamTests(SynchronousTestCase):
    """Stores can be exchanged."""

    def test_interfaces(self) -> None:
        """The memory store and its replays are what the seam asks for, and so are the stand-ins of the tests."""
        memory = MemoryHistory(Clock(), 10)
        self.assertTrue(verifyObject(IHistory, memory))
        self.assertTrue(verifyObject(IHistory, LateHistory(memory)))
        for replay in (memory.replay("x", "y", None, ()), ListReplay([]), LateReplay([]), PromptReplay([])):
            self.assertTrue(verifyObject(IReplay, replay))
        self.assertTrue(verifyObject(ICommitted, _Listener()))

    def test_memory_alone(self) -> None:
        """The memory store opens and closes nothing, is always ready and has nothing to store."""
        memory = MemoryHistory(Clock(), 10)
        memory.open()
        self.assertEqual((memory.not_ready(), memory.counts()), ([], HistoryCounts(0, 0, 0)))
        self.assertIsNone(self.successResultOf(memory.close()))

    def test_numbers(self) -> None:
        """A channel holds 10 MiB and is kept for 30 days, as documented."""
        self.assertEqual((MAX_CHANNEL_BYTES, IDLE_SECONDS), (10_485_760, 2_592_000.0))


class CommitTests(_HistoryTests):
    """The store in memory is never late."""

    def test_at_once(self) -> None:
        """Each batch may be delivered as soon as it is appended, unchanged, in order, under its channel's name."""
        batches = [("a", [said("1"), said("2")]), ("b", [said("3")]), ("a", [_join("bob")])]
        for number, (channel, batch) in enumerate(batches):
            self.history.append(channel, batch)
            self.assertEqual(self.listener.heard, batches[: number + 1])

    def test_also_without_memory(self) -> None:
        """What is too much to be remembered is delivered all the same."""
        self.history = self.build(limit=0)
        self.add("1", _join("bob"), "2")
        self.assertEqual([len(batch) for _, batch in self.listener.heard], [1, 1, 1])
        self.assertEqual(self.read(), [])

    def test_in_the_replay_when_delivered(self) -> None:
        """A message is in the history by the time it is delivered, so that nobody misses it in between."""
        seen: list[list[str]] = []

        @implementer(ICommitted)
        class Reader:
            def committed(reader, channel: str, batch: Sequence[Message]) -> None:
                seen.append(self.read())

            def refused(reader, channel: str, batch: Sequence[Message]) -> None:
                raise AssertionError("the memory store refuses nothing")

            def forgotten(reader, channel: str) -> None:
                raise AssertionError("nothing is forgotten")

            def has_members(reader, channel: str) -> bool:
                return False

        self.history.start(Reader())
        self.add("1", "2")
        self.assertEqual(seen, [["1"], ["1", "2"]])


class BoundsTests(_HistoryTests):
    """What is forgotten, and what is not."""

    def test_count(self) -> None:
        """The last messages up to the limit are remembered, whatever the limit."""
        for limit in (1, 2, 63, 64, 65, 128, 200):
            self.history = self.build(limit=limit)
            for number in range(300):
                self.add(str(number))
                if number in (0, 63, 64, 299):
                    expected = [str(n) for n in range(number + 1)][-limit:]
                    self.assertEqual(self.read(), expected, f"{limit=} {number=}")

    def test_bytes(self) -> None:
        """The frames of a channel never take more than the bytes it is given, and use them up."""
        size = len(said("0" * 10).frame)
        self.history = self.build(limit=1_000, max_bytes=5 * size)
        for number in range(20):
            self.add(f"{number:010}")
            expected = [f"{n:010}" for n in range(max(0, number - 4), number + 1)]
            self.assertEqual(self.read(), expected, f"{number=}")

    def test_bytes_make_room(self) -> None:
        """A large message pushes out as many old ones as it needs room for, and no more."""
        self.history = self.build(max_bytes=1_000)
        self.add(*(str(number) * 98 for number in range(10)))  # frames of 100 bytes
        self.add("x" * 246)  # a frame of 250 bytes
        self.assertEqual([text[0] for text in self.read()], ["3", "4", "5", "6", "7", "8", "9", "x"])

    def test_larger_than_everything(self) -> None:
        """A message that is larger than the whole history empties it, and the next one is remembered again."""
        self.history = self.build(max_bytes=100)
        self.add("1", _join("bob"), "x" * 200)
        self.assertEqual(self.read(), [])
        self.add("2", _join("bob"))
        self.assertEqual(self.read(), ["2", hello("bob").decode()])

    def test_batch_larger_than_the_limit(self) -> None:
        """Of a batch that is longer than the limit the end is remembered."""
        self.history = self.build(limit=3)
        self.history.append("example", [said(str(number)) for number in range(150)])
        self.assertEqual(self.read(), ["147", "148", "149"])

    def test_join_frames_count(self) -> None:
        """A join frame takes a place like any message."""
        self.history = self.build(limit=3)
        self.add(_join("bob"), "1", "2", "3")
        self.assertEqual(self.read(), ["1", "2", "3"])
        self.add(_join("bob"))
        self.assertEqual(self.read(), ["2", "3", hello("bob").decode()])

    def test_channels_apart(self) -> None:
        """A busy channel does not push out what another one remembers."""
        self.history = self.build(limit=2)
        self.add("quiet", channel="a")
        self.add("1", "2", "3", channel="b")
        self.assertEqual((self.read(channel="a"), self.read(channel="b")), (["quiet"], ["2", "3"]))
        self.assertEqual(self.read(channel="c"), [])


class ChangeTests(_HistoryTests):
    """Bounds that change."""

    def test_limit(self) -> None:
        """With a lower limit a channel is replayed no more than that, and its memory comes down; a higher one grows."""
        history = self.build(limit=10)
        for number in range(10):
            history.append("example", [said(str(number))])
        before = history.memory
        history.change(3, 1 << 30)
        self.assertEqual(_read(history.replay("example", "zoe", None, ())), ["7", "8", "9"])
        self.assertLess(history.memory, before)
        history.append("example", [said("10")])
        self.assertEqual(_read(history.replay("example", "zoe", None, ())), ["8", "9", "10"])
        history.change(5, 1 << 30)
        for number in range(11, 20):
            history.append("example", [said(str(number))])
        self.assertEqual(_read(history.replay("example", "zoe", None, ())), ["15", "16", "17", "18", "19"])

    def test_total(self) -> None:
        """With less memory for all, channels lose their history at once, the least recently used first."""
        history = self.build(limit=10)
        for channel in ("old", "new"):
            history.append(channel, [said("x" * 1000)])
        history.change(10, history.memory * 2 // 3)
        self.assertEqual(set(history.channels()), {"new"})
        history.change(10, 1)
        self.assertEqual((set(history.channels()), history.memory), (set(), 0))


class JoinFrameTests(_HistoryTests):
    """A phone that loses its link often does not push the messages out."""

    def test_newest_only(self) -> None:
        """Of each uid only the newest join frame is remembered, at the place where it came last."""
        bob, eve = hello("bob").decode(), hello("eve").decode()
        self.add(_join("bob"), "1", _join("eve"), "2", _join("bob"), "3")
        self.assertEqual(self.read(), ["1", eve, "2", bob, "3"])
        self.add(_join("eve"), _join("bob"))
        self.assertEqual(self.read(), ["1", "2", "3", eve, bob])

    def test_thousand_rejoins(self) -> None:
        """A thousand joins of one uid take one place, and no message is lost for them."""
        self.history = self.build(limit=10)
        self.add(*map(str, range(9)))
        for _ in range(1_000):
            self.add(_join("bob"))
        self.assertEqual(self.read(), [*map(str, range(9)), hello("bob").decode()])

    def test_bytes_come_back(self) -> None:
        """The room of a join frame that was replaced is free again."""
        size = len(_join("bob").frame)
        self.history = self.build(max_bytes=size + 2 * len(said("1").frame))
        self.add("1", "2", *(_join("bob") for _ in range(50)))
        self.assertEqual(self.read(), ["1", "2", hello("bob").decode()])

    def test_after_it_was_forgotten(self) -> None:
        """A uid whose join frame was pushed out is remembered anew."""
        self.history = self.build(limit=2)
        self.add(_join("bob"), "1", "2", _join("bob"), "3", "4", _join("bob"))
        self.assertEqual(self.read(), ["4", hello("bob").decode()])

    def test_messages_that_look_alike(self) -> None:
        """A message with the bytes of a join frame is a message, and stays when that uid joins again."""
        bob = hello("bob").decode()
        self.add(_join("bob"), said(bob, uid="bob"), _join("bob"))
        self.assertEqual(self.read(), [bob, bob])

    def test_many_uids(self) -> None:
        """Hundreds of members who all join again and again leave one join frame each, in the latest order."""
        for _ in range(3):
            self.add(*(_join(f"u{number}") for number in range(150)))
        self.assertEqual(self.read(), [hello(f"u{number}").decode() for number in range(150)])


class IdleTests(_HistoryTests):
    """Nobody's memory is kept for ever."""

    def test_thirty_days(self) -> None:
        """A channel is forgotten when nobody published to it for more than 30 days."""
        self.add("1")
        self.clock.advance(IDLE_SECONDS)
        self.history.sweep()
        self.assertEqual(self.read(), ["1"])
        self.clock.advance(1.0)
        self.assertEqual(self.read(), ["1"])
        self.history.sweep()
        self.assertEqual(self.read(), [])

    def test_use_keeps_it(self) -> None:
        """Whatever is appended starts the 30 days anew, for that channel alone; reading does not."""
        self.add("1", channel="used")
        self.add("1", channel="read")
        self.clock.advance(IDLE_SECONDS - 1.0)
        self.add("2", channel="used")
        self.read(channel="read")
        self.clock.advance(2.0)
        self.history.sweep()
        self.assertEqual((self.read(channel="used"), self.read(channel="read")), (["1", "2"], []))

    def test_begins_again(self) -> None:
        """A channel that was forgotten can be used again."""
        self.add("1", _join("bob"))
        self.clock.advance(IDLE_SECONDS + 1.0)
        self.history.sweep()
        self.add(_join("bob"), "2")
        self.assertEqual(self.read(), [hello("bob").decode(), "2"])

    def test_under_way(self) -> None:
        """A replay that is under way goes on to its end when its channel is forgotten."""
        self.add("1", "2", "3")
        replay = self.history.replay("example", "zoe", None, ())
        first = replay.pull(1)
        self.clock.advance(IDLE_SECONDS + 1.0)
        self.history.sweep()
        self.assertEqual((first, _read(replay, 1)), ([said("1").frame], ["2", "3"]))


class TotalTests(_HistoryTests):
    """All channels together have so much memory."""

    def fill(self, *channels: str, total: int = 10) -> None:
        """One message of about 1000 bytes on each channel, in memory for a number of them."""
        self.history = self.build(total_bytes=total * (1000 + 2 * OVERHEAD_BYTES))
        for channel in channels:
            self.speak(channel)

    def speak(self, channel: str) -> None:
        """Another such message."""
        overhead = len(said("x" * 900).frame) - 900
        self.add("x" * (1000 - overhead - len(channel)), channel=channel)

    @property
    def left(self) -> list[str]:
        """Channels with a history, least recently used first."""
        return list(self.history.channels())

    def test_messages(self) -> None:
        """All messages that are remembered are counted, and none that has gone."""
        self.fill(*"abcdefghij")
        self.assertEqual(self.history.messages, 10)
        self.speak("a")
        self.speak("a")
        replays = [self.history.replay(channel, "zoe", None, ()) for channel in self.left]
        counts = [len(frames) for frames in (replay.pull(1 << 20) for replay in replays) if isinstance(frames, list)]
        self.assertEqual(self.history.messages, sum(counts))
        self.assertLess(self.history.messages, 12)

    def test_fits(self) -> None:
        """As long as there is room for all, nobody's history goes."""
        self.fill(*"abcdefghij")
        self.assertEqual(self.left, list("abcdefghij"))

    def test_least_recently_used(self) -> None:
        """When there is no room the channels nobody spoke on for longest lose their history, down to nine tenths."""
        self.fill(*"abcdefghij")
        self.speak("k")
        self.assertEqual(self.left, list("cdefghijk"))

    def test_use(self) -> None:
        """Whoever speaks keeps the history of its channel; reading it does not."""
        self.fill(*"abcdefghi")
        self.speak("a")  # the second message on it: less overhead than a channel of its own
        self.read(channel="b")
        self.speak("j")
        self.assertEqual(self.left, list("defghiaj"))

    def test_members(self) -> None:
        """Channels with members keep theirs as long as there are others."""
        self.fill(*"abcdefghij")
        self.listener.occupied = set("abdef")
        self.speak("k")
        self.assertEqual(self.left, list("abdefhijk"))

    def test_members_only(self) -> None:
        """When all have members those go as well, least recently used first."""
        self.fill(*"abcdefghij")
        self.listener.occupied = set("abcdefghijk")
        self.speak("k")
        self.assertEqual(self.left, list("cdefghijk"))

    def test_speaking_channel_last(self) -> None:
        """A large message makes room of the other channels, also of those with members; its own is the last to go."""
        self.fill(*"abcdefghij")
        self.listener.occupied = set("bcdefghij")
        self.add("y" * 13_000, channel="a")
        self.assertEqual(self.left, ["a"])
        self.assertEqual(self.read(channel="a")[-1], "y" * 13_000)

    def test_delivered_all_the_same(self) -> None:
        """Whatever is forgotten, everything that was said is delivered, in order."""
        channels = "abcdefghijklmnop"
        self.fill(*channels, total=3)
        self.assertEqual([channel for channel, _ in self.listener.heard], list(channels))
        self.assertEqual(self.left, ["o", "p"])

    def test_never_more(self) -> None:
        """However many channels come and however much is said there, the bound holds."""
        total = 20_000
        self.history = self.build(total_bytes=total)
        for number in range(500):
            self.listener.occupied = {str(other) for other in range(number % 7)}
            self.add("x" * (number * 37 % 1500), _join(str(number)), channel=str(number * 13 % 40))
            self.assertTrue(0 < self.history.memory <= total, f"{number=} {self.history.memory}")

    def test_one_channel_alone(self) -> None:
        """The bound holds for a single channel as well: when nothing else is left, its own oldest messages go."""
        total = 10_000
        self.history = self.build(limit=1_000, total_bytes=total)
        for number in range(100):
            self.add(f"{number}" * 100)
            self.assertLessEqual(self.history.memory, total, f"{number=}")
        self.assertEqual(self.read()[-1], "99" * 100)

    def test_memory(self) -> None:
        """Memory is counted with what a message and a channel take beside their bytes, and comes back."""
        self.assertEqual(self.history.memory, 0)
        one, join = len(said("one").frame), len(_join("bob").frame)
        self.add("one", channel="abc")
        self.assertEqual(self.history.memory, one + 3 + 2 * OVERHEAD_BYTES)
        self.add(_join("bob"), _join("bob"), channel="abc")
        self.assertEqual(self.history.memory, one + join + 3 + 3 * OVERHEAD_BYTES)
        self.add("one", channel="d")
        self.assertEqual(self.history.memory, 2 * one + join + 4 + 5 * OVERHEAD_BYTES)
        self.clock.advance(IDLE_SECONDS + 1.0)
        self.history.sweep()
        self.assertEqual((self.history.memory, self.left), (0, []))

    def test_memory_of_what_is_pushed_out(self) -> None:
        """A history that is at its limit takes no more memory, however much is said."""
        self.history = self.build(limit=3, max_bytes=1000)
        self.add("1", "2", "3")
        before = self.history.memory
        self.add("4", _join("bob"), "x" * 2000, "5", "6", "7")
        self.assertEqual((self.read(), self.history.memory), (["5", "6", "7"], before))

    def test_forget_one(self) -> None:
        """Asked for it, the least recently used channel without members goes, one at a time, and no other."""
        self.fill(*"abcd")
        self.listener.occupied = {"a", "c"}
        memory = self.history.memory
        self.speak("b")
        self.assertTrue(self.history.forget_one())
        self.assertEqual(self.left, ["a", "c", "b"])
        self.assertLess(self.history.memory, memory + 1000)
        self.assertTrue(self.history.forget_one())
        self.assertEqual((self.left, self.listener.lost), (["a", "c"], ["d", "b"]))
        memory = self.history.memory
        self.assertFalse(self.history.forget_one())
        self.assertEqual((self.left, self.history.memory), (["a", "c"], memory))

    def test_forget_none(self) -> None:
        """Where nothing is remembered nothing can be forgotten."""
        self.assertFalse(self.history.forget_one())
        self.assertEqual((self.history.memory, self.left), (0, []))

    def test_under_way(self) -> None:
        """A replay that is under way goes on to its end when its channel is forgotten to make room."""
        self.fill(*"abcdefghij")
        replay = self.history.replay("a", "zoe", None, ())
        self.speak("k")
        self.assertNotIn("a", self.left)
        self.assertEqual([text[:1] for text in _read(replay)], ["x"])


class HistoryTests(_HistoryTests):
    """A joiner may ask for the last messages only."""

    def test_last_messages(self) -> None:
        """The last N messages come, oldest first, without join frames; all of them when there are fewer."""
        self.add("1", _join("bob"), "2", "3", _join("eve"), "4", _join("dan"))
        for wanted, expected in (
            (0, []),
            (1, ["4"]),
            (2, ["3", "4"]),
            (3, ["2", "3", "4"]),
            (4, ["1", "2", "3", "4"]),
            (5, ["1", "2", "3", "4"]),
            (10**40, ["1", "2", "3", "4"]),
        ):
            self.assertEqual(self.read(history=wanted), expected, f"{wanted=}")
        self.assertEqual(len(self.read(history=None)), 7)

    def test_own_messages_too(self) -> None:
        """The joiner's own messages are part of its history."""
        self.add(said("1", uid="zoe"), "2", said("3", uid="zoe"))
        self.assertEqual(self.read(uid="zoe"), ["1", "2", "3"])
        self.assertEqual(self.read(uid="zoe", history=1), ["3"])

    def test_nothing_there(self) -> None:
        """On a channel nobody knows there is nothing to replay, whatever is asked for."""
        for history, since in ((None, ()), (0, ()), (5, ()), (None, _digests("1")), (5, _digests("1"))):
            self.assertEqual(self.read(history=history, since=since, channel="new"), [], f"{history=} {since=}")


class SinceTests(_HistoryTests):
    """A joiner that was here before gets what it does not have."""

    def test_behind_the_run(self) -> None:
        """The replay begins behind the place where the last frames of the joiner stand."""
        self.add("1", "2", "3", "4", "5")
        for since, expected in (
            (("5",), []),
            (("4",), ["5"]),
            (("1",), ["2", "3", "4", "5"]),
            (("2", "3"), ["4", "5"]),
            (("1", "2", "3", "4"), ["5"]),
            (("1", "2", "3", "4", "5"), []),
        ):
            self.assertEqual(self.read(since=_digests(*since)), expected, f"{since=}")

    def test_unknown(self) -> None:
        """A run that does not stand here as a whole, in its order and without gaps, brings everything."""
        self.add("1", "2", "3", "4")
        for since in (("9",), ("9", "2"), ("2", "9"), ("3", "2"), ("1", "3"), ("4", "1"), ("2", "2"), ("4", "5")):
            self.assertEqual(self.read(since=_digests(*since)), ["1", "2", "3", "4"], f"{since=}")

    def test_earliest_place(self) -> None:
        """When the run stands in several places the earliest counts: some may be doubled, nothing is lost."""
        self.add("a", "b", "1", "a", "b", "2", "b")
        self.assertEqual(self.read(since=_digests("a", "b")), ["1", "a", "b", "2", "b"])
        self.assertEqual(self.read(since=_digests("b")), ["1", "a", "b", "2", "b"])
        self.assertEqual(self.read(since=_digests("1", "a", "b")), ["2", "b"])
        self.assertEqual(self.read(since=_digests("2", "b")), [])

    def test_overlapping_places(self) -> None:
        """Repeats within the run itself do not lead past it."""
        self.add("a", "a", "a", "b", "a", "a", "b", "c")
        self.assertEqual(self.read(since=_digests("a", "a", "b")), ["a", "a", "b", "c"])
        self.assertEqual(self.read(since=_digests("b", "a", "a", "b")), ["c"])

    def test_own_frames_do_not_break_the_run(self) -> None:
        """What the joiner said itself it was never sent: its frames are no part of the run, but of the replay."""
        self.add("1", said("own", uid="zoe"), "2", said("own 2", uid="zoe"), "3")
        self.assertEqual(self.read(uid="zoe", since=_digests("1", "2")), ["own 2", "3"])
        self.assertEqual(self.read(uid="bob", since=_digests("1", "2")), ["1", "own", "2", "own 2", "3"])
        self.assertEqual(self.read(uid="bob", since=_digests("1", "own", "2")), ["own 2", "3"])

    def test_join_frames_in_the_history(self) -> None:
        """Join frames between the messages do not break a run, and those behind it are replayed."""
        bob, eve = hello("bob").decode(), hello("eve").decode()
        self.add("1", _join("bob"), "2", _join("eve"), "3")
        self.assertEqual(self.read(since=_digests("1", "2")), [eve, "3"])
        self.assertEqual(self.read(since=_digests("1")), [bob, "2", eve, "3"])

    def test_join_frames_in_the_run(self) -> None:
        """A joiner that counts join frames it was replayed among its last frames finds its place all the same."""
        bob, eve = hello("bob").decode(), hello("eve").decode()
        self.add("1", _join("bob"), "2", "3", _join("eve"))
        self.assertEqual(self.read(since=_digests("1", bob, "2")), ["3", eve])
        self.assertEqual(self.read(since=_digests("1", "2", bob, eve)), ["3", eve])

    def test_join_frames_only(self) -> None:
        """Who has nothing but join frames gets everything."""
        bob = hello("bob").decode()
        self.add("1", _join("bob"), "2")
        self.assertEqual(self.read(since=_digests(bob)), ["1", bob, "2"])

    def test_pushed_out(self) -> None:
        """When the joiner's last frame is forgotten, everything there still is comes."""
        self.history = self.build(limit=3)
        self.add("1", "2", "3", "4", "5")
        self.assertEqual(self.read(since=_digests("2")), ["3", "4", "5"])
        self.assertEqual(self.read(since=_digests("2", "3")), ["3", "4", "5"])
        self.assertEqual(self.read(since=_digests("3")), ["4", "5"])

    def test_payload_counts(self) -> None:
        """A digest is one of the payload: of any length, text or binary alike."""
        for payload in (b"", b"x", b"x" * 126, b"x" * 65_536):
            for is_binary in (False, True):
                self.history = self.build()
                self.add(Message(encode_message(payload, is_binary), "alice", 1, is_join=False), "behind")
                self.assertEqual(self.read(since=(digest(payload),)), ["behind"], f"{len(payload)} {is_binary}")

    def test_with_history(self) -> None:
        """Together with a number, the last so many of what stands behind the run come."""
        self.add("1", "2", _join("bob"), "3", "4", _join("eve"), "5")
        for since, history, expected in (
            (("2",), 10, ["3", "4", "5"]),
            (("2",), 2, ["4", "5"]),
            (("2",), 0, []),
            (("4",), 2, ["5"]),
            (("5",), 2, []),
            (("9",), 2, ["4", "5"]),
        ):
            self.assertEqual(self.read(history=history, since=_digests(*since)), expected, f"{since=} {history=}")


class ReplayTests(_HistoryTests):
    """A replay is fixed when it begins, and walks at its reader's pace."""

    def test_pages(self) -> None:
        """Each pull gives whole frames, at least one, and stops once it has the bytes asked for."""
        self.add(*("x" * 8 for _ in range(200)))  # frames of 10 bytes
        for max_bytes, page in ((1, 1), (10, 1), (11, 2), (100, 10), (101, 11), (1_999, 200), (5_000, 200)):
            replay = self.history.replay("example", "zoe", None, ())
            pulled = replay.pull(max_bytes)
            assert isinstance(pulled, list)
            self.assertEqual(len(pulled), page, f"{max_bytes=}")
            self.assertEqual(len(_read(replay, max_bytes)), 200 - page, f"{max_bytes=}")

    def test_bytes_of_a_page(self) -> None:
        """The frame with which a page has the bytes asked for is its last, however large, wherever runs end."""
        sizes = [3, 200, 4, 5, 70_000, 6, 7, 66_000, 3, *(8 + number % 5 for number in range(150)), 65_536, 10, 10]
        frames = [encode_message(b"x" * size, True) for size in sizes]
        lengths = [len(frame) for frame in frames]
        for asked in ((None, ()), (500, ())):  # the runs of the store, and a run of its own
            self.history = self.build(limit=500)
            for frame in frames:
                self.history.append("example", [Message(frame, "alice", 1, is_join=False)])
            around = {total + more for total in accumulate(lengths) for more in (-1, 0, 1)}
            for max_bytes in sorted(around):
                replay = self.history.replay("example", "zoe", *asked)
                at = 0
                while pulled := replay.pull(max_bytes):
                    assert isinstance(pulled, list)
                    self.assertEqual(pulled, frames[at : at + len(pulled)], f"{max_bytes=} {at=}")
                    self.assertLess(sum(map(len, pulled[:-1])), max_bytes, f"{max_bytes=} {at=}")
                    at += len(pulled)
                    if at < len(frames):
                        self.assertGreaterEqual(sum(map(len, pulled)), max_bytes, f"{max_bytes=} {at=}")
                self.assertEqual(at, len(frames), f"{max_bytes=}")

    def test_different_pages(self) -> None:
        """Pages of different sizes follow on each other without a gap, within a run and over the ends of runs."""
        self.add(*(str(number) for number in range(200)))  # frames of 3 to 5 bytes
        replay = self.history.replay("example", "zoe", None, ())
        found: list[str] = []
        pages = []
        for max_bytes in (1, 3, 4, 30, 31, 1, 200, 230, 2, 100, 400, 1000):
            pulled = replay.pull(max_bytes)
            assert isinstance(pulled, list)
            pages.append(len(pulled))
            found += [payload_of(frame).decode() for frame in pulled]
        self.assertEqual(found, [str(number) for number in range(200)])
        self.assertEqual(pages, [1, 1, 2, 9, 8, 1, 50, 52, 1, 20, 55, 0])

    def test_end(self) -> None:
        """After the end there is nothing, however often one asks, also when messages came meanwhile."""
        self.add("1")
        replay = self.history.replay("example", "zoe", None, ())
        self.assertEqual(_read(replay), ["1"])
        self.add("2")
        self.assertEqual([replay.pull(100) for _ in range(3)], [[], [], []])

    def test_two_readers(self) -> None:
        """Two who join one after the other each get their own replay, at their own pace."""
        self.add("1", "2")
        first = self.history.replay("example", "bob", None, ())
        self.add("3")
        second = self.history.replay("example", "eve", None, ())
        self.assertEqual(first.pull(1), [said("1").frame])
        self.assertEqual(_read(second, 1), ["1", "2", "3"])
        self.assertEqual(_read(first, 1), ["2"])

    def test_fixed_while_appended(self) -> None:
        """What is said after the call is not part of it, wherever the runs of the store begin and end."""
        for before in (0, 1, 2, 63, 64, 65, 127, 128, 130):
            self.history = self.build(limit=500)
            self.add(*map(str, range(before)))
            replays = [self.history.replay("example", "zoe", *asked) for asked in ((None, ()), (500, ()))]
            pulled = [replay.pull(1) for replay in replays]
            for number in range(150):
                self.add(f"later {number}")
            for replay, begun in zip(replays, pulled, strict=True):
                assert isinstance(begun, list)
                found = [payload_of(frame).decode() for frame in begun] + _read(replay, 100)
                self.assertEqual(found, [str(number) for number in range(before)], f"{before=}")

    def test_fixed_while_pushed_out(self) -> None:
        """What is forgotten after the call is part of it all the same."""
        self.history = self.build(limit=100)
        self.add(*map(str, range(100)))
        replay = self.history.replay("example", "zoe", None, ())
        replay.pull(1)
        self.add(*(f"later {number}" for number in range(250)))
        self.assertEqual(_read(replay, 10), [str(number) for number in range(1, 100)])
        self.assertEqual(self.read(), [f"later {number}" for number in range(150, 250)])

    def test_starts_behind_what_is_forgotten(self) -> None:
        """What was forgotten before the call is not part of it."""
        self.history = self.build(limit=70)
        self.add(*map(str, range(100)))
        replay = self.history.replay("example", "zoe", None, ())
        self.add("later")
        self.assertEqual(_read(replay, 10), [str(number) for number in range(30, 100)])

    def test_rejoin_meanwhile(self) -> None:
        """A uid that joins again during a replay disturbs neither the replay nor what is remembered."""
        bob = hello("bob").decode()
        for before in (1, 40, 62, 63, 64, 100):
            self.history = self.build(limit=500)
            self.add("0", _join("bob"), *map(str, range(1, before)))
            replay = self.history.replay("example", "zoe", None, ())
            begun = replay.pull(1)
            self.add(_join("bob"), "later", _join("bob"))
            self.assertEqual(begun, [said("0").frame])
            self.assertEqual(_read(replay, 50), [bob, *map(str, range(1, before))], f"{before=}")
            self.assertEqual(self.read(), [*map(str, range(before)), "later", bob], f"{before=}")

    def test_rejoin_behind_a_large_message(self) -> None:
        """Who joins again behind a large message is not replayed what is said from then on: that comes live."""
        large = "x" * 100_000
        self.add(large, _join("bob"))
        replay = self.history.replay("example", "bob", None, ())
        self.add(_join("bob"), "later")
        self.assertEqual([text[:20] for text in _read(replay, 1)], [large[:20], hello("bob").decode()[:20]])
        self.assertEqual([text[:20] for text in self.read()], [large[:20], hello("bob").decode()[:20], "later"])

    def test_rejoin_behind_many_messages(self) -> None:
        """The same holds for one that joins again and again behind many small messages."""
        self.add(_join("bob"), *map(str, range(63)), _join("bob"))
        replay = self.history.replay("example", "bob", None, ())
        self.add(_join("bob"), "later")
        self.assertEqual(_read(replay, 100), [*map(str, range(63)), hello("bob").decode()])

    def test_order_behind_large_messages(self) -> None:
        """Joins and messages keep their order among messages of any size."""
        expected: list[str] = []
        for number in range(60):
            text = f"{number} " + "x" * (70_000 if number % 3 == 0 else 10)
            self.add(text, _join("bob"))
            expected.append(text)
        self.assertEqual(self.read(), [*expected, hello("bob").decode()])


# -- comparison with a list

_UIDS = ("ann", "bob", "eve")

_MESSAGES = st.builds(
    lambda uid, is_join, text: _join(uid) if is_join else said(text, uid=uid),
    uid=st.sampled_from(_UIDS),
    is_join=st.booleans(),
    text=st.sampled_from(("a", "b", "c", "long" * 5, "longer" * 8, hello("bob").decode())),
)

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(_MESSAGES, min_size=1, max_size=3)),
        st.tuples(st.just("join"), st.tuples(st.sampled_from(_UIDS), st.none(), st.just([]))),
        st.tuples(
            st.just("replay"),
            st.tuples(
                st.sampled_from(_UIDS),
                st.sampled_from((None, None, None, 0, 1, 2, 5)),
                st.just([]) | st.lists(st.sampled_from(("a", "b", "c", "d", hello("bob").decode())), max_size=3),
            ),
        ),
        st.tuples(st.just("pull"), st.tuples(st.integers(0, 4), st.integers(1, 120))),
    ),
    max_size=40,
)


class _Model:
    """The same history as one plain list."""

    def __init__(self, limit: int, max_bytes: int) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self.messages: list[Message] = []

    def append(self, batch: Sequence[Message]) -> None:
        for message in batch:
            if message.is_join:
                self.messages = [m for m in self.messages if not (m.is_join and m.uid == message.uid)]
            self.messages.append(message)
        while len(self.messages) > self._limit or sum(len(m.frame) for m in self.messages) > self._max_bytes:
            del self.messages[0]

    def replay(self, uid: str, history: int | None, since: Sequence[int]) -> list[str]:
        messages = self.messages[self._behind(uid, since) :]
        if history is not None:
            messages = [m for m in messages if not m.is_join]
            messages = messages[len(messages) - history :] if history < len(messages) else messages
        return [payload_of(m.frame).decode() for m in messages]

    def _behind(self, uid: str, since: Sequence[int]) -> int:
        joins = {digest(payload_of(m.frame)) for m in self.messages if m.is_join}
        wanted = [item for item in since if item not in joins]
        counted = [
            (index, digest(payload_of(m.frame)))
            for index, m in enumerate(self.messages)
            if m.uid != uid and digest(payload_of(m.frame)) not in joins
        ]
        for at in range(len(counted) - len(wanted) + 1):
            place = counted[at : at + len(wanted)]
            if place and [found for _, found in place] == wanted:
                return place[-1][0] + 1
        return 0


class LikeAListTests(_HistoryTests):
    """The store behaves like a plain list, however it is laid out."""

    def setUp(self) -> None:
        super().setUp()
        # Short runs, so that a few steps come to their ends.
        self.patch(module, "_RUN_MESSAGES", 4)
        self.patch(module, "_RUN_BYTES", 50)

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
    @given(steps=_STEPS, limit=st.integers(0, 20), max_bytes=st.sampled_from((60, 200, 10_000)))
    def test_any_order(self, steps: list[tuple[str, object]], limit: int, max_bytes: int) -> None:
        """Whatever is appended, pushed out, replayed and read in whatever order, everybody gets what a list gives."""
        history = self.build(limit, max_bytes)
        model = _Model(limit, max_bytes)
        replays: list[tuple[IReplay, list[str], list[str]]] = []
        for step, value in steps:
            if step == "append":
                assert isinstance(value, list)
                history.append("example", value)
                model.append(value)
            elif step in ("replay", "join"):
                assert isinstance(value, tuple)
                uid, count, texts = value
                since = _digests(*texts)
                replays.append((history.replay("example", uid, count, since), model.replay(uid, count, since), []))
                if step == "join":  # as the registry does it
                    batch = [_join(uid)]
                    history.append("example", batch)
                    model.append(batch)
            elif replays:
                assert isinstance(value, tuple)
                replay, _, found = replays[value[0] % len(replays)]
                pulled = replay.pull(value[1])
                assert isinstance(pulled, list)
                found += [payload_of(frame).decode() for frame in pulled]
        for replay, expected, found in replays:
            self.assertEqual(found + _read(replay, 50), expected, f"{steps} {limit=} {max_bytes=}")
        remembered = _read(history.replay("example", "zoe", None, ()))
        self.assertEqual(remembered, model.replay("zoe", None, ()), f"{steps} {limit=} {max_bytes=}")
