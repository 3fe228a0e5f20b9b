"""Which headers pass a proxy, and what it adds."""

from twisted.internet.address import IPv6Address
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.forwarded import NOBODY, Client, TrustedProxies
from mles_tx.web.forwarding import asks_for_upgrade, request_fields, response_fields, sender_of, tokens
from tests.transport.fakes import FakeTransport

HOST = (b"Host", b"example.org:8443")

#: What is added to every request of `CLIENT`'s.
CLIENT = Client("2001:db8::7", "https")
ADDED = [
    (b"X-Forwarded-For", b"2001:db8::7"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"example.org:8443"),
]

#: Headers that pass in both directions, as they are.
KEPT = (
    [(b"Accept", b"*/*"), (b"accept", b"text/html")],
    [(b"Cookie", b"a=b; c=d"), (b"Authorization", b"Basic eA==")],
    [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")],
    [(b"Range", b"bytes=0-1"), (b"If-Range", b'"v1"'), (b"If-None-Match", b'"v1", W/"v2"')],
    [(b"Content-Length", b"5"), (b"Content-Encoding", b"gzip"), (b"Content-Type", b"text/plain")],
    [(b"Expect", b"100-continue")],
    [(b"Via", b"1.1 other"), (b"X-Custom_Name", b"\xff\xe9"), (b"Empty", b"")],
    [(b"Sec-WebSocket-Key", b"x"), (b"Sec-WebSocket-Protocol", b"chat")],
    [(b"Te-st", b"x"), (b"Upgrade-Insecure-Requests", b"1"), (b"Trailers", b"x")],
)

#: Headers that pass in neither.
DROPPED = (
    [(b"Connection", b"close")],
    [(b"connection", b"keep-alive"), (b"Keep-Alive", b"timeout=5")],
    [
        (b"Connection", b"X-Hop, x-other"),
        (b"x-hop", b"1"),
        (b"X-OTHER", b"2"),
        (b"Connection", b"x-third"),
        (b"X-Third", b""),
    ],
    [(b"Connection", b"X_Hop"), (b"X-Hop", b"1")],
    [(b"Proxy-Connection", b"close"), (b"Proxy-Authorization", b"Basic eA=="), (b"Proxy-Authenticate", b"Basic")],
    [(b"TE", b"trailers"), (b"Trailer", b"X"), (b"Transfer-Encoding", b"chunked")],
    [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")],
    [(b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"x"), (b"Connection", b"Upgrade, HTTP2-Settings")],
    [(b"Transfer_Encoding", b"chunked"), (b"content_length", b"7"), (b"Keep_Alive", b"x")],
)

#: Headers a client may not say about itself; upstreams' answers may.
ABOUT_CLIENT = (
    [(b"X-Forwarded-For", b"9.9.9.9"), (b"x-forwarded-for", b"8.8.8.8")],
    [(b"X-Forwarded-Proto", b"gopher"), (b"X-Forwarded-Host", b"evil"), (b"X-Forwarded-Port", b"1")],
    [(b"X-Forwarded-Anything", b"x"), (b"X_Forwarded_For", b"9.9.9.9"), (b"X-Forwarded_Host", b"evil")],
    [(b"Forwarded", b"for=9.9.9.9"), (b"X-Real-IP", b"9.9.9.9"), (b"X_Real_Ip", b"9.9.9.9")],
)

#: Headers, and whether they ask for WebSocket.
UPGRADES: tuple[tuple[list[tuple[bytes, bytes]], bool], ...] = (
    ([(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")], True),
    ([(b"upgrade", b"WebSocket"), (b"connection", b"keep-alive, UPGRADE")], True),
    ([(b"Upgrade", b"websocket"), (b"Connection", b"keep-alive"), (b"Connection", b"upgrade")], True),
    ([(b"Upgrade", b"websocket")], False),
    ([(b"Connection", b"Upgrade")], False),
    ([(b"Upgrade", b"h2c"), (b"Connection", b"Upgrade")], False),
    ([(b"Upgrade", b"websocket, h2c"), (b"Connection", b"Upgrade")], False),
    ([(b"Upgrade", b"websocket"), (b"Upgrade", b"h2c"), (b"Connection", b"Upgrade")], False),
    ([(b"Upgrade", b"websocket"), (b"Connection", b"Upgraded")], False),
    ([], False),
)

SWITCHING = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]


class RequestFieldsTests(SynchronousTestCase):
    """What an upstream gets."""

    def test_kept(self) -> None:
        """What is meant for the end goes on, in its order and as it is written."""
        for fields in KEPT:
            self.assertEqual(request_fields([HOST, *fields], CLIENT), [HOST, *fields, *ADDED])

    def test_dropped(self) -> None:
        """What concerns one connection does not, whatever its name is written like."""
        for fields in DROPPED:
            self.assertEqual(request_fields([*fields, HOST], CLIENT), [HOST, *ADDED], fields)

    def test_about_client(self) -> None:
        """What the client says about itself is replaced by what we know."""
        for fields in ABOUT_CLIENT:
            self.assertEqual(request_fields([*fields, HOST], CLIENT), [HOST, *ADDED], fields)

    def test_never_named(self) -> None:
        """A client cannot have the host, the length, or what we add taken away."""
        fields = [(b"Connection", b"Host, Content-Length, X-Forwarded-For"), HOST, (b"Content-Length", b"5")]
        self.assertEqual(request_fields(fields, CLIENT), [*fields[1:], *ADDED])

    def test_upgrade(self) -> None:
        """A request for WebSocket asks the upstream for that, and for nothing else."""
        fields = [HOST, (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade, X"), (b"X", b"1"), (b"Origin", b"null")]
        self.assertEqual(request_fields(fields, CLIENT, upgrade=True), [HOST, fields[-1], *ADDED, *SWITCHING])


class ResponseFieldsTests(SynchronousTestCase):
    """What a client gets."""

    def test_kept(self) -> None:
        """What is meant for the end goes on, cookies one by one, and nothing is added."""
        for fields in (*KEPT, *ABOUT_CLIENT):
            self.assertEqual(response_fields(fields), fields)

    def test_dropped(self) -> None:
        """What concerns one connection does not."""
        for fields in DROPPED:
            self.assertEqual(response_fields(fields), [], fields)

    def test_upgrade(self) -> None:
        """The answer to an upgrade says so."""
        accept = (b"Sec-WebSocket-Accept", b"x")
        fields = [(b"Upgrade", b"websocket"), (b"Connection", b"upgrade"), accept]
        self.assertEqual(response_fields(fields, upgrade=True), [accept, *SWITCHING])


class OtherTests(SynchronousTestCase):
    """What is read from headers, and from a connection."""

    def test_upgrades(self) -> None:
        """Only WebSocket, asked for in both headers, is an upgrade that goes on."""
        found = [(fields, asks_for_upgrade(fields)) for fields, _ in UPGRADES]
        self.assertEqual(found, [(list(fields), asks) for fields, asks in UPGRADES])

    def test_tokens(self) -> None:
        """Lists in several headers are one list; empty elements are none."""
        fields = [(b"A", b"x, Y,,"), (b"b", b"no"), (b"a", b""), (b"a", b" z ")]
        self.assertEqual(tokens(fields, b"a"), [b"x", b"y", b"z"])

    def test_client(self) -> None:
        """A client is who has connected, and over TLS or not, whatever it says; unless a trusted proxy says it."""
        fields = [(b"X-Forwarded-For", b"9.9.9.9"), (b"X-Forwarded-Proto", b"https")]
        plain, secure = FakeTransport(Protocol()), FakeTransport(Protocol(), ISSLTransport)
        secure.peerAddr = IPv6Address("TCP", "2001:db8::7", 1)
        self.assertEqual(sender_of(plain, fields, NOBODY), Client("192.168.1.1", "http"))
        self.assertEqual(sender_of(secure, fields, NOBODY), Client("2001:db8::7", "https"))
        trusted = TrustedProxies(["192.168.0.0/16"])
        self.assertEqual(sender_of(plain, fields, trusted), Client("9.9.9.9", "https"))
        self.assertEqual(sender_of(plain, fields[:1], trusted), Client("9.9.9.9", "http"))
        self.assertEqual(sender_of(secure, fields, trusted), Client("2001:db8::7", "https"))
