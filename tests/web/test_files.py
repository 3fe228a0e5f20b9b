"""The files of one site."""

import gzip
import os
import random
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

from mles_tx.transport.share import TurnShare
from mles_tx.web import files
from mles_tx.web.bodies import BodyCache
from mles_tx.web.files import MAX_QUICK_BYTES, FileStock, SiteFiles
from mles_tx.web.hosts import make_site
from mles_tx.web.lookup import Found, open_regular
from tests.transport.fakes import FakeTransport

from .asking import Reply, WebTestCase, get

SECRET = b"not for everybody"

#: When the files were written: Sat, 02 Jan 2021 03:04:05 GMT.
WRITTEN = 1609556645

#: Path, what is served.
SERVED = (
    (b"/", b"<p>index"),
    (b"/index.html", b"<p>index"),
    (b"/?query=/../x", b"<p>index"),
    (b"/page.txt", b"page"),
    (b"/page.txt?", b"page"),
    (b"/%70age.txt", b"page"),
    (b"/a..b.txt", b"two dots"),
    (b"/trailing.", b"a dot"),
    (b"/with%20space.txt", b"space"),
    (b"/100%25.txt", b"percent"),
    (b"/plus+plus", b"plus"),
    (b"/semi;colon", b"semicolon"),
    (b"/b%C3%BCcher.txt", b"umlaut"),
    (b"/empty", b""),
    (b"/sub/", b"<p>sub"),
    (b"/sub/index.html", b"<p>sub"),
    (b"/sub/deep/file", b"deep"),
    (b"/link", b"page"),
    (b"/absolute-link", b"page"),
    (b"/sub/up", b"page"),
    (b"/link-to-sub/", b"<p>sub"),
    (b"/link-to-sub/deep/file", b"deep"),
)

#: Path, where it leads to.
REDIRECTED = (
    (b"/sub", "/sub/"),
    (b"/s%75b", "/s%75b/"),
    (b"/link-to-sub", "/link-to-sub/"),
)

#: Paths where nothing may be found.
NOT_SERVED = (
    b"/missing",
    b"/missing/",
    b"/page.txt/",
    b"/page.txt/more",
    b"/PAGE.TXT",
    b"//",
    b"//page.txt",
    b"/sub//index.html",
    b"/sub//",
    b"/..",
    b"/../",
    b"/../outside/secret.txt",
    b"/../site/page.txt",
    b"/sub/../page.txt",
    b"/sub/../../outside/secret.txt",
    b"/sub/deep/../../../outside/secret.txt",
    b"/./page.txt",
    b"/sub/.",
    b"/sub/..",
    b"/...",
    b"/.../page.txt",
    b"/%2e%2e/outside/secret.txt",
    b"/%2E%2E/outside/secret.txt",
    b"/.%2e/outside/secret.txt",
    b"/..%2foutside%2fsecret.txt",
    b"/..%2Foutside%2Fsecret.txt",
    b"/%2e%2e%2foutside%2fsecret.txt",
    b"/sub%2findex.html",
    b"/%2fetc%2fpasswd",
    b"//etc/passwd",
    b"/%2e/page.txt",
    b"/%252e%252e/outside/secret.txt",
    b"/..%252foutside%252fsecret.txt",
    b"/%c0%ae%c0%ae/outside/secret.txt",
    b"/..%c0%afoutside%c0%afsecret.txt",
    b"/%e0%80%ae%e0%80%ae/outside/secret.txt",
    b"/..;/outside/secret.txt",
    b"/..\\outside\\secret.txt",
    b"/..%5coutside%5csecret.txt",
    b"/sub\\index.html",
    b"/sub%5cindex.html",
    b"/page.txt%00",
    b"/page.txt%00.html",
    b"/%00",
    b"/%00/page.txt",
    b"/page.txt%0a",
    b"/page.txt%0d%0aSet-Cookie:%20a=b",
    b"/%09page.txt",
    b"/page.txt%7f",
    b"/%ff",
    b"/page.txt%ff",
    b"/sub/%80/",
    b"/~",
    b"/*",
    b"/.env",
    b"/%2eenv",
    b"/.git",
    b"/.git/",
    b"/.git/config",
    b"/.git/index.html",
    b"/%2egit/config",
    b"/sub/.htaccess",
    b"/link-to-dotfile",
    b"/link-to-git/config",
    b"/link-to-git/",
    b"/link-to-secret",
    b"/link-to-outside/secret.txt",
    b"/link-to-outside/",
    b"/link-to-outside",
    b"/link-to-root/etc/passwd",
    b"/link-to-parent/outside/secret.txt",
    b"/link-to-sibling",
    b"/leaky/",
    b"/loop",
    b"/loop/",
    b"/loop/page.txt",
    b"/dangling",
    b"/bare",
    b"/bare/",
    b"/fifo",
    b"/fifo/",
    b"/link-to-fifo",
    b"/socket",
    b"/zero",
    b"/stdin",
    b"/fifos/",
    b"/" + b"n" * 300,
    b"/" + b"sub/" * 2000,
)


