"""The results as text and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from .results import Result, middle
from .workloads import Curve, Kind

__all__ = ["NOTES", "curve_lines", "figure", "header", "latency", "result_json", "result_lines"]

#: What stands below the tables, by the first of their references.
NOTES = {
    "naive": """\
cost: CPU of the server for each delivery (µs) or join (ms), or its memory for each idle member (KiB); median of rounds.
ratios: the median of the rounds' ratios. promise: the largest ratio to naive. p50, p99: of a delivery or of a join.""",
    "plain": """\
cost: CPU of the server for each request, over 32 connections that are kept open and say what browsers take.
plain: twisted.web.static.File in a Site. p50, p99: of a whole answer, with every connection waiting in line.""",
    "alone": """\
cost: the p99 of a message between two members of our server, while 32 connections ask for files as fast as they can,
and alone. The server, the members and those who ask share the cores. per second: of messages, or of files served.""",
}

_TITLE = 41


def figure(value: float | None) -> str:
    """A number with three digits that count."""
    if value is None:
        return "-"
    for limit, digits in ((0.1, 4), (1, 3), (10, 2), (100, 1)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def latency(microseconds: float | None) -> str:
    """A time in the unit that suits it."""
    if microseconds is None:
        return "-"
    for limit, divisor, unit in ((1e3, 1, "µs"), (1e6, 1e3, "ms")):
        if microseconds < limit:
            return f"{figure(microseconds / divisor)} {unit}"
    return f"{figure(microseconds / 1e6)} s"


def header(servers: Sequence[str], kind: Kind = Kind.FANOUT) -> str:
    """The first line of the table that a kind of workload is in."""
    one, other, *_ = (*(f"÷ {name}" for name in kind.references), "")
    titles = _columns("cost", one, other, "promise", "per second", "p50", "p99")
    return f"{'workload':<{_TITLE}} {'server':<{_width(servers)}} {titles}"


def result_lines(result: Result, servers: Sequence[str]) -> Iterator[str]:
    """A workload's lines in the table, one for each server and one for each error."""
    promise = result.workload.promise
    one, other, *_ = (*result.workload.kind.references, "")
    for server in [server for server in servers if server in result.samples]:
        samples = result.samples[server]
        title = result.workload.title if server == servers[0] else ""
        value = result.value(server)
        verdict = result.verdict(server) if server == servers[0] else ""
        cells = _columns(
            f"{figure(value)} {result.workload.kind.unit}" if value is not None else "-",
            figure(result.ratio(server, one)),
            figure(result.ratio(server, other)) if other else "",
            f"≤ {promise:.2f} {verdict:<4}" if promise is not None and server == servers[0] else "",
            figure(middle([sample.per_second for sample in samples])),
            latency(middle([sample.p50_us for sample in samples])),
            latency(middle([sample.p99_us for sample in samples])),
        )
        yield f"{title:<{_TITLE}} {server:<{_width(servers)}} {cells}".rstrip()
        for error in result.errors(server):
            yield f"{'':<{_TITLE}} {server:<{_width(servers)}} ERROR: {error}"


def _width(servers: Sequence[str]) -> int:
    return max(len("server"), *map(len, servers))


def _columns(*cells: str) -> str:
    return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, (11, 8, 8, 12, 11, 9, 9), strict=True))


def curve_lines(curve: Curve, results: Sequence[Result], servers: Sequence[str]) -> Iterator[str]:
    """A curve as a small table: a column for each size, a line for each server."""
    yield f"{curve.title} ({results[0].workload.kind.unit})"
    yield f"  {curve.axis:<{_TITLE}}" + "".join(f"{size:>10,}" for size, _ in curve.points[: len(results)])
    for server in servers:
        if any(server in result.samples for result in results):
            yield f"  {server:<{_TITLE}}" + "".join(f"{_cell(result, server):>10}" for result in results)
    for result in results:
        for server in servers:
            for error in result.errors(server):
                yield f"  ERROR: {result.workload.title}, {server}: {error}"


def _cell(result: Result, server: str) -> str:
    return "ERROR" if result.errors(server) else figure(result.value(server))


def result_json(result: Result) -> dict[str, Any]:
    """A workload with all that was measured."""
    return {
        **asdict(result.workload),
        "kind": result.workload.kind.name.lower(),
        "unit": result.workload.kind.unit,
        "servers": {
            server: {
                "value": result.value(server),
                **{f"ratio_to_{other}": result.ratio(server, other) for other in result.workload.kind.references},
                "verdict": result.verdict(server) if server == result.workload.kind.subject else "",
                "errors": result.errors(server),
                "rounds": [asdict(sample) for sample in samples],
            }
            for server, samples in result.samples.items()
        },
    }
