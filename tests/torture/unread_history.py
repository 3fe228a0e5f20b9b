"""Members join a channel with a full history and never read a byte of it."""

import time

from .peers import Peer, fresh_name, history_of
from .program import Option, Probe, Run, main

KIB, MIB = 1024, 1024 * 1024


def join_and_never_read(run: Run) -> None:
    """Fill a history, then join without reading, and look at the memory for a while."""
    channel, size = fresh_name("full"), 64 * KIB
    with Peer(run.target, "publisher", channel, history=0) as publisher:
        for number in range(run.megabytes * MIB // size):
            publisher.say((b"%08d" % number).ljust(size, b"."))
        publisher.settle()
        usage = run.target.usage()
        before = most = usage.memory if usage else 0
        silent = [
            Peer(run.target, f"silent{number}", channel, receive_buffer=4 * KIB, settle=False)
            for number in range(run.members)
        ]
        # Their histories have begun to come; on a busy machine that may take a while.
        run.equal("members the server answers", sum(peer.begun() for peer in silent), run.members)
        end = time.monotonic() + run.seconds
        while time.monotonic() < end:
            usage = run.target.usage()
            most = max(most, usage.memory if usage else 0)
            time.sleep(0.1)
        if run.target.pids:
            # A copy of the history for each would be fifteen times as much.
            run.below(f"memory grows, for {run.members} members, by", (most - before) / MIB, 32, "MiB")
        else:
            run.unknown("memory", "its process is not known: --pid")
        run.equal("who reads gets its history", {len(payload) for payload in history_of(run.target, channel)}, {size})
        for peer in silent:
            peer.drop()
    run.no_faults()


PROBE = Probe(
    promise="50 members join and never read a full history: memory bounded, nobody else notices",
    does=join_and_never_read,
    options=(
        Option("members", 50, "how many never read"),
        Option("megabytes", 9, "how much the history holds"),
        Option("seconds", 10.0, "how long they stay"),
    ),
    flags=("--rate-limit", "0"),
)

if __name__ == "__main__":
    main(PROBE)
