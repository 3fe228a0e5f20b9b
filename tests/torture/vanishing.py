"""Members vanish: one with much waiting for it, and thousands in the same instant."""

import time

from .peers import Peer, fresh_name
from .program import Option, Probe, Run, main

KIB, MIB = 1024, 1024 * 1024

#: Seconds within which the server delivers again.
_AGAIN = 2.0


def vanish(run: Run) -> None:
    """Let members vanish in three ways, and see how soon those who stay hear each other."""
    channel = fresh_name("vanishing")
    publisher, reader = (Peer(run.target, uid, channel, history=0) for uid in ("publisher", "reader"))

    slow = Peer(run.target, "slow", channel, receive_buffer=4 * KIB, history=0)
    for number in range(run.waiting):
        publisher.say((b"%08d" % number).ljust(4 * KIB, b"."))
        reader.frames()
    publisher.settle()
    slow.drop()
    _delivers(run, publisher, reader, f"one with {run.waiting} messages waiting is reset")

    settled = [Peer(run.target, f"settled{number}", channel, history=0) for number in range(run.members)]
    for peer in settled:
        peer.drop()
    _delivers(run, publisher, reader, f"{run.members} settled members vanish")

    for number in range(9 * MIB // (64 * KIB)):
        publisher.say((b"%08d" % number).ljust(64 * KIB, b"."))
    publisher.settle()
    reader.settle()
    reader.frames()
    joining = [
        Peer(run.target, f"joining{number}", channel, receive_buffer=4 * KIB, settle=False)
        for number in range(run.members)
    ]
    for peer in joining:
        peer.drop()
    _delivers(run, publisher, reader, f"{run.members} vanish in the middle of joining")
    for peer in (publisher, reader):
        peer.leave()
    run.no_faults()


def _delivers(run: Run, publisher: Peer, reader: Peer, what: str) -> None:
    """A message comes, and in the other direction as well."""
    began = time.monotonic()
    came = True
    for sender, receiver in ((publisher, reader), (reader, publisher)):
        text = fresh_name("after").encode()
        sender.say(text)
        heard = b""
        while came and heard != text:
            heard = receiver.receive() or b""
            came = bool(heard)
    run.equal(f"{what}: others are delivered to", came, True)
    run.below(f"{what}: delivers again after", time.monotonic() - began, _AGAIN, "s", timed=True)


PROBE = Probe(
    promise="a slow member with 1,000 messages waiting, or 2,000 at once, settled or joining, vanish: delivers in 2 s",
    does=vanish,
    options=(
        Option("members", 2000, "how many vanish at once"),
        Option("waiting", 1000, "messages of 4 KiB that wait for a slow one"),
    ),
    flags=("--rate-limit", "0"),
)

if __name__ == "__main__":
    main(PROBE)
