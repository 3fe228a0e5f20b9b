"""A real server that is killed at any moment, and what is in its history when it is back."""

import contextlib
import random
import signal
import sqlite3
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import rounds

from .clients import TEXT, RawClient, frame
from .processes import Server
from .support import LOCAL, Contract, IntegrationTestCase

#: Seconds of which messages may be missing, relaxed: what is promised, and what a busy machine takes for other things.
LATEST = 0.1 + 0.4

#: Messages sent at once.
BURST = 20


class _Reader(threading.Thread):
    """Notes what one member gets, and when."""

    def __init__(self, client: RawClient) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.got: list[tuple[float, bytes]] = []

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                opcode, payload = self.client.read_frame()
                if opcode == TEXT and payload.startswith(b"m"):
                    self.got.append((time.monotonic(), payload))


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
        reader = _Reader(self.raw_member(server, "reader", history=0))
        publisher = self.raw_member(server, "publisher", history=0)
        reader.start()
        timer = threading.Timer(seconds, server.signal, (signal.SIGKILL,))
        timer.start()
        sent = 0
        with contextlib.suppress(OSError):
            while timer.is_alive():
                numbers = range(sent, sent + BURST)
                publisher.send(b"".join(frame(TEXT, b"m%09d" % number) for number in numbers))
                sent += BURST
                # As fast as others read: else nothing would have been delivered that is not in memory still.
                while timer.is_alive() and sent - len(reader.got) > 50 * BURST:
                    time.sleep(0.001)
        timer.join()
        killed = time.monotonic()
        server.wait()
        reader.join(20)
        publisher.close()
        return killed, reader.got

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
