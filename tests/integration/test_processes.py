"""Processes that tests start."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_SHOW = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"

_START = f"""
import os, sys
from pathlib import Path
from tests.integration.processes import Process
process = Process((sys.executable, "-c", {_SHOW!r}), Path(), os.environ)
process.wait()
print(process.output)
"""


class ProcessTests(SynchronousTestCase):
    """What a child finds."""

    def test_in_the_background(self) -> None:
        """A child can be interrupted, also when the tests run where Ctrl-C is ignored: in a shell's background."""
        command = ["sh", "-c", 'trap \'\' INT; exec "$0" -c "$1"', sys.executable, _START]
        ran = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
        self.assertEqual(ran.stdout.split(), ["True"])
