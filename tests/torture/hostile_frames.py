"""Invalid frames, invalid UTF-8, hostile JSON and plain rubbish."""

import random
from contextlib import suppress

from tests.integration.clients import TEXT, frame
from tests.integration.test_refusals import FIRST_FRAMES, MEMBER_FRAMES

from .peers import Peer, fresh_name
from .program import Option, Probe, Run, main

#: First frames that are large and hostile, beyond those that break one rule.
_LARGE = (
    b"[" * 100_000,
    b'{"uid":"' + b"x" * 1_000_000 + b'","channel":"c"}',
    b'{"uid":"a","channel":"c",' + b'"a":1,' * 100_000 + b'"b":2}',
    b'{"uid":"a","channel":"c","n":' + b"9" * 500_000 + b"}",
)


def send_wrongly(run: Run) -> None:
    """Send all of it, to the server as a stranger and as a member."""
    channel = fresh_name("hostile")
    usage = run.target.usage()
    first = [payload for payload, _ in FIRST_FRAMES[:: run.step]] + list(_LARGE)
    refused = 0
    for payload in first:
        with Peer(run.target) as peer:
            with suppress(OSError):
                peer.send(frame(TEXT, payload))
            refused += peer.ended() and (peer.close is None or peer.close[0] != 1011)
    run.equal("first frames refused", refused, len(first))
    refused, later = 0, MEMBER_FRAMES[:: run.frames]
    for number, (what, data, _) in enumerate(later):
        with Peer(run.target, f"member{number}", channel, history=0) as peer:
            with suppress(OSError):
                peer.send(data)
            ended = peer.ended() and (peer.close is None or peer.close[0] != 1011)
            refused += ended
            if not ended:
                run.equal(what, peer.close or "open still", "refused")
    run.equal("frames refused", refused, len(later))
    chance = random.Random(run.seed)
    for number in range(run.rubbish):
        with Peer(run.target, f"rubbish{number}", channel, history=0) as peer:
            with suppress(OSError):
                peer.send(chance.randbytes(chance.randrange(2, 4000)))
                # Whatever it has begun ends here, in the middle.
                peer.send(frame(TEXT, b"\xff", masked=False) * 400)
            # What announces more than was sent is waited for, as it should be.
            peer.ended(0.2)
    run.equal("rubbish that made a server fault or hang", _hangs(run, channel), 0)
    if usage is None:
        run.unknown("what is left open", "its process is not known: --pid")
    else:
        run.below("descriptors left open", run.descriptors_beyond(usage, 4), 4)
    run.no_faults()


def _hangs(run: Run, channel: str) -> int:
    """Whether two members of the channel still hear each other."""
    with Peer(run.target, "one", channel, history=0) as one, Peer(run.target, "other", channel, history=0) as other:
        one.say(b"well?")
        return int(other.receive() != b"well?")


PROBE = Probe(
    promise="invalid frames and UTF-8, hostile JSON: refused; no traceback; nothing left open",
    does=send_wrongly,
    options=(
        Option("step", 1, "take every so many of the wrong first frames"),
        Option("frames", 1, "likewise of those of a member"),
        Option("rubbish", 200, "members who send random bytes"),
        Option("seed", 1, "of the random bytes"),
    ),
)

if __name__ == "__main__":
    main(PROBE)
