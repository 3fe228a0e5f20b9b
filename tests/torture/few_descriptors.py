"""More clients than a server has descriptors for."""

import socket
import time
from contextlib import suppress

from .peers import PATIENCE, NoAnswer, Peer, fresh_name
from .program import Option, Probe, Run, main


def use_them_up(run: Run) -> None:
    """Connect far more often than it can accept, look at its processor time, and let go."""
    connections: list[socket.socket] = []
    for _ in range(run.connections):
        dialed = socket.socket()
        dialed.setblocking(False)
        with suppress(OSError):
            dialed.connect(("127.0.0.1", run.target.port))
        connections.append(dialed)
    time.sleep(1)  # so that it has accepted what it can
    before = run.target.usage()
    time.sleep(5)
    after = run.target.usage()
    if before is None or after is None:
        run.unknown("processor time", "its process is not known: --pid")
    else:
        run.below("descriptors it has", after.descriptors, run.limit + 1)
        run.below("processor time in 5 s, the pair's included", after.cpu - before.cpu, 0.5, "s", timed=True)
    for dialed in connections:
        dialed.close()
    began = time.monotonic()
    is_in = False
    while not is_in and time.monotonic() < began + PATIENCE:
        with suppress(OSError, NoAnswer), Peer(run.target, "late", fresh_name("late")):
            is_in = True
    run.equal("accepts again", is_in, True)
    run.below("it accepts again after", time.monotonic() - began, 5, "s", timed=True)
    run.no_faults()


def set_up(run: Run) -> None:
    """Our server with few descriptors."""
    run.start(before=("sh", "-c", f'ulimit -n {run.limit}; exec "$@"', "sh"))


PROBE = Probe(
    promise="descriptors exhausted (ulimit -n 256): no spinning (< 0.5 s CPU in 5 s); accepts again within 5 s",
    does=use_them_up,
    options=(Option("connections", 600, "how many are tried"), Option("limit", 256, "descriptors it has")),
    setup=set_up,
)

if __name__ == "__main__":
    main(PROBE)
