"""Bodies in the codings of HTTP, and what is kept of them."""

import gzip
import sys
from collections.abc import Callable

import brotli
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.bodies import BodyCache, BodyKey, CacheCounts, compress
from mles_tx.web.lookup import Stamp
from mles_tx.web.negotiation import CODINGS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KIB = 1024


def key(name: str = "page.html", coding: str = "br", mtime: int = 0) -> BodyKey:
    """The key of a body."""
    return name, coding, Stamp(1, 2, 3, mtime, mtime)


class CompressTests(SynchronousTestCase):
    """Making a body smaller."""

    def test_back_and_forth(self) -> None:
        """What every coding makes is smaller, and can be read by others."""
        body = b"A line of text that stands there often.\n" * 1000
        backwards: dict[str, Callable[[bytes], bytes]] = {
            "zstd": zstd.decompress,
            "br": brotli.decompress,
            "gzip": gzip.decompress,
        }
        self.assertEqual(set(backwards), set(CODINGS))
        for coding, read in backwards.items():
            made = compress(coding, body)
            self.assertLess(len(made), len(body) / 10)
            self.assertEqual(read(made), body)
            self.assertEqual(read(compress(coding, b"")), b"")

    def test_the_same_each_time(self) -> None:
        """The same body is the same bytes whenever it is made: tags depend on it."""
        for coding in CODINGS:
            self.assertEqual(compress(coding, b"text" * 1000), compress(coding, b"text" * 1000))

    def test_unknown(self) -> None:
        """There are no other codings."""
        self.assertRaises(KeyError, compress, "deflate", b"")


class BodyCacheTests(SynchronousTestCase):
    """What is kept, with threads that work when they are told to."""

    def setUp(self) -> None:
        self.work: list[tuple[Callable[[], bytes], Deferred[bytes]]] = []
        self.cache = self.make_cache(64 * KIB)

    def make_cache(self, room: int) -> BodyCache:
        """A cache that keeps so many bytes."""
        return BodyCache(room, self.in_thread)

    def in_thread(self, make: Callable[[], bytes]) -> "Deferred[bytes]":
        """A thread that begins later."""
        made: Deferred[bytes] = Deferred()
        self.work.append((make, made))
        return made

    def do(self) -> None:
        """Let the thread do its work."""
        make, made = self.work.pop(0)
        try:
            body = make()
        except OSError:
            made.errback()
        else:
            made.callback(body)

    def test_kept(self) -> None:
        """What was kept is there, under its own key alone."""
        self.cache.keep(key(), b"body")
        self.assertEqual(self.cache.get(key()), b"body")
        for other in (key("other.html"), key(coding="gzip"), key(mtime=1)):
            self.assertIsNone(self.cache.get(other))
        self.assertEqual(self.cache.counts(), CacheCounts(hits=1, misses=1, bytes=516, entries=1))

    def test_made_once(self) -> None:
        """However many ask at the same time, a body is made once, and each gets it."""
        answers = [self.cache.make(key(), lambda: b"made") for _ in range(100)]
        self.assertEqual(len(self.work), 1)
        self.assertNoResult(answers[0])
        self.do()
        self.assertEqual([self.successResultOf(answer) for answer in answers], [b"made"] * 100)
        self.assertEqual(self.cache.get(key()), b"made")
        self.assertEqual(self.cache.counts(), CacheCounts(hits=100, misses=1, bytes=516, entries=1))

    def test_one_at_a_time(self) -> None:
        """Different bodies are made one after the other, in order; one core stays for everybody else."""
        answers = [self.cache.make(key(coding=coding), coding.encode) for coding in CODINGS]
        for answer, coding in zip(answers, CODINGS, strict=True):
            self.assertEqual(len(self.work), 1)
            self.assertNoResult(answer)
            self.do()
            self.assertEqual(self.successResultOf(answer), coding.encode())
        self.assertEqual(self.work, [])

    def test_failure(self) -> None:
        """When a body cannot be made, all who asked are told, nothing is kept, and the next one tries again."""

        def fail() -> bytes:
            raise OSError

        answers = [self.cache.make(key(), fail) for _ in range(3)]
        self.do()
        for answer in answers:
            self.failureResultOf(answer, OSError)
        again = self.cache.make(key(), lambda: b"made")
        self.do()
        self.assertEqual(self.successResultOf(again), b"made")

    def test_who_goes(self) -> None:
        """Who goes away while a body is made takes nothing from the others."""
        first, second = (self.cache.make(key(), lambda: b"made") for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.do()
        self.assertEqual(self.successResultOf(second), b"made")
        alone = self.cache.make(key("other.html"), lambda: b"made")
        alone.cancel()
        self.failureResultOf(alone, CancelledError)
        self.do()
        self.assertEqual(self.cache.get(key("other.html")), b"made")

    def test_not_to_be_kept(self) -> None:
        """A body of a file that may be written to at this very moment is handed out, and not kept."""
        answer = self.cache.make(key(), lambda: b"made", keeps=False)
        self.do()
        self.assertEqual(self.successResultOf(answer), b"made")
        self.assertIsNone(self.cache.get(key()))

    def test_room(self) -> None:
        """What is kept never takes more than there is room for; the least recently used goes first."""
        for number in range(200):
            self.cache.keep(key(str(number)), bytes(KIB))
            self.cache.get(key("0"))
            self.assertLessEqual(self.cache.counts().bytes, 64 * KIB)
        kept = [number for number in range(200) if self.cache.get(key(str(number))) is not None]
        self.assertEqual(kept, [0, *range(200 - len(kept) + 1, 200)])
        self.assertEqual(len(kept), 64 * KIB // (KIB + 512))

    def test_small_bodies(self) -> None:
        """Bodies of nothing take room, too."""
        for number in range(1000):
            self.cache.keep(key(str(number)), b"")
        self.assertEqual(self.cache.counts().entries, 128)

    def test_too_large(self) -> None:
        """A body for which there is no room at all is not kept, and throws nothing away."""
        self.cache.keep(key(), b"body")
        self.cache.keep(key("large"), bytes(64 * KIB))
        self.assertIsNone(self.cache.get(key("large")))
        self.assertEqual(self.cache.get(key()), b"body")
        answer = self.cache.make(key("larger"), lambda: bytes(100 * KIB))
        self.do()
        self.assertEqual(len(self.successResultOf(answer)), 100 * KIB)
        self.assertEqual(self.cache.counts().entries, 1)

    def test_switched_off(self) -> None:
        """Without room nothing is kept, but what is asked for at the same time is still made once."""
        cache = self.make_cache(0)
        self.assertEqual((cache.keeps, self.cache.keeps), (False, True))
        cache.keep(key(), b"")
        answers = [cache.make(key(), lambda: b"made") for _ in range(2)]
        self.do()
        self.assertEqual([self.successResultOf(answer) for answer in answers], [b"made"] * 2)
        self.assertIsNone(cache.get(key()))
        self.assertEqual((cache.counts().bytes, cache.counts().entries), (0, 0))
        cache.make(key(), lambda: b"made")
        self.assertEqual(len(self.work), 1)
