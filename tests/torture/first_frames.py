"""First frames that are far too large, and many small joins: what stays of them in memory."""

from contextlib import suppress

from tests.integration.clients import TEXT, frame, join_frame

from .peers import Peer, fresh_name
from .program import Option, Probe, Run, main

MIB = 1024 * 1024


def join_again_and_again(run: Run) -> None:
    """Send large first frames, then join and leave many times."""
    channel = fresh_name("joins")
    with Peer(run.target, "first", channel):
        pass
    usage = run.target.usage()
    before = usage.memory if usage else 0
    refused, codes = 0, set()
    for number in range(run.large):
        padded = join_frame(f"large{number}", channel).encode().ljust(MIB)
        with Peer(run.target) as peer:
            with suppress(OSError):
                peer.send(frame(TEXT, padded))
            refused += peer.ended()
            codes.add((peer.close or (0, ""))[0])
    run.equal("large first frames refused", refused, run.large)
    run.equal("with the code", codes <= {1009, 0} and bool(codes), True)
    for number in range(run.small):
        with Peer(run.target, f"small{number}", channel, history=0):
            pass
    usage = run.target.usage()
    if usage is None:
        run.unknown("memory", "its process is not known: --pid")
    else:
        run.below("memory grows by", (usage.memory - before) / MIB, 10, "MiB")
    run.no_faults()


PROBE = Probe(
    promise="200 first frames of 1 MB are refused; 1,500 small joins and leaves: memory grows by < 10 MiB",
    does=join_again_and_again,
    options=(Option("large", 200, "first frames of 1 MiB"), Option("small", 1500, "joins and leaves")),
)

if __name__ == "__main__":
    main(PROBE)
