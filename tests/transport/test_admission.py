"""Who is let in at all."""

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.metrics import Metrics
from mles_tx.protocol.forwarded import TrustedProxies
from mles_tx.transport.admission import SURPLUS, Admission, AdmittingFactory


def address(host: str) -> IAddress:
    """Where a connection comes from."""
    return IPv6Address("TCP", host, 12345) if ":" in host else IPv4Address("TCP", host, 12345)


class AdmissionTestCase(SynchronousTestCase):
    """A clock, and metrics."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()

    def admitted(self, admission: Admission, *hosts: str) -> list[bool]:
        """Who of those who come is let in."""
        return [admission.admits(address(host)) for host in hosts]


class PerAddressTests(AdmissionTestCase):
    """Connections of one address in a while."""

    def test_limit(self) -> None:
        """An address that opens too many in a while is turned away until the while is over; others are not."""
        admission = Admission(self.clock, self.metrics, 2, 10.0)
        self.assertEqual(self.admitted(admission, *["10.0.0.1"] * 3, "10.0.0.2"), [True, True, False, True])
        self.clock.advance(9.5)
        self.assertEqual(self.admitted(admission, "10.0.0.1"), [False])
        self.clock.advance(0.5)
        self.assertEqual(self.admitted(admission, "10.0.0.1"), [True])

    def test_change(self) -> None:
        """Other limits count from the next connection on, with what was counted already."""
        admission = Admission(self.clock, self.metrics, 2, 10.0)
        self.assertEqual(self.admitted(admission, *["10.0.0.1"] * 2), [True, True])
        admission.change(3, 20.0, 1000)
        self.assertEqual(self.admitted(admission, *["10.0.0.1"] * 2), [True, False])
        self.clock.advance(15)
        self.assertEqual(self.admitted(admission, "10.0.0.1"), [False])
        admission.change(0, 20.0, 1000)
        self.assertEqual(self.admitted(admission, *["10.0.0.1"] * 9), [True] * 9)
        admission.change(1, 20.0, 5)
        self.assertEqual(self.admitted(admission, *["10.0.0.1"] * 2), [True, False])
        self.assertEqual(admission.max_connections, 5)

    def test_counted(self) -> None:
        """Who is turned away is counted under its address; who is let in is not."""
        admission = Admission(self.clock, self.metrics, 1)
        self.admitted(
            admission, "10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"
        )
        snapshot = self.metrics.snapshot()
        self.assertEqual(snapshot.dropped_by_ip, {"10.0.0.1": 2, "2001:db8::/64": 1})
        self.assertEqual(snapshot.total_dropped_connections, 3)

    def test_any_number(self) -> None:
        """Without a limit an address may open any number, and nothing is kept about it."""
        admission = Admission(self.clock, self.metrics)
        self.assertEqual(self.admitted(admission, *["10.0.0.1"] * 500), [True] * 500)
        self.assertEqual((admission.addresses, self.metrics.snapshot().total_dropped_connections), (0, 0))
        admission.sweep()
        self.assertEqual(admission.addresses, 0)

    def test_sweep(self) -> None:
        """Addresses that do not come any more are forgotten without anybody else coming."""
        admission = Admission(self.clock, self.metrics, 1, 10.0)
        self.admitted(admission, "10.0.0.1", "10.0.0.2")
        self.assertEqual(admission.addresses, 2)
        self.clock.advance(9)
        admission.sweep()
        self.assertEqual(admission.addresses, 2)
        self.clock.advance(1)
        admission.sweep()
        self.assertEqual(admission.addresses, 0)

    def test_address_without_host(self) -> None:
        """Who comes from an address that is no IP address is let in as well."""
        admission = Admission(self.clock, self.metrics, 1)
        self.assertTrue(admission.admits(UNIXAddress("socket")))


class ProxyTests(AdmissionTestCase):
    """Connections of trusted proxies, and of their clients."""

    trusted = TrustedProxies(["10.0.0.0/8", "fd00::/8"])

    def test_exempt(self) -> None:
        """A trusted proxy may open any number of connections, whoever else comes has its limit."""
        admission = Admission(self.clock, self.metrics, 1, trusted=self.trusted)
        self.assertEqual(self.admitted(admission, *["10.0.0.1", "fd00::1"] * 50), [True] * 100)
        self.assertEqual(self.admitted(admission, "11.0.0.1", "11.0.0.1"), [True, False])
        self.assertEqual((admission.addresses, self.metrics.snapshot().dropped_by_ip), (1, {"11.0.0.1": 1}))

    def test_nobody_else(self) -> None:
        """When only proxies may come nobody else is let in, and who tries is counted."""
        for limit in (0, 5):
            metrics = Metrics()
            admission = Admission(self.clock, metrics, limit, trusted=self.trusted, only_trusted=True)
            self.assertEqual(self.admitted(admission, "10.0.0.1", "11.0.0.1", "fe00::1"), [True, False, False])
            self.assertFalse(admission.admits(UNIXAddress("socket")))
            self.assertEqual(metrics.snapshot().dropped_by_ip, {"11.0.0.1": 1, "fe00::/64": 1, "": 1})

    def test_clients(self) -> None:
        """Clients of proxies have the limit of their address, and are told when they may come again."""
        admission = Admission(self.clock, self.metrics, 2, 10.0, trusted=self.trusted)
        waits = [admission.seconds_to_wait("11.0.0.1") for _ in range(2)]
        self.clock.advance(2.5)
        waits += [admission.seconds_to_wait(client) for client in ("11.0.0.1", "::ffff:11.0.0.1", "11.0.0.2")]
        self.assertEqual(waits, [0.0, 0.0, 7.5, 7.5, 0.0])
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {"11.0.0.1": 2})
        self.clock.advance(7.5)
        self.assertEqual(admission.seconds_to_wait("11.0.0.1"), 0.0)

    def test_same_window(self) -> None:
        """Whether an address comes by itself or through a proxy, it is one address."""
        admission = Admission(self.clock, self.metrics, 1, trusted=self.trusted)
        self.assertEqual(self.admitted(admission, "2001:db8::1"), [True])
        self.assertGreater(admission.seconds_to_wait("2001:db8::2"), 0)

    def test_own_connections_of_proxies(self) -> None:
        """A proxy that comes for itself is not counted, as often as it comes."""
        admission = Admission(self.clock, self.metrics, 1, trusted=self.trusted)
        self.assertEqual([admission.seconds_to_wait("10.0.0.1") for _ in range(50)], [0.0] * 50)
        self.assertEqual(admission.addresses, 0)

    def test_no_limit(self) -> None:
        """Without a limit nobody waits."""
        admission = Admission(self.clock, self.metrics, trusted=self.trusted)
        self.assertEqual([admission.seconds_to_wait("11.0.0.1") for _ in range(50)], [0.0] * 50)

    def test_full(self) -> None:
        """A proxy is turned away like everybody when the server is full."""
        admission = Admission(self.clock, self.metrics, trusted=self.trusted, max_connections=1)
        admission.open = 1
        self.assertEqual(self.admitted(admission, "10.0.0.1"), [True])
        admission.open += SURPLUS
        self.assertEqual(self.admitted(admission, "10.0.0.1"), [False])
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {"10.0.0.1": 2})


class CapTests(AdmissionTestCase):
    """Connections at one time."""

    def test_cap(self) -> None:
        """Above the bound a few are let in, to be told so, and all others are turned away."""
        admission = Admission(self.clock, self.metrics, max_connections=3)
        found = []
        for number in range(3 + SURPLUS + 2):
            full = admission.is_full
            let_in = admission.admits(address(f"10.0.0.{number}"))
            found.append((full, let_in))
            admission.open += let_in
        self.assertEqual(found, [(False, True)] * 3 + [(True, True)] * SURPLUS + [(True, False)] * 2)

    def test_counted(self) -> None:
        """Everybody above the bound is counted as turned away, whether told so or not."""
        admission = Admission(self.clock, self.metrics, max_connections=1)
        for number in (0, 1, 1 + SURPLUS):
            admission.open = number
            admission.admits(address("10.0.0.1"))
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {"10.0.0.1": 2})

    def test_room_again(self) -> None:
        """As soon as somebody has gone there is room."""
        admission = Admission(self.clock, self.metrics, max_connections=1)
        admission.open = 1
        self.assertTrue(admission.is_full)
        admission.open = 0
        self.assertFalse(admission.is_full)
        self.assertEqual(self.admitted(admission, "10.0.0.1"), [True])
        self.assertEqual(self.metrics.snapshot().total_dropped_connections, 0)

    def test_both(self) -> None:
        """An address that opens too many is not among the few who are told that the server is full."""
        admission = Admission(self.clock, self.metrics, 1, max_connections=1)
        admission.open = 1
        self.assertEqual(self.admitted(admission, "10.0.0.1", "10.0.0.1", "10.0.0.2"), [True, False, True])
        self.assertEqual(self.metrics.snapshot().dropped_by_ip, {"10.0.0.1": 2, "10.0.0.2": 1})


class AdmittingFactoryTests(AdmissionTestCase):
    """What a port builds."""

    def test_interface(self) -> None:
        """A port can have it as its factory."""
        factory = AdmittingFactory(Admission(self.clock, self.metrics), Factory.forProtocol(Protocol))
        self.assertTrue(verifyObject(IProtocolFactory, factory))

    def test_builds(self) -> None:
        """Who is let in gets what the other factory builds, who is not gets nothing, and nothing is built."""
        built: list[Protocol] = []

        def build() -> Protocol:
            built.append(Protocol())
            return built[-1]

        factory = AdmittingFactory(Admission(self.clock, self.metrics, 1), Factory.forProtocol(build))
        found = [factory.buildProtocol(address(host)) for host in ("10.0.0.1", "10.0.0.1", "10.0.0.2")]
        self.assertEqual(found, [built[0], None, built[1]])
        self.assertEqual(len(built), 2)
