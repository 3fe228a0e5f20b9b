"""The site on port 80."""

from mles_tx.web.redirect import make_redirect_site

from .asking import Reply, WebTestCase, get

HOSTS = ("example.org", "www.example.org", "127.0.0.1", "::1")

#: Request, where it is sent.
MOVED = (
    (get(b"/", host=b"example.org"), "https://example.org/"),
    (get(b"/", host=b"example.org:80"), "https://example.org/"),
    (get(b"/", host=b"example.org:8080"), "https://example.org/"),
    (get(b"/", host=b"Example.ORG"), "https://example.org/"),
    (get(b"/", host=b"example.org."), "https://example.org/"),
    (get(b"/", host=b"EXAMPLE.org.:80"), "https://example.org/"),
    (get(b"/", host=b"www.example.org"), "https://www.example.org/"),
    (get(b"/", host=b"127.0.0.1"), "https://127.0.0.1/"),
    (get(b"/", host=b"[::1]:80"), "https://[::1]/"),
    (get(b"/", host=b"example.org", method=b"HEAD"), "https://example.org/"),
    (get(b"/a/b.html?x=1&y=2", host=b"example.org"), "https://example.org/a/b.html?x=1&y=2"),
    (get(b"/?", host=b"example.org"), "https://example.org/?"),
    (get(b"/?a?b", host=b"example.org"), "https://example.org/?a?b"),
    (get(b"/%2e%2E/%C3%a4;v=1,2?q=%0d%0aSet-Cookie:%20x", host=b"example.org"), None),
    (get(b"//foreign.example/x", host=b"example.org"), "https://example.org//foreign.example/x"),
    (get(b"/\\foreign.example", host=b"example.org"), "https://example.org/\\foreign.example"),
    (get(b"/@foreign.example", host=b"example.org"), "https://example.org/@foreign.example"),
    (get(b"/..//./x", host=b"example.org"), "https://example.org/..//./x"),
    (get(b"/<b>", host=b"example.org"), "https://example.org/<b>"),
    (get(b"/.well-known/security.txt", host=b"example.org"), "https://example.org/.well-known/security.txt"),
    (get(b"/.well-known/acme-challenge", host=b"example.org"), "https://example.org/.well-known/acme-challenge"),
    (get(b"/x?/.well-known/acme-challenge/known", host=b"example.org"), None),
)

#: Request, status.
REFUSED = (
    (get(b"/", host=b"foreign.example"), 404),
    (get(b"/", host=b"example.org.foreign.example"), 404),
    (get(b"/", host=b"foreign.example", method=b"POST"), 404),
    (get(b"/.well-known/acme-challenge/known", host=b"foreign.example"), 404),
    (get(b"/", host=b"example.org", method=b"POST"), 405),
    (get(b"/", host=b"example.org", method=b"OPTIONS"), 405),
    (get(b"/.well-known/acme-challenge/known", host=b"example.org", method=b"PUT"), 405),
    (get(b"/", host=None), 400),
    (get(b"/", b"Host: foreign.example", host=b"example.org"), 400),
    (get(b"/", host=b"foreign.example/x"), 400),
    (get(b"http://example.org/", host=b"example.org"), 400),
    (get(b"https://foreign.example/", host=b"example.org"), 400),
    (get(b"foreign.example:443", host=b"example.org", method=b"CONNECT"), 400),
    (get(b"/a\rSet-Cookie:foreign", host=b"example.org"), 400),
    (get(b"/a\nSet-Cookie:foreign", host=b"example.org"), 400),
    (get(b"/a\x00foreign", host=b"example.org"), 400),
    (get(b"/a\x7fforeign", host=b"example.org"), 400),
    (get(b"/a\x85foreign", host=b"example.org"), 400),
    (get(b"/a\xffforeign", host=b"example.org"), 400),
    (get(b"/a foreign", host=b"example.org"), 400),
)

#: What stands behind /.well-known/acme-challenge/ and has no answer.
NO_TOKENS = (
    b"",
    b"unknown",
    b"known/",
    b"/known",
    b"known/x",
    b"../known",
    b"..%2fknown",
    b"%6bnown",
    b"known.",
    b"k%00",
    b"known=",
    b"x" * 256,
)


