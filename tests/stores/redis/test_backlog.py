"""Tests of what waits to be taken by Redis."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.stores.redis import backlog as module
from mles_tx.stores.redis.backlog import Backlog, Pending
from mles_tx.stores.redis.entries import author
from mles_tx.stores.redis.seam import ILink
from tests.channels.fakes import said

from .fakes import FakeLink, FakeServer


class BacklogTests(SynchronousTestCase):
    """A backlog, a link and a Redis."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = FakeServer()
        self.link = FakeLink(self.server, "n", self.clock)
        self.taken: list[tuple[int, bool]] = []
        self.dropped: list[int] = []
        self.backlog = Backlog(
            self.link,
            "n",
            0,
            (200, 10**7),
            lambda channel: (b"", b""),
            lambda pending, is_new, epoch, before, entry_id: self.taken.append((pending.number, is_new)),
            lambda pending: self.dropped.append(pending.number),
        )
        self.link._linked = self  # type: ignore[assignment]
        self.number = 0

    # what a link says

    def link_up(self) -> None:
        self.backlog.resume()

    def link_down(self) -> None:
        self.backlog.pause()

    def hearing_again(self) -> None:
        pass

    def deaf(self) -> None:
        pass

    def hearing(self, announcements: bytes) -> None:
        pass

    # ----

    def add(self, text: str = "x", channel: str = "example") -> None:
        self.number += 1
        self.backlog.add(Pending(channel, [said(text)], self.number, self.clock.seconds()))

    def numbers(self, channel: str = "example") -> list[int]:
        """The numbers in a stream, in its order."""
        entries = self.server.redis.xrange(f"mles:{{{channel}}}:log")
        return [author(fields[b"b"])[1] for _, fields in entries]

    def test_fakes(self) -> None:
        """The link of the tests is one."""
        self.assertTrue(verifyObject(ILink, self.link))

    def test_in_order(self) -> None:
        """What is said is taken in its order, channel by channel, and then it does not wait any more."""
        self.link.mend()
        for number in range(10):
            self.add(channel="ab"[number % 2])
        self.assertEqual((len(self.backlog), self.backlog.messages, self.backlog.oldest), (10, 10, 0.0))
        self.server.settle()
        self.assertEqual((self.numbers("a"), self.numbers("b")), ([1, 3, 5, 7, 9], [2, 4, 6, 8, 10]))
        self.assertEqual(self.taken, [(number, True) for number in range(1, 11)])
        self.assertEqual((len(self.backlog), self.backlog.messages, self.backlog.oldest), (0, 0, None))

    def test_away(self) -> None:
        """What is said while there is no link waits for one."""
        self.add()
        self.add()
        self.assertEqual(self.numbers(), [])
        self.link.mend()
        self.server.settle()
        self.assertEqual(self.numbers(), [1, 2])

    def test_again(self) -> None:
        """What had reached Redis when the link was lost is not in the stream twice."""
        self.link.mend()
        for _ in range(5):
            self.add()
        self.link.cut(taken=3)
        self.assertEqual((self.numbers(), self.taken), ([1, 2, 3], []))
        self.link.mend()
        self.server.settle()
        self.assertEqual(self.numbers(), [1, 2, 3, 4, 5])
        self.assertEqual(self.taken, [(1, False), (2, False), (3, False), (4, True), (5, True)])

    def test_window(self) -> None:
        """Only so much is sent before the answers come, and the rest follows them."""
        self.link.mend()
        for _ in range(1000):
            self.add()
        self.assertEqual(len(self.link._commands), 256)
        self.server.settle()
        self.assertEqual(self.numbers(), list(range(1, 1001)))

    def test_large(self) -> None:
        """Likewise with large messages."""
        self.link.mend()
        for _ in range(10):
            self.add("x" * 2**20)
        self.assertEqual(len(self.link._commands), 4)
        self.server.settle()
        self.assertEqual(self.numbers(), list(range(1, 11)))

    def test_too_much(self) -> None:
        """What is too much to be kept is dropped, the oldest first, and counted; what was sent is not."""
        self.patch(module, "MAX_BACKLOG_BYTES", 100)
        self.link.mend()
        self.add("x" * 50)
        self.link.is_up = False
        for _ in range(10):
            self.add("x" * 20)
        self.assertEqual(self.dropped, [2, 3, 4, 5, 6, 7, 8, 9])
        self.assertEqual((self.backlog.lost, self.backlog.messages), (8, 3))
        self.link.mend()
        self.server.settle()
        self.assertEqual(self.numbers(), [1, 10, 11])

    def test_unable(self) -> None:
        """A Redis that can take nothing is left, and what it did not take waits for the next connection."""
        self.link.mend()
        self.link.error = Exception("OOM command not allowed when used memory > 'maxmemory'")
        self.add()
        self.add()
        self.link.error, error = None, self.link.error
        command, answer = self.link._commands.popleft()
        answer.errback(error)
        self.server.settle()
        self.assertEqual(len(self.link.dropped), 1)
        self.assertEqual((self.numbers(), self.taken, self.dropped), ([], [], []))
        self.link.cut()
        self.link.mend()
        self.server.settle()
        self.assertEqual((self.numbers(), self.taken), ([1, 2], [(1, True), (2, True)]))
        self.assertEqual(command[0], "EVAL")

    def test_one_channel(self) -> None:
        """A channel whose keys are somebody else's does not hold up the others."""
        self.server.redis.set("mles:{bad}:log", "mine")
        self.server.redis.hset("mles:{bad}:meta", mapping={"epoch": "e", "last": "0-0", "base": "0-0"})
        self.link.mend()
        self.add()
        self.add(channel="bad")
        self.add()
        self.server.settle()
        self.assertEqual((self.numbers(), self.dropped, self.backlog.lost), ([1, 3], [2], 1))
        self.assertEqual((len(self.backlog), self.link.dropped), (0, []))
