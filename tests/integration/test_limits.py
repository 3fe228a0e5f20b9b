"""Limits that keep a server alive: many addresses, many channels, few descriptors, and peers that waste its time."""

import contextlib
import shlex
import signal
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mles_tx import ServerConfig, run
from mles_tx.channels.local import LocalMember
from mles_tx.testing import MemoryServer
from mles_tx.transport.doors import HANDSHAKE_SECONDS

from .clients import Member, RawClient
from .processes import WAIT, Server
from .support import LOCAL, SECURE, IntegrationTestCase

ADDRESSES = 20_000
CHANNELS = 20_000

#: As many connections as are tried at a server that may have 256 descriptors.
MANY = 300

STALLED_HANDSHAKES = 300
SLOW_HEADS = 200

#: The deadline of both is 10 seconds.
WITHIN_DEADLINES = 25.0

reactor: Any = global_reactor


def addresses(count: int) -> Iterable[str]:
    """Addresses of this machine, each another one."""
    return (f"127.{1 + number // 60_000}.{number // 250 % 240}.{1 + number % 250}" for number in range(count))


def dial_from(address: str, port: int) -> socket.socket:
    """A TCP connection from an address of this machine."""
    dialed = socket.socket()
    try:
        dialed.settimeout(WAIT)
        dialed.bind((address, 0))
        dialed.connect(("127.0.0.1", port))
    except BaseException:
        dialed.close()
        raise
    return dialed


