"""A connection to an upstream: one request after the other, or a WebSocket."""

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface.verify import verifyObject

from mles_tx.web.upstream import MAX_PIECES

from .proxying import Peer
from .upstreams import OK, UpstreamTestCase


class ConnectionTests(UpstreamTestCase):
    """One request after the other."""

    def test_interface(self) -> None:
        """It hears of an end that is not the end of both directions."""
        self.assertTrue(verifyObject(IHalfCloseableProtocol, self.open()[0]))

    def test_used_again(self) -> None:
        """After a whole answer the connection carries the next request; the latest one first, new ones on demand."""
        first, peer = self.open()
        self.assertFalse(first.is_reused)
        user = self.ask(first)
        peer.receive(OK)
        self.assertEqual(user.told, [200, b"ok", "ended"])
        again, _ = self.open()
        self.assertIs(again, first)
        self.assertTrue(again.is_reused)
        self.assertEqual(again.received, len(OK))
        user = self.ask(again)
        self.assertEqual(again.received, 0)
        other, _ = self.open()
        self.assertIsNot(other, first)
        peer.receive(OK)
        self.assertEqual(user.told, [200, b"ok", "ended"])
        fresh, _ = self.open(fresh=True)
        self.assertNotIn(fresh, (first, other))

    def test_not_used_again(self) -> None:
        """A connection is not used again when somebody wants to close it, or more came than was asked for."""
        for answer in (
            OK.replace(b"Content", b"Connection: close\r\nContent"),
            OK.replace(b"1.1", b"1.0"),
            OK + b"x",
            OK + OK,
        ):
            connection, peer = self.open()
            user = self.ask(connection)
            peer.receive(answer)
            self.assertEqual((user.told, peer.aborted), ([200, b"ok", "ended"], True), answer)
        before = len(self.reactor.tcpClients)
        self.open()
        self.assertEqual(len(self.reactor.tcpClients), before + 1)

    def test_something_unasked(self) -> None:
        """What comes when nobody has asked is never taken for the next answer."""
        connection, peer = self.open()
        self.ask(connection)
        peer.receive(OK)
        peer.receive(OK)
        self.assertTrue(peer.aborted)
        other, _ = self.open()
        self.assertIsNot(other, connection)

    def test_closed_while_idle(self) -> None:
        """A connection that the upstream closes is not used again."""
        for end in (Peer.end, Peer.reset):
            connection, peer = self.open()
            self.ask(connection)
            peer.receive(OK)
            end(peer)
            other, _ = self.open()
            self.assertIsNot(other, connection)
            other.abort()

    def test_user_fails(self) -> None:
        """A fault in whoever gets the answer is logged, and ends the connection."""
        connection, peer = self.open()
        user = self.ask(connection)
        user.body = lambda data: 1 / 0  # type: ignore[assignment, method-assign]
        peer.receive(OK)
        self.assertEqual((user.told, peer.aborted), ([200, "failed"], True))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_switched(self) -> None:
        """After a switch everything is handed over as it comes, and so is the end of one direction."""
        connection, peer = self.open()
        user = self.ask(connection, [("Host", "localhost"), ("Upgrade", "websocket"), ("Connection", "Upgrade")])
        peer.receive(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst")
        peer.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.end()
        peer.reset()
        self.assertEqual(user.told, [(101, b"first"), b"HTTP/1.1 200 OK\r\n\r\n", "half closed", "failed"])

    def test_pieces(self) -> None:
        """Of many small pieces a share is told at a time; whoever pauses in between is not told to go on."""
        connection, peer = self.open()
        user = self.ask(connection)
        peer.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 2 * MAX_PIECES)
        self.assertEqual(user.told, [200, b"a" * MAX_PIECES])
        connection.pauseProducing()
        connection.resumeProducing()
        self.assertFalse(peer.is_read)
        connection.pauseProducing()
        self.reactor.advance(0)
        self.assertEqual(user.told[2:], [b"a" * MAX_PIECES])
        self.assertFalse(peer.is_read)
        connection.resumeProducing()
        self.assertTrue(peer.is_read)
