"""What `/metrics` shows of a server."""

import re
import time
from dataclasses import replace
from typing import Any, ClassVar

import prometheus_client
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from twisted.internet.error import ConnectError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import mles_tx
from mles_tx.protocol.closing import CloseReason
from mles_tx.service.config import ServerConfig
from mles_tx.service.exported import EXPORTED, make_registry
from mles_tx.service.lag import PROBE_SECONDS, ReactorLag
from mles_tx.service.server import MlesService
from mles_tx.web.pool import FAULTS
from mles_tx.web.routes import Route
from tests.transport.certificates.making import make
from tests.transport.fakes import FakeTransport
from tests.wire import client_frame

from .servers import DrainTestCase, ServerTestCase

#: Base units of Prometheus, and what a gauge without one counts.
NAMES = re.compile(r"mles_[a-z]+(_[a-z]+)*")


class _Asked:
    """What a server shows, by name and labels."""

    registry: Any

    def samples(self) -> dict[tuple[str, str], float]:
        """All samples: name, labels but `server`, value."""
        found = {}
        for family in parse(prometheus_client.generate_latest(self.registry).decode()):
            for sample in family.samples:
                labels = {name: value for name, value in sample.labels.items() if name != "server"}
                found[sample.name, ",".join(labels.values())] = sample.value
        return found