class SiteFilesTestCase(WebTestCase):
    """A site's directory."""

    def setUp(self) -> None:
        super().setUp()
        self.base = Path(tempfile.mkdtemp(prefix="mles-tx-test-"))
        self.addCleanup(shutil.rmtree, self.base)
        self.root = self.base / "site"
        self.site = make_site({"localhost": SiteFiles(self.root, self.stock())})

    def write(self, name: str, content: bytes) -> Path:
        """A file below the root, of a known time."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (WRITTEN, WRITTEN))
        return path

    def link(self, name: str, target: str | Path) -> None:
        """A symbolic link below the root."""
        (self.root / name).symlink_to(target)

    def fill(self) -> None:
        """A site with all that may and may not be served."""
        for name, content in (
            ("index.html", b"<p>index"),
            ("page.txt", b"page"),
            ("a..b.txt", b"two dots"),
            ("trailing.", b"a dot"),
            ("with space.txt", b"space"),
            ("100%.txt", b"percent"),
            ("plus+plus", b"plus"),
            ("semi;colon", b"semicolon"),
            ("bücher.txt", b"umlaut"),
            ("empty", b""),
            ("sub/index.html", b"<p>sub"),
            ("sub/deep/file", b"deep"),
            ("bare/file", b"file"),
            (".env", SECRET),
            (".git/config", SECRET),
            (".git/index.html", SECRET),
            ("sub/.htaccess", SECRET),
            ("..\\outside\\secret.txt", SECRET),
            ("sub\\index.html", SECRET),
            ("../outside/secret.txt", SECRET),
            ("../outside/index.html", SECRET),
            ("../site-of-another/secret.txt", SECRET),
        ):
            self.write(name, content)
        for link, target in (
            ("link", "page.txt"),
            ("absolute-link", self.root / "page.txt"),
            ("sub/up", "../page.txt"),
            ("link-to-sub", "sub"),
            ("link-to-dotfile", ".env"),
            ("link-to-git", ".git"),
            ("link-to-secret", "../outside/secret.txt"),
            ("link-to-outside", self.base / "outside"),
            ("link-to-root", "/"),
            ("link-to-parent", ".."),
            ("link-to-sibling", "../site-of-another/secret.txt"),
            ("loop", "loop"),
            ("dangling", "nowhere"),
            ("link-to-fifo", "fifo"),
            ("zero", "/dev/zero"),
            ("stdin", "/dev/stdin"),
        ):
            self.link(link, target)
        (self.root / "leaky").mkdir()
        self.link("leaky/index.html", "../../outside/index.html")
        os.mkfifo(self.root / "fifo")
        (self.root / "fifos").mkdir()
        os.mkfifo(self.root / "fifos" / "index.html")
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        listening.bind(str(self.root / "socket"))

    def get(self, target: bytes, *headers: bytes, method: bytes = b"GET") -> Reply:
        """What a browser gets."""
        return self.ask(self.site, get(target, *headers, method=method))

    def assert_nothing_opened(self, before: int) -> None:
        """No more descriptors are open than before."""
        self.assertEqual(self.descriptors(), before)

    def descriptors(self) -> int:
        """How many descriptors this process has."""
        return len(list(Path("/proc/self/fd").iterdir()))


class SiteFilesTests(SiteFilesTestCase):
    """A site's directory as browsers and attackers see it."""

    def test_interface(self) -> None:
        """It can stand wherever twisted.web wants a resource."""
        self.assertTrue(verifyObject(IResource, SiteFiles(self.root, self.stock())))

    def test_served(self) -> None:
        """Whatever lies below the root is served under its name, also through links that stay below it."""
        self.fill()
        replies = [(target, self.get(target)) for target, _ in SERVED]
        self.assertEqual(
            [(target, reply.status, reply.body) for target, reply in replies],
            [(target, 200, content) for target, content in SERVED],
        )
        self.assertEqual(self.logged, [])

    def test_not_served(self) -> None:
        """Dotfiles, what lies outside, pipes, devices, listings and names that make no sense: nothing is found."""
        self.fill()
        before = self.descriptors()
        not_found = Reply(
            404,
            {"content-type": "text/plain; charset=utf-8", "content-length": "34"},
            b"There is nothing at this address.\n",
        )
        replies = [(target, self.get(target)) for target in NOT_SERVED]
        self.assertEqual([(target, reply) for target, reply in replies if reply != not_found], [])
        self.assertEqual(self.logged, [])
        self.assert_nothing_opened(before)

    def test_bytes_that_are_no_text(self) -> None:
        """A path with bytes that are no UTF-8 finds nothing, also where a file has that very name."""
        self.write(os.fsdecode(b"\xff"), SECRET)
        self.assertEqual(self.get(b"/%ff").status, 404)
        self.assertEqual(self.get(b"/\xff").status, 400, "such bytes do not stand in a request")

    def test_devices(self) -> None:
        """A device is not served where it is a file of the site's own."""
        site = make_site({"localhost": SiteFiles(Path("/dev"), self.stock())})
        for device in (b"/zero", b"/null", b"/full", b"/random"):
            self.assertTrue(stat.S_ISCHR(Path(os.fsdecode(b"/dev" + device)).stat().st_mode))
            self.assertEqual((device, self.ask(site, get(device)).status), (device, 404))

    def test_unreadable(self) -> None:
        """A file the server may not read is not found; the one beside it is served."""
        self.base.chmod(0o755)
        self.write("open.txt", b"open").chmod(0o644)
        self.write("closed.txt", SECRET).chmod(0)
        self.write("closed/file", SECRET)
        (self.root / "closed").chmod(0)
        self.addCleanup((self.root / "closed").chmod, 0o755)
        if os.geteuid() == 0:  # root may read everything
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)
        found = [self.get(target).status for target in (b"/open.txt", b"/closed.txt", b"/closed/file", b"/closed/")]
        self.assertEqual(found, [200, 404, 404, 404])

    def test_directory_without_slash(self) -> None:
        """Who forgets the slash behind a directory is sent to the address with it."""
        self.fill()
        for target, location in REDIRECTED:
            reply = self.get(target)
            self.assertEqual((reply.status, reply.headers["location"], reply.body), (301, location, b""))
            self.assertEqual(self.get(location.encode()).status, 200)

    def test_query_kept(self) -> None:
        """Who is sent to the address with the slash keeps the query."""
        self.write("sub/index.html", b"<p>sub")
        self.assertEqual(self.get(b"/sub?channel=example").headers["location"], "/sub/?channel=example")

    def test_index_that_is_a_directory(self) -> None:
        """A directory with the name of the index is no index."""
        self.write("index.html/file", b"file")
        self.assertEqual(self.get(b"/").status, 404)
        self.assertEqual(self.get(b"/index.html").status, 404)
        self.assertEqual(self.get(b"/index.html/file").body, b"file")
        self.write("index.html/index.html", b"<p>odd")
        self.assertEqual(self.get(b"/").status, 404)
        self.assertEqual(self.get(b"/index.html").headers["location"], "/index.html/")
        self.assertEqual(self.get(b"/index.html/").body, b"<p>odd")

    def test_root_comes_and_goes(self) -> None:
        """A root that is not there yet is empty; it may come, go and be replaced while the server runs."""
        self.assertEqual(self.get(b"/page.txt").status, 404)
        self.write("page.txt", b"first")
        self.assertEqual(self.get(b"/page.txt").body, b"first")
        self.root.rename(self.base / "old")
        self.assertEqual(self.get(b"/page.txt").status, 404)
        self.root.symlink_to("old")
        self.assertEqual(self.get(b"/page.txt").body, b"first")
        self.write("page.txt", b"second")
        self.assertEqual(self.get(b"/page.txt").body, b"second")

    def test_root_below_dotted_directory(self) -> None:
        """Only names below the root count: the root itself may lie in a hidden directory."""
        root = self.base / ".hidden" / "site"
        root.mkdir(parents=True)
        (root / "page.txt").write_bytes(b"page")
        self.assertEqual(
            self.ask(make_site({"localhost": SiteFiles(root, self.stock())}), get(b"/page.txt")).body, b"page"
        )

    def test_headers(self) -> None:
        """A file comes with its type, length, time and tag, and the offer to send parts of it; nothing else."""
        self.write("page.html", b"<p>page")
        self.assertEqual(
            self.get(b"/page.html"),
            Reply(
                200,
                {
                    "accept-ranges": "bytes",
                    "cache-control": "no-cache",
                    "content-length": "7",
                    "content-type": "text/html; charset=utf-8",
                    "etag": f'"{WRITTEN * 1_000_000_000:x}-7"',
                    "last-modified": "Sat, 02 Jan 2021 03:04:05 GMT",
                    "vary": "Accept-Encoding",
                },
                b"<p>page",
            ),
        )

    def test_types(self) -> None:
        """The type follows the file's name; that of a link's target counts."""
        self.write("page.txt", b"page")
        self.write("app.js", b"app")
        self.write("picture.png", b"picture")
        self.write("archive.tar.gz", b"archive")
        self.write("unknown", b"unknown")
        self.link("script", "app.js")
        types = {
            b"/page.txt": "text/plain; charset=utf-8",
            b"/app.js": "text/javascript; charset=utf-8",
            b"/picture.png": "image/png",
            b"/archive.tar.gz": "application/gzip",
            b"/unknown": "application/octet-stream",
            b"/script": "text/javascript; charset=utf-8",
        }
        self.assertEqual({target: self.get(target).headers["content-type"] for target in types}, types)
        self.assertNotIn("content-encoding", self.get(b"/archive.tar.gz").headers)

    def test_large(self) -> None:
        """A file of many pieces arrives as it is."""
        content = random.Random(1).randbytes(1_000_003)
        self.write("large", content)
        before = self.descriptors()
        self.assertTrue(self.get(b"/large").body == content)
        self.assert_nothing_opened(before)

    def test_head(self) -> None:
        """Who asks for the head alone gets the head a whole answer would have, and nothing to log."""
        self.fill()
        before = self.descriptors()
        for target in (b"/", b"/page.txt", b"/empty", b"/sub/", b"/link"):
            self.assertEqual(self.get(target, method=b"HEAD"), Reply(200, self.get(target).headers, b""))
        reply = self.get(b"/sub", method=b"HEAD")
        self.assertEqual((reply.status, reply.headers["location"], reply.body), (301, "/sub/", b""))
        for target in NOT_SERVED:
            reply = self.get(target, method=b"HEAD")
            self.assertEqual((target, reply.status, reply.body), (target, 404, b""))
        self.assert_nothing_opened(before)
        self.assertEqual(self.logged, [])

    def test_unchanged(self) -> None:
        """Who has the file already, and says of when, gets it again only when it has changed since."""
        path = self.write("page.txt", b"page")
        before = self.descriptors()
        for since, status in (
            (b"Sat, 02 Jan 2021 03:04:05 GMT", 304),
            (b"Sat, 02 Jan 2021 03:04:06 GMT", 304),
            (b"Saturday, 02-Jan-21 03:04:05 GMT", 304),
            (b"Sat Jan  2 03:04:05 2021", 304),
            (b"Sat, 02 Jan 2021 03:04:04 GMT", 200),
            (b"Thu, 01 Jan 1970 00:00:00 GMT", 200),
            (b"yesterday", 200),
            (b"Sat, 99 Foo 2021 99:99:99 GMT", 200),
            (b"\xff\xfe", 200),
            (b"0", 200),
        ):
            for method in (b"GET", b"HEAD"):
                reply = self.get(b"/page.txt", b"If-Modified-Since: " + since, method=method)
                content = b"page" if (status, method) == (200, b"GET") else b""
                self.assertEqual((since, reply.status, reply.body), (since, status, content))
        path.write_bytes(b"new page")
        reply = self.get(b"/page.txt", b"If-Modified-Since: Sat, 02 Jan 2021 03:04:05 GMT")
        self.assertEqual((reply.status, reply.body), (200, b"new page"))
        self.assert_nothing_opened(before)

    def test_range(self) -> None:
        """Who asks for a part of a file gets that part, and is told which it is."""
        self.write("digits", b"0123456789")
        before = self.descriptors()
        for asked, shown, content in (
            (b"bytes=0-0", "bytes 0-0/10", b"0"),
            (b"bytes=2-4", "bytes 2-4/10", b"234"),
            (b"bytes=7-", "bytes 7-9/10", b"789"),
            (b"bytes=7-100", "bytes 7-9/10", b"789"),
            (b"bytes=-2", "bytes 8-9/10", b"89"),
            (b"bytes=-100", "bytes 0-9/10", b"0123456789"),
        ):
            reply = self.get(b"/digits", b"Range: " + asked)
            self.assertEqual(
                (asked, reply.status, reply.headers.get("content-range"), reply.headers["content-length"], reply.body),
                (asked, 206, shown, str(len(content)), content),
            )
        for asked in (b"bytes=10-", b"bytes=100-200", b"bytes=-0"):
            reply = self.get(b"/digits", b"Range: " + asked)
            self.assertEqual((reply.status, reply.headers["content-range"], reply.body), (416, "bytes */10", b""))
        self.assert_nothing_opened(before)
        self.assertEqual(self.logged, [])

    def test_range_of_nothing(self) -> None:
        """An empty file has no part."""
        self.write("empty", b"")
        reply = self.get(b"/empty", b"Range: bytes=0-0")
        self.assertEqual((reply.status, reply.headers["content-range"], reply.body), (416, "bytes */0", b""))

    def test_range_that_is_none(self) -> None:
        """A Range header nobody can make sense of is as good as none, and does not get into the log."""
        self.write("digits", b"0123456789")
        before = self.descriptors()
        for asked in (
            b"bytes=4-2",
            b"bytes=a-b",
            b"bytes=",
            b"bytes=-",
            b"bytes",
            b"furlongs=1-2",
            b"bytes=0x1-2",
            b"bytes=\xff",
            b"\xff\xfe",
            b"bytes=\xd9\xa1-",
        ):
            reply = self.get(b"/digits", b"Range: " + asked)
            self.assertEqual((asked, reply.status, reply.body), (asked, 200, b"0123456789"))
        self.assertEqual(self.logged, [])
        self.assert_nothing_opened(before)

    def test_range_many_times(self) -> None:
        """Asking for the whole file again and again in one request does not make the answer many files long."""
        self.write("large", bytes(10_000))
        reply = self.get(b"/large", b"Range: bytes=" + b",".join([b"0-"] * 500))
        self.assertLess(len(reply.body), 30_000)

    def test_browser_goes_away(self) -> None:
        """A file is closed when the browser that was getting it hangs up."""
        self.write("large", bytes(1_000_000))
        before = self.descriptors()
        peer = self.connect(self.site)
        peer.receive(get(b"/large"))
        self.clock.advance(1)
        self.assertEqual(self.descriptors(), before + 1)
        self.assertLess(len(peer.taken()), 1_000_000)
        peer.hang_up()
        self.assert_nothing_opened(before)


