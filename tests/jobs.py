"""Runs the tests of several modules at a time, each in a process that takes one module after the other.

Many tests wait for real servers, so that there are more processes than processors. Who runs them (`run`) hands out the
names and prints what comes back. A process (``python -m tests.jobs``) reads names, one a line, and runs what they stand
for with trial as one run. It prints as trial does, and in between what is for `run` alone, behind a NUL up to the end
of the line: `null` when it wants a name, and last its counts.

Coverage is that of the unit tests, and they run in processes of their own: it doubles what a test costs, and adds
nothing where real servers run in other processes, or where a model takes thousands of steps through what has been seen.
"""

import json
import os
import subprocess
import sys
import threading
import unittest
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import coverage
from twisted.trial.reporter import TreeReporter, VerboseTextReporter
from twisted.trial.runner import TestLoader, TrialRunner

__all__ = ["Counts", "coverage_of_tests", "default_jobs", "modules_of", "run", "run_here"]

_ROOT = Path(__file__).resolve().parents[1]
_MARK = "\0"
_COVERAGE = "--coverage"

#: Folders whose tests start real servers, or take thousands of steps.
_LONG = ("integration", "model", "torture")


@dataclass(frozen=True, slots=True)
class Counts:
    """How tests ended.

    Attributes:
        passed: how many passed.
        failed: how many did not, for whatever reason.
        skipped: names of the skipped ones, each with the reason.
    """

    passed: int = 0
    failed: int = 0
    skipped: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.passed + other.passed, self.failed + other.failed, (*self.skipped, *other.skipped))


def default_jobs() -> int:
    """How many processes run tests: `TESTS_JOBS`, or two more than there are processors."""
    return int(os.environ.get("TESTS_JOBS") or (os.cpu_count() or 1) + 2)


def coverage_of_tests(*, one_of_many: bool = False) -> coverage.Coverage:
    """Coverage as setup.cfg has it; `one_of_many`: into a file of its own beside the others."""
    return coverage.Coverage(
        config_file=str(_ROOT / "setup.cfg"), data_file=str(_ROOT / ".coverage"), data_suffix=one_of_many or None
    )


def _is_long(name: str) -> bool:
    return any(f".{folder}." in name for folder in _LONG)


def modules_of(names: Iterable[str]) -> list[str]:
    """The modules of tests below packages, and all other names as they are.

    What starts real servers or takes thousands of steps comes first, and what is large before what is small, so that no
    process is left alone with something long at the end.
    """
    found: dict[str, tuple[bool, int]] = {}
    for name in names:
        folder = _ROOT.joinpath(*name.split("."))
        paths = sorted(folder.rglob("test_*.py")) if folder.is_dir() else []
        for path in paths:
            module = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
            found[module] = (_is_long(module), path.stat().st_size)
        if not paths:
            found[name] = (True, 0)
    return sorted(found, key=lambda name: found[name], reverse=True)


def run_here(test: unittest.TestSuite | None = None, names: Iterable[str] = ()) -> Counts:
    """Run a suite, or what some names stand for, in this process."""
    warnings.simplefilter("default")
    suite = TestLoader().loadByNames(list(names), recurse=True) if test is None else test
    reporter = TreeReporter if sys.stdout.isatty() else VerboseTextReporter
    result: Any = TrialRunner(reporter, workingDirectory="_trial_temp").run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    return Counts(result.successes, failed, tuple((test.id(), str(reason)) for test, reason in result.skips))


def run(names: Iterable[str], jobs: int, *, cover: bool = False, output: TextIO | None = None) -> Counts:
    """Run what the names stand for in `jobs` processes at a time, the unit tests under coverage if wanted.

    A process that dies counts as one failure.
    """
    groups: list[tuple[Iterator[str], list[str]]] = []
    waiting = list(names)
    if cover:
        groups.append((iter([name for name in waiting if _is_long(name)]), []))
        waiting = [name for name in waiting if not _is_long(name)]
    groups.append((iter(waiting), [_COVERAGE] if cover else []))
    lock = threading.Lock()
    ended: list[Counts] = []

    def show(*texts: str) -> None:
        with lock:
            print(*texts, sep="", end="", file=output, flush=True)

    def take(waiting: Iterator[str]) -> str | None:
        with lock:
            return next(waiting, None)

    def drive(waiting: Iterator[str], options: list[str]) -> None:
        """Run what waits, as long as there is something, in a process."""
        first = take(waiting)
        if first is None:
            return
        name = first
        summary: list[str] | None = None
        counts: Counts | None = None
        arguments = [sys.executable, "-u", "-m", "tests.jobs", *options]
        with subprocess.Popen(
            arguments, cwd=_ROOT, env=os.environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            for line in process.stdout:
                text, mark, said = line.partition(_MARK)
                if summary is not None:
                    summary.append(text)
                elif text:
                    show(text)
                if not mark:
                    continue
                ending = json.loads(said)
                if ending is not None:
                    counts = Counts(ending["passed"], ending["failed"], tuple(map(tuple, ending["skipped"])))
                    continue
                following, first = first or take(waiting), None
                if following is None:
                    summary = []
                    process.stdin.close()
                else:
                    name = following
                    process.stdin.write(f"{name}\n")
                    process.stdin.flush()
        show(*(summary or ()), "" if counts else f"a process ended with {process.returncode}; it ran {name}\n")
        with lock:
            ended.append(counts or Counts(failed=1))

    def drive_all() -> None:
        for group in groups:
            drive(*group)

    threads = [threading.Thread(target=drive_all) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(ended, Counts())


def _names() -> Iterator[str]:
    """The names this process is given, each when it asks for one."""
    while True:
        print(f"{_MARK}null")
        name = sys.stdin.readline().strip()
        if not name:
            return
        yield name


class _Given(unittest.TestSuite):
    """Loads and runs what this process is given."""

    def run(self, result: Any, debug: bool = False) -> Any:
        for name in _names():
            TestLoader().loadByName(name, recurse=True).run(result)
        return result


def main(arguments: list[str]) -> None:
    """Be one of the processes."""
    cover = coverage_of_tests(one_of_many=True) if _COVERAGE in arguments else None
    if cover is not None:
        cover.start()
    counts = run_here(_Given())
    if cover is not None:
        cover.stop()
        cover.save()
    print(f"{_MARK}{json.dumps(asdict(counts))}")


if __name__ == "__main__":
    main(sys.argv[1:])
