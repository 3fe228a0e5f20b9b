"""Who listens on the ports."""

import errno
import socket
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site
from twisted.web.static import Data

from mles_tx.cli import asking, check_ports
from mles_tx.cli.asking import Reply
from mles_tx.cli.check_ports import (
    dialable,
    judge_redirect_reply,
    judge_tls_reply,
    look_at_redirect_port,
    look_at_tls_port,
)
from mles_tx.cli.checks import Verdict
from mles_tx.metrics import Metrics
from mles_tx.service.config import ServerConfig
from mles_tx.service.redirect import RedirectListener
from mles_tx.transport.admission import Admission
from mles_tx.transport.port import bind
from mles_tx.web.redirect import MOVED_TEXT
from tests.ports import free_port
from tests.service.clients import reactor
from tests.service.servers import ServerTestCase, occupied

OK, WARN, FAIL, UNKNOWN = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN

BODY = MOVED_TEXT.encode() + b"\n"

#: Reply to an upgrade over TLS, verdict.
TLS_REPLIES = (
    (Reply(b"http/1.1 101 switching protocols\r\nsec-websocket-protocol: mles-websocket", b""), OK),
    (Reply(b"http/1.1 101 switching protocols\r\nsec-websocket-protocol: chat", b""), FAIL),
    (Reply(b"http/1.1 101 switching protocols", b""), FAIL),
    (Reply(b"http/1.1 200 ok\r\nsec-websocket-protocol: mles-websocket", b""), FAIL),
    (Reply(b"http/1.1 503 service unavailable", b""), UNKNOWN),
    (Reply(b"http/1.1 404 not found", b""), FAIL),
    (Reply(b"ssh-2.0-x", b""), FAIL),
    (Reply(b"", b""), UNKNOWN),
)

#: Reply to a request for a page, verdict.
REDIRECT_REPLIES = (
    (Reply(b"http/1.1 301 moved permanently\r\nlocation: https://x/", BODY), OK),
    (Reply(b"http/1.1 301 moved permanently\r\nlocation: https://x/", b"<html>nginx"), FAIL),
    (Reply(b"http/1.1 200 ok", BODY), FAIL),
    (Reply(b"http/1.1 404 not found", b""), WARN),
    (Reply(b"http/1.1 404 not found\r\nserver: nginx", b""), FAIL),
    (Reply(b"http/1.1 503 service unavailable", b""), UNKNOWN),
    (Reply(b"+ok pop3", b""), FAIL),
    (Reply(b"", b""), UNKNOWN),
)

#: Why a port cannot be bound, option, verdict, something of text and remedy.
BINDS = (
    (0, "--port", OK, "is free", ""),
    (errno.EACCES, "--port", WARN, "not for this user", "CAP_NET_BIND_SERVICE"),
    (errno.EACCES, "--redirect-port", WARN, "", "choose another --redirect-port"),
    (errno.EADDRINUSE, "--port", UNKNOWN, "does not answer", "ss -ltnp"),
    (errno.EADDRNOTAVAIL, "--port", FAIL, "does not have that address", "another --interface"),
    (errno.EPERM, "--port", FAIL, "EPERM", "choose another --port"),
)


class JudgementTests(SynchronousTestCase):
    """Who it is, by the answer."""

    def test_replies(self) -> None:
        """A server of ours is told from others, and from one that says nothing."""
        for judge, replies in ((judge_tls_reply, TLS_REPLIES), (judge_redirect_reply, REDIRECT_REPLIES)):
            found = [(reply, judge(reply)) for reply, _ in replies]
            self.assertEqual([(reply, finding.verdict) for reply, finding in found], list(replies))
            self.assertEqual([bool(f.remedy) for _, f in found], [f.verdict is not OK for _, f in found])

    def test_binds(self) -> None:
        """Why nobody can listen there, and what to do."""
        for number, option, verdict, text, remedy in BINDS:
            finding = check_ports._judge_bind(number, option)
            self.assertEqual(finding.verdict, verdict)
            self.assertIn(text, finding.text)
            self.assertIn(remedy, f"{finding.text} {finding.remedy}")

    def test_dialable(self) -> None:
        """Who listens on all addresses is found on loopback."""
        for interface, address in (("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1")):
            self.assertEqual(dialable(interface), address)


