"""The client library with a real server: links that are cut, a server that restarts, certificates."""

import hashlib
import signal
import ssl
import sys
from pathlib import Path

from tests import rounds

from .processes import WAIT, Process, server_environ
from .relay import Relay
from .support import LOCAL, SECURE, IntegrationTestCase

#: Messages of a run: in a long one the ten thousand that are promised.
NUMBER = rounds(1_000, 10_000)

PROGRAM = str(Path(__file__).with_name("library_program.py"))
ROOT = Path(__file__).parents[2]


class LibraryTests(IntegrationTestCase):
    """Two clients of the library, in a process of their own."""

    def program(self, *arguments: str) -> Process:
        process = Process([sys.executable, *arguments], ROOT, server_environ(ROOT) | {"PYTHONPATH": str(ROOT)})
        self.addCleanup(process.stop)
        return process

    def test_cuts(self) -> None:
        """Links of both are cut at random, in the middle of frames: each message comes once, and in order."""
        server = self.start_server(*LOCAL, "--rate-limit", "0", "--limit", str(NUMBER))
        relays = Relay(server, 1, 2_000), Relay(server, 2, 2_000)
        for relay in relays:
            self.addCleanup(relay.stop)
        program = self.program(PROGRAM, relays[0].url, relays[1].url, str(NUMBER), "100")
        self.assertEqual(program.wait(20 * WAIT), 0, program.output)
        self.assertTrue(program.output.endswith("in order\n"), program.output)
        self.assertGreater(min(relay.cuts for relay in relays), 0)
        self.assert_no_faults(server)

    def test_restart(self) -> None:
        """A server that is killed and comes back with its history: each message comes once, and in order."""
        server = self.start_server(*LOCAL, "--rate-limit", "0", "--history", "sqlite:history", "--durability", "strict")
        relay = Relay(server, 3, 1 << 40)
        self.addCleanup(relay.stop)
        program = self.program(PROGRAM, relay.url, relay.url, "300", "20")
        program.expect("heard 100$", 5 * WAIT)
        history = server.directory / "history"
        server.signal(signal.SIGKILL)
        server.wait()
        again = self.start_server(
            *LOCAL, "--rate-limit", "0", "--history", f"sqlite:{history}", "--durability", "strict"
        )
        relay.target = again.port
        self.assertEqual(program.wait(20 * WAIT), 0, program.output)
        self.assertTrue(program.output.endswith("in order\n"), program.output)

    def test_certificates(self) -> None:
        """A certificate is believed when its authority or its fingerprint is; the line says what is wrong otherwise."""
        server = self.shared_server(SECURE)
        path = server.directory / "cache" / "self-signed" / "localhost.pem"
        pem = path.read_text()
        begin, end = pem.index("-----BEGIN CERTIFICATE"), pem.index("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(pem[begin : end + len("-----END CERTIFICATE-----")])
        fingerprint = hashlib.sha256(der).hexdigest()
        url, numeric = f"wss://localhost:{server.port}/", f"wss://127.0.0.2:{server.port}/"
        environ = server_environ(server.directory)
        for arguments, line in (
            (("--ca-file", str(path), "--server", url), ""),
            (("--fingerprint", fingerprint, "--server", numeric), ""),
            (("--server", url), f"the certificate of localhost:{server.port} is not one to be trusted"),
            (("--fingerprint", "ab" * 32, "--server", url), "is not one to be trusted"),
            (("--ca-file", str(path), "--server", numeric), "is for another name"),
        ):
            process = Process(["mles-tx", "pub", self.channel, "hello", *arguments], server.directory, environ)
            self.addCleanup(process.stop)
            self.assertEqual((arguments, process.wait(2 * WAIT)), (arguments, 1 if line else 0), process.output)
            self.assertIn(line, process.output)
