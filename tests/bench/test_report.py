"""The table."""

import json

from twisted.trial.unittest import SynchronousTestCase

from bench.report import NOTES, curve_lines, figure, header, latency, result_json, result_lines
from bench.results import Result, Sample
from bench.workloads import Curve, Kind, Workload

FIGURES = (
    (None, "-"),
    (0.0, "0.0000"),
    (0.01234, "0.0123"),
    (0.4567, "0.457"),
    (4.567, "4.57"),
    (45.67, "45.7"),
    (456.7, "457"),
    (1234567.0, "1,234,567"),
)

LATENCIES = ((None, "-"), (45.67, "45.7 µs"), (1234.0, "1.23 ms"), (2_500_000.0, "2.50 s"))

SERVERS = ["ours", "naive", "wss://example.org:8443"]


def example() -> Result:
    """A workload with a server of each sort: measured, with an error, and one whose CPU is not known."""
    result = Result(Workload("some", "some workload", promise=0.25))
    result.add("ours", Sample(1.0, 1000.0, 500.0, 2000.0))
    result.add("naive", Sample(5.0, 200.0, 900.0, 4000.0))
    result.add("naive", Sample(error="messages: 3 lost"))
    result.add(SERVERS[2], Sample(None, 700.0, 600.0, 3000.0))
    return result


class FigureTests(SynchronousTestCase):
    """Numbers as text."""

    def test_figures(self) -> None:
        """Three digits that count, and a dash for what is not known."""
        self.assertEqual([(value, figure(value)) for value, _ in FIGURES], list(FIGURES))

    def test_latencies(self) -> None:
        """Times have the unit that suits them."""
        self.assertEqual([(value, latency(value)) for value, _ in LATENCIES], list(LATENCIES))


class TableTests(SynchronousTestCase):
    """Lines."""

    def test_lines(self) -> None:
        """Each server has a line, with its ratio and our promise; an error has one more."""
        ours, naive, error, other = [" ".join(line.split()) for line in result_lines(example(), SERVERS)]
        self.assertEqual(ours, "some workload ours 1.00 µs 0.200 - ≤ 0.25 ok 1,000 500 µs 2.00 ms")
        self.assertEqual(naive, "naive 5.00 µs 1.00 - 200 900 µs 4.00 ms")
        self.assertEqual(error, "naive ERROR: messages: 3 lost")
        self.assertEqual(other, "wss://example.org:8443 - - - 700 600 µs 3.00 ms")

    def test_pages(self) -> None:
        """Static files are held against the plain server alone."""
        result = Result(Workload("some", "some page", Kind.WEB, promise=0.33))
        result.add("ours", Sample(50.0, 20_000.0, 700.0, 1500.0))
        result.add("plain", Sample(100.0, 10_000.0, 900.0, 4000.0))
        ours, plain = [" ".join(line.split()) for line in result_lines(result, ["ours", "plain"])]
        self.assertEqual(ours, "some page ours 50.0 µs 0.500 ≤ 0.33 over 20,000 700 µs 1.50 ms")
        self.assertEqual(plain, "plain 100 µs 1.00 10,000 900 µs 4.00 ms")
        self.assertIn("÷ plain", header(["ours", "plain"], Kind.WEB))
        self.assertNotIn("÷ naive", header(["ours", "plain"], Kind.WEB))
        document = result_json(result)["servers"]["ours"]
        self.assertEqual((document["ratio_to_plain"], document["verdict"]), (0.5, "over"))

    def test_notes(self) -> None:
        """Every table has a note below it."""
        self.assertEqual({kind.references[0] for kind in Kind}, set(NOTES))

    def test_columns(self) -> None:
        """Figures stand below their titles."""
        first, *_ = result_lines(example(), SERVERS)
        title = header(SERVERS)
        for text, value in (("cost", "1.00 µs"), ("÷ naive", "0.200"), ("per second", "1,000"), ("p50", "500 µs")):
            self.assertEqual(title.index(text) + len(text), first.index(value) + len(value), text)

    def test_curve(self) -> None:
        """A curve has a column for each size; where something went wrong there is no figure."""
        workload = example().workload
        curve = Curve("growth", "cost as it grows", "members", ((10, workload), (1000, workload)))
        title, sizes, ours, naive, *errors = curve_lines(curve, [example(), example()], SERVERS[:2])
        self.assertEqual(title, "cost as it grows (µs)")
        self.assertEqual(
            [line.split() for line in (sizes, ours, naive)],
            [
                ["members", "10", "1,000"],
                ["ours", "1.00", "1.00"],
                ["naive", "ERROR", "ERROR"],
            ],
        )
        self.assertEqual(errors, ["  ERROR: some workload, naive: messages: 3 lost"] * 2)

    def test_json(self) -> None:
        """The file has all rounds, and can be read again."""
        document = json.loads(json.dumps(result_json(example())))
        self.assertEqual((document["kind"], document["unit"], document["promise"]), ("fanout", "µs", 0.25))
        naive = document["servers"]["naive"]
        self.assertEqual([one["value"] for one in naive["rounds"]], [5.0, None])
        self.assertEqual((naive["value"], naive["errors"]), (5.0, ["messages: 3 lost"]))
        self.assertEqual(document["servers"]["ours"]["verdict"], "ok")
