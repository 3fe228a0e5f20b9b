"""The metrics of all workers, added up."""

from prometheus_client import generate_latest
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.lag import ReactorLag
from mles_tx.service.workers.totals import Totals, make_totals_registry

from .fakes import report


class TotalsTests(SynchronousTestCase):
    """What is added up."""

    def setUp(self) -> None:
        self.totals = Totals()

    def value(self, name: str, *reports: dict[str, object]) -> object:
        """A metric of some workers."""
        return next(reading.value for reading in self.totals.readings(reports) if reading.name == name)

    def test_running(self) -> None:
        """Most is added up, for each label; what is ready or ends is the least."""
        one, other = report(5), report(7)
        one["metrics"][0]["value"] = 0.0
        self.assertEqual(self.value("mles_messages_sent_total", one, other), 12.0)
        self.assertEqual(self.value("mles_members", one, other), 6.0)
        self.assertEqual(self.value("mles_ready", one, other), 0.0)
        self.assertEqual(self.value("mles_closed_connections_total", one, other), {"left": 4.0})
        self.assertEqual(self.value("mles_certificate_expiry_timestamp_seconds", one, other), {"example.org": 1e9})

    def test_ended(self) -> None:
        """What was counted by those that have ended stays; what they had at the moment does not."""
        self.totals.ended(report(5))
        self.totals.ended(report(6))
        self.totals.ended(None)
        self.totals.restarts = 2
        self.assertEqual(self.value("mles_messages_sent_total", report(7)), 18.0)
        self.assertEqual(self.value("mles_members", report()), 3.0)
        self.assertEqual(self.value("mles_worker_restarts_total", report()), 2.0)
        snapshot = self.totals.snapshot([report(7), report(1)])
        self.assertEqual(
            (snapshot.total_messages_sent, snapshot.active_connections, snapshot.total_dropped_connections), (19, 2, 4)
        )
        self.assertEqual(snapshot.dropped_by_ip, {"192.0.2.1": 4})
        self.assertEqual(snapshot.certificate_ends, {"example.org": 1e9})

    def test_newer_worker(self) -> None:
        """A worker that knows more metrics than this program has them shown."""
        newer = report()
        newer["metrics"].append(
            {"name": "mles_new", "kind": "gauge", "help": "", "label": "", "adds_up": "other", "value": 2.0, "more": 1}
        )
        self.assertEqual(self.value("mles_new", newer, newer), 4.0)

    def test_shown(self) -> None:
        """All of it is shown to Prometheus, with all processes, and each version that runs."""
        reports = [report(5), report(7, versions={"version": "2", "python": "3", "twisted": "26"})]
        self.totals.ended(report(1))
        lag = ReactorLag(Clock())
        shown = generate_latest(make_totals_registry("example.org", self.totals, lambda: reports, lag)).decode()
        for line in (
            'mles_messages_sent_total{server="example.org"} 13.0',
            'mles_reactor_lag_seconds_bucket{le="+Inf",server="example.org"} 3.0',
            'mles_reactor_lag_seconds_sum{server="example.org"} 0.75',
            'mles_build_info{python="3",server="example.org",twisted="26",version="1"} 1.0',
            'mles_build_info{python="3",server="example.org",twisted="26",version="2"} 1.0',
        ):
            self.assertIn(f"{line}\n", shown)
        numbers = dict(line.rsplit(" ", 1) for line in shown.splitlines() if line.startswith("process_"))
        self.assertGreater(float(numbers["process_cpu_seconds_total"]), 6.0)
        self.assertGreater(float(numbers["process_open_fds"]), 20.0)
        self.assertGreater(float(numbers["process_start_time_seconds"]), 1e9)
