"""`mles-tx history` on files."""

import io
import json
import sqlite3
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import MAX_CHANNEL_BYTES
from mles_tx.cli.main import main
from mles_tx.protocol.frames import payload_of
from mles_tx.stores.schema import connect, create
from mles_tx.stores.tables import Batch, Tables
from tests.channels.fakes import said
from tests.stores.contract import join_of

DAY = 86_400_000_000

#: Arguments that are wrong, and what is said about them.
WRONG = (
    ("", "a command is needed: list, show, export, import or prune"),
    ("lisst x", "Unknown command: lisst"),
    ("list", "give the file of the history"),
    ("list a b", "give one file and nothing else"),
    ("show a", "give one file and one channel"),
    ("show a b c", "give one file and one channel"),
    ("show --last 0 a b", "--last '0': give a whole number from 1 to 999999999"),
    ("import a b c", "give one file, and one with the lines of an export, or these on standard input"),
    ("prune a", "give channels, --idle DAYS or --keep N: else all would be forgotten"),
    ("prune --keep x a", "--keep 'x': give a whole number from 1 to 999999999"),
)


class HistoryTests(SynchronousTestCase):
    """The commands."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.path = self.directory / "history.db"
        self.now = time.time_ns() // 1000
        create(self.path)
        self.write("old", self.now - 40 * DAY, "1", "2", "3")
        self.write("new", self.now - DAY, "4", "5")

    def write(self, channel: str, n: int, *texts: str) -> None:
        database = connect(self.path)
        tables = Tables(database, 1000, MAX_CHANNEL_BYTES)
        with tables.transaction():
            tables.append([Batch(channel, n, [said(text) for text in texts])])
        database.close()

    def texts(self, channel: str) -> list[str]:
        database = connect(self.path)
        found = Tables(database, 1000, MAX_CHANNEL_BYTES).read(channel)
        database.close()
        return [payload_of(message.frame).decode() for _, message in found]

    def run_command(self, *arguments: str, stdin: str = "") -> tuple[object, str, str]:
        """How it ends: code, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdin", io.StringIO(stdin))
        code: object = None
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main(["history", *arguments])
            except SystemExit as error:
                code = error.code
        return code, out.getvalue(), err.getvalue()

    def good(self, *arguments: str, stdin: str = "") -> list[str]:
        """The lines of one that succeeds."""
        code, out, err = self.run_command(*arguments, stdin=stdin)
        self.assertEqual((code, err), (0, ""))
        return out.splitlines()

    def test_wrong(self) -> None:
        """What is called wrongly says so in one line, and ends with code 2."""
        for arguments, text in WRONG:
            self.assertEqual(
                self.run_command(*arguments.split()), (2, "", f"mles-tx history: {text}; --help says more\n")
            )

    def test_list(self) -> None:
        """The channels are listed, the least recently used first; the file may be written as for --history."""
        lines = self.good("list", str(self.path))
        self.assertEqual(
            [line.split()[0:2] + line.split()[3:] for line in lines[1:]], [["3", "9", "old"], ["2", "6", "new"]]
        )
        self.assertEqual(self.good("list", f"sqlite:{self.path}"), lines)

    def test_show(self) -> None:
        """What was said on a channel is shown, or the end of it."""
        self.assertEqual(
            [line.split("Z  ")[1] for line in self.good("show", str(self.path), "new")], ["alice: 4", "alice: 5"]
        )
        self.assertEqual(
            [line.split("Z  ")[1] for line in self.good("show", "-n", "1", str(self.path), "new")], ["alice: 5"]
        )

    def test_faults(self) -> None:
        """What cannot be done ends with code 1 and a line that says why."""
        nothing, broken, other = (self.directory / name for name in ("nothing", "broken", "other"))
        broken.write_bytes(b"no database" * 1000)
        sqlite3.connect(other).execute("CREATE TABLE x (y)").connection.close()
        for arguments, text in (
            (("list", str(nothing)), f"{nothing}: there is no such file"),
            (("list", str(self.directory)), f"{self.directory}: there is no such file"),
            (("list", str(broken)), f"{broken}: the file is broken"),
            (("list", str(other)), f"{other}: a database of another program; give another file"),
            (("show", str(self.path), "x"), "channel 'x': nothing was said there"),
            (("prune", str(self.path), "new", "x"), "channel 'x': nothing was said there"),
            (("import", str(self.path), str(nothing)), f"{nothing}: no such file or directory"),
        ):
            self.assertEqual(self.run_command(*arguments), (1, "", f"mles-tx history: {text}\n"))
        self.assertEqual(self.texts("new"), ["4", "5"])

    def test_locked(self) -> None:
        """A file that somebody does not let go of cannot be changed, and that is said."""
        self.patch(sys.modules["mles_tx.cli.history"], "_BUSY_SECONDS", 0.01)
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        code, out, err = self.run_command("prune", str(self.path), "new")
        other.close()
        self.assertEqual((code, out, err), (1, "", f"mles-tx history: {self.path}: another program has it locked\n"))

    def test_export_and_import(self) -> None:
        """What is exported can be imported into another file; twice is as good as once."""
        lines = self.good("export", str(self.path))
        self.assertEqual([json.loads(line)["text"] for line in lines], ["1", "2", "3", "4", "5"])
        self.assertEqual(self.good("export", str(self.path), "new"), lines[3:])
        self.path = self.directory / "second.db"
        create(self.path)
        text = "\n".join(lines) + "\n\n"
        self.assertEqual(self.good("import", str(self.path), stdin=text), ["5 of 5 messages were new"])
        source = self.directory / "lines"
        source.write_text(text)
        self.assertEqual(self.good("import", str(self.path), str(source)), ["0 of 5 messages were new"])
        self.assertEqual(self.good("export", str(self.path)), lines)

    def test_import_in_between(self) -> None:
        """Imported messages stand where they belong by their time, and of join frames the newest is kept."""
        lines = [
            {"channel": "new", "n": self.now - 2 * DAY, "uid": "bob", "text": "before"},
            {"channel": "new", "n": self.now, "uid": "bob", "text": "after"},
            {"channel": "new", "n": self.now - DAY + 1, "uid": "bob", "text": "at the same time"},
        ]
        out = self.good("import", str(self.path), stdin="\n".join(map(json.dumps, lines)))
        self.assertEqual(out, ["3 of 3 messages were new"])
        self.assertEqual(self.texts("new"), ["before", "4", "5", "at the same time", "after"])

    def test_import_of_many(self) -> None:
        """Any number of messages can be imported, of any number of channels."""
        lines = [{"channel": f"c{n % 3}", "n": n + 1, "uid": "bob", "text": str(n)} for n in range(1000)]
        out = self.good("import", str(self.path), stdin="\n".join(map(json.dumps, lines)))
        self.assertEqual(out, ["1000 of 1000 messages were new"])
        self.assertEqual(self.texts("c1"), [str(n) for n in range(1, 1000, 3)])

    def test_import_of_something_else(self) -> None:
        """The first line that is no message ends it, with its number; what stands before it is there."""
        good = json.dumps({"channel": "new", "n": 5, "uid": "bob", "text": "x"})
        code, out, err = self.run_command("import", str(self.path), stdin=f"{good}\n\n{{}}\n{good}\n")
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(
            err,
            "mles-tx history: standard input, line 3: not the fields channel, n, uid and text or data, perhaps join;"
            " what stands before it was added\n",
        )
        self.assertEqual(self.texts("new"), ["x", "4", "5"])

    def test_prune(self) -> None:
        """Channels are forgotten by name or by age, and others keep what they have."""
        self.assertEqual(
            self.good("prune", "--idle", "41", str(self.path)), ["0 channels forgotten, 0 messages deleted"]
        )
        self.assertEqual(
            self.good("prune", "--idle", "30", str(self.path)), ["1 channels forgotten, 3 messages deleted"]
        )
        self.assertEqual((self.texts("old"), self.texts("new")), ([], ["4", "5"]))
        self.assertEqual(self.good("prune", str(self.path), "new"), ["1 channels forgotten, 2 messages deleted"])
        self.assertEqual(self.good("list", str(self.path))[1:], [])

    def test_prune_messages(self) -> None:
        """Of all channels, or of some, the last messages can be kept."""
        self.assertEqual(
            self.good("prune", "--keep", "2", str(self.path)), ["2 channels looked at, 1 messages deleted"]
        )
        self.assertEqual((self.texts("old"), self.texts("new")), (["2", "3"], ["4", "5"]))
        self.good("prune", "--keep", "1", str(self.path), "new")
        self.assertEqual((self.texts("old"), self.texts("new")), (["2", "3"], ["5"]))

    def test_prune_gives_room_back(self) -> None:
        """A file gets smaller when much is pruned."""
        for number in range(20):
            self.write(f"c{number}", self.now + number * 1000, *("x" * 1000 for _ in range(100)))
        before = self.path.stat().st_size
        self.good("prune", "--keep", "1", str(self.path))
        self.assertLess(self.path.stat().st_size, before // 3)

    def test_joins(self) -> None:
        """Of several join frames of one uid the newest stays, wherever it comes from."""
        database = connect(self.path)
        tables = Tables(database, 1000, MAX_CHANNEL_BYTES)
        with tables.transaction():
            tables.append([Batch("new", self.now, [join_of("bob")])])
        database.close()
        lines = self.good("export", str(self.path), "new")
        for n, where in ((self.now - 5 * DAY, 0), (self.now + 5, 2)):
            line = json.dumps(json.loads(lines[-1]) | {"n": n})
            self.good("import", str(self.path), stdin=line)
            exported = [json.loads(line) for line in self.good("export", str(self.path), "new")]
            self.assertEqual([fields.get("join", False) for fields in exported].count(True), 1, f"{where}")
            self.assertEqual(exported[-1]["n"], max(n, self.now))
