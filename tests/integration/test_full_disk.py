"""A real server whose history is on a file system of 2 MiB."""

import contextlib
import os
import signal
import sqlite3
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SkipTest
from websockets.exceptions import ConnectionClosed

from mles_tx.protocol.frames import payload_of
from tests.torture.full_disk import fill_up

from .clients import Member
from .support import LOCAL, Contract, IntegrationTestCase

MIB = 1024 * 1024


def message(number: int) -> str:
    """A message of 1 KiB that is like no other."""
    return f"{number:05} ".ljust(1024, "x")


class FullDiskContract(Contract):
    """What holds however durable it is to be."""

    durability: str

    def setUp(self) -> None:
        super().setUp()
        self.disk = Path(self.enterContext(TemporaryDirectory(prefix="mles-tx-test-")))
        if os.geteuid() != 0:
            raise SkipTest("only root can mount a small file system")
        command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(self.disk)]
        mounted = subprocess.run(command, capture_output=True, text=True)
        if mounted.returncode:
            raise SkipTest(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(self.disk)], check=True)
        self.path = self.disk / "history.db"
        self.filler = self.disk / "filler"
        # Once it has gone, what is in the journal has to fit a second time, into the database.
        self.filler.write_bytes(bytes(MIB))
        options = ("--rate-limit", "0", "--limit", "9999", "--durability", self.durability)
        self.server = self.start_server(*LOCAL, *options, "--history", f"sqlite:{self.path}")

    def pair(self, name: str) -> tuple[Member, Member]:
        """Two members."""
        return self.member(self.server, f"{name}-a", history=0), self.member(self.server, f"{name}-b", history=0)

    def recover(self) -> None:
        """There is room again, and the server finds out."""
        self.assertNotIn("written to again", self.server.output)
        self.filler.unlink()
        self.server.expect(r"history .*: is written to again")
        self.server.signal(signal.SIGUSR1)
        self.server.expect(r"metrics: .*history_waiting 0, .*history_faults 1,")

    def stored(self) -> list[str]:
        """What is in the file when the server has ended; it is intact."""
        self.server.signal(signal.SIGTERM)
        self.server.wait()
        self.assertEqual(self.server.output.count("#error]"), 1)
        self.assertNotIn("Traceback", self.server.output)
        database = sqlite3.connect(self.path)
        self.addCleanup(database.close)
        self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        rows = database.execute("SELECT frame FROM messages WHERE NOT is_join ORDER BY n")
        return [payload_of(frame).decode() for (frame,) in rows]


class RelaxedFullDiskTests(FullDiskContract, IntegrationTestCase):
    """With the durability as it is by default."""

    durability = "relaxed"

    def test_full(self) -> None:
        """While the disk is full, members hear each other as ever; all of it is in the file once there is room."""
        alice, bob = self.pair("one")
        for number in range(2000):
            alice.send(message(number))
            self.assertEqual(bob.receive(), message(number))
        self.server.expect(
            r"#error\] history .*history\.db: the disk is full; messages are delivered, and written later"
        )
        self.recover_in_a_larger_one()
        self.assertEqual(self.stored(), [message(number) for number in range(2000)])

    def recover_in_a_larger_one(self) -> None:
        """It all fits in there now."""
        subprocess.run(["mount", "-o", "remount,size=16m", str(self.disk)], check=True)
        self.recover()


class StrictFullDiskTests(FullDiskContract, IntegrationTestCase):
    """When messages are delivered once they are on disk."""

    durability = "strict"

    def test_full(self) -> None:
        """What is refused is heard by nobody, its sender is told to try again, and can as soon as there is room."""
        alice, bob = self.pair("one")
        alice.send(message(0))
        heard: list[str | bytes] = [bob.receive()]
        fill_up(self.disk)
        with contextlib.suppress(ConnectionClosed):
            for number in range(1, 2000):
                alice.send(message(number))
        self.assertEqual(alice.closed(), (1013, "message could not be stored; try again"))
        carol = self.member(self.server, "carol", history=0)
        carol.send("too early")
        self.assertEqual(carol.closed()[0], 1013)
        self.recover()
        dave = self.member(self.server, "dave", history=0)
        dave.send("now")
        while heard[-1] != "now":
            heard.append(bob.receive())
        self.assertEqual(heard[:-1], [message(number) for number in range(len(heard) - 1)])
        self.assertEqual([text for text in self.stored() if text != "now"], heard[:-1])