class SlotTests(SiteFilesTestCase):
    """So many files may be open at one time."""

    def setUp(self) -> None:
        super().setUp()
        stock = self.stock(slots=1)
        self.slots = stock.slots
        self.site = make_site({name: SiteFiles(self.root, stock) for name in ("localhost", "other.test")})
        self.write("large", bytes(300_000))
        self.write("page.txt", b"page")

    def request(self, *requests: bytes) -> FakeTransport:
        """A connection on which something was asked for."""
        peer = self.connect(self.site)
        peer.receive(b"".join(requests))
        return peer

    def assert_free(self) -> None:
        """The slot was given back, once, and nobody waits."""
        self.assertEqual((self.slots.tokens, self.slots.waiting), (1, []))

    def test_waits(self) -> None:
        """With one slot the second request waits until the first file is sent, also when it is for another site."""
        before = self.descriptors()
        first, second = self.request(get(b"/large")), self.request(get(b"/page.txt", host=b"other.test"))
        self.clock.advance(1)
        self.assertEqual(second.taken(), b"")
        self.assertEqual(self.descriptors(), before + 1)
        self.finish()
        self.assertTrue(first.taken().endswith(bytes(300_000)))
        head, _, body = second.taken().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertEqual(body, b"page")
        self.assert_free()
        self.assert_nothing_opened(before)
        self.assertEqual(self.logged, [])

    def test_in_order(self) -> None:
        """Those who wait get their turn in the order in which they came; who needs no file does not wait."""
        peers = [self.request(get(b"/large"))]
        wanted = (
            (get(b"/page.txt"), b"200"),
            (get(b"/missing"), b"404"),
            (get(b"/page.txt", method=b"HEAD"), b"200"),
            (get(b"/page.txt", b"If-Modified-Since: Sat, 02 Jan 2021 03:04:05 GMT"), b"304"),
            (get(b"/large", b"Range: bytes=5-9"), b"206"),
        )
        peers += [self.request(request) for request, _ in wanted]
        self.assertEqual(len(self.slots.waiting), 2)
        self.assertEqual([peer.taken()[9:12] for peer in peers[2:5]], [b"404", b"200", b"304"])
        self.finish()
        self.assertEqual([peer.taken()[9:12] for peer in (peers[0], peers[1], peers[5])], [b"200", b"200", b"206"])
        self.assert_free()

    def test_late_answers(self) -> None:
        """Who had to wait gets what it would have got at once, and is then answered on the same connection."""
        for method in (b"GET", b"HEAD"):
            for target in (b"/page.txt", b"/missing"):
                at_once = self.request(get(target, method=method))
                self.finish()
                first, late = self.request(get(b"/large")), self.request(get(target, method=method))
                first.hang_up()
                late.receive(get(b"/", method=b"HEAD"))
                self.finish()
                _, answer, behind = late.taken().split(b"HTTP/1.1 ")
                self.assertEqual(self.undated(b"HTTP/1.1 " + answer), self.undated(at_once.taken()))
                self.assertEqual(behind[:3], b"404")
        self.assert_free()

    def undated(self, answer: bytes) -> list[bytes]:
        """The lines of an answer without its date."""
        return [line for line in answer.split(b"\r\n") if not line.startswith(b"Date: ")]

    def test_given_back(self) -> None:
        """Whatever the answer, the slot is free afterwards."""
        self.fill()
        for request in (
            get(b"/page.txt"),
            get(b"/page.txt", method=b"HEAD"),
            get(b"/missing"),
            get(b"/missing", method=b"HEAD"),
            get(b"/sub"),
            get(b"/fifo"),
            get(b"/%ff"),
            get(b"/empty"),
            get(b"/page.txt", b"If-Modified-Since: Sat, 02 Jan 2021 03:04:05 GMT"),
            get(b"/page.txt", b"Range: bytes=100-"),
            get(b"/page.txt", method=b"DELETE"),
        ):
            peer = self.request(request)
            self.finish()
            self.assertTrue(peer.taken().startswith(b"HTTP/1.1 "), request)
            self.assert_free()

    def test_browser_goes_away(self) -> None:
        """Who hangs up in the middle of a file gives its slot to the next."""
        first, second = self.request(get(b"/large")), self.request(get(b"/page.txt"))
        self.clock.advance(1)
        first.hang_up()
        self.finish()
        self.assertTrue(second.taken().endswith(b"\r\n\r\npage"))
        self.assert_free()

    def test_waiting_browser_goes_away(self) -> None:
        """Who hangs up while it waits gives nothing back that it never had, and its turn passes to the next."""
        before = self.descriptors()
        first, second, third = (self.request(get(target)) for target in (b"/large", b"/large", b"/page.txt"))
        second.hang_up()
        self.assertEqual((self.slots.tokens, len(self.slots.waiting)), (0, 1))
        self.finish()
        self.assertEqual([peer.taken()[9:12] for peer in (first, second, third)], [b"200", b"", b"200"])
        self.assert_free()
        self.assert_nothing_opened(before)
        self.assertEqual(self.logged, [])

    def test_goes_away_after_waiting(self) -> None:
        """Who has waited and hangs up in the middle of its file gives its slot back once."""
        first, second = self.request(get(b"/large")), self.request(get(b"/large"))
        first.hang_up()
        self.clock.advance(1)
        self.assertEqual(self.slots.tokens, 0)
        second.hang_up()
        self.finish()
        self.assert_free()


