"""Tests of lean reactor turns: what happens on sockets is handled as in Twisted's own turns, and all else stays."""

import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mles_tx.service import turns as module
from mles_tx.service.turns import follow_monotonic_time, lean_turns


class _End:
    """One end of a connection, as a reactor knows it; notes what the reactor does with it."""

    def __init__(self) -> None:
        self.socket, self.peer = socket.socketpair()
        self.socket.setblocking(False)
        self.notes: list[object] = []
        self.on_read: Callable[[], Any] = lambda: None  #: called for each read, which gives what it gives
        self.on_write: Callable[[], Any] = lambda: None

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:  # noqa: N802
        return "an end"

    def doRead(self) -> Any:
        self.notes.append(self.socket.recv(100))
        return self.on_read()

    def doWrite(self) -> Any:
        self.notes.append("write")
        return self.on_write()

    def connectionLost(self, reason: Failure) -> None:
        self.notes.append(reason.type)

    def close(self) -> None:
        self.socket.close()
        self.peer.close()


@implementer(IHalfCloseableDescriptor)
class _HalfCloseable(_End):
    """An end whose peer may say no more, but still be listening."""

    def readConnectionLost(self, reason: Failure) -> None:  # noqa: N802
        self.notes.append(("read", reason.type))

    def writeConnectionLost(self, reason: Failure) -> None:  # noqa: N802
        self.notes.append(("write", reason.type))


def _close(reactor: Any) -> None:
    """Close what a reactor has opened for itself."""
    for reader in list(reactor._internalReaders):
        reactor._internalReaders.discard(reader)
        reactor.removeReader(reader)
        reader.connectionLost(None)
    if isinstance(reactor, EPollReactor):
        reactor._poller.close()


def _raise(error: BaseException) -> None:
    raise error


class _TurnsTests(SynchronousTestCase):
    """Sockets, and a reactor of the test's own."""

    def setUp(self) -> None:
        self.reactor: Any = EPollReactor()
        self.addCleanup(_close, self.reactor)
        self.prepare()

    def prepare(self) -> None:
        """Change the reactor."""

    def end(self, kind: type[_End] = _End, reading: bool = True) -> Any:
        """An end that the reactor watches."""
        end = kind()
        self.addCleanup(end.close)
        if reading:
            self.reactor.addReader(end)
            self.addCleanup(self.reactor.removeReader, end)
        return end

    def turn(self) -> None:
        """A turn that does not wait."""
        self.reactor.iterate(0)


