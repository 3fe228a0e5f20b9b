"""What is passed on."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.config import Repeats
from mles_tx.client.interfaces import Message
from mles_tx.client.outbox import Outbox
from mles_tx.client.receiver import Receiver
from mles_tx.protocol.auth import digest


class ReceiverTests(SynchronousTestCase):
    """Repeats, pauses, and where to go on from."""

    def receiver(self, repeats: Repeats) -> Receiver:
        """One that has heard a and b, on a link that broke."""
        self.got: list[Message] = []
        receiver = Receiver("news", "me", repeats, Outbox(), self.got.append)
        receiver.begin()
        receiver.settle()
        for payload in (b"a", b"b"):
            receiver.received(payload, False)
        receiver.begin()
        return receiver

    def texts(self) -> list[bytes]:
        return [message.payload for message in self.got]

    def test_repeats(self) -> None:
        """Each way to treat what comes again does what it says."""
        for repeats, expected in (
            (Repeats.DROP, [b"a", b"b", b"c"]),
            (Repeats.DROP_REPLAYED, [b"a", b"b", b"c", b"c", b"a"]),
            (Repeats.KEEP, [b"a", b"b", b"a", b"b", b"c", b"c", b"a"]),
        ):
            receiver = self.receiver(repeats)
            for payload in (b"a", b"b", b"c", b"c"):
                receiver.received(payload, False)
            receiver.settle()
            receiver.received(b"a", False)
            self.assertEqual((repeats, self.texts()), (repeats, expected))

    def test_said_again_while_it_was_away(self) -> None:
        """On a server that is known to send only what came since, nothing of that is taken for a repeat."""
        receiver = self.receiver(Repeats.DROP_REPLAYED)
        receiver.begin(resumes=True)
        receiver.settle()
        receiver.begin(resumes=True)
        receiver.received(b"b", False)
        self.assertEqual(self.texts(), [b"a", b"b", b"b"])
        receiver.begin()
        receiver.received(b"b", False)
        self.assertEqual(self.texts(), [b"a", b"b", b"b"])

    def test_since(self) -> None:
        """It goes on behind the last eight that came, join frames left out."""
        receiver = self.receiver(Repeats.DROP)
        receiver.received(b'{"uid":"bob","channel":"news"}', False)
        self.assertEqual(list(receiver.since), [digest(b"a"), digest(b"b")])
        for number in range(10):
            receiver.received(str(number).encode(), True)
        self.assertEqual(list(receiver.since), [digest(str(number).encode()) for number in range(2, 10)])

    def test_pause(self) -> None:
        """What comes while it is paused is passed on later, also when the link broke meanwhile, and once."""
        receiver = self.receiver(Repeats.DROP_REPLAYED)
        receiver.is_paused = True
        receiver.received(b"c", False)
        receiver.begin()
        receiver.received(b"c", False)
        receiver.resume()
        self.assertEqual(self.texts(), [b"a", b"b", b"c"])

    def test_behind_the_own_join(self) -> None:
        """With nothing to go on from, what stands before its own first frame is old; without that frame nothing is."""
        for own, expected in ((b'{"uid":"me","channel":"news"}', [b"new"]), (b"x", [b"old", b"x", b"new"])):
            got: list[Message] = []
            receiver = Receiver("news", "me", Repeats.DROP, Outbox(), got.append)
            receiver.begin(behind_join=True)
            for payload in (b"old", own, b"new"):
                receiver.received(payload, False)
            self.assertEqual(got, [])
            receiver.settle()
            self.assertEqual([message.payload for message in got], expected)

    def test_marks(self) -> None:
        """What comes before the replay is over is marked."""
        receiver = self.receiver(Repeats.DROP)
        receiver.received(b"c", False)
        receiver.settle()
        receiver.received(b"d", False)
        self.assertEqual([message.is_replayed for message in self.got], [False, False, True, False])