class CachedSiteFilesTests(SiteFilesTests):
    """The same with a cache: whatever is asked for a second time is answered in the same way."""

    def stock(self, slots: int = 256, room: int = 10_000_000, pieces: int = 1) -> FileStock:
        return super().stock(slots, room, pieces)

    def get(self, target: bytes, *headers: bytes, method: bytes = b"GET") -> Reply:
        first = super().get(target, *headers, method=method)
        second = super().get(target, *headers, method=method)
        self.assertEqual(first, second)
        return second


class CacheTests(SiteFilesTestCase):
    """What is kept in memory."""

    def setUp(self) -> None:
        super().setUp()
        stock = self.stock(slots=1, room=1_000_000)
        self.bodies, self.slots = stock.bodies, stock.slots
        self.site = make_site({"localhost": SiteFiles(self.root, stock)})

    def test_not_read_again(self) -> None:
        """A small file is read once, and then needs neither a descriptor nor a slot; a range of it neither."""
        self.write("page.txt", b"0123456789")
        self.assertEqual(self.get(b"/page.txt").body, b"0123456789")
        self.slots.acquire()
        self.patch(files, "open_regular", None)
        self.assertEqual(self.get(b"/page.txt").body, b"0123456789")
        self.assertEqual(self.get(b"/page.txt", b"Range: bytes=2-4").body, b"234")
        self.assertEqual(self.get(b"/page.txt", method=b"HEAD").headers["content-length"], "10")
        self.assertEqual(self.bodies.counts().entries, 1)

    def test_sizes(self) -> None:
        """Files are kept up to 128 KiB; longer ones are read whenever they are sent."""
        for size, kept in ((0, 1), (1, 1), (MAX_QUICK_BYTES, 1), (MAX_QUICK_BYTES + 1, 0)):
            before = self.bodies.counts().entries
            self.write(f"{size}.png", bytes(size))
            self.assertEqual(self.get(b"/%d.png" % size).body, bytes(size))
            self.assertEqual((size, self.bodies.counts().entries - before), (size, kept))

    def test_changed(self) -> None:
        """A file that has changed is read again at once."""
        self.write("page.txt", b"one")
        self.assertEqual(self.get(b"/page.txt").body, b"one")
        for content in (b"two", b"another"):
            self.write("page.txt", content)
            self.assertEqual(self.get(b"/page.txt").body, content)

    def test_written_just_now(self) -> None:
        """A file that was written a moment ago is not kept: what is written next may leave the same time."""
        path = self.write("page.txt", b"text " * 500)
        os.utime(path)
        for headers in ((), (b"Accept-Encoding: br",)):
            self.assertEqual(self.get(b"/page.txt", *headers).status, 200)
        self.assertEqual(self.bodies.counts().entries, 0)

    def test_shrinks_before_it_is_kept(self) -> None:
        """A small file that is cut while it is read is read anew."""
        path = self.write("page.txt", b"a longer text")

        def cut(found: Found) -> int:
            descriptor = open_regular(found)
            if found.stamp.size > 5:
                path.write_bytes(b"short")
            return descriptor

        self.patch(files, "open_regular", cut)
        reply = self.get(b"/page.txt")
        self.assertEqual((reply.status, reply.body, reply.headers["content-length"]), (200, b"short", "5"))


