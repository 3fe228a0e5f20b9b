"""Very many source addresses, and very many channels: what is remembered of them."""

import time

from tests.ports import free_port

from .admin import metric
from .peers import Peer, fresh_name
from .program import Option, Probe, Run, main

MIB = 1024 * 1024


def come_from_everywhere(run: Run) -> None:
    """Connect once from each address, then again from as many others; join each channel once."""
    first = run.target.usage()
    _knock(run, 0)
    time.sleep(2.5)
    second = run.target.usage()
    _knock(run, run.addresses)
    time.sleep(2.5)
    third = run.target.usage()
    if first is None or second is None or third is None:
        run.unknown("memory of addresses", "its process is not known: --pid")
    else:
        run.below(f"{run.addresses} addresses add", (second.memory - first.memory) / MIB, 16, "MiB")
        run.below("as many others add", (third.memory - second.memory) / MIB, 4, "MiB")

    before = run.target.usage()
    half = None
    for number in range(run.channels):
        with Peer(run.target, "passer-by", fresh_name(f"channel{number}"), history=0):
            pass
        if number == run.channels // 2:
            half = run.target.usage()
    after = run.target.usage()
    if before is None or half is None or after is None:
        run.unknown("memory of channels", "its process is not known: --pid")
    else:
        run.below("memory the second half of the channels adds", (after.memory - half.memory) / MIB, 8, "MiB")
    if run.admin:
        channels = metric(run.admin, "mles_channels")
        run.below("channels remembered", channels, run.most + 1)
    else:
        run.unknown("channels remembered", "its metrics are not known")
    run.no_faults()


def _knock(run: Run, start: int) -> None:
    """Connect from addresses of this machine, each another one."""
    for number in range(start, start + run.addresses):
        source = f"127.{2 + number // 60_000}.{number // 250 % 240}.{1 + number % 250}"
        run.target.dial(source=source).close()


def set_up(run: Run) -> None:
    """Our server with short windows, few channels and metrics."""
    run.options.admin = free_port() if run.is_ours else 0
    # The pair and the passers-by come from one address, again and again.
    limits = ("--per-ip-limit", "99999", "--per-ip-window", "1", "--max-channels", str(run.most))
    run.start(*limits, "--admin", f"tcp:{run.admin}")


PROBE = Probe(
    promise="20,000 source addresses, 20,000 channels: tables shrink again; caps hold",
    does=come_from_everywhere,
    options=(
        Option("addresses", 20_000, "how many, twice"),
        Option("channels", 20_000, "how many"),
        Option("most", 1000, "channels it may remember"),
        Option("admin", 0, "the port of its metrics on this machine"),
    ),
    setup=set_up,
)

if __name__ == "__main__":
    main(PROBE)
