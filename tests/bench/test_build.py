"""What is said when the C programs cannot be built."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.build import BuildError, build, remedy

#: What compilers say, and what has to be in our line.
COMPLAINTS = (
    ("client.h:11:10: fatal error: openssl/ssl.h: No such file or directory", "apt-get install libssl-dev"),
    ("/usr/bin/ld: cannot find -lssl: No such file or directory\ncollect2: error: ld", "apt-get install libssl-dev"),
    ("wire.h:9:10: fatal error: stdio.h: No such file or directory", "apt-get install libc6-dev"),
    ("note: here\nfloor.c:3: error: expected ';'\nmore", "cannot be compiled: floor.c:3: error: expected ';'"),
    ("", "cannot be compiled: no output"),
)


class BuildTests(SynchronousTestCase):
    """Missing parts."""

    def test_remedies(self) -> None:
        """The line names the package to install."""
        for output, wanted in COMPLAINTS:
            self.assertIn(wanted, remedy(output))
            self.assertNotIn("\n", remedy(output))

    def test_no_compiler(self) -> None:
        """Without a compiler the line says which package has one."""
        self.patch(os, "environ", {"PATH": self.mktemp()})
        error = self.assertRaises(BuildError, build, Path(self.mktemp()))
        self.assertIn("apt-get install gcc", str(error))
