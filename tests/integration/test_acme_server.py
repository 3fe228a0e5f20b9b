"""The whole program with certificates it orders by itself: real processes, and Pebble that comes to look at them."""

import atexit
import re
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from functools import cache, partial
from http.client import HTTPConnection
from pathlib import Path

from cryptography import x509

from mles_tx.transport.certificates.authority import Authority
from tests.cli.names import DnsServer, a

from .acme.pebble import Pebble, free_port
from .acme.ports import Seen
from .clients import Member, join_frame
from .processes import WAIT, Process, Server, server_environ
from .proxies import CONNECTIONS, HAProxy, documented_settings
from .support import IntegrationTestCase

_SERVE = ("mles-tx", "serve")
_TWISTD = ("twistd", "-n", "--pidfile=", "mles")

#: Seconds for which the certificates of the quick authority are valid: the server renews them after two thirds.
_SHORT = 8


@cache
def _pebble(kind: str = "") -> Pebble:
    """An authority for all tests that need one like it; each has ports of its own where it looks."""
    found = Pebble(validity=_SHORT, bad_nonces=50) if kind == "short" else Pebble()
    atexit.register(found.remove)
    found.start()
    return found


class _AcmeServer(Server):
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
        self.code = -signal.SIGTERM if command is _TWISTD else 0  # twistd ends with the signal itself
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


class _Held:
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


def _visit(
    port: int,
    name: str,
    root: str | None = None,
    protocols: tuple[str, ...] = ("http/1.1",),
    version: ssl.TLSVersion | None = None,
) -> Seen:
    """Ask for the page of a host; `root` is the one certificate to trust, None: any."""
    context = ssl.create_default_context(cadata=root)
    if root is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), WAIT) as stream,
        context.wrap_socket(stream, server_hostname=name) as client,
    ):
        client.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(partial(client.recv, 65536), b""))
        certificate = x509.load_der_x509_certificate(client.getpeercert(True) or b"")
        return Seen(certificate, client.selected_alpn_protocol(), client.version(), answer)


def _request(port: int, method: str, path: str, host: str) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields in lower case, and body of an answer over plain HTTP."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=WAIT)) as connection:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def _is_self_signed(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


class _AcmeServerTestCase(IntegrationTestCase):
    """A cache directory, and servers on it."""

    def setUp(self) -> None:
        super().setUp()
        self.cache = Path(self.mktemp()).absolute() / "cache"

    def serve(self, command: Sequence[str], ca: Pebble, *options: str, held: bool = False) -> _AcmeServer:
        """A server where the authority looks for it; `held`: somewhere else."""
        port = 0 if held else ca.tls_port
        server = _AcmeServer(command, ca, self.cache, "--port", str(port), *options)
        self.addCleanup(server.stop)
        return server

    def hold(self, port: int) -> _Held:
        """Somebody else at a port."""
        held = _Held(port)
        self.addCleanup(held.close)
        return held

    def folder(self, ca: Pebble) -> Path:
        """Where a server keeps what has to do with an authority."""
        return self.cache / "acme" / Authority(ca.url).folder

    def end(self, server: _AcmeServer) -> None:
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


