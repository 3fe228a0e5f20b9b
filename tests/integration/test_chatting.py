"""`mles-tx chat` in a terminal, as somebody types into it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from .processes import WAIT, Server, server_environ
from .support import LOCAL, IntegrationTestCase

#: What moves a cursor or sets a colour.
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][0-9A-B]|[=>])")


class Terminal:
    """A program on a pseudo-terminal of 24 rows.

    Args:
        arguments: of `mles-tx`.
        server: whom it talks to.
    """

    def __init__(self, arguments: list[str], server: Server) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        environ = server_environ(server.directory, MLES_SERVER=server.url, TERM="xterm-256color")
        program = str(Path(sys.executable).with_name("mles-tx"))
        self.process = subprocess.Popen(
            [program, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
        )
        os.close(slave)
        self.output = b""

    def type(self, data: bytes) -> None:
        """Press keys."""
        os.write(self._master, data)

    def expect(self, text: str) -> None:
        """Wait until something stands on the screen."""
        end = time.monotonic() + 2 * WAIT
        while text not in _ESCAPES.sub(b"", self.output).decode("utf-8", "replace").replace("\r", ""):
            if time.monotonic() > end or not self.read():
                raise AssertionError(f"{text!r} is not on the screen:\n{self.output.decode('utf-8', 'replace')}")

    def read(self) -> bool:
        """Take what comes; False when the program has ended."""
        if not select.select([self._master], [], [], 0.5)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        if b"\x1b[6n" in data:
            self.type(b"\x1b[24;1R")  # a terminal tells where its cursor is
        self.output += data
        return bool(data)

    def wait(self) -> int:
        """Its end."""
        end = time.monotonic() + 2 * WAIT
        while self.read():
            if time.monotonic() > end:
                raise AssertionError(f"it does not end:\n{self.output.decode('utf-8', 'replace')}")
        return self.process.wait(WAIT)

    def stop(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


class ChatTests(IntegrationTestCase):
    """Somebody at a terminal."""

    def chat(self, server: Server, *arguments: str) -> Terminal:
        terminal = Terminal(["chat", self.channel, *arguments], server)
        self.addCleanup(terminal.stop)
        terminal.expect("connected to")
        return terminal

    def test_talk(self) -> None:
        """Two talk: edited lines, a paste of many lines as one message, escapes shown and not obeyed, and Ctrl-D."""
        server = self.shared_server(LOCAL)
        alice = self.chat(server, "--uid", "alice")
        bob = self.chat(server, "--uid", "bob")
        alice.type(b"helo\x7flo\r")  # with a slip corrected
        bob.expect("alice: hello")
        bob.type(b"\x1b[200~one\ntwo\x1b[201~\r")
        alice.expect("bob: one\n      two")
        member = self.member(server, "member")
        member.send("\x1b[31mred\x07")
        alice.expect("\ufffd[31mred\ufffd")
        alice.type(b"\x04")
        self.assertEqual(alice.wait(), 0)
        bob.type(b"\x03")
        self.assertEqual(bob.wait(), 0)

    def test_restart(self) -> None:
        """When the server goes, that is told; what was typed meanwhile is said when it is back."""
        server = self.start_server(*LOCAL)
        alice = self.chat(server, "--uid", "alice")
        server.stop()
        alice.expect("trying again in")
        alice.type(b"are you back?\r")
        again = self.start_server(*LOCAL[:-1], str(server.port))
        listener = self.member(again, "listener")
        while "are you back?" not in str(listener.receive(2 * WAIT)):
            pass
        alice.type(b"\x04")
        self.assertEqual(alice.wait(), 0)