class CodingTestCase(SiteFilesTestCase):
    """A site with compressible files, and threads that work when they are told to."""

    def setUp(self) -> None:
        super().setUp()
        self.work: list[tuple[Callable[[], bytes], Deferred[bytes]]] = []
        self.bodies = BodyCache(1_000_000, self.in_thread)
        self.slots = DeferredSemaphore(1)
        share: Any = TurnShare(self.clock, 1000)
        self.site = make_site({"localhost": SiteFiles(self.root, FileStock(self.slots, self.bodies, share))})
        self.text = b"A line that is different: %d\n"
        self.content = b"".join(self.text % number for number in range(1000))
        self.write("page.txt", self.content)

    def in_thread(self, make: Callable[[], bytes]) -> "Deferred[bytes]":
        """A thread that begins later."""
        made: Deferred[bytes] = Deferred()
        self.work.append((make, made))
        return made

    def do(self) -> None:
        """Let the threads do all their work."""
        while self.work:
            make, made = self.work.pop(0)
            try:
                body = make()
            except BaseException:
                made.errback(Failure())
            else:
                made.callback(body)

    def finish(self) -> None:
        self.do()
        super().finish()
        self.do()

    def request(self, *headers: bytes, method: bytes = b"GET") -> FakeTransport:
        """A connection on which the page was asked for."""
        peer = self.connect(self.site)
        peer.receive(get(b"/page.txt", *headers, method=method))
        return peer


