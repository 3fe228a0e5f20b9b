"""Which requests are passed on, and to whom."""

from mles_tx.protocol.forwarded import NOBODY, TrustedProxies
from mles_tx.web.routes import Route
from tests.wire import header, upgrade

from .proxying import API, Peer, ProxyTestCase, ask

#: Request, status of an answer of our own; None: it is passed on.
REQUESTS = (
    (ask("/api"), None),
    (ask("/api?x=/../"), None),
    (ask("/api/x", method="DELETE"), None),
    (ask("/api/x", "Content-Length: 2", method="POST", body=b"hi"), None),
    (ask("/api/x", host="EXAMPLE.org.:8443"), None),
    (upgrade(path="/api"), None),
    (upgrade(path="/api/x", protocol=None), None),
    (ask("/"), b"200"),
    (ask("/apix"), b"200"),
    (ask("/apix", "Content-Length: 2", method="POST", body=b"hi"), b"413"),
    (ask("/", method="POST"), b"405"),
    (upgrade(path="/"), b"101"),
    (upgrade(path="/apix"), b"101"),
    (ask("/api", host="elsewhere.example"), b"404"),
    (ask("/api", "Content-Length: 2", method="POST", host="elsewhere.example", body=b"hi"), b"404"),
    (upgrade(path="/api").replace(b"localhost", b"elsewhere.example"), b"404"),
    (ask("/api", host="a b"), b"400"),
    (ask("/api", "Host: localhost"), b"400"),
    (ask("/api").replace(b"Host: localhost\r\n", b""), b"400"),
    (ask("/api").replace(b"Host: localhost\r\n", b"").replace(b"1.1", b"1.0"), b"400"),
    (ask("http://localhost/api"), b"400"),
    (ask("/api", method="CONNECT"), b"400"),
    (ask("/api/.."), b"400"),
    (ask("/api/%2e%2E/x"), b"400"),
    (ask("/api/x#y"), b"400"),
    (ask("/api/x\x7f"), b"400"),
    (ask("/api/x").replace(b"Host", b"X: a\nHost"), b"400"),
)


class ProxyTests(ProxyTestCase):
    """With one prefix."""

    def test_choice(self) -> None:
        """A whole segment of the path decides; unknown hosts, and what is no request, are answered as ever."""
        found = []
        for request, _ in REQUESTS:
            before = len(self.opening)
            client = self.connect(request)
            passed = len(self.opening) > before
            answer = client.taken()
            self.assertEqual(passed, not answer, request)
            found.append((request, None if passed else answer[9:12]))
            client.hang_up()
        self.assertEqual(found, list(REQUESTS))

    def test_nothing_repeated(self) -> None:
        """Nothing of a request that is refused comes back, or goes to the log."""
        for request in (
            ask("/api/5ca1ab1e", host="5ca1ab1e.example"),
            ask("/api/../5ca1ab1e", "X: 5ca1ab1e"),
            ask("/api/x", "5ca1ab1e", "X: 5ca1ab1e"),
        ):
            self.assertNotIn(b"5ca1ab1e", self.connect(request).taken())
        self.connect(ask("/api/5ca1ab1e"))
        self.refuse()
        self.assertNotIn("5ca1ab1e", "".join(self.logged))

    def test_other_requests_on_the_connection(self) -> None:
        """A connection may carry what is passed on and what is not, one after the other, and become a WebSocket."""
        client = self.connect(ask("/"))
        client.receive(ask("/api") + ask("/") + upgrade() + header("alice"))
        upstream = self.accept()
        upstream.receive(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertEqual(
            [part[:3] for part in client.taken().split(b"HTTP/1.1 ")[1:]], [b"200", b"204", b"200", b"101"]
        )
        self.assertEqual([member.uid for member in self.mles.registry.members], ["alice"])
        self.assert_nothing_left()

    def test_too_many(self) -> None:
        """When there are too many connections to upstreams, who asks for one more is told to come again."""
        clients = [self.connect(ask()) for _ in range(self.limit + 1)]
        self.assertEqual([client.taken()[9:12] for client in clients], [b""] * self.limit + [b"503"])


class BehindProxyTests(ProxyTestCase):
    """With a trusted proxy in front, whose connections are not counted."""

    trusted = TrustedProxies(["192.168.1.1"])

    def test_websockets_are_counted(self) -> None:
        """WebSockets of a client count as those to Mles do, and one too many is told to wait; requests do not count."""
        told = b"X-Forwarded-For: 192.0.2.7\r\n\r\n"
        request = upgrade(path="/api/x", protocol=None).removesuffix(b"\r\n") + told
        answers = [self.connect(request).taken() for _ in range(3)]
        self.assertEqual((self.counted, answers[:2]), (["192.0.2.7"] * 3, [b""] * 2))
        self.assertTrue(answers[2].startswith(b"HTTP/1.1 429 Too Many Requests\r\n"))
        self.assertTrue(answers[2].endswith(b"too many connections from your address; wait 42 seconds.\n"))
        self.connect(ask("/api/x", "X-Forwarded-For: 192.0.2.7"))
        self.assertEqual((len(self.counted), len(self.opening)), (3, 3))

    def test_past_the_proxy(self) -> None:
        """Who comes by itself was counted when it connected, and is not counted again."""
        self.proxy._trusted = NOBODY
        self.connect(upgrade(path="/api/x", protocol=None))
        self.assertEqual((self.counted, len(self.opening)), ([], 1))


class SeveralTests(ProxyTestCase):
    """With several prefixes."""

    routes = (API, Route("/api/v2", "127.0.0.1", 3001, "/"), Route("/", "::1", 3002))

    def test_upstreams(self) -> None:
        """Each prefix has its own upstream, and the path it is to get."""
        for target, host, port, asked in (
            ("/api/x", "127.0.0.1", 3000, "/api/x"),
            ("/api/v2/x?y", "127.0.0.1", 3001, "/x?y"),
            ("/other", "::1", 3002, "/other"),
        ):
            _, upstream = self.exchange(ask(target))
            self.assertEqual(self.reactor.tcpClients[-1][:2], (host, port))
            self.assertTrue(upstream.taken().startswith(b"GET " + asked.encode() + b" HTTP/1.1\r\n"))

    def test_mles_beside_all_paths(self) -> None:
        """The prefix / leaves upgrades that name Mles to Mles; other prefixes, and other upgrades, are passed on."""
        for request, passed in (
            (upgrade(path="/"), False),
            (upgrade(path="/any", protocol="other, Mles-WebSocket"), False),
            (upgrade(path="/any", protocol="x-mles-websocket, mles-websocket2"), True),
            (upgrade(path="/any", protocol=None), True),
            (upgrade(path="/api/x"), True),
        ):
            before = len(self.opening)
            client: Peer = self.connect(request)
            self.assertEqual(len(self.opening) > before, passed, request)
            client.hang_up()
