"""Runs the probes and prints what came of each promise: ``python -m tests.torture [NAME ...]``, or `make torture`.

Each probe is a program of its own, ``python -m tests.torture.NAME``, which starts the installed server unless it is
given a ``--url``. The exit code is 1 when a promise is broken, and otherwise 2 when something that was to be found out
could not be.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from .findings import Finding, Verdict

#: What is run, in this order: the probe and its options.
CASES: tuple[tuple[str, ...], ...] = (
    ("stopped_reader",),
    ("stopped_reader", "--plain"),
    ("unread_history",),
    ("vanishing",),
    ("vanishing", "--plain"),
    ("idle_members",),
    ("time_wasters",),
    ("refused_join",),
    ("burst",),
    ("burst", "--plain", "--messages", "700"),
    ("first_frames",),
    ("oversized",),
    ("oversized", "--plain"),
    ("hostile_frames",),
    ("hostile_paths",),
    ("hostile_hosts",),
    ("hostile_hosts", "--plain"),
    ("handshake_flood",),
    ("few_descriptors",),
    ("few_descriptors", "--plain"),
    ("wall_clock",),
    ("authority_down",),
    ("renewal",),
    ("killed",),
    ("killed", "--durability", "strict"),
    ("power_cut",),
    ("full_disk",),
    ("full_disk", "--durability", "strict"),
    ("redis_outage",),
    ("lossy_link",),
    ("ending",),
    ("signals",),
    ("many_names",),
    ("secrets",),
    ("key_files",),
    ("as_root",),
    ("pings",),
    ("same_uid",),
    ("tls_policy",),
)

#: What a probe is ended after, seconds: none takes nearly that long.
_LONGEST = 900.0


def run(case: Sequence[str], more: Sequence[str]) -> tuple[list[Finding], str]:
    """Run a probe; what it has found, and what it has complained about."""
    command = [sys.executable, "-m", f"tests.torture.{case[0]}", *case[1:], *more, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, errors = process.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, errors = process.communicate()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    findings = [Finding.from_json(json.loads(line)) for line in output.splitlines()]
    if not findings or process.returncode not in (0, 1):
        findings.append(Finding("done", f"exit code {process.returncode}", "to the end", Verdict.BROKEN))
    return findings, errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, count; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="Put the promises to the test.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of the probes; else all of them")
    parser.add_argument("--list", action="store_true", help="show the probes, and exit")
    parser.add_argument("--untimed", action="store_true", help="judge only what is lost and closed")
    parser.add_argument(
        "--priority", action="store_true", help="as root, on a busy machine: the pair and the server before all others"
    )
    options = parser.parse_args(arguments)
    names = list(dict.fromkeys(case[0] for case in CASES))
    if options.list:
        for name in names:
            print(name)
        return 0
    unknown = set(options.names) - set(names)
    if unknown:
        parser.error(f"no such probe: {', '.join(sorted(unknown))}; --list shows them")
    more = [f"--{name}" for name in ("untimed", "priority") if getattr(options, name)]
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{os.cpu_count()} CPUs, load {load} before it begins" + (", with --priority" if options.priority else ""))
    found: list[Finding] = []
    for case in CASES:
        if options.names and case[0] not in options.names:
            continue
        began = time.monotonic()
        findings, errors = run(case, more)
        found += findings
        print(f"\n{' '.join(case)} ({time.monotonic() - began:.0f} s): {_promise(case[0])}")
        for finding in findings:
            print(finding.line(), flush=True)
        if errors:
            print(errors[-2000:], file=sys.stderr, flush=True)
    counts = {verdict: sum(finding.verdict is verdict for finding in found) for verdict in Verdict}
    print("\n" + ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items()))
    return 1 if counts[Verdict.BROKEN] else 2 if counts[Verdict.UNKNOWN] else 0


def _promise(name: str) -> str:
    module = __import__(f"tests.torture.{name}", fromlist=["PROBE"])
    return str(module.PROBE.promise)


if __name__ == "__main__":
    sys.exit(main())
