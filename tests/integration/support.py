"""What the integration tests share: the servers they talk to, and ways to be a client of one."""

import atexit
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from .clients import PING, PONG, TEXT, Member, RawClient, Reachable, Websocat, frame, join_frame
from .processes import Process, Server, build_environ, server_environ

__all__ = ["INSTALL_SECONDS", "LOCAL", "SECURE", "Contract", "IntegrationTestCase", "build_directory", "copy_checkout"]

#: The local mode, and a server with TLS and a self-signed certificate. Both take a free port.
LOCAL = ("mles-tx", "serve", "--port", "0")
SECURE = (
    *("twistd", "-n", "--pidfile=", "mles", "--domains", "localhost", "--port", "0", "--cache", "cache"),
    *("--per-ip-limit", "0"),  # all tests come from one address
)

#: Seconds for what fetches packages from an index.
INSTALL_SECONDS = 600.0

_NUMBERS = count(1)


@cache
def build_directory() -> Path:
    """A directory for what is built and installed; it stays until the tests are over, so that one fetch is enough."""
    directory = TemporaryDirectory(prefix="mles-tx-build-")
    atexit.register(directory.cleanup)
    return Path(directory.name)


def copy_checkout(destination: Path) -> None:
    """Make a clean copy of this checkout: what git holds or would take in, and nothing that was built here.

    Raises:
        SkipTest: this is no checkout.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        raise SkipTest("not in a git checkout")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout
    for name in os.fsdecode(listed).split("\0"):
        if (root / name).is_file():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, destination / name)


@cache
def _shared_server(command: Sequence[str]) -> Server:
    """A server for all tests that need one like it; trial has no fixtures for a class."""
    server = Server(command)
    atexit.register(server.stop)
    return server


class IntegrationTestCase(SynchronousTestCase):
    """A test with servers and clients, all of which end with it."""

    def setUp(self) -> None:
        #: A channel for this test alone.
        self.channel = f"{next(_NUMBERS)} {self.id()}"

    def shared_server(self, command: tuple[str, ...]) -> Server:
        """A server that other tests use as well: it has to be as good as new afterwards."""
        return _shared_server(command)

    def start_server(self, *command: str, environ: Mapping[str, str] | None = None) -> Server:
        """A server for this test alone."""
        server = Server(command, environ)
        self.addCleanup(server.stop)
        return server

    def start(self, command: Sequence[str], cwd: Path, environ: Mapping[str, str] | None = None) -> Process:
        """A process for this test alone, with the environment for builds and more variables."""
        process = Process(command, cwd, build_environ(build_directory()) | dict(environ or {}))
        self.addCleanup(process.stop)
        return process

    def run_to_end(self, command: Sequence[str], cwd: Path) -> str:
        """The output of a process that fetches or builds something; it has to succeed."""
        process = self.start(command, cwd)
        code = process.wait(INSTALL_SECONDS)
        self.assertEqual(code, 0, process.output)
        return process.output

    def member(self, server: Reachable, uid: str, channel: str | None = None, **more: object) -> Member:
        """A member that uses the `websockets` library; the server has taken it in."""
        client = self.client(server)
        client.send(join_frame(uid, channel or self.channel, **more))
        client.settle()
        return client

    def client(self, server: Reachable) -> Member:
        """A connection made with the `websockets` library; nothing is said on it yet."""
        client = Member(server)
        self.addCleanup(client.leave)
        return client

    def websocat(self, server: Server, *options: str) -> Websocat:
        """The `websocat` program with options and the server's URL."""
        trust = ["--insecure"] if server.is_secure else []
        command = ["websocat", server.url, *trust, *options]
        client = Websocat(command, server.directory, server_environ(server.directory))
        self.addCleanup(client.stop)
        return client

    def raw(self, server: Reachable, *, receive_buffer: int | None = None) -> RawClient:
        """A bare connection."""
        return self.enterContext(RawClient(server, receive_buffer))

    def raw_member(self, server: Server, uid: str, *, receive_buffer: int | None = None, **more: object) -> RawClient:
        """A bare connection that is a member; the server has taken it in, and there was no history for it."""
        client = self.raw(server, receive_buffer=receive_buffer)
        self.assertEqual(client.upgrade().status, 101)
        client.send(frame(TEXT, join_frame(uid, self.channel, **more).encode()) + frame(PING, b"joined"))
        self.assertEqual(client.read_frame(), (PONG, b"joined"))
        return client

    def await_join(self, server: Server, uid: str) -> None:
        """Wait until the server has taken in a member of this test's channel, as its log tells."""
        server.expect(f"joined: uid {re.escape(uid)}, channel {re.escape(self.channel[:64])},")

    def assert_healthy(self, server: Server) -> None:
        """Two members exchange a message as ever, and the server has logged no fault."""
        number = next(_NUMBERS)
        alice = self.member(server, f"alice-{number}", f"health-{number}")
        bob = self.member(server, f"bob-{number}", f"health-{number}")
        self.assertEqual(bob.receive(), join_frame(f"alice-{number}", f"health-{number}"))
        alice.send("are you there?")
        self.assertEqual(bob.receive(), "are you there?")
        bob.send(b"yes")
        self.assertEqual(alice.receive(), b"yes")
        alice.leave()
        bob.leave()
        # The log is written in order: with this line everything before it is there.
        server.expect(f"left: uid bob-{number},")
        self.assert_no_faults(server)

    def assert_no_faults(self, server: Server) -> None:
        """The server has logged no fault of its own since the last look."""
        faults = server.new_faults()
        if faults:
            self.fail(f"the server has logged a fault of its own:\n{faults}")


#: The base of tests that hold for several kinds of server: classes of test cases add the kind.
if TYPE_CHECKING:
    Contract = IntegrationTestCase
else:
    Contract = object
