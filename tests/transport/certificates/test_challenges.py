"""How challenges are answered."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from txacme.interfaces import IResponder
from zope.interface.verify import verifyObject

from mles_tx.transport.certificates.answers import LOOK_SECONDS, ChallengeAnswers
from mles_tx.transport.certificates.challenges import (
    HTTP01Responder,
    TLSALPN01Responder,
    TLSChallenges,
    challenge_context,
)

from .test_clienthello import hello

_TOKEN = "DGyRejmCefe7v4NfDGDKfA-_x"

_IDENTIFIER = bytes.fromhex("06082b0601050507011f0101ff04220420")  # its DER: critical, and an octet string of 32 bytes


class _Response:
    key_authorization = f"{_TOKEN}.thumbprint"


class _Challenge:
    def encode(self, name: str) -> str:
        return {"token": _TOKEN}[name]


class ResponderTests(SynchronousTestCase):
    """What is told when a challenge begins and ends."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.answers = ChallengeAnswers(Path(self.mktemp()), self.clock, lambda: datetime.now(UTC))

    def test_interface(self) -> None:
        """txacme can use them."""
        for responder, kind in (
            (TLSALPN01Responder(self.answers, self.clock), "tls-alpn-01"),
            (HTTP01Responder(self.answers), "http-01"),
        ):
            verifyObject(IResponder, responder)
            self.assertEqual(responder.challenge_type, kind)

    def test_tls(self) -> None:
        """The authority is told when all processes can answer, and nothing is left in the end."""
        responder = TLSALPN01Responder(self.answers, self.clock)
        for end in (
            lambda: responder.stop_responding("a.test", _Challenge(), _Response()),
            lambda: responder.forget("a.test"),
        ):
            told = responder.start_responding("a.test", _Challenge(), _Response())
            self.clock.advance(LOOK_SECONDS)
            self.assertNoResult(told)
            self.clock.advance(LOOK_SECONDS)
            self.successResultOf(told)
            self.assertEqual(self.answers.tls("a.test"), _Response.key_authorization.encode())
            end()
            end()
            self.assertIsNone(self.answers.tls("a.test"))

    def test_http(self) -> None:
        """The answer is there from the beginning to the end."""
        responder = HTTP01Responder(self.answers)
        for end in (
            lambda: responder.stop_responding("a.test", _Challenge(), _Response()),
            lambda: responder.forget("a.test"),
        ):
            responder.start_responding("a.test", _Challenge(), _Response())
            self.assertEqual(self.answers.http(_TOKEN), _Response.key_authorization.encode())
            end()
            end()
            self.assertIsNone(self.answers.http(_TOKEN))


