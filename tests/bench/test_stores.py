"""Our server with each kind of history."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import stores
from bench.servers import ServerError, Target
from bench.stores import VARIANTS, Variant, cpu_seconds, processes_of, start_redis, start_variant


class VariantTests(SynchronousTestCase):
    """The ways to run it."""

    def test_started(self) -> None:
        """Each is started with its history, and its workers are known as well."""
        asked: list[tuple[str, ...]] = []

        def start(directory: Path, options: tuple[str, ...], name: str) -> Target:
            asked.append(options)
            return Target(name, "localhost", "127.0.0.1", 1, True, (os.getpid(),))

        self.patch(stores, "start_ours", start)
        for number, variant in enumerate(VARIANTS):
            target = start_variant(Path("/d"), variant, Path("/d/redis.sock"), number)
            self.assertEqual((target.name, target.pids[0]), (variant.name, os.getpid()))
        self.assertEqual(asked[0], ("--history", "memory"))
        self.assertEqual(asked[2], ("--history", "sqlite:/d/strict.db", "--durability", "strict"))
        self.assertEqual(asked[4], ("--history", "redis+unix:///d/redis.sock?db=4", "--workers", "2"))
        self.assertEqual([Variant("x", kind).is_on_redis for kind in ("memory", "redis")], [False, True])

    def test_no_redis(self) -> None:
        """Without a Redis it is told what to install."""
        self.patch(shutil, "which", lambda name: None)
        error = self.assertRaises(ServerError, start_redis, Path("/d"), None)
        self.assertIn("apt-get install redis-server", str(error))


class ProcessTests(SynchronousTestCase):
    """What processes take."""

    def test_children(self) -> None:
        """Children belong to a process, and what they take counts."""
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            self.assertIn(child.pid, processes_of([os.getpid()]))
        finally:
            child.communicate(b"\n")
        self.assertGreater(cpu_seconds([os.getpid()]), 0.0)
