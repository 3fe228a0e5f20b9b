"""Values and interfaces of a client."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass, verifyObject

from mles_tx.client.interfaces import Callbacks, ClientClosed, IClientListener, Message, State, Status
from mles_tx.client.link import ILinkUser
from mles_tx.client.links import Links
from mles_tx.client.stream import MessageStream


class InterfaceTests(SynchronousTestCase):
    """What stands at the seams."""

    def test_implemented(self) -> None:
        """Who says that it implements an interface does."""
        verifyObject(IClientListener, Callbacks())
        verifyClass(IClientListener, MessageStream)
        verifyClass(ILinkUser, Links)

    def test_text(self) -> None:
        """A text message has a text, a binary one has none."""
        self.assertEqual(Message("grüß".encode(), False, 1).text, "grüß")
        self.assertIsNone(Message(b"x", True, 1).text)

    def test_callbacks(self) -> None:
        """Functions that are not given are not missed."""
        seen: list[object] = []
        for callbacks in (Callbacks(), Callbacks(seen.append, seen.append)):
            callbacks.message_received(Message(b"x", True, 1))
            callbacks.status_changed(Status(State.LIVE))
        self.assertEqual(seen, [Message(b"x", True, 1), Status(State.LIVE)])

    def test_closed(self) -> None:
        """An error says why."""
        self.assertEqual(str(ClientClosed(Status(State.CLOSED, "no more"))), "no more")
        self.assertEqual(str(ClientClosed(Status(State.CLOSED))), "the client is closed")
