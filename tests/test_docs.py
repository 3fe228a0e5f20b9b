"""What the documents say is true of the code."""

import json
import re
from dataclasses import fields
from pathlib import Path

from prometheus_client import generate_latest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

import mles_tx
from mles_tx.cli.proxy import ProxyOptions
from mles_tx.metrics import MetricsSnapshot
from mles_tx.protocol.auth import auth_value
from mles_tx.protocol.closing import CloseReason
from mles_tx.service.config import ServerConfig
from mles_tx.service.exported import EXPORTED, make_registry
from mles_tx.service.lag import ReactorLag
from mles_tx.service.logs import JsonLines
from mles_tx.service.options import Options
from mles_tx.service.server import MlesService

ROOT = Path(mles_tx.__file__).parent.parent


class ReadmeTests(SynchronousTestCase):
    """README.md."""

    def test_options(self) -> None:
        """The table has exactly the options there are, with their short forms."""
        text = (ROOT / "README.md").read_text()
        table = text.partition("### Options")[2].partition("### Signals")[0]
        rows = re.findall(r"^\| `--([a-z-]+)`(?:, `-(\w)`)?", table, re.MULTILINE)
        options = Options({})
        long = {name for name in options.synonyms if len(name) > 1}
        self.assertEqual(long, {name for name, _ in rows})
        self.assertEqual(
            {name: letter for letter, name in options.synonyms.items() if len(letter) == 1},
            {name: letter for name, letter in rows if letter},
        )

    def test_metrics(self) -> None:
        """The list has exactly the metrics there are, in the order of the log."""
        text = (ROOT / "README.md").read_text()
        named = re.findall(r"^- `(\w+)`: ", text.partition("### Metrics")[2].partition("## Read on")[0], re.MULTILINE)
        self.assertEqual([field.name for field in fields(MetricsSnapshot)], named)

    def test_links(self) -> None:
        """Every document it points to is there."""
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
            self.assertTrue((ROOT / link).exists(), link)


class ProtocolTests(SynchronousTestCase):
    """docs/protocol.md."""

    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "protocol.md").read_text()

    def test_close_reasons(self) -> None:
        """The table has every reason with its code, text and retry, in order."""
        rows = re.findall(r"^\| (\d{4}) \| `(\w+)` \| (.+) \| (yes|no) \|$", self.text, re.MULTILINE)
        self.assertEqual(
            [(str(reason.code), reason.label, reason.text, "yes" if reason.retry else "no") for reason in CloseReason],
            rows,
        )

    def test_auth(self) -> None:
        """The vectors are right."""
        rows = re.findall(
            r"^\| `(\w+)` \| `(\w+)` \| (?:none|`(\w+)`) \| `([0-9a-f]{16})` \|$", self.text, re.MULTILINE
        )
        self.assertEqual(2, len(rows))
        for uid, channel, key, value in rows:
            self.assertEqual(value, auth_value(uid, channel, key.encode() or None))


def exported() -> dict[str, str]:
    """Every metric of a server and its process, with its type."""
    service = MlesService(ServerConfig(), MemoryReactorClock())
    registry = make_registry(service, ReactorLag(MemoryReactorClock()))
    shown = re.findall(r"^# TYPE (\w+) (\w+)$", generate_latest(registry).decode(), re.MULTILINE)
    return dict(shown)


