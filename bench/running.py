"""The measurements: which server runs when, and in which order they are put under load."""

import resource
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from .build import Programs
from .generator import GeneratorError, measure, measure_pair
from .pages import PAGE
from .results import Result, Sample
from .servers import Process, ServerError, Target, start_floor, start_naive, start_ours, start_plain, stop_all
from .workloads import Kind, Workload

__all__ = ["Bench", "Effort", "raise_descriptors"]

#: What a server needs beside one descriptor for each connection: files, and a reserve of ours.
_SPARE_DESCRIPTORS = 1000

_PROBE = Workload("probe", "does it answer?", Kind.JOIN, count=1)
_WEB_PROBE = Workload("probe", "does it answer?", Kind.WEB, count=1, page=PAGE)


class Effort:
    """How much is measured.

    Args:
        rounds: how often each workload is measured, unless it wants less.
        seconds: how long messages are measured in a round.
    """

    def __init__(self, rounds: int, seconds: float) -> None:
        self.rounds = rounds
        self.seconds = seconds
        self.warm_up = min(0.5, seconds / 2)


def raise_descriptors(connections: int) -> None:
    """Let the servers have as many descriptors as they may, and as root as many as they need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_DESCRIPTORS
    if hard not in (-1, resource.RLIM_INFINITY) and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (ValueError, OSError):
            pass  # not root: the workload that needs more says so
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Bench:
    """The servers side by side, and the measurements. It is a context: at its end no process of it is left.

    Args:
        programs: the load generators and the floor.
        directory: for certificates and logs.
        others: servers that run already.
        effort: how much is measured.
        kinds: what is going to be measured: servers that none of it needs are not started.
    """

    def __init__(
        self, programs: Programs, directory: Path, others: Sequence[Target], effort: Effort, kinds: Collection[Kind]
    ) -> None:
        self._programs = programs
        self._directory = directory
        self._effort = effort
        self._processes: list[Process] = []
        self._others = list(others)
        self._starts: dict[str, Callable[[], Target]] = {
            "ours": lambda: start_ours(directory),  # the first one: the others take its certificate and files
            "naive": lambda: start_naive(directory),
            "floor": lambda: start_floor(directory, programs.floor),
            "plain": lambda: start_plain(directory),
        }
        needed = {"ours"}.union(*(kind.references for kind in kinds))
        self._needed = [name for name in self._starts if name in needed]
        self._own: dict[str, Target] = {}
        self._done: dict[Workload, Result] = {}

    def __enter__(self) -> "Bench":
        try:
            for name in self._needed:
                self._own[name] = self._start(self._starts[name])
            for other in self._others:
                self._probe(other)
        except BaseException:
            stop_all(self._processes)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop_all(self._processes)

    def names(self, kind: Kind) -> list[str]:
        """What the lines of a kind of workload are called, ours first."""
        others = [] if kind in (Kind.WEB, Kind.PAIR) else [other.name for other in self._others]
        return [kind.subject, *kind.references, *others]

    def result(self, workload: Workload) -> Result:
        """Measure a workload on all servers in turn, round by round. Equal workloads are measured once."""
        if workload not in self._done:
            self._done[workload] = self._measure(workload)
        return self._done[workload]

    def _measure(self, workload: Workload) -> Result:
        result = Result(workload)
        rounds = min(self._effort.rounds, workload.most_rounds or self._effort.rounds)
        for number in range(rounds):
            if workload.history is not None:
                start = partial(start_ours, self._directory, workload.history)
                result.add("ours", self._sample_fresh(start, workload, number))
                continue
            if workload.kind is Kind.PAIR:
                for name in reversed(self.names(workload.kind)):
                    target = self._own["ours"]
                    result.add(name, self._sample(target, workload, number, name))
                    if result.samples[name][-1].error:
                        self._revive(target)
                continue
            own = [self._own[name] for name in self.names(workload.kind) if name in self._starts]
            for target in [*own, *([] if workload.kind is Kind.WEB else self._others)]:
                if workload.kind is Kind.IDLE and target.process is not None:
                    sample = self._sample_fresh(self._starts[target.name], workload, number)
                else:
                    sample = self._sample(target, workload, number)
                    if sample.error:
                        self._revive(target)
                result.add(target.name, sample)
        return result

    def _sample_fresh(self, start: Callable[[], Target], workload: Workload, number: int) -> Sample:
        """One run on a server that is started for it."""
        try:
            target = self._start(start)
        except ServerError as error:
            return Sample(error=str(error))
        try:
            return self._sample(target, workload, number)
        finally:
            self._stop(target)

    def _sample(self, target: Target, workload: Workload, number: int, name: str = "") -> Sample:
        """One run. What goes wrong is a sample as well."""
        print(f"{workload.name}: round {number + 1}, {name or target.name}", file=sys.stderr, flush=True)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = workload.connections + _SPARE_DESCRIPTORS
        if target.process is not None and limit != resource.RLIM_INFINITY and limit < needed:
            return Sample(error=f"needs {needed} descriptors, the limit is {limit}: raise it (ulimit -Hn, fs.nr_open)")
        try:
            seconds, warm_up = self._effort.seconds, self._effort.warm_up
            run = measure_pair if name == Kind.PAIR.subject else measure
            sample = run(self._programs, target, workload, seconds, warm_up)
            if target.process is not None:
                target.process.check()
        except (GeneratorError, ServerError) as error:
            return Sample(error=_why(target, error))
        return sample

    def _revive(self, target: Target) -> None:
        """Start one of our own servers again after something went wrong with it; the old one may be dead or busy."""
        if target.process is None:
            return
        self._stop(target)
        with suppress(ServerError):  # then its other measurements fail as well, and say why
            self._own[target.name] = self._start(self._starts[target.name])

    def _start(self, start: Callable[[], Target]) -> Target:
        target = start()
        assert target.process is not None
        self._processes.append(target.process)
        try:
            self._probe(target)
        except ServerError:
            self._stop(target)
            raise
        return target

    def _stop(self, target: Target) -> None:
        assert target.process is not None
        target.process.stop()
        if target.process in self._processes:
            self._processes.remove(target.process)

    def _probe(self, target: Target) -> None:
        """Join it once: whether it answers at all.

        Raises:
            ServerError: it does not.
        """
        try:
            probe = _WEB_PROBE if target.name == "plain" else _PROBE
            measure(self._programs, replace(target, pids=()), probe, 0.1, 0.0)
        except GeneratorError as error:
            raise ServerError(f"{target.name} does not answer: {_why(target, error)}") from None


def _why(target: Target, error: Exception) -> str:
    """What went wrong, and whether the server has ended over it."""
    try:
        if target.process is not None:
            target.process.check()
    except ServerError as ended:
        return str(error) if str(ended) == str(error) else f"{error}; {ended}"
    return str(error)
