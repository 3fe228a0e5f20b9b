"""Runs the load generators, and makes a sample of what they print."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .build import Programs
from .pages import Page
from .results import Sample
from .servers import Target, resident_bytes
from .workloads import Kind, Workload

__all__ = ["GeneratorError", "check_body", "fill", "measure", "measure_pair", "parse"]

#: Seconds in which a run is over, whatever happens: it gives up by itself when nothing moves for 20.
_LONGEST = 600.0

#: Idle members that are there before memory is read the first time, so that what comes once is not counted.
_FIRST_MEMBERS = 500


class GeneratorError(Exception):
    """The measurement has failed; the text says how."""


def parse(line: str, kind: Kind) -> Sample:
    """The sample in a line of the load generator.

    Raises:
        GeneratorError: it tells of an error, of lost messages, or is not such a line.
    """
    raw = _load(line)
    try:
        cpu = raw["server_cpu_s"]
        latency = raw["latency_us"]
        if kind is Kind.JOIN:
            count, per = raw["joins"], 1e3
        elif kind is Kind.WEB:
            count, per = raw["requests"], 1e6
        else:
            count, per = raw["deliveries"], 1e6
            faults = [
                f"{raw[key]} {text}" for key, text in (("lost", "lost"), ("out_of_order", "out of order")) if raw[key]
            ]
            if faults:
                raise GeneratorError(f"messages: {', '.join(faults)}")
        if not count:
            raise GeneratorError("nothing was delivered or answered while it was measured")
        value = None if cpu is None else float(cpu) * per / count
        return Sample(value, count / raw["seconds"], latency["p50"], latency["p99"], raw)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise GeneratorError(f"not understood: {line!r} ({error!r})") from None


def _load(line: str) -> dict[str, Any]:
    try:
        raw = json.loads(line)
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raise GeneratorError(f"the load generator says {line!r}")
    if "error" in raw:
        raise GeneratorError(str(raw["error"]))
    return raw


@contextmanager
def _running(command: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _run(command: Sequence[str]) -> str:
    with _running(command) as process:
        try:
            output, _ = process.communicate(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            raise GeneratorError(f"it has not ended after {_LONGEST:.0f} s") from None
        return output.strip() or f"no output, exit code {process.returncode}"


def fill(program: Path, target: Target, channel: str, messages: int) -> None:
    """Give the first channel of a prefix a history of some messages."""
    _load(_run([str(program), *target.arguments, "-m", "fill", "-N", channel, "-n", str(messages)]))


def check_body(raw: Mapping[str, Any], page: Page) -> None:
    """Make sure that the answers had the file in them, whole.

    Raises:
        GeneratorError: their bodies cannot be that file, compressed or not.
    """
    size = raw["body_bytes"]
    if not 0 < size <= page.size or (size < page.size and not page.is_text):
        raise GeneratorError(f"{page.name} has come with {size} bytes, and has {page.size}")


def measure(programs: Programs, target: Target, workload: Workload, seconds: float, warm_up: float) -> Sample:
    """Put a server under a load once.

    Raises:
        GeneratorError: it went wrong; there are no figures then.
        ServerError: the server is gone.
    """
    if workload.page is not None and workload.kind is Kind.WEB:
        command = [str(programs.web_generator), *target.arguments, *workload.arguments(seconds, warm_up)]
        sample = parse(_run(command), workload.kind)
        check_body(sample.raw, workload.page)
        return sample
    channel = f"bench-{os.urandom(6).hex()}"
    command = [str(programs.generator), *target.arguments, "-N", channel, *workload.arguments(seconds, warm_up)]
    if workload.kind is Kind.IDLE:
        return _measure_memory(command, target, workload.count)
    if workload.history:
        fill(programs.generator, target, channel, workload.history)
    sample = parse(_run(command), workload.kind)
    return replace(sample, value=sample.p99_us) if workload.kind is Kind.PAIR else sample


def measure_pair(programs: Programs, target: Target, workload: Workload, seconds: float, warm_up: float) -> Sample:
    """The latency between two members while static files are asked for as fast as they come.

    Raises:
        GeneratorError: one of the two loads went wrong.
        ServerError: the server is gone.
    """
    assert workload.page is not None
    with _running([str(programs.web_generator), *target.arguments, *workload.web_arguments(0, warm_up)]) as asking:
        assert asking.stdout is not None
        _load(asking.stdout.readline())
        sample = measure(programs, target, workload, seconds, warm_up)
        output, _ = asking.communicate(timeout=_LONGEST)  # its input has ended
    web = parse(output.strip(), Kind.WEB)
    check_body(web.raw, workload.page)
    return replace(sample, per_second=web.per_second, raw={"members": sample.raw, "web": web.raw})


def _measure_memory(command: Sequence[str], target: Target, count: int) -> Sample:
    """What each member beyond the first ones adds to the server's memory, in KiB."""
    if not target.pids:
        return Sample(None, None, None, None, {})
    with _running(command) as process:
        first = _hold(process, _FIRST_MEMBERS, target)
        last = _hold(process, count, target)
        process.communicate("", timeout=_LONGEST)
    value = (last - first) / (count - _FIRST_MEMBERS) / 1024
    return Sample(value, None, None, None, {"first_bytes": first, "last_bytes": last, "members": count})


def _hold(process: "subprocess.Popen[str]", members: int, target: Target) -> int:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{members}\n")
    process.stdin.flush()
    _load(process.stdout.readline())
    return resident_bytes(target.pids)