class OperationsTests(SynchronousTestCase):
    """docs/operations.md and the dashboard."""

    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "operations.md").read_text()
        self.exported = exported()

    def test_metrics(self) -> None:
        """The table has exactly the metrics of a server, with their types, and the list those of its process."""
        rows = re.findall(r"^\| `(mles_\w+)` \| (\w+) \|", self.text, re.MULTILINE)
        self.assertEqual(dict(rows), {name: kind for name, kind in self.exported.items() if name.startswith("mles_")})
        self.assertEqual(len(rows), len(dict(rows)))
        process = {name for name in self.exported if not name.startswith("mles_")}
        self.assertEqual(set(re.findall(r"`(process_\w+)`", self.text)), process)

    def test_labels(self) -> None:
        """The table says which labels there are."""
        rows = dict(re.findall(r"^\| `(mles_\w+)` .*; labelled by `(\w+)` \|$", self.text, re.MULTILINE))
        self.assertEqual(rows, {metric.name: metric.label for metric in EXPORTED if metric.label})

    def test_alerts(self) -> None:
        """What is asked for in alerts is there."""
        table = self.text.partition("What deserves an alert")[2].partition("\n\n### ")[0]
        self.assert_exported(" ".join(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)), 5)

    def test_dashboard(self) -> None:
        """The dashboard asks for metrics there are, and for every one of them; each place on it is taken once."""
        board = json.loads((ROOT / "contrib" / "grafana" / "mles_tx.json").read_text())
        queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        queries += [variable["definition"] for variable in board["templating"]["list"] if "definition" in variable]
        asked = self.assert_exported(" ".join(queries), 20)
        self.assertEqual({name for name in self.exported if name.startswith("mles_")} - asked, set())
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        places = [
            (x, y)
            for place in (panel["gridPos"] for panel in board["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        self.assertEqual(len(places), len(set(places)))
        self.assertLess(max(x for x, _ in places), 24)

    def assert_exported(self, queries: str, at_least: int) -> set[str]:
        """All metrics some queries ask for exist; returns them."""
        asked = {name.removesuffix("_bucket") for name in re.findall(r"\b(?:mles|process)_\w+", queries)}
        self.assertEqual(asked - self.exported.keys(), set())
        self.assertGreaterEqual(len(asked), at_least)
        return asked

    def test_links(self) -> None:
        """Every file it points to is there."""
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", self.text):
            self.assertTrue((ROOT / "docs" / link).exists(), link)

    def test_json_line(self) -> None:
        """The line of a log in JSON is one."""
        line = re.search(r'^    (\{"time".*\n .*\})$', self.text, re.MULTILINE)
        assert line is not None
        written = json.loads(line[1])
        event = {
            "log_format": "{line}",
            "log_level": LogLevel.info,
            "log_namespace": written["logger"],
            "log_time": 1769860800.25,
            "line": written["text"],
            **{name: written[name] for name in ("uid", "channel", "serial")},
        }
        self.assertEqual(json.loads(JsonLines()(event)), written)


class ClientsTests(SynchronousTestCase):
    """docs/clients.md."""

    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "clients.md").read_text()

    def test_proxy_options(self) -> None:
        """The table of the proxy has exactly the options there are."""
        table = self.text.partition("## Bridge two servers")[2].partition("What it promises")[0]
        rows = re.findall(r"^\| `--([a-z-]+)`", table, re.MULTILINE)
        self.assertEqual(sorted(rows), sorted(set(ProxyOptions({}).synonyms) - {"help", "version", "h"}))

    def test_links(self) -> None:
        """Every file and every place on the page it points to is there."""
        for link, place in re.findall(r"\]\(([^)#:]*)(?:#([\w-]+))?\)", self.text):
            text = (ROOT / "docs" / link).read_text() if link else self.text
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
            self.assertTrue(not place or place in anchors, f"{link}#{place}")


class ArchitectureTests(SynchronousTestCase):
    """docs/architecture.md."""

    def test_files(self) -> None:
        """Every file and folder it names is there."""
        text = (ROOT / "docs" / "architecture.md").read_text()
        named = set(re.findall(r"`?((?:mles_tx|tests|static|twisted|channels|transport|service)/[\w/.]*)`?", text))
        self.assertGreater(len(named), 10)
        for name in named:
            self.assertTrue((ROOT / name).exists() or (ROOT / "mles_tx" / name).exists(), name)

    def test_names(self) -> None:
        """Every class it names in code quotes is there."""
        text = (ROOT / "docs" / "architecture.md").read_text()
        source = "\n".join(path.read_text() for path in (ROOT / "mles_tx").rglob("*.py"))
        for name in set(re.findall(r"`([A-Z]\w+)(?:\.\w+)?`", text)) - {"CACHE", "Clock"}:
            self.assertRegex(source, rf"class {name}\b")
