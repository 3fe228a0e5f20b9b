"""TLS on the socket, driven by hand, with a real client; and the share of handshakes."""

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import INegotiated, ISSLTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.transport.share import TurnShare
from mles_tx.transport.tcp import bytes_taken, end_stream
from mles_tx.transport.tls import HANDSHAKE_STEPS, TLSServer

from .tls_ports import TLSTestCase


class RealClientTests(TLSTestCase):
    """A real client on a real socket."""

    def meet(self) -> tuple[SSL.Connection, Any]:
        """A client that has shaken hands, and the server's transport."""
        client, transport = self.connect()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.setTcpNoDelay(True)
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), client)
        connection.set_connect_state()
        self.until(transport, connection.do_handshake)
        self.read_all(transport)
        return connection, transport

    def until(self, transport: Any, step: Callable[[], Any]) -> Any:
        """Take a step of the client's, and the server's in turn, until the client's is done."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                return step()
            except SSL.WantReadError:
                if transport.connected:
                    select.select([transport.socket], [], [], 0.001)
                self.read_all(transport)
                if self.is_writing(transport):
                    self.write(transport)
        self.fail("the client waits for ever")

    def read_all(self, transport: Any) -> None:
        """Let the server read what is there."""
        while transport.connected and self.is_reading(transport) and select.select([transport.socket], [], [], 0)[0]:
            self.read(transport)
            self.reactor.advance(0)

    def test_interfaces(self) -> None:
        """It is what Twisted calls a TLS transport."""
        _, transport = self.meet()
        self.assertIsInstance(transport, TLSServer)
        for interface in (ISSLTransport, INegotiated):
            self.assertTrue(verifyObject(interface, transport))
        self.assertRaises(RuntimeError, transport.startTLS, None)

    def test_server_name(self) -> None:
        """The host that the client names is known after the handshake, without case and trailing dot; no address is."""
        for named, expected in (
            (b"localhost", "localhost"),
            (b"WWW.Example.ORG", "www.example.org"),
            (b"example.org.", "example.org"),
            (b"127.0.0.1", None),
            (b"::1", None),
            (None, None),
        ):
            client, transport = self.connect()
            client.setblocking(False)
            self.assertIsNone(transport.server_name(), "nothing is known before the handshake")
            connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), client)
            if named is not None:
                connection.set_tlsext_host_name(named)
            connection.set_connect_state()
            self.until(transport, connection.do_handshake)
            self.read_all(transport)
            self.assertEqual((named, transport.server_name()), (named, expected))
            transport.abortConnection()
            self.reactor.advance(0)
            self.assertIsNone(transport.server_name(), "nor when it is gone")

    def test_at_once(self) -> None:
        """What is written is with the client before the reactor has done anything."""
        client, transport = self.meet()
        transport.write(b"one")
        transport.write(b"")
        transport.write(bytes(40_000))
        self.assertFalse(self.is_writing(transport))
        received = b""
        while len(received) < 40_003:
            received += client.recv(65536)
        self.assertEqual(received, b"one" + bytes(40_000))

    def test_text(self) -> None:
        """Text is refused, and nothing of it is sent."""
        client, transport = self.meet()
        self.assertRaises(TypeError, transport.write, "text")
        self.assertRaises(SSL.WantReadError, client.recv, 100)

    def test_taken(self) -> None:
        """What the client's system has acknowledged is known: at least what was written."""
        client, transport = self.meet()
        transport.write(b"hello")
        self.assertEqual(self.until(transport, lambda: client.recv(100)), b"hello")
        before = self.taken(client, transport)
        self.assertGreater(before, 0)
        transport.write(bytes(1000))
        taken = self.taken(client, transport) - before
        self.assertTrue(1000 <= taken < 1100, taken)

    def taken(self, client: SSL.Connection, transport: Any) -> int:
        """What counts as taken as soon as the client's system acknowledges what it has."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return bytes_taken(transport)

    def test_end_of_stream(self) -> None:
        """The peer gets all that was written, then the end of TLS and of the stream; its own end is waited for."""
        client, transport = self.meet()
        transport.write(b"the end")
        end_stream(transport)
        self.assertEqual(self.until(transport, lambda: client.recv(100)), b"the end")
        self.assertRaises(SSL.ZeroReturnError, self.until, transport, lambda: client.recv(100))
        self.assertIsNone(self.built[-1].reason)
        client.send(b"one more")
        self.read_all(transport)
        self.assertEqual((self.built[-1].received, self.built[-1].reason), (b"", None))
        client.shutdown()
        self.read_all(transport)
        reason = self.built[-1].reason
        assert reason is not None
        self.assertIsInstance(reason.value, ConnectionDone)
        self.assertNotIn(transport, (*self.reactor.getReaders(), *self.reactor.getWriters()))

    def test_gone_already(self) -> None:
        """Ending a connection that is gone already does nothing."""
        _, transport = self.meet()
        transport.abortConnection()
        self.reactor.advance(0)
        end_stream(transport)
        transport.loseWriteConnection()
        transport.write(b"too late")
        self.assertNotIn(transport, (*self.reactor.getReaders(), *self.reactor.getWriters()))

    def test_early_end(self) -> None:
        """What was written before the handshake arrives when the end was asked for before it, and the end behind it."""
        client, transport = self.connect()
        client.setblocking(False)
        transport.write(b"first and last")
        transport.loseConnection()
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), client)
        connection.set_connect_state()
        self.until(transport, connection.do_handshake)
        self.assertEqual(self.until(transport, lambda: connection.recv(100)), b"first and last")
        self.assertRaises(SSL.ZeroReturnError, self.until, transport, lambda: connection.recv(100))

    def test_no_timer(self) -> None:
        """Connections come and go without a timer that stays."""
        _, transport = self.meet()
        transport.abortConnection()
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def vanish(self, client: SSL.Connection) -> None:
        """The client's system resets the connection, in the middle of whatever was being said."""
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock_shutdown(socket.SHUT_WR)
        os.close(client.detach())

    def test_vanished(self) -> None:
        """A peer vanishes while it is written to, in small or large pieces, read from, or told goodbye: the others are
        read and written to as ever, also where OpenSSL blames the next connection for what is left in its queue."""
        openssl: Any = SSL
        other_client, other = self.meet()
        for number, act in enumerate(
            (
                lambda transport: transport.write(b"small"),
                lambda transport: transport.write(b"x" * 100_000),
                lambda transport: transport.writeSequence([b"a", b"b"]),
                lambda transport: transport.loseConnection(),
                lambda transport: transport.connectionLost(Failure(ConnectionDone())),
                lambda transport: transport.doRead(),
            )
        ):
            for times in (1, 2, 3):
                client, transport = self.meet()
                self.vanish(client)
                for _ in range(times):
                    if transport.connected:
                        act(transport)
                    if transport.connected and self.is_writing(transport):
                        self.write(transport)
                self.assertEqual(openssl._lib.ERR_peek_error(), 0, f"{number=} {times=}")
                self.assertIsNone(other.doRead(), f"{number=} {times=}")
        other_client.send(b"hello")
        self.read_all(other)
        self.assertTrue(other.connected)
        self.assertEqual(other.protocol.received, b"hello")
        other.write(b"answer")
        self.assertEqual(self.until(other, lambda: other_client.recv(100)), b"answer")


class HandshakeStepsTests(SynchronousTestCase):
    """How much of a turn goes into handshakes."""

    def test_share(self) -> None:
        """In each turn so many steps may be made, and no more."""
        clock = Clock()
        share = TurnShare(clock, HANDSHAKE_STEPS)
        for _ in range(3):
            self.assertEqual([share.take() for _ in range(20)], [True] * 16 + [False] * 4)
            self.assertEqual(len(clock.getDelayedCalls()), 1)
            clock.advance(0)

    def test_no_timer(self) -> None:
        """While nobody shakes hands there is no timer."""
        clock = Clock()
        share = TurnShare(clock, HANDSHAKE_STEPS)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertTrue(share.take())
        clock.advance(0)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_of_a_port(self) -> None:
        """All connections of a port share it: those that come later have their turn in the next one."""
        clock = Clock()
        share = TurnShare(clock, HANDSHAKE_STEPS)
        self.assertEqual([share.take() for _ in range(17)][-1], False)
        clock.advance(0)
        self.assertTrue(share.take())
