"""Running the tests of several modules at a time."""

import os
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .jobs import Counts, modules_of, run

_ENDINGS = """
from twisted.trial.unittest import SynchronousTestCase

class EndingTests(SynchronousTestCase):
    def test_passes(self):
        print("half a line", end="")

    def test_fails(self):
        self.fail("as it should")

    def test_skipped(self):
        pass

    test_skipped.skip = "no such part"
"""


class RunTests(SynchronousTestCase):
    """Modules in processes of their own."""

    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "endings_one.py").write_text(_ENDINGS)
        (directory / "endings_two.py").write_text(_ENDINGS)
        (directory / "dying.py").write_text("import os\n\nos._exit(7)\n")
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": str(directory)})
        self.output = StringIO()

    def test_counts(self) -> None:
        """What ends in any way in any of the processes is counted and shown."""
        counts = run(["endings_one", "endings_two"], 2, output=self.output)
        self.assertEqual((counts.passed, counts.failed), (2, 2))
        skipped = {(f"endings_{number}.EndingTests.test_skipped", "no such part") for number in ("one", "two")}
        self.assertEqual(set(counts.skipped), skipped)
        self.assertEqual(self.output.getvalue().count("FailTest: as it should"), 2)
        self.assertNotIn("\0", self.output.getvalue())

    def test_one_after_the_other(self) -> None:
        """A process takes one module after the other."""
        counts = run(["endings_one", "endings_two"], 1, output=self.output)
        self.assertEqual((counts.passed, counts.failed, len(counts.skipped)), (2, 2, 2), self.output.getvalue())

    def test_dying(self) -> None:
        """A process that dies is a failure, and the module it ran is named."""
        self.assertEqual(run(["dying"], 1, output=self.output), Counts(failed=1))
        self.assertIn("a process ended with 7; it ran dying", self.output.getvalue())

    def test_not_to_be_had(self) -> None:
        """A name that stands for nothing is a failure."""
        self.assertEqual(run(["tests.not_there"], 1, output=self.output), Counts(failed=1))


class ModuleTests(SynchronousTestCase):
    """What is handed out."""

    def test_packages(self) -> None:
        """A package is all modules of tests below it, those with real servers first."""
        modules = modules_of(["tests"])
        self.assertIn("tests.stores.redis.test_link", modules)
        self.assertIn("tests.test_jobs", modules)
        self.assertNotIn("tests.jobs", modules)
        self.assertIn("integration", modules[0])
        self.assertNotIn("integration", modules[-1])

    def test_others(self) -> None:
        """Everything else stays what it is."""
        name = "tests.protocol.test_frames.RunTests"
        self.assertEqual(modules_of([name]), [name])
