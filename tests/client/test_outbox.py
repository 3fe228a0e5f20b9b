"""What was said and what of it is unsure."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.outbox import MAX_UNSURE_BYTES, UNSURE_SECONDS, Outbox, Saying
from mles_tx.protocol.auth import digest


def saying(text: str) -> Saying:
    """Something to say that nobody waits for."""
    return Saying(text.encode(), False, None, digest(text.encode()))


class OutboxTests(SynchronousTestCase):
    """The order of things."""

    def setUp(self) -> None:
        self.outbox = Outbox()

    def send(self, *texts: str, now: float = 0.0) -> None:
        """Say some texts, and send them at once."""
        for text in texts:
            self.outbox.add(saying(text))
            taken = self.outbox.take()
            assert taken is not None
            self.outbox.sent(taken, now)

    def waiting(self) -> list[str]:
        """All that waits; it does not wait any more then."""
        texts = []
        while (taken := self.outbox.take()) is not None:
            texts.append(taken.payload.decode())
        return texts

    def test_queue(self) -> None:
        """What waits is counted, and comes out in order."""
        for text in ("one", "three"):
            self.outbox.add(saying(text))
        self.assertEqual((len(self.outbox), self.outbox.waiting_bytes), (2, 8))
        self.assertEqual(self.waiting(), ["one", "three"])
        self.assertEqual((len(self.outbox), self.outbox.waiting_bytes, self.outbox.unsure), (0, 0, 0))

    def test_again(self) -> None:
        """What is unsure comes before what waits, in the order it was said."""
        self.send("one", "two")
        self.outbox.add(saying("three"))
        self.assertEqual((self.outbox.unsure, self.outbox.send_again(), self.outbox.unsure), (2, 2, 0))
        self.assertEqual(self.outbox.waiting_bytes, 11)
        self.assertEqual(self.waiting(), ["one", "two", "three"])

    def test_found(self) -> None:
        """A server takes things in order: with one that is there, those before it are."""
        self.send("one", "two", "three")
        self.assertTrue(self.outbox.found(digest(b"two")))
        self.assertFalse(self.outbox.found(digest(b"one")))
        self.assertEqual(list(self.outbox.said), [digest(b"one"), digest(b"two")])
        self.outbox.send_again()
        self.assertEqual(self.waiting(), ["three"])

    def test_found_first_of_equals(self) -> None:
        """Of equal ones the first is found first."""
        self.send("yes", "no", "yes")
        self.assertTrue(self.outbox.found(digest(b"yes")))
        self.assertEqual(self.outbox.unsure, 2)
        self.assertTrue(self.outbox.found(digest(b"yes")))
        self.assertEqual(self.outbox.unsure, 0)

    def test_age(self) -> None:
        """What was sent long ago is sure; of many, the later ones take longer."""
        self.send("one", now=10.0)
        self.outbox.age(10.0 + UNSURE_SECONDS)
        self.assertEqual(self.outbox.unsure, 1)
        self.outbox.age(11.0 + UNSURE_SECONDS)
        self.assertEqual(self.outbox.unsure, 0)
        self.send(*("x" * 1000), now=200.0)
        self.outbox.age(200.0 + UNSURE_SECONDS + 10)
        self.assertEqual(self.outbox.unsure, 500)

    def test_bytes(self) -> None:
        """No more is unsure than can be on its way."""
        large = "x" * (1024 * 1024)
        self.send(*[large] * 20)
        self.assertEqual(self.outbox.unsure, MAX_UNSURE_BYTES // (1024 * 1024 + 200))

    def test_behind(self) -> None:
        """It is known behind what each stands in the history, and how far that was looked through."""
        self.assertEqual(self.outbox.behind, ())
        for text, behind in (("one", (1,)), ("two", (1, 2))):
            self.outbox.sent(saying(text), 0.0, behind)
        self.assertEqual(self.outbox.behind, (1,))
        self.outbox.found(digest(b"one"))
        self.assertEqual(self.outbox.behind, (1, 2))
        self.outbox.looked((2, 3))
        self.assertEqual(self.outbox.behind, (2, 3))

    def test_all_taken(self) -> None:
        """When the server has said goodbye everything is sure."""
        self.send("one", "two")
        self.outbox.all_taken()
        self.assertEqual((self.outbox.unsure, self.outbox.send_again()), (0, 0))

    def test_discard(self) -> None:
        """At the end it tells what was never sent."""
        self.send("one")
        self.outbox.add(saying("two"))
        self.assertEqual([one.payload for one in self.outbox.discard()], [b"two"])
        self.assertEqual((len(self.outbox), self.outbox.unsure, self.outbox.waiting_bytes), (0, 0, 0))
