"""The wall clock jumps while members talk."""

import signal
import time

from twisted.trial.unittest import SkipTest

from tests.integration.parts import debian_libraries

from .peers import Peer, fresh_name, history_of
from .program import Option, Probe, Run, main

_JUMPS = ("-31d", "+31d", "+1h", "-1h")


def jump(run: Run) -> None:
    """Move the clock of the server alone, and look at members, history and pings after each jump."""
    try:
        libraries = debian_libraries("libfaketime")
    except SkipTest as skip:
        run.unknown("the clock", str(skip))
        return
    library = next(f"{folder}/libfaketime.so.1" for folder in libraries.split(":") if folder.endswith("faketime"))
    offset = run.directory() / "offset"
    offset.write_text("+0")
    environ = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    server = run.start("--ping-interval", "1000", environ=environ | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    channel = fresh_name("clock")
    with run.pair():
        alice, bob = Peer(run.target, "alice", channel), Peer(run.target, "bob", channel, history=0)
        for number, jumped in enumerate(("+0", *_JUMPS)):
            offset.write_text(jumped)
            server.signal(signal.SIGUSR1)  # it logs a line, with the time
            pings = bob.pings
            alice.say(b"message %d" % number)
            end = time.monotonic() + run.seconds
            while time.monotonic() < end or (bob.pings == pings and time.monotonic() < end + run.patience):
                for peer in (alice, bob):
                    peer.frames()
                time.sleep(0.05)
            run.above(f"pings after {jumped}", bob.pings - pings, 0)
        run.equal("members dropped", int(alice.is_over) + int(bob.is_over), 0)
        found = history_of(run.target, channel)
        run.equal("messages in the history", len(found), len(_JUMPS) + 1)
        dates = {line[:10] for line in server.output.splitlines() if line[:2] == "20"}
        run.above("dates in its log, which show that it has seen the jumps", len(dates), 2)
    run.no_faults()


PROBE = Probe(
    promise="the wall clock jumps by -31 d, +31 d, ±1 h while running: no member dropped, no history lost, pings go on",
    does=jump,
    options=(
        Option("seconds", 3.0, "between two jumps"),
        Option("patience", 12.0, "more seconds in which there has to be a ping"),
    ),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
