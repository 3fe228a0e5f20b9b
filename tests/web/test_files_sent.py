"""The files of one site: how many are sent at one time, and files that change meanwhile."""

import os

from mles_tx.web import files
from mles_tx.web.files import SiteFiles
from mles_tx.web.hosts import make_site
from mles_tx.web.lookup import Found, open_regular
from tests.transport.fakes import FakeTransport

from .asking import get
from .sitefiles import SiteFilesTestCase


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
