"""A history in a file as its operator sees it: restarts, the command beside a running server, two servers."""

import signal
import stat
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from .clients import join_frame
from .processes import WAIT, Process, Server, server_environ
from .support import LOCAL, IntegrationTestCase


class LiveHistoryTests(IntegrationTestCase):
    """One file."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.enterContext(TemporaryDirectory(prefix="mles-tx-test-")))
        self.path = self.directory / "history.db"
        self.marks = count(1)

    def serve(self, *options: str) -> Server:
        """A server on the file."""
        return self.start_server(*LOCAL, "--history", f"sqlite:{self.path}", *options)

    def command(self, *arguments: str, lines: str | None = None, code: int = 0) -> str:
        """What `mles-tx history` says."""
        process = Process(["mles-tx", "history", *arguments], self.directory, server_environ(self.directory))
        self.addCleanup(process.stop)
        if lines is not None:
            process.write_line(lines)
            process.end_input()
        self.assertEqual(process.wait(), code, process.output)
        return process.output

    def said_on(self, server: Server, channel: str) -> list[str]:
        """What a newcomer is sent, without join frames."""
        mark = f"mark {next(self.marks)}"
        last = self.member(server, mark, channel, history=0)
        last.send(mark)
        last.settle()
        reader = self.client(server)
        reader.send(join_frame(f"reader of {mark}", channel))
        found = []
        while (text := reader.receive()) != mark:
            assert isinstance(text, str)
            if not text.startswith(("{", "mark")):
                found.append(text)
        reader.leave()
        last.leave()
        return found

    def test_restart(self) -> None:
        """What was said in the moment before a server ends is there when it starts again, for its owner's eyes only."""
        for durability in ("relaxed", "strict"):
            server = self.serve("--durability", durability)
            alice = self.member(server, "alice", history=0)
            texts = [f"{durability} {number}" for number in range(100)]
            for text in texts:
                alice.send(text)
            alice.settle()
            server.signal(signal.SIGTERM)
            self.assertIn(server.wait(), (0, -signal.SIGTERM))
            self.assertEqual(server.new_faults(), "")
        for path in self.directory.glob("history.db*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
        server = self.serve()
        expected = [f"{durability} {number}" for durability in ("relaxed", "strict") for number in range(100)]
        self.assertEqual(self.said_on(server, self.channel), expected[3:], "200, with join frames and a mark")
        self.assert_healthy(server)

    def test_beside_a_server(self) -> None:
        """The command works on the file of a running server, which shows what has changed within a second."""
        server = self.serve()
        alice = self.member(server, "alice", "one", receive=False)  # who does not read sees no answer to a ping
        for text in ("1", "2", "3"):
            alice.send(text)
        alice.settle()
        self.wait_for(lambda: "3\n" in self.command("show", str(self.path), "one"))
        self.assertIn("         4 ", self.command("list", str(self.path)))
        exported = self.command("export", str(self.path), "one")
        pruned = self.command("prune", "--keep", "2", str(self.path))
        self.assertEqual(pruned, "1 channels looked at, 2 messages deleted\n")
        self.wait_for(lambda: self.said_on(server, "one") == ["2", "3"])
        imported = self.command("import", str(self.path), lines=exported.replace('"one"', '"two"'))
        self.assertEqual(imported, "4 of 4 messages were new\n")
        self.wait_for(lambda: self.said_on(server, "two") == ["1", "2", "3"])
        alice.send("4")
        alice.settle()
        self.assertEqual(self.said_on(server, "one"), ["2", "3", "4"])
        self.assert_healthy(server)

    def wait_for(self, holds: Callable[[], bool]) -> None:
        """Wait until something is so that takes a second on a machine that has nothing else to do."""
        ends = time.monotonic() + WAIT
        while not holds():
            self.assertLess(time.monotonic(), ends)

    def test_two_servers(self) -> None:
        """A second server on the same file does not start, and says why; the first one goes on."""
        server = self.serve()
        second = Process(
            ["mles-tx", "serve", "--port", "0", "--history", f"sqlite:{self.path}"],
            self.directory,
            server_environ(self.directory),
        )
        self.addCleanup(second.stop)
        self.assertEqual(second.wait(), 1)
        self.assertEqual(
            second.output,
            f"mles: --history sqlite:{self.path}: another server uses it; give each server a file of its own\n",
        )
        self.assert_healthy(server)

    def test_cannot_start(self) -> None:
        """A file that cannot be used ends the start with one line."""
        nowhere = self.directory / "nowhere" / "h.db"
        process = Process(
            ["mles-tx", "serve", "--port", "0", "--history", f"sqlite:{nowhere}"],
            self.directory,
            server_environ(self.directory),
        )
        self.addCleanup(process.stop)
        self.assertEqual(process.wait(), 1)
        self.assertEqual(
            process.output,
            f"mles: --history sqlite:{nowhere}: there is no directory {nowhere.parent}; make it, for its owner alone\n",
        )
