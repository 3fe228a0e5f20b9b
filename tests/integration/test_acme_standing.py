"""The whole program once it has its certificate: what clients, browsers and operators find."""

import atexit
import re
import socket
import ssl
import tempfile
from contextlib import closing
from functools import cache
from http.client import HTTPConnection
from pathlib import Path

from tests.cli.names import DnsServer, a

from .acme.pebble import Pebble
from .acme.servers import SERVE, TWISTD, AcmeServer, AcmeServerTestCase, pebble, visit
from .processes import WAIT, Process, server_environ


def _request(port: int, method: str, path: str, host: str) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields in lower case, and body of an answer over plain HTTP."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=WAIT)) as connection:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@cache
def _standing() -> tuple[AcmeServer, Pebble, Path]:
    """A server that has its certificate, on both ports, for all tests that only look at it; and its cache."""
    ca = pebble("standing")
    directory = tempfile.TemporaryDirectory(prefix="mles-tx-cache-")
    atexit.register(directory.cleanup)
    ports = ("--port", str(ca.tls_port), "--redirect-port", str(ca.http_port))
    server = AcmeServer(SERVE, ca, Path(directory.name), "--domains", "a.test", *ports)
    atexit.register(server.stop)
    server.await_certificates("a.test")
    return server, ca, Path(directory.name)


class StandingTests(AcmeServerTestCase):
    """A server that has its certificate."""

    def test_redirects(self) -> None:
        """The redirect port sends browsers of our hosts to https with path and query, and tells others nothing."""
        server, ca, _ = _standing()
        to = f"https://a.test:{server.port}"
        challenge = "/.well-known/acme-challenge/abcdefghijklmnop"
        for method, path, host, status, location in (
            ("GET", "/", "a.test", 301, f"{to}/"),
            ("GET", "/some/path?query=1&more=%20", f"a.test:{ca.http_port}", 301, f"{to}/some/path?query=1&more=%20"),
            ("HEAD", "/x?y", "A.TEST", 301, f"{to}/x?y"),
            ("GET", "//other.example/", "a.test", 301, f"{to}//other.example/"),
            ("GET", challenge, "a.test", 404, None),
            ("GET", "/secret-path", "other.example", 404, None),
            ("GET", challenge, "other.example", 404, None),
            ("POST", "/", "a.test", 405, None),
            ("POST", "/", "other.example", 404, None),
        ):
            with self.subTest(method=method, path=path, host=host):
                got, headers, body = _request(ca.http_port, method, path, host)
                self.assertEqual((got, headers.get("location")), (status, location))
                self.assertEqual(body == b"", method == "HEAD")
                self.assertGreater(int(headers["content-length"]), 0)
                if location is None:
                    told = body.decode() + repr(headers)
                    for marker in ("other.example", "secret-path", "abcdefghijklmnop", "a.test"):
                        self.assertNotIn(marker, told)
        self.assert_no_faults(server)

    def test_redirect_port_in_use(self) -> None:
        """A redirect port that somebody has is told in one line with the option's name, and nothing is started."""
        for command in (SERVE, TWISTD):
            with socket.create_server(("127.0.0.1", 0)) as other:
                port = other.getsockname()[1]
                options = (
                    *("--domains", "a.test", "--port", "0", "--redirect-port", str(port)),
                    *("--interface", "127.0.0.1", "--cache", str(self.cache)),
                )
                directory = Path(self.mktemp()).absolute()
                directory.mkdir()
                process = Process([*command, *options], directory, server_environ(directory))
                self.addCleanup(process.stop)
                code = process.wait()
            said = [line.partition("mles: ")[2] for line in process.output.splitlines() if "mles: " in line]
            remedy = "another program listens there: stop it, or choose another --redirect-port"
            self.assertEqual((code, said), (1, [f"cannot listen on 127.0.0.1:{port}: {remedy}"]), process.output)
            self.assertNotIn("Traceback", process.output)
            self.assertNotIn("serving", process.output)
            self.assertFalse(self.cache.exists())

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 alone are enough, also for clients without ALPN; a look for a challenge ends in an alert."""
        server, ca, _ = _standing()
        root = ca.root()
        for version, called in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            seen = visit(server.port, "a.test", root, version=version)
            self.assertEqual((seen.version, seen.names), (called, ["a.test"]))
            self.assert_page(seen)
            with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
                visit(server.port, "a.test", protocols=("acme-tls/1",), version=version)
            seen = visit(server.port, "a.test", root, protocols=(), version=version)
            self.assertEqual((seen.protocol, seen.echoed[:15]), (None, b"HTTP/1.1 200 OK"))
        self.assert_no_faults(server)

    def test_doctor(self) -> None:
        """The doctor finds a server well that has its certificate, and who has issued it."""
        server, ca, cache_directory = _standing()
        dns = DnsServer({"a.test": [a("127.0.0.1")], "test": []})
        self.addCleanup(dns.stop)
        command = (
            *("mles-tx", "doctor", "--domains", "a.test", "--interface", "127.0.0.1", "--cache", str(cache_directory)),
            *("--acme-directory", ca.url, "--acme-ca", str(ca.ca), "--dns", f"127.0.0.1:{dns.port}"),
            *("--port", str(server.port), "--redirect-port", str(ca.http_port)),
        )
        process = Process(command, server.directory, server_environ(server.directory))
        self.addCleanup(process.stop)
        self.assertEqual(process.wait(), 0, process.output)
        rows = re.findall(r"^(\S.*?) +(ok|warn|fail|unknown) +(\S.*)$", process.output, re.MULTILINE)
        self.assertEqual(
            [(name, verdict) for name, verdict, _ in rows],
            [
                *(("authority", "ok"), ("clock", "ok"), ("cache", "ok")),
                (f"port {server.port}", "warn"),  # authorities come to others
                (f"port {ca.http_port}", "ok"),
                *(("name a.test", "ok"), ("CAA a.test", "ok"), ("certificate a.test", "ok")),
            ],
            process.output,
        )
        texts = {name: text for name, _, text in rows}
        ends = visit(server.port, "a.test", ca.root()).certificate.not_valid_after_utc
        self.assertTrue(texts[f"port {server.port}"].startswith("a Mles server listens there; but authorities come"))
        self.assertEqual(texts[f"port {ca.http_port}"], "a redirect site of this kind listens there")
        self.assertRegex(texts["certificate a.test"], rf"^from Pebble .*, until {ends:%Y-%m-%d %H:%M} UTC$")
        self.assert_no_faults(server)