class CodingTests(CodingTestCase):
    """Compressed answers."""

    def test_codings(self) -> None:
        """The body is in the coding that the header names, and as long as is said; HEAD says the same."""
        backwards: dict[str, Callable[[bytes], bytes]] = {"br": brotli.decompress, "gzip": gzip.decompress}
        for coding, read in backwards.items():
            for _ in range(2):  # made, and kept
                reply = self.get(b"/page.txt", b"Accept-Encoding: " + coding.encode())
                self.assertEqual((reply.status, reply.headers["content-encoding"]), (200, coding))
                self.assertEqual(reply.headers["content-length"], str(len(reply.body)))
                self.assertEqual(reply.headers["vary"], "Accept-Encoding")
                self.assertEqual(read(reply.body), self.content)
                head = self.get(b"/page.txt", b"Accept-Encoding: " + coding.encode(), method=b"HEAD")
                self.assertEqual((head.headers, head.body), (reply.headers, b""))

    def test_head_first(self) -> None:
        """Who asks for the head alone is told the length that the body will have."""
        head = self.get(b"/page.txt", b"Accept-Encoding: zstd", method=b"HEAD")
        self.assertEqual(head.headers, self.get(b"/page.txt", b"Accept-Encoding: zstd").headers)

    def test_header_in_parts(self) -> None:
        """Accept-Encoding may be cut in several headers."""
        reply = self.get(b"/page.txt", b"Accept-Encoding: deflate", b"Accept-Encoding: br")
        self.assertEqual(reply.headers["content-encoding"], "br")

    def test_ready_made(self) -> None:
        """A ready-made file is sent as it is, from the disk and from the cache; HEAD and 304 know it too."""
        self.write("page.txt.br", brotli.compress(self.content))
        for _ in range(2):
            reply = self.get(b"/page.txt", b"Accept-Encoding: gzip, br")
            self.assertEqual(reply.headers["content-encoding"], "br")
            self.assertEqual(reply.headers["content-type"], "text/plain; charset=utf-8")
            self.assertEqual(brotli.decompress(reply.body), self.content)
            head = self.get(b"/page.txt", b"Accept-Encoding: gzip, br", method=b"HEAD")
            self.assertEqual((head.headers, head.body), (reply.headers, b""))
            tag = reply.headers["etag"].encode()
            known = self.get(b"/page.txt", b"Accept-Encoding: gzip, br", b"If-None-Match: " + tag)
            self.assertEqual((known.status, known.headers["etag"], known.body), (304, tag.decode(), b""))
            self.assertNotIn("content-encoding", known.headers)
        self.assertEqual(self.bodies.counts().entries, 1)

    def test_tags(self) -> None:
        """The tag of one coding does not stand for another."""
        tags = {
            coding: self.get(b"/page.txt", b"Accept-Encoding: " + coding).headers["etag"].encode()
            for coding in (b"identity", b"gzip", b"br")
        }
        for known, tag in tags.items():
            for coding in tags:
                reply = self.get(b"/page.txt", b"Accept-Encoding: " + coding, b"If-None-Match: " + tag)
                self.assertEqual((known, coding, reply.status), (known, coding, 304 if known == coding else 200))

    def test_conditions_make_nothing(self) -> None:
        """For 304, 412 and 416 nothing is compressed, and no header tells of a body."""
        tag = self.get(b"/page.txt", b"Accept-Encoding: br").headers["etag"].encode()
        for status, headers in (
            (304, (b"If-None-Match: " + tag,)),
            (304, (b"If-Modified-Since: Sat, 02 Jan 2021 03:04:05 GMT",)),
            (412, (b'If-Match: "x"',)),
            (412, (b"If-Unmodified-Since: Sat, 02 Jan 2021 03:04:04 GMT",)),
            (416, (b"Range: bytes=999999-",)),
        ):
            peer = self.request(b"Accept-Encoding: br", *headers)
            self.assertEqual(self.work, [])
            head, _, body = peer.taken().lower().partition(b"\r\n\r\n")
            self.assertEqual((head[9:12], body), (b"%d" % status, b""))
            self.assertNotIn(b"content-encoding", head)
            self.assertEqual(b"content-length: 0" in head, status != 304)

    def test_part(self) -> None:
        """A part is one of the file as it is on the disk, whatever codings are taken; HEAD asks for no part."""
        self.write("page.txt.br", brotli.compress(self.content))
        reply = self.get(b"/page.txt", b"Accept-Encoding: br", b"Range: bytes=2-10")
        self.assertEqual((reply.status, reply.body), (206, self.content[2:11]))
        self.assertEqual(reply.headers["content-range"], f"bytes 2-10/{len(self.content)}")
        self.assertNotIn("content-encoding", reply.headers)
        again = self.get(
            b"/page.txt",
            b"Accept-Encoding: br",
            b"Range: bytes=11-",
            b"If-Range: " + reply.headers["etag"].encode(),
        )
        self.assertEqual((again.status, again.body), (206, self.content[11:]))
        coded = self.get(b"/page.txt", b"Accept-Encoding: br").headers["etag"].encode()
        whole = self.get(b"/page.txt", b"Accept-Encoding: br", b"Range: bytes=11-", b"If-Range: " + coded)
        self.assertEqual((whole.status, whole.body), (200, self.content))
        head = self.get(b"/page.txt", b"Accept-Encoding: br", b"Range: bytes=2-10", method=b"HEAD")
        self.assertEqual((head.status, head.headers["content-encoding"]), (200, "br"))

    def test_many_at_once(self) -> None:
        """Many who ask for a page at the same time get one compression, and nobody keeps a slot meanwhile."""
        peers = [self.request(b"Accept-Encoding: br") for _ in range(50)]
        self.assertEqual(len(self.work), 1)
        self.assertEqual(self.slots.tokens, 1)
        self.finish()
        answers = {peer.taken().partition(b"\r\n\r\n")[2] for peer in peers}
        self.assertEqual([brotli.decompress(answer) for answer in answers], [self.content])
        self.assertEqual(self.bodies.counts().misses, 1)

    def test_others_need_not_wait(self) -> None:
        """While a page is compressed those who take it as it is have it."""
        waits, other = self.request(b"Accept-Encoding: br"), self.request()
        self.clock.advance(0)
        self.assertTrue(other.taken().endswith(self.content))
        self.assertEqual(waits.taken(), b"")
        waits.hang_up()
        self.do()

    def test_who_goes(self) -> None:
        """Who hangs up while its page is compressed is forgotten; the page is kept for the next one."""
        self.request(b"Accept-Encoding: br").hang_up()
        self.do()
        self.assertEqual(self.bodies.counts().entries, 1)
        peer = self.request(b"Accept-Encoding: br")
        self.assertEqual(self.work, [])
        self.assertIn(b"200 OK", peer.taken())
        self.assertEqual(self.logged, [])

    def test_changed_meanwhile(self) -> None:
        """A file that is changed before it is compressed is sent as it is now, with the tag it has now."""
        peer = self.request(b"Accept-Encoding: br", method=b"GET")
        new = self.content.replace(b"line", b"verse")
        self.write("page.txt", new)
        self.finish()
        self.clock.advance(0)
        head, _, body = peer.taken().partition(b"\r\n\r\n")
        self.assertIn(b"%x-%x" % (WRITTEN * 10**9, len(new)), head)
        self.assertEqual(brotli.decompress(body) if b"content-encoding: br" in head.lower() else body, new)
        self.assertEqual(self.logged, [])

    def test_gone_meanwhile(self) -> None:
        """A file that goes before it is compressed is not found, and nothing of it is said."""
        peer = self.request(b"Accept-Encoding: br")
        (self.root / "page.txt").unlink()
        self.do()
        head, _, body = peer.taken().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 404 "))
        self.assertEqual(body, b"There is nothing at this address.\n")
        for field in (b"etag", b"content-encoding", b"last-modified", b"accept-ranges"):
            self.assertNotIn(field, head.lower())
        self.assertEqual(self.logged, [])

    def test_ready_made_that_cannot_be_read(self) -> None:
        """Where the ready-made file may not be read the other one is sent."""
        self.write("page.txt.br", b"br")

        def refuse(found: Found) -> int:
            if found.path.suffix == ".br":
                raise PermissionError
            return open_regular(found)

        self.patch(files, "open_regular", refuse)
        reply = self.get(b"/page.txt", b"Accept-Encoding: br")
        self.assertEqual((reply.status, reply.body), (200, self.content))
        self.assertNotIn("content-encoding", reply.headers)
        self.assertEqual((self.slots.tokens, self.logged), (1, []))

    def test_failure(self) -> None:
        """When compressing fails for a reason of ours the client gets 500, and the log the reason."""

        def fail(coding: str, body: bytes) -> bytes:
            raise MemoryError("no room")

        self.patch(files, "compress", fail)
        peer = self.request(b"Accept-Encoding: br")
        self.finish()
        head, _, body = peer.taken().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 500 "))
        self.assertEqual(body, b"The server could not answer. Its log says why.\n")
        for field in (b"etag", b"content-encoding", b"cache-control", b"last-modified"):
            self.assertNotIn(field, head.lower())
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
        self.assertEqual(self.logged, ["a request could not be answered"])

    def test_large(self) -> None:
        """A body in memory that is more than a turn's worth is sent in pieces, and comes whole."""
        noise = random.Random(1).randbytes(400_000)
        self.write("large.txt", noise)
        reply = self.get(b"/large.txt", b"Accept-Encoding: gzip")
        self.assertGreater(len(reply.body), MAX_QUICK_BYTES)
        self.assertTrue(gzip.decompress(reply.body) == noise)

    def test_without_a_cache(self) -> None:
        """With the cache switched off answers are compressed all the same."""
        share: Any = TurnShare(self.clock, 1000)
        stock = FileStock(self.slots, BodyCache(0, self.in_thread), share)
        self.site = make_site({"localhost": SiteFiles(self.root, stock)})
        for _ in range(2):
            reply = self.get(b"/page.txt", b"Accept-Encoding: br")
            self.assertEqual(brotli.decompress(reply.body), self.content)
            self.assertEqual(self.get(b"/page.txt").body, self.content)
        self.assertEqual(stock.bodies.counts().bytes, 0)


