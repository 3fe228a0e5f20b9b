"""One question to whoever listens."""

from typing import Any

from twisted.internet import ssl
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mles_tx.cli import asking
from mles_tx.cli.asking import NoTls, Reply, ask, shown_certificate
from tests.service.clients import reactor
from tests.service.servers import occupied
from tests.transport.certificates.making import make

MADE = make("localhost")

#: Head of a reply, status.
HEADS = (
    (b"http/1.1 200 ok", 200),
    (b"http/1.0 404", 404),
    (b"http/1.1 301 moved\r\nlocation: x", 301),
    (b"", None),
    (b"ssh-2.0-openssh_9.2", None),
    (b"http/1.1", None),
    (b"http/1.1 x", None),
    (b"http/1.1 1000 x", None),
    (b"200 ok", None),
)


class ReplyTests(SynchronousTestCase):
    """What an answer says."""

    def test_status(self) -> None:
        """Its status, if it is HTTP at all."""
        self.assertEqual([(head, Reply(head, b"").status) for head, _ in HEADS], list(HEADS))

    def test_header(self) -> None:
        """Its headers, each by its name alone."""
        reply = Reply(b"http/1.1 200 ok\r\nserver:nginx\r\nx-server: other\r\nlocation:  https://x/ ", b"")
        for name, value in (
            (b"server", b"nginx"),
            (b"location", b"https://x/"),
            (b"x", b""),
            (b"http/1.1 200 ok", b""),
        ):
            self.assertEqual(reply.header(name), value)


class AskTests(TestCase):
    """Asking."""

    def listen(self, answer: bytes, *, tls: bool = False, stays: bool = False) -> int:
        """Somebody who answers always the same, and then hangs up or stays."""
        heard = self.heard = []  # type: list[bytes]

        class Answering(Protocol):
            transport: Any

            def dataReceived(self, data: bytes) -> None:
                heard.append(data)
                self.transport.write(answer)
                if not stays:
                    self.transport.loseConnection()

        factory = Factory.forProtocol(Answering)
        if tls:
            context = ssl.PrivateCertificate.loadPEM(MADE.certificate_pem + MADE.key_pem).options()
            port = reactor.listenSSL(0, factory, context, interface="127.0.0.1")
        else:
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def test_answer(self) -> None:
        """The answer to the request, over TLS and without; one that ends the connection, and one that does not."""
        for tls in (False, True):
            for stays in (False, True):
                port = self.listen(b"HTTP/1.1 200 OK\r\nA: B\r\nContent-Length: 4\r\n\r\nbody", tls=tls, stays=stays)
                reply = await ask(reactor, "127.0.0.1", port, b"GET / HTTP/1.1\r\n\r\n", tls=tls)
                self.assertEqual(reply, Reply(b"http/1.1 200 ok\r\na: b\r\ncontent-length: 4", b"body"))
                self.assertEqual(b"".join(self.heard), b"GET / HTTP/1.1\r\n\r\n")

    async def test_flood(self) -> None:
        """Of an answer without an end so much is read, and no more."""
        port = self.listen(b"x" * 1_000_000, stays=True)
        reply = await ask(reactor, "127.0.0.1", port, b"?", tls=False)
        self.assertEqual((len(reply.head), reply.status), (16 * 1024, None))

    async def test_silence(self) -> None:
        """Who says nothing has said nothing, after a while."""
        self.patch(asking, "_SECONDS", 0.05)
        port = self.listen(b"", stays=True)
        self.assertEqual(await ask(reactor, "127.0.0.1", port, b"?", tls=False), Reply(b"", b""))
        self.assertIsNone(await shown_certificate(reactor, "127.0.0.1", port, None))

    async def test_no_tls(self) -> None:
        """Who speaks another language than TLS is told from who says nothing."""
        port = self.listen(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        for name in (None, "localhost"):
            with self.assertRaises(NoTls):
                await ask(reactor, "127.0.0.1", port, b"?", tls=True, server_name=name)
        self.assertIsNone(await shown_certificate(reactor, "127.0.0.1", port, None))

    async def test_certificate(self) -> None:
        """The certificate is looked at without a word being said."""
        port = self.listen(b"", tls=True)
        self.assertEqual(await shown_certificate(reactor, "127.0.0.1", port, "localhost"), MADE.certificate)
        self.assertEqual(self.heard, [])

    async def test_nobody(self) -> None:
        """Where nobody listens that is an error."""
        other, port = occupied()
        other.close()
        with self.assertRaises(ConnectError):
            await ask(reactor, "127.0.0.1", port, b"?", tls=True)
        with self.assertRaises(ConnectError):
            await shown_certificate(reactor, "127.0.0.1", port, None)
