"""Measures the server beside others: ``python -m bench [--quick] [--only NAME] ...``, or `make bench`.

The exit code is 0 when everything was measured, over its promise or not: absolute figures move from run to run, and
ratios a little. It is 1 when something went wrong with a measurement, and 2 when none could begin.
"""

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from .build import BuildError, Programs, build
from .chart import bar_chart, line_chart
from .generator import GeneratorError
from .machine import facts
from .profiling import profile
from .report import NOTES, curve_lines, header, result_json, result_lines
from .results import Result
from .running import Bench, Effort, raise_descriptors
from .servers import OUR_FLAGS, ServerError, Target, external
from .workloads import CURVES, WORKLOADS, Curve, Kind, Workload, find

_RESULTS = Path(__file__).parent / "results"

#: The signals that end it; what it has started ends with it.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: The pictures of the tables, by the first of their references.
_CHARTS = {"naive": "workloads.svg", "plain": "pages.svg", "alone": "pairs.svg"}

_FULL = Effort(rounds=5, seconds=2.0)
_QUICK = Effort(rounds=2, seconds=0.7)


class _Stopped(BaseException):
    """A signal has come."""

    def __init__(self, number: int) -> None:
        self.number = number


class _Pid(argparse.Action):
    """`--pid` belongs to the `--url` before it."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if not namespace.url:
            parser.error("--pid belongs after the --url whose process it is")
        namespace.url[-1][1].append(values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the server beside others.")
    parser.add_argument("--quick", action="store_true", help="less than two minutes: short rounds, no curves")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="this workload or curve")
    parser.add_argument("--list", action="store_true", help="show the workloads and curves, and exit")
    parser.add_argument("--rounds", type=_positive(int), metavar="N", help="how often each server is measured")
    parser.add_argument("--seconds", type=_positive(float), metavar="S", help="how long a round measures messages")
    parser.add_argument(
        "--url",
        metavar="URL",
        type=lambda url: (url, []),
        action="append",
        default=[],
        help="another Mles server that runs already: wss://host:port or ws://host:port",
    )
    parser.add_argument("--pid", metavar="N", type=_positive(int), action=_Pid, help="a process of the --url before")
    parser.add_argument("--profile", action="store_true", help="our server alone, under cProfile, with one workload")
    parser.add_argument("--output", metavar="DIR", type=Path, default=_RESULTS, help="where results go")
    return parser


def _positive(convert: type[int] | type[float]) -> Any:
    def positive(text: str) -> float:
        number = convert(text)
        if not 0 < number < 1e6:
            raise ValueError
        return number

    positive.__name__ = "positive number"
    return positive


def _on_signal(number: int, frame: FrameType | None) -> NoReturn:
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)  # nothing interrupts the stopping
    raise _Stopped(number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        workloads, curves = find(options.only, options.quick)
        others = [external(url, pids) for url, pids in options.url]
        if len({other.name for other in others}) < len(others):
            raise ValueError("a --url is given twice")
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        for entry in (*WORKLOADS, *CURVES):
            print(f"{entry.name:<20} {entry.title}")
        return 0
    chosen = _QUICK if options.quick else _FULL
    effort = Effort(options.rounds or chosen.rounds, options.seconds or chosen.seconds)
    every = [*workloads, *(workload for curve in curves for _, workload in curve.points)]
    for each in _ENDING:
        if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup has it, and a shell's background jobs
            signal.signal(each, _on_signal)
    try:
        with TemporaryDirectory(prefix="mles-tx-bench-") as name:
            directory = Path(name)
            programs = build(directory)
            raise_descriptors(max(workload.connections for workload in every))
            if options.profile:
                return _profile(programs, directory, every[0], effort, options.output)
            kinds = {workload.kind for workload in every}
            with Bench(programs, directory, others, effort, kinds) as bench:
                return _measure(bench, programs, workloads, curves, options.output, others)
    except (BuildError, ServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except _Stopped as stopped:
        print("bench: stopped", file=sys.stderr)
        return 128 + stopped.number


def _profile(programs: Programs, directory: Path, workload: Workload, effort: Effort, output: Path) -> int:
    print(f"under cProfile: {workload.title}")
    try:
        file = profile(programs, directory, workload, effort, sys.stdout)
    except GeneratorError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    output.mkdir(parents=True, exist_ok=True)
    print(f"all of it: {shutil.copy(file, output)}")
    return 0


def _measure(
    bench: Bench,
    programs: Programs,
    workloads: Sequence[Workload],
    curves: Sequence[Curve],
    output: Path,
    others: Sequence[Target],
) -> int:
    """Measure, print as results come in, and write the files."""
    machine = facts(programs)
    note = "{cpu}, {cpus} CPUs; {python}, Twisted {twisted}, Linux {kernel}".format(**machine)
    flags = f"our server as shipped, with {' '.join(OUR_FLAGS)}"
    text: list[str] = []

    def say(*lines: str) -> None:
        text.extend(lines)
        print(*lines, sep="\n", flush=True)

    say(note, f"mles_tx {machine['mles_tx']}; {flags}; TLS, messages of 128 bytes where nothing else is said", "")
    tables: dict[str, list[Result]] = {}
    for reference, rows in groupby(workloads, lambda workload: workload.kind.references[0]):
        for workload in rows:
            servers = bench.names(workload.kind)
            if reference not in tables:
                say(*([""] if tables else []), header(servers, workload.kind))
            tables.setdefault(reference, []).append(bench.result(workload))
            say(*result_lines(tables[reference][-1], servers))
        say(NOTES[reference])
    results = [result for table in tables.values() for result in table]
    drawn: list[tuple[Curve, list[Result]]] = []
    for curve in curves:
        drawn.append((curve, [bench.result(workload) for _, workload in curve.points]))
        say("", *curve_lines(*drawn[-1], bench.names(Kind.FANOUT)))

    directory = output / datetime.now().strftime("%Y%m%d-%H%M%S")
    directory.mkdir(parents=True)
    every = {result.workload: result for result in [*results, *(one for _, points in drawn for one in points)]}
    document = {
        "machine": machine,
        "flags": list(OUR_FLAGS),
        "others": [{"url": other.name, "pids": other.pids} for other in others],
        "results": [result_json(result) for result in every.values()],
        "curves": [
            {"name": curve.name, "axis": curve.axis, "points": {size: point.name for size, point in curve.points}}
            for curve, _ in drawn
        ],
    }
    (directory / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (directory / "table.txt").write_text("\n".join(text) + "\n", "utf-8")
    for reference, table in tables.items():
        servers = bench.names(table[0].workload.kind)
        (directory / _CHARTS[reference]).write_text(bar_chart(table, servers, note), "utf-8")
    if drawn:
        (directory / "growth.svg").write_text(line_chart(drawn, bench.names(Kind.FANOUT), note), "utf-8")
    print(f"\nwritten to {directory}")
    broken = sum(bool(result.errors(server)) for result in every.values() for server in result.samples)
    if broken:
        print(f"bench: {broken} measurements have failed, see ERROR above", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
