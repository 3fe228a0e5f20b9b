"""Sites by host name."""

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from mles_tx.web.hosts import Hosts, host_name, make_site
from mles_tx.web.pages import Answer
from mles_tx.web.policy import PLAIN, Policy

from .asking import WebTestCase, get

#: Host header, name.
NAMES = (
    (b"example.org", "example.org"),
    (b"example.org:8443", "example.org"),
    (b"example.org:", "example.org"),
    (b"Example.ORG:443", "example.org"),
    (b"example.org.", "example.org"),
    (b"example.org.:443", "example.org"),
    (b"a_b-c.example.org", "a_b-c.example.org"),
    (b"localhost", "localhost"),
    (b"127.0.0.1:80", "127.0.0.1"),
    (b"[::1]", "::1"),
    (b"[::1]:8080", "::1"),
    (b"[FE80::AB]", "fe80::ab"),
    (b"", None),
    (b".", None),
    (b"...", None),
    (b"example.org..", None),
    (b"example..org", None),
    (b".example.org", None),
    (b":443", None),
    (b"[]", None),
    (b"::1", None),
    (b"[::1", None),
    (b"::1]", None),
    (b"[::1]x", None),
    (b"[example.org]", None),
    (b"example.org:http", None),
    (b"example.org:999999", None),
    (b"example.org:-1", None),
    (b"example.org:80:80", None),
    (b"example.org, example.org", None),
    (b"example.org example.org", None),
    (b"user@example.org", None),
    (b"http://example.org", None),
    (b"example.org/path", None),
    (b"..\\example.org", None),
    (b"../example.org", None),
    (b"example.org\n", None),
    (b"example.org\x00", None),
    (b"ex%61mple.org", None),
    (b"<b>example.org", None),
    ("bücher.example".encode(), None),
    (b"\xff", None),
)

#: Something that no answer and no line of the log may repeat.
MARKER = "5ca1ab1e"

#: Request, status.
REQUESTS = (
    (get(b"/", host=b"example.org"), 200),
    (get(b"/", host=b"example.org:8443"), 200),
    (get(b"/", host=b"EXAMPLE.org."), 200),
    (get(b"/", host=b"[::1]:8443"), 200),
    (get(b"/any/path?query", host=b"example.org"), 200),
    (get(b"//example.org/", host=b"example.org"), 200),
    (get(b"/", host=b"example.org", method=b"HEAD"), 200),
    (get(b"/", host=b"www.example.org"), 404),
    (get(b"/", host=b"foreign.example"), 404),
    (get(b"/", host=b"127.0.0.1"), 404),
    (get(b"/", host=b"foreign.example", method=b"POST"), 404),
    (get(b"/", host=None), 400),
    (get(b"/", host=b""), 400),
    (get(b"/", host=b"example.org:x"), 400),
    (get(b"/", host=b"example.org/x"), 400),
    (get(b"/", b"Host: example.org", host=b"example.org"), 400),
    (get(b"/", b"Host: foreign.example", host=b"example.org"), 400),
    (get(b"/", b"host: foreign.example", host=b"example.org"), 400),
    (get(b"http://example.org/", host=b"example.org"), 400),
    (get(b"http://foreign.example/", host=b"example.org"), 400),
    (get(b"https://example.org/", host=b"example.org"), 400),
    (get(b"example.org:443", host=b"example.org", method=b"CONNECT"), 400),
    (get(b"path", host=b"example.org"), 400),
    (get(b"/", host=b"example.org", method=b"POST"), 405),
    (get(b"/", host=b"example.org", method=b"PUT"), 405),
    (get(b"/", host=b"example.org", method=b"DELETE"), 405),
    (get(b"/", host=b"example.org", method=b"OPTIONS"), 405),
    (get(b"/", host=b"example.org", method=b"TRACE"), 405),
    (get(b"/", host=b"example.org", method=b"PROPFIND"), 405),
    (get(b"/", host=b"example.org", method=b"get"), 405),
)

#: Requests with something of the asker's wherever something can stand.
MARKED = (
    (get(b"/5ca1ab1e?5ca1ab1e", b"Cookie: 5ca1ab1e", b"X-5ca1ab1e: 5ca1ab1e"), 404),
    (get(b"/", host=b"5ca1ab1e.example"), 404),
    (get(b"/", host=b"5ca1ab1e<script>"), 400),
    (get(b"/", b"Host: 5ca1ab1e"), 400),
    (get(b"http://5ca1ab1e/5ca1ab1e"), 400),
    (get(b"/5ca1ab1e", host=b"example.org", method=b"5CA1AB1E"), 405),
    (get(b"/5ca1ab1e", host=b"example.org", method=b"POST"), 405),
    (get(b"/5ca1ab1e", host=b"5ca1ab1e.example", method=b"HEAD"), 404),
    (get(b"http://5ca1ab1e/5ca1ab1e", method=b"HEAD"), 400),
)


class HostNameTests(SynchronousTestCase):
    """What a Host header names."""

    def test_names(self) -> None:
        """The name without port, case and trailing dot; nothing when it is not one name or address."""
        self.assertEqual([(host, host_name(host)) for host, _ in NAMES], list(NAMES))


