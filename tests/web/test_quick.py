"""Requests that are answered from memory."""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import DeferredSemaphore, maybeDeferred

from mles_tx.transport.share import PIECE_BYTES, TurnShare
from mles_tx.web.bodies import BodyCache
from mles_tx.web.files import MAX_QUICK_BYTES, FileStock, SiteFiles
from mles_tx.web.hosts import make_site
from mles_tx.web.policy import Policy
from mles_tx.web.quick import QuickAnswers

from .asking import WebTestCase, get

#: When the files were written: Sat, 02 Jan 2021 03:04:05 GMT.
WRITTEN = 1609556645

TEXT = b"a text that gets smaller\n" * 100

FILES = {
    "index.html": TEXT,
    "page.txt": TEXT,
    "small.txt": b"small",
    "empty.txt": b"",
    "data.json": b'{"a": 1}',
    "picture.png": bytes(1000),
    "app.3f2a9c1b.js": TEXT,
    "app.3f2a9c1b.js.br": b"ready-made",
    "large.png": bytes(MAX_QUICK_BYTES + 1),
    "sub/index.html": b"<p>sub",
    "404.html": b"<p>not here",
}

TARGETS = (
    *(
        "/",
        "/index.html",
        "/page.txt",
        "/p%61ge.txt",
        "/page.txt?",
        "/page.txt?a=/../b?c#d",
        "/page.txt#",
        "//page.txt",
    ),
    *("/small.txt", "/empty.txt", "/data.json", "/picture.png", "/app.3f2a9c1b.js", "/large.png", "/sub", "/sub/"),
    *("/missing", "/404.html", "/../page.txt", "/%2e%2e/page.txt", "/.git", "/page.txt%00", "/%zz", "/a|b", "/sub/../"),
    *(
        "*",
        "page.txt",
        "http://localhost/page.txt",
        "/page.txt\\",
        '/page.txt"',
        "/page.txt%0d%0aa:b",
        "/page.txt ",
        "",
    ),
)

HOSTS = ("localhost", "LOCALHOST:8443", "localhost.", "other.test", "foreign.test", "", "localhost:x", " localhost ")

TAG = f'"{WRITTEN * 10**9:x}-{len(TEXT):x}"'

#: Fields that may stand in a head.
FIELDS = (
    *("Accept-Encoding: gzip", "accept-encoding:br, gzip;q=0.5", "Accept-Encoding: zstd;q=0", "Accept-Encoding:  br  "),
    *("Accept-Encoding: *", "Accept-Encoding:", "Accept-Encoding: identity;q=0", "Accept-Encoding: br\tgzip"),
    *("Connection: keep-alive", "Connection: Keep-Alive", "Connection: close", "Connection: keep-alive, x"),
    *("Connection:", "Keep-Alive: timeout=5", "Proxy-Connection: close"),
    *("If-None-Match: " + TAG, 'If-None-Match: "x"', "If-None-Match: *", "If-None-Match: W/" + TAG),
    *(f'If-None-Match: "x", {TAG}', "If-None-Match:", "if-none-match: " + TAG.replace('"', "")),
    *(f"If-None-Match: {tag}-br{TAG[-1]}" for tag in (TAG[:-1],)),
    *("If-Match: *", 'If-Match: "x"', "If-Range: x", "If-Modified-Since: Sat, 02 Jan 2021 03:04:05 GMT"),
    *("If-Unmodified-Since: Fri, 01 Jan 2021 00:00:00 GMT", "If-Something: x", "Range: bytes=0-3", "Range: x"),
    *("Content-Length: 0", "Expect: 100-continue", "TE: trailers", "Trailer: x", "Upgrade: h2c"),
    *("Cookie: a=b; c=d", "User-Agent: Mozilla/5.0 (X11)", "X-Empty:", "X-Long: " + "x" * 3000, "Origin: null"),
    *("Host: localhost", "Host: other.test", "host:", "X:Host: foreign.test", "X-Host: foreign.test", "Hosts: foreign"),
    *("Sec-Fetch-Dest: document", "Cache-Control: no-cache", "Pragma: no-cache", "Accept: text/html", "Via: 1.1 proxy"),
)

