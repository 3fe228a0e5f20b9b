"""What of a replay is new."""

import json

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.outbox import Outbox
from mles_tx.client.replay import Kind, Replay, who_joins
from mles_tx.protocol.auth import digest
from mles_tx.protocol.dedup import DigestMemory

from .test_outbox import saying

NEW, REPEAT, OWN = Kind.NEW, Kind.REPEAT, Kind.OWN


class ReplayTests(SynchronousTestCase):
    """Messages against what was there."""

    def kinds(self, replay: Replay, *texts: str) -> list[Kind]:
        """What some texts are; those that begin with a brace are join frames."""
        return [replay.kind(digest(text.encode()), text.startswith("{")) for text in texts]

    def replay(self, received: str = "", sure: str = "", unsure: str = "") -> Replay:
        """A replay against some words."""
        memory, outbox = DigestMemory(), Outbox()
        for word in received.split():
            memory.record(digest(word.encode()))
        for word in sure.split():
            outbox.sent(saying(word), 0.0)
        outbox.all_taken()
        for word in unsure.split():
            outbox.sent(saying(word), 0.0)
        return Replay(memory, outbox)

    def test_first(self) -> None:
        """At first everything is new."""
        self.assertEqual(self.kinds(self.replay(), "a", "a", "b"), [NEW, NEW, NEW])

    def test_overlap(self) -> None:
        """What was there comes again, and then something new."""
        self.assertEqual(self.kinds(self.replay("a b c"), "b", "c", "d", "e"), [REPEAT, REPEAT, NEW, NEW])

    def test_behind_the_first_new_one(self) -> None:
        """There is one order: behind something new nothing old comes."""
        self.assertEqual(self.kinds(self.replay("a b"), "c", "a"), [NEW, NEW])

    def test_joins_prove_nothing(self) -> None:
        """Join frames change their place; what comes behind a new one may be old."""
        self.assertEqual(self.kinds(self.replay("a b"), "{new}", "a", "b", "c"), [NEW, REPEAT, REPEAT, NEW])

    def test_counts(self) -> None:
        """Said twice and heard once, it is new once."""
        self.assertEqual(self.kinds(self.replay("yes"), "yes", "yes"), [REPEAT, NEW])

    def test_own(self) -> None:
        """What the client has said itself is its own, surely taken or not."""
        replay = self.replay("a", "mine", "mine also")
        self.assertEqual(self.kinds(replay, "mine", "a", "mine", "new", "also"), [OWN, REPEAT, OWN, NEW, OWN])

    def test_end(self) -> None:
        """Behind its end everything is new."""
        replay = self.replay("a", "mine")
        replay.end()
        self.assertEqual(self.kinds(replay, "a", "mine"), [NEW, NEW])


class WhoJoinsTests(SynchronousTestCase):
    """First frames of others."""

    def test_who_joins(self) -> None:
        """An object with uid and channel and no text is one; others are not."""
        good = json.dumps({"uid": "bob", "channel": "news", "more": 1}).encode()
        self.assertEqual(who_joins(good, False, "news"), "bob")
        for payload, is_binary in (
            (good, True),
            (b'{"uid":"bob","channel":"other"}', False),
            (b'{"uid":1,"channel":"news"}', False),
            (b'{"uid":"bob","channel":"news","text":"x"}', False),
            (b'{"uid":"bob","channel":"news"', False),
            (b'{"channel":' * 5000, False),
            (b"hello", False),
            (b"", False),
        ):
            self.assertIsNone(who_joins(payload, is_binary, "news"), payload[:40])
