"""Redis is stopped, killed, and cut off, while members on two servers never pause."""

import signal
import threading
import time
from collections.abc import Callable, Sequence

from twisted.trial.unittest import SkipTest

from tests.integration.redises import RedisServer

from .peers import Crowd, Peer, fresh_name
from .program import Option, Probe, Run, main


def cut_off(run: Run) -> None:
    """Let members talk on two nodes through all of it; compare what was heard with what was said."""
    try:
        redis = RedisServer()
    except SkipTest as skip:
        run.unknown("Redis", str(skip))
        return
    run.stack.callback(redis.stop)
    flags = ("--rate-limit", "0", "--history", redis.url)
    nodes = [run.start(*flags) for _ in range(2)]
    with run.pair(nodes[0].target):
        outages: Sequence[tuple[str, Sequence[Callable[[], object]]]] = (
            ("stopped", [lambda: redis.process.signal(signal.SIGSTOP), _wait(run.seconds),
                         lambda: redis.process.signal(signal.SIGCONT)]),
            ("killed", [lambda: redis.end(signal.SIGKILL), _wait(1.0), redis.start]),
            ("links cut", [step for kind in ("normal", "pubsub") * (run.cuts // 2)
                           for step in (lambda kind=kind: redis.cut(kind), _wait(0.25))]),
        )  # fmt: skip
        for what, steps in outages:
            _through(run, nodes, what, steps)
    run.equal("faults in their logs", sum(len(node.faults()) for node in nodes), 0)


def _wait(seconds: float) -> Callable[[], object]:
    return lambda: time.sleep(seconds)


def _through(run: Run, nodes: Sequence[object], what: str, steps: Sequence[Callable[[], object]]) -> None:
    """Everybody talks while some steps are taken."""
    channel = fresh_name("redis")
    talkers = [
        Peer(node.target, f"talker{number}{name}", channel, receive=False)  # type: ignore[attr-defined]
        for number, node in enumerate(nodes)
        for name in "ab"
    ]
    heard: list[list[tuple[float, bytes]]] = [[], []]
    listeners = []
    for number, node in enumerate(nodes):
        listener = Peer(node.target, f"listener{number}", channel, history=0)  # type: ignore[attr-defined]
        listener.on_frame = lambda opcode, payload, number=number: (
            heard[number].append((time.monotonic(), payload)) if not payload.startswith(b"{") else None
        )
        listeners.append(listener)
    crowd = Crowd([*listeners, *talkers])
    is_over = threading.Event()

    def take_steps() -> None:
        time.sleep(0.5)
        for step in steps:
            step()
        time.sleep(0.5)
        is_over.set()

    thread = threading.Thread(target=take_steps)
    thread.start()
    said: list[list[bytes]] = [[] for _ in talkers]
    times: dict[bytes, float] = {}
    while not is_over.is_set():
        for number, talker in enumerate(talkers):
            text = b"%d.%d" % (number, len(said[number]))
            said[number].append(text)
            times[text] = time.monotonic()
            talker.say(text)
        crowd.run(lambda: False, 0.005)
    thread.join()
    count = sum(map(len, said))
    crowd.run(lambda: all(len(each) >= count for each in heard), run.patience)
    wrong = 0
    for each in heard:
        for number, texts in enumerate(said):
            mine = [text for _, text in each if text.split(b".")[0] == b"%d" % number]
            wrong += mine != texts
    run.equal(f"{what}: of {count} messages heard on each node", [len(each) for each in heard], [count, count])
    run.equal(f"{what}: senders of whom some are missing, doubled or out of order", wrong, 0)
    delays = [
        at - times[text]
        for number, each in enumerate(heard)
        for at, text in each
        if text[:1] in (b"%d" % (2 * number), b"%d" % (2 * number + 1))
    ]
    slowest = max(delays, default=float("inf"))
    run.below(f"{what}: the latest on a member's own node", slowest * 1e3, 250, "ms", timed=True)
    for peer in (*talkers, *listeners):
        peer.leave()


PROBE = Probe(
    promise="Redis stopped for 10 s, killed, links cut ten times: own node goes on; all exactly once, in order, after",
    does=cut_off,
    options=(
        Option("seconds", 10.0, "for how long it is stopped"),
        Option("cuts", 10, "how often links are cut"),
        Option("patience", 30.0, "how long what was said is waited for"),
    ),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
