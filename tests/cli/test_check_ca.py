"""What a certificate authority tells of itself, over an agent in memory."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from mles_tx.cli.check_ca import FETCH_SECONDS, Directory, DirectoryAnswer, judge_clock, judge_directory
from mles_tx.cli.checks import Verdict
from mles_tx.transport.certificates.fetch import Fetcher

URL = "https://ca.example/directory"

#: 2026-11-23 12:00:00 UTC, in seconds since 1970 and as a date.
NOON, DATE = 1795435200.0, b"Mon, 23 Nov 2026 12:00:00 GMT"

URLS = {"newNonce": "https://ca.example/n", "newAccount": "https://ca.example/a", "newOrder": "https://ca.example/o"}

#: What the directory says of names in CAA records, what is made of that.
META: tuple[tuple[object, list[str] | None], ...] = (
    ({"caaIdentities": ["CA.example", "ca.example.net"]}, ["ca.example", "ca.example.net"]),
    ({"caaIdentities": ["ca.example", 7, None]}, ["ca.example"]),
    ({"caaIdentities": []}, None),
    ({"caaIdentities": "ca.example"}, None),
    ({}, None),
    ([], None),
    (None, None),
)

#: Status, body, something of the fault.
NO_DIRECTORIES = (
    (200, b"", "no JSON object"),
    (200, b"<html>hello", "no JSON object"),
    (200, b"[" * 100_000, "no JSON object"),
    (200, b"[]", "no JSON object"),
    (200, b"{}", "answered 200 and no ACME directory"),
    (200, json.dumps(URLS | {"newOrder": 7}).encode(), "no ACME directory"),
    (503, json.dumps(URLS).encode(), "answered 503 and no ACME directory"),
    (404, b'{"type": "urn:ietf:params:acme:error:malformed"}', "answered 404 and no ACME directory"),
)

#: Seconds ahead, verdict, text.
CLOCKS = (
    (None, Verdict.UNKNOWN, "the authority did not tell its time"),
    (0.0, Verdict.OK, "agrees with the authority's"),
    (-1.9, Verdict.OK, "agrees with the authority's"),
    (59.0, Verdict.OK, "is 59 seconds ahead of the authority's"),
    (-60.0, Verdict.OK, "is 60 seconds behind the authority's"),
    (61.0, Verdict.WARN, "is 61 seconds ahead of the authority's"),
    (-3600.0, Verdict.WARN, "is 3600 seconds behind the authority's"),
    (3601.0, Verdict.FAIL, "is 3601 seconds ahead of the authority's"),
    (-1e9, Verdict.FAIL, "is 1000000000 seconds behind the authority's"),
)


class _Response:
    """A whole answer."""

    def __init__(self, code: int, body: bytes, date: bytes | None) -> None:
        self.code = code
        self.headers = Headers({} if date is None else {b"Date": [date]})
        self._body = body

    def deliverBody(self, protocol: Protocol) -> None:  # noqa: N802
        protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))


@implementer(IAgent)
class _Agent:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes]] = []
        self.cancelled = 0
        self.answer: Deferred[Any] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.cancelled += 1

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Any:  # noqa: N803
        self.asked.append((method, uri))
        return self.answer


class DirectoryTests(SynchronousTestCase):
    """Its directory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.agent = _Agent()
        self.now = NOON
        self.directory = Directory(Fetcher(self.agent, self.clock), URL, self.clock, lambda: self.now)

    def answer(self, body: bytes, code: int = 200, date: bytes | None = DATE) -> DirectoryAnswer:
        """What is made of an answer."""
        self.setUp()
        got = self.directory.get()
        self.agent.answer.callback(_Response(code, body, date))
        authority: DirectoryAnswer = self.successResultOf(got)
        return authority

    def test_good(self) -> None:
        """Certificates can be ordered there, and what it is called in CAA records is known if it tells."""
        for meta, identities in META:
            authority = self.answer(json.dumps(URLS | {"meta": meta}).encode())
            self.assertEqual((meta, authority.fault, authority.identities), (meta, "", identities))
            self.assertEqual(judge_directory(URL, authority).text, f"{URL} answers")
        self.assertEqual(self.agent.asked, [(b"GET", URL.encode())])

    def test_no_directory(self) -> None:
        """What answers and is no directory is a failure; its time counts all the same."""
        for code, body, fault in NO_DIRECTORIES:
            self.now = NOON + 0.5
            authority = self.answer(body, code)
            self.assertIn(fault, authority.fault)
            self.assertEqual(authority.ahead, -0.5)
            finding = judge_directory(URL, authority)
            self.assertEqual((finding.verdict, finding.text), (Verdict.FAIL, authority.fault))

    def test_unreachable(self) -> None:
        """Who cannot be reached is a failure, with the reason, and the time is not known."""
        got = self.directory.get()
        self.agent.answer.errback(ConnectionRefusedError())
        authority = self.successResultOf(got)
        self.assertIn("cannot be reached: Connection was refused", authority.fault)
        self.assertIsNone(authority.ahead)

    def test_silence(self) -> None:
        """Who does not answer in time is given up."""
        got = self.directory.get()
        self.clock.advance(FETCH_SECONDS)
        self.assertEqual(self.successResultOf(got), DirectoryAnswer(f"{URL}: no answer within 4 seconds"))
        self.assertEqual((self.agent.cancelled, self.clock.getDelayedCalls()), (1, []))

    def test_once(self) -> None:
        """It is fetched once for all who ask, and who gives up waiting troubles nobody else."""
        first, impatient, third = (self.directory.get() for _ in range(3))
        impatient.addErrback(lambda _: None)
        impatient.cancel()
        self.assertEqual(self.agent.cancelled, 0)
        self.agent.answer.callback(_Response(200, json.dumps(URLS).encode(), None))
        authority = self.successResultOf(first)
        self.assertEqual(authority, DirectoryAnswer(""))
        self.assertEqual(self.successResultOf(third), authority)
        self.assertEqual(self.successResultOf(self.directory.get()), authority)
        self.assertEqual(len(self.agent.asked), 1)

    def test_clock(self) -> None:
        """How far the clock is off counts from the middle of the request, and of the other's second."""
        for now, took, date, ahead in (
            (NOON, 0.0, DATE, -0.5),
            (NOON + 90, 0.0, DATE, 89.5),
            (NOON - 3600, 2.0, DATE, -3601.5),
            (NOON, 0.0, b"soon", None),
            (NOON, 0.0, b"Mon, 99 Nov 2026 12:00:00 GMT", None),
            (NOON, 0.0, b"\xff", None),
            (NOON, 0.0, None, None),
        ):
            self.setUp()
            got = self.directory.get()
            self.now = now
            self.clock.advance(took)
            self.agent.answer.callback(_Response(200, json.dumps(URLS).encode(), date))
            self.assertEqual((date, self.successResultOf(got).ahead), (date, ahead))

    def test_judgement_of_the_clock(self) -> None:
        """A little off is nothing, up to an hour a warning, more a failure; not known is not known."""
        for ahead, verdict, text in CLOCKS:
            finding = judge_clock(ahead)
            self.assertEqual((ahead, finding.verdict, finding.text), (ahead, verdict, text))
            self.assertEqual(bool(finding.remedy), verdict is not Verdict.OK)