class PortTests(ServerTestCase):
    """Real ports on loopback."""

    def listen(self, factory: Any) -> int:
        """Somebody else."""
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def look(
        self, port: int, redirect_port: int | None = 80, interface: str = "127.0.0.1"
    ) -> tuple[Verdict, str]:
        finding = await look_at_tls_port(reactor, "localhost", (interface,), port, redirect_port)
        return finding.verdict, finding.text

    async def test_free(self) -> None:
        """A port nobody listens on is free, and stays it."""
        port = free_port()
        for _ in range(2):
            self.assertEqual(await self.look(port), (OK, "is free: the server can listen there"))
        finding = await look_at_redirect_port(reactor, "localhost", ("127.0.0.1",), port)
        self.assertEqual(finding.verdict, OK)

    async def test_port_of_authorities(self) -> None:
        """A port that no authority comes to is worth a word, unless there is the redirect on its usual one."""
        port = free_port()
        for redirect_port, verdict in ((None, WARN), (8080, WARN), (80, OK)):
            finding = await look_at_tls_port(reactor, "localhost", ("127.0.0.1",), port, redirect_port)
            self.assertEqual((redirect_port, finding.verdict), (redirect_port, verdict))
        self.patch(check_ports, "_TLS_ALPN_PORT", port)
        self.assertEqual((await self.look(port, None))[0], OK)

    async def test_own_server(self) -> None:
        """A server of ours that runs is known, for any of its names, and does not take the question for a member."""
        service = self.start_secure()
        self.assertEqual(await self.look(self.port(service)), (OK, "a Mles server listens there"))
        self.assertEqual(service.metrics().total_errors, 0)

    async def test_own_redirect(self) -> None:
        """So is its redirect; one that does not know the domain is another server's, or has other domains."""
        config = ServerConfig(domains=("localhost",), interfaces=("127.0.0.1",))
        service = RedirectListener(reactor, config, 0, Admission(reactor, Metrics()), lambda: 443)
        service.startService()
        self.addCleanup(service.stopService)
        port = service.addresses[0][1]
        for domain, verdict in (("localhost", OK), ("example.org", WARN)):
            finding = await look_at_redirect_port(reactor, domain, ("127.0.0.1",), port)
            self.assertEqual((domain, finding.verdict), (domain, verdict))

    async def test_strangers(self) -> None:
        """Another web server, and a program that speaks something else, are in the way of both."""
        self.patch(asking, "_SECONDS", 1.0)
        web = self.listen(Site(Data(b"hello", "text/plain")))

        class Greeter(Protocol):
            transport: Any

            def connectionMade(self) -> None:
                self.transport.write(b"220 mail.example ESMTP\r\n\r\n")

        mail = self.listen(Factory.forProtocol(Greeter))
        for port in (web, mail):
            self.assertEqual(await self.look(port), (FAIL, "another program listens there, without TLS"))
            finding = await look_at_redirect_port(reactor, "localhost", ("127.0.0.1",), port)
            self.assertEqual(finding.verdict, FAIL)

    async def test_address_of_another_machine(self) -> None:
        """An address this machine does not have cannot be listened on (one that leads nowhere, too)."""
        self.assertEqual(check_ports._try_bind("192.0.2.1", free_port()), errno.EADDRNOTAVAIL)

    async def test_taken(self) -> None:
        """A port that somebody listens on cannot be bound."""
        other, port = occupied()
        self.addCleanup(other.close)
        self.assertEqual(check_ports._try_bind("127.0.0.1", port), errno.EADDRINUSE)
        other.close()
        self.assertEqual(check_ports._try_bind("127.0.0.1", port), 0)

    async def test_just_left(self) -> None:
        """A port whose last connections the kernel still remembers is free: a server can have it at once."""
        (own,) = bind(["127.0.0.1"], 0)
        own.setblocking(True)
        port = own.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = own.accept()
            accepted.close()
            self.assertEqual(client.recv(1), b"")
        own.close()
        self.assertEqual(check_ports._try_bind("127.0.0.1", port), 0)

    async def test_several_addresses(self) -> None:
        """Of several addresses the one that is in the way counts."""
        self.patch(asking, "_SECONDS", 1.0)
        web = self.listen(Site(Data(b"hello", "text/plain")))
        finding = await look_at_tls_port(reactor, "localhost", ("127.0.0.2", "127.0.0.1"), web, 80)
        self.assertEqual(finding.verdict, FAIL)
