"""The service tree: its parts, its life, and what it does by itself."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.channels.registry import ChannelRegistry
from mles_tx.metrics import Metrics, MetricsSnapshot
from mles_tx.protocol.frames import encode_message
from mles_tx.service.config import ServerConfig
from mles_tx.service.resources import connections_for, descriptor_limit
from mles_tx.service.server import ChannelService, Housekeeping, MlesService
from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.connection import Settings
from mles_tx.transport.origins import ListedOrigins, any_origin, pages_of_this_machine
from mles_tx.transport.port import BindError
from tests.descriptors import descriptors
from tests.transport.certificates.making import listen, make
from tests.transport.fakes import FakeTransport
from tests.wire import client_frame, close_of, header, read_frames, split_answer, upgrade

from .clients import dial, get, reactor
from .servers import FOUND, DrainTestCase, ServerTestCase, occupied


class MlesServiceTests(ServerTestCase):
    """A server as a service among others."""

    def test_interface(self) -> None:
        """It is a service as twistd and applications use them."""
        service = MlesService(ServerConfig(), reactor)
        for part in (service, service.channels, service.listener, service.housekeeping):
            self.assertTrue(verifyObject(IService, part))

    def test_nothing_before_the_start(self) -> None:
        """Made but not started, it neither listens nor keeps a timer."""
        service = MlesService(ServerConfig(port=0), reactor)
        self.assertEqual((service.running, service.listener.addresses), (0, []))

    async def test_members_talk(self) -> None:
        """Clients join, hear each other, and find what was said when they come later."""
        service = self.start()
        alice = await self.join(service, "alice")
        bob = await self.join(service, "bob", history=0)
        alice.transport.write(client_frame(1, b"hello"))
        await bob.until(b"hello")
        carol = await self.join(service, "carol")
        self.assertEqual(carol.received, b"")
        for client in (alice, bob, carol):
            await client.hang_up()

    async def test_stop(self) -> None:
        """Stopped, it tells its members that the server is stopping, and listens no more."""
        service = self.start()
        port = self.port(service)
        members = [await self.join(service, uid, history=0) for uid in ("alice", "bob")]
        stopped = service.stopService()
        for member in members:
            await member.until(b"stopping")
            (*_, last) = read_frames(member.received)
            self.assertEqual(close_of(last), (1001, "server is stopping"))
            member.transport.write(client_frame(8, last.payload[:2]))
            await member.ended
        await stopped
        self.assertEqual((service.running, service.listener.addresses), (0, []))
        self.assert_free(port)

    async def test_again(self) -> None:
        """It can be started and stopped any number of times, and keeps what was said while it is stopped."""
        service = MlesService(ServerConfig(port=0, cache=self.cache), reactor)
        for number in range(5):
            service.privilegedStartService()
            service.startService()
            self.assertEqual((await get(self.port(service)))[0], FOUND)
            member = await self.join(service, f"member-{number}", history=1)
            self.assertEqual(len(service.listener.websocket.connections), 1)
            await member.hang_up()
            await service.stopService()
            self.assertEqual(service.running, 0)

    async def test_many(self) -> None:
        """Several servers live in one process, each with its own channels."""
        one, other = self.start(), self.start()
        self.assertNotEqual(self.port(one), self.port(other))
        alice = await self.join(one, "alice")
        bob = await self.join(other, "bob")
        stopped = other.stopService()
        await bob.until(b"stopping")
        await bob.hang_up()
        await stopped
        self.assertEqual((await get(self.port(one)))[0], FOUND)
        self.assertEqual(len(one.listener.websocket.connections), 1)
        await alice.hang_up()

    async def test_part_of_an_application(self) -> None:
        """As a child of an application's services it starts and stops with them."""
        application = MultiService()
        service = MlesService(ServerConfig(port=0, cache=self.cache), reactor)
        service.setServiceParent(application)
        application.privilegedStartService()
        application.startService()
        self.assertEqual((await get(self.port(service)))[0], FOUND)
        await application.stopService()
        self.assertEqual((service.running, service.listener.addresses), (0, []))

    async def test_added_to_a_running_application(self) -> None:
        """Added to services that run already, it binds and starts at once."""
        application = MultiService()
        application.startService()
        service = MlesService(ServerConfig(port=0, cache=self.cache), reactor)
        service.setServiceParent(application)
        self.assertEqual((await get(self.port(service)))[0], FOUND)
        await application.stopService()

    async def test_port_is_free_later(self) -> None:
        """A server that could not be started can be started once the port is free."""
        other, port = occupied()
        service = MlesService(ServerConfig(port=port, cache=self.cache), reactor)
        self.assertRaises(BindError, service.privilegedStartService)
        other.close()
        service.privilegedStartService()
        service.startService()
        self.assertEqual((await get(port))[0], FOUND)
        await service.stopService()

    async def test_stopped_before_it_was_started(self) -> None:
        """A server that has bound its port and is never started lets it go when it is stopped."""
        service = MlesService(ServerConfig(port=0, cache=self.cache), reactor)
        before = descriptors()
        service.privilegedStartService()
        await service.stopService()
        self.assertEqual(descriptors(), before)

    def test_nothing_left_after_a_failed_start(self) -> None:
        """A server that could not be started leaves no timer once it is stopped."""
        cache = self.write("file", b"") / "cache"
        fake = MemoryReactorClock()
        service = MlesService(ServerConfig(domains=("localhost",), port=0, cache=cache), fake)
        self.assertRaises(CertificateError, service.startService)
        stopped = service.stopService()
        fake.advance(0)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(fake.getDelayedCalls(), [])
        parts = (service, service.channels, service.certificates, service.listener, service.housekeeping)
        self.assertEqual([part.running for part in parts], [0, 0, 0, 0, 0])


