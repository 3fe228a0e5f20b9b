"""Autobahn's options."""

from autobahn.websocket.protocol import WebSocketProtocol
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.autobahn_options import AutobahnOptions
from mles_tx.transport.websocket import WebSocketConnection


class OptionsTests(SynchronousTestCase):
    """What Autobahn would copy for each connection."""

    def test_all(self) -> None:
        """Every option is set, and in this place alone."""
        attributes = [*WebSocketProtocol.CONFIG_ATTRS_COMMON, *WebSocketProtocol.CONFIG_ATTRS_SERVER]
        missing = [name for name in attributes if name not in AutobahnOptions.__dict__]
        self.assertEqual([], missing)
        elsewhere = [name for name in attributes if name in WebSocketConnection.__dict__]
        self.assertEqual([], elsewhere)