class NotFoundPageTests(CodingTestCase):
    """A page of the site's own for what is not there."""

    def setUp(self) -> None:
        super().setUp()
        self.page = b"<p>Nothing here.\n" * 100
        self.write("404.html", self.page)

    def test_shown(self) -> None:
        """It is shown wherever nothing is, with 404, in the coding the client likes, and without tag and time."""
        for target in (b"/missing", b"/sub/missing", b"/.git/config", b"/..%2f", b"/page.txt/"):
            reply = self.get(target)
            self.assertEqual((target, reply.status, reply.body), (target, 404, self.page))
            self.assertEqual(
                reply.headers,
                {
                    "cache-control": "no-cache",
                    "content-length": str(len(self.page)),
                    "content-type": "text/html; charset=utf-8",
                    "vary": "Accept-Encoding",
                },
            )
        coded = self.get(b"/missing", b"Accept-Encoding: br")
        self.assertEqual((coded.status, brotli.decompress(coded.body)), (404, self.page))

    def test_head(self) -> None:
        """HEAD says what GET would."""
        reply = self.get(b"/missing", method=b"HEAD")
        self.assertEqual((reply.status, reply.headers, reply.body), (404, self.get(b"/missing").headers, b""))

    def test_no_conditions(self) -> None:
        """Conditions and ranges are about what was asked for: they change nothing here."""
        tag = self.get(b"/404.html").headers["etag"].encode()
        for header in (b"If-None-Match: " + tag, b"If-Match: *", b"Range: bytes=0-1"):
            reply = self.get(b"/missing", header)
            self.assertEqual((header, reply.status, reply.body), (header, 404, self.page))

    def test_asked_for(self) -> None:
        """Asked for by its name it is a page like any other."""
        reply = self.get(b"/404.html")
        self.assertEqual((reply.status, reply.body), (200, self.page))
        self.assertIn("etag", reply.headers)

    def test_goes_meanwhile(self) -> None:
        """When it goes at this very moment the plain line is shown, and no fault is logged."""
        peer = self.connect(self.site)
        peer.receive(get(b"/missing", b"Accept-Encoding: br"))
        (self.root / "404.html").unlink()
        self.do()
        self.assertTrue(peer.taken().endswith(b"\r\n\r\nThere is nothing at this address.\n"))
        self.assertEqual(self.logged, [])


