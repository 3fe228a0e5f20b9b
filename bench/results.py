"""Figures: samples of a round, and what is made of several."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from .workloads import Workload

__all__ = ["Result", "Sample", "middle"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One server under one workload in one round; None: not known.

    Args:
        value: in the unit of the workload's kind.
        per_second: deliveries, joins or requests.
        p50_us: the median latency, of a delivery, a join or a request, in microseconds.
        p99_us: its 99th percentile.
        raw: all the generator has said.
        error: what went wrong; there are no figures then.
    """

    value: float | None = None
    per_second: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    raw: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def middle(values: Sequence[float | None]) -> float | None:
    """The median of those that are known."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


@dataclass(slots=True)
class Result:
    """A workload with the samples of each server, in the order of the rounds."""

    workload: Workload
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, server: str, sample: Sample) -> None:
        """Keep a sample."""
        self.samples.setdefault(server, []).append(sample)

    def errors(self, server: str) -> list[str]:
        """What went wrong with a server, each once."""
        return list(dict.fromkeys(sample.error for sample in self.samples.get(server, ()) if sample.error))

    def value(self, server: str) -> float | None:
        """The median of the rounds."""
        return middle([sample.value for sample in self.samples.get(server, ())])

    def ratio(self, server: str, other: str) -> float | None:
        """A server's value over another's: the median of the rounds' ratios.

        The two were measured one after the other in each round, so that what the machine did meanwhile is in both.
        """
        pairs = zip(self.samples.get(server, ()), self.samples.get(other, ()), strict=False)
        return middle([one.value / two.value if one.value and two.value else None for one, two in pairs])

    def verdict(self, server: str) -> str:
        """`ok` or `over`, as the promised ratio to the first reference is kept or not; empty: not known."""
        reference = self.workload.kind.references[0]
        ratio = self.ratio(server, reference)
        if self.workload.promise is None or ratio is None or server == reference:
            return ""
        return "ok" if ratio <= self.workload.promise else "over"
