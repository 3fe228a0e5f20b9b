"""The whole program with certificates it orders by itself: real processes, and Pebble that comes to look at them."""

import re
import ssl
import time
from pathlib import Path

from cryptography import x509

from tests.ports import free_port

from .acme.pebble import Pebble
from .acme.servers import SERVE, SHORT, TWISTD, AcmeServer, AcmeServerTestCase, pebble, visit
from .clients import Member, join_frame
from .processes import WAIT
from .proxies import CONNECTIONS, HAProxy, documented_settings
from .redises import RedisServer


def _is_self_signed(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


class OrderingTests(AcmeServerTestCase):
    """From the first start on."""

    def test_tls_alpn(self) -> None:
        """A server with nothing but its names says what it waits for, and has certificates through its own port."""
        ca = pebble()
        server = self.serve(TWISTD, ca, "--domains", "a.test,b.test")
        for name in ("a.test", "b.test"):
            server.expect(f"certificate for {name}: ordered from {ca.url}, a self-signed one serves until it is there$")
        server.await_certificates("a.test", "b.test")
        for name in ("a.test", "b.test"):
            seen = visit(server.port, name, ca.root())  # the root alone: the server has to send what is between
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
        ca = pebble()
        server = self.serve(SERVE, ca, "--domains", "a.test", "--redirect-port", str(ca.http_port), held=True)
        server.expect(f"sending browsers from http on port {ca.http_port} to https")
        server.await_certificates("a.test")
        self.assert_page(visit(server.port, "a.test", ca.root()))
        self.assertIn('"http-01"', (self.folder(ca) / "tries" / "a.test.json").read_text())
        self.end(server)

    def test_workers(self) -> None:
        """Of several processes one orders; all of them answer the authority, and serve what comes of it."""
        ca, redis = pebble(), RedisServer()
        self.addCleanup(redis.stop)
        workers = ("--workers", "2", "--history", redis.url)
        server = self.serve(SERVE, ca, "--domains", "a.test", *workers)
        server.await_certificates("a.test", times=2)
        for _ in range(12):
            self.assert_page(visit(server.port, "a.test", ca.root()))
        self.assertEqual(len(set(re.findall(r"\[worker (\d) [^\]]*\] serving the certificate", server.output))), 2)
        self.assert_no_challenges(ca)
        self.end(server)

    def test_behind_proxy(self) -> None:
        """Behind a proxy that passes connections on, the authority finds its answer behind the PROXY header."""
        ca, port = pebble(), free_port()
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        settings = documented_settings(CONNECTIONS, "haproxy")
        front = HAProxy(settings, directory, port, ca.tls_port)
        self.addCleanup(front.stop)
        behind = ("--port", str(port), "--proxy-protocol", "--trusted-proxy", "127.0.0.1")
        server = AcmeServer(SERVE, ca, self.cache, "--domains", "a.test", *behind)
        self.addCleanup(server.stop)
        server.await_certificates("a.test")
        self.assert_page(visit(ca.tls_port, "a.test", ca.root()))
        self.end(server)

    def test_authority_down(self) -> None:
        """While the authority is down a self-signed certificate serves and one line says why; then the real one."""
        ca = Pebble()
        self.addCleanup(ca.remove)
        server = self.serve(SERVE, ca, "--domains", "a.test,b.test")
        line = server.expect(r"^.*no certificate for [ab]\.test, .*$")[0]
        self.assertRegex(line, r"a self-signed one is served: .*cannot be reached: .*refused.* \(next try in \d+ s\)$")
        for name in ("a.test", "b.test"):
            seen = visit(server.port, name)
            self.assertTrue(_is_self_signed(seen.certificate))
            self.assertIn(name, seen.names)
            self.assert_page(seen)
        ca.start()
        server.await_certificates("a.test")
        self.assert_page(visit(server.port, "a.test", ca.root()))
        self.assertEqual(server.output.count("cannot be reached"), 1)
        self.assertNotIn("Traceback", server.output)

    def test_authority_down_at_renewal(self) -> None:
        """With the authority down at renewal the old certificate serves, and members stay; then the new one comes."""
        ca = Pebble(validity=2 * SHORT)  # all that is asked before it is renewed takes a while
        self.addCleanup(ca.remove)
        ca.start()
        server = self.serve(SERVE, ca, "--domains", "a.test")
        server.await_certificates("a.test")
        before = visit(server.port, "a.test", ca.root()).certificate
        alice, bob = self.acme_member(server, "alice"), self.acme_member(server, "bob")
        self.assertEqual(bob.receive(), join_frame("alice", self.channel))
        ca.stop()
        server.expect(r"the certificate for a\.test is not renewed, and ends at .*cannot be reached")
        self.assertEqual(visit(server.port, "a.test").certificate, before)
        self.exchange(alice, bob, 1)
        ca.start()
        deadline = time.monotonic() + WAIT
        while not server.has_served("a.test", 2):
            self.assertLess(time.monotonic(), deadline, server.output)
            self.exchange(alice, bob, 2)
        self.assertNotEqual(visit(server.port, "a.test").certificate, before)
        self.exchange(alice, bob, 3)
        self.assertNotIn("Traceback", server.output)

    def test_restart(self) -> None:
        """A server that starts again has its certificate from the first handshake on; a broken file is replaced."""
        ca = pebble()
        first = self.serve(SERVE, ca, "--domains", "a.test")
        first.await_certificates("a.test")
        before = visit(first.port, "a.test", ca.root()).certificate
        self.end(first)
        issued = ca.output.count("Issued certificate")
        # With a second name, whose order shows when the first one has been looked at as well.
        second = self.serve(SERVE, ca, "--domains", "a.test,b.test")
        self.assertEqual(visit(second.port, "a.test", ca.root()).certificate, before)
        second.expect(rf"certificate for a\.test: valid until {before.not_valid_after_utc:%Y-%m-%d}$")
        second.await_certificates("b.test")
        self.assert_page(visit(second.port, "b.test", ca.root()))
        self.assertEqual(visit(second.port, "a.test", ca.root()).certificate, before)
        self.end(second)
        self.assertEqual(ca.output.count("Issued certificate") - issued, 1)
        self.assertNotIn("for 'a.test'", second.output)

        (self.folder(ca) / "certificates" / "a.test.pem").write_bytes(b"-----BEGIN GARBAGE-----\n\0\xff")
        third = self.serve(SERVE, ca, "--domains", "a.test")
        third.expect(r"a\.test\.pem is no certificate for a\.test, and not used: ")
        third.expect(r"certificate for a\.test: ordered from .* a self-signed one serves until it is there$")
        third.await_certificates("a.test")
        self.assertNotEqual(visit(third.port, "a.test", ca.root()).certificate, before)
        self.end(third)

    def test_renewals(self) -> None:
        """Members go on talking through renewals, and whoever comes afterwards gets the new certificate."""
        ca = pebble("short")
        names = ("a.test", "b.test")
        server = self.serve(TWISTD, ca, "--domains", ",".join(names))
        server.await_certificates(*names)
        alice, bob = self.acme_member(server, "alice"), self.acme_member(server, "bob")
        self.assertEqual(bob.receive(), join_frame("alice", self.channel))
        seen = {name: {visit(server.port, name, ca.root()).certificate.serial_number} for name in names}
        said = 0
        deadline = time.monotonic() + 3 * WAIT
        for times in (2, 3):
            for name in names:
                while not server.has_served(name, times):
                    self.assertLess(time.monotonic(), deadline, server.output)
                    said += 1
                    self.exchange(alice, bob, said)
                seen[name].add(visit(server.port, name, ca.root()).certificate.serial_number)
        self.assertEqual({name: len(serials) for name, serials in seen.items()}, dict.fromkeys(names, 3))
        self.assertGreater(said, 2)
        self.exchange(alice, bob, said + 1)
        self.end(server)
        self.assertEqual((alice.closed()[0], bob.closed()[0]), (1001, 1001))

    def acme_member(self, server: AcmeServer, uid: str) -> Member:
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


class UnderWayTests(AcmeServerTestCase):
    """While the authority looks, which here takes as long as is needed."""

    def test_clients(self) -> None:
        """While an order is under way clients get pages, and those that look for a challenge see it, or an alert."""
        ca = pebble()
        held = self.hold(ca.tls_port)
        server = self.serve(SERVE, ca, "--domains", "a.test", held=True)
        held.await_authority()
        for version in (None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            seen = visit(server.port, "a.test", version=version)
            self.assertTrue(_is_self_signed(seen.certificate))
            self.assert_page(seen)
            seen = visit(server.port, "a.test", protocols=("acme-tls/1",), version=version)
            self.assertEqual((seen.protocol, seen.names, seen.echoed), ("acme-tls/1", ["a.test"], b""))
            with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
                visit(server.port, "b.test", protocols=("acme-tls/1",), version=version)
        self.end_under_way(server, ca)

    def test_sigterm(self) -> None:
        """A server that is told to end in the middle of an order ends at once; back again it serves, and orders later.

        Who restarts it again and again does not spend what the authority allows.
        """
        ca = pebble()
        held = self.hold(ca.tls_port)
        server = self.serve(TWISTD, ca, "--domains", "a.test", held=True)
        held.await_authority()
        self.end_under_way(server, ca)
        held.close()
        server = self.serve(SERVE, ca, "--domains", "a.test")
        server.expect(r"the server was stopped in the middle of the order \(next try in \d+ s\)")
        self.assert_page(visit(server.port, "a.test"))
        self.end(server)

    def end_under_way(self, server: AcmeServer, ca: Pebble) -> None:
        """A server that is told to end in the middle of an order does so, and leaves nothing behind."""
        self.end(server)
        self.assertNotIn("no certificate for", server.output)
        self.assert_no_challenges(ca)
