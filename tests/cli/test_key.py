"""`mles-tx key`."""

from contextlib import redirect_stdout
from io import StringIO

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.key import KeyOptions, key


class KeyTests(SynchronousTestCase):
    """What it prints."""

    def test_random(self) -> None:
        """Each is another one, long enough and easy to paste."""
        keys = set()
        for _ in range(10):
            out = StringIO()
            with redirect_stdout(out):
                self.assertEqual(self.assertRaises(SystemExit, key, KeyOptions()).code, 0)
            self.assertRegex(out.getvalue(), r"^[A-Za-z0-9_-]{43}\n$")
            keys.add(out.getvalue())
        self.assertEqual(len(keys), 10)

    def test_bad(self) -> None:
        """It takes nothing."""
        self.assertRaises(usage.UsageError, KeyOptions().parseOptions, ["x"])
