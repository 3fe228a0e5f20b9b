"""What the documents say is true of the code."""

import re
from dataclasses import fields
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mles_tx
from mles_tx.metrics import MetricsSnapshot
from mles_tx.protocol.auth import auth_value
from mles_tx.protocol.closing import CloseReason
from mles_tx.service.options import Options

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
