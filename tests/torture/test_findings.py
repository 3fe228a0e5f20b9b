"""Figures, limits and verdicts."""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from .findings import Finding, Verdict
from .pair import Heard, Report
from .soak import slope


class FindingTests(SynchronousTestCase):
    """One figure."""

    def test_verdicts(self) -> None:
        """What is beyond its limit is broken, a time that is not judged is only shown."""
        self.assertEqual(Finding.below("it", 9.9, 10, "s").line(), "  held    it: 9.90 s (< 10 s)")
        self.assertEqual(Finding.below("it", 10, 10, "s").line(), "  BROKEN  it: 10 s (< 10 s)")
        self.assertIs(Finding.below("it", 10, 10, "s", judged=False).verdict, Verdict.SHOWN)
        self.assertIs(Finding.above("it", 1, 0).verdict, Verdict.HELD)
        self.assertIs(Finding.above("it", 0, 0).verdict, Verdict.BROKEN)
        self.assertIs(Finding.below("a metric there is not", float("nan"), 1).verdict, Verdict.BROKEN)
        self.assertIs(Finding.equal("it", [1, 2], [1, 2]).verdict, Verdict.HELD)
        self.assertIs(Finding.equal("it", [1], [1, 2]).verdict, Verdict.BROKEN)
        self.assertEqual(Finding.unknown("it", "nobody knows").line(), "  unknown it: nobody knows")

    def test_json(self) -> None:
        """What one program prints another one reads."""
        found = Finding.below("it", 1, 2)
        self.assertEqual(Finding.from_json(found.as_json()), found)


class ReportTests(SynchronousTestCase):
    """What a pair has seen."""

    def verdicts(self, judged: bool = True, **more: float) -> list[Verdict]:
        """The verdicts on a report."""
        good = Report(sent=100, lost=0, strange=0, worst=20.0, p99=5.0, asleep=1.0, end="")
        report = replace(good, **more)  # type: ignore[arg-type]
        return [finding.verdict for finding in report.findings(judged=judged, p99=100.0)]

    def test_good(self) -> None:
        """All has come, and soon."""
        self.assertEqual(self.verdicts(), [Verdict.HELD] * 4)

    def test_lost(self) -> None:
        """One lost message breaks the promise, whether times are judged or not."""
        self.assertIs(self.verdicts(lost=1)[0], Verdict.BROKEN)
        self.assertIs(self.verdicts(judged=False, lost=1)[0], Verdict.BROKEN)

    def test_late(self) -> None:
        """A message later than 250 ms breaks it, unless the pair itself was not let run: then nobody can tell."""
        self.assertIs(self.verdicts(worst=251.0)[2], Verdict.BROKEN)
        self.assertIs(self.verdicts(worst=251.0, asleep=200.0)[2], Verdict.UNKNOWN)
        self.assertIs(self.verdicts(worst=500.0, asleep=200.0)[2], Verdict.BROKEN)
        self.assertIs(self.verdicts(p99=101.0)[3], Verdict.BROKEN)

    def test_strange(self) -> None:
        """What nobody has sent breaks it, and what has come twice; the first frames of those who join do not."""
        heard = Heard()
        for payload in (b'{"uid":"bob","channel":"pair"}', b"1 100.000000", b"2 100.010000", b"1 100.000000", b"in"):
            heard.take(payload, 100.5)
        self.assertEqual((sorted(heard.delays), heard.strange), ([1, 2], 2))
        self.assertIs(self.verdicts(strange=1)[1], Verdict.BROKEN)


class SlopeTests(SynchronousTestCase):
    """How much memory grows."""

    def test_slope(self) -> None:
        """A steady growth is told per ten minutes; ups and downs are none, and some peaks do not count."""
        times = [2.0 * number for number in range(600)]
        self.assertAlmostEqual(slope([(at, 80 + at / 600) for at in times]), 1.0)
        self.assertAlmostEqual(slope([(at, 80 + number % 2) for number, at in enumerate(times)]), 0.0)
        self.assertAlmostEqual(slope([(at, 500.0 if at == 600 else 80.0) for at in times]), 0.0)
        self.assertAlmostEqual(slope([(at, 500.0 if at > 1100 else 80.0) for at in times]), 0.0)
