"""Joins that break a rule: each is told why, at once."""

import time
from contextlib import suppress

from tests.integration.clients import TEXT, frame, join_frame
from tests.integration.test_refusals import FIRST_FRAMES

from .peers import PATIENCE, Crowd, Peer, fresh_name
from .program import Option, Probe, Run, main


def join_wrongly(run: Run) -> None:
    """Send first frames that are refused, and take the time to the close frame and to the end."""
    slowest = slowest_end = 0.0
    told = ended = count = 0
    for payload, _ in FIRST_FRAMES[:: run.step]:
        with Peer(run.target) as peer:
            began = time.monotonic()
            with suppress(OSError):
                peer.send(frame(TEXT, payload))
            peer.ended()
            slowest_end = max(slowest_end, time.monotonic() - began)
            count += 1
            told += peer.close is not None and peer.close[0] >= 1000 and bool(peer.close[1])
            ended += peer.is_over
    channel = fresh_name("taken")
    with Peer(run.target, "alice", channel) as holder, Peer(run.target) as newcomer:
        crowd = Crowd((holder, newcomer))
        began = time.monotonic()
        newcomer.send(frame(TEXT, join_frame("alice", channel).encode()))
        crowd.run(lambda: newcomer.is_over, PATIENCE)
        slowest = time.monotonic() - began
        count += 1
        told += newcomer.close is not None and bool(newcomer.close[1])
        ended += newcomer.is_over
        run.equal("who has the uid stays", holder.is_over, False)
        crowd.forget()
    run.equal("refused joins that got a close code and a reason", told, count)
    run.equal("refused joins that were ended", ended, count)
    run.below("the slowest refusal took", max(slowest_end, slowest), 1, "s", timed=True)
    run.no_faults()


PROBE = Probe(
    promise="a refused join: close code and reason within 1 s",
    does=join_wrongly,
    options=(Option("step", 1, "take every so many of the wrong frames"),),
)

if __name__ == "__main__":
    main(PROBE)
