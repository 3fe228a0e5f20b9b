"""A member stops reading while much is published to its channel."""

import time
from collections.abc import Callable

from .peers import PATIENCE, Crowd, Peer, fresh_name
from .program import Option, Probe, Run, main

KIB, MIB = 1024, 1024 * 1024

#: So many messages are on their way before they are waited for: who reads is never far behind.
_STEP = 16


def stop_reading(run: Run) -> None:
    """Publish to two members who read and one who does not."""
    channel, size = fresh_name("slow"), run.kilobytes * KIB
    count = run.megabytes * MIB // size
    publisher = Peer(run.target, "publisher", channel, history=0)
    heard = [0, 0]
    readers = []
    for number in (0, 1):
        reader = Peer(run.target, f"reader{number}", channel, history=0)
        reader.on_frame = _counting(heard, number, size)
        readers.append(reader)
    slow = Peer(run.target, "slow", channel, receive_buffer=64 * KIB, history=0)
    usage = run.target.usage()
    before = most = usage.memory if usage else 0
    crowd = Crowd(readers)
    began = time.monotonic()
    for first in range(0, count, _STEP):
        for number in range(first, min(first + _STEP, count)):
            publisher.say((b"%08d" % number).ljust(size, b"."))
        wanted = min(first + _STEP, count)
        if not crowd.run(_have(heard, readers, wanted), PATIENCE):
            break
        usage = run.target.usage()
        most = max(most, usage.memory if usage else 0)
    run.equal("messages others have got, in order", heard, [count, count])
    # It does not read yet: a reset is seen all the same, and nothing that makes it quick again.
    hung_up = slow.hung_up(run.seconds)
    took = time.monotonic() - began
    if not hung_up:
        # It may have been cut without a reset: then what comes ends before all of it has come.
        received = 0
        while received < count and (payload := slow.receive()) is not None:
            received += len(payload) == size
        hung_up = slow.is_over and received < count
    run.equal("the slow one is cut, without having read", hung_up, True)
    run.below("it is cut after", took, 15, "s", timed=True)
    if run.target.pids:
        run.below("memory grows by", (most - before) / MIB, 32, "MiB")
    else:
        run.unknown("memory", "its process is not known: --pid")
    for peer in (publisher, *readers, slow):
        peer.leave()
    run.no_faults()


def _have(heard: list[int], readers: list[Peer], wanted: int) -> Callable[[], bool]:
    """Whether all have heard so many, or will not."""
    return lambda: min(heard) >= wanted or any(reader.is_over for reader in readers)


def _counting(heard: list[int], number: int, size: int) -> Callable[[int, bytes], None]:
    """Count what comes in order, whole."""

    def count(opcode: int, payload: bytes) -> None:
        if payload[:8] == b"%08d" % heard[number] and len(payload) == size:
            heard[number] += 1

    return count


PROBE = Probe(
    promise="a member stops reading while 64 MiB are published: others get all, memory < 32 MiB, it is cut within 15 s",
    does=stop_reading,
    options=(
        Option("megabytes", 64, "what is published"),
        Option("kilobytes", 64, "the size of a message"),
        Option("seconds", 20.0, "how long its end is waited for, after the last message"),
    ),
    flags=("--rate-limit", "0"),
)

if __name__ == "__main__":
    main(PROBE)
