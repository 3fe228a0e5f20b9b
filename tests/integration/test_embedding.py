"""The programs of docs/embedding.md, as they stand there: started, talked to, and stopped."""

import re
import signal
import tempfile
from pathlib import Path

from .clients import Member, RawClient, frame, join_frame
from .processes import Process, Server, server_environ
from .support import IntegrationTestCase

_PAGE = Path(__file__).parents[2] / "docs" / "embedding.md"

_PROGRAM = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs() -> dict[str, str]:
    """The programs by their names."""
    return {name: f"# {name}\n{text}" for name, text in _PROGRAM.findall(_PAGE.read_text())}


class Embedded(Server):
    """A program from the page, that says where it listens.

    Args:
        name: which one.
        command: how it is started.
        says: what it writes before the number of its port.
        path: where WebSocket clients find it.
    """

    def __init__(self, name: str, command: tuple[str, ...], says: str, path: str = "") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="mles-tx-test-")
        self._looked_to = 0
        self.directory = Path(self._directory.name)
        (self.directory / name).write_text(programs()[name])
        Process.__init__(self, command, self.directory, server_environ(self.directory))
        try:
            self.port = int(self.expect(rf"\b{says} (\d+)\b")[1])
        except BaseException:
            self.stop()
            raise
        self.is_secure = False
        self.url = f"ws://localhost:{self.port}/{path}"


class EmbeddingTests(IntegrationTestCase):
    """Each program of the page does what the page says."""

    def embedded(self, name: str, path: str = "") -> Embedded:
        """One of the programs that listen; it ends with the test."""
        program = Embedded(name, ("python", name), "listening on port", path)
        self.addCleanup(program.stop)
        return program

    def exchange(self, server: Server) -> tuple[Member, Member]:
        """Two members that have talked to each other."""
        alice, bob = self.member(server, "alice"), self.member(server, "bob", history=0)
        alice.send("hello")
        self.assertEqual(bob.receive(), "hello")
        bob.send(b"\x01")
        self.assertEqual(alice.receive(), b"\x01")
        return alice, bob

    def test_page(self) -> None:
        """The page has the programs that are tried here."""
        names = {"started.py", "service.tac", "mounted.py", "speaking.py", "test_news.py"}
        self.assertEqual(programs().keys(), names)

    def test_started(self) -> None:
        """A server that was started with `run` serves, and ends cleanly on either signal; its members are told."""
        for number in (signal.SIGTERM, signal.SIGINT):
            server = self.embedded("started.py")
            members = self.exchange(server)
            server.signal(number)
            self.assertEqual([member.closed() for member in members], [(1001, "server is stopping")] * 2)
            server.wait()
            server.expect("^received 2 messages$")
            self.assert_no_faults(server)

    def test_service(self) -> None:
        """A server that is a child of an application's service runs under twistd."""
        server = Embedded("service.tac", ("twistd", "-ny", "service.tac", "--pidfile="), "starting on")
        self.addCleanup(server.stop)
        alice, _ = self.exchange(server)
        server.signal(signal.SIGTERM)
        self.assertEqual(alice.closed(), (1001, "server is stopping"))
        server.wait()
        self.assert_no_faults(server)

    def test_mounted(self) -> None:
        """A server in a site has its members at its address, and the site its own pages, before and after them."""
        server = self.embedded("mounted.py", "chat")
        alice, _ = self.exchange(server)
        browser = self.raw(server)
        self.assertEqual(browser.request().body, b"the application's own page\n")
        self.assertEqual(browser.request(path="/chat").status, 426)
        self.assertEqual(browser.request(path="/nothing").status, 404)
        self.assertEqual(browser.upgrade(path="/chat").status, 101)
        self.assertEqual(self._eager(server).read_frame(), (1, b"hello"))
        server.signal(signal.SIGTERM)
        self.assertEqual(alice.closed(), (1001, "server is stopping"))
        self.assertEqual(browser.read_close(), (1001, "server is stopping"))
        browser.answer_close()
        server.wait()
        self.assert_no_faults(server)

    def _eager(self, server: Server) -> RawClient:
        """A client that sends its first frame with its request, and asks for the last text of the history."""
        client = self.raw(server)
        first = frame(1, join_frame("eager", self.channel, history=2).encode())
        client.send(client.upgrade_request(path="/chat") + first)
        self.assertEqual(client.read_answer().status, 101)
        return client

    def test_speaking(self) -> None:
        """A program that is a member itself answers its users, and tells them news by the clock."""
        server = self.embedded("speaking.py")
        asking = self.member(server, "alice", "clock", history=0)
        asking.send("what time is it?")
        self.assertRegex(str(asking.receive()), r"^\d+$")
        listening = self.member(server, "alice", "ticks", history=0)
        self.assertEqual(listening.receive_some(3), ["tick"] * 3)
        server.signal(signal.SIGTERM)
        self.assertEqual(listening.closed(), (1001, "server is stopping"))
        server.wait()
        self.assert_no_faults(server)

    def test_tests(self) -> None:
        """The page's test of an application passes."""
        with tempfile.TemporaryDirectory(prefix="mles-tx-test-") as name:
            directory = Path(name)
            (directory / "test_news.py").write_text(programs()["test_news.py"])
            process = Process(("trial", "test_news"), directory, server_environ(directory, PYTHONPATH=name))
            self.addCleanup(process.stop)
            self.assertEqual(process.wait(), 0, process.output)
            process.expect(r"^Ran 2 tests")
