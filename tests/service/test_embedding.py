"""Tests of servers inside another program: started, looked at, spoken through and stopped, on the tests' reactor."""

import socket
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

import mles_tx
from mles_tx import ConfigError, MlesService, ServerConfig, ServerHandle, run
from mles_tx.channels.local import LocalMember
from mles_tx.protocol.closing import CloseReason, ProtocolViolation
from mles_tx.protocol.header import MAX_MESSAGE_BYTES
from mles_tx.testing import MemoryServer
from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.port import BindError
from tests.descriptors import descriptors
from tests.wire import Frame, client_frame, close_of, header, read_frames, upgrade

from .clients import Client, dial, get, reactor

NODES = 100


class RunTests(TestCase):
    """`run` and its handle."""

    async def start(self, **fields: Any) -> ServerHandle:
        """A server on a free port that ends with the test."""
        handle = await run(ServerConfig(**{"port": 0, **fields}), reactor)
        self.addCleanup(handle.shutdown)
        return handle

    async def join(self, handle: ServerHandle, uid: str) -> Client:
        """A member."""
        client = await dial(handle.address[1])
        client.transport.write(upgrade())
        await client.until(b"\r\n\r\n")
        client.transport.write(header(uid, history=0) + client_frame(9, b"joined"))
        await client.until(b"joined")
        client.received = b""
        return client

    async def test_reload(self) -> None:
        """Through the handle it is changed while it runs, and members stay; what cannot be is named."""
        handle = await self.start()
        alice = await self.join(handle, "alice")
        changes = handle.reload(ServerConfig(port=1, origins=("https://a.test",)))
        self.assertEqual(
            [(change.name, change.needs_restart) for change in changes], [("--origin", False), ("--port", True)]
        )
        alice.transport.write(client_frame(9, b"still here"))
        await alice.until(b"still here")
        await alice.hang_up()

    async def test_free_port(self) -> None:
        """With port 0 it listens on a free port, which the handle tells, and which answers."""
        handle = await self.start()
        host, port = handle.address
        self.assertEqual(host, "127.0.0.1")
        self.assertGreater(port, 0)
        self.assertEqual((await get(port))[0], "HTTP/1.1 200 OK")
        self.assertIsInstance(handle.service, MlesService)

    async def test_no_port(self) -> None:
        """Without a port, and after the end, there is no address."""
        handle = await self.start(listen=False)
        self.assertRaises(LookupError, lambda: handle.address)
        listening = await self.start()
        await listening.shutdown()
        self.assertRaises(LookupError, lambda: listening.address)

    async def test_metrics(self) -> None:
        """The handle tells what has happened so far."""
        handle = await self.start()
        before = handle.metrics()
        self.assertEqual((before.active_connections, before.total_channels, before.total_messages_received), (0, 0, 0))
        alice, bob = await self.join(handle, "alice"), await self.join(handle, "bob")
        alice.transport.write(client_frame(1, b"hello"))
        await bob.until(b"hello")
        now = handle.metrics()
        self.assertEqual((now.active_connections, now.total_channels, now.total_messages_received), (2, 1, 1))
        self.assertEqual((now.total_messages_sent, now.total_errors, now.total_dropped_connections), (1, 0, 0))
        self.assertEqual(before.active_connections, 0)
        await alice.hang_up()
        await bob.hang_up()

    async def test_shutdown(self) -> None:
        """Members are told; whoever waited, before or after, learns when nothing is left; it may be said twice."""
        handle = await self.start()
        port = handle.address[1]
        alice = await self.join(handle, "alice")
        before = handle.wait_for_shutdown()
        self.assertFalse(handle.is_shutdown_requested())
        first = handle.shutdown()
        self.assertTrue(handle.is_shutdown_requested())
        second = handle.shutdown()
        for waiting in (before, first, second):
            self.assertNoResult(waiting)
        await alice.until(b"stopping")
        self.assertEqual(close_of(read_frames(alice.received)[0]), (1001, "server is stopping"))
        alice.transport.write(client_frame(8, b"\x03\xe9"))
        alice.transport.loseConnection()
        for waiting in (before, first, second):
            await waiting
        self.assertIsNone(self.successResultOf(handle.wait_for_shutdown()))
        self.assertIsNone(self.successResultOf(handle.shutdown()))
        self.assertTrue(handle.is_shutdown_requested())
        await alice.ended
        await self.assertFailure(Deferred.fromCoroutine(dial(port)), ConnectionRefusedError)

    async def test_cancelled(self) -> None:
        """Who does not want to wait any more stops nothing, and the others wait on."""
        handle = await self.start()
        impatient, patient = handle.wait_for_shutdown(), handle.wait_for_shutdown()
        impatient.cancel()
        self.failureResultOf(impatient, CancelledError)
        self.assertFalse(handle.is_shutdown_requested())
        self.assertEqual((await get(handle.address[1]))[0], "HTTP/1.1 200 OK")
        await handle.shutdown()
        self.assertIsNone(self.successResultOf(patient))

    async def test_outside_deferred(self) -> None:
        """A Deferred of the program's stops the server, whether it succeeds or fails, and keeps its result."""
        for outcome in ("done", RuntimeError("failed")):
            told: Deferred[str] = Deferred()
            handle = await run(ServerConfig(port=0), reactor, shutdown=told)
            self.assertFalse(handle.is_shutdown_requested())
            if isinstance(outcome, str):
                told.callback(outcome)
                self.assertEqual(self.successResultOf(told), outcome)
            else:
                told.errback(outcome)
                self.assertIs(self.failureResultOf(told, RuntimeError).value, outcome)
            self.assertTrue(handle.is_shutdown_requested())
            await handle.wait_for_shutdown()

    async def test_outside_deferred_has_fired(self) -> None:
        """One that has fired already stops it at once."""
        told: Deferred[None] = Deferred()
        told.callback(None)
        handle = await run(ServerConfig(port=0), reactor, shutdown=told)
        await handle.wait_for_shutdown()
        self.assertTrue(handle.is_shutdown_requested())

    async def test_port_in_use(self) -> None:
        """When its port is in use the Deferred fails, with the remedy, and nothing is left behind."""
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        port = other.getsockname()[1]
        before = descriptors()
        failed = run(ServerConfig(port=port), reactor)
        error = self.failureResultOf(failed, BindError).value
        self.assertIn(f"127.0.0.1:{port}: another program listens there", str(error))
        self.assertEqual(descriptors(), before)

    async def test_no_certificate(self) -> None:
        """When its certificate cannot be read the Deferred fails, and names the file."""
        config = ServerConfig(domains=("localhost",), port=0, certificates=((Path("no.pem"), Path("no-key.pem")),))
        error = self.failureResultOf(run(config, reactor), CertificateError).value
        self.assertIn("no.pem", str(error))

    async def test_cache_cannot_be_written(self) -> None:
        """When a certificate of our own cannot be kept the Deferred fails, and its sockets are closed."""
        path = Path(self.mktemp())
        path.write_text("a file")
        before = descriptors()
        config = ServerConfig(domains=("localhost",), port=0, interfaces=("127.0.0.1",), cache=path)
        self.failureResultOf(run(config, reactor), CertificateError)
        self.assertEqual(descriptors(), before)

    async def test_nothing_is_left(self) -> None:
        """A hundred servers, with members, started and stopped leave no timer, reader, thread or descriptor behind."""
        await (await run(ServerConfig(port=0), reactor)).shutdown()  # what is made once in a process is made now
        threads, before = threading.enumerate(), descriptors()
        calls, readers, writers = (
            set(get()) for get in (reactor.getDelayedCalls, reactor.getReaders, reactor.getWriters)
        )
        for number in range(NODES):
            handle = await run(ServerConfig(port=0), reactor)
            client = await self.join(handle, "alice")
            client.transport.write(client_frame(1, b"hello"))
            member = await handle.service.join("example", "local", lambda message: None)
            member.publish(str(number))
            handle.service.publish("elsewhere", "news")
            await client.until(str(number).encode())
            stopped = handle.shutdown()
            client.transport.write(client_frame(8, b"\x03\xe9"))
            client.transport.loseConnection()
            await stopped
            await client.ended
        self.assertEqual(set(reactor.getDelayedCalls()), calls)
        self.assertEqual(set(reactor.getReaders()), readers)
        self.assertEqual(set(reactor.getWriters()), writers)
        self.assertEqual(threading.enumerate(), threads)
        self.assertEqual(descriptors(), before)

    async def test_two_servers(self) -> None:
        """Two servers in one process share neither channels nor metrics, and one ends without the other."""
        one, two = await self.start(), await self.start()
        self.assertNotEqual(one.address, two.address)
        alice, bob = await self.join(one, "alice"), await self.join(two, "bob")
        other = await self.join(two, "alice")
        alice.transport.write(client_frame(1, b"for one"))
        bob.transport.write(client_frame(1, b"for two"))
        await other.until(b"for two")
        self.assertEqual(read_frames(other.received), [Frame(1, b"for two")])
        self.assertEqual((alice.received, bob.received), (b"", b""))
        self.assertEqual((one.metrics().active_connections, two.metrics().active_connections), (1, 2))
        self.assertEqual((one.metrics().total_messages_sent, two.metrics().total_messages_sent), (0, 1))
        await alice.hang_up()
        await one.shutdown()
        self.assertFalse(two.is_shutdown_requested())
        bob.transport.write(client_frame(1, b"still here"))
        await other.until(b"still here")
        await bob.hang_up()
        await other.hang_up()

    async def test_mounted_without_port(self) -> None:
        """A server without a port opens none."""
        before = descriptors()
        await self.start(listen=False)
        self.assertEqual(descriptors(), before)