class OrderingTests(_AcmeServerTestCase):
    """From the first start on."""

    def test_tls_alpn(self) -> None:
        """A server with nothing but its names says what it waits for, and has certificates through its own port."""
        ca = _pebble()
        server = self.serve(_TWISTD, ca, "--domains", "a.test,b.test")
        for name in ("a.test", "b.test"):
            server.expect(f"certificate for {name}: ordered from {ca.url}, a self-signed one serves until it is there$")
        server.await_certificates("a.test", "b.test")
        for name in ("a.test", "b.test"):
            seen = _visit(server.port, name, ca.root())  # the root alone: the server has to send what is between
            self.assertEqual(seen.names, [name])
            self.assert_page(seen)
        kept = [self.cache, *self.cache.rglob("*")]
        self.assertEqual({path.stat().st_mode & 0o777 for path in kept if path.is_file()}, {0o600})
        self.assertEqual({path.stat().st_mode & 0o777 for path in kept if path.is_dir()}, {0o700})
        self.assert_no_challenges(ca)
        self.end(server)
        self.assert_no_secrets(server.output)

    def test_http_01(self) -> None:
        """Where the authority cannot reach the TLS port, the redirect port does it."""
        ca = _pebble()
        server = self.serve(_SERVE, ca, "--domains", "a.test", "--redirect-port", str(ca.http_port), held=True)
        server.expect(f"sending browsers from http on port {ca.http_port} to https")
        server.await_certificates("a.test")
        self.assert_page(_visit(server.port, "a.test", ca.root()))
        self.assertIn('"http-01"', (self.folder(ca) / "tries" / "a.test.json").read_text())
        self.end(server)

    def test_behind_proxy(self) -> None:
        """Behind a proxy that passes connections on, the authority finds its answer behind the PROXY header."""
        ca, port = _pebble(), free_port()
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        settings = documented_settings(CONNECTIONS, "haproxy")
        front = HAProxy(settings, directory, port, ca.tls_port)
        self.addCleanup(front.stop)
        behind = ("--port", str(port), "--proxy-protocol", "--trusted-proxy", "127.0.0.1")
        server = _AcmeServer(_SERVE, ca, self.cache, "--domains", "a.test", *behind)
        self.addCleanup(server.stop)
        server.await_certificates("a.test")
        self.assert_page(_visit(ca.tls_port, "a.test", ca.root()))
        self.end(server)

    def test_authority_down(self) -> None:
        """While the authority is down a self-signed certificate serves and one line says why; then the real one."""
        ca = Pebble()
        self.addCleanup(ca.remove)
        server = self.serve(_SERVE, ca, "--domains", "a.test,b.test")
        line = server.expect(r"^.*no certificate for [ab]\.test, .*$")[0]
        self.assertRegex(line, r"a self-signed one is served: .*cannot be reached: .*refused.* \(next try in \d+ s\)$")
        for name in ("a.test", "b.test"):
            seen = _visit(server.port, name)
            self.assertTrue(_is_self_signed(seen.certificate))
            self.assertIn(name, seen.names)
            self.assert_page(seen)
        ca.start()
        server.await_certificates("a.test")
        self.assert_page(_visit(server.port, "a.test", ca.root()))
        self.assertEqual(server.output.count("cannot be reached"), 1)
        self.assertNotIn("Traceback", server.output)

    def test_authority_down_at_renewal(self) -> None:
        """With the authority down at renewal the old certificate serves, and members stay; then the new one comes."""
        ca = Pebble(validity=_SHORT)
        self.addCleanup(ca.remove)
        ca.start()
        server = self.serve(_SERVE, ca, "--domains", "a.test")
        server.await_certificates("a.test")
        before = _visit(server.port, "a.test", ca.root()).certificate
        alice, bob = self.acme_member(server, "alice"), self.acme_member(server, "bob")
        self.assertEqual(bob.receive(), join_frame("alice", self.channel))
        ca.stop()
        server.expect(r"the certificate for a\.test is not renewed, and ends at .*cannot be reached")
        self.assertEqual(_visit(server.port, "a.test").certificate, before)
        self.exchange(alice, bob, 1)
        ca.start()
        deadline = time.monotonic() + WAIT
        while not server.has_served("a.test", 2):
            self.assertLess(time.monotonic(), deadline, server.output)
            self.exchange(alice, bob, 2)
        self.assertNotEqual(_visit(server.port, "a.test").certificate, before)
        self.exchange(alice, bob, 3)
        self.assertNotIn("Traceback", server.output)

    def test_restart(self) -> None:
        """A server that starts again has its certificate from the first handshake on; a broken file is replaced."""
        ca = _pebble()
        first = self.serve(_SERVE, ca, "--domains", "a.test")
        first.await_certificates("a.test")
        before = _visit(first.port, "a.test", ca.root()).certificate
        self.end(first)
        issued = ca.output.count("Issued certificate")
        # With a second name, whose order shows when the first one has been looked at as well.
        second = self.serve(_SERVE, ca, "--domains", "a.test,b.test")
        self.assertEqual(_visit(second.port, "a.test", ca.root()).certificate, before)
        second.expect(rf"certificate for a\.test: valid until {before.not_valid_after_utc:%Y-%m-%d}$")
        second.await_certificates("b.test")
        self.assert_page(_visit(second.port, "b.test", ca.root()))
        self.assertEqual(_visit(second.port, "a.test", ca.root()).certificate, before)
        self.end(second)
        self.assertEqual(ca.output.count("Issued certificate") - issued, 1)
        self.assertNotIn("for 'a.test'", second.output)

        (self.folder(ca) / "certificates" / "a.test.pem").write_bytes(b"-----BEGIN GARBAGE-----\n\0\xff")
        third = self.serve(_SERVE, ca, "--domains", "a.test")
        third.expect(r"a\.test\.pem is no certificate for a\.test, and not used: ")
        third.expect(r"certificate for a\.test: ordered from .* a self-signed one serves until it is there$")
        third.await_certificates("a.test")
        self.assertNotEqual(_visit(third.port, "a.test", ca.root()).certificate, before)
        self.end(third)

    def test_renewals(self) -> None:
        """Members go on talking through renewals, and whoever comes afterwards gets the new certificate."""
        ca = _pebble("short")
        names = ("a.test", "b.test")
        server = self.serve(_TWISTD, ca, "--domains", ",".join(names))
        server.await_certificates(*names)
        alice, bob = self.acme_member(server, "alice"), self.acme_member(server, "bob")
        self.assertEqual(bob.receive(), join_frame("alice", self.channel))
        seen = {name: {_visit(server.port, name, ca.root()).certificate.serial_number} for name in names}
        said = 0
        deadline = time.monotonic() + 3 * WAIT
        for times in (2, 3):
            for name in names:
                while not server.has_served(name, times):
                    self.assertLess(time.monotonic(), deadline, server.output)
                    said += 1
                    self.exchange(alice, bob, said)
                seen[name].add(_visit(server.port, name, ca.root()).certificate.serial_number)
        self.assertEqual({name: len(serials) for name, serials in seen.items()}, dict.fromkeys(names, 3))
        self.assertGreater(said, 2)
        self.exchange(alice, bob, said + 1)
        self.end(server)
        self.assertEqual((alice.closed()[0], bob.closed()[0]), (1001, 1001))

    def acme_member(self, server: _AcmeServer, uid: str) -> Member:
        """A member that trusts the authority; it came before the next renewal."""
        client = Member(server)
        self.addCleanup(client.leave)
        client.send(join_frame(uid, self.channel))
        client.settle()
        return client

    def exchange(self, alice: Member, bob: Member, number: int) -> None:
        """One says something, the other answers."""
        alice.send(f"{number}?")
        self.assertEqual(bob.receive(), f"{number}?")
        bob.send(f"{number}!")
        self.assertEqual(alice.receive(), f"{number}!")


