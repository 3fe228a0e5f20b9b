"""The files of one site: what is kept, codings, and the page for what is not there."""

import gzip
import os
import random
from collections.abc import Callable
from typing import Any

import brotli
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.failure import Failure

from mles_tx.transport.share import TurnShare
from mles_tx.web import files
from mles_tx.web.bodies import BodyCache
from mles_tx.web.files import MAX_QUICK_BYTES, FileStock, SiteFiles
from mles_tx.web.hosts import make_site
from mles_tx.web.lookup import Found, open_regular
from tests.transport.fakes import FakeTransport

from .asking import get
from .sitefiles import WRITTEN, SiteFilesTestCase


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