class ChangingFileTests(SiteFilesTestCase):
    """Files that change while they are sent."""

    def setUp(self) -> None:
        super().setUp()
        stock = self.stock(slots=1)
        self.slots = stock.slots
        self.site = make_site({"localhost": SiteFiles(self.root, stock)})
        self.path = self.write("large", bytes(300_000))
        self.before = self.descriptors()

    def begin(self) -> FakeTransport:
        """A client that has got the beginning."""
        peer = self.connect(self.site)
        peer.receive(get(b"/large"))
        self.clock.advance(1)
        self.assertEqual(self.descriptors(), self.before + 1)
        return peer

    def assert_over(self) -> None:
        """The file is closed, the slot was given back, and no failure was logged."""
        self.finish()
        self.assertEqual((self.descriptors(), self.slots.tokens), (self.before, 1))
        self.assertEqual([line for line in self.logged if "Traceback" in line], [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_shrinks(self) -> None:
        """When a file gets shorter the connection ends: nothing else tells that something is missing."""
        for length in (0, 100_000):
            self.write("large", bytes(300_000))
            peer = self.begin()
            os.truncate(self.path, length)
            self.assert_over()
            self.assertTrue(peer.aborted)
            self.assertLess(len(peer.taken()), 300_000)

    def test_is_removed(self) -> None:
        """A file that is removed or replaced meanwhile is sent to its end as it was."""
        for replace in (self.path.unlink, lambda: self.write("other", b"new").replace(self.path)):
            self.write("large", bytes(300_000))
            peer = self.begin()
            replace()
            self.assert_over()
            self.assertFalse(peer.aborted)
            self.assertEqual(len(peer.taken().partition(b"\r\n\r\n")[2]), 300_000)

    def test_grows(self) -> None:
        """Of a file that grows so much is sent as was announced."""
        peer = self.begin()
        with self.path.open("ab") as appended:
            appended.write(b"more")
        self.assert_over()
        head, _, body = peer.taken().partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 300000\r\n", head + b"\r\n")
        self.assertEqual(body, bytes(300_000))

    def test_cannot_be_read(self) -> None:
        """A disk that fails ends the connection, with one line in the log that does not name the request."""

        def fail(descriptor: int, length: int, place: int) -> bytes:
            raise OSError(5, "Input/output error")

        peer = self.begin()
        self.patch(os, "pread", fail)
        self.assert_over()
        self.assertTrue(peer.aborted)
        self.assertEqual(self.logged, ["a file could not be read to its end: Input/output error"])

    def test_replaced_before_it_is_opened(self) -> None:
        """A file that is replaced between finding and opening it is found anew; one that goes is not found."""

        def replace(found: Found) -> int:
            self.patch(files, "open_regular", open_regular)
            self.write("other", b"new").replace(self.path)
            return open_regular(found)

        self.patch(files, "open_regular", replace)
        reply = self.get(b"/large")
        self.assertEqual((reply.status, reply.body, reply.headers["content-length"]), (200, b"new", "3"))

        def remove(found: Found) -> int:
            found.path.unlink()
            return open_regular(found)

        self.patch(files, "open_regular", remove)
        self.assertEqual(self.get(b"/large").status, 404)
        self.assert_over()

    def test_replaced_by_a_pipe(self) -> None:
        """A file that becomes a FIFO before it is opened is not found, and nobody waits for its writer."""

        def replace(found: Found) -> int:
            self.path.unlink(missing_ok=True)
            os.mkfifo(self.path)
            return open_regular(found)

        self.patch(files, "open_regular", replace)
        self.assertEqual(self.get(b"/large").status, 404)
        self.assert_over()

    def test_replaced_all_the_time(self) -> None:
        """A file that is replaced whenever it is looked at is given up after a few tries."""
        tries = []

        def replace(found: Found) -> int:
            tries.append(found)
            self.write("other", b"n" * len(tries)).replace(self.path)
            return open_regular(found)

        self.patch(files, "open_regular", replace)
        reply = self.get(b"/large")
        self.assertEqual((reply.status, len(tries)), (404, 3))
        self.assertNotIn("etag", reply.headers)
        self.assert_over()