class UnderWayTests(_AcmeServerTestCase):
    """While the authority looks, which here takes as long as is needed."""

    def test_clients(self) -> None:
        """While an order is under way clients get pages, and those that look for a challenge see it, or an alert."""
        ca = _pebble()
        held = self.hold(ca.tls_port)
        server = self.serve(_SERVE, ca, "--domains", "a.test", held=True)
        held.await_authority()
        for version in (None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            seen = _visit(server.port, "a.test", version=version)
            self.assertTrue(_is_self_signed(seen.certificate))
            self.assert_page(seen)
            seen = _visit(server.port, "a.test", protocols=("acme-tls/1",), version=version)
            self.assertEqual((seen.protocol, seen.names, seen.echoed), ("acme-tls/1", ["a.test"], b""))
            with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
                _visit(server.port, "b.test", protocols=("acme-tls/1",), version=version)
        self.end_under_way(server, ca)

    def test_sigterm(self) -> None:
        """A server that is told to end in the middle of an order ends at once; back again it serves, and orders later.

        Who restarts it again and again does not spend what the authority allows.
        """
        ca = _pebble()
        held = self.hold(ca.tls_port)
        server = self.serve(_TWISTD, ca, "--domains", "a.test", held=True)
        held.await_authority()
        self.end_under_way(server, ca)
        held.close()
        server = self.serve(_SERVE, ca, "--domains", "a.test")
        server.expect(r"the server was stopped in the middle of the order \(next try in \d+ s\)")
        self.assert_page(_visit(server.port, "a.test"))
        self.end(server)

    def end_under_way(self, server: _AcmeServer, ca: Pebble) -> None:
        """A server that is told to end in the middle of an order does so, and leaves nothing behind."""
        self.end(server)
        self.assertNotIn("no certificate for", server.output)
        self.assert_no_challenges(ca)


@cache
def _standing() -> tuple[_AcmeServer, Pebble, Path]:
    """A server that has its certificate, on both ports, for all tests that only look at it; and its cache."""
    ca = _pebble("standing")
    directory = tempfile.TemporaryDirectory(prefix="mles-tx-cache-")
    atexit.register(directory.cleanup)
    ports = ("--port", str(ca.tls_port), "--redirect-port", str(ca.http_port))
    server = _AcmeServer(_SERVE, ca, Path(directory.name), "--domains", "a.test", *ports)
    atexit.register(server.stop)
    server.await_certificates("a.test")
    return server, ca, Path(directory.name)


class StandingTests(_AcmeServerTestCase):
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
        for command in (_SERVE, _TWISTD):
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
            seen = _visit(server.port, "a.test", root, version=version)
            self.assertEqual((seen.version, seen.names), (called, ["a.test"]))
            self.assert_page(seen)
            with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
                _visit(server.port, "a.test", protocols=("acme-tls/1",), version=version)
            seen = _visit(server.port, "a.test", root, protocols=(), version=version)
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
        ends = _visit(server.port, "a.test", ca.root()).certificate.not_valid_after_utc
        self.assertTrue(texts[f"port {server.port}"].startswith("a Mles server listens there; but authorities come"))
        self.assertEqual(texts[f"port {ca.http_port}"], "a redirect site of this kind listens there")
        self.assertRegex(texts["certificate a.test"], rf"^from Pebble .*, until {ends:%Y-%m-%d %H:%M} UTC$")
        self.assert_no_faults(server)
