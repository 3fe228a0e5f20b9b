"""The power fails at any moment: what of a history is on the disk then."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SkipTest

from mles_tx.channels.history import MAX_CHANNEL_BYTES
from mles_tx.protocol.frames import payload_of
from mles_tx.stores.writer import Writer

from .power_cut import DELIVERED, LIMIT, Disk, read_records
from .processes import server_environ
from .support import Contract, IntegrationTestCase

_HERE = Path(__file__).parent

#: How often the power fails, evenly spread over what is done.
POINTS = 80


class PowerCutContract(Contract):
    """What holds however durable it is to be."""

    durability: str

    def setUp(self) -> None:
        super().setUp()
        compiler = shutil.which(os.environ.get("CC") or "cc")
        if compiler is None or not sys.platform.startswith("linux"):
            raise SkipTest("there is no C compiler, or this is not Linux")
        self.directory = Path(self.enterContext(TemporaryDirectory(prefix="mles-tx-test-"))).resolve()
        shim = self.directory / "record.so"
        command = [compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", str(shim), str(_HERE / "record.c"), "-ldl"]
        built = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual((built.returncode, built.stderr), (0, ""))
        recorded = self.directory / "recorded"
        recorded.mkdir(mode=0o700)
        environ = server_environ(self.directory, LD_PRELOAD=str(shim), RECORD_OF=str(recorded))
        environ |= {"RECORD_TO": str(self.directory / "records"), "PYTHONPATH": str(_HERE.parents[1])}
        child = [sys.executable, "-m", "tests.integration.power_cut", str(recorded / "h.db"), self.durability]
        ran = subprocess.run(child, env=environ, capture_output=True, text=True)
        self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (0, "", ""))
        self.records = read_records(self.directory / "records")
        self.recorded = str(recorded)
        # What the record says is what is there: nothing was done past it.
        whole = Disk(self.recorded)
        for record in self.records:
            whole.do(record)
        for name, content in whole.cut(None):
            if name not in (DELIVERED, "h.db.lock"):
                self.assertEqual(content, (recorded / name).read_bytes(), name)

    def cuts(self, chance: random.Random | None) -> "list[tuple[int, dict[str, bytes], dict[str, list[bytes]]]]":
        """At each point: how much was done, the files that are left, and what had been delivered on each channel."""
        points = {len(self.records) * number // POINTS for number in range(1, POINTS + 1)}
        disk, delivered, found = Disk(self.recorded), b"", []
        for at, record in enumerate(self.records, 1):
            disk.do(record)
            if record.path.endswith(DELIVERED):
                delivered += record.data
            if at in points:
                files = {name: content for name, content in disk.cut(chance) if name != DELIVERED}
                by_channel: dict[str, list[bytes]] = {}
                for line in delivered.splitlines():
                    channel, _, text = line.partition(b" ")
                    by_channel.setdefault(channel.decode(), []).append(text)
                found.append((at, files, by_channel))
        self.assertEqual(len(found), POINTS)
        return found

    def stored(self, files: dict[str, bytes]) -> dict[str, list[bytes]]:
        """The history that a server finds; the file is intact."""
        directory = Path(self.enterContext(TemporaryDirectory(prefix="mles-tx-test-")))
        for name, content in files.items():
            (directory / name).write_bytes(content)
        writer = Writer(directory / "h.db", LIMIT, MAX_CHANNEL_BYTES, full_sync=False)
        rows = writer.open()
        found = {}
        for row in rows:
            messages = [message for _, message in writer.read(row.name, None) if not message.is_join]
            found[row.name] = [payload_of(message.frame) for message in messages]
        assert writer._tables is not None
        self.assertTrue(writer._tables.is_intact())
        writer.close()
        return found

    def test_unsynced_writes_lost(self) -> None:
        """When all that was not synced is lost, the history is one of a moment before, without a gap."""
        for at, files, delivered in self.cuts(None):
            self.check(at, self.stored(files), delivered)

    def test_unsynced_writes_torn(self) -> None:
        """The same holds when any of it has come to the disk all the same, in whatever order."""
        for seed in (1, 2):
            for at, files, delivered in self.cuts(random.Random(seed)):
                self.check(at, self.stored(files), delivered)

    def check(self, at: int, stored: dict[str, list[bytes]], delivered: dict[str, list[bytes]]) -> None:
        """What is stored of each channel is right."""
        self.assertEqual(set(stored) - {"c0", "c1", "c2"}, set())
        for channel, texts in stored.items():
            self.assertEqual(texts, sorted(texts), f"{at} of {len(self.records)}")
            self.check_channel(at, texts, delivered.get(channel, []))
        if self.durability == "strict":
            self.assertEqual(set(delivered) - set(stored), set())

    def check_channel(self, at: int, stored: list[bytes], delivered: list[bytes]) -> None:
        raise NotImplementedError


class StrictPowerCutTests(PowerCutContract, IntegrationTestCase):
    """When messages are delivered once they are on disk."""

    durability = "strict"

    def check_channel(self, at: int, stored: list[bytes], delivered: list[bytes]) -> None:
        """All that was delivered is there, as far as a channel remembers, and perhaps what was about to be."""
        ends = stored.index(delivered[-1]) + 1 if delivered else 0
        known = stored[:ends]
        self.assertEqual(known, delivered[len(delivered) - len(known) :], f"{at} of {len(self.records)}")
        # A channel remembers so many messages, join frames included.
        self.assertGreaterEqual(len(stored), min(len(delivered), LIMIT - 5), f"{at} of {len(self.records)}")


class RelaxedPowerCutTests(PowerCutContract, IntegrationTestCase):
    """With the durability as it is by default: some are lost, and nothing else."""

    durability = "relaxed"

    def check_channel(self, at: int, stored: list[bytes], delivered: list[bytes]) -> None:
        """It is the end of what had been delivered at some moment before."""
        if stored:
            self.assertIn(stored[-1], delivered, f"{at} of {len(self.records)}")
            ends = delivered.index(stored[-1]) + 1
            self.assertEqual(stored, delivered[ends - len(stored) : ends], f"{at} of {len(self.records)}")
