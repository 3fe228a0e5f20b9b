"""Somebody joins with a uid that is taken: by a dead link, by one that answers, by one that is not read."""

import time

from tests.integration.clients import TEXT, frame, join_frame

from .peers import PATIENCE, Crowd, Peer, fresh_name
from .program import Option, Probe, Run, main


def join_again(run: Run) -> None:
    """Try each."""
    channel = fresh_name("taken")
    dead = Peer(run.target, "dead", channel)  # it is never read from here on: no ping is answered
    began = time.monotonic()
    newcomer = Peer(run.target, "dead", channel)
    run.below("in after a dead link", time.monotonic() - began, 5, "s", timed=True)
    run.equal("the newcomer is a member", newcomer.is_over, False)
    run.equal("the dead link is ended", dead.hung_up(PATIENCE), True)
    dead.drop()
    newcomer.leave()

    alive = Peer(run.target, "alive", channel)
    other = Peer(run.target)
    other.send(frame(TEXT, join_frame("alive", channel).encode()))
    Crowd([alive, other]).run(lambda: other.is_over, PATIENCE)
    run.equal("beside one that answers the newcomer is refused", other.close is not None, True)
    run.equal("who answers stays", not alive.is_over and alive.settle(), True)
    alive.leave()

    if run.messages:
        _join_beside_throttled(run, channel)
    run.no_faults()


def _join_beside_throttled(run: Run, channel: str) -> None:
    # Far above its rate: it is not read for seconds, and cannot answer.
    throttled = Peer(run.target, "throttled", channel, history=0, receive=False)
    throttled.send(b"".join(frame(TEXT, b"%d" % number) for number in range(run.messages)))
    time.sleep(0.5)
    rival = Peer(run.target)
    rival.send(frame(TEXT, join_frame("throttled", channel).encode()))
    rival.ended(run.seconds)
    run.equal("beside one that is not read the newcomer is refused", rival.close is not None, True)
    throttled.frames()
    run.equal("who is not read stays", throttled.is_over, False)
    throttled.drop()


PROBE = Probe(
    promise="same uid again after a dead link: in within 5 s; who answers, or is not read now, is never thrown out",
    does=join_again,
    options=(
        Option("messages", 1500, "at once, of one that is to be read slowly; 0: there is none"),
        Option("seconds", 6.0, "how long a refusal is waited for"),
    ),
)

if __name__ == "__main__":
    main(PROBE)
