"""What histories and several processes cost: ``python -m bench.scaling``.

The same server with each kind of history and with several workers, under the same loads in turn. Beside its own CPU
time stands that of Redis, the backplane. The exit code is 0, or 1 when a measurement has failed, or 2 when none could
begin.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from .build import BuildError, Programs, build
from .generator import GeneratorError, measure
from .machine import facts
from .report import figure, latency
from .results import Sample, middle
from .running import raise_descriptors
from .servers import Process, ServerError, Target, stop_all
from .stores import VARIANTS, Variant, cpu_seconds, start_redis, start_variant
from .workloads import Kind, Workload

__all__ = ["LOADS", "Cost", "lines", "main"]

_RESULTS = Path(__file__).parent / "results"

LOADS = (
    Workload("saturated", "1x100, P1, W32: saturated fan-out", window=32),
    Workload("deep", "1x100, P1, W256: the same, deeper window", window=256),
    Workload("large", "1x1000, P1, W256: many members", subscribers=1000, window=256),
    Workload("one-at-a-time", "1x100, P1, W1: one message at a time", window=1),
    Workload("small-channels", "100x1, P1, W8: many small channels", channels=100, subscribers=1, window=8),
    Workload("publish", "1x1, P8, W256: messages on one channel", subscribers=1, publishers=8, window=256),
    Workload("join", "join with 200 messages of history", Kind.JOIN, count=200, history=200),
    Workload("idle", "memory of an idle TLS member", Kind.IDLE, count=2500, most_rounds=1),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """One run.

    Attributes:
        sample: what the load generator has measured: the CPU of all processes of the server.
        redis: CPU of Redis for each second of CPU of the server; 0.0: it has none.
    """

    sample: Sample
    redis: float = 0.0

    @property
    def messages(self) -> float | None:
        """Messages a second; None: it is not about messages."""
        raw = self.sample.raw
        return raw["sent"] / raw["seconds"] if raw.get("sent") else None

    def redis_us(self, workload: Workload) -> float | None:
        """Microseconds of Redis for each message, or each join."""
        if self.sample.value is None or not self.redis or workload.kind is Kind.IDLE:
            return None
        per_server = self.sample.value * (1e3 if workload.kind is Kind.JOIN else workload.subscribers)
        return per_server * self.redis


def lines(workload: Workload, costs: dict[str, list[Cost]]) -> list[str]:
    """The lines of a load in the table, one for each way the server was run."""
    first = next(iter(costs))
    found = []
    for name, runs in costs.items():
        errors = dict.fromkeys(run.sample.error for run in runs if run.sample.error)
        value = middle([run.sample.value for run in runs])
        pairs = zip(runs, costs[first], strict=False)
        ratio = middle(
            [a.sample.value / b.sample.value if a.sample.value and b.sample.value else None for a, b in pairs]
        )
        share = middle([run.redis / (1 + run.redis) for run in runs])
        cells = (
            f"{figure(value)} {workload.kind.unit}" if value is not None else "-",
            figure(ratio),
            figure(middle([run.sample.per_second for run in runs])),
            figure(middle([run.messages for run in runs])),
            latency(middle([run.sample.p50_us for run in runs])),
            f"{share:.0%}" if share else "",
            figure(middle([run.redis_us(workload) for run in runs])) if share else "",
        )
        title = workload.title if name == first else ""
        found.append(f"{title:<41} {name:<10}" + "".join(f"{cell:>12}" for cell in cells).rstrip())
        found += [f"{'':<41} {name:<10} ERROR: {error}" for error in errors]
    return found


def _header() -> str:
    titles = ("cost", "÷ memory", "per second", "messages/s", "p50", "Redis has", "Redis, µs")
    return f"{'workload':<41} {'server':<10}" + "".join(f"{title:>12}" for title in titles)


_NOTE = """\
cost: CPU of all processes of the server for each delivery (µs) or join (ms), or their memory for each idle member
(KiB); median of rounds, and of their ratios. per second: deliveries or joins.
Redis has: its part of the CPU of server and Redis together. Redis, µs: its CPU for each message, or each join."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=(__doc__ or "").partition("\n")[0])
    names = [workload.name for workload in LOADS]
    variants = [variant.name for variant in VARIANTS]
    parser.add_argument("--only", action="append", choices=names, default=[], help="this load; may be given again")
    parser.add_argument("--server", action="append", choices=variants, default=[], help="this way to run it; likewise")
    parser.add_argument("--redis", metavar="PROGRAM", help="the Redis or Valkey server, if it is not installed")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each is measured")
    parser.add_argument("--seconds", type=float, default=1.5, metavar="S", help="how long a round measures messages")
    parser.add_argument("--output", metavar="DIR", type=Path, default=_RESULTS, help="where results go")
    options = parser.parse_args(arguments)
    loads = [load for load in LOADS if load.name in (options.only or names)]
    chosen = [variant for variant in VARIANTS if variant.name in (options.server or variants)]
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds: more than nothing")
    try:
        with TemporaryDirectory(prefix="mles-tx-bench-") as name:
            return _run(Path(name), loads, chosen, options)
    except (BuildError, ServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def _run(directory: Path, loads: Sequence[Workload], chosen: Sequence[Variant], options: argparse.Namespace) -> int:
    programs = build(directory)
    raise_descriptors(max(load.connections for load in loads))
    processes: list[Process] = []
    text: list[str] = []

    def say(*more: str) -> None:
        text.extend(more)
        print(*more, sep="\n", flush=True)

    costs: dict[str, dict[str, list[Cost]]] = {}
    try:
        redis, socket = None, None
        if any(variant.is_on_redis for variant in chosen):
            redis, socket = start_redis(directory, options.redis)
            processes.append(redis)
        targets = []
        for number, variant in enumerate(chosen):
            targets.append(start_variant(directory, variant, socket, number))
            processes.insert(0, targets[-1].process)  # type: ignore[arg-type]
        machine = facts(programs)
        say("{cpu}, {cpus} CPUs; {python}, Twisted {twisted}, Linux {kernel}".format(**machine), "", _header())
        for load in loads:
            costs[load.name] = {target.name: [] for target in targets}
            for _ in range(min(options.rounds, load.most_rounds or options.rounds)):
                for variant, target in zip(chosen, targets, strict=True):
                    pid = redis.pid if redis is not None and variant.is_on_redis else None
                    costs[load.name][target.name].append(_measure(programs, target, load, options.seconds, pid))
            say(*lines(load, costs[load.name]))
        say(_NOTE)
    finally:
        stop_all(processes)
    place = options.output / f"scaling-{datetime.now():%Y%m%d-%H%M%S}"
    place.mkdir(parents=True)
    every = {name: {server: [asdict(run) for run in runs] for server, runs in by.items()} for name, by in costs.items()}
    (place / "results.json").write_text(json.dumps({"machine": machine, "results": every}, indent=1) + "\n", "utf-8")
    (place / "table.txt").write_text("\n".join(text) + "\n", "utf-8")
    print(f"\nwritten to {place}")
    return int(any(run.sample.error for by in costs.values() for runs in by.values() for run in runs))


def _measure(programs: Programs, target: Target, load: Workload, seconds: float, redis: int | None) -> Cost:
    """One run; what goes wrong is a cost as well."""
    try:
        server_before, redis_before = cpu_seconds(target.pids), cpu_seconds([redis] if redis else [])
        sample = measure(programs, target, load, seconds, min(0.5, seconds / 2))
        server = cpu_seconds(target.pids) - server_before
        backplane = cpu_seconds([redis] if redis else []) - redis_before
    except (GeneratorError, ServerError, OSError) as error:
        return Cost(Sample(error=str(error)))
    return Cost(sample, backplane / server if server else 0.0)


if __name__ == "__main__":
    sys.exit(main())
