"""Tests of the outbox: what reaches a peer, in which order, whatever its transport does."""

import weakref
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.channels import member as module
from mles_tx.channels.deadlines import Deadlines
from mles_tx.channels.history import IReplay
from mles_tx.channels.member import MAX_BACKLOG_BYTES, STALL_SECONDS, IMember, Outbox
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import PING, close_frame, encode_message, encode_pong

from .fakes import FakeMember, FakeTransport, LateReplay, ListReplay, PromptReplay, frames_in, split

_PIECE = 128 * 1024
_CLOSE = close_frame(CloseReason.SERVER_STOPPING)


def _frame(text: str, size: int = 0) -> bytes:
    """A text message, filled up to that many bytes of payload."""
    return encode_message(text.encode().ljust(size, b"."), False)


class BrokenReplayError(Exception):
    """The disk is gone."""


class _OutboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.cuts: list[CloseReason] = []
        self.closes = False  # whether a cut is followed by a close frame, as a connection does it
        self.flushes = 0
        self.outbox = self.build()

    def build(self, max_backlog: int = MAX_BACKLOG_BYTES) -> Outbox:
        self.stalled = Deadlines[Outbox](self.clock, STALL_SECONDS, Outbox.expire)
        self.transport = FakeTransport()
        outbox = Outbox(self.transport.write, self.stalled, self.cut, max_backlog)
        self.transport.producer = outbox
        return outbox

    def cut(self, reason: CloseReason) -> None:
        self.cuts.append(reason)
        if self.closes:
            self.outbox.finish(close_frame(reason), keep=False, flushed=self.flushed)

    def flushed(self) -> None:
        self.flushes += 1

    @property
    def frames(self) -> list[bytes]:
        """What the peer has read, when it ends with a whole frame."""
        return frames_in(self.transport.data)


class GoneTests(_OutboxTests):
    """When the connection is gone."""

    def test_nothing_is_held(self) -> None:
        """An outbox whose connection is gone knows nothing of it: nobody waits for a collection of garbage."""

        class Owner:
            """A connection, which knows its outbox."""

            outbox: Outbox

            def take(self, data: bytes) -> None:
                pass

            def cut(self, reason: CloseReason) -> None:
                pass

            def flushed(self) -> None:
                pass

            def bytes_taken(self) -> int:
                return 7

        owner = Owner()
        outbox = owner.outbox = Outbox(owner.take, self.stalled, owner.cut, bytes_taken=owner.bytes_taken)
        outbox.finish(_CLOSE, keep=False, flushed=owner.flushed)
        self.assertEqual(outbox.progress(), (0, 7))
        outbox.discard()
        gone = weakref.ref(owner)
        del owner
        self.assertIsNone(gone())
        outbox.write(_frame("too late"))
        outbox.control(PING)
        self.assertEqual(outbox.progress(), (0, 0))


class InterfaceTests(_OutboxTests):
    """The outbox fits between a channel and a transport."""

    def test_interfaces(self) -> None:
        """Transports can drive an outbox, and the stand-in for members is one."""
        self.assertTrue(verifyObject(IPushProducer, self.outbox))
        self.assertTrue(verifyObject(IMember, FakeMember()))

    def test_numbers(self) -> None:
        """A member may have 8 MiB waiting and take nothing for 60 seconds, as documented."""
        self.assertEqual((MAX_BACKLOG_BYTES, STALL_SECONDS), (8_388_608, 60.0))


