"""The disk is full, and has room again."""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import nullcontext, suppress
from pathlib import Path

from tests.ports import free_port

from .admin import metric, readiness
from .peers import PATIENCE, NoAnswer, Peer, fresh_name
from .program import Option, Probe, Run, main

KIB, MIB = 1024, 1024 * 1024


def fill_the_disk(run: Run) -> None:
    """Publish more than fits on a small file system, then make it larger."""
    disk = run.directory()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={run.megabytes}m,mode=0700", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        run.unknown("a full disk", "only root can mount a small file system")
        return
    run.stack.callback(subprocess.run, ["umount", "--lazy", str(disk)])
    run.options.admin = free_port()
    strict = run.durability == "strict"
    flags = ("--rate-limit", "0", "--limit", "9999", "--durability", run.durability, "--admin", f"tcp:{run.admin}")
    server = run.start(*flags, "--history", f"sqlite:{disk}/history.db")
    channel = fresh_name("disk")
    # Strict, a pair would be closed as every publisher is.
    with nullcontext() if strict else run.pair():
        alice, bob = (Peer(run.target, uid, channel, history=0) for uid in ("alice", "bob"))
        heard, said = 0, run.megabytes * 2 * MIB // KIB
        with suppress(OSError):
            for number in range(said):
                alice.say((b"%08d" % number).ljust(KIB, b"."))
                if strict and alice.is_over:
                    break
                alice.frames()
                heard += len(bob.frames())
                if not strict:
                    while heard <= number - 100 and bob.receive(10) is not None:
                        heard += 1
        while heard < said and bob.receive(1 if strict else 10) is not None:
            heard += 1
        if strict:
            alice.ended(10)
            run.equal("the publisher is told", (alice.close or (0, ""))[0], 1013)
        else:
            run.equal("messages members have heard of each other", heard, said)
        fill_up(disk)
        full = time.monotonic() + PATIENCE
        while readiness(run.admin) != 503 and time.monotonic() < full:
            if strict:  # the last group has gone, and left room for a smaller one
                with suppress(OSError, NoAnswer), Peer(run.target, fresh_name("late"), channel, history=0) as late:
                    late.say(bytes(KIB))
                    late.ended(1)
            else:
                time.sleep(0.2)
        run.equal("readiness while it is full", readiness(run.admin), 503)
        run.above("faults in its metrics", metric(run.admin, "mles_history_faults_total"), 0)
        subprocess.run(["mount", "-o", f"remount,size={run.megabytes * 8}m", str(disk)], check=True)
        began = time.monotonic()
        while readiness(run.admin) != 200 and time.monotonic() < began + 40:
            time.sleep(0.2)
        run.below("it recovers by itself after", time.monotonic() - began, 30, "s", timed=True)
        run.equal("readiness then", readiness(run.admin), 200)
        time.sleep(1)
    server.signal(signal.SIGTERM)
    server.wait()
    database = sqlite3.connect(disk / "history.db")
    run.equal("the store", database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
    rows = database.execute("SELECT count(*) FROM messages WHERE NOT is_join AND length(frame) > 1000").fetchone()
    run.equal("messages heard that are in it", min(rows[0], heard), heard)
    database.close()
    run.no_faults()


def fill_up(disk: Path) -> None:
    """Leave no room for anything, however small."""
    with suppress(OSError), (disk / "filler").open("ab", buffering=0) as filler:
        while filler.write(bytes(KIB)):
            pass


PROBE = Probe(
    promise="disk full: fan-out goes on (strict: publishers closed with 1013), error shown, recovers, store intact",
    does=fill_the_disk,
    options=(Option("durability", "relaxed", "relaxed or strict"), Option("megabytes", 2, "size of the disk")),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
