"""What histories and several processes cost."""

from contextlib import redirect_stderr
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from bench.results import Sample
from bench.scaling import LOADS, Cost, lines, main
from bench.workloads import Kind, Workload

FANOUT = Workload("some", "some load", subscribers=10)
JOIN = Workload("join", "some joins", Kind.JOIN, count=5)


class CostTests(SynchronousTestCase):
    """One run."""

    def test_redis(self) -> None:
        """What Redis takes for a message or a join follows from what the server takes for its deliveries."""
        self.assertEqual(Cost(Sample(0.5), 0.2).redis_us(FANOUT), 1.0)
        self.assertEqual(Cost(Sample(2.0), 0.25).redis_us(JOIN), 500.0)
        self.assertIs(Cost(Sample(2.0)).redis_us(JOIN), None)
        self.assertIs(Cost(Sample(error="no"), 0.2).redis_us(FANOUT), None)

    def test_messages(self) -> None:
        """Messages a second are those that were sent."""
        self.assertEqual(Cost(Sample(raw={"sent": 30, "seconds": 1.5})).messages, 20.0)
        self.assertIs(Cost(Sample(raw={"joins": 3})).messages, None)


class LinesTests(SynchronousTestCase):
    """The table."""

    def test_ratios(self) -> None:
        """Each is held against the first one in the same round; what went wrong has a line."""
        costs = {
            "memory": [Cost(Sample(1.0, 100.0, 10.0)), Cost(Sample(2.0, 100.0, 10.0))],
            "redis": [Cost(Sample(1.5, 50.0, 10.0), 0.25), Cost(Sample(3.0, 50.0, 10.0), 0.25)],
            "2 workers": [Cost(Sample(error="it has ended")), Cost(Sample(4.0, 50.0, 10.0), 0.25)],
        }
        found = [line.split() for line in lines(FANOUT, costs)]
        self.assertEqual(found[0], ["some", "load", "memory", "1.50", "µs", "1.00", "100", "-", "10.0", "µs"])
        self.assertEqual(found[1][:4] + found[1][-2:], ["redis", "2.25", "µs", "1.50", "20%", "5.62"])
        self.assertEqual(found[2][:5], ["2", "workers", "4.00", "µs", "2.00"])
        self.assertEqual(" ".join(found[3]), "2 workers ERROR: it has ended")

    def test_loads(self) -> None:
        """All loads have names of their own."""
        self.assertEqual(len({load.name for load in LOADS}), len(LOADS))


class MainTests(SynchronousTestCase):
    """The command."""

    def test_wrong(self) -> None:
        """What cannot be measured is told."""
        for arguments in (["--only", "nothing"], ["--rounds", "0"], ["--server", "none"]):
            with redirect_stderr(StringIO()) as told:
                self.assertRaises(SystemExit, main, arguments)
            self.assertIn("error", told.getvalue())