class CertificateTests(ServerTestCase):
    """What a server tells about its certificates, and the port that sends browsers to them."""

    def start_redirecting(self, **fields: Any) -> MlesService:
        """A server with a redirect port."""
        return self.start_secure(redirect_port=0, **fields)

    def redirect_port(self, service: MlesService) -> int:
        """The port browsers are redirected from."""
        assert service.redirect is not None
        return service.redirect.addresses[0][1]

    def test_metrics(self) -> None:
        """The metrics tell when each certificate ends, in seconds; no order has failed where none is made."""
        made = make("example.org")
        service = self.start_secure(domains=("example.org",), certificates=(self.files(made, "one"),))
        metrics = service.metrics()
        self.assertEqual(metrics.certificate_ends, {"example.org": made.certificate.not_valid_after_utc.timestamp()})
        self.assertEqual((metrics.certificate_errors, service.not_ready()), ({}, []))

    def test_metrics_of_orders(self) -> None:
        """They tell why the last order failed, and the server is not ready; stopped it tells nothing of it."""
        fake = MemoryReactorClock()
        config = ServerConfig(
            domains=("example.org", "example.net"),
            interfaces=("127.0.0.1",),
            port=0,
            cache=self.cache,
            acme_directory="https://localhost:1/dir",
        )
        tries = self.cache / "acme" / config.authority.folder / "tries"
        failed = {"failures": 1, "delay": 60.0, "until": 4e9, "error": "no such domain"}
        self.write(str(tries / "example.org.json"), json.dumps(failed).encode())
        service = MlesService(config, fake)
        service.privilegedStartService()
        service.startService()
        metrics = service.metrics()
        ends = {state.domain: state.not_valid_after.timestamp() for state in service.certificates.states()}
        self.assertEqual((set(ends), metrics.certificate_ends), ({"example.org", "example.net"}, ends))
        self.assertEqual(metrics.certificate_errors, {"example.org": "no such domain"})
        self.assertEqual(
            service.not_ready(),
            [
                "example.org has no valid certificate yet: no such domain",
                "example.net has no valid certificate yet",
            ],
        )
        stopped = service.stopService()
        fake.advance(0)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(fake.getDelayedCalls(), [])
        metrics = service.metrics()
        self.assertEqual((metrics.certificate_ends, metrics.certificate_errors), ({}, {}))

    async def test_redirect(self) -> None:
        """Browsers are sent from the redirect port to the port with TLS; without the option there is no such port."""
        self.assertIsNone(self.start_secure().redirect)
        service = self.start_redirecting()
        self.assertNotEqual(self.redirect_port(service), self.port(service))
        client = await dial(self.redirect_port(service))
        client.transport.write(b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await client.to_the_end()
        self.assertTrue(answer.startswith(b"HTTP/1.1 301 "), answer)
        self.assertIn(b"https://localhost:%d/a" % self.port(service), answer)

    async def test_challenge(self) -> None:
        """An authority finds the answer to its challenge on the redirect port."""
        directory = "https://localhost:1/dir"
        config = ServerConfig(domains=("chat.test",), acme_directory=directory)
        answers = self.cache / "acme" / config.authority.folder / "challenges" / "http-01"
        self.write(str(answers / "a-token"), b"a-token.thumbprint")
        service = MlesService(
            replace(config, cache=self.cache, port=0, redirect_port=0, interfaces=("127.0.0.1",)), reactor
        )
        # The orders are made where nobody is reached.
        self.patch(service.certificates, "_reactor", MemoryReactorClock())
        service.privilegedStartService()
        service.startService()
        self.addCleanup(self._stop, service)
        path = "/.well-known/acme-challenge/"
        self.assertEqual(
            await get(self.redirect_port(service), path + "a-token", "chat.test"), (FOUND, b"a-token.thumbprint")
        )
        self.assertNotEqual((await get(self.redirect_port(service), path + "other", "chat.test"))[0], FOUND)

    async def test_redirect_stops(self) -> None:
        """The redirect port is closed with the other one, and opened with it."""
        service = self.start_redirecting()
        ports = [self.port(service), self.redirect_port(service)]
        idle = await dial(ports[1])
        await service.stopService()
        await idle.ended
        for port in ports:
            self.assert_free(port)
        service.startService()
        self.assertEqual((await get(self.redirect_port(service)))[0], "HTTP/1.1 301 Moved Permanently")

    async def test_redirect_port_in_use(self) -> None:
        """A redirect port that is taken is told before anything is served; stopped, nothing stays open."""
        other, port = occupied()
        self.addCleanup(other.close)
        config = ServerConfig(
            domains=("localhost",), interfaces=("127.0.0.1",), port=0, redirect_port=port, cache=self.cache
        )
        before = descriptors()
        service = MlesService(config, reactor)
        error = self.assertRaises(BindError, service.privilegedStartService)
        self.assertIn(f"cannot listen on 127.0.0.1:{port}: another program listens there", str(error))
        self.assertIn("another --redirect-port", str(error))
        await service.stopService()
        self.assertEqual(descriptors(), before)

    def test_abort(self) -> None:
        """Who does not want to wait any longer cuts off also those on the redirect port."""
        fake = MemoryReactorClock()
        config = ServerConfig(
            domains=("localhost",), interfaces=("127.0.0.1",), port=0, redirect_port=0, cache=self.cache
        )
        service = MlesService(config, fake)
        service.privilegedStartService()
        service.startService()
        assert service.redirect is not None
        doors = (service.listener.door, service.redirect.door)
        peers = [FakeTransport(door.buildProtocol(None)) for door in doors]
        stopped = service.stopService()
        fake.advance(0)
        self.assertNoResult(stopped)
        service.abort()
        self.assertEqual([peer.aborted for peer in peers], [True, True])
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual((fake.getDelayedCalls(), fake.getReaders()), ([], []))


class OrderTests(DrainTestCase):
    """What ends first, and what last."""

    def test_channels_end_last(self) -> None:
        """The channels are there until the last connection has gone."""
        member = self.member("alice")
        stopped = self.service.stopService()
        self.reactor.advance(0)
        self.assertEqual((self.service.listener.running, self.service.channels.running), (0, 1))
        member.hang_up()
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(self.service.channels.running, 0)


class SettingsTests(SynchronousTestCase):
    """What the operator has set, where it takes effect."""

    def test_settings(self) -> None:
        """The numbers and the key of the configuration are those of the connections and the history."""
        config = ServerConfig(key=b"s3cret", limit=7, ping_interval=5.0, max_missed_pongs=2, rate_limit=9)
        service = MlesService(config, Clock())
        self.assertEqual(
            service.listener.websocket.settings,
            Settings(
                keys=(b"s3cret",),
                ping_interval=5.0,
                max_missed_pongs=2,
                rate_limit=9,
                history_limit=7,
                origin_allowed=pages_of_this_machine,
            ),
        )
        service = MlesService(ServerConfig(domains=("localhost",)), Clock())
        self.assertEqual(service.listener.websocket.settings, Settings(origin_allowed=any_origin))

    def test_admission(self) -> None:
        """The limit for each address, and the room that descriptors and files leave, are those of the door."""
        clock = Clock()
        config = ServerConfig(per_ip_limit=2, per_ip_window=5, filelimit=3)
        admission = MlesService(config, clock).listener.admission
        self.assertEqual(admission.max_connections, connections_for(descriptor_limit(), 3))
        comes = IPv4Address("TCP", "10.0.0.1", 12345)
        self.assertEqual([admission.admits(comes) for _ in range(3)], [True, True, False])
        clock.advance(5)
        self.assertTrue(admission.admits(comes))
        admission = MlesService(ServerConfig(), clock).listener.admission
        self.assertEqual([admission.admits(comes) for _ in range(100)], [True] * 100)
        admission = MlesService(ServerConfig(domains=("localhost",)), clock).listener.admission
        self.assertEqual([admission.admits(comes) for _ in range(61)], [True] * 60 + [False])

    def test_max_channels(self) -> None:
        """There are as many channels as the operator has said."""
        registry = MlesService(ServerConfig(max_channels=2), Clock()).channels.registry
        for channel in ("a", "b", "c"):
            registry.announce(channel, "server", encode_message(b"hello", False))
            registry.flush()
        self.assertEqual(registry.count_channels(), 2)

    def test_history_total(self) -> None:
        """All histories together take as much memory as the operator has said."""
        registry = MlesService(ServerConfig(history_total=1), Clock()).channels.registry
        for channel in ("a", "b", "c", "d", "e"):
            registry.announce(channel, "server", encode_message(bytes(300_000), True))
            registry.flush()
        self.assertEqual(registry.count_channels(), 3)

    def test_limit(self) -> None:
        """A channel remembers as many messages as the operator has said."""
        reactor = MemoryReactorClock()
        service = MlesService(ServerConfig(limit=3), reactor)
        peers = []
        for uid in ("alice", "bob"):
            protocol: Any = service.listener.websocket.buildProtocol(None)
            peer = FakeTransport(protocol)
            peer.receive(upgrade() + header(uid))
            peers.append(peer)
            if uid == "alice":
                peer.receive(b"".join(client_frame(1, b"%d" % number) for number in range(5)))
                reactor.advance(0)
        _, frames = split_answer(peers[1].taken())
        self.assertEqual([frame.payload for frame in read_frames(frames)], [b"2", b"3", b"4"])


class HousekeepingTests(SynchronousTestCase):
    """What a server does by itself, every now and then."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.lines: list[str] = []
        observer: Any = self._observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _observe(self, event: LogEvent) -> None:
        line = formatEvent(event)
        if line.startswith("metrics: "):
            self.lines.append(line)

    def start(self, **fields: Any) -> MlesService:
        """A server without a port, as one that is mounted in somebody else's site."""
        service = MlesService(ServerConfig(listen=False, **fields), self.reactor)
        service.privilegedStartService()
        service.startService()
        self.addCleanup(self._stop, service)
        return service

    def _stop(self, service: MlesService) -> None:
        if service.running:
            stopped = service.stopService()
            self.reactor.advance(10)
            self.assertIsNone(self.successResultOf(stopped))

    def join(self, service: MlesService, uid: str, channel: str = "example") -> FakeTransport:
        """A member."""
        protocol: Any = service.listener.websocket.buildProtocol(None)
        peer = FakeTransport(protocol)
        peer.receive(upgrade() + header(uid, channel))
        return peer

    def test_every_ten_seconds(self) -> None:
        """The metrics are logged every ten seconds from the start to the stop, and not before."""
        service = self.start()
        self.assertEqual(self.lines, [])
        found = []
        for _ in range(50):
            self.reactor.advance(1)
            found.append(len(self.lines))
        self.assertEqual(found, [second // 10 for second in range(1, 51)])
        self._stop(service)
        self.reactor.advance(60)
        self.assertEqual(len(self.lines), 5)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_line(self) -> None:
        """The line has all the numbers, as they are then."""
        service = self.start()
        alice, _ = self.join(service, "alice"), self.join(service, "bob")
        alice.receive(client_frame(1, b"hello") * 3)
        service.listener.admission.admits(IPv4Address("TCP", "10.0.0.1", 12345))
        self.reactor.advance(10)
        self.assertEqual(
            self.lines,
            [
                "metrics: active_connections 2, total_messages_sent 3, total_messages_received 3, total_channels 1,"
                " total_errors 0, total_dropped_connections 0, dropped_by_ip {}, history_waiting 0,"
                " history_lost 0, history_faults 0, certificate_ends {},"
                " certificate_errors {}"
            ],
        )

    def test_switched_off(self) -> None:
        """Switched off, no line is logged by itself; asked for, one is."""
        service = self.start(metrics_logging=False)
        self.reactor.pump([1] * 60)
        self.assertEqual(self.lines, [])
        service.housekeeping.log_metrics()
        self.assertEqual(len(self.lines), 1)

    def test_addresses_are_forgotten(self) -> None:
        """Addresses that do not come any more are forgotten without anybody else coming, logged or not."""
        service = self.start(metrics_logging=False, per_ip_limit=1, per_ip_window=15)
        service.listener.admission.admits(IPv4Address("TCP", "10.0.0.1", 12345))
        found = []
        for _ in range(2):
            self.reactor.advance(10)
            found.append(service.listener.admission.addresses)
        self.assertEqual(found, [1, 0])

    def test_again(self) -> None:
        """Stopped and started, it goes on from the numbers it had, and logs once every ten seconds."""
        service = self.start()
        self.join(service, "alice").receive(client_frame(1, b"hello"))
        self.reactor.advance(0)
        self._stop(service)
        service.startService()
        self.reactor.pump([1] * 10)
        self.assertEqual(len(self.lines), 1)
        self.assertIn("active_connections 0, total_messages_sent 0, total_messages_received 1, ", self.lines[0])

    def test_two_servers(self) -> None:
        """Two servers in one process count each for itself."""
        one, other = self.start(), self.start()
        alice, _ = self.join(one, "alice"), self.join(one, "bob")
        alice.receive(client_frame(1, b"hello"))
        self.join(other, "carol", "elsewhere").receive(client_frame(2, b"\x00") * 2)
        self.join(other, "dave", "").hang_up()
        self.reactor.advance(0)
        self.assertEqual(one.metrics(), MetricsSnapshot(2, 1, 1, 1, 0, 0, {}, 0, 0, 0, {}, {}))
        self.assertEqual(other.metrics(), MetricsSnapshot(1, 0, 2, 1, 1, 0, {}, 0, 0, 0, {}, {}))

    def test_parts(self) -> None:
        """It is a service of its own, and has no timer when the server could not be started."""
        service = MlesService(ServerConfig(listen=False), self.reactor)
        self.assertIsInstance(service.housekeeping, Housekeeping)
        self.assertTrue(verifyObject(IService, service.housekeeping))
        service.housekeeping.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ChannelServiceTests(SynchronousTestCase):
    """The channels as a service."""

    def test_timer(self) -> None:
        """Idle channels are looked for from the start to the stop, each time."""
        clock = Clock()
        channels = ChannelService(clock, ServerConfig(), Metrics())
        self.assertIsInstance(channels.registry, ChannelRegistry)
        self.assertEqual(clock.getDelayedCalls(), [])
        for _ in range(2):
            channels.startService()
            self.assertTrue(channels.running)
            self.assertEqual(len(clock.getDelayedCalls()), 1)
            clock.advance(3600)
            self.assertEqual(len(clock.getDelayedCalls()), 1)
            channels.stopService()
            self.assertFalse(channels.running)
            self.assertEqual(clock.getDelayedCalls(), [])


class ReloadTests(SynchronousTestCase):
    """Another configuration while the server runs."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.service = MlesService(ServerConfig(port=1), self.clock)

    def test_everything_live(self) -> None:
        """What can change is where it takes effect; what needs a restart is named and stays, each time."""
        config = ServerConfig(
            port=2,
            key=b"s3cret",
            origins=("https://a.test",),
            limit=7,
            history_total=3,
            max_channels=5,
            ping_interval=5.0,
            max_missed_pongs=2,
            rate_limit=9,
            filelimit=11,
            per_ip_limit=1,
            per_ip_window=5,
            metrics_logging=False,
            drain=30,
        )
        for waiting in (14, 1):
            told = self.service.reload(config)
            self.assertEqual(len(told), waiting)
            self.assertEqual([change.name for change in told if change.needs_restart], ["--port"])
        self.assertEqual(self.service.config, replace(config, port=1))
        self.assertEqual(
            self.service.listener.websocket.settings,
            Settings((b"s3cret",), 5.0, 2, 9, config.limit, ListedOrigins(["https://a.test"])),
        )
        self.assertEqual(self.service.listener.spread, 30.0)
        admission = self.service.listener.admission
        comes = IPv4Address("TCP", "10.0.0.1", 12345)
        self.assertEqual([admission.admits(comes) for _ in range(2)], [True, False])
        self.assertEqual(admission.max_connections, connections_for(descriptor_limit(), 11))
        registry = self.service.channels.registry
        self.assertEqual(registry.max_channels, 5)
        for number in range(9):
            self.service.publish("example", str(number))
        self.clock.advance(0)
        received: list[str | bytes] = []
        joining = Deferred.fromCoroutine(self.service.join("example", "alice", received.append))
        self.successResultOf(joining)
        self.assertEqual(received, [str(number) for number in range(2, 9)])

    def test_logged(self) -> None:
        """What has changed is logged, a line each, and no key."""
        told = listen(self)
        self.service.reload(ServerConfig(port=2, key=b"s3cret", rate_limit=5))
        self.assertEqual(
            told,
            [
                "not changed: --port: 1 -> 2 (needs a restart)",
                "changed: --rate-limit: 100 -> 5",
                "changed: keys: none -> 1",
            ],
        )

    def test_all_or_nothing(self) -> None:
        """When a certificate file cannot be used, nothing changes at all."""
        missing = Path("missing.pem")
        old = ServerConfig(domains=("a.test",), certificates=((missing, missing),))
        service = MlesService(old, self.clock)
        self.assertRaises(CertificateError, service.reload, replace(old, rate_limit=5, key=b"s3cret"))
        self.assertEqual((service.config, service.listener.websocket.settings.keys), (old, ()))
        self.assertEqual(service.listener.websocket.settings.rate_limit, 100)
