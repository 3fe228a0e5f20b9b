"""Tests of replays that begin before it is known what is remembered."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.channels.history import ChannelLog, IReplay
from mles_tx.protocol.frames import payload_of
from mles_tx.stores.redis.replays import WaitingReplay, with_more
from tests.channels.fakes import LateReplay, ListReplay, hello, said
from tests.stores.contract import join_of


class WaitingReplayTests(SynchronousTestCase):
    """Who pulls early waits, who pulls late does not."""

    def test_early(self) -> None:
        """A pull is answered as soon as it is known what there is, and later ones at once."""
        replay = WaitingReplay(lambda: ListReplay([b"12", b"34"]))
        self.assertTrue(verifyObject(IReplay, replay))
        pulled = replay.pull(1)
        assert isinstance(pulled, Deferred)
        self.assertNoResult(pulled)
        replay.find()
        self.assertEqual((self.successResultOf(pulled), replay.pull(1), replay.pull(1)), ([b"12"], [b"34"], []))

    def test_late(self) -> None:
        """Likewise when nobody has pulled before."""
        replay = WaitingReplay(lambda: ListReplay([b"12"]))
        replay.find()
        self.assertEqual((replay.pull(9), replay.pull(9)), ([b"12"], []))

    def test_both(self) -> None:
        """What is found may take its time as well."""
        found = LateReplay([b"12"])
        replay = WaitingReplay(lambda: found)
        pulled = replay.pull(9)
        assert isinstance(pulled, Deferred)
        replay.find()
        self.assertNoResult(pulled)
        found.answer()
        self.assertEqual(self.successResultOf(pulled), [b"12"])


class WithMoreTests(SynchronousTestCase):
    """What is not in the stream yet."""

    def test_behind(self) -> None:
        """It stands behind the history; messages push out what is oldest, join frames do not."""
        log = ChannelLog()
        log.append([said("1"), said("2")], 2, 100)
        self.assertIs(with_more(log, [], (2, 100)), log)
        for more, expected in (([said("3")], ["2", "3"]), ([join_of("bob")], ["1", "2", hello("bob").decode()])):
            found = [payload_of(message.frame).decode() for message in with_more(log, more, (2, 100))]
            self.assertEqual(found, expected)
        self.assertEqual(len(log), 2)
