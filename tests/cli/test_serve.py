"""`mles-tx serve`, as a process: it has a reactor and signals of its own."""

import json
import re
import signal
import socket
from http.client import HTTPConnection
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.banner import banner
from mles_tx.service.config import ServerConfig
from mles_tx.service.pages import bundled_pages
from tests.integration.processes import WAIT, Process, Server, server_environ

SERVE = ("mles-tx", "serve", "--port", "0")


class ServeTests(SynchronousTestCase):
    """A server in the foreground."""

    def start(self, *options: str, environ: dict[str, str] | None = None) -> Server:
        """A server that has come up."""
        server = Server((*SERVE, *options), environ)
        self.addCleanup(server.stop)
        return server

    def test_serves(self) -> None:
        """It says where it serves, and serves there."""
        server = self.start()
        lines = banner(ServerConfig(), server.port, 1)[:-1]  # the last one tells what the machine has
        server.expect(re.escape(lines[-1]))
        self.assertIn("\n".join(lines), server.output)
        connection = HTTPConnection("127.0.0.1", server.port, timeout=WAIT)
        self.addCleanup(connection.close)
        connection.request("GET", "/", headers={"Host": "localhost"})
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.read()), (200, (bundled_pages() / "index.html").read_bytes()))
        self.assertNotIn("Traceback", server.output)

    def test_ends_well(self) -> None:
        """Ctrl-C and SIGTERM end it with code 0 and without a traceback, from the moment it says that it serves."""
        for number in (signal.SIGINT, signal.SIGTERM):
            server = self.start()
            server.signal(number)
            self.assertEqual((number, server.wait()), (number, 0))
            self.assertNotIn("Traceback", server.output)

    def test_logs_to_standard_error(self) -> None:
        """Who joins stands in the log, with a time; the key and what was said do not."""
        server = self.start(environ={"MLES_KEY": "s3cret"})
        with server.dial() as client:
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Protocol: mles-websocket\r\n\r\n"
            )
            self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 101 "))
            client.sendall(self._frame({"uid": "alice", "channel": "example", "auth": "2446b8f3f28ff385"}))
            client.sendall(self._frame({"say": "unspeakable"}))
            server.expect(r"^\d{4}-\d\d-\d\dT\S+ .*joined: uid alice, channel example")
        server.expect("left: uid alice")
        for secret in ("s3cret", "2446b8f3f28ff385", "unspeakable"):
            self.assertNotIn(secret, server.output)

    def _frame(self, value: dict[str, str]) -> bytes:
        payload = json.dumps(value).encode()
        return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload

    def test_cannot_start(self) -> None:
        """A port that is taken, or a cache that cannot be, is told in one line, with code 1."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            directory = Path(self.mktemp()).absolute()
            directory.mkdir()
            for options, line in (
                (
                    ("--port", str(port)),
                    f"mles: cannot listen on 127.0.0.1:{port}: another program listens there:"
                    " stop it, or choose another --port",
                ),
                (
                    ("--port", "0", "--domains", "localhost", "--cache", "/dev/null/cache"),
                    "mles: --cache /dev/null/cache: Not a directory; give a directory that can be written to",
                ),
            ):
                process = Process(("mles-tx", "serve", *options), directory, server_environ(directory))
                self.addCleanup(process.stop)
                self.assertEqual((process.wait(), process.output), (1, line + "\n"))
