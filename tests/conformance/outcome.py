"""What came of the cases: read from the suite's report, judged, counted, shown."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["VERDICTS", "Outcome", "count", "describe", "read_report", "table"]

#: How a case may end, best first: as the standard says; as it allows; it leaves that open; it forbids that.
VERDICTS = ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case.

    Attributes:
        case: its number, for example ``6.4.1``.
        behavior: the suite's word for what the server did.
        close: the suite's word for how the connection ended.
        milliseconds: how long it took.
        expected: what the suite would have accepted, and what it got instead.
        page: the file with the whole exchange, relative to the report.
    """

    case: str
    behavior: str
    close: str
    milliseconds: int
    expected: str
    page: str

    @property
    def section(self) -> str:
        """The first part of its number."""
        return self.case.split(".")[0]

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`. A connection that ends in any other way than it should is a failure too."""
        if self.close not in ("OK", "INFORMATIONAL") or self.behavior not in VERDICTS:
            return "FAILED"
        return self.behavior


def read_report(reports: Path, name: str) -> list[Outcome]:
    """The outcomes in a report, in order; none when there is no report.

    Args:
        reports: the directory the suite wrote to.
        name: how it calls the server.
    """
    index = reports / "index.json"
    if not index.exists():
        return []
    found = json.loads(index.read_text()).get(name, {})
    return [
        Outcome(
            case,
            entry["behavior"],
            entry["behaviorClose"],
            entry["duration"],
            _explain(reports / entry["reportfile"]),
            Path(entry["reportfile"]).with_suffix(".html").name,
        )
        for case, entry in sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")])
    ]


def _explain(file: Path) -> str:
    told = json.loads(file.read_text())
    close = told["expectedClose"]
    return (
        f"{' '.join(told['expectation'].split())}"
        f" Events: {told['result']} Expected one of {told['expected']}, got {told['received']}."
        f" End: {told['resultClose']}. Expected code {close.get('closeCode')}"
        f" {'asked for by the suite' if close.get('closedByMe') else 'sent by the server'},"
        f" got {told['remoteCloseCode']} ({told['remoteCloseReason']})."
    )


def count(outcomes: Sequence[Outcome]) -> dict[str, Counter[str]]:
    """How many of each verdict there are in each section."""
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        counts.setdefault(outcome.section, Counter())[outcome.verdict] += 1
    return counts


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The counts as lines."""
    yield "  section" + "".join(f"{verdict:>15}" for verdict in VERDICTS)
    counts = count(outcomes)
    for section, found in counts.items():
        yield f"  {section:<7}" + "".join(f"{found[verdict]:15}" for verdict in VERDICTS)
    total = sum(counts.values(), Counter[str]())
    yield f"  {'all':<7}" + "".join(f"{total[verdict]:15}" for verdict in VERDICTS)


def describe(outcome: Outcome) -> str:
    """A case in a line: what came of it, what was wanted, and where to read all of it."""
    return f"{outcome.case}: {outcome.behavior}, close {outcome.close}. {outcome.expected} See {outcome.page}."
