"""Thousands of members who do nothing: what each takes, and whether a second wave takes more."""

import subprocess
from pathlib import Path

from bench.build import BuildError, build

from .program import Option, Probe, Run, main

KIB = 1024

#: Descriptors that may be open for other reasons.
_SPARE = 8


def hold(run: Run) -> None:
    """Hold members, let them go, and hold as many again."""
    try:
        generator = build(run.directory()).generator
    except BuildError as error:
        run.unknown("members held", str(error))
        return
    usage = run.target.usage()
    if usage is None:
        run.unknown("memory", "its process is not known: --pid")
    first = _wave(run, generator)
    if usage is not None:
        run.descriptors_beyond(usage, _SPARE)  # it lets go of them
    second = _wave(run, generator)
    run.equal("members held, twice", "all" if first and second else "not all", "all")
    if usage is not None and first and second:
        grown = first - usage.memory
        run.below("memory of a member, all in", grown / run.members / KIB, 80, "KiB")
        run.below("a second wave adds", 100 * (second - first) / grown, 5, "%")
        run.below("descriptors that stay open", run.descriptors_beyond(usage, _SPARE), _SPARE)
    run.no_faults()


def _wave(run: Run, generator: Path) -> int:
    """Hold members once; the memory of the server while they are there, 0 when they cannot be held."""
    target = run.target
    command = [str(generator), "-m", "hold", "-a", "127.0.0.1", "-o", target.host, "-p", str(target.port)]
    command += ["-t", str(int(target.is_secure)), "-n", str(run.members), "-c", str(run.channels), "-N", "idle"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{run.members}\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if f'"members": {run.members}' not in line:
            return 0
        usage = target.usage()
        return usage.memory if usage else 1
    finally:
        process.communicate("", timeout=60)


PROBE = Probe(
    promise="8,000 idle TLS members: held; at most 80 KiB each all in; a second wave adds less than 5 %",
    does=hold,
    options=(Option("members", 8000, "how many"), Option("channels", 100, "on how many channels")),
)

if __name__ == "__main__":
    main(PROBE)