class LookingTests(SynchronousTestCase):
    """What is seen in a socket before TLS begins."""

    def setUp(self) -> None:
        self.answers = ChallengeAnswers(Path(self.mktemp()), Clock(), lambda: datetime.now(UTC))
        self.challenges = TLSChallenges(self.answers, lambda: datetime.now(UTC))
        ours, self.client = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(self.client.close)
        ours.setblocking(False)
        self.ordinary = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.connection: Any = SimpleNamespace(socket=ours, context=self.ordinary)

    def look(self) -> bool:
        """Whether TLS can begin."""
        return self.challenges.look_for_challenge(self.connection)

    @property
    def waits_for(self) -> int:
        """How many bytes the socket has to have to be readable."""
        found: int = self.connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        return found

    def test_none_outstanding(self) -> None:
        """While no challenge is outstanding the socket is not even looked at."""
        self.connection.socket = None
        self.assertTrue(self.look())
        self.assertIs(self.connection.context, self.ordinary)

    def test_found(self) -> None:
        """Who comes for an outstanding challenge gets its context: one for each challenge."""
        self.answers.put_tls("a.test", "first")
        said = hello("a.test", ["acme-tls/1"])
        self.client.sendall(said)
        self.assertTrue(self.look())
        context = self.connection.context
        self.assertIsNot(context, self.ordinary)
        self.assertEqual(self.connection.socket.recv(9999), said)
        self.client.sendall(said)
        self.assertTrue(self.look())
        self.assertIs(self.connection.context, context)
        self.answers.put_tls("a.test", "second")
        self.assertTrue(self.look())
        self.assertIsNot(self.connection.context, context)

    def test_ordinary(self) -> None:
        """Who comes for the server keeps the server's context."""
        self.answers.put_tls("a.test", "first")
        for protocols in ([], ["http/1.1"], ["h2", "http/1.1"], ["acme-tls/2"]):
            self.client.sendall(hello("a.test", protocols))
            self.assertTrue(self.look())
            self.assertIs(self.connection.context, self.ordinary)
            self.connection.socket.recv(9999)

    def test_pieces(self) -> None:
        """While the message is not whole the socket is told what to wait for, and afterwards it is as it was."""
        self.answers.put_tls("a.test", "first")
        said = hello("a.test", ["acme-tls/1"])
        self.assertFalse(self.look())
        self.client.sendall(said[:3])
        self.assertFalse(self.look())
        self.assertEqual(self.waits_for, 5)
        self.client.sendall(said[3:100])
        self.assertFalse(self.look())
        self.assertEqual(self.waits_for, len(said))
        self.client.sendall(said[100:])
        self.assertTrue(self.look())
        self.assertEqual((self.waits_for, self.connection.socket.recv(9999)), (1, said))
        self.assertIsNot(self.connection.context, self.ordinary)

    def test_over_meanwhile(self) -> None:
        """When the challenge ends before the message is whole, the socket is as it was, and so it is for others."""
        self.answers.put_tls("a.test", "first")
        said = hello("a.test", ["http/1.1"])
        self.client.sendall(said[:50])
        self.assertFalse(self.look())
        self.assertEqual(self.waits_for, len(said))
        self.answers.remove_tls("a.test")
        self.client.sendall(said[50:])
        self.assertTrue(self.look())
        self.assertEqual((self.waits_for, self.connection.socket.recv(9999)), (1, said))
        self.assertIs(self.connection.context, self.ordinary)
        self.connection.socket = None
        self.assertTrue(self.look())

    def test_nothing_more(self) -> None:
        """When a message ends early, or is none, TLS gets what there is, and the socket is as it was."""
        self.answers.put_tls("a.test", "first")
        for said in (b"\x16\x03", hello("a.test", ["acme-tls/1"])[:50]):
            self.client.sendall(said)
            self.assertFalse(self.look())
            self.assertTrue(self.look())  # readable again, with no more than before
            self.assertEqual((self.waits_for, self.connection.socket.recv(9999)), (1, said))
        for said in (b"G", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\x15\x03\x01\0\x02\x02\x28"):
            self.client.sendall(said)
            self.assertTrue(self.look())
            self.assertEqual((self.waits_for, self.connection.socket.recv(9999)), (1, said))
        self.client.close()
        self.assertTrue(self.look())
        self.connection.socket.close()
        self.assertRaises(OSError, self.look)
        self.assertIs(self.connection.context, self.ordinary)


class ContextTests(SynchronousTestCase):
    """What the authority sees."""

    def handshake(self, name: str, offered: list[bytes], version: int) -> tuple[SSL.Connection, SSL.Connection]:
        """Server and client after a handshake in memory."""
        server = SSL.Connection(challenge_context(name, b"answer", datetime.now(UTC)), None)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_alpn_protos(offered)
        client = SSL.Connection(context, None)
        client.set_tlsext_host_name(b"a.test")
        client.set_connect_state()
        server.set_accept_state()
        for _ in range(4):
            for here, there in ((client, server), (server, client)):
                try:
                    here.do_handshake()
                except SSL.WantReadError:
                    pass
                finally:
                    _move(here.bio_read, there.bio_write)
        return server, client

    def test_challenge(self) -> None:
        """The certificate for the name, with the digest; whatever the client says then is never read."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            server, client = self.handshake("a.test", [b"acme-tls/1"], version)
            self.assertEqual(client.get_alpn_proto_negotiated(), b"acme-tls/1")
            shown = client.get_peer_certificate(as_cryptography=True)
            assert shown is not None
            self.assertIn(_IDENTIFIER + sha256(b"answer").digest(), shown.tbs_certificate_bytes)
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            _move(client.bio_read, server.bio_write)
            self.assertRaises(SSL.ZeroReturnError, server.recv, 9999)

    def test_refused(self) -> None:
        """Where there is no challenge, or another protocol is offered, the handshake fails as TLS."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for name, offered in (("", [b"acme-tls/1"]), ("a.test", [b"http/1.1"])):
                error = self.assertRaises(SSL.Error, self.handshake, name, offered, version)
                self.assertIn("no application protocol", str(error))


def _move(read: Callable[[int], bytes], write: Callable[[bytes], int]) -> None:
    try:
        while True:
            write(read(65536))
    except SSL.WantReadError:
        pass