def wait_for(condition: Callable[[], bool], seconds: float = WAIT) -> bool:
    """Look again and again whether something holds; False when it does not within so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.1)
    return True


def descriptors(server: Server) -> int:
    """How many descriptors a server has open."""
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


class AddressesTests(TestCase):
    """The table of addresses, on a real port."""

    async def test_many_addresses(self) -> None:
        """Of 20,000 addresses that connect once nothing is kept when their window has ended."""
        # Without TLS: whether somebody is let in is decided before it, and the handshakes would take most of the time.
        config = ServerConfig(domains=("localhost",), tls=False, port=0, per_ip_limit=60, per_ip_window=1)
        handle = await run(config, reactor)
        self.addCleanup(handle.shutdown)
        admission = handle.service.listener.admission
        port = handle.address[1]
        most = 0

        def knock(chunk: list[str]) -> None:
            for address in chunk:
                dial_from(address, port).close()

        everybody = list(addresses(ADDRESSES))
        self.assertEqual(len(set(everybody)), ADDRESSES)
        for first in range(0, ADDRESSES, 500):
            await deferToThread(knock, everybody[first : first + 500])
            most = max(most, admission.addresses)
        self.assertGreater(most, 0)
        await self._until(lambda: admission.open == 0)
        await deferLater(reactor, config.seconds_per_ip)
        admission.sweep()
        self.assertEqual(admission.addresses, 0)
        self.assertEqual(handle.metrics().total_dropped_connections, 0)

    def _until(self, condition: Callable[[], bool]) -> "Deferred[None]":
        async def look() -> None:
            while not condition():
                await deferLater(reactor, 0.05)

        return Deferred.fromCoroutine(look()).addTimeout(WAIT, reactor)


class ChannelsTests(SynchronousTestCase):
    """Channels of people who come once."""

    def come_and_go(self, server: MemoryServer) -> None:
        """Somebody joins 20,000 channels, one after the other, and leaves."""
        registry = server.service.channels.registry
        for number in range(CHANNELS):
            joining = Deferred.fromCoroutine(server.service.join(f"channel {number}", "passer-by", self.ignore))
            self.successResultOf(joining).leave()
            self.assertFalse(registry.has_members(f"channel {number}"))

    def ignore(self, message: str | bytes) -> None:
        """Nobody listens."""

    def test_forgotten(self) -> None:
        """20,000 channels that nobody uses any more are forgotten in time; those in use are kept."""
        server = MemoryServer()
        self.addCleanup(server.stop)
        self.come_and_go(server)
        self.assertEqual(server.service.metrics().total_channels, CHANNELS)
        kept = server.join("alice", "kept")
        days = 0
        while server.service.metrics().total_channels > 1 and days < 60:
            for _ in range(24):
                server.advance(3600)
                server.service.publish("kept", "tick")
            days += 1
        self.assertEqual(server.service.metrics().total_channels, 1)
        self.assertTrue(kept.is_connected)
        self.assertEqual(server.join("carol", "kept", history=1).received, ["tick"])

    def test_bounded(self) -> None:
        """With a limit there never are more channels, the oldest go first, and those with members stay."""
        server = MemoryServer(max_channels=100)
        self.addCleanup(server.stop)
        alice, bob = server.join("alice", "used"), server.join("bob", "used", history=0)
        self.come_and_go(server)
        self.assertEqual(server.service.metrics().total_channels, 100)
        alice.send("still here?")
        server.advance(0)
        self.assertEqual(bob.received, ["still here?"])
        self.assertEqual(len(server.join("carol", f"channel {CHANNELS - 1}").received), 1)
        self.assertEqual(server.join("carol", "channel 0").received, [])

    def test_members_in_all(self) -> None:
        """20,000 channels with a member each go when their members go, but for what is remembered of them."""
        server = MemoryServer(max_channels=CHANNELS)
        self.addCleanup(server.stop)
        members: list[LocalMember] = []
        for number in range(CHANNELS):
            joining = Deferred.fromCoroutine(server.service.join(f"channel {number}", "resident", self.ignore))
            members.append(self.successResultOf(joining))
        self.assertEqual((server.join("alice", "one more").closed or (0,))[0], 1013)
        members[7].leave()
        self.assertTrue(server.join("alice", "one more").is_connected)
        self.assertEqual(server.service.metrics().total_channels, CHANNELS)
        for member in members:
            member.leave()
        self.assertEqual(len(list(server.service.channels.registry.members)), 1)


class LimitsTests(IntegrationTestCase):
    """What real servers do to those who ask for too much, and to the others meanwhile."""

    def exchange(self, pair: tuple[Member, Member], text: str) -> None:
        """A pair of members talk to each other."""
        alice, bob = pair
        alice.send(text)
        self.assertEqual(bob.receive(), text)
        bob.send(text.encode())
        self.assertEqual(alice.receive(), text.encode())

    def pair(self, server: Server) -> tuple[Member, Member]:
        """Two members of a channel of their own."""
        pair = self.member(server, "alice", "pair"), self.member(server, "bob", "pair", history=0)
        self.exchange(pair, "before")
        return pair

    def test_address_over_its_limit(self) -> None:
        """An address that connects too often is closed before TLS, and counted; all others are not disturbed."""
        server = self.start_server(*SECURE, "--per-ip-limit", "3")
        pair = self.pair(server)
        greedy = [self.enterContext(dial_from("127.0.0.9", server.port)) for _ in range(5)]
        for refused in greedy[3:]:
            # Not a byte: no alert, which would be TLS already.
            self.assertEqual(self._all_of(refused), b"")
        trusted = [server.trust().wrap_socket(each, server_hostname="localhost") for each in greedy[:3]]  # type: ignore[union-attr]
        self.assertEqual([each.version() for each in map(self.enterContext, trusted)], ["TLSv1.3"] * 3)
        other = self.enterContext(dial_from("127.0.0.10", server.port))
        self.enterContext(server.trust().wrap_socket(other, server_hostname="localhost"))  # type: ignore[union-attr]
        self.exchange(pair, "after")
        server.signal(signal.SIGUSR1)
        server.expect(r"metrics: .*total_dropped_connections 2, dropped_by_ip \{'127\.0\.0\.9': 2\}")
        self.assert_no_faults(server)

    def _all_of(self, connection: socket.socket) -> bytes:
        """What comes until the server ends a connection, in whatever way."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(4096):
                received += data
        return received

    def test_metrics_on_signal(self) -> None:
        """SIGUSR1 has the metrics logged, under both commands, as often as it comes, and drops nobody."""
        for command in (LOCAL, SECURE):
            server = self.start_server(*command, "--no-metrics-logging")
            pair = self.pair(server)
            server.signal(signal.SIGUSR1)
            server.expect(r"metrics: active_connections 2, total_messages_sent 2, total_messages_received 2,")
            self.exchange(pair, "again")
            server.signal(signal.SIGUSR1)
            server.expect(r"metrics: active_connections 2, total_messages_sent 4, total_messages_received 4,")
            self.exchange(pair, "still here")
            self.assert_no_faults(server)

    def test_few_descriptors(self) -> None:
        """With 256 descriptors 300 clients are served or turned away, and when they have gone others get in."""
        program = shlex.quote(str(Path(sys.executable).parent / LOCAL[0]))
        shell = f"ulimit -n 256; exec {program} {shlex.join(LOCAL[1:])}"
        server = self.start_server("sh", "-c", shell)
        pair = self.pair(server)
        clients = [RawClient(server) for _ in range(MANY)]
        try:
            fates = Counter(self._fate(client) for client in clients)
            self.exchange(pair, "when it is full")
        finally:
            for client in clients:
                client.close()
        self.assertEqual(fates.keys(), {"member", "full", "closed"})
        self.assertGreater(fates["member"], 100)
        self.assertGreater(fates["full"], 0)
        self.assertTrue(wait_for(lambda: self._lets_in(server)))
        self.assert_healthy(server)
        self.exchange(pair, "after")

    def _fate(self, client: RawClient) -> str:
        try:
            return {101: "member", 503: "full"}[client.upgrade().status]
        except (OSError, AssertionError):
            return "closed"

    def _lets_in(self, server: Server) -> bool:
        with RawClient(server) as client:
            return self._fate(client) == "member"

    def test_peers_that_waste_time(self) -> None:
        """300 TLS handshakes that stall and 200 heads that never end, first or later, are closed while members talk."""
        server = self.start_server(*SECURE, "--per-ip-limit", "0")
        pair = self.pair(server)
        before, began = descriptors(server), time.monotonic()
        stalled = [self.enterContext(server.dial()) for _ in range(STALLED_HANDSHAKES)]
        for connection in stalled[::2]:
            connection.send(b"\x16\x03\x01")  # the beginning of a handshake
        slow = [self.raw(server) for _ in range(SLOW_HEADS)]
        for client in slow[::2]:  # every other one has had a page already, and is kept alive
            self.assertEqual(client.request(host="localhost").status, 200)
        for client in slow:
            client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        self.exchange(pair, "during")
        now = descriptors(server)
        if time.monotonic() - began < HANDSHAKE_SECONDS - 1:  # else the first may be gone already
            self.assertEqual(now, before + STALLED_HANDSHAKES + SLOW_HEADS)
        rounds = 0

        def has_closed_all() -> bool:
            nonlocal rounds
            rounds += 1
            self.exchange(pair, f"round {rounds}")
            if rounds % 10 == 0:
                for client in slow:
                    with contextlib.suppress(OSError, ssl.SSLError):
                        client.send(b"x")
            return descriptors(server) <= before

        self.assertTrue(wait_for(has_closed_all, WITHIN_DEADLINES), descriptors(server) - before)
        self.assertGreater(rounds, 1)
        for connection in stalled:
            self.assertEqual(self._all_of(connection), b"")
        for client in slow:
            client.read_to_end()
        self.assert_healthy(server)
