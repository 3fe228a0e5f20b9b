"""What is remembered of a channel, and given back to a server that has lost it."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.client.held import HeardMessages, HeldMessages
from mles_tx.client.interfaces import IClientListener, IHeldHistory
from mles_tx.testing import MemoryServer

from .bridges import said
from .fakes import Heard, Way


class HeldTests(SynchronousTestCase):
    """The memory itself."""

    def test_bounds(self) -> None:
        """The last are held, as many messages and bytes as may be."""
        held = HeldMessages(3, 10)
        self.assertTrue(verifyObject(IHeldHistory, held))
        for texts, expected in (
            (("1", "2", "3", "4"), ["2", "3", "4"]),
            (("5" * 9,), ["4", "5" * 9]),
            (("6" * 11,), []),
        ):
            for text in texts:
                held.add(said(text))
            self.assertEqual([message.payload.decode() for message in held.held_frames()], expected)


class HeardTests(SynchronousTestCase):
    """A client that remembers."""

    def test_restarted_server(self) -> None:
        """What a client has heard and said, but no join frame, is on a restarted server again when it has come back."""
        way = Way(MemoryServer(rate_limit=0))
        way.server.join("bob", "news").send("by bob")
        held = HeardMessages("news")
        self.assertTrue(verifyObject(IClientListener, held))
        heard = Heard(way, held=held)
        heard.client.listen(held)
        heard.client.startService()
        heard.pass_time(1)
        heard.client.publish(b"\x00by alice")
        held.add_said(b"\x00by alice")
        heard.pass_time(200)
        way.cut()
        way.restart()
        heard.pass_time(10)
        self.assertEqual(way.server.join("zoe", "news", history=9).received, ["by bob", b"\x00by alice"])
        stopped = heard.client.stopService()
        heard.pass_time(7)
        self.successResultOf(stopped)
