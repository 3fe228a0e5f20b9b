"""What the suite says, and what it counts as."""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .outcome import Outcome, count, describe, read_report, table

#: The suite's words for what a server did and for how the connection ended, and what they count as.
VERDICTS = (
    ("OK", "OK", "OK"),
    ("NON-STRICT", "OK", "NON-STRICT"),
    ("INFORMATIONAL", "INFORMATIONAL", "INFORMATIONAL"),
    ("INFORMATIONAL", "OK", "INFORMATIONAL"),
    ("FAILED", "OK", "FAILED"),
    ("UNIMPLEMENTED", "OK", "FAILED"),
    ("OK", "FAILED", "FAILED"),
    ("OK", "UNCLEAN", "FAILED"),
    ("OK", "WRONG CODE", "FAILED"),
    ("OK", "FAILED BY CLIENT", "FAILED"),
    ("NON-STRICT", "WRONG CODE", "FAILED"),
)


def outcome(case: str, behavior: str = "OK", close: str = "OK") -> Outcome:
    """What came of a case."""
    return Outcome(case, behavior, close, 1, "An echo.", "page.html")


class VerdictTests(SynchronousTestCase):
    """When a case has failed."""

    def test_verdict(self) -> None:
        """A case passes when both what the server did and how the connection ended are as they should be."""
        for behavior, close, verdict in VERDICTS:
            self.assertEqual(outcome("1.1.1", behavior, close).verdict, verdict, (behavior, close))

    def test_count(self) -> None:
        """Each case counts in its section, and the table shows the sums."""
        outcomes = [outcome("1.1.1"), outcome("1.1.2", "FAILED"), outcome("10.1.1", "NON-STRICT")]
        self.assertEqual(count(outcomes), {"1": {"OK": 1, "FAILED": 1}, "10": {"NON-STRICT": 1}})
        self.assertEqual(
            [line.split() for line in table(outcomes)],
            [
                ["section", "OK", "NON-STRICT", "INFORMATIONAL", "FAILED"],
                ["1", "1", "0", "0", "1"],
                ["10", "0", "1", "0", "0"],
                ["all", "1", "1", "0", "1"],
            ],
        )


class ReportTests(SynchronousTestCase):
    """The suite's own files."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, *cases: str) -> None:
        """A report as the suite writes it, of a server that answers with the wrong code."""
        index = {}
        for case in cases:
            index[case] = {
                "behavior": "OK",
                "behaviorClose": "WRONG CODE",
                "duration": 2,
                "remoteCloseCode": 1008,
                "reportfile": f"it_case_{case}.json",
            }
            told = {
                "expectation": "The connection is\nfailed.",
                "expected": {"OK": []},
                "received": [],
                "result": "Actual events match at least one expected.",
                "resultClose": "The close code should have been 1002 or empty",
                "expectedClose": {"closeCode": [1002], "closedByMe": False},
                "remoteCloseCode": 1008,
                "remoteCloseReason": "no",
            }
            (self.directory / f"it_case_{case}.json").write_text(json.dumps(told))
        (self.directory / "index.json").write_text(json.dumps({"it": index}))

    def test_order(self) -> None:
        """Cases come in the order of their numbers, not of their texts."""
        self.write("10.1.1", "2.10", "2.9")
        self.assertEqual([found.case for found in read_report(self.directory, "it")], ["2.9", "2.10", "10.1.1"])

    def test_description(self) -> None:
        """Of a failed case its number, what was wanted and what came are told."""
        self.write("3.1")
        (found,) = read_report(self.directory, "it")
        self.assertEqual(
            describe(found),
            "3.1: OK, close WRONG CODE. The connection is failed. Events: Actual events match at least one expected."
            " Expected one of {'OK': []}, got []. End: The close code should have been 1002 or empty. Expected code"
            " [1002] sent by the server, got 1008 (no). See it_case_3.1.html.",
        )

    def test_none(self) -> None:
        """Without a report, or with one of somebody else, there are no outcomes."""
        self.assertEqual(read_report(self.directory, "it"), [])
        self.write("3.1")
        self.assertEqual(read_report(self.directory, "other"), [])
