"""The metrics of all workers, added up.

A worker says how it is with each of its metrics named and explained: the supervisor may be older than the worker. What
a worker has counted stays when it has ended.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mles_tx.metrics import MAX_DROPPED_ADDRESSES, MetricsSnapshot

from ..exported import Reading, families
from ..lag import LAG_BOUNDS, ReactorLag

__all__ = ["Totals", "TotalsCollector", "make_totals_registry", "process_readings"]

#: What of a snapshot only grows.
_COUNTED = (
    "total_messages_sent",
    "total_messages_received",
    "total_errors",
    "total_dropped_connections",
    "history_lost",
    "history_faults",
)

_RESTARTS = "mles_worker_restarts_total"

_START_TIME = "process_start_time_seconds"

_ADD: Mapping[str, Callable[[float, float], float]] = {"sum": lambda x, y: x + y, "min": min, "max": max}


def process_readings(process: Collector) -> Iterator[Reading]:
    """What is known of a process."""
    for family in process.collect():
        for sample in family.samples:
            yield Reading(sample.name, family.type, family.documentation, "", "sum", sample.value)


class Totals:
    """What all workers have counted together, those that have ended among them.

    Attributes:
        restarts: how many have ended by themselves and were started again.
    """

    def __init__(self) -> None:
        self._ended: list[Mapping[str, Any]] = []
        self.restarts = 0

    def ended(self, report: Mapping[str, Any] | None) -> None:
        """Keep what a worker had counted that has ended."""
        if report is not None:
            self._ended = [_counted([*self._ended, report])]

    def snapshot(self, reports: Sequence[Mapping[str, Any]]) -> MetricsSnapshot:
        """The numbers that are logged."""
        total = MetricsSnapshot(0, 0, 0, 0, 0, 0, {}, 0, 0, 0, {}, {})
        for report in reports:
            total = _joined(total, report["snapshot"])
        for report in self._ended:
            counted = {name: getattr(total, name) + report["snapshot"][name] for name in _COUNTED}
            dropped = _dropped(total.dropped_by_ip, report["snapshot"]["dropped_by_ip"])
            total = replace(total, dropped_by_ip=dropped, **counted)
        return total

    def readings(self, reports: Sequence[Mapping[str, Any]]) -> list[Reading]:
        """The metrics of all workers that run, with what others had counted."""
        found: dict[str, Reading] = {}
        for report in reports:
            _add(found, map(_reading, report["metrics"]))
        _add(found, [reading for reading in self._readings_of_ended("metrics") if reading.name in found])
        if _RESTARTS in found:
            found[_RESTARTS] = replace(found[_RESTARTS], value=float(self.restarts))
        return list(found.values())

    def process_readings(self, reports: Sequence[Mapping[str, Any]], own: Collector) -> list[Reading]:
        """The numbers of all processes together, of which one is the supervisor."""
        found: dict[str, Reading] = {}
        _add(found, process_readings(own))
        started = found.get(_START_TIME)
        for report in reports:
            _add(found, map(_reading, report["process"]))
        _add(found, self._readings_of_ended("process"))
        if started is not None:
            found[_START_TIME] = started
        return list(found.values())

    def lag(self, reports: Sequence[Mapping[str, Any]], own: ReactorLag) -> tuple[list[float], float]:
        """How late the reactors of all processes were: `ReactorLag.counts` and `ReactorLag.total`."""
        all_reports = [*reports, *self._ended]
        rows = [own.counts, *(report["lag"] for report in all_reports if len(report["lag"]) == len(LAG_BOUNDS) + 1)]
        return [float(sum(column)) for column in zip(*rows, strict=True)], own.total + sum(
            report["lag_total"] for report in all_reports
        )

    def _readings_of_ended(self, what: str) -> Iterator[Reading]:
        return (_reading(packed) for report in self._ended for packed in report[what])


def _reading(packed: Mapping[str, Any]) -> Reading:
    return Reading(**{field.name: packed[field.name] for field in fields(Reading)})


def _add(found: dict[str, Reading], readings: Iterable[Reading]) -> None:
    for reading in readings:
        before = found.get(reading.name)
        if before is None:
            found[reading.name] = reading
            continue
        add = _ADD.get(reading.adds_up, _ADD["sum"])
        one, other = before.value, reading.value
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            both = {label: add(one[label], other[label]) for label in one.keys() & other.keys()}
            found[reading.name] = replace(before, value={**one, **other, **both})
        elif not isinstance(one, Mapping) and not isinstance(other, Mapping):
            found[reading.name] = replace(before, value=add(one, other))


def _counted(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What of some reports stays, as one report."""
    found: dict[str, dict[str, Reading]] = {"metrics": {}, "process": {}}
    for report in reports:
        for what, readings in found.items():
            _add(readings, (_reading(packed) for packed in report[what] if packed["kind"] == "counter"))
    dropped: dict[str, int] = {}
    for report in reports:
        dropped = _dropped(dropped, report["snapshot"]["dropped_by_ip"])
    return {
        **{what: [asdict(reading) for reading in readings.values()] for what, readings in found.items()},
        "lag": [sum(column) for column in zip(*(report["lag"] for report in reports), strict=False)],
        "lag_total": sum(report["lag_total"] for report in reports),
        "snapshot": {
            **{name: sum(report["snapshot"][name] for report in reports) for name in _COUNTED},
            "dropped_by_ip": dropped,
        },
    }


def _dropped(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    both = {address: one.get(address, 0) + other.get(address, 0) for address in {**one, **other}}
    return dict(list(both.items())[-MAX_DROPPED_ADDRESSES:])


def _joined(one: MetricsSnapshot, other: Mapping[str, Any]) -> MetricsSnapshot:
    joined: dict[str, Any] = {}
    for field in fields(MetricsSnapshot):
        value = getattr(one, field.name)
        more = other.get(field.name, type(value)())
        if field.name == "dropped_by_ip":
            joined[field.name] = _dropped(value, more)
        else:
            joined[field.name] = {**more, **value} if isinstance(value, dict) else value + more
    return MetricsSnapshot(**joined)


class TotalsCollector(Collector):
    """Shows what all workers have counted.

    Args:
        name: the value of the label `server` of all of them.
        totals: what is added up.
        reports: gives the last report of each worker.
        lag: the lag of the supervisor's reactor.
    """

    def __init__(
        self, name: str, totals: Totals, reports: Callable[[], Sequence[Mapping[str, Any]]], lag: ReactorLag
    ) -> None:
        self._name = name
        self._totals = totals
        self._reports = reports
        self._lag = lag
        self._own = ProcessCollector(registry=None)

    def collect(self) -> Iterator[Metric]:
        reports = self._reports()
        readings = self._totals.readings(reports)
        lag, lag_total = self._totals.lag(reports, self._lag)
        builds = {tuple(sorted(report["versions"].items())): report["versions"] for report in reports}
        yield from families(self._name, readings, lag, lag_total, builds.values())
        for reading in self._totals.process_readings(reports, self._own):
            kind = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
            family = kind(reading.name, reading.help)
            family.add_metric((), float(reading.value))  # type: ignore[arg-type]
            yield family


def make_totals_registry(
    name: str, totals: Totals, reports: Callable[[], Sequence[Mapping[str, Any]]], lag: ReactorLag
) -> CollectorRegistry:
    """What `/metrics` of a server with workers shows."""
    registry = CollectorRegistry()
    registry.register(TotalsCollector(name, totals, reports, lag))
    return registry