class TwistedTurnsTests(_TurnsTests):
    """What has to hold, tried on Twisted's own turns."""

    def test_reading(self) -> None:
        """What has arrived is read in the next turn, once, by whom it is for; where nothing has, nothing is done."""
        first, second, third = self.end(), self.end(), self.end()
        self.turn()
        first.peer.send(b"1")
        third.peer.send(b"3")
        self.turn()
        self.turn()
        self.assertEqual([first.notes, second.notes, third.notes], [[b"1"], [], [b"3"]])
        second.peer.send(b"2")
        self.turn()
        self.assertEqual([first.notes, second.notes, third.notes], [[b"1"], [b"2"], [b"3"]])

    def test_waiting(self) -> None:
        """A turn that may wait for ever, or for long, ends with what arrives."""
        end = self.end()
        for timeout in (None, 600):
            end.peer.send(b"x")
            self.reactor.doIteration(timeout)
        self.assertEqual(end.notes, [b"x", b"x"])

    def test_waiting_in_vain(self) -> None:
        """Where nothing arrives a turn takes the time it was given, and not less: a server that idles does not spin."""
        end = self.end()
        began = time.monotonic()
        self.reactor.doIteration(0.03)
        self.assertGreaterEqual(time.monotonic() - began, 0.03)
        self.assertEqual(end.notes, [])

    def test_writing(self) -> None:
        """Who waits for room is told each turn that there is some, until it does not want to know any more."""
        end = self.end(reading=False)
        self.reactor.addWriter(end)
        self.turn()
        self.turn()
        self.reactor.removeWriter(end)
        self.turn()
        self.assertEqual(end.notes, ["write", "write"])

    def test_reading_and_writing(self) -> None:
        """Who waits for both gets both, reading first; when reading has ended it there is no writing."""
        for answer, notes in ((None, [b"x", "write"]), (CONNECTION_LOST, [b"x", ConnectionLost])):
            end = self.end()
            self.reactor.addWriter(end)
            end.on_read = lambda answer=answer: answer
            end.peer.send(b"x")
            self.turn()
            self.assertEqual(end.notes, notes)
            self.reactor.removeWriter(end)

    def test_end(self) -> None:
        """A read that gives a reason ends its connection for that reason: nothing more is asked of it."""
        given = (CONNECTION_DONE, ConnectionDone), (CONNECTION_LOST, ConnectionLost), (ValueError("x"), ValueError)
        for why, expected in given:
            end, other = self.end(), self.end()
            end.on_read = lambda why=why: why
            for each in (end, other):
                each.peer.send(b"x")
            self.turn()
            end.peer.send(b"y")
            self.turn()
            self.assertEqual([end.notes, other.notes], [[b"x", expected], [b"x"]])
            self.assertNotIn(end, self.reactor.getReaders())
            self.assertNotIn(end, self.reactor.getWriters())

    def test_half_closed(self) -> None:
        """A connection that may be closed by half loses only its reading half when the peer has said all it has."""
        end = self.end(_HalfCloseable)
        end.on_read = lambda: CONNECTION_DONE
        end.peer.send(b"x")
        self.turn()
        self.assertEqual(end.notes, [b"x", ("read", ConnectionDone)])
        self.assertNotIn(end, self.reactor.getReaders())
        self.reactor.addWriter(end)
        self.turn()
        self.reactor.removeWriter(end)
        self.assertEqual(end.notes[2:], ["write"])
        cut_off = self.end(_HalfCloseable)
        cut_off.on_read = lambda: CONNECTION_LOST
        cut_off.peer.send(b"x")
        self.turn()
        self.assertEqual(cut_off.notes, [b"x", ConnectionLost])

    def test_faults(self) -> None:
        """A fault in a read is logged and ends its connection; the others in the same turn are served."""
        for error in (ValueError("x"), SystemExit(3)):
            before, end, behind = self.end(), self.end(), self.end()
            end.on_read = lambda error=error: _raise(error)
            for each in (before, end, behind):
                each.peer.send(b"x")
            self.turn()
            self.turn()
            self.assertEqual([before.notes, end.notes, behind.notes], [[b"x"], [b"x", type(error)], [b"x"]])
            self.assertNotIn(end, self.reactor.getReaders())
            self.assertEqual([failure.value for failure in self.flushLoggedErrors()], [error])

    def test_faults_in_writes(self) -> None:
        """The same holds for a fault in a write."""
        end = self.end(reading=False)
        self.reactor.addWriter(end)
        end.on_write = lambda: _raise(ValueError())
        self.turn()
        self.turn()
        self.assertEqual(end.notes, ["write", ValueError])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_peer_that_hangs_up(self) -> None:
        """What a peer said before it hung up is read, and then the end of it."""
        end = self.end()
        end.on_read = lambda: None if end.notes[-1] else CONNECTION_DONE
        end.peer.send(b"bye")
        end.peer.close()
        for _ in range(3):
            self.turn()
        self.assertEqual(end.notes, [b"bye", b"", ConnectionDone])

    def test_peer_that_hangs_up_unread(self) -> None:
        """Where nobody reads, a peer that has hung up is noticed by who wants to write."""
        end = self.end(reading=False)
        self.reactor.addWriter(end)
        end.peer.close()
        self.turn()
        self.turn()
        self.assertEqual(end.notes, [ConnectionLost])

    def test_vanished(self) -> None:
        """Who is taken away by somebody else's read in the same turn is not asked any more."""
        ends = [self.end() for _ in range(3)]

        def only_me() -> None:
            for end in ends:
                self.reactor.removeReader(end)

        for end in ends:
            end.on_read = only_me
            end.peer.send(b"x")
        self.turn()
        self.turn()
        self.assertEqual(sorted(end.notes for end in ends), [[], [], [b"x"]])

    def test_added_within_a_turn(self) -> None:
        """Who is added by somebody else's read is read as well."""
        end, later = self.end(), self.end(reading=False)
        later.peer.send(b"2")

        def add() -> None:
            self.reactor.addReader(later)
            self.addCleanup(self.reactor.removeReader, later)

        end.on_read = add
        end.peer.send(b"1")
        self.turn()
        self.turn()
        self.assertEqual([end.notes, later.notes], [[b"1"], [b"2"]])

    def test_timers(self) -> None:
        """What is due is done, between the reads."""
        notes: list[str] = []
        end = self.end()
        end.on_read = lambda: self.reactor.callLater(0, notes.append, "behind the read")
        self.reactor.callLater(0, notes.append, "before it")
        end.peer.send(b"x")
        self.turn()
        self.assertEqual(notes, ["before it"])
        self.turn()
        self.assertEqual(notes, ["before it", "behind the read"])

    def test_run(self) -> None:
        """The reactor's own loop handles what arrives until it is stopped, which ends the connections that are left."""
        end = self.end()
        end.on_read = self.reactor.stop
        self.reactor.callWhenRunning(end.peer.send, b"x")
        self.reactor.run(installSignalHandlers=False)
        self.assertEqual(end.notes, [b"x", ConnectionLost])

    def test_other_threads(self) -> None:
        """Another thread's call wakes a reactor that waits."""
        notes: list[str] = []
        self.reactor.callFromThread(notes.append, "called")
        self.reactor.doIteration(None)
        self.reactor.runUntilCurrent()
        self.assertEqual(notes, ["called"])


