"""The programs of docs/clients.md, as they stand there."""

import re
from itertools import count
from pathlib import Path

from .processes import Process, server_environ
from .support import LOCAL, IntegrationTestCase

_PAGE = Path(__file__).parents[2] / "docs" / "clients.md"

_PROGRAM = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class ClientExampleTests(IntegrationTestCase):
    """Each program of the page does what the page says."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.start_server(*LOCAL)
        self.member_ = self.member(self.server, "member", "example")

    def program(self, name: str) -> Process:
        """One of the programs, started."""
        text = dict(_PROGRAM.findall(_PAGE.read_text()))[name]
        (self.server.directory / name).write_text(text)
        environ = server_environ(self.server.directory)
        process = Process(("python", name, self.server.url), self.server.directory, environ)
        self.addCleanup(process.stop)
        return process

    def test_echo(self) -> None:
        """The echo answers what is said, and leaves when it is told to."""
        program = self.program("echo.py")
        self.server.expect("joined: uid echo,")
        # What is said before the replay seems to be over is no news to it.
        for number in count():
            self.member_.send(f"hello {number}")
            try:
                self.assertRegex(str(self.member_.receive(2)), r"^you said hello \d+$")
                break
            except TimeoutError:
                pass
        self.member_.send("enough")
        self.assertEqual(program.wait(), 0, program.output)

    def test_asyncio(self) -> None:
        """The program with asyncio says something, hears something, and leaves."""
        program = self.program("asyncio_client.py")
        self.assertEqual(self.member_.receive(), "hello from asyncio")
        program.expect('heard {"uid":"member","channel":"example"}')
        self.assertEqual(program.wait(), 0, program.output)
