"""Requests to a certificate authority."""

import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from mles_tx.transport.certificates.fetch import (
    BURST,
    DEADLINE_SECONDS,
    MAX_BODY_BYTES,
    MAX_JSON_BYTES,
    Answer,
    Fetcher,
    verifying_agent,
)
from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.certificates.problems import Unavailable

from .making import make

_T = TypeVar("_T")

_URL = "https://ca.example/x"


class _Scripted(Resource):
    """Answers as a function says."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answer: Callable[[Request], Any] = lambda request: b""
        self.asked: list[Request] = []

    def render(self, request: Request) -> Any:
        self.asked.append(request)
        return self.answer(request)


class FetcherTests(SynchronousTestCase):
    """Whatever the other side does, there is an answer or none."""

    def setUp(self) -> None:
        self.site = _Scripted()
        self.clock = Clock()
        self.agent = RequestTraversalAgent(self.site)
        self.fetcher = Fetcher(self.agent, self.clock)

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> "Deferred[_T]":
        """A request that is under way."""
        return Deferred.fromCoroutine(coroutine)

    def fails(self, url: str = _URL) -> str:
        """Why a request came to nothing."""
        failure = self.failureResultOf(self.start(self.fetcher.fetch(b"GET", url)), Unavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return str(failure.value)

    def test_answer(self) -> None:
        """Status, headers and body of the answer come back, and what was said has arrived."""

        def answer(request: Request) -> bytes:
            request.setResponseCode(404)
            request.setHeader("Retry-After", "7")
            return b"there: " + bytes(request.content.read())  # type: ignore[union-attr]

        self.site.answer = answer
        headers = {b"content-type": b"application/jose+json"}
        got = self.successResultOf(self.start(self.fetcher.fetch(b"POST", _URL, b"here", headers)))
        self.assertEqual((got.url, got.code, got.headers["retry-after"], got.body), (_URL, 404, "7", b"there: here"))
        (request,) = self.site.asked
        self.assertEqual((request.method, request.uri), (b"POST", b"/x"))
        self.assertEqual(request.getHeader("content-type"), "application/jose+json")
        self.assertRegex(request.getHeader("user-agent") or "", "^mles_tx/")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_only_https(self) -> None:
        """Nothing is asked for without TLS, nor at what is no URL."""
        for url in ("http://ca.example/", "ftp://x/", "", "https://ä.example/", "file:///etc/passwd"):
            self.assertIn("no https URL", self.fails(url))
        self.assertEqual(self.site.asked, [])

    def test_no_answer(self) -> None:
        """An authority that takes a request and says nothing is given up when its time is over."""
        self.site.answer = lambda request: NOT_DONE_YET
        asking = self.start(self.fetcher.fetch(b"GET", _URL))
        self.clock.advance(DEADLINE_SECONDS - 1)
        self.assertNoResult(asking)
        self.clock.advance(1)
        self.assertIn("no answer within 30 s", str(self.failureResultOf(asking, Unavailable).value))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_endless_answer(self) -> None:
        """One that begins to answer and does not end is given up as well."""

        def answer(request: Request) -> int:
            request.write(b"{")
            return NOT_DONE_YET

        self.site.answer = answer
        asking = self.start(self.fetcher.fetch(b"GET", _URL))
        self.assertNoResult(asking)
        self.clock.advance(DEADLINE_SECONDS)
        self.assertIn("no answer within 30 s", str(self.failureResultOf(asking, Unavailable).value))

    def test_half(self) -> None:
        """Half an answer is none."""

        def answer(request: Request) -> int:
            request.setHeader("content-length", "1000")
            request.write(b'{"newNonce":')
            request.loseConnection()
            return NOT_DONE_YET

        self.site.answer = answer
        asking = self.start(self.fetcher.fetch(b"GET", _URL))
        self.agent.flush()
        self.assertIn("an answer broke off", str(self.failureResultOf(asking, Unavailable).value))

    def test_cut(self) -> None:
        """A connection that is closed at once is none."""

        def answer(request: Request) -> int:
            request.loseConnection()
            return NOT_DONE_YET

        self.site.answer = answer
        asking = self.start(self.fetcher.fetch(b"GET", _URL))
        self.agent.flush()
        self.assertIn("without an answer", str(self.failureResultOf(asking, Unavailable).value))

    def test_limit(self) -> None:
        """An answer may have 256 KiB; more than that is not collected."""
        self.site.answer = lambda request: b"x" * MAX_BODY_BYTES
        got = self.successResultOf(self.start(self.fetcher.fetch(b"GET", _URL)))
        self.assertEqual(len(got.body), MAX_BODY_BYTES)
        self.site.answer = lambda request: b"x" * (MAX_BODY_BYTES + 1)
        self.assertIn("more than 262144 bytes", self.fails())

    def test_pace(self) -> None:
        """After a burst it is a request a second, until something comes of them."""
        asking = [self.start(self.fetcher.fetch(b"GET", _URL)) for _ in range(int(BURST) + 5)]
        self.assertEqual(len(self.site.asked), BURST)
        for more in range(1, 6):
            self.clock.advance(1.0)
            self.assertEqual(len(self.site.asked), BURST + more)
        for asked in asking:
            self.successResultOf(asked)
        waiting = self.start(self.fetcher.fetch(b"GET", _URL))
        self.assertNoResult(waiting)
        self.fetcher.reset_pace()
        self.successResultOf(self.start(self.fetcher.fetch(b"GET", _URL)))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)

    def test_given_up(self) -> None:
        """A request that is given up by us ends at once, and leaves no timer."""
        self.site.answer = lambda request: NOT_DONE_YET
        asking = self.start(self.fetcher.fetch(b"GET", _URL))
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AnswerTests(SynchronousTestCase):
    """What is read from an answer."""

    def test_parsed_once(self) -> None:
        """However much is read from a document, it is taken apart once."""
        parsed: list[bytes] = []
        loads = json.loads

        def counted(body: bytes) -> Any:
            parsed.append(body)
            return loads(body)

        self.patch(json, "loads", counted)
        answer = Answer(_URL, 200, {}, b'{"a": "1", "b": "2"}')
        self.assertEqual((answer.text("a"), answer.text("b"), answer.json()), ("1", "2", {"a": "1", "b": "2"}))
        self.assertEqual(len(parsed), 1)

    def test_long_documents(self) -> None:
        """A document may have 64 KiB; what is longer is not even looked at."""
        good = b'{"a": "1"}'
        self.assertEqual(Answer(_URL, 200, {}, good.ljust(MAX_JSON_BYTES)).text("a"), "1")
        error = self.assertRaises(Unavailable, Answer(_URL, 200, {}, good.ljust(MAX_JSON_BYTES + 1)).json)
        self.assertIn("no JSON object of at most 65536 bytes", str(error))

    def test_strange_locations(self) -> None:
        """What was made has to be where it can be asked for over https."""
        self.assertEqual(
            Answer(_URL, 201, {"location": "https://ca.example/1"}, b"").location(), "https://ca.example/1"
        )
        for location in ("http://ca.example/1", "/1", "", "ca.example"):
            self.assertRaises(Unavailable, Answer(_URL, 201, {"location": location}, b"").location)

    def answer(self, body: bytes = b"{}", **headers: str) -> Answer:
        """An answer."""
        return Answer(_URL, 200, {name.replace("_", "-"): value for name, value in headers.items()}, body)

    def test_json(self) -> None:
        """An object is found, and anything else is none."""
        self.assertEqual(self.answer(b'{"a": "b"}').json(), {"a": "b"})
        for body in (b"", b"<html>", b"[]", b"7", b'"x"', b"{", b"\xff", b"[" * 100000):
            self.assertRaises(Unavailable, self.answer(body).json)

    def test_text(self) -> None:
        """A text that has to be there is there, and is a text."""
        self.assertEqual(self.answer(b'{"a": "b"}').text("a"), "b")
        for body in (b"{}", b'{"a": 7}', b'{"a": ""}', b'{"a": null}', b'{"a": ["b"]}', b"[]"):
            self.assertRaises(Unavailable, self.answer(body).text, "a")

    def test_location(self) -> None:
        """The URL of what was made has to be there."""
        self.assertEqual(self.answer(location="https://ca.example/1").location(), "https://ca.example/1")
        self.assertRaises(Unavailable, self.answer().location)

    def test_retry_after(self) -> None:
        """Seconds and dates are understood; what is neither, or past, is nothing."""
        now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        for value, seconds in (
            ("120", 120.0),
            (" 0 ", 0.0),
            ("Sun, 22 Nov 2026 12:01:30 GMT", 90.0),
            ("Sun, 22 Nov 2026 12:01:30 -0000", 90.0),
            ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
            ("-5", 0.0),
            ("soon", 0.0),
            ("", 0.0),
            ("²", 0.0),
            ("Sun, 99 Nov 99999999 12:00:00 GMT", 0.0),
            ("9" * 5000, 999999999999.0),
        ):
            self.assertEqual(self.answer(retry_after=value).retry_after(now), seconds, value)
        self.assertEqual(self.answer().retry_after(now + timedelta(days=1)), 0.0)


class VerifyingTests(SynchronousTestCase):
    """Whom an authority's certificate has to be vouched for by."""

    def test_files(self) -> None:
        """A file of certificates can be used; what is none is told with the option."""
        path = Path(self.mktemp())
        for content, reason in (
            (make("ca.example").certificate_pem * 2, None),
            (b"some text\n" + make("ca.example").certificate_pem, None),
            (b"", "no PEM certificate"),
            (make("ca.example").key_pem, "no PEM certificate"),
            (b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n", "damaged"),
        ):
            path.write_bytes(content)
            if reason is None:
                verifying_agent(Clock(), path)
            else:
                error = self.assertRaises(CertificateError, verifying_agent, Clock(), path)
                self.assertRegex(str(error), f"^--acme-ca .*{reason}")
        error = self.assertRaises(CertificateError, verifying_agent, Clock(), path.with_name("none"))
        self.assertIn("No such file", str(error))
