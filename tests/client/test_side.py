"""One side of a bridge by itself."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mles_tx.client.interfaces import Message
from mles_tx.client.side import ISideLink, Side, SideState

from .bridges import said


@implementer(ISideLink)
class _Link:
    """Notes what it is to say."""

    name = "link"

    def __init__(self) -> None:
        self.said: list[str] = []
        self.answers: list[Deferred[None]] = []  #: for the next ones; then they are taken at once

    def say(self, message: Message) -> "Deferred[None]":
        self.said.append(message.payload.decode())
        return self.answers.pop(0) if self.answers else succeed(None)

    def hold(self) -> None:
        pass

    def go_on(self) -> None:
        pass


class SideTests(SynchronousTestCase):
    """What waits, and what is held."""

    def setUp(self) -> None:
        self.link, self.eased = _Link(), 0
        verifyObject(ISideLink, self.link)
        self.side = Side(self.link, 100, 4, 1000, Clock(), 0.0, self.ease)

    def ease(self) -> None:
        self.eased += 1

    def add(self, *texts: str) -> None:
        for text in texts:
            self.side.add(said(text))

    def test_in_order(self) -> None:
        """What waits is said in order as soon as the side is up, one after the other as they are taken."""
        waiting: Deferred[None] = Deferred()
        self.link.answers = [succeed(None), waiting]
        self.add("2", "3", "4")
        self.side.add_before([said("1")])
        self.side.say_on()
        self.assertEqual(self.link.said, [])
        self.side.state = SideState.UP
        self.side.say_on()
        self.assertEqual((self.link.said, len(self.side)), (["1", "2"], 2))
        self.side.say_on()
        waiting.callback(None)
        self.assertEqual((self.link.said, len(self.side)), (["1", "2", "3", "4"], 0))

    def test_spared(self) -> None:
        """What came another way is taken out, the oldest of several alike, and everything else keeps its place."""
        self.add("1", "2", "1", "3")
        for text, found in (("1", True), ("x", False), ("2", True)):
            self.assertIs(self.side.spare(said(text).digest), found)
        self.side.state = SideState.UP
        self.side.say_on()
        self.assertEqual(self.link.said, ["1", "3"])
        self.assertFalse(self.side.spare(said("3").digest))

    def test_full(self) -> None:
        """It is full with as much as may wait, and not before half of that is gone it is not; that is told once."""
        self.add("1", "2", "3")
        self.assertFalse(self.side.is_full)
        self.add("4")
        self.assertTrue(self.side.is_full)
        self.side.spare(said("1").digest)
        self.assertTrue(self.side.is_full)
        self.side.spare(said("2").digest)
        self.assertEqual((self.side.is_full, self.eased), (False, 1))
        self.add("x" * 1000)
        self.assertTrue(self.side.is_full)
        self.side.state = SideState.UP
        self.side.say_on()
        self.assertEqual((self.side.is_full, self.eased, self.side.counts.waiting), (False, 2, 0))

    def test_ended(self) -> None:
        """A link that ends for good is said nothing more."""
        self.link.answers = [fail(RuntimeError())]
        self.side.state = SideState.UP
        self.add("1", "2")
        self.side.say_on()
        self.side.say_on()
        self.assertEqual(self.link.said, ["1"])

    def test_held(self) -> None:
        """What was said there is there, should the server lose it; what waits is not."""
        self.add("1", "2")
        self.assertEqual(self.side.held.held_frames(), [])
        self.side.state = SideState.UP
        self.side.say_on()
        self.assertEqual([message.payload for message in self.side.held.held_frames()], [b"1", b"2"])
