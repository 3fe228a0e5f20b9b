"""The power fails at any moment: a server's history is made again from what was synced, and served by the next one."""

import random
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.integration.clients import BINARY, frame
from tests.integration.power_cut import Disk, read_records

from .findings import Finding
from .peers import PATIENCE, Peer, fresh_name, history_of
from .program import Option, Probe, Run, main

#: Messages that have to be delivered for a cut to have something to take.
_FEWEST = 100

#: Messages that the history has room for, and those that are sent at most.
_LIMIT = 99_999
_MOST = 90_000

_SHIM = Path(__file__).parents[1] / "integration" / "record.c"


def cut(run: Run) -> None:
    """Record what a server writes while members talk; cut at some points, and ask what is left for its history."""
    compiler = shutil.which("cc")
    if compiler is None:
        run.unknown("a power cut", "there is no C compiler to build the recorder with")
        return
    scratch = run.directory()
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", scratch / "record.so", _SHIM, "-ldl"], check=True)
    disk = scratch / "disk"
    disk.mkdir(mode=0o700)
    records = scratch / "records"
    recording = {"LD_PRELOAD": str(scratch / "record.so"), "RECORD_OF": str(disk), "RECORD_TO": str(records)}
    flags = ("--rate-limit", "0", "--limit", str(_LIMIT), "--durability", run.durability, "--history")
    server = run.start(*flags, f"sqlite:{disk}/history.db", environ=recording)
    channel = fresh_name("power")
    delivered: list[tuple[int, bytes]] = []  # with the length of the record by then
    with run.pair(is_timed=run.durability != "strict"):
        publisher, reader = (Peer(run.target, uid, channel, history=0) for uid in ("publisher", "reader"))
        reader.on_frame = lambda opcode, payload: delivered.append((records.stat().st_size, payload))
        end, sent = time.monotonic() + run.seconds, 0
        # On a slow disk the first may take longer than that.
        while time.monotonic() < end or (len(delivered) < _FEWEST and time.monotonic() < end + PATIENCE):
            if sent - len(delivered) < 200 and sent < _MOST:
                publisher.send(b"".join(frame(BINARY, b"m%09d" % (sent + number)) for number in range(10)))
                sent += 10
            reader.frames()
    with suppress(Exception):
        server.stop()
    done, at = read_records(records), 0
    ends = []
    for record in done:
        at += 24 + len(record.path.encode()) + len(record.data)
        ends.append(at)
    chance = random.Random(run.seed)
    points = sorted(chance.sample(range(len(done) // 5, len(done)), min(run.points, len(done) * 4 // 5)))
    missing = torn = held = 0
    image, following = Disk(str(disk)), iter(enumerate(done))
    for number, point in enumerate(points):
        for index, record in following:
            image.do(record)
            if index == point:
                break
        left = run.directory()
        for name, content in image.cut(chance if number % 2 else None):
            (left / name).write_bytes(content)
            (left / name).chmod(0o600)
        run.start(*flags, f"sqlite:{left}/history.db")
        stored = history_of(run.target, channel, _LIMIT)
        assert run.server is not None
        run.server.stop()
        kept = set(stored)
        certain = [payload for length, payload in delivered if length <= ends[point]]
        held += len(certain)
        missing += len(set(certain) - kept)
        torn += stored != [b"m%09d" % n for n in range(len(stored))]
    run.above(f"messages delivered before {len(points)} cuts, together", held, 0)
    # Relaxed promises nothing about them: their number is shown.
    run.findings.append(Finding.below("of those missing after", missing, 1, judged=run.durability == "strict"))
    run.equal("histories with a gap or out of order", torn, 0)


PROBE = Probe(
    promise="power cut (unsynced writes lost), strict: nothing that was delivered is lost",
    does=cut,
    options=(
        Option("durability", "strict", "strict or relaxed"),
        Option("points", 20, "how often the power fails"),
        Option("seconds", 3.0, "how long members talk"),
        Option("seed", 5, "of the moments"),
    ),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
