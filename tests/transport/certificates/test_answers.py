"""Answers to challenges, in a directory that several processes share."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates import answers
from mles_tx.transport.certificates.answers import ANSWER_SECONDS, LOOK_SECONDS, ChallengeAnswers

from .making import listen

_TOKEN = "DGyRejmCefe7v4NfDGDKfA-_x"


def _too_long(path: Path, limit: int) -> bytes:
    raise OSError(errno.ENAMETOOLONG, "File name too long", str(path))


class AnswersTests(SynchronousTestCase):
    """What is outstanding, for this process and for another."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "challenges"
        self.clock = Clock()
        self.now = datetime.now(UTC)
        self.mine, self.other = (ChallengeAnswers(self.path, self.clock, lambda: self.now) for _ in range(2))

    def test_http(self) -> None:
        """Any process answers HTTP-01 from the moment on it was put there until it is over."""
        self.assertIsNone(self.other.http(_TOKEN))
        self.mine.put_http(_TOKEN, f"{_TOKEN}.thumbprint")
        self.assertEqual(self.other.http(_TOKEN), f"{_TOKEN}.thumbprint".encode())
        self.assertIsNone(self.other.http(_TOKEN[:-1]))
        self.mine.remove_http(_TOKEN)
        self.mine.remove_http(_TOKEN)
        self.assertIsNone(self.other.http(_TOKEN))

    def test_strange_tokens(self) -> None:
        """Whatever is asked for, nothing but answers can be had."""
        self.mine.put_http(_TOKEN, "answer")
        self.mine.put_tls("a.test", "answer")
        for token in (
            "",
            ".",
            "..",
            "../tls-alpn-01/a.test",
            f"./{_TOKEN}",
            f"{_TOKEN}\n",
            f"{_TOKEN}\0",
            "%2e",
            "ä" * 22,
            "a" * 256,
            "a" * 999,
        ):
            self.assertIsNone(self.mine.http(token), token)
            self.assertRaises(ValueError, self.mine.put_http, token, "answer")

    def test_long_tokens(self) -> None:
        """A token as long as a file's name can be works; nobody who asks for longer ones fills the log."""
        told = listen(self)
        self.mine.put_http("a" * 255, "answer")
        self.assertEqual(
            [self.other.http("a" * length) for length in (254, 255, 256, 257)], [None, b"answer", None, None]
        )
        self.patch(answers, "read_small", _too_long)  # a file system with shorter names
        self.assertIsNone(self.other.http("a" * 255))
        self.assertEqual(told, [])

    def test_strange_names(self) -> None:
        """What is no host name never becomes part of a path."""
        for name in ("", ".", "..", "../x", "a/b", "a.test\n", ".a", "A.test", "a" * 254):
            self.assertRaises(ValueError, self.mine.put_tls, name, "answer")
            self.assertIsNone(self.mine.tls(name))

    def test_tls(self) -> None:
        """This process knows of a challenge at once, others a little later, and so with its end."""
        self.assertEqual((self.mine.tls_names(), self.other.tls_names()), (frozenset(), frozenset()))
        self.mine.put_tls("a.test", "answer")
        self.assertEqual((self.mine.tls("a.test"), self.other.tls("a.test")), (b"answer", None))
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual((self.other.tls("a.test"), self.other.tls_names()), (b"answer", frozenset(["a.test"])))
        self.mine.remove_tls("a.test")
        self.mine.remove_tls("a.test")
        self.assertEqual((self.mine.tls("a.test"), self.other.tls("a.test")), (None, None))
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual((self.mine.tls_names(), self.other.tls_names()), (frozenset(), frozenset()))

    def test_left_behind(self) -> None:
        """What a crash has left behind is no answer after a while, and goes away at the next start."""
        self.mine.put_http(_TOKEN, "answer")
        self.mine.put_tls("a.test", "answer")
        self.now += timedelta(seconds=ANSWER_SECONDS + 60)
        self.mine.put_tls("b.test", "new")
        after = self.now.timestamp()
        os.utime(self.path / "tls-alpn-01" / "b.test", (after, after))
        self.assertEqual(
            (self.mine.http(_TOKEN), self.mine.tls("a.test"), self.mine.tls("b.test")), (None, None, b"new")
        )
        self.mine.sweep()
        self.assertEqual([path.name for path in self.path.rglob("*") if path.is_file()], ["b.test"])
        self.assertEqual(self.mine.tls_names(), frozenset(["b.test"]))

    def test_left_behind_while_running(self) -> None:
        """What another process has left behind concerns no connection after a while, and goes away within the hour."""
        self.other.put_tls("a.test", "answer")
        self.other.put_http(_TOKEN, "answer")
        self.assertEqual(self.mine.tls_names(), frozenset(["a.test"]))
        self.now += timedelta(seconds=ANSWER_SECONDS + 60)
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.mine.tls_names(), frozenset())
        self.assertEqual(len([path for path in self.path.rglob("*") if path.is_file()]), 2)
        self.clock.advance(3600)
        self.assertEqual(self.mine.tls_names(), frozenset())
        self.assertEqual([path for path in self.path.rglob("*") if path.is_file()], [])

    def test_broken(self) -> None:
        """Foreign things in the directory are no answers, and hurt nobody."""
        (self.path / "http-01" / _TOKEN).mkdir(parents=True)
        (self.path / "tls-alpn-01").mkdir()
        (self.path / "tls-alpn-01" / "a.test").symlink_to("/etc/passwd")
        (self.path / "tls-alpn-01" / "b.test").write_bytes(bytes(2000))
        (self.path / "tls-alpn-01" / ".c.test.new").write_bytes(b"")
        now = self.now.timestamp()
        os.utime(self.path / "tls-alpn-01" / "a.test", (now, now), follow_symlinks=False)
        self.assertEqual((self.mine.http(_TOKEN), self.mine.tls("a.test"), self.mine.tls("b.test")), (None, None, None))
        self.assertEqual(self.mine.tls_names(), frozenset(["a.test", "b.test"]))
        self.mine.sweep()
