"""Runs the Autobahn|Testsuite and closes with its counts: ``python -m tests.conformance [TARGET ...] [--case ...]``.

The exit code is 1 when a case has failed, in what the server did or in how the connection ended.
"""

import argparse
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from .outcome import describe, table
from .suite import DIRECTORY, NoPython2, Suite, SuiteFailed, find_python2, install
from .targets import ALL, TARGETS, Result, Target

_REPORTS = DIRECTORY / "reports"

#: Failed cases of a target that are described; of more, only the numbers are shown.
_DESCRIBED = 20


def run(suite: Suite, target: Target, cases: list[str]) -> tuple[Result, float]:
    """Run cases against a target and keep the suite's report; what came of them, and seconds."""
    began = time.monotonic()
    with TemporaryDirectory(dir=DIRECTORY) as scratch:
        result = target.run(suite, Path(scratch, "report"), cases)
        kept = _REPORTS / target.name
        shutil.rmtree(kept, ignore_errors=True)
        shutil.move(Path(scratch, "report"), kept)
    return result, time.monotonic() - began


def show(target: Target, result: Result, seconds: float) -> int:
    """Print what came of a target; how many cases have failed, with one more for faults in a log."""
    failed = [outcome for outcome in result.outcomes if outcome.verdict == "FAILED"]
    print(f"{target.name}: {len(result.outcomes)} cases in {seconds:.0f} s, {len(failed)} failed")
    for line in table(result.outcomes):
        print(line)
    for case, reason in target.excluded.items():
        print(f"  left out: {case}: {reason}")
    for outcome in failed[:_DESCRIBED]:
        print(f"  FAILED: {describe(outcome)}")
    if failed[_DESCRIBED:]:
        print(f"  FAILED too: {', '.join(outcome.case for outcome in failed[_DESCRIBED:])}")
    if result.faults:
        print(f"  FAILED: a fault in the log of {target.name}:\n{result.faults}")
    print(f"  all of it: {_REPORTS / target.name / 'index.html'}\n", flush=True)
    return len(failed) + bool(result.faults)


def main(arguments: list[str]) -> int:
    """Run, report, count; returns the exit code."""
    names = {target.name: target for target in TARGETS}
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description="Run the Autobahn|Testsuite.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(names)}; else all of them")
    parser.add_argument("--case", action="append", metavar="CASE", help="for example 6.4.1 or 7.*; else all of them")
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(names)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    _REPORTS.mkdir(parents=True, exist_ok=True)
    failed = 0
    try:
        suite = install(find_python2())
        targets = [names[name] for name in options.targets] or list(TARGETS)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            running = [(target, pool.submit(run, suite, target, options.case or list(ALL))) for target in targets]
            for target, future in running:
                failed += show(target, *future.result())
    except (NoPython2, SuiteFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
