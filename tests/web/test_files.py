"""The files of one site."""

import os
import random
import stat
from pathlib import Path

from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

from mles_tx.web.files import FileStock, SiteFiles
from mles_tx.web.hosts import make_site

from .asking import Reply, get
from .sitefiles import SECRET, WRITTEN, SiteFilesTestCase

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


class CachedSiteFilesTests(SiteFilesTests):
    """The same with a cache: whatever is asked for a second time is answered in the same way."""

    def stock(self, slots: int = 256, room: int = 10_000_000, pieces: int = 1) -> FileStock:
        return super().stock(slots, room, pieces)

    def get(self, target: bytes, *headers: bytes, method: bytes = b"GET") -> Reply:
        first = super().get(target, *headers, method=method)
        second = super().get(target, *headers, method=method)
        self.assertEqual(first, second)
        return second
