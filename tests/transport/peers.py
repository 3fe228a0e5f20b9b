"""Peers in memory: a registry with a memory history, and connections to it."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import MemoryHistory
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.protocol.closing import CloseReason
from mles_tx.transport.connection import MlesConnection, Settings
from mles_tx.transport.connections import MlesFactory
from tests.wire import Frame, close_of, header, read_frames, split_answer, upgrade

from .fakes import FakeTransport

__all__ = ["ConnectionTestCase", "Peer"]


class Peer(FakeTransport):
    """A peer with its connection, and what it has received."""

    connection: MlesConnection

    def frames(self) -> list[Frame]:
        """The frames that came since the last look."""
        return read_frames(self.taken())

    def messages(self) -> list[bytes]:
        """The payloads of the messages that came since the last look."""
        return [frame.payload for frame in self.frames() if frame.opcode in (1, 2)]


class ConnectionTestCase(SynchronousTestCase):
    """A registry with a memory history, and peers."""

    settings = Settings()

    def setUp(self) -> None:
        self.clock = Clock()
        self.history = MemoryHistory(self.clock, limit=200)
        self.registry = ChannelRegistry(self.clock, self.history)
        self.factory = MlesFactory(self.clock, self.registry, self.settings)

    def connect(self) -> Peer:
        """A peer that has not asked for anything."""
        connection = self.factory.buildProtocol(None)
        assert isinstance(connection, MlesConnection)
        peer = Peer(connection)
        peer.connection = connection
        return peer

    def open(self) -> Peer:
        """A peer whose upgrade was answered."""
        peer = self.connect()
        peer.receive(upgrade())
        head, _ = split_answer(peer.taken())
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "))
        return peer

    def join(self, uid: str, channel: str = "example", **more: Any) -> Peer:
        """A member that has taken its history."""
        peer = self.open()
        peer.receive(header(uid, channel, **more))
        peer.taken()
        return peer

    def end_turn(self) -> None:
        """The end of a reactor turn."""
        self.clock.advance(0)

    def assertClosed(self, peer: Peer, reason: CloseReason) -> None:
        """The last thing the peer got is the close frame of a reason."""
        self.assertEqual((reason.code, reason.text), close_of(peer.frames()[-1]))
