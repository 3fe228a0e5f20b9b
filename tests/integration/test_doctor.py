"""`mles-tx doctor` as a process, against a real server, a DNS server and a certificate authority's directory."""

import json
import re
import signal
import socket
import ssl
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from twisted.names import dns

from mles_tx.transport.certificates.authority import Authority
from mles_tx.transport.certificates.store import CertificateDirectory
from tests.cli.names import DnsServer, a, aaaa, caa
from tests.ports import free_port
from tests.transport.certificates.making import NOW, make

from .processes import Process, server_environ
from .support import SECURE, IntegrationTestCase

LOCAL_CA = make("localhost", "127.0.0.1")


class _Authority:
    """A certificate authority's directory, over https on loopback."""

    def __init__(self, directory: Path) -> None:
        self.answer: tuple[int, object] = (200, {})
        self.date: str | None = None
        self.silent = threading.Event()
        self.silent.set()
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                authority.silent.wait()
                code, value = authority.answer
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return authority.date or super().date_time_string(timestamp)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.root = directory / "root.pem"
        self.root.write_bytes(LOCAL_CA.certificate_pem)
        key = directory / "authority.pem"
        key.write_bytes(LOCAL_CA.key_pem + LOCAL_CA.certificate_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}/directory"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self.silent.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class DoctorTests(IntegrationTestCase):
    """Before the first certificate."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(mode=0o700)
        self.authority = _Authority(self.directory)
        self.addCleanup(self.authority.stop)
        urls = {name: f"{self.authority.url}/{name}" for name in ("newNonce", "newAccount", "newOrder")}
        self.authority.answer = (200, {**urls, "meta": {"caaIdentities": ["ca.example"]}})
        self.dns = DnsServer({"localhost": [a("127.0.0.1")]})
        self.addCleanup(self.dns.stop)

    def doctor(self, *options: str) -> Process:
        """The command, with the names and the authority of this test."""
        own = (
            *("--dns", f"127.0.0.1:{self.dns.port}", "--interface", "127.0.0.1"),
            *("--acme-directory", self.authority.url, "--acme-ca", str(self.authority.root)),
        )
        process = Process(("mles-tx", "doctor", *own, *options), self.directory, server_environ(self.directory))
        self.addCleanup(process.stop)
        return process

    def found(self, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
        """The exit code, and what the table says of each check: verdict and finding, with the remedy behind it."""
        process = self.doctor(*options)
        code = process.wait()
        self.assertNotIn("Traceback", process.output)
        lines = process.output.splitlines()
        self.assertEqual(lines[-2:], ["", "Whether the internet reaches these ports cannot be seen from here."])
        table = "\n".join(lines[:-2])
        rows = re.findall(r"^(\S.*?) +(ok|warn|fail|unknown) +(\S.*(?:\n +-> .*)?)$", table, re.MULTILINE)
        self.assertEqual(sum(1 + text.count("\n") for *_, text in rows), len(lines) - 2, process.output)
        return code, {name: (verdict, text) for name, verdict, text in rows}

    def test_running_server(self) -> None:
        """With a running server all is well: who listens, which certificate there is, who may issue."""
        server = self.shared_server(SECURE)
        cache = server.directory / "cache"
        cache.chmod(0o700)
        code, table = self.found("--domains", "localhost", "--port", str(server.port), "--cache", str(cache))
        self.assertEqual(code, 0)
        self.assertEqual(
            [(name, verdict) for name, (verdict, _) in table.items()],
            [
                *(("authority", "ok"), ("clock", "ok"), ("cache", "ok"), (f"port {server.port}", "warn")),
                *(("name localhost", "ok"), ("CAA localhost", "ok"), ("certificate localhost", "ok")),
            ],
        )
        self.assertEqual(table["authority"][1], f"{self.authority.url} answers")
        self.assertTrue(table[f"port {server.port}"][1].startswith("a Mles server listens there; but authorities"))
        self.assertEqual(table["name localhost"][1], "resolves to 127.0.0.1, of this machine")
        self.assertRegex(table["certificate localhost"][1], r"^self-signed, until \d{4}-\d\d-\d\d \d\d:\d\d UTC$")
        self.assert_healthy(server)

    def test_before_the_first_start(self) -> None:
        """Before anything runs the ports are free, and the cache is made later; nothing is left behind."""
        port, redirect_port = free_port(), free_port()
        cache = self.directory / "cache"
        code, table = self.found(
            *("--domains", "localhost", "--port", str(port), "--redirect-port", str(redirect_port)),
            *("--cache", str(cache)),
        )
        self.assertEqual(code, 0)
        self.assertEqual(table["cache"], ("ok", f"--cache {cache} will be made at the first start"))
        self.assertEqual(table[f"port {redirect_port}"], ("ok", "is free: the server can listen there"))
        self.assertEqual(table["certificate localhost"][0], "ok")
        self.assertIn("there is none yet", table["certificate localhost"][1])
        self.assertFalse(cache.exists())

    def test_kept_certificate(self) -> None:
        """While no server runs, the certificate that this authority has issued before is told, and no other's."""
        cache = self.directory / "cache"
        for url, days in ((self.authority.url, 60), ("https://other.example/", 90)):
            made = make("localhost", issuer=make(common_name="Example CA"), days=days)
            directory = CertificateDirectory(cache / "acme" / Authority(directory=url).folder / "certificates")
            directory.save("localhost", made.objects)
        cache.chmod(0o700)
        options = ("--domains", "localhost", "--port", str(free_port()), "--cache", str(cache))
        code, table = self.found(*options)
        until = f"{NOW + timedelta(days=60):%Y-%m-%d %H:%M} UTC"
        self.assertEqual(code, 0)
        self.assertEqual(
            table["certificate localhost"],
            ("ok", f"kept, and not served at the moment: from Example CA, until {until}"),
        )
        self.assertEqual(table["cache"], ("ok", f"--cache {cache} can be written to, by its owner alone"))
        key = next(iter(cache.rglob("*.pem")))
        key.chmod(0o644)
        code, table = self.found(*options)
        self.assertEqual(code, 1)
        self.assertEqual(table["cache"][1].splitlines()[0], f"{key} has mode 0644: others can get at its key")

    def test_everything_wrong(self) -> None:
        """Each thing that is wrong has its line and its remedy, and the command fails."""
        self.dns.zone = {
            "chat.example": [a("127.0.0.1"), a("203.0.113.7"), caa("issue", "other.example")],
            "broken.example": dns.ESERVER,
            "six.example": [a("127.0.0.1"), aaaa("2001:db8::7")],
            "example": [],
        }
        self.authority.date = "Mon, 01 Jan 2001 00:00:00 GMT"
        self.authority.answer = (503, b"<html>down for maintenance\x1b[2J")
        cache = self.directory / "cache"
        cache.write_text("")
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            threading.Thread(target=self._greet, args=(other,), daemon=True).start()
            port = other.getsockname()[1]
            code, table = self.found(
                *("--domains", "chat.example,broken.example,six.example,nowhere.example"),
                *("--port", str(port), "--cache", str(cache)),
            )
        self.assertEqual(code, 1)
        self.assertEqual(
            {name: verdict for name, (verdict, _) in table.items()},
            {
                "authority": "fail",
                "clock": "fail",
                "cache": "fail",
                f"port {port}": "fail",
                "name chat.example": "fail",
                "CAA chat.example": "unknown",  # without a directory nobody knows what the authority is called
                "certificate chat.example": "unknown",
                "name broken.example": "fail",
                "CAA broken.example": "fail",
                "certificate broken.example": "unknown",
                "name six.example": "fail",
                "CAA six.example": "ok",
                "certificate six.example": "unknown",
                "name nowhere.example": "fail",
                "CAA nowhere.example": "ok",
                "certificate nowhere.example": "unknown",
            },
        )
        self.assertIn("2001:db8::7", table["name six.example"][1])
        self.assertIn("ahead of the authority's", table["clock"][1])
        for name, (verdict, text) in table.items():
            self.assertEqual((name, "\n" in text), (name, verdict != "ok"))

    def _greet(self, other: socket.socket) -> None:
        """Another program, which speaks another protocol."""
        while True:
            try:
                connection, _ = other.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")

    def test_caa(self) -> None:
        """CAA records of a name above the domain count, and those for another authority are in the way."""
        port = str(free_port())
        for issuer, code, verdict in (("ca.example", 0, "ok"), ("other.example", 1, "fail")):
            self.dns.zone = {
                "chat.test": [a("127.0.0.1")],
                "test": [caa("issue", issuer), caa("iodef", "mailto:ca@chat.test")],
            }
            found, table = self.found("--domains", "chat.test", "--port", port)
            self.assertEqual((found, table["CAA chat.test"][0]), (code, verdict))
            self.assertIn("of test allow", table["CAA chat.test"][1])

    def test_unknown_authority(self) -> None:
        """An authority whose certificate the system does not know is told, with the option that helps."""
        command = (
            *("mles-tx", "doctor", "--domains", "localhost", "--interface", "127.0.0.1"),
            *("--dns", f"127.0.0.1:{self.dns.port}", "--port", str(free_port())),
            *("--acme-directory", self.authority.url),
        )
        process = Process(command, self.directory, server_environ(self.directory))
        self.addCleanup(process.stop)
        self.assertEqual(process.wait(), 1)
        self.assertIn("--acme-ca", process.output)
        self.assertNotIn("Traceback", process.output)

    def test_silence(self) -> None:
        """Where nobody answers it says so, and ends all the same."""
        self.authority.silent.clear()
        self.dns.silent = True
        code, table = self.found("--domains", "chat.test", "--port", str(free_port()))
        self.assertEqual(code, 1)
        self.assertEqual(table["authority"][0], "fail")
        self.assertIn("no answer within 4 seconds", table["authority"][1])
        for name in ("clock", "name chat.test", "CAA chat.test"):
            self.assertEqual((name, table[name][0]), (name, "unknown"))

    def test_interrupted(self) -> None:
        """Ctrl-C and SIGTERM end it at once, with a line and no table."""
        self.authority.silent.clear()
        self.dns.silent = True
        for number in (signal.SIGINT, signal.SIGTERM):
            self.dns.asked.clear()
            self.dns.heard.clear()
            process = self.doctor("--domains", "chat.test", "--port", str(free_port()))
            self.assertTrue(self.dns.heard.wait(20), "it has begun to look")
            process.signal(number)
            self.assertEqual((process.wait(), process.output), (130, "mles-tx doctor: interrupted\n"))

    def test_wrong_usage(self) -> None:
        """Called wrongly it says what is wrong in one line, with a code of its own."""
        for options, line in (
            (("--nonsense",), "option --nonsense not recognized; --help lists the options"),
            ((), "--domains: give the domains the certificate is to be for"),
            (("--domains", "localhost", "--acme-ca", "none.pem"), "--acme-ca none.pem: No such file or directory"),
        ):
            process = self.doctor(*options)
            self.assertEqual((process.wait(), process.output), (2, f"mles-tx doctor: {line}\n"))
