"""`mles-tx auth`."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.auth import AuthOptions, auth


class AuthTests(SynchronousTestCase):
    """The value it prints."""

    def printed(self, *arguments: str, key: bytes | None = None) -> tuple[object, str]:
        """How it ends, and what it prints."""
        options = AuthOptions({} if key is None else {b"MLES_KEY": key})
        options.parseOptions(list(arguments))
        out = StringIO()
        with redirect_stdout(out):
            ended = self.assertRaises(SystemExit, auth, options)
        return ended.code, out.getvalue()

    def test_values(self) -> None:
        """With a key, and without one, it is what clients and servers expect."""
        self.assertEqual(self.printed("alice", "example"), (0, "9b3b95527f7c2d80\n"))
        self.assertEqual(self.printed("alice", "example", key=b"s3cret"), (0, "2446b8f3f28ff385\n"))

    def test_file(self) -> None:
        """The key may stand in a file."""
        with TemporaryDirectory() as directory:
            path = Path(directory) / "key"
            path.write_text("s3cret\n")
            self.assertEqual(self.printed("alice", "example", "--key-file", str(path)), (0, "2446b8f3f28ff385\n"))

    def test_bad(self) -> None:
        """What makes no sense is told in one line."""
        self.assertIn("uid ''", str(self.printed("", "example")[0]))
        self.assertIn("key: empty", str(self.printed("alice", "example", key=b"")[0]))
        self.assertIn("--key-file /nowhere", str(self.printed("alice", "example", "--key-file", "/nowhere")[0]))
        error = self.assertRaises(usage.UsageError, AuthOptions({}).parseOptions, ["alice"])
        self.assertEqual(str(error), "give UID CHANNEL, and nothing more")