HEADS = st.builds(
    lambda method, target, version, host, more: "\r\n".join(
        [f"{method} {target} {version}", *(f"Host:{space}{name}" for space, name in host), *more, "", ""]
    ).encode("latin-1"),
    st.sampled_from(("GET", "GET", "GET", "HEAD", "POST", "get", "OPTIONS")),
    st.one_of(st.just("/page.txt"), st.just("/app.3f2a9c1b.js"), st.sampled_from(TARGETS)),
    st.sampled_from(("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0")),
    st.one_of(
        st.just([(" ", "localhost")]),
        st.just([("", "LocalHost.:443")]),
        st.lists(st.tuples(st.sampled_from((" ", "", "   ")), st.sampled_from(HOSTS)), max_size=2),
    ),
    st.lists(st.sampled_from(FIELDS), max_size=3),
)


def whole(answer: bytes | tuple[bytes, bytes]) -> bytes:
    """An answer in one piece."""
    return answer if isinstance(answer, bytes) else b"".join(answer)


class QuickTestCase(WebTestCase):
    """Two sites with all their files in memory, and both ways to ask them."""

    def setUp(self) -> None:
        super().setUp()
        self.root = Path(tempfile.mkdtemp(prefix="mles-tx-test-"))
        self.addCleanup(shutil.rmtree, self.root)
        for name, content in FILES.items():
            self.write(name, content)
        bodies = BodyCache(10_000_000, lambda make: maybeDeferred(make))
        share: Any = TurnShare(self.clock, 1000)
        stock = FileStock(DeferredSemaphore(10), bodies, share)
        sites = {"localhost": SiteFiles(self.root, stock), "other.test": SiteFiles(self.root / "sub", stock)}
        policy = Policy(True, True, lambda host: host == "localhost")
        self.site = make_site(sites, policy)
        self.now = time.time()
        self.quick = QuickAnswers(sites, policy, lambda: self.now)

    def write(self, name: str, content: bytes) -> None:
        """A file of a known time."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (WRITTEN, WRITTEN))

    def usual(self, head: bytes, server_name: str | None = None) -> tuple[bytes, list[bytes], bytes]:
        """What twisted.web answers: status line, headers in order but for the date, body."""
        peer: Any = self.connect(self.site)
        peer.server_name = lambda: server_name
        peer.receive(head)
        self.finish()
        return self.apart(peer.taken())

    def apart(self, answer: bytes | tuple[bytes, bytes]) -> tuple[bytes, list[bytes], bytes]:
        """Status line, headers in order but for the date, body."""
        answer = whole(answer)
        start, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = start.split(b"\r\n")
        return status, sorted(line for line in lines if not line.startswith(b"Date: ")), body

    def warm(self, *heads: bytes) -> None:
        """Have what these ask for in memory."""
        for head in heads:
            self.usual(head)


class SameTests(QuickTestCase):
    """Whatever is answered is what twisted.web answers."""

    def setUp(self) -> None:
        super().setUp()
        codings = (b"identity", b"gzip", b"br", b"zstd", b"*", b"zstd;q=0, *")
        self.warm(*(get(target.encode(), b"Accept-Encoding: " + c) for target in TARGETS[:17] for c in codings))
        self.warm(*(get(b"/", host=b"other.test") for _ in range(1)))
        self.answered = 0

    @settings(max_examples=1500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(HEADS, st.sampled_from((None, None, "localhost", "other.test", "foreign.test")))
    def compare(self, head: bytes, server_name: str | None) -> None:
        """One head, asked both ways."""
        answer = self.quick.answer(head, server_name)
        if answer is not None:
            self.answered += 1
            self.assertEqual(self.apart(answer), self.usual(head, server_name), head)

    def test_same(self) -> None:
        """The same status, headers and body, but for the date; and many a request is answered at all."""
        self.compare()
        self.assertGreater(self.answered, 50)

    def test_each(self) -> None:
        """The same for each field on each path, and each pair of fields on one."""
        heads = [get(target.encode(), field.encode()) for target in TARGETS for field in FIELDS]
        heads += [get(b"/page.txt", one.encode(), other.encode()) for one in FIELDS for other in FIELDS]
        for head in heads:
            answer = self.quick.answer(head, None)
            if answer is not None:
                self.answered += 1
                self.assertEqual(self.apart(answer), self.usual(head), head)
        self.assertGreater(self.answered, 500)

    def test_table(self) -> None:
        """What browsers send is answered, and in the same way."""
        for head in (
            get(b"/"),
            get(b"/", method=b"HEAD"),
            get(b"/page.txt", b"Accept-Encoding: gzip, deflate, br, zstd", b"User-Agent: Mozilla/5.0"),
            get(b"/page.txt", b"accept-encoding: gzip", host=b"LOCALHOST.:8443"),
            get(b"/page.txt?version=2"),
            get(b"/%70age.txt", b"Connection: keep-alive", b"Cookie: a=b"),
            get(b"/page.txt", b"If-None-Match: " + TAG.encode()),
            get(b"/app.3f2a9c1b.js", b"Accept-Encoding: br"),
            get(b"/data.json", b"Origin: https://example.org"),
            get(b"/empty.txt"),
            get(b"/sub/"),
            get(b"/", host=b"other.test"),
        ):
            answer = self.quick.answer(head, None)
            assert answer is not None, head
            self.assertEqual(self.apart(answer), self.usual(head), head)


class UnusualTests(QuickTestCase):
    """What is left to twisted.web."""

    def setUp(self) -> None:
        super().setUp()
        self.warm(get(b"/page.txt"), get(b"/page.txt", b"Accept-Encoding: br"))

    def test_long(self) -> None:
        """A long body is not copied: it comes beside its head, and is the same for everybody. HEAD has none."""
        self.write("long.png", b"x" * (PIECE_BYTES + 1))
        self.warm(get(b"/long.png"))
        answers = [self.quick.answer(get(b"/long.png"), None) for _ in range(2)]
        (start, body), (_, again) = [answer for answer in answers if isinstance(answer, tuple)]
        self.assertIs(body, again)
        self.assertEqual(self.apart((start, body)), self.usual(get(b"/long.png")))
        self.assertIsInstance(self.quick.answer(get(b"/long.png", method=b"HEAD"), None), bytes)

    def test_usual(self) -> None:
        """The requests below are unusual in one thing each: without it they are answered."""
        self.assertIsNotNone(self.quick.answer(get(b"/page.txt"), None))
        self.assertIsNotNone(self.quick.answer(get(b"/page.txt"), "localhost"))

    def test_heads(self) -> None:
        """Anything that could change the answer, or is not quite well-formed, is not answered."""
        good = get(b"/page.txt")
        for head in (
            b"",
            good[:-2],
            good + b"x",
            good + good,
            b"\r\n" + good,
            good.replace(b"\r\n", b"\n"),
            good.replace(b"HTTP/1.1", b"HTTP/1.0"),
            good.replace(b"HTTP/1.1", b"HTTP/1.10"),
            good.replace(b"GET ", b"GET  "),
            good.replace(b"Host:", b"Host :"),
            good.replace(b"Host:", b" Host:"),
            good.replace(b"Host: localhost", b"Host: local\r\n host"),
            good.replace(b"Host: localhost\r\n", b""),
            good.replace(b"localhost", b"foreign.test"),
            good.replace(b"localhost", b"localhost, localhost"),
            good.replace(b"localhost", b"localhost\t"),
            good.replace(b"localhost", b"localhost\x00"),
            good.replace(b"localhost", b"local\xffhost"),
            get(b"/page.txt", method=b"POST"),
            get(b"/page.txt", method=b"get"),
            get(b"http://localhost/page.txt"),
            get(b"page.txt"),
            get(b"/page.txt", b"Host: localhost"),
            get(b"/page.txt", b"Accept-Encoding: br", b"Accept-Encoding: gzip"),
            get(b"/page.txt", b"Connection: close"),
            get(b"/page.txt", b"Connection: upgrade"),
            get(b"/page.txt", b"Connection: keep-alive", b"Connection: close"),
            get(b"/page.txt", b"Content-Length: 0"),
            get(b"/page.txt", b"Content-Length: 10"),
            get(b"/page.txt", b"Transfer-Encoding: chunked"),
            get(b"/page.txt", b"Expect: 100-continue"),
            get(b"/page.txt", b"Range: bytes=0-"),
            get(b"/page.txt", b"If-Range: x"),
            get(b"/page.txt", b"If-Match: *"),
            get(b"/page.txt", b"If-Modified-Since: Sat, 02 Jan 2021 03:04:05 GMT"),
            get(b"/page.txt", b'If-None-Match: "x"'),
            get(b"/page.txt", b"If-None-Match: *"),
            get(b"/page.txt", b"If-None-Match: W/" + TAG.encode()),
            get(b"/page.txt", b"Upgrade: h2c"),
            get(b"/page.txt", b"X: \x7f"),
            get(b"/page.txt", b"X_Y: z"),
            get(b"/page.txt", b": z"),
            get(b"/page.txt", *(b"X: y" for _ in range(100))),
            get(b"/missing"),
            get(b"/sub"),
            get(b"/large.png"),
            get(b"/index.html"),  # not in memory
        ):
            self.assertIsNone(self.quick.answer(head, None), head)

    def test_other_name(self) -> None:
        """A connection that was opened for another host is not answered here."""
        for name in ("other.test", "foreign.test"):
            self.assertIsNone(self.quick.answer(get(b"/page.txt"), name))

    def test_spaces(self) -> None:
        """Thousands of spaces in a head take no time: nothing is looked for twice."""
        spaces = b" " * 15_000
        begun = time.process_time()
        for head in (
            get(b"/page.txt", b"If-None-Match: a" + spaces + b"b"),
            get(b"/page.txt", b"If-None-Match:" + spaces + b"b"),
            get(b"/page.txt", host=b"a" + spaces + b"b"),
            get(b"/page.txt", b"Connection: a" + (b" " * 50 + b"b") * 200),
        ):
            self.assertIsNone(self.quick.answer(head, None))
        self.assertLess(
            time.process_time() - begun, 0.5, "it was seconds when each space was looked at from each other"
        )

    def test_changes(self) -> None:
        """A file that has changed is not answered from memory, and its new content is once it was read."""
        self.write("page.txt", b"new")
        self.assertIsNone(self.quick.answer(get(b"/page.txt"), None))
        self.warm(get(b"/page.txt"))
        answer = self.quick.answer(get(b"/page.txt"), None)
        assert answer is not None
        self.assertTrue(whole(answer).endswith(b"\r\n\r\nnew"))
        (self.root / "page.txt").unlink()
        self.assertIsNone(self.quick.answer(get(b"/page.txt"), None))

    def test_date(self) -> None:
        """The date is that of the answer, second by second."""
        dates = []
        for now in (WRITTEN, WRITTEN + 0.9, WRITTEN + 1, WRITTEN - 3600):
            self.now = now
            answer = self.quick.answer(get(b"/page.txt"), None)
            assert answer is not None
            dates.append(whole(answer).partition(b"Date: ")[2][17:25])
        self.assertEqual(dates, [b"03:04:05", b"03:04:05", b"03:04:06", b"02:04:05"])

    def test_policy_may_change(self) -> None:
        """A host that may demand TLS from now on does so from now on."""
        demands: set[str] = set()
        site = self.quick._sites["localhost"]
        quick = QuickAnswers({"localhost": site}, Policy(True, False, demands.__contains__), time.time)
        told = []
        for names in ((), ("localhost",), ()):
            demands.clear()
            demands.update(names)
            answer = quick.answer(get(b"/page.txt"), None)
            assert answer is not None
            told.append(b"Strict-Transport-Security: max-age=31536000\r\n" in whole(answer))
        self.assertEqual(told, [False, True, False])
