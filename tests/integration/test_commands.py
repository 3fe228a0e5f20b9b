"""The commands for channels, as a user types them, with a real server."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.ports import free_port

from .processes import WAIT, Process, server_environ
from .support import LOCAL, IntegrationTestCase


class CommandTests(IntegrationTestCase):
    """`mles-tx sub` and `pub`."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.shared_server(LOCAL)

    def begin(self, *arguments: str, **environ: str) -> Process:
        """A command that has been started."""
        more = {"MLES_SERVER": self.server.url} | environ
        process = Process(["mles-tx", *arguments], self.server.directory, server_environ(self.server.directory, **more))
        self.addCleanup(process.stop)
        return process

    def run_command(self, *arguments: str, typed: str | None = None, **environ: str) -> tuple[int, str]:
        """How a command ends, and all it has printed."""
        process = self.begin(*arguments, **environ)
        if typed is not None:
            for line in typed.splitlines():
                process.write_line(line)
            process.end_input()
        return process.wait(2 * WAIT), process.output

    def test_text(self) -> None:
        """What `pub` says any client hears, and `sub` prints what any client says."""
        member = self.member(self.server, "member")
        self.assertEqual(self.run_command("pub", self.channel, "disk full"), (0, ""))
        self.assertEqual(member.receive(), "disk full")
        member.send("thanks")
        member.settle()
        self.assertEqual(self.run_command("sub", self.channel, "--count", "2"), (0, "disk full\nthanks\n"))
        self.assertEqual(self.run_command("sub", self.channel, "-n", "1", "-c", "1"), (0, "thanks\n"))

    def test_lines(self) -> None:
        """Lines of standard input are messages, and code 0 says that the server has all of them."""
        lines = "".join(f"line {number}\n" for number in range(150))
        self.assertEqual(self.run_command("pub", self.channel, typed=lines), (0, ""))
        self.assertEqual(self.run_command("sub", self.channel, "--count", "150"), (0, lines))

    def test_live(self) -> None:
        """`sub` prints a line as soon as it is there, and Ctrl-C ends it without a word."""
        listening = self.begin("sub", self.channel, "--json")
        member = self.member(self.server, "member")
        member.send("now")
        self.assertEqual(json.loads(listening.read_line())["text"], "now")
        listening.signal(signal.SIGINT)
        self.assertEqual(listening.wait(), 130)
        self.assertEqual(len(listening.output.splitlines()), 1)

    def test_interrupted(self) -> None:
        """Ctrl-C ends what waits for a line or a server, without a word."""
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        for arguments, code in ((("pub", "x"), 130), (("chat", "x", "--uid", "zoe"), 0)):
            url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
            waiting = self.begin(*arguments, "--server", url, "--wait", "999")
            waiting.write_line("hello")
            silent.accept()[0].close()  # now it runs
            silent.accept()[0].close()
            waiting.signal(signal.SIGINT)
            self.assertEqual(waiting.wait(), code, waiting.output)
            self.assertNotIn("Traceback", waiting.output)
            self.assertNotIn("Fatal", waiting.output)

    def test_reader_gone(self) -> None:
        """When who reads has seen enough, `sub` ends, also while nothing is said."""
        self.run_command("pub", self.channel, "one")
        command = f"mles-tx sub '{self.channel}' | head -n 1"
        environ = server_environ(self.server.directory, MLES_SERVER=self.server.url)
        environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
        ran = subprocess.run(command, shell=True, env=environ, capture_output=True, text=True, timeout=2 * WAIT)
        self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (0, "one\n", ""))

    def test_secret(self) -> None:
        """With a secret only who has it reads; without, it is named as what it is."""
        self.assertEqual(
            self.run_command("pub", self.channel, "hello", "-u", "alice", MLES_SECRET="correct horse")[0], 0
        )
        sub = ("sub", self.channel, "-c", "1")
        self.assertEqual(self.run_command(*sub, MLES_SECRET="correct horse"), (0, "alice: hello\n"))
        size = 24 + 16 + len("2026-11-22T12:00:00Z alice: hello")
        self.assertEqual(self.run_command(*sub), (0, f"({size} bytes of binary data)\n"))

    def test_key(self) -> None:
        """A server with a key lets in who has it; a wrong key is told in one line, with code 1."""
        server = self.start_server(*LOCAL, environ={"MLES_KEY": "s3cret"})
        arguments = ("pub", "news", "hello", "--server", server.url, "--uid", "alice")
        self.assertEqual(self.run_command(*arguments, MLES_KEY="s3cret"), (0, ""))
        line = "mles-tx pub: not everything could be said: auth does not match uid, channel and key\n"
        self.assertEqual(self.run_command(*arguments, MLES_KEY="wrong"), (1, line))
        # Nobody need type anything to be told.
        waiting = self.begin("pub", "news", "--server", server.url, "--uid", "alice", MLES_KEY="wrong")
        self.assertEqual((waiting.wait(2 * WAIT), waiting.output), (1, line))
        code, line = self.run_command(*arguments)
        self.assertEqual((code, "this server needs auth" in line, line.count("\n")), (1, True, 1))

    def test_nobody(self) -> None:
        """A server that is not there, or a host there is not, ends it with code 1 and a line."""
        url = f"ws://127.0.0.1:{free_port()}/"
        for command in (("sub", "x"), ("pub", "x", "y")):
            code, line = self.run_command(*command, "--server", url, "--wait", "0")
            self.assertEqual((code, line.count("\n")), (1, 1), line)
            self.assertIn("nobody listens on 127.0.0.1:", line)
            code, line = self.run_command(*command, "--server", "ws://nowhere.invalid/", "--wait", "0")
            self.assertEqual((code, "there is no host nowhere.invalid" in line), (1, True), line)

    def test_no_mles(self) -> None:
        """What is no WebSocket server is told as well."""
        code, line = self.run_command("pub", "x", "y", "--server", self.server.url, "--uid", "\n")
        self.assertEqual((code, line.count("\n")), (1, 1), line)