class RedirectTests(WebTestCase):
    """Whoever comes over http."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[str] = []
        self.port = 443
        self.site = make_redirect_site(HOSTS, lambda: self.port, self.challenge)

    def challenge(self, token: str) -> bytes | None:
        self.asked.append(token)
        return b"known.thumbprint" if token == "known" else None

    def at(self, token: bytes, method: bytes = b"GET") -> Reply:
        """The answer to a challenge's token."""
        return self.ask(self.site, get(b"/.well-known/acme-challenge/" + token, host=b"example.org", method=method))

    def test_moved(self) -> None:
        """Who names a known host is sent to its https, with path and query as they came."""
        for request, location in MOVED:
            target = request.split(b" ")[1].decode()
            reply = self.ask(self.site, request)
            self.assertEqual(
                (request, reply.status, reply.headers["location"]),
                (request, 301, location or "https://example.org" + target),
            )
            self.assertEqual(set(reply.headers), {"location", "content-type", "content-length"})
            self.assertIn(reply.body, (b"", b"This site speaks https.\n"))
        self.assertEqual(self.asked, [])

    def test_port(self) -> None:
        """Where https is on another port the address says so, also when the port is known only later."""
        for port, suffix in ((443, ""), (8443, ":8443"), (80, ":80")):
            self.port = port
            for host, name in ((b"example.org:1", "example.org"), (b"[::1]", "[::1]")):
                reply = self.ask(self.site, get(b"/a?b", host=host))
                self.assertEqual(reply.headers["location"], f"https://{name}{suffix}/a?b")

    def test_refused(self) -> None:
        """Who names no host of ours, or asks for what cannot be, is told so; nothing of it is repeated or logged."""
        for request, status in REFUSED:
            answer = self.raw(request)
            self.assertEqual((request, answer[9:12]), (request, b"%d" % status))
            for word in (b"location", b"foreign", b"set-cookie", b"known"):
                self.assertNotIn(word, answer.lower(), request)
        self.assertEqual((self.asked, self.logged), ([], []))

    def test_methods(self) -> None:
        """Who uses another method is told which there are."""
        for method in (b"POST", b"DELETE", b"TRACE", b"get"):
            reply = self.ask(self.site, get(b"/x", host=b"example.org", method=method))
            self.assertEqual((reply.status, reply.headers["allow"]), (405, "GET, HEAD"))

    def test_challenge(self) -> None:
        """A certificate authority gets the answer to its token, and is not sent elsewhere."""
        reply = self.at(b"known")
        self.assertEqual((reply.status, reply.body), (200, b"known.thumbprint"))
        self.assertEqual(reply.headers, {"content-type": "application/octet-stream", "content-length": "16"})
        self.assertEqual(self.at(b"known?x").body, b"known.thumbprint")
        reply = self.at(b"known", b"HEAD")
        self.assertEqual((reply.status, reply.headers["content-length"], reply.body), (200, "16", b""))
        self.assertEqual((self.asked, self.logged), (["known"] * 3, []))

    def test_no_challenge(self) -> None:
        """For other tokens there is nothing, and what cannot be a token is not even looked up."""
        for token in NO_TOKENS:
            reply = self.at(token)
            self.assertEqual((token, reply.status, "location" in reply.headers), (token, 404, False))
        self.assertEqual(self.asked, ["unknown"])

    def test_without_challenges(self) -> None:
        """A site that was told of no challenges has none, and redirects."""
        site = make_redirect_site(HOSTS, lambda: 443)
        statuses = [
            self.ask(site, get(path, host=b"example.org")).status for path in (b"/.well-known/acme-challenge/a", b"/")
        ]
        self.assertEqual(statuses, [404, 301])

    def raw(self, request: bytes) -> bytes:
        """The first answer to what may be no request, as it is on the wire."""
        peer = self.connect(self.site)
        peer.receive(request)
        answer: bytes = peer.taken()
        peer.hang_up()
        return answer
