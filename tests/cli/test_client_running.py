"""How a command that is a client is run: in a process of its own, as a reactor runs once."""

import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.client_running import require_streams

PROGRAM = """
import asyncio, sys
from twisted.internet.defer import Deferred
from mles_tx.cli.client_running import Failed, run

async def main(reactor):
    {body}

run("mles-tx x", main)
"""

#: What a command does, how it ends, and what stands on standard error.
CASES = (
    ("return 0", 0, ""),
    ("return 3", 3, ""),
    ("raise Failed('no luck')", 1, "mles-tx x: no luck\n"),
    ("raise BrokenPipeError", 1, ""),
    ("raise ValueError('oops')", 1, "ValueError: oops"),
)


class StreamsTests(SynchronousTestCase):
    """Standard input and output."""

    def test_closed(self) -> None:
        """Where one of them is closed the line says so."""
        require_streams("mles-tx x")
        for name in ("stdin", "stdout"):
            self.patch(sys, name, None)
            self.assertIn("is closed", str(self.assertRaises(SystemExit, require_streams, "mles-tx x").code))


class RunTests(SynchronousTestCase):
    """Ends."""

    def test_ends(self) -> None:
        """The code is the command's; what went wrong stands on one line, but for faults of the program itself."""
        for body, code, text in CASES:
            ran = subprocess.run([sys.executable, "-c", PROGRAM.format(body=body)], capture_output=True, text=True)
            self.assertEqual((body, ran.returncode), (body, code), ran.stderr)
            self.assertIn(text, ran.stderr)
            if not text:
                self.assertEqual(ran.stderr, "")

    def test_interrupted(self) -> None:
        """Ctrl-C ends it with 130, after it has cleaned up, and without a word."""
        body = (
            "\n    try:\n        reactor.callLater(0, print, 'ready', flush=True)\n        await Deferred()"
            "\n    finally:\n        print('clean', flush=True)"
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format(body=body)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "ready\n")
            process.send_signal(number)
            out, err = process.communicate()
            self.assertEqual((process.returncode, out, err), (130, "clean\n", ""))