class HostsTests(WebTestCase):
    """Several domains on one server."""

    def setUp(self) -> None:
        super().setUp()
        page = Answer(200, "the site")
        self.sites: dict[str, IResource] = {"example.org": page, "::1": page, "other.example": Answer(200, "another")}
        self.site = make_site(self.sites)

    def test_interface(self) -> None:
        """It can stand wherever twisted.web wants a resource."""
        self.assertTrue(verifyObject(IResource, Hosts({}, PLAIN)))

    def test_requests(self) -> None:
        """Served is who names one known host, once, and asks for a path; others are told what is wrong."""
        found = [(request, self.ask(self.site, request).status) for request, _ in REQUESTS]
        self.assertEqual(found, list(REQUESTS))

    def test_own_site(self) -> None:
        """Each host has its own site."""
        self.assertEqual(self.ask(self.site, get(b"/", host=b"example.org")).body, b"the site\n")
        self.assertEqual(self.ask(self.site, get(b"/", host=b"other.example")).body, b"another\n")

    def test_sites_may_change(self) -> None:
        """A site that is added while the server runs is served from then on."""
        self.assertEqual(self.ask(self.site, get(b"/", host=b"new.example")).status, 404)
        self.sites["new.example"] = Answer(200, "new")
        self.assertEqual(self.ask(self.site, get(b"/", host=b"new.example")).body, b"new\n")

    def test_nothing_repeated(self) -> None:
        """Nothing of a request that is refused comes back in the answer, or goes to the log."""
        for request, status in MARKED:
            reply = self.ask(self.site, request)
            self.assertEqual((request, reply.status), (request, status))
            self.assertNotIn(MARKER, f"{reply.headers} {reply.body!r}".lower())
            self.assertNotIn(MARKER, "\n".join(self.logged).lower())

    def test_software_not_named(self) -> None:
        """No answer says which software made it."""
        named = [request for request, _ in REQUESTS if "server" in self.ask(self.site, request).headers]
        self.assertEqual(named, [])


class MakeSiteTests(WebTestCase):
    """The web side as a whole."""

    def test_no_log_no_timer(self) -> None:
        """Requests leave no line in a log, and no timer."""
        before = list(reactor.getDelayedCalls())
        site = make_site({"localhost": Answer(200, "here")})
        self.assertIsInstance(site, Site)
        self.assertEqual(self.ask(site, get(b"/")).status, 200)
        self.assertEqual(self.ask(site, get(b"/", host=b"foreign.example")).status, 404)
        self.assertEqual(self.logged, [])
        self.assertEqual(list(reactor.getDelayedCalls()), before)

    def test_form_not_parsed(self) -> None:
        """The body of a form is not taken apart: who posts one is refused, whatever is in it."""
        head = get(
            b"/",
            b"Content-Type: multipart/form-data; boundary=x",
            b"Content-Length: 5",
            method=b"POST",
        )
        reply = self.ask(make_site({"localhost": Answer(200, "here")}), head + b"--x\r\n")
        self.assertEqual(reply.status, 405)


class MisdirectedTests(WebTestCase):
    """Requests on a connection that was opened for another host."""

    def setUp(self) -> None:
        super().setUp()
        sites: dict[str, IResource] = {name: Answer(200, name) for name in ("example.org", "other.example", "::1")}
        self.site = make_site(sites)

    def status(self, request: bytes, server_name: str | None) -> bytes:
        """The status of the answer on a connection that was opened for a host."""
        peer: Any = self.connect(self.site)
        peer.server_name = lambda: server_name
        peer.receive(request)
        return bytes(peer.taken()[9:12])

    def test_table(self) -> None:
        """Another host of ours is told to use a connection of its own; what is not ours is not found either way."""
        for host, server_name, status in (
            (b"example.org", "example.org", b"200"),
            (b"EXAMPLE.org.:443", "example.org", b"200"),
            (b"example.org", None, b"200"),
            (b"example.org", "other.example", b"421"),
            (b"other.example", "example.org", b"421"),
            (b"example.org", "foreign.example", b"421"),
            (b"[::1]:443", None, b"200"),
            (b"foreign.example", "example.org", b"404"),
            (b"foreign.example", "foreign.example", b"404"),
            (b"example.org:x", "other.example", b"400"),
            (b"", "example.org", b"400"),
        ):
            found = self.status(get(b"/", host=host), server_name)
            self.assertEqual((host, server_name, found), (host, server_name, status))
        self.assertEqual(self.status(get(b"/", host=b"example.org", method=b"POST"), "other.example"), b"421")

    def test_plain(self) -> None:
        """Without TLS no host was named, and all are served on one connection."""
        for host in (b"example.org", b"other.example"):
            self.assertEqual(self.ask(self.site, get(b"/", host=host)).status, 200)


class PolicyTests(WebTestCase):
    """The headers that all answers of a server have."""

    ON_TLS = frozenset(("x-content-type-options", "referrer-policy"))
    ISOLATION = frozenset(f"cross-origin-{which}-policy" for which in ("opener", "embedder", "resource"))
    HSTS = frozenset(("strict-transport-security",))

    def test_every_answer(self) -> None:
        """They stand on every answer, also on one that refuses; HSTS only where the host may demand it."""

        def demands(host: str) -> bool:
            return host == "example.org"

        for policy, everywhere, demanded in (
            (PLAIN, frozenset(), frozenset()),
            (Policy(False, True, demands), self.ISOLATION, frozenset()),
            (Policy(True, False, demands), self.ON_TLS, self.HSTS),
            (Policy(True, True, demands), self.ON_TLS | self.ISOLATION, self.HSTS),
        ):
            site = make_site({name: Answer(200, "here") for name in ("example.org", "localhost")}, policy)
            for request, status, more in (
                (get(b"/"), 200, frozenset()),
                (get(b"/", host=b"example.org"), 200, demanded),
                (get(b"/", host=b"Example.ORG.:443"), 200, demanded),
                (get(b"/", host=b"example.org", method=b"POST"), 405, demanded),
                (get(b"/", host=b"foreign.example"), 404, frozenset()),
                (get(b"/", host=None), 400, frozenset()),
            ):
                reply = self.ask(site, request)
                found = set(reply.headers) - {"content-type", "content-length", "allow"}
                self.assertEqual((request, reply.status, found), (request, status, everywhere | more))
