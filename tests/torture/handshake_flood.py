"""Many clients do nothing but TLS handshakes, as fast as they can."""

import threading
import time
from contextlib import suppress

from .program import Option, Probe, Run, main


def flood(run: Run) -> None:
    """Make handshakes from some threads, for some seconds; without TLS connections alone."""
    end = time.monotonic() + run.seconds
    made = [0] * run.clients

    def again_and_again(number: int) -> None:
        while time.monotonic() < end:
            with suppress(OSError):
                run.target.connect().close()
                made[number] += 1

    threads = [threading.Thread(target=again_and_again, args=(number,)) for number in range(run.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.above("handshakes a second", sum(made) / run.seconds, 20, timed=True)
    run.no_faults()


PROBE = Probe(
    promise="a handshake flood for 10 s: the pair's 99th percentile is below 100 ms",
    does=flood,
    options=(Option("clients", 8, "how many at a time"), Option("seconds", 10.0, "how long")),
    p99=100.0,
)

if __name__ == "__main__":
    main(PROBE)
