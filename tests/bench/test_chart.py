"""The pictures."""

from collections.abc import Callable
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from bench.chart import bar_chart, line_chart
from bench.results import Result, Sample
from bench.workloads import Curve, Kind, Workload

SERVERS = ["ours", "naive", "wss://example.org:8443"]

_SVG = "{http://www.w3.org/2000/svg}"


def result(name: str, *values: float | None) -> Result:
    """A workload with a value of each server; None: it went wrong."""
    made = Result(Workload(name, f"{name} <&>", promise=0.5))
    for server, value in zip(SERVERS, values, strict=False):
        made.add(server, Sample(value, error=None if value is not None else "lost"))
    return made


def texts(svg: str) -> list[str]:
    """All that is written in a picture."""
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


def parts(svg: str, tag: str, keep: Callable[[ElementTree.Element], bool] = lambda element: True) -> list[float]:
    """The widths of some elements."""
    found = [element for element in ElementTree.fromstring(svg).iter(_SVG + tag) if keep(element)]
    return [float(element.get("width", "0").removesuffix("%")) for element in found]


class BarTests(SynchronousTestCase):
    """A panel for each workload."""

    def test_lengths(self) -> None:
        """Bars are as long as the figures are large, each panel by its own scale."""
        svg = bar_chart([result("one", 1.0, 4.0, 2.0), result("two", 300.0, 600.0, 600.0)], SERVERS, "here")
        _, *bars = parts(svg, "rect")
        self.assertEqual([round(bar / bars[1], 3) for bar in bars], [0.25, 1.0, 0.5, 0.5, 1.0, 1.0])

    def test_text(self) -> None:
        """Figures, ratios and the promise are written beside the bars; titles are escaped."""
        written = texts(bar_chart([result("one", 1.0, 4.0)], SERVERS[:2], "measured here"))
        for text in ("measured here", "one <&>", "1.00 (0.25 of naive)", "4.00", "promised: 0.50 of naive"):
            self.assertIn(text, written)

    def test_pair(self) -> None:
        """A promise that is longer than the bars is in the picture as well."""
        made = Result(Workload("some", "some", Kind.PAIR, promise=2.0))
        made.add("serving", Sample(150.0))
        made.add("alone", Sample(100.0))
        svg = bar_chart([made], ["serving", "alone"], "")
        _, *bars = parts(svg, "rect")
        self.assertEqual([round(bar / max(bars), 3) for bar in bars], [1.0, 0.667])
        mark = next(ElementTree.fromstring(svg).iter(f"{_SVG}polyline"))
        self.assertLess(float(str(mark.get("points")).split(",")[0]), 470.0)
        self.assertIn("promised: 2.00 of alone", texts(svg))
        self.assertIn("150 (1.50 of alone)", texts(svg))

    def test_no_figures(self) -> None:
        """Where something went wrong, or nothing is known, there is a word and no bar."""
        unknown = Result(Workload("some", "some"))
        unknown.add("ours", Sample(None, 10.0))
        unknown.add("naive", Sample(error="lost"))
        svg = bar_chart([unknown], SERVERS[:2], "")
        self.assertEqual(len(parts(svg, "rect")), 1, "the background alone")
        self.assertIn("not known", texts(svg))
        self.assertIn("error", texts(svg))


class LineTests(SynchronousTestCase):
    """A panel for each curve."""

    def test_lines(self) -> None:
        """A level cost is a level line; sizes and figures are written."""
        results = [result("a", 2.0, 20.0), result("b", 2.0, 200.0)]
        curve = Curve("growth", "as it grows", "members", ((10, results[0].workload), (10_000, results[1].workload)))
        svg = line_chart([(curve, results)], SERVERS[:2], "")
        ours, naive = [
            [float(point.split(",")[1]) for point in str(line.get("points")).split()]
            for line in ElementTree.fromstring(svg).iter(f"{_SVG}polyline")
            if line.get("stroke-width") == "2"
        ]
        self.assertEqual(ours[0], ours[1])
        self.assertGreater(naive[0], naive[1], "further up is less in SVG")
        for text in ("as it grows", "members", "10", "10,000", "2.00", "200"):
            self.assertIn(text, texts(svg))

    def test_nothing_known(self) -> None:
        """A curve without a figure says so."""
        failed = result("a", None, None)
        curve = Curve("growth", "as it grows", "members", ((10, failed.workload),))
        self.assertIn("nothing is known", texts(line_chart([(curve, [failed])], SERVERS[:2], "")))
