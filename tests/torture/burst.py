"""A member sends many messages at once, with the limits as they are by default."""

import time

from tests.integration.clients import TEXT, frame

from .peers import Peer, fresh_name
from .program import Option, Probe, Run, main


def send_at_once(run: Run) -> None:
    """Write all messages in one piece; another member has to get every one of them, in order."""
    channel = fresh_name("burst")
    with Peer(run.target, "sender", channel) as sender, Peer(run.target, "reader", channel) as reader:
        reader.settle()
        reader.frames()
        expected = [(b"%08d" % number).ljust(run.bytes, b".") for number in range(run.messages)]
        began = time.monotonic()
        sender.send(b"".join(frame(TEXT, payload) for payload in expected))
        got: list[bytes] = []
        while len(got) < len(expected) and (payload := reader.receive(10)) is not None:
            got.append(payload)
        took = time.monotonic() - began
        run.equal(
            "messages that came, in order", len(got) if got == expected[: len(got)] else "mixed up", len(expected)
        )
        run.equal("the sender is a member still", not sender.is_over and sender.settle(), True)
        run.below("they took", took, 0.1 + run.messages / 100 + 1, "s", timed=True)
    run.no_faults()


PROBE = Probe(
    promise="a sender bursts (500 messages at once, default limits): nothing is dropped, it is read more slowly",
    does=send_at_once,
    options=(Option("messages", 500, "how many at once"), Option("bytes", 100, "of each")),
)

if __name__ == "__main__":
    main(PROBE)
