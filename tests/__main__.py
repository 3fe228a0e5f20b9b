"""Runs the tests with trial and closes with their counts: ``python -m tests [NAME ...]``.

Several modules are run at a time (`tests/jobs.py`). When all are, the unit tests have to reach the floor of coverage.
With ``CI=true`` in the environment a skipped test is a failed run: there, every part is to be had.
"""

import os
import sys

from .jobs import coverage_of_tests, default_jobs, modules_of, run, run_here

_ALL = ["tests"]


def main(names: list[str]) -> int:
    """Run, report, count; returns the exit code."""
    modules = modules_of(names)
    jobs = min(default_jobs(), len(modules))
    cover = coverage_of_tests() if names == _ALL else None
    counts = run(modules, jobs, cover=cover is not None) if jobs > 1 else run_here(names=names)
    enough = True
    if cover is not None:
        cover.combine()
        floor = float(cover.get_option("report:fail_under") or 0)  # type: ignore[arg-type]
        covered = cover.report(file=sys.stdout)
        enough = covered >= floor
        print(f"branch coverage {covered:.1f} %, at least {floor:.0f} % is wanted")
    for name, reason in counts.skipped:
        print(f"skipped: {name}: {reason}")
    print(f"{counts.passed} passed, {counts.failed} failed, {len(counts.skipped)} skipped")
    complete = not counts.skipped or os.environ.get("CI") != "true"
    return 0 if counts.passed and not counts.failed and enough and complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or _ALL))