class LeanTurnsTests(TwistedTurnsTests):
    """The same on lean turns."""

    def prepare(self) -> None:
        lean_turns(self.reactor)

    def test_in_use(self) -> None:
        """Lean turns are in use: Twisted's own are not needed any more to read."""
        self.patch(EPollReactor, "doPoll", None)
        self.patch(EPollReactor, "_doReadOrWrite", None)
        end = self.end()
        end.peer.send(b"x")
        self.turn()
        self.assertEqual(end.notes, [b"x"])

    def test_more_than_a_turn_takes(self) -> None:
        """When more has arrived than a turn takes, those who wait longest get half of each, whatever others say."""
        self.patch(module, "_EVENTS", 2)
        ends = [self.end() for _ in range(7)]
        for end in ends:
            end.peer.send(b"x")
            end.on_read = lambda end=end: end.peer.send(b"y") and None
        read = []
        for _ in range(6):
            self.turn()
            read.append((sum(len(end.notes) for end in ends), sum(bool(end.notes) for end in ends)))
        self.assertEqual(read, [(2, 2), (4, 3), (6, 4), (8, 5), (10, 6), (12, 7)])

    def test_talkers(self) -> None:
        """Who talks while thousands have something to be read waits once, and from then on for a turn at most."""
        self.patch(module, "_EVENTS", 4)
        crowd, talkers = [self.end() for _ in range(12)], [self.end() for _ in range(2)]
        for end in (*crowd, *talkers):
            end.peer.send(b"x")
        while not all(talker.notes for talker in talkers):
            self.turn()
        late = [self.end() for _ in range(40)]
        for end in late:
            end.peer.send(b"x")
        for turns in range(2, 12):
            for talker in talkers:
                talker.peer.send(b"y")
            self.turn()
            self.assertEqual([len(talker.notes) for talker in talkers], [turns, turns])
        self.assertGreaterEqual(sum(len(end.notes) for end in late), 18)

    def test_many_talkers(self) -> None:
        """Nobody who waits is forgotten while others talk without a pause, and all of these are heard in turn."""
        self.patch(module, "_EVENTS", 4)
        talkers = [self.end() for _ in range(9)]
        for talker in talkers:
            talker.on_read = lambda talker=talker: talker.peer.send(b"y") and None
            talker.peer.send(b"x")
        for _ in range(6):
            self.turn()
        quiet = [self.end() for _ in range(10)]
        for end in quiet:
            end.peer.send(b"x")
        before = [len(talker.notes) for talker in talkers]
        for _ in range(9):
            self.turn()
        heard = [len(talker.notes) - then for talker, then in zip(talkers, before, strict=True)]
        self.assertEqual([end.notes for end in quiet], [[b"x"]] * 10)
        self.assertEqual((min(heard), max(heard), sum(heard)), (2, 3, 26))

    def test_vanished_crowd(self) -> None:
        """Who talks does not wait for those who have vanished, and these are let go meanwhile."""
        self.patch(module, "_EVENTS", 8)
        crowd, talker = [self.end() for _ in range(40)], self.end()
        for end in crowd:
            end.on_read = lambda: CONNECTION_LOST
            end.peer.close()
        for turns in range(1, 6):
            talker.peer.send(b"x")
            self.turn()
            self.assertEqual(len(talker.notes), turns)
            self.assertEqual(sum(ConnectionLost in end.notes for end in crowd), 7 * turns)

    def test_vanished_among_talkers(self) -> None:
        """However much the others have to say, those who have vanished are let go in the end."""
        self.patch(module, "_EVENTS", 8)
        crowd, talkers = [self.end() for _ in range(4)], [self.end() for _ in range(20)]
        for talker in talkers:
            talker.on_read = lambda talker=talker: talker.peer.send(b"y") and None
            talker.peer.send(b"x")
        for end in crowd:
            end.on_read = lambda: CONNECTION_LOST
            end.peer.close()
        for _ in range(4):
            self.turn()
        self.assertTrue(all(ConnectionLost in end.notes for end in crowd))


class OtherReactorsTests(SynchronousTestCase):
    """Reactors that are not epoll's own."""

    def test_untouched(self) -> None:
        """They stay as they are, and so does one that somebody has built on epoll's."""

        class Custom(EPollReactor):
            pass

        for kind in (SelectReactor, PollReactor, Custom):
            reactor: Any = kind()
            self.addCleanup(_close, reactor)
            before = dict(vars(reactor))
            lean_turns(reactor)
            self.assertEqual(vars(reactor), before, kind)
            self.assertEqual(reactor.doIteration.__func__, kind.doIteration, kind)
        memory: Any = MemoryReactorClock()
        before = dict(vars(memory))
        lean_turns(memory)
        self.assertEqual(vars(memory), before)

    def test_others_of_the_kind(self) -> None:
        """When one epoll reactor is made lean, another one of the process is not."""
        one: Any = EPollReactor()
        other: Any = EPollReactor()
        self.addCleanup(_close, one)
        self.addCleanup(_close, other)
        lean_turns(one)
        self.assertEqual(other.doIteration.__func__, EPollReactor.doPoll)
        self.assertNotEqual(one.doIteration, other.doIteration)


class FollowMonotonicTimeTests(SynchronousTestCase):
    """The clock of a server's timers."""

    def test_monotonic(self) -> None:
        """The reactor's time is the machine's, which nobody sets."""
        reactor: Any = Clock()
        follow_monotonic_time(reactor)
        before = time.monotonic()
        self.assertTrue(before <= reactor.seconds() <= time.monotonic())
