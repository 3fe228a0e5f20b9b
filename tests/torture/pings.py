"""Ping frames from a client: answered, and nobody else's business."""

from tests.integration.clients import PING, TEXT, frame

from .peers import Peer, fresh_name, history_of
from .program import Option, Probe, Run, main


def ping(run: Run) -> None:
    """Send pings between messages; look at what others get, now and from the history."""
    channel = fresh_name("pings")
    with Peer(run.target, "alice", channel) as alice, Peer(run.target, "bob", channel) as bob:
        bob.settle()
        bob.frames()
        answered = 0
        for number in range(run.pings):
            alice.send(frame(PING, b"ping %d" % number))
            answered += alice.settle(10)
            alice.say(b"message %d" % number, TEXT)
        expected = [b"message %d" % number for number in range(run.pings)]
        heard = [bob.receive(10) for _ in range(run.pings)]
        run.equal("pings answered", answered, run.pings)
        run.equal("others hear", "the messages alone" if heard == expected else heard, "the messages alone")
        stored = history_of(run.target, channel)
        run.equal("the history has", "the messages alone" if stored == expected else stored, "the messages alone")
    run.no_faults()


PROBE = Probe(
    promise="a ping frame from a client: answered; never forwarded, never stored",
    does=ping,
    options=(Option("pings", 20, "how many"),),
)

if __name__ == "__main__":
    main(PROBE)
