"""What the load generator says becomes a sample, or an error."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench.generator import GeneratorError, check_body, parse
from bench.pages import PAGE, PICTURE
from bench.workloads import Kind

FANOUT: dict[str, Any] = {
    "mode": "fanout",
    "seconds": 2.0,
    "deliveries": 4000,
    "lost": 0,
    "out_of_order": 0,
    "latency_us": {"p50": 120.5, "p99": 900.0},
    "server_cpu_s": 0.5,
}

JOIN: dict[str, Any] = {
    "mode": "join",
    "joins": 400,
    "seconds": 0.8,
    "latency_us": {"p50": 5000.0, "p99": 9000.0},
    "server_cpu_s": 0.6,
}

#: Lines that are no measurement, and what is said of them.
BROKEN = (
    (json.dumps({"error": "connection 3: 1013 too slow"}), "1013 too slow"),
    (json.dumps(FANOUT | {"lost": 7}), "7 lost"),
    (json.dumps(FANOUT | {"out_of_order": 2, "lost": 1}), "1 lost, 2 out of order"),
    (json.dumps(FANOUT | {"deliveries": 0}), "nothing was delivered"),
    (json.dumps({name: value for name, value in FANOUT.items() if name != "lost"}), "not understood"),
    (json.dumps(FANOUT | {"latency_us": None}), "not understood"),
    ("", "says ''"),
    ("[1]", "says"),
    ("Segmentation fault", "Segmentation fault"),
)


WEB: dict[str, Any] = {
    "mode": "web",
    "connections": 32,
    "seconds": 2.0,
    "requests": 20_000,
    "body_bytes": 304,
    "latency_us": {"p50": 700.0, "p99": 1500.0},
    "server_cpu_s": 1.0,
}


class ParseTests(SynchronousTestCase):
    """A line of the load generator."""

    def test_fanout(self) -> None:
        """The cost of a delivery is the server's CPU time over the deliveries, in microseconds."""
        sample = parse(json.dumps(FANOUT), Kind.FANOUT)
        self.assertEqual((sample.value, sample.per_second), (125.0, 2000.0))
        self.assertEqual((sample.p50_us, sample.p99_us, sample.error), (120.5, 900.0, None))
        self.assertEqual(sample.raw, FANOUT)

    def test_join(self) -> None:
        """The cost of a join is in milliseconds."""
        sample = parse(json.dumps(JOIN), Kind.JOIN)
        self.assertEqual((sample.value, sample.per_second, sample.p99_us), (1.5, 500.0, 9000.0))

    def test_web(self) -> None:
        """The cost of a request is in microseconds."""
        sample = parse(json.dumps(WEB), Kind.WEB)
        self.assertEqual((sample.value, sample.per_second, sample.p99_us), (50.0, 10_000.0, 1500.0))
        error = self.assertRaises(GeneratorError, parse, json.dumps(WEB | {"requests": 0}), Kind.WEB)
        self.assertIn("nothing was", str(error))

    def test_cpu_not_known(self) -> None:
        """Of a server that is elsewhere there are rates and latencies, and no cost."""
        sample = parse(json.dumps(FANOUT | {"server_cpu_s": None}), Kind.FANOUT)
        self.assertEqual((sample.value, sample.per_second), (None, 2000.0))

    def test_errors(self) -> None:
        """Lost and reordered messages, errors and lines of another kind are never figures."""
        for line, text in BROKEN:
            with self.subTest(line):
                error = self.assertRaises(GeneratorError, parse, line, Kind.FANOUT)
                self.assertIn(text, str(error))


class BodyTests(SynchronousTestCase):
    """Answers that are the file that was asked for."""

    def test_sizes(self) -> None:
        """A text may come compressed; what cannot be compressed has to have its size, and nothing may be longer."""
        for page, size in ((PAGE, PAGE.size), (PAGE, 304), (PICTURE, PICTURE.size)):
            check_body({"body_bytes": size}, page)
        for page, size in ((PAGE, 0), (PAGE, PAGE.size + 1), (PICTURE, PICTURE.size - 1), (PICTURE, 0)):
            error = self.assertRaises(GeneratorError, check_body, {"body_bytes": size}, page)
            self.assertIn(page.name, str(error))