class SpeakTests(SynchronousTestCase):
    """What the program says and hears without a socket."""

    def setUp(self) -> None:
        self.server = MemoryServer()
        self.addCleanup(self.server.stop)
        self.service = self.server.service

    def join(self, channel: str, uid: str, heard: list[str | bytes], **more: Any) -> LocalMember:
        """A member of the program."""
        return self.successResultOf(Deferred.fromCoroutine(self.service.join(channel, uid, heard.append, **more)))

    def test_publish(self) -> None:
        """What the program publishes reaches all members with its type, and those who join later."""
        alice, bob = self.server.join("alice", "news", history=0), self.server.join("bob", "news", history=0)
        self.service.publish("news", "Zoë")
        self.service.publish("news", b"\xff")
        self.service.publish("elsewhere", "for nobody yet")
        self.server.advance(0)
        self.assertEqual((alice.received, bob.received), (["Zoë", b"\xff"], ["Zoë", b"\xff"]))
        self.assertEqual(self.server.join("carol", "news", history=2).received, ["Zoë", b"\xff"])
        self.assertEqual(self.server.join("carol", "elsewhere").received, ["for nobody yet"])

    def test_publish_what_no_client_could(self) -> None:
        """A channel, uid or message that no client could send is refused, and no channel is made."""
        most = "x" * MAX_MESSAGE_BYTES
        table: tuple[tuple[Any, ...], ...] = (
            ("", "hello"),
            ("new\ns", "hello"),
            ("nëws", "hello"),
            (None, "hello"),
            ("news", "hello", ""),
            ("news", "hello", "ser\x7fver"),
            ("news", "hello", None),
            ("news", most + "x"),
            ("news", most.encode() + b"x"),
            ("news", "ä" * (MAX_MESSAGE_BYTES // 2) + "x"),
            ("news", "\ud800"),
        )
        for arguments in table:
            self.assertRaises(ValueError, self.service.publish, *arguments)
        self.server.advance(0)
        self.assertEqual(self.service.metrics().total_channels, 0)
        alice = self.server.join("alice", "news", history=0)
        self.service.publish("news", most)
        self.server.advance(0)
        self.assertTrue(alice.received == [most])

    def test_member_publishes_what_no_client_could(self) -> None:
        """A message of a member of the program that no client could send is refused, and reaches nobody."""
        alice = self.server.join("alice", "news", history=0)
        member = self.join("news", "local", [])
        for message in ("x" * (MAX_MESSAGE_BYTES + 1), b"x" * (MAX_MESSAGE_BYTES + 1), "\ud800"):
            self.assertRaises(ValueError, member.publish, message)
        member.publish(b"y" * MAX_MESSAGE_BYTES)
        self.server.advance(0)
        self.assertTrue(alice.received == [b"y" * MAX_MESSAGE_BYTES])

    def test_publish_when_full(self) -> None:
        """When all channels there may be have members, publishing on a new one fails and changes nothing."""
        server = MemoryServer(max_channels=1)
        self.addCleanup(server.stop)
        alice = server.join("alice", "news", history=0)
        error = self.assertRaises(ProtocolViolation, server.service.publish, "elsewhere", "hello")
        self.assertIs(error.reason, CloseReason.SERVER_FULL)
        joining = Deferred.fromCoroutine(server.service.join("elsewhere", "local", lambda message: None))
        self.assertIs(self.failureResultOf(joining, ProtocolViolation).value.reason, CloseReason.SERVER_FULL)
        server.service.publish("news", "hello")
        server.advance(0)
        self.assertEqual((alice.received, server.service.metrics().total_channels), (["hello"], 1))

    def test_join(self) -> None:
        """A member of the program hears the history and what is said, and is heard."""
        alice = self.server.join("alice", "news")
        alice.send("before")
        self.server.advance(0)
        heard: list[str | bytes] = []
        member = self.join("news", "local", heard, history=1)
        member.publish("hello")
        alice.send(b"\x01")
        self.server.advance(0)
        self.assertEqual((heard, alice.received), (["before", b"\x01"], ["hello"]))

    def test_uid_is_taken(self) -> None:
        """A uid is there once on a channel, whoever comes first, and free again afterwards."""
        member = self.join("news", "alice", [])
        joining = Deferred.fromCoroutine(self.service.join("news", "alice", lambda message: None))
        self.assertIs(self.failureResultOf(joining, ProtocolViolation).value.reason, CloseReason.UID_TAKEN)
        self.assertEqual(self.server.join("alice", "news").closed, (4512, "uid is in use on this channel"))
        member.leave()
        client = self.server.join("alice", "news")
        self.assertTrue(client.is_connected)
        joining = Deferred.fromCoroutine(self.service.join("news", "alice", lambda message: None))
        self.assertIs(self.failureResultOf(joining, ProtocolViolation).value.reason, CloseReason.UID_TAKEN)

    def test_dead_holder(self) -> None:
        """A member of the program gets the uid of a client whose link is dead, after three seconds."""
        client = self.server.join("alice", "news")
        client.answers_pings = False
        joining = Deferred.fromCoroutine(self.service.join("news", "alice", lambda message: None))
        self.assertNoResult(joining)
        self.server.advance(3)
        self.assertEqual(self.successResultOf(joining).uid, "alice")
        self.assertEqual((client.closed or (0,))[0], 4513)

    def test_join_as_no_client_could(self) -> None:
        """A channel, uid or history that no client could send is refused."""
        for channel, uid, history in (("", "local", None), ("news", "löcal", None), ("news", "local", -1)):
            joining = Deferred.fromCoroutine(self.service.join(channel, uid, lambda message: None, history=history))
            self.failureResultOf(joining, ValueError)
        self.assertEqual(self.service.metrics().total_channels, 0)

    def test_told_of_the_end(self) -> None:
        """When the server stops a member of the program is told why, and one that has left is not."""
        told: list[CloseReason] = []
        self.join("news", "local", [], closed=told.append)
        self.join("news", "gone", [], closed=told.append).leave()
        self.server.stop()
        self.assertEqual(told, [CloseReason.SERVER_STOPPING])


class PackageTests(SynchronousTestCase):
    """What the package offers by its name."""

    def test_names(self) -> None:
        """All that is promised is there, the version too, and nothing else is made up."""
        for name in mles_tx.__all__:
            self.assertIsNotNone(getattr(mles_tx, name), name)
        self.assertIs(mles_tx.ConfigError, ConfigError)
        self.assertRegex(mles_tx.__version__, r"^\d+\.\d+")
        self.assertRaises(AttributeError, getattr, mles_tx, "walk")

    def test_reactor_is_a_parameter(self) -> None:
        """A server on a clock sets its timers there, and nowhere else."""
        clock = Clock()
        calls = set(reactor.getDelayedCalls())
        service = MlesService(ServerConfig(listen=False), clock)
        service.startService()
        self.assertNotEqual(clock.getDelayedCalls(), [])
        self.assertEqual(set(reactor.getDelayedCalls()), calls)
        self.successResultOf(service.stopService())
        self.assertEqual(clock.getDelayedCalls(), [])
