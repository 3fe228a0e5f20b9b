"""Tests of the server and the clients in memory, as programs that embed a server use them in their tests."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.auth import digest
from mles_tx.service.config import ConfigError
from mles_tx.testing import MemoryServer

KIB = 1024


class MemoryTests(SynchronousTestCase):
    """One server, that ends with its test."""

    def server(self, **settings: Any) -> MemoryServer:
        """A server with settings."""
        server = MemoryServer(**settings)
        self.addCleanup(server.stop)
        return server

    def test_both_ways(self) -> None:
        """Clients hear each other once a turn has ended: text as str, bytes as bytes, of any length."""
        server = self.server()
        alice, bob = server.join("alice", "news"), server.join("bob", "news", history=0)
        messages: list[str | bytes] = ["", "hello", "Zoë", b"", b"\xff", "x" * 126]
        messages += [b"y" * 65535, b"z" * 65536, "w" * (1024 * KIB)]
        for message in messages:
            alice.send(message)
        self.assertEqual(bob.received, [])
        server.advance(0)
        self.assertEqual(bob.received, messages)
        self.assertEqual(alice.received, [])
        self.assertTrue(alice.is_connected and bob.is_connected)
        self.assertEqual((alice.closed, bob.closed), (None, None))

    def test_service(self) -> None:
        """The service publishes to clients, hears them, and counts them."""
        server = self.server()
        alice = server.join("alice", "news")
        heard: list[str | bytes] = []
        self.successResultOf(Deferred.fromCoroutine(server.service.join("news", "local", heard.append, history=0)))
        alice.send("hello")
        server.service.publish("news", b"\x00")
        server.advance(0)
        self.assertEqual((alice.received, heard), ([b"\x00"], ["hello", b"\x00"]))
        metrics = server.service.metrics()
        self.assertEqual((metrics.active_connections, metrics.total_channels), (1, 1))
        self.assertEqual((metrics.total_messages_received, metrics.total_messages_sent), (2, 3))

    def test_history(self) -> None:
        """A client receives the history as it joins: all of it with the join frames, or as much as it asks for."""
        server = self.server(limit=3)
        alice = server.join("alice", "news")
        for number in range(4):
            alice.send(str(number))
        server.advance(0)
        self.assertEqual(server.join("bob", "news", history=2).received, ["2", "3"])
        self.assertEqual(server.join("carol", "news").received, ["2", "3", '{"uid":"bob","channel":"news"}'])

    def test_since(self) -> None:
        """A client that says what it has gets what came behind it."""
        server = self.server()
        alice = server.join("alice", "news")
        alice.send("old")
        alice.send("new")
        server.advance(0)
        since = [f"{digest(b'old'):016x}"]
        self.assertEqual(server.join("bob", "news", since=since).received, ["new"])

    def test_only_publishes(self) -> None:
        """A client that does not want to receive gets nothing, and is heard."""
        server = self.server()
        alice, bob = server.join("alice", "news", receive=False), server.join("bob", "news", history=0)
        bob.send("hello")
        alice.send("ok")
        server.advance(0)
        self.assertEqual((alice.received, bob.received), ([], ["ok"]))

    def test_key(self) -> None:
        """A server with a key refuses clients without; they are told why, and are gone."""
        client = self.server(key=b"secret").join("alice", "news")
        self.assertEqual(client.closed, (4510, "this server needs auth in the first frame"))
        self.assertFalse(client.is_connected)

    def test_silent_stranger(self) -> None:
        """A client that does not say who it is is sent away after 30 seconds of the server's clock."""
        server = self.server()
        client = server.connect()
        server.advance(29)
        self.assertEqual((client.closed, client.is_connected), (None, True))
        server.advance(2)
        self.assertEqual(client.closed, (4000, "no first frame within 30 seconds"))

    def test_answers_pings(self) -> None:
        """A client that answers pings stays for hours, one that does not is closed after three of them."""
        server = self.server()
        alive, dead = server.join("alive", "news"), server.join("dead", "news")
        dead.answers_pings = False
        for _ in range(600):
            server.advance(12)
        self.assertTrue(alive.is_connected)
        self.assertFalse(dead.is_connected)
        self.assertEqual(dead.closed, (4001, "pings were not answered"))

    def test_takeover(self) -> None:
        """A client whose link is dead is replaced by the one that comes back; one that is alive is not."""
        server = self.server()
        lost = server.join("alice", "news")
        second = server.join("alice", "news")
        self.assertEqual(second.closed, (4512, "uid is in use on this channel"))
        lost.answers_pings = False
        back = server.join("alice", "news")
        server.advance(3)
        self.assertIsNotNone(lost.closed)
        self.assertEqual((lost.closed or (0,))[0], 4513)
        self.assertTrue(back.is_connected)

    def test_stalled(self) -> None:
        """A client that does not read gets the rest when it reads on, in order."""
        server = self.server(rate_limit=0)
        alice, bob = server.join("alice", "news"), server.join("bob", "news", history=0)
        bob.stalled = True
        messages: list[str | bytes] = [bytes((number,)) * 200 * KIB for number in range(20)]
        for message in messages:
            alice.send(message)
            server.advance(0)
        self.assertLess(len(bob.received), 3)
        bob.read_on()
        self.assertTrue(bob.received == messages)
        self.assertFalse(bob.stalled)

    def test_stalled_too_long(self) -> None:
        """A client that does not read for a minute is cut off; the others are not."""
        server = self.server(rate_limit=0)
        alice, bob = server.join("alice", "news"), server.join("bob", "news", history=0)
        bob.stalled = True
        for _ in range(4):
            alice.send(b"x" * 200 * KIB)
            server.advance(0)
        for _ in range(14):
            server.advance(5)
        self.assertEqual((alice.is_connected, bob.is_connected), (True, False))

    def test_vanish(self) -> None:
        """A client that vanishes is gone at once, without a close frame, and nothing reaches it any more."""
        server = self.server()
        alice, bob = server.join("alice", "news"), server.join("bob", "news", history=0)
        bob.vanish()
        bob.vanish()
        alice.send("hello")
        bob.send("from nowhere")
        server.advance(0)
        self.assertEqual((bob.received, bob.closed, bob.is_connected), ([], None, False))
        self.assertEqual(alice.received, [])
        self.assertEqual(server.service.metrics().active_connections, 1)

    def test_close(self) -> None:
        """A client that leaves has its close frame answered with the same code, and is gone."""
        server = self.server()
        for code in (1000, 1001, 4999):
            client = server.join("alice", "news")
            client.close(code)
            self.assertEqual((client.closed, client.is_connected), ((code, ""), False))
        self.assertEqual(server.service.metrics().active_connections, 0)

    def test_stop(self) -> None:
        """When the server stops, clients are told, those that are dead are cut off, and no timer is left."""
        server = MemoryServer()
        alive, dead, stranger = server.join("alive", "news"), server.join("dead", "news"), server.connect()
        dead.answers_pings = False
        server.stop()
        for client in (alive, dead, stranger):
            self.assertEqual((client.closed, client.is_connected), ((1001, "server is stopping"), False))
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_bad_settings(self) -> None:
        """Settings that no server could have are refused."""
        self.assertRaises(ConfigError, MemoryServer, limit=0)
        self.assertRaises(TypeError, MemoryServer, colour="blue")

    def test_full(self) -> None:
        """A server with as many channels as it may have refuses a further one as long as all have members."""
        server = self.server(max_channels=2)
        one, two = server.join("alice", "one"), server.join("alice", "two")
        self.assertEqual((server.join("alice", "three").closed or (0,))[0], 1013)
        self.assertTrue(one.is_connected and two.is_connected)
        two.close()
        self.assertTrue(server.join("alice", "three").is_connected)
        self.assertEqual(server.service.metrics().total_channels, 2)
