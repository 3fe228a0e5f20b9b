"""The server is killed at any moment, and started again on the same history."""

import random
import signal
import sqlite3
import threading
import time
from contextlib import suppress

from tests.integration.clients import BINARY, frame

from .peers import PATIENCE, NoAnswer, Peer, fresh_name, history_of
from .program import Option, Probe, Run, main

#: Seconds of which messages may be missing, relaxed.
_LATEST = 0.1


def kill_again_and_again(run: Run) -> None:
    """Kill it under load; what was delivered has to be in the history of the next one."""
    strict = run.durability == "strict"
    flags = ("--rate-limit", "0", "--limit", "999999", "--durability", run.durability)
    history = ("--history", "sqlite:{directory}/history.db")
    chance = random.Random(run.seed)
    server = run.start(*flags, *history)
    directory, port = server.directory, server.port
    missing, oldest, slowest, delivered, mixed = 0, 0.0, 0.0, 0, 0
    for number in range(run.kills):
        channel = fresh_name(f"round{number}")
        got, killed = _load_and_kill(run, channel, chance.uniform(0.05, 0.8))
        began = time.monotonic()
        server = run.start(*flags, *history, directory=directory, port=port)
        with Peer(run.target, "first", channel, history=0):
            slowest = max(slowest, time.monotonic() - began)
        stored = history_of(run.target, channel, 999999)
        mixed += stored != sorted(stored)
        kept = set(stored)
        lost = [at for at, payload in got if payload not in kept]
        delivered += len(got)
        oldest = max([oldest, *(killed - at for at in lost)])
        missing += len(lost)
    server.signal(signal.SIGTERM)
    server.wait()
    run.above("messages delivered before", delivered, 0)
    if strict:
        run.equal("of those missing after", missing, 0)
    else:
        # With so much other work the time of delivery and that of reading it are not the same.
        run.below(f"the oldest of {missing} missing was delivered before the end", oldest, _LATEST + run.slack, "s")
    run.equal("histories out of order", mixed, 0)
    run.below("back after", slowest, 2, "s", timed=True)
    if not run.options.start:
        with sqlite3.connect(directory / "history.db") as database:
            run.equal("the store", database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        database.close()
    run.no_faults()


def _load_and_kill(run: Run, channel: str, seconds: float) -> tuple[list[tuple[float, bytes]], float]:
    """Publish for so long, and kill; what a member got until then, with the times, and when it was killed."""
    reader, publisher = (Peer(run.target, uid, channel, history=0) for uid in ("reader", "publisher"))
    got: list[tuple[float, bytes]] = []
    reader.on_frame = lambda opcode, payload: got.append((time.monotonic(), payload)) if payload[:1] == b"m" else None
    assert run.server is not None
    times: list[float] = []

    def kill() -> None:
        with suppress(ProcessLookupError):
            times.append(time.monotonic())
            run.server.signal_group(signal.SIGKILL)  # type: ignore[union-attr]

    timer = threading.Timer(seconds, kill)
    sent, began, is_set = 0, time.monotonic(), False
    with suppress(OSError):
        while not reader.is_over:
            if sent - len(got) < 1000 and sent < (time.monotonic() - began) * run.rate:
                publisher.send(b"".join(frame(BINARY, b"m%09d" % (sent + number)) for number in range(20)))
                sent += 20
            reader.frames()
            if not is_set and (got or time.monotonic() > began + PATIENCE):
                is_set = True
                timer.start()  # from the first message on: before there is nothing to be lost
    if not is_set:
        raise NoAnswer(f"nobody is delivered to, but {reader.close or publisher.close or 'cut'}")
    timer.join()
    run.server.wait()
    reader.ended(5)
    for peer in (reader, publisher):
        peer.drop()
    return got, times[0]


PROBE = Probe(
    promise="kill -9 at any moment, durable history: all delivered is there (strict), at most 100 ms missing (relaxed)",
    does=kill_again_and_again,
    options=(
        Option("durability", "relaxed", "relaxed or strict"),
        Option("kills", 10, "how often"),
        Option("rate", 10_000, "messages a second"),
        Option("seed", 7, "of the moments"),
        Option("slack", 0.0, "seconds a busy machine may take besides, relaxed"),
    ),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
