"""What is handed to a link."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.interfaces import ClientClosed, QueueFull, State, Status
from mles_tx.client.sender import Sender


class FakeLink:
    """A link that takes so many messages before it asks for a pause."""

    def __init__(self, takes: int = 99) -> None:
        self.can_send = True
        self.takes = takes
        self.sent: list[tuple[bytes, bool]] = []

    @property
    def is_writable(self) -> bool:
        return self.takes > 0

    def sendMessage(self, payload: bytes, is_binary: bool) -> None:
        self.takes -= 1
        self.sent.append((payload, is_binary))


class SenderTests(SynchronousTestCase):
    """Back-pressure and order."""

    def setUp(self) -> None:
        self.idle = 0
        self.sender = Sender(Clock(), 2, 1000, self.count, lambda: ())

    def count(self) -> None:
        self.idle += 1

    def test_waits(self) -> None:
        """Nothing goes before there is a link, and then no more than it takes."""
        link: Any = FakeLink(2)
        handed = [self.sender.say(text, False) for text in ("a", "b", "c")]
        self.assertEqual((len(self.sender), self.idle), (3, 0))
        self.sender.begin(link)
        self.assertEqual(link.sent, [(b"a", False), (b"b", False)])
        self.assertNoResult(handed[2])
        link.takes = 9
        self.sender.writable()
        self.assertEqual([self.successResultOf(one) for one in handed], [None] * 3)
        self.assertEqual((len(self.sender), self.idle), (0, 1))

    def test_said_in_a_callback(self) -> None:
        """What is said because something was handed over comes behind what waits."""
        link: Any = FakeLink()
        self.sender.say("a", False).addCallback(lambda _: self.sender.say("c", False))
        self.sender.say("b", False)
        self.sender.begin(link)
        self.assertEqual([payload for payload, _ in link.sent], [b"a", b"b", b"c"])

    def test_again(self) -> None:
        """On the next link what is unsure comes first, and nobody is told twice."""
        first: Any = FakeLink()
        second: Any = FakeLink()
        self.sender.begin(first)
        handed = self.sender.say(b"a", False)
        self.successResultOf(handed)
        self.sender.broken()
        self.sender.say("b", False)
        self.sender.begin(second)
        self.assertEqual(second.sent, [(b"a", True), (b"b", False)])

    def test_full(self) -> None:
        """On request it does not take what is too much."""
        self.sender.say("a", True)
        self.sender.say("b", True)
        self.failureResultOf(self.sender.say("c", True), QueueFull)
        self.assertNoResult(self.sender.say("c", False))

    def test_cancelled(self) -> None:
        """What nobody waits for any more is sent nevertheless."""
        link: Any = FakeLink()
        handed = self.sender.say("a", False)
        handed.addErrback(lambda _: None)
        handed.cancel()
        self.sender.begin(link)
        self.assertEqual(link.sent, [(b"a", False)])

    def test_end(self) -> None:
        """At the end those who wait are told."""
        handed = self.sender.say("a", False)
        self.sender.end(Status(State.CLOSED, "why"))
        self.assertEqual(str(self.failureResultOf(handed, ClientClosed).value), "why")
        self.failureResultOf(self.sender.say("b", False), ClientClosed)
