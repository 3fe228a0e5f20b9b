"""SIGUSR1 and SIGHUP again and again, from the first moment on."""

import os
import signal
import time

from .peers import Peer, fresh_name
from .program import Option, Probe, Run, main


def send_signals(run: Run) -> None:
    """Send both a hundred times while members talk."""
    if not run.target.pids:
        run.unknown("signals", "its process is not known: --pid")
        return
    channel = fresh_name("signals")
    with Peer(run.target, "alice", channel) as alice, Peer(run.target, "bob", channel, history=0) as bob:
        heard = 0
        for number in range(run.times):
            for which in (signal.SIGUSR1, signal.SIGHUP):
                os.kill(run.target.pids[0], which)
            alice.say(b"%d" % number)
            heard += bob.receive() == b"%d" % number
            time.sleep(0.01)
        run.equal("messages that came meanwhile", heard, run.times)
        run.equal("members dropped", int(alice.is_over) + int(bob.is_over), 0)
    run.no_faults()


PROBE = Probe(
    promise="SIGUSR1, SIGHUP a hundred times: nobody dropped",
    does=send_signals,
    options=(Option("times", 100, "how often each"),),
)

if __name__ == "__main__":
    main(PROBE)