class DirectTests(_OutboxTests):
    """A member that reads as fast as the others speak."""

    def test_straight_through(self) -> None:
        """What is written goes to the transport at once, as it is, and nothing waits."""
        for text in ("one", "two", "three"):
            data = _frame(text)
            self.outbox.write(data)
            self.assertIs(self.transport.sent[-1], data)
            self.assertEqual((self.outbox.is_waiting, self.outbox.backlog), (False, 0))
        self.assertEqual(self.frames, [_frame("one"), _frame("two"), _frame("three")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pieces(self) -> None:
        """What is large is handed over in pieces of 128 KiB, whole and in order."""
        for size, pieces in (
            (_PIECE - 10, [_PIECE]),
            (_PIECE - 9, [_PIECE, 1]),
            (2 * _PIECE - 10, [_PIECE, _PIECE]),
            (1024 * 1024, [_PIECE] * 8 + [10]),
        ):
            self.outbox = self.build()
            data = encode_message(bytes(range(256)) * (size // 256) + b"x" * (size % 256), True)
            self.outbox.write(data)
            self.assertEqual([len(piece) for piece in self.transport.sent], pieces, f"{size=}")
            self.assertTrue(self.transport.data == data, f"{size=}")
            self.assertEqual((self.outbox.is_waiting, self.outbox.backlog), (False, 0), f"{size=}")

    def test_pause_at_every_write(self) -> None:
        """A transport that has enough after every write, as plain TCP has, gets everything, one resume at a time."""
        self.transport.room = 1
        sent = [_frame(str(number)) for number in range(5)]
        for data in sent:
            self.outbox.write(data)
            self.assertTrue(self.outbox.is_waiting)
        self.assertEqual(self.frames, sent[:1])
        self.transport.resume(room=1)
        self.assertEqual(self.frames, sent)
        self.transport.resume(room=1)
        self.assertEqual((self.outbox.is_waiting, self.outbox.backlog), (False, 0))


class BlockedTests(_OutboxTests):
    """A member that reads more slowly."""

    def test_waits(self) -> None:
        """While the transport has enough nothing is sent, and nothing is lost."""
        self.outbox.write(_frame("0"))
        self.transport.pause()
        waiting = [_frame(str(number)) for number in range(1, 4)]
        for data in waiting:
            self.outbox.write(data)
        self.assertEqual(self.frames, [_frame("0")])
        self.assertEqual((self.outbox.is_waiting, self.outbox.backlog), (True, sum(map(len, waiting))))
        self.transport.resume()
        self.assertEqual(self.frames, [_frame("0"), *waiting])
        self.assertEqual((self.outbox.is_waiting, self.outbox.backlog), (False, 0))

    def test_joined(self) -> None:
        """Small messages that waited are handed over together, not one by one."""
        self.transport.pause()
        for number in range(1_000):
            self.outbox.write(_frame(str(number)))
        self.transport.resume()
        self.assertEqual(len(self.transport.sent), 1)
        self.assertEqual(self.frames, [_frame(str(number)) for number in range(1_000)])

    def test_one_piece_for_each_resume(self) -> None:
        """A transport that takes a piece at a time gets pieces of 128 KiB at most and can stop after each."""
        self.transport.pause()
        waiting = [_frame(str(number), 50_000) for number in range(20)]
        for data in waiting:
            self.outbox.write(data)
        total = sum(map(len, waiting))
        resumes = 0
        while self.outbox.is_waiting:
            self.transport.resume(room=1)
            resumes += 1
            self.assertLessEqual(len(self.transport.sent), resumes)
            self.assertLessEqual(resumes, 100)
        self.assertLessEqual(max(map(len, self.transport.sent)), _PIECE)
        self.assertEqual((len(self.transport.data), self.frames), (total, waiting))

    def test_newer_behind_older(self) -> None:
        """What is written while older messages wait comes behind them, also in the middle of a large one."""
        large = _frame("large", 3 * _PIECE)
        self.transport.room = 1
        self.outbox.write(large)
        self.outbox.write(_frame("a"))
        self.transport.resume(room=1)
        self.outbox.write(_frame("b"))
        self.transport.resume()
        self.outbox.write(_frame("c"))
        self.assertEqual(self.frames, [large, _frame("a"), _frame("b"), _frame("c")])

    def test_paused_twice(self) -> None:
        """A transport may say several times that it has enough, and several times that it wants more."""
        self.transport.pause()
        self.transport.pause()
        self.outbox.write(_frame("1"))
        self.transport.resume()
        self.transport.resume()
        self.outbox.write(_frame("2"))
        self.transport.pause()
        self.outbox.write(_frame("3"))
        self.assertEqual(self.frames, [_frame("1"), _frame("2")])
        self.transport.resume()
        self.assertEqual(self.frames, [_frame("1"), _frame("2"), _frame("3")])

    def test_sign_of_life(self) -> None:
        """Each time the transport wants more counts as a sign that the peer reads; being told twice counts once."""
        self.assertEqual(self.outbox.progress()[0], 0)
        self.transport.resume()
        self.assertEqual(self.outbox.progress()[0], 0)
        for number in range(1, 4):
            self.transport.pause()
            self.assertEqual(self.outbox.progress()[0], number - 1)
            self.transport.resume()
            self.transport.resume()
            self.assertEqual(self.outbox.progress()[0], number)


class SlowProgressTests(_OutboxTests):
    """A transport that asks for more rarely, and can tell how much its peer has taken."""

    def setUp(self) -> None:
        super().setUp()
        self.taken_bytes = 0
        self.outbox = Outbox(self.transport.write, self.stalled, self.cut, bytes_taken=lambda: self.taken_bytes)
        self.transport.producer = self.outbox

    def test_takes_a_little(self) -> None:
        """Who has taken a single byte within the time is not cut, however long the transport asks for nothing."""
        self.transport.pause()
        for _ in range(5):
            self.taken_bytes += 1
            self.clock.advance(STALL_SECONDS)
            self.assertEqual(self.cuts, [])
        self.clock.advance(STALL_SECONDS)
        self.assertEqual(self.cuts, [CloseReason.TOO_SLOW])

    def test_took_before(self) -> None:
        """What was taken before the transport had enough does not count."""
        self.taken_bytes = 100
        self.transport.pause()
        self.clock.advance(STALL_SECONDS)
        self.assertEqual(self.cuts, [CloseReason.TOO_SLOW])


class BacklogTests(_OutboxTests):
    """How much may wait for one member."""

    def test_default(self) -> None:
        """A member for whom 8 MiB wait goes on; one byte more and the next message cuts it off as too slow."""
        self.transport.pause()
        block = _frame("block", 1024 * 1024 - 10)
        for _ in range(8):
            self.outbox.write(block)
        self.assertEqual(self.outbox.backlog, MAX_BACKLOG_BYTES)
        self.outbox.write(b"\x81\x00")
        self.assertEqual(self.cuts, [])
        self.outbox.write(_frame("too much"))
        self.assertEqual(self.cuts, [CloseReason.TOO_SLOW])

    def test_what_waited_before_counts(self) -> None:
        """Many large messages in one turn do not cut off who had nothing waiting before them."""
        for before, cut in (([], False), ([100], False), ([99, 1], False), ([101], True), ([100, 1], True)):
            self.outbox = self.build(max_backlog=100)
            self.cuts.clear()
            self.transport.pause()
            for size in before:
                self.outbox.write(b"x" * size)
            self.outbox.write(b"y" * 5_000)
            self.assertEqual(self.cuts, [CloseReason.TOO_SLOW] * cut, f"{before=}")
            self.assertEqual(self.outbox.backlog, sum(before) + 5_000 * (not cut), f"{before=}")

    def test_large_to_who_reads(self) -> None:
        """A message larger than the limit reaches a member that reads."""
        self.outbox = self.build(max_backlog=100)
        data = _frame("large", 3 * _PIECE)
        self.outbox.write(data)
        self.outbox.write(data)
        self.assertEqual((self.frames, self.cuts), ([data, data], []))

    def test_large_after_small(self) -> None:
        """Who reads nothing holds no copy of a large message, also when small ones came before it."""
        small, large = _frame("small", 1000), _frame("large", 8 * _PIECE)
        self.transport.pause()
        self.outbox.write(small)
        self.outbox.write(large)
        self.transport.resume(1)
        self.assertIs(self.outbox._rest.obj, large)
        self.transport.resume()
        self.assertEqual(self.frames, [small, large])

    def test_taken_makes_room(self) -> None:
        """What the transport has taken does not count any more."""
        self.outbox = self.build(max_backlog=100)
        for _ in range(20):
            self.transport.pause()
            self.outbox.write(_frame("x" * 90))
            self.outbox.write(_frame("y" * 90))
            self.transport.resume()
            self.assertEqual(self.outbox.backlog, 0)
        self.assertEqual((self.cuts, len(self.frames)), ([], 40))

    def test_nothing_after_the_cut(self) -> None:
        """Who is cut off gets the close frame next, and nothing that waited or comes later."""
        self.outbox = self.build(max_backlog=100)
        self.closes = True
        self.outbox.write(_frame("0"))
        self.transport.pause()
        for number in range(10):
            self.outbox.write(_frame(str(number), 90))
        self.assertEqual((self.cuts, self.outbox.backlog), ([CloseReason.TOO_SLOW], 0))
        self.transport.resume()
        self.assertEqual(self.frames, [_frame("0"), close_frame(CloseReason.TOO_SLOW)])


class StallTests(_OutboxTests):
    """A member that has stopped reading."""

    def test_cut(self) -> None:
        """Who takes nothing for 60 seconds is cut off as too slow, once."""
        self.transport.pause()
        self.outbox.write(_frame("1"))
        self.clock.advance(59.5)
        self.assertEqual(self.cuts, [])
        self.clock.advance(0.5)
        self.assertEqual(self.cuts, [CloseReason.TOO_SLOW])
        self.clock.advance(300.0)
        self.assertEqual(self.cuts, [CloseReason.TOO_SLOW])

    def test_slow_reader_stays(self) -> None:
        """Who takes a little every 59 seconds is never cut off."""
        self.transport.room = 1
        self.outbox.write(_frame("large", 20 * _PIECE))
        for _ in range(15):
            self.clock.advance(59.0)
            self.transport.resume(room=1)
        self.assertEqual((self.cuts, len(self.transport.sent)), ([], 16))
        self.assertTrue(self.outbox.is_waiting)

    def test_saying_it_again_gives_no_time(self) -> None:
        """A transport that says again that it has enough does not put off the end."""
        self.transport.pause()
        for _ in range(6):
            self.clock.advance(10.0)
            self.transport.pause()
        self.assertEqual(self.cuts, [CloseReason.TOO_SLOW])

    def test_idle(self) -> None:
        """Who has nothing to read, or has read everything, is never cut off."""
        self.clock.advance(100.0)
        self.transport.pause()
        self.outbox.write(_frame("1"))
        self.transport.resume()
        self.clock.advance(100.0)
        self.assertEqual((self.cuts, self.clock.getDelayedCalls()), ([], []))

    def test_gone(self) -> None:
        """Who is gone is not cut off any more."""
        for leave in (Outbox.discard, Outbox.stopProducing):
            self.outbox = self.build()
            self.transport.pause()
            leave(self.outbox)
            self.assertEqual(len(self.stalled), 0)
        self.clock.advance(100.0)
        self.assertEqual(self.cuts, [])

    def test_close_frame_waits(self) -> None:
        """Who is cut off gets the close frame if it reads after all."""
        self.closes = True
        self.transport.room = 1
        self.outbox.write(_frame("0"))
        self.outbox.write(_frame("1"))
        self.clock.advance(60.0)
        self.assertEqual((self.frames, self.flushes), ([_frame("0")], 0))
        self.transport.resume()
        self.assertEqual((self.frames, self.flushes), ([_frame("0"), close_frame(CloseReason.TOO_SLOW)], 1))


class ControlTests(_OutboxTests):
    """Pings and pongs."""

    def test_direct(self) -> None:
        """They go out at once while nothing waits."""
        self.outbox.control(PING)
        self.outbox.control(encode_pong(b"1"))
        self.assertEqual(self.transport.sent, [PING, encode_pong(b"1")])

    def test_ahead_of_what_waits(self) -> None:
        """They overtake the messages that wait."""
        self.transport.pause()
        self.outbox.write(_frame("1"))
        self.outbox.control(encode_pong(b"p"))
        self.assertEqual(self.frames, [])
        self.transport.resume()
        self.assertEqual(self.frames, [encode_pong(b"p"), _frame("1")])

    def test_between_frames_only(self) -> None:
        """A frame that has begun is finished first: a pong in the middle of it would break the stream."""
        large = _frame("large", 3 * _PIECE)
        self.transport.room = 1
        self.outbox.write(large)
        self.outbox.write(_frame("behind"))
        self.outbox.control(PING)
        self.outbox.control(encode_pong(b"p"))
        while self.outbox.is_waiting:
            self.transport.resume(room=1)
            self.assertLessEqual(len(self.transport.sent), 10)
        self.assertEqual(self.frames, [large, PING, encode_pong(b"p"), _frame("behind")])

    def test_newest_only(self) -> None:
        """Of many pongs that wait the newest is sent, and of many pings one: a flood of pings piles up nothing."""
        self.transport.pause()
        for number in range(1_000):
            self.outbox.control(encode_pong(b"%d" % number))
            self.outbox.control(PING)
        self.assertEqual(self.outbox.backlog, 0)
        self.transport.resume()
        self.assertCountEqual(self.frames, [encode_pong(b"999"), PING])

    def test_each_block_anew(self) -> None:
        """A pong that was sent is not sent again."""
        for number in range(3):
            self.transport.pause()
            self.outbox.control(encode_pong(b"%d" % number))
            self.transport.resume()
        self.assertEqual(self.frames, [encode_pong(b"%d" % number) for number in range(3)])

    def test_while_the_history_is_late(self) -> None:
        """They do not wait for a store that takes its time."""
        replay = LateReplay([_frame("old")])
        self.outbox.replay(replay)
        self.outbox.control(PING)
        self.assertEqual(self.frames, [PING])
        replay.answer()
        self.outbox.control(encode_pong(b"p"))
        replay.answer()
        self.assertEqual(self.frames, [PING, _frame("old"), encode_pong(b"p")])

    def test_while_blocked_and_the_history_is_late(self) -> None:
        """They wait for a transport that has enough, also when there is nothing else to send yet."""
        replay = LateReplay([_frame("old")])
        self.outbox.replay(replay)
        self.transport.pause()
        self.outbox.control(PING)
        self.assertEqual(self.transport.sent, [])
        self.transport.resume()
        self.assertEqual((self.transport.sent, self.outbox.progress()[0], len(self.stalled)), ([PING], 1, 0))

    def test_between_pages_of_the_history(self) -> None:
        """They overtake a long history, but never within one of its frames."""
        old = [_frame(str(number), 100_000) for number in range(8)]
        self.transport.room = 1
        self.outbox.replay(ListReplay(old))
        self.outbox.control(PING)
        while self.outbox.is_waiting:
            self.transport.resume(room=1)
            self.assertLessEqual(len(self.transport.sent), 20)
        frames = self.frames
        self.assertLessEqual(frames.index(PING), 2)
        frames.remove(PING)
        self.assertEqual(frames, old)


class ReplayTests(_OutboxTests):
    """The history comes first."""

    def test_before_live_messages(self) -> None:
        """What was said before the join is read before what is said afterwards."""
        old = [_frame(f"old {number}") for number in range(3)]
        self.outbox.replay(ListReplay(old))
        self.outbox.write(_frame("new"))
        self.assertEqual(self.frames, [*old, _frame("new")])
        self.assertFalse(self.outbox.is_waiting)

    def test_empty(self) -> None:
        """A channel without a history costs nothing: the next message goes straight through."""
        self.outbox.replay(ListReplay([]))
        self.assertEqual((self.transport.sent, self.outbox.is_waiting), ([], False))
        data = _frame("new")
        self.outbox.write(data)
        self.assertIs(self.transport.sent[0], data)

    def test_pages(self) -> None:
        """A long history is pulled about 128 KiB at a time, only as fast as the transport takes it."""
        old = [_frame(str(number), 10_000) for number in range(100)]
        replay = ListReplay(old)
        self.transport.room = 1
        self.outbox.replay(replay)
        self.assertEqual(replay.asked, [_PIECE])
        self.clock.advance(10.0)
        self.assertEqual(len(replay.asked), 1)
        while self.outbox.is_waiting:
            self.transport.resume(room=1)
            self.assertLessEqual(len(replay.asked), len(self.transport.sent) + 1)
            self.assertLessEqual(len(self.transport.sent), 30)
        self.assertEqual(set(replay.asked), {_PIECE})
        self.assertLessEqual(max(map(len, self.transport.sent)), _PIECE)
        self.assertEqual(self.frames, old)

    def test_while_blocked(self) -> None:
        """A history that begins while the transport has enough waits for it, and keeps its place before the rest."""
        replay = ListReplay([_frame("old")])
        self.transport.pause()
        self.outbox.replay(replay)
        self.outbox.write(_frame("new"))
        self.assertEqual((replay.asked, self.transport.sent), ([], []))
        self.transport.resume()
        self.assertEqual(self.frames, [_frame("old"), _frame("new")])

    def test_not_part_of_the_backlog(self) -> None:
        """A history larger than what may wait cuts nobody off; what is said meanwhile counts."""
        self.outbox = self.build(max_backlog=100)
        old = [_frame(str(number), 1_000) for number in range(500)]
        self.transport.room = 1
        self.outbox.replay(ListReplay(old))
        self.assertEqual(self.outbox.backlog, 0)
        self.outbox.write(_frame("x" * 90))
        self.outbox.write(_frame("y" * 90))
        self.assertEqual((self.outbox.backlog, self.cuts), (184, []))
        self.outbox.write(_frame("z"))
        self.assertEqual(self.cuts, [CloseReason.TOO_SLOW])

    def test_stalled(self) -> None:
        """Who never reads its history is cut off after 60 seconds."""
        self.transport.room = 1
        self.outbox.replay(ListReplay([_frame(str(number), 10_000) for number in range(100)]))
        self.clock.advance(60.0)
        self.assertEqual(self.cuts, [CloseReason.TOO_SLOW])


class LateReplayTests(_OutboxTests):
    """A store that has to look first."""

    def test_live_messages_wait(self) -> None:
        """What is said while the store looks comes behind the whole history."""
        replay = LateReplay([_frame("old 1"), _frame("old 2", _PIECE), _frame("old 3")])
        self.outbox.replay(replay)
        self.outbox.write(_frame("new 1"))
        self.assertEqual((self.transport.sent, self.outbox.is_waiting), ([], False))
        replay.answer()
        self.outbox.write(_frame("new 2"))
        self.assertEqual(self.frames, [_frame("old 1"), _frame("old 2", _PIECE)])
        replay.answer()
        self.assertFalse(_frame("new 1") in self.frames)
        replay.answer()
        self.assertEqual(
            self.frames,
            [_frame("old 1"), _frame("old 2", _PIECE), _frame("old 3"), _frame("new 1"), _frame("new 2")],
        )
        self.assertEqual((self.outbox.is_waiting, self.outbox.backlog), (False, 0))

    def test_asked_once(self) -> None:
        """A store that has not answered yet is not asked again, whatever happens meanwhile."""
        replay = LateReplay([_frame("old")])
        self.outbox.replay(replay)
        self.outbox.write(_frame("new"))
        self.transport.pause()
        self.transport.resume()
        self.outbox.control(PING)
        self.assertEqual(replay.pulls, 1)

    def test_answer_while_blocked(self) -> None:
        """An answer that comes while the transport has enough waits for it."""
        replay = LateReplay([_frame("old")])
        self.outbox.replay(replay)
        self.transport.pause()
        replay.answer()
        self.outbox.write(_frame("new"))
        self.assertEqual(self.transport.sent, [])
        self.transport.resume()
        self.assertEqual((self.frames, replay.is_asked), ([_frame("old")], True))
        self.transport.pause()
        replay.answer()
        self.assertEqual(self.frames, [_frame("old")])
        self.transport.resume()
        self.assertEqual(self.frames, [_frame("old"), _frame("new")])

    def test_pages_too_large(self) -> None:
        """A store that gives more than it was asked for is sent on in pieces all the same."""
        old = [_frame(str(number), 50_000) for number in range(20)]
        replay = LateReplay([b"".join(old)])
        self.outbox.replay(replay)
        replay.answer()
        self.assertLessEqual(max(map(len, self.transport.sent)), _PIECE)
        self.assertEqual(self.frames, old)

    def test_gone_meanwhile(self) -> None:
        """An answer for a member that is gone is dropped."""
        replay = LateReplay([_frame("old")])
        self.outbox.replay(replay)
        self.outbox.discard()
        replay.answer()
        self.assertEqual((self.transport.sent, replay.is_asked, self.cuts), ([], False, []))

    def test_closed_meanwhile(self) -> None:
        """An answer that comes after the close frame is dropped, and so is a failure."""
        for fails in (False, True):
            for blocked in (False, True):
                self.outbox = self.build()
                replay = LateReplay([_frame("old")])
                self.outbox.replay(replay)
                if blocked:
                    self.transport.pause()
                self.outbox.finish(_CLOSE, keep=True, flushed=self.flushed)
                if fails:
                    replay.fail(BrokenReplayError())
                else:
                    replay.answer()
                self.transport.resume()
                self.assertEqual((self.frames, replay.is_asked, self.cuts), ([_CLOSE], False, []))
        self.assertEqual(self.flushes, 4)


class PromptReplayTests(_OutboxTests):
    """A store that answers with Deferreds that have fired already."""

    def test_order(self) -> None:
        """The history comes whole and in order, and before what is said afterwards."""
        old = [_frame(str(number), 60_000) for number in range(10)]
        self.outbox.replay(PromptReplay(old))
        self.outbox.write(_frame("new"))
        self.assertEqual(self.frames, [*old, _frame("new")])
        self.assertFalse(self.outbox.is_waiting)

    def test_blocked_within_a_message(self) -> None:
        """A transport that has enough in the middle of a message gets the rest of that message next."""
        for frames in ([], [_frame("old")]):
            self.outbox = self.build()
            large = [_frame(f"large {number}", 2 * _PIECE) for number in range(2)]
            self.transport.pause()
            self.outbox.replay(PromptReplay(frames))
            for data in large:
                self.outbox.write(data)
            while self.outbox.is_waiting:
                self.transport.resume(room=1)
                self.assertLessEqual(len(self.transport.sent), 20)
            self.assertEqual([f[:30] for f in self.frames], [f[:30] for f in [*frames, *large]])

    def test_many_pages(self) -> None:
        """A history of thousands of pages is sent whole."""
        old = [_frame(str(number)) for number in range(3_000)]
        self.outbox.replay(PromptReplay(old, page=1))
        self.assertEqual(len(self.frames), 3_000)
        self.assertEqual(self.frames, old)

    def test_flushed_once(self) -> None:
        """The end is told once, also when it was reached within an answer."""
        self.transport.pause()
        self.outbox.replay(PromptReplay([_frame("old")]))
        self.transport.resume()
        self.outbox.finish(_CLOSE, keep=True, flushed=self.flushed)
        self.assertEqual((self.frames, self.flushes), ([_frame("old"), _CLOSE], 1))


class FailingReplayTests(_OutboxTests):
    """A history that cannot be read."""

    def setUp(self) -> None:
        super().setUp()
        self.closes = True

    def _assert_cut(self, sent: Sequence[bytes]) -> None:
        self.assertEqual(self.cuts, [CloseReason.INTERNAL_ERROR])
        self.assertEqual(self.frames, [*sent, close_frame(CloseReason.INTERNAL_ERROR)])
        self.assertEqual(self.flushes, 1)
        self.assertEqual(len(self.flushLoggedErrors(BrokenReplayError)), 1)

    def test_late(self) -> None:
        """A member whose history breaks off is closed with our fault: it must not go on with a gap."""
        replay = LateReplay([_frame("old", _PIECE), _frame("lost")])
        self.outbox.replay(replay)
        self.outbox.write(_frame("new"))
        replay.answer()
        replay.fail(BrokenReplayError())
        self._assert_cut([_frame("old", _PIECE)])
        self.outbox.write(_frame("later"))
        self.assertEqual(len(self.frames), 2)

    def test_late_while_blocked(self) -> None:
        """The same holds when the transport has enough at that moment: it is told as soon as it wants more."""
        replay = LateReplay([])
        self.outbox.replay(replay)
        self.transport.pause()
        self.outbox.write(_frame("new"))
        replay.fail(BrokenReplayError())
        self.assertEqual(self.transport.sent, [])
        self.transport.resume()
        self._assert_cut([])

    def test_failed_already(self) -> None:
        """The same holds when the answer is a failure at once."""
        for old in ([], [_frame("old")]):
            self.cuts.clear()
            self.flushes = 0
            self.outbox = self.build()
            self.outbox.write(_frame("before"))
            self.outbox.replay(PromptReplay(old, error=BrokenReplayError()))
            self._assert_cut([_frame("before"), *old])

    def test_raises(self) -> None:
        """The same holds when the store raises instead of answering, at the join or later."""

        class Raising(ListReplay):
            def pull(self, max_bytes: int) -> list[bytes]:
                return super().pull(max_bytes) or self.refuse()

            def refuse(self) -> list[bytes]:
                raise BrokenReplayError

        self.transport.room = 1
        self.outbox.replay(Raising([_frame("old")]))
        self.outbox.write(_frame("new"))
        self.transport.resume()
        self._assert_cut([_frame("old")])


class FinishTests(_OutboxTests):
    """The close frame is the last thing a peer reads."""

    def test_at_once(self) -> None:
        """While nothing waits the close frame goes out at once, whether what waits is kept or not."""
        for keep in (True, False):
            self.outbox = self.build()
            self.outbox.write(_frame("1"))
            self.outbox.finish(_CLOSE, keep, self.flushed)
            self.assertEqual(self.frames, [_frame("1"), _CLOSE])
            self.assertFalse(self.outbox.is_waiting)
        self.assertEqual(self.flushes, 2)

    def test_keep(self) -> None:
        """A server that stops lets its members have what waits for them first."""
        self.transport.pause()
        waiting = [_frame(str(number), 50_000) for number in range(10)]
        for data in waiting:
            self.outbox.write(data)
        self.outbox.finish(_CLOSE, keep=True, flushed=self.flushed)
        while self.outbox.is_waiting:
            self.assertEqual(self.flushes, 0)
            self.transport.resume(room=1)
            self.assertLessEqual(len(self.transport.sent), 20)
        self.assertEqual((self.frames, self.flushes), ([*waiting, _CLOSE], 1))

    def test_not_kept(self) -> None:
        """Who is thrown out gets the close frame next."""
        self.transport.pause()
        for number in range(10):
            self.outbox.write(_frame(str(number), 50_000))
        self.outbox.finish(_CLOSE, keep=False, flushed=self.flushed)
        self.assertEqual(self.outbox.backlog, 0)
        self.transport.resume()
        self.assertEqual((self.frames, self.flushes), ([_CLOSE], 1))

    def test_within_a_message(self) -> None:
        """A message that has begun is finished before the close frame, kept or not."""
        for keep in (True, False):
            self.outbox = self.build()
            large = _frame("large", 3 * _PIECE)
            self.transport.room = 1
            self.outbox.write(large)
            self.outbox.write(_frame("behind"))
            self.outbox.finish(_CLOSE, keep)
            self.transport.resume()
            self.assertEqual(self.frames, [large, _frame("behind"), _CLOSE] if keep else [large, _CLOSE])

    def test_within_a_history(self) -> None:
        """A history that is not sent whole is cut short together with what was said since: there is no gap."""
        for keep in (True, False):
            self.outbox = self.build()
            old = [_frame(str(number), 50_000) for number in range(20)]
            self.transport.room = 1
            self.outbox.replay(ListReplay(old))
            self.outbox.write(_frame("new"))
            self.outbox.finish(_CLOSE, keep)
            self.assertEqual(self.outbox.backlog, 0)
            self.transport.resume()
            frames = self.frames
            self.assertEqual(frames, [*old[: len(frames) - 1], _CLOSE])
            self.assertLess(len(frames), 6)

    def test_pong_before(self) -> None:
        """A pong that waits still goes out before the close frame; one that comes later does not."""
        self.transport.pause()
        self.outbox.control(encode_pong(b"1"))
        self.outbox.finish(_CLOSE, keep=True)
        self.outbox.control(encode_pong(b"2"))
        self.outbox.control(PING)
        self.transport.resume()
        self.outbox.control(PING)
        self.assertEqual(self.frames, [encode_pong(b"1"), _CLOSE])

    def test_nothing_behind(self) -> None:
        """Whatever is handed over after the end is dropped, at whatever moment."""
        for room in (None, 1):
            for blocked in (False, True):
                self.outbox = self.build()
                if blocked:
                    self.transport.pause()
                self.transport.room = room
                self.outbox.finish(_CLOSE, keep=True, flushed=self.flushed)
                for _ in range(3):
                    self.outbox.write(_frame("later"))
                    self.outbox.write(_frame("later", 2 * _PIECE))
                    self.outbox.control(PING)
                    self.outbox.finish(close_frame(CloseReason.LEFT), keep=False, flushed=self.fail)
                    self.transport.resume(room)
                self.assertEqual(self.frames, [_CLOSE], f"{room=} {blocked=}")
                self.assertEqual(self.outbox.backlog, 0, f"{room=} {blocked=}")
        self.assertEqual(self.flushes, 4)

    def test_no_history_behind(self) -> None:
        """A history that is handed over after the end is not sent, neither before nor behind the close frame."""
        for pause_first in (True, False):
            self.outbox = self.build()
            if pause_first:
                self.transport.pause()
            else:
                self.transport.room = 1
            self.outbox.finish(_CLOSE, keep=True)
            self.outbox.replay(ListReplay([_frame("old")]))
            self.transport.resume()
            self.assertEqual(self.frames, [_CLOSE], f"{pause_first=}")

    def test_first_reason_counts(self) -> None:
        """Of two ends the first one is told."""
        self.transport.pause()
        self.outbox.write(_frame("kept"))
        self.outbox.finish(_CLOSE, keep=True, flushed=self.flushed)
        self.outbox.finish(close_frame(CloseReason.TOO_SLOW), keep=False, flushed=self.fail)
        self.transport.resume()
        self.assertEqual((self.frames, self.flushes), ([_frame("kept"), _CLOSE], 1))

    def test_flushed_when_taken(self) -> None:
        """The end is told when the transport has room again behind the close frame, not before."""
        self.transport.room = 1
        self.outbox.finish(_CLOSE, keep=True, flushed=self.flushed)
        self.assertEqual((self.frames, self.flushes, self.outbox.is_waiting), ([_CLOSE], 0, True))
        self.transport.resume(room=1)
        self.assertEqual((self.flushes, self.outbox.is_waiting), (1, False))
        self.transport.resume(room=1)
        self.assertEqual(self.flushes, 1)

    def test_never_flushed(self) -> None:
        """When the connection breaks before, the end is never told."""
        self.transport.pause()
        self.outbox.finish(_CLOSE, keep=True, flushed=self.flushed)
        self.outbox.stopProducing()
        self.transport.resume()
        self.assertEqual((self.transport.sent, self.flushes), ([], 0))


class DiscardTests(_OutboxTests):
    """The connection is gone."""

    def test_everything_is_dropped(self) -> None:
        """What waits and what comes is dropped without a complaint, and nothing is held on to."""
        for leave in (Outbox.discard, Outbox.stopProducing):
            self.outbox = self.build()
            self.transport.room = 1
            self.outbox.write(_frame("large", 3 * _PIECE))
            self.outbox.write(_frame("1"))
            self.outbox.control(PING)
            leave(self.outbox)
            self.assertEqual((self.outbox.backlog, self.outbox.is_waiting), (0, False))
            self.outbox.write(_frame("2"))
            self.outbox.write(_frame("3", 2 * _PIECE))
            self.outbox.control(PING)
            self.outbox.replay(ListReplay([_frame("old")]))
            self.outbox.finish(_CLOSE, keep=True, flushed=self.fail)
            self.transport.pause()
            self.transport.resume()
            self.assertEqual(len(self.transport.sent), 1)
            self.assertEqual((self.outbox.backlog, self.outbox.is_waiting), (0, False))
        self.assertEqual((self.cuts, len(self.stalled)), ([], 0))

    def test_within_a_send(self) -> None:
        """A connection that breaks while it is given a piece is given no other."""

        def breaks(data: bytes) -> None:
            sent.append(data)
            outbox.stopProducing()

        sent: list[bytes] = []
        outbox = Outbox(breaks, self.stalled, self.cuts.append)
        outbox.write(_frame("large", 3 * _PIECE))
        outbox.write(_frame("2"))
        self.assertEqual([len(piece) for piece in sent], [_PIECE])

    def test_resume_within_a_send(self) -> None:
        """A transport that has enough and wants more again within one write gets everything once and in order."""

        def takes(data: bytes) -> None:
            sent.append(data)
            outbox.pauseProducing()
            outbox.resumeProducing()

        sent: list[bytes] = []
        outbox = Outbox(takes, self.stalled, self.cuts.append)
        frames = [_frame("large", 3 * _PIECE), _frame("2"), _frame("large", 2 * _PIECE)]
        for data in frames:
            outbox.write(data)
        self.assertEqual(frames_in(b"".join(sent)), frames)
        self.assertEqual((outbox.is_waiting, len(self.stalled)), (False, 0))


# -- anything in any order

_OPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from((0, 3, 30, 31, 62, 100, 300))),
        st.tuples(st.just("pong"), st.integers(0, 99)),
        st.tuples(st.just("ping"), st.just(0)),
        st.tuples(st.just("pause"), st.just(0)),
        st.tuples(st.just("resume"), st.sampled_from((0, 0, 1, 1, 2, 3))),
        st.tuples(st.just("answer"), st.just(0)),
    ),
    max_size=40,
)

_ENDS = st.sampled_from(("drain", "keep", "drop", "break"))


class AnyOrderTests(_OutboxTests):
    """Whatever the channel, the transport and the store do, in whatever order."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(module, "PIECE_BYTES", 64)  # so that small messages come in several pieces

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
    @given(
        ops=_OPS,
        kind=st.sampled_from(("none", "list", "late", "prompt")),
        old_sizes=st.lists(st.sampled_from((0, 10, 62, 63, 150)), max_size=6),
        room=st.sampled_from((None, 1, 2)),
        end=_ENDS,
    )
    def test_whole_frames_in_order(
        self, ops: list[tuple[str, int]], kind: str, old_sizes: list[int], room: int | None, end: str
    ) -> None:
        """The peer reads whole frames only: the history, then all messages in order, pongs between, then the close."""
        case = f"{ops} {kind=} {old_sizes=} {room=} {end=}"
        old = [_frame(f"old{number}", size) for number, size in enumerate(old_sizes)]
        self.outbox = outbox = self.build()
        self.transport.room = room
        self.flushes = 0
        late = LateReplay(old)
        replays: dict[str, IReplay] = {"list": ListReplay(old), "late": late, "prompt": PromptReplay(old)}
        if kind in replays:
            outbox.replay(replays[kind])
        data = old if kind in replays else []
        live: list[bytes] = []
        controls: list[bytes] = []
        for number, (op, value) in enumerate(ops):
            if op == "write":
                live.append(_frame(f"live{number}", value))
                outbox.write(live[-1])
            elif op in ("ping", "pong"):
                controls.append(PING if op == "ping" else encode_pong(b"%d" % value))
                outbox.control(controls[-1])
            elif op == "pause":
                self.transport.pause()
            elif op == "resume":
                self.transport.resume(value or None)
            elif late.is_asked:
                late.answer()
            self._check(data + live, controls, case)
        before = len([frame for frame in split(self.transport.data)[0] if frame[0] == 0x81])
        begun = bool(split(self.transport.data)[1])
        if end == "break":
            outbox.discard()
            size = len(self.transport.data)
            self._settle(late)
            self.assertEqual(len(self.transport.data), size, case)
            return
        if end in ("keep", "drop"):
            outbox.finish(_CLOSE, end == "keep", self.flushed)
            outbox.write(_frame("later"))
            outbox.control(PING)
        self._settle(late)
        self.assertEqual((outbox.is_waiting, outbox.backlog, len(self.stalled)), (False, 0, 0), case)
        frames = self._check(data + live, controls, case)
        self.assertEqual(split(self.transport.data)[1], b"", case)
        if end == "drain":
            self.assertEqual(frames, data + live, case)
        else:
            self.assertEqual(frames_in(self.transport.data)[-1], _CLOSE, case)
            self.assertEqual(self.flushes, 1, case)
            self.assertGreaterEqual(len(frames), before + begun, case)
            if end == "keep" and (kind == "none" or len(frames) > len(data)):
                self.assertEqual(frames, data + live, case)

    def _check(self, expected: list[bytes], controls: list[bytes], case: str) -> list[bytes]:
        """The messages the peer has read whole so far: the first of those expected, and pongs in their order."""
        frames, rest = split(self.transport.data)
        self.assertEqual(self.transport.overruns, 0, case)
        messages = [frame for frame in frames if frame[0] == 0x81]
        self.assertEqual(messages, expected[: len(messages)], case)
        if rest:
            following = expected[len(messages)] if len(messages) < len(expected) else b""
            self.assertTrue(following.startswith(rest), case)
        sent = iter(controls)
        for pong in (frame for frame in frames if frame[0] == 0x8A):
            self.assertTrue(any(pong == candidate for candidate in sent), case)
        closes = [at for at, frame in enumerate(frames) if frame[0] == 0x88]
        self.assertTrue(closes in ([], [len(frames) - 1]), case)
        return messages

    def _settle(self, late: LateReplay) -> None:
        """Let transport and store do all they can."""
        for _ in range(100):
            self.transport.resume()
            if late.is_asked:
                late.answer()
