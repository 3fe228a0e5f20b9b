"""TLS handshakes that stall, request heads that come a byte a second, and a WebSocket that never says who it is."""

import contextlib
import select
import socket
import time
from collections.abc import Sequence

from .peers import Peer
from .program import Option, Probe, Run, main

#: Seconds: when all of a kind have to be closed, and when a WebSocket without a first frame may be at the earliest.
_HANDSHAKES, _HEADS, _FIRST_FRAME, _EARLIEST = 15.0, 20.0, 33.0, 25.0


def waste_time(run: Run) -> None:
    """Open them all, keep the slow heads coming, and note when the server has closed each."""
    usage = run.target.usage()
    began = time.monotonic()
    stalled = [run.target.dial() for _ in range(run.handshakes)]
    for connection in stalled[::2]:
        connection.send(b"\x16\x03\x01" if run.target.is_secure else b"G")
    heads = [run.target.connect() for _ in range(run.heads)]
    for connection in heads:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    silent = Peer(run.target)
    silent_since = time.monotonic()
    closed = {"handshakes": 0.0, "heads": 0.0, "silent": 0.0}
    waiting = {"handshakes": stalled, "heads": heads, "silent": [silent.socket]}
    last_byte = began
    while any(waiting.values()) and time.monotonic() < began + run.patience:
        for kind, connections in waiting.items():
            # The silent one is told first, and let go when it has not answered.
            for connection in _ended(connections, select.POLLIN if kind == "silent" else select.POLLRDHUP):
                connections.remove(connection)
                closed[kind] = time.monotonic()
        if time.monotonic() - last_byte >= 1:
            last_byte = time.monotonic()
            for connection in heads:
                with contextlib.suppress(OSError):
                    connection.send(b"x")
        time.sleep(0.05)
    for kind, number in (("handshakes", run.handshakes), ("heads", run.heads), ("silent", 1)):
        run.equal(f"{kind} the server has closed", number - len(waiting[kind]), number)
    run.below("stalled handshakes are closed after", closed["handshakes"] - began, _HANDSHAKES, "s", timed=True)
    run.below("slow heads are closed after", closed["heads"] - began, _HEADS, "s", timed=True)
    silent.frames()
    run.equal("who never says who it is, is told why", silent.close is not None, True)
    took = closed["silent"] - silent_since
    run.below("it is closed after", took, _FIRST_FRAME, "s", timed=True)
    run.above("and not before", took, _EARLIEST, "s", timed=True)
    silent.leave()
    if usage is None:
        run.unknown("descriptors", "its process is not known: --pid")
    else:
        run.below("descriptors that stay open", run.descriptors_beyond(usage, 4), 4)
    run.no_faults()


def _ended(connections: Sequence[socket.socket], event: int) -> list[socket.socket]:
    """Those that the server has ended, or told that it does."""
    poll = select.poll()
    by_fileno = {connection.fileno(): connection for connection in connections}
    for fileno in by_fileno:
        poll.register(fileno, event)
    return [by_fileno[fileno] for fileno, _ in poll.poll(0)]


PROBE = Probe(
    promise="300 stalled TLS handshakes, 200 heads a byte a second, a silent WebSocket: closed in 15 s, 20 s, at 30 s",
    does=waste_time,
    options=(
        Option("handshakes", 300, "that stall"),
        Option("heads", 200, "that come a byte a second"),
        Option("patience", 60.0, "seconds until what is open still is taken to stay"),
    ),
)

if __name__ == "__main__":
    main(PROBE)
