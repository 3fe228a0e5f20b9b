"""The whole program as a server that orders its certificates, and what tests of it have in common."""

import atexit
import re
import signal
import socket
import ssl
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mles_tx.transport.certificates.authority import Authority

from ..processes import WAIT, Process, Server, server_environ
from ..support import IntegrationTestCase
from .pebble import Pebble
from .ports import Seen, look

__all__ = ["SERVE", "SHORT", "TWISTD", "AcmeServer", "AcmeServerTestCase", "Held", "pebble", "visit"]

SERVE = ("mles-tx", "serve")
TWISTD = ("twistd", "-n", "--pidfile=", "mles")


#: Seconds for which the certificates of the quick authority are valid: the server renews them after two thirds.
SHORT = 8


@cache
def pebble(kind: str = "") -> Pebble:
    """An authority for all tests that need one like it; each has ports of its own where it looks."""
    found = Pebble(validity=SHORT, bad_nonces=50) if kind == "short" else Pebble()
    atexit.register(found.remove)
    found.start()
    return found


class AcmeServer(Server):
    """A server that orders its certificates. Its first domain is a.test.

    Args:
        command: how it is started.
        ca: who issues the certificates.
        cache: its directory for certificates; it may outlive the server.
        options: more options.

    Attributes:
        code: that of its exit when it is told to end.
    """

    def __init__(self, command: Sequence[str], ca: Pebble, cache: Path, *options: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="mles-tx-test-")
        self.directory = Path(self._directory.name)
        self._looked_to = 0
        self._ca = ca
        self.code = -signal.SIGTERM if command is TWISTD else 0  # twistd ends with the signal itself
        own = (
            *("--interface", "127.0.0.1", "--per-ip-limit", "0", "--email", "me@example.org"),
            *("--acme-directory", ca.url, "--acme-ca", str(ca.ca), "--cache", str(cache)),
        )
        Process.__init__(self, [*command, *own, *options], self.directory, server_environ(self.directory))
        try:
            match = self.expect(r"serving wss://a\.test:(\d+)/$")
            self.expect("up to .* connections at one time")
        except BaseException:
            self.stop()
            raise
        self.is_secure = True
        self.port = int(match[1])
        self.url = f"wss://a.test:{self.port}/"

    def trust(self) -> ssl.SSLContext:
        """A TLS context that trusts the authority, and nobody else."""
        return ssl.create_default_context(cadata=self._ca.root())

    def await_certificates(self, *names: str, times: int = 1) -> None:
        """Wait until it serves its first certificate for each name, or whichever `times` says."""
        for name in names:
            self.expect(rf"(?s)(serving the certificate for {re.escape(name)}: valid until .*){{{times}}}", 2 * WAIT)

    def has_served(self, name: str, times: int) -> bool:
        """Whether it has come to serve that many certificates for a name; a quarter of a second is waited for it."""
        try:
            self.expect(rf"(?s)(serving the certificate for {re.escape(name)}: valid until .*){{{times}}}", 0.25)
        except AssertionError:
            return False
        return True


class Held:
    """A port where an authority is let in and told nothing, so that an order stays under way."""

    def __init__(self, port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        self._listening.settimeout(WAIT)
        self._accepted: list[socket.socket] = []

    def await_authority(self) -> None:
        """Wait until it has come."""
        self._accepted.append(self._listening.accept()[0])

    def close(self) -> None:
        """Let go; any number of times."""
        for sock in (*self._accepted, self._listening):
            sock.close()


def visit(port: int, name: str, root: str | None = None, **more: Any) -> Seen:
    """Ask for the page of a host; `root` is the one certificate to trust, None: any. For more see `look`."""
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    return look(port, name, root=root, say=request.encode(), to_the_end=True, **more)


class AcmeServerTestCase(IntegrationTestCase):
    """A cache directory, and servers on it."""

    def setUp(self) -> None:
        super().setUp()
        self.cache = Path(self.mktemp()).absolute() / "cache"

    def serve(self, command: Sequence[str], ca: Pebble, *options: str, held: bool = False) -> AcmeServer:
        """A server where the authority looks for it; `held`: somewhere else."""
        port = 0 if held else ca.tls_port
        server = AcmeServer(command, ca, self.cache, "--port", str(port), *options)
        self.addCleanup(server.stop)
        return server

    def hold(self, port: int) -> Held:
        """Somebody else at a port."""
        held = Held(port)
        self.addCleanup(held.close)
        return held

    def folder(self, ca: Pebble) -> Path:
        """Where a server keeps what has to do with an authority."""
        return self.cache / "acme" / Authority(ca.url).folder

    def end(self, server: AcmeServer) -> None:
        """A server that is told to end does so without a complaint."""
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(), server.code, server.output)
        self.assertNotIn("Traceback", server.output)
        self.assert_no_faults(server)

    def assert_no_challenges(self, ca: Pebble) -> None:
        """No answer to a challenge is left behind."""
        self.assertEqual([path for path in (self.folder(ca) / "challenges").rglob("*") if path.is_file()], [])

    def assert_page(self, seen: Seen) -> None:
        """Somebody has got a page."""
        self.assertEqual((seen.protocol, seen.echoed[:15]), ("http/1.1", b"HTTP/1.1 200 OK"))

    def assert_no_secrets(self, output: str) -> None:
        """Nothing of a key that is kept is in the log."""
        keys = [text for path in self.cache.rglob("*.pem") if "PRIVATE KEY" in (text := path.read_text())]
        self.assertGreaterEqual(len(keys), 2)  # the account's, and a certificate's
        self.assertNotIn("PRIVATE KEY", output)
        for text in keys:
            for body in re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", text, re.DOTALL):
                for line in body.splitlines():
                    self.assertNotIn(line, output)