class ExportedTests(_Asked, DrainTestCase):
    """A server whose peers are in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.lag = ReactorLag(self.reactor)
        self.registry = make_registry(self.service, self.lag)

    def assert_shown(self, **expected: float) -> None:
        """Some metrics without labels, and their values."""
        shown = self.samples()
        self.assertEqual({name: shown[f"mles_{name}", ""] for name in expected}, expected)

    def test_beginning(self) -> None:
        """A server nobody has come to counts nothing, and is ready."""
        self.assert_shown(
            ready=1,
            active_connections=0,
            members=0,
            channels=0,
            active_channels=0,
            messages_received_total=0,
            messages_sent_total=0,
            errors_total=0,
            dropped_connections_total=0,
            dropped_addresses=0,
            slow_members_cut_total=0,
            waiting_members=0,
            outbox_bytes=0,
            history_bytes=0,
            history_messages=0,
        )

    def test_conversation(self) -> None:
        """Members, channels, messages and what is remembered are counted."""
        alice = self.member("alice")
        self.member("bob")
        self.reactor.advance(0)
        for _ in range(3):
            alice.receive(client_frame(1, b"hello"))
        self.reactor.advance(0)
        self.assert_shown(
            active_connections=2,
            members=2,
            channels=1,
            active_channels=1,
            messages_received_total=3,
            messages_sent_total=3,
            history_messages=5,
        )
        self.assertEqual(self.samples()["mles_history_bytes", ""], self.service.channels.history.memory)

    def test_after_a_conversation(self) -> None:
        """Who has left is no member any more; the channel has its history still."""
        self.member("alice").hang_up()
        self.reactor.advance(0)
        self.assert_shown(active_connections=0, members=0, channels=1, active_channels=0, history_messages=1)

    def test_reasons(self) -> None:
        """Each reason to end a connection has a counter from the beginning, and no other has one."""
        self.connect().hang_up()  # not one of a WebSocket
        self.member("alice").hang_up()
        bob = self.member("bob")
        bob.receive(client_frame(8, b"\x03\xe8"))
        bad = self.member("carol")
        bad.receive(b"\xff\xff")
        bad.hang_up()
        shown = self.samples()
        counted = {label: value for (name, label), value in shown.items() if name == "mles_closed_connections_total"}
        self.assertEqual(set(counted), {reason.label for reason in CloseReason})
        self.assertEqual(
            {label: value for label, value in counted.items() if value},
            {"connection_lost": 1, "left": 1, "protocol_error": 1},
        )

    def test_slow(self) -> None:
        """What waits for members that do not read is shown, and that they are cut."""
        alice, slow = self.member("alice"), self.member("slow")
        self.reactor.advance(0)
        slow.full = True
        size = 1000
        for _ in range(3):
            alice.receive(client_frame(1, b"x" * size))
            self.reactor.advance(0)
        frame = size + 4
        self.assert_shown(waiting_members=1, outbox_bytes=2 * frame, slow_members_cut_total=0)
        self.reactor.advance(60)
        self.assert_shown(waiting_members=0, outbox_bytes=0, slow_members_cut_total=1, errors_total=1)

    def test_taken_again(self) -> None:
        """Once the slow one has read everything, nothing waits."""
        alice, slow = self.member("alice"), self.member("slow")
        slow.full = True
        for _ in range(2):
            alice.receive(client_frame(1, b"hello"))
            self.reactor.advance(0)
        self.assert_shown(waiting_members=1)
        slow.drained()
        self.assert_shown(waiting_members=0, outbox_bytes=0)

    def test_dropped(self) -> None:
        """Who is turned away is counted; of the addresses only how many there are is shown."""
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
            self.service.counts.dropped(address)
        self.assert_shown(dropped_connections_total=3, dropped_addresses=2)
        self.assertNotIn(b"192.0.2", prometheus_client.generate_latest(self.registry))

    def test_pages(self) -> None:
        """A web page is read once, and from then on comes from the cache."""
        self.assert_shown(web_cache_hits_total=0, web_cache_misses_total=0, web_cache_bytes=0, web_cache_entries=0)
        self.assert_shown(web_cache_max_bytes=self.service.config.compression_cache * 1024 * 1024)
        for _ in range(3):
            client = self.connect()
            client.receive(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.reactor.advance(0)
            self.assertIn(b" 200 OK", client.taken())
        self.assert_shown(web_cache_hits_total=2, web_cache_misses_total=1, web_cache_entries=1)
        self.assertGreater(self.samples()["mles_web_cache_bytes", ""], 0)

    def test_no_upstreams(self) -> None:
        """Without upstreams nothing is passed on, and the counters are there."""
        self.assert_shown(proxied_requests_total=0, upstream_connections=0)
        self.assertEqual({self.samples()["mles_proxy_errors_total", answer] for answer in FAULTS}, {0})

    def test_lag(self) -> None:
        """How late timers are is a histogram."""
        self.lag.startService()
        self.reactor.advance(PROBE_SECONDS + 0.2)
        self.reactor.advance(PROBE_SECONDS)
        shown = self.samples()
        buckets = {label: value for (name, label), value in shown.items() if name == "mles_reactor_lag_seconds_bucket"}
        self.assertEqual((buckets["0.002"], buckets["0.1"], buckets["0.25"], buckets["+Inf"]), (1, 1, 2, 2))
        self.assertEqual(shown["mles_reactor_lag_seconds_count", ""], 2)
        self.assertAlmostEqual(shown["mles_reactor_lag_seconds_sum", ""], 0.2)

    def test_running(self) -> None:
        """It is told what is running, and what its process takes."""
        text = prometheus_client.generate_latest(self.registry).decode()
        self.assertRegex(text, f'mles_build_info{{.*version="{re.escape(mles_tx.__version__)}".*}} 1.0')
        shown = self.samples()
        for name in ("process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"):
            self.assertGreater(shown[name, ""], 0)

    def test_stopping(self) -> None:
        """A server that stops is not ready, and its numbers can still be read."""
        stubborn = self.member("stubborn")
        stopped = self.service.stopService()
        self.assert_shown(ready=0, active_connections=1)
        stubborn.hang_up()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assert_shown(ready=0, active_connections=0, members=0)

    def test_conventions(self) -> None:
        """Names and units are as Prometheus has them, in both formats; counters grow, and only they are totals."""
        families = [*parse(prometheus_client.generate_latest(self.registry).decode())]
        self.assertEqual(
            {family.name for family in parse_openmetrics(openmetrics(self.registry).decode())},
            {family.name.removesuffix("_info") for family in families},
        )
        names = [exported.name for exported in EXPORTED]
        self.assertEqual(len(set(names)), len(names))
        for exported in EXPORTED:
            self.assertRegex(exported.name, NAMES)
            self.assertEqual(exported.name.endswith("_total"), exported.kind == "counter")
            self.assertTrue(exported.help.endswith("."))
            self.assertNotRegex(exported.name, "_(ms|mib|kb|minutes|count)$")

    def test_labelled(self) -> None:
        """Every metric of the server says whose it is."""
        for line in prometheus_client.generate_latest(self.registry).decode().splitlines():
            if line.startswith("mles_"):
                self.assertIn('server="localhost"', line)

    def test_bounded(self) -> None:
        """However many members there are, and however many do not read, as many lines are shown."""
        before = prometheus_client.generate_latest(self.registry).count(b"\n")
        peers: list[FakeTransport] = [self.member("alice")]
        for number in range(200):
            peers.append(self.member(f"m{number}"))
        for peer in peers[1:100]:
            peer.full = True
        for _ in range(2):
            peers[0].receive(client_frame(1, b"hello"))
            self.reactor.advance(0)
        self.assertEqual(prometheus_client.generate_latest(self.registry).count(b"\n"), before)
        self.assert_shown(members=201, waiting_members=99)


class UpstreamTests(_Asked, DrainTestCase):
    """A server that passes requests on."""

    fields: ClassVar[dict[str, Any]] = {"proxies": (Route("/api", "127.0.0.1", 3000),)}

    def test_upstreams(self) -> None:
        """Requests, connections, and what came of an upstream that does not accept any are shown."""
        self.registry = make_registry(self.service, ReactorLag(self.reactor))
        client = self.connect()
        client.receive(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
        shown = self.samples()
        self.assertEqual((shown["mles_proxied_requests_total", ""], shown["mles_upstream_connections", ""]), (1, 1))
        opening: Any = self.reactor.tcpClients[-1][2]
        opening.clientConnectionFailed(None, Failure(ConnectError()))
        self.assertIn(b" 502 ", client.taken())
        shown = self.samples()
        self.assertEqual((shown["mles_proxied_requests_total", ""], shown["mles_upstream_connections", ""]), (1, 0))
        counted = {label: value for (name, label), value in shown.items() if name == "mles_proxy_errors_total"}
        self.assertEqual(counted, {"502": 1, "503": 0, "504": 0, "cut": 0})


class TwoServersTests(_Asked, SynchronousTestCase):
    """Two servers in one process."""

    def test_apart(self) -> None:
        """Each has its own numbers, and the name of its first domain."""
        reactor = MemoryReactorClock()
        texts = []
        for number, domains in enumerate((("a.test", "b.test"), ("c.test",)), 1):
            service = MlesService(ServerConfig(domains=domains, tls=False), reactor)
            service.counts.total_errors = number
            self.registry = make_registry(service, ReactorLag(reactor))
            self.assertEqual(self.samples()["mles_errors_total", ""], number)
            texts.append(prometheus_client.generate_latest(self.registry).decode())
        self.assertIn('mles_errors_total{server="a.test"} 1.0', texts[0])
        self.assertIn('mles_errors_total{server="c.test"} 2.0', texts[1])


class CertificateTests(_Asked, ServerTestCase):
    """Certificates."""

    def test_ends(self) -> None:
        """When a certificate ends is shown for its domain, and that nothing is wrong with it."""
        made = make("example.org")
        service = self.start_secure(domains=("example.org",), certificates=(self.files(made, "one"),))
        self.registry = make_registry(service, ReactorLag(MemoryReactorClock()))
        shown = self.samples()
        ends = shown["mles_certificate_expiry_timestamp_seconds", "example.org"]
        self.assertEqual(ends, made.certificate.not_valid_after_utc.timestamp())
        self.assertGreater(ends, time.time())
        self.assertEqual(shown["mles_certificate_error", "example.org"], 0)

    def test_error(self) -> None:
        """That an order failed is shown, and not why: that would be a text for each failure."""
        service = self.start_secure(domains=("example.org",), certificates=(self.files(make("example.org"), "one"),))
        states = service.certificates.states()
        failed = [replace(state, error="no such domain") for state in states]
        self.patch(service.certificates, "states", lambda: failed)
        self.registry = make_registry(service, ReactorLag(MemoryReactorClock()))
        self.assertEqual(self.samples()["mles_certificate_error", "example.org"], 1)
        self.assertNotIn(b"no such domain", prometheus_client.generate_latest(self.registry))
