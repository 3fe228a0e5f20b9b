"""Frames that announce too much, fragments without end, and a deflate bomb."""

import time
import zlib
from collections.abc import Iterable
from contextlib import suppress

from tests.integration.clients import BINARY, CONTINUATION, TEXT, frame

from .peers import PATIENCE, Crowd, Peer, fresh_name
from .program import Option, Probe, Run, main

KIB, MIB = 1024, 1024 * 1024

#: What is sent of something endless before the server is taken to accept it.
_ENOUGH = 300_000


def send_too_much(run: Run) -> None:
    """Send each, wait for the end, and see what it has cost."""
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = bomb.compress(bytes(64 * MIB)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    cases: list[tuple[str, Iterable[bytes]]] = [
        ("1 MiB and a byte, announced", [frame(BINARY, announced=MIB + 1)]),
        ("1 GiB, announced", [frame(BINARY, announced=1024 * MIB)]),
        ("2^63-1 bytes, announced", [frame(BINARY, announced=2**63 - 1)]),
        ("2^63-1 bytes, announced, and bytes without end", [frame(BINARY, announced=2**63 - 1), *[bytes(MIB)] * 64]),
        ("fragments without end", _endless(KIB, 64 * MIB // KIB)),
        ("empty fragments without end", _endless(0, _ENOUGH)),
        ("a deflate bomb", [frame(TEXT | 0x40, packed[: 100 * KIB])]),
    ]
    channel = fresh_name("oversized")
    refused, grown, worked = 0, 0.0, (0.0, "")
    for number, (what, parts) in enumerate(cases):
        peer = Peer(run.target, f"peer{number}", channel, history=0)
        before = run.target.usage()
        with suppress(OSError):
            for part in parts:
                peer.send(part)
                peer.frames()
                if peer.close is not None or peer.is_over:
                    break
        peer.ended()
        after = run.target.usage()
        is_refused = peer.is_over and (peer.close is None or peer.close[0] in (1002, 1009))
        refused += is_refused
        if not is_refused:
            run.equal(what, peer.close or "open still", "1009, 1002 or cut")
        if before and after:
            grown = max(grown, (after.memory - before.memory) / MIB)
            worked = max(worked, (after.cpu - before.cpu, what))
        peer.drop()
    run.equal("refused", refused, len(cases))
    if run.target.pids:
        run.below("memory grows by", grown, 20, "MiB")
        run.below(f"processor time of the dearest, {worked[1]}", worked[0], 1, "s", timed=True)
    else:
        run.unknown("memory and processor time", "its process is not known: --pid")
    _all_at_once(run, channel)
    run.no_faults()


def _endless(size: int, number: int) -> Iterable[bytes]:
    yield frame(BINARY, bytes(size), final=False)
    step = max(1, 16 * KIB // (size + 10))
    for _ in range(number // step):
        yield frame(CONTINUATION, bytes(size), final=False) * step


def _all_at_once(run: Run, channel: str) -> None:
    """Several peers flood with empty fragments in the same moment."""
    peers = [Peer(run.target, f"flood{number}", channel, history=0) for number in range(run.peers)]
    flood = frame(TEXT, final=False) + frame(CONTINUATION, final=False) * 20_000
    for peer in peers:
        with suppress(OSError):
            peer.send(flood)
    crowd = Crowd(peers)
    began = time.monotonic()
    crowd.run(lambda: all(peer.is_over for peer in peers), PATIENCE)
    run.equal(f"of {run.peers} that send empty fragments at once, cut", sum(peer.is_over for peer in peers), run.peers)
    for peer in peers:
        peer.drop()
    run.below("all of them are cut after", time.monotonic() - began, 15, "s", timed=True)


PROBE = Probe(
    promise="1 MiB+1, 1 GiB, 2^63-1 announced, endless fragments, a deflate bomb: 1009 or cut before 20 MiB or 1 s",
    does=send_too_much,
    options=(Option("peers", 8, "how many flood with empty fragments at once"),),
)

if __name__ == "__main__":
    main(PROBE)
