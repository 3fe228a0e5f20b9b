"""What is made of several rounds."""

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from bench.results import Result, Sample, middle
from bench.workloads import WORKLOADS, Kind, Workload


def result(ours: tuple[float | None, ...], naive: tuple[float | None, ...], promise: float | None = 0.5) -> Result:
    """A result with some values a round."""
    made = Result(Workload("some", "some workload", promise=promise))
    for server, values in (("ours", ours), ("naive", naive)):
        for value in values:
            made.add(server, Sample(value, error=None if value else "it broke"))
    return made


class ResultTests(SynchronousTestCase):
    """A workload's rounds."""

    def test_median(self) -> None:
        """One round that was disturbed does not move the figure."""
        self.assertEqual(result((2.0, 90.0, 1.0), ()).value("ours"), 2.0)
        self.assertEqual(middle([1.0, None, 2.0]), 1.5)
        self.assertEqual(middle([None]), None)

    def test_ratio_of_rounds(self) -> None:
        """Ratios are made within a round, so that a machine that is slower for a while is in both."""
        slower_later = result((1.0, 2.0, 30.0), (10.0, 20.0, 100.0))
        self.assertEqual(slower_later.ratio("ours", "naive"), 0.1)

    def test_round_that_failed(self) -> None:
        """A failed round is in no figure, and is told once."""
        one_failed = result((1.0, None, 1.0, None), (2.0, 4.0, 8.0, 2.0))
        self.assertEqual(one_failed.ratio("ours", "naive"), (0.5 + 0.125) / 2)
        self.assertEqual(one_failed.errors("ours"), ["it broke"])
        self.assertEqual(one_failed.errors("naive"), [])

    def test_verdict(self) -> None:
        """A ratio is held against the promise."""
        self.assertEqual(result((1.0,), (2.0,)).verdict("ours"), "ok")
        self.assertEqual(result((1.1,), (2.0,)).verdict("ours"), "over")
        self.assertEqual(result((1.1,), (2.0,), promise=None).verdict("ours"), "")
        self.assertEqual(result((1.1,), (None,)).verdict("ours"), "")
        self.assertEqual(result((1.1,), (2.0,)).verdict("naive"), "")

    def test_promised_rows(self) -> None:
        """Nine rows have a promise to the naive server, four to the plain one, and four pairs to themselves alone."""
        promised = [workload.kind.references[0] for workload in WORKLOADS if workload.promise is not None]
        self.assertEqual({"naive": 9, "plain": 4, "alone": 4}, Counter(promised))

    def test_verdict_of_a_pair(self) -> None:
        """The latency of a pair is held against the same pair's alone, and may be the larger one."""
        made = Result(Workload("some", "some", Kind.PAIR, promise=2.0))
        for alone, serving in ((100.0, 190.0), (100.0, 900.0), (200.0, 380.0)):
            made.add("alone", Sample(alone))
            made.add("serving", Sample(serving))
        self.assertEqual((made.ratio("serving", "alone"), made.verdict("serving")), (1.9, "ok"))
        self.assertEqual(made.verdict("alone"), "")
