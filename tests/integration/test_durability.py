"""A real server that is killed at any moment, and what is in its history when it is back."""

import contextlib
import random
import signal
import sqlite3
import threading
import time
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import rounds

from .clients import TEXT, RawClient, frame
from .processes import Server
from .support import LOCAL, Contract, IntegrationTestCase

#: Seconds of which messages may be missing, relaxed: what is promised, and what a busy disk takes for others.
#: Those for which a busy processor has the server wait do not count; `make torture` goes by the time on the wall.
LATEST = 0.1 + 0.4

#: Seconds between two looks at that.
LOOK = 0.002

#: Messages sent at once.
BURST = 20


def threads(pid: int, name: str) -> list[str]:
    """A file of each thread of a process; empty when there is no such process any more."""
    try:
        return [(thread / name).read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_stopped(pid: int) -> bool:
    """Whether no thread of a process goes on."""
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in threads(pid, "stat"))


def waited(pid: int) -> list[float]:
    """Seconds that each thread of a process has waited for a busy processor; a wait counts when it is over."""
    return [int(stat.split()[1]) / 1e9 for stat in threads(pid, "schedstat")]


def lived(pid: int) -> float:
    """The time on the wall, less what a process has waited; infinite when there is no such process any more."""
    waits = waited(pid)
    return time.monotonic() - sum(waits) if waits else inf


class _Reader(threading.Thread):
    """Notes what one member gets, and how long the server had lived by then."""

    def __init__(self, client: RawClient, pid: int) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.pid = pid
        self.got: list[tuple[float, bytes]] = []

    def run(self) -> None:
        at, looked = 0.0, 0.0
        with contextlib.suppress(OSError):
            while True:
                opcode, payload = self.client.read_frame()
                if time.monotonic() > looked + LOOK:
                    at, looked = lived(self.pid), time.monotonic()
                if opcode == TEXT and payload.startswith(b"m"):
                    self.got.append((at, payload))


class KillContract(Contract):
    """What holds however durable it is to be."""

    durability: str

    def test_killed_under_load(self) -> None:
        """Whenever the server is killed, what its members have got is in the history of the next one, in order."""
        directory = Path(self.enterContext(TemporaryDirectory(prefix="mles-tx-test-")))
        path = directory / "history.db"
        chance = random.Random(7)
        options = ("--rate-limit", "0", "--limit", "999999", "--durability", self.durability)
        command = (*LOCAL, *options, "--history", f"sqlite:{path}")
        expected: dict[str, list[bytes]] = {}
        received = 0
        server = self.start_server(*command)
        for number in range(rounds(5, 50)):
            channel = self.channel = f"round {number}"
            killed, got = self.load_and_kill(server, chance.uniform(0.05, 0.8))
            began = time.monotonic()
            server = self.start_server(*command)
            took = time.monotonic() - began
            stored = self.stored(server, channel)
            self.assertEqual(stored, sorted(stored))
            certain = [payload for at, payload in got if self.durability == "strict" or at < killed - LATEST]
            missing = set(certain) - set(stored)
            self.assertEqual(
                missing, set(), f"round {number}: {len(got)} got, {len(stored)} stored; back in {took:.2f} s"
            )
            received += len(got)
            expected[channel] = stored
            with sqlite3.connect(path) as database:
                self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            database.close()
            self.assertEqual(server.new_faults(), "")
        self.assertGreater(received, 0)
        for channel, stored in expected.items():
            self.assertEqual(self.stored(server, channel), stored, "later kills change nothing")
        self.assert_healthy(server)

    def load_and_kill(self, server: Server, seconds: float) -> tuple[float, list[tuple[float, bytes]]]:
        """Publish as fast as it goes, then kill the server; when that was, and what a member got until then."""
        reader = _Reader(self.raw_member(server, "reader", history=0), server.pid)
        publisher = self.raw_member(server, "publisher", history=0)
        reader.start()
        killed: list[float] = []
        until = time.monotonic() - max(waited(server.pid)) + seconds

        def kill() -> None:
            while time.monotonic() - max(waited(server.pid)) < until:
                time.sleep(LOOK)
            now = time.monotonic()
            server.signal(signal.SIGSTOP)
            while not is_stopped(server.pid):  # then no wait goes on
                time.sleep(LOOK)
            killed.append(now - sum(waited(server.pid)))
            server.signal(signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        sent = 0
        with contextlib.suppress(OSError):
            while killer.is_alive():
                numbers = range(sent, sent + BURST)
                publisher.send(b"".join(frame(TEXT, b"m%09d" % number) for number in numbers))
                sent += BURST
                # As fast as others read: else nothing would have been delivered that is not in memory still.
                while killer.is_alive() and sent - len(reader.got) > 50 * BURST:
                    time.sleep(0.001)
        killer.join()
        server.wait()
        reader.join(20)
        publisher.close()
        return killed[0], reader.got

    def stored(self, server: Server, channel: str) -> list[bytes]:
        """The messages of a channel's history, as a newcomer gets them."""
        self.channel = channel
        newcomer = self.raw(server)
        self.assertEqual(newcomer.upgrade().status, 101)
        newcomer.send(frame(TEXT, b'{"uid":"newcomer","channel":"%s"}' % channel.encode()))
        last = self.raw_member(server, "last", history=0)
        # Not before the newcomer is in: what it gets live follows its history.
        self.await_newcomer(server)
        last.send(frame(TEXT, b"end"))
        found = []
        while (payload := newcomer.read_frame()[1]) != b"end":
            if payload.startswith(b"m"):
                found.append(payload)
        newcomer.close()
        last.close()
        return found

    def await_newcomer(self, server: Server) -> None:
        self.await_join(server, "newcomer")


class RelaxedKillTests(KillContract, IntegrationTestCase):
    """With the durability as it is by default."""

    durability = "relaxed"


class StrictKillTests(KillContract, IntegrationTestCase):
    """When messages are delivered once they are on disk."""

    durability = "strict"
