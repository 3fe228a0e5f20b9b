"""Runs the tests with trial and closes with their counts: ``python -m tests [NAME ...]``.

All of them run under coverage, and have to reach its floor. With ``CI=true`` in the environment a skipped
test is a failed run: there, every part is to be had.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import coverage
from twisted.trial.reporter import TreeReporter, VerboseTextReporter
from twisted.trial.runner import TestLoader, TrialRunner

_ALL = ["tests"]


def run(names: list[str]) -> Any:
    """Run what the names stand for; returns trial's result."""
    warnings.simplefilter("default")
    reporter = TreeReporter if sys.stdout.isatty() else VerboseTextReporter
    return TrialRunner(reporter, workingDirectory="_trial_temp").run(TestLoader().loadByNames(names, recurse=True))


def main(names: list[str]) -> int:
    """Run, report, count; returns the exit code."""
    cover = coverage.Coverage(config_file=str(Path("setup.cfg").resolve())) if names == _ALL else None
    if cover is not None:
        cover.start()
    result = run(names)
    enough = True
    if cover is not None:
        cover.stop()
        floor = float(cover.get_option("report:fail_under") or 0)  # type: ignore[arg-type]
        covered = cover.report(file=sys.stdout)
        enough = covered >= floor
        print(f"branch coverage {covered:.1f} %, at least {floor:.0f} % is wanted")
    skipped = len(result.skips)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    for test, reason in result.skips:
        print(f"skipped: {test.id()}: {reason}")
    print(f"{result.successes} passed, {failed} failed, {skipped} skipped")
    complete = not skipped or os.environ.get("CI") != "true"
    return 0 if result.wasSuccessful() and enough and complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or _ALL))
