"""The numbers of a server."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.metrics import MAX_DROPPED_ADDRESSES, Metrics, MetricsSnapshot


class MetricsTests(SynchronousTestCase):
    """Counters and gauges."""

    def test_beginning(self) -> None:
        """A new server has counted nothing."""
        self.assertEqual(Metrics().snapshot(), MetricsSnapshot(0, 0, 0, 0, 0, 0, {}, 0, 0, 0, {}, {}))

    def test_each_is_shown(self) -> None:
        """Each number is shown under the name it is counted under."""
        metrics = Metrics()
        tables = ("dropped_by_ip", "certificate_ends", "certificate_errors")
        numbers = [field.name for field in fields(MetricsSnapshot) if field.name not in tables]
        for value, name in enumerate(numbers, 1):
            setattr(metrics, name, value)
        metrics.certificate_ends = {"example.org": 1e9}
        metrics.certificate_errors = {"example.net": "refused"}
        snapshot = metrics.snapshot()
        self.assertEqual([getattr(snapshot, name) for name in numbers], [1, 2, 3, 4, 5, 6, 7, 8, 9])
        self.assertEqual(snapshot.certificate_ends, {"example.org": 1e9})
        self.assertEqual(snapshot.certificate_errors, {"example.net": "refused"})

    def test_dropped(self) -> None:
        """Those who are turned away are counted, all together and each address for itself."""
        metrics = Metrics()
        for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1", "2001:db8::/64"):
            metrics.dropped(address)
        snapshot = metrics.snapshot()
        self.assertEqual(snapshot.total_dropped_connections, 4)
        self.assertEqual(snapshot.dropped_by_ip, {"10.0.0.1": 2, "10.0.0.2": 1, "2001:db8::/64": 1})

    def test_many_addresses(self) -> None:
        """Of very many addresses those are shown that came last; an old one that comes again is among them."""
        metrics = Metrics()
        for number in range(MAX_DROPPED_ADDRESSES):
            metrics.dropped(str(number))
        metrics.dropped("0")
        metrics.dropped("new")
        snapshot = metrics.snapshot()
        self.assertEqual(snapshot.total_dropped_connections, MAX_DROPPED_ADDRESSES + 2)
        self.assertEqual(len(snapshot.dropped_by_ip), MAX_DROPPED_ADDRESSES)
        self.assertEqual(snapshot.dropped_by_ip["0"], 2)
        self.assertNotIn("1", snapshot.dropped_by_ip)
        self.assertEqual(list(snapshot.dropped_by_ip)[-2:], ["0", "new"])

    def test_snapshot_stays(self) -> None:
        """What was shown once does not change when more is counted, and nobody can change it."""
        metrics = Metrics()
        metrics.dropped("10.0.0.1")
        metrics.certificate_ends["example.org"] = 1.0
        snapshot: Any = metrics.snapshot()
        metrics.total_errors += 1
        metrics.dropped("10.0.0.1")
        metrics.certificate_ends["example.org"] = 2.0
        metrics.certificate_errors["example.org"] = "refused"
        self.assertEqual(
            snapshot, MetricsSnapshot(0, 0, 0, 0, 0, 1, {"10.0.0.1": 1}, 0, 0, 0, {"example.org": 1.0}, {})
        )
        with self.assertRaises(FrozenInstanceError):
            snapshot.total_errors = 7

    def test_line(self) -> None:
        """In a log all numbers stand in one line, each with its name."""
        self.assertEqual(
            str(MetricsSnapshot(1, 2, 3, 4, 5, 6, {"10.0.0.1": 6}, 7, 8, 9, {"a.test": 1.5}, {"b.test": "refused"})),
            "active_connections 1, total_messages_sent 2, total_messages_received 3, total_channels 4,"
            " total_errors 5, total_dropped_connections 6, dropped_by_ip {'10.0.0.1': 6},"
            " history_waiting 7, history_lost 8, history_faults 9,"
            " certificate_ends {'a.test': 1.5}, certificate_errors {'b.test': 'refused'}",
        )
