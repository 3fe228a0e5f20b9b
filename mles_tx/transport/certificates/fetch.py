"""Requests to a certificate authority: over verified TLS, with a deadline, a limit and a pace.

It knows HTTP and nothing of ACME. Whatever the other side does, a request ends with an answer or `Unavailable`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from OpenSSL import crypto
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
    _HTTP11ClientFactory,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from mles_tx import __version__

from .pairs import CertificateError
from .problems import Unavailable, clean

__all__ = [
    "BURST",
    "DEADLINE_SECONDS",
    "MAX_BODY_BYTES",
    "MAX_JSON_BYTES",
    "Answer",
    "Fetcher",
    "read_authorities",
    "verifying_agent",
]

#: Seconds for a whole request.
DEADLINE_SECONDS = 30.0

#: Bytes of an answer. Certificate chains have some ten thousand.
MAX_BODY_BYTES = 1 << 18

#: Bytes of a JSON document. They have a few thousand; to parse one takes the time in which nothing else is done.
MAX_JSON_BYTES = 1 << 16

#: Requests that may be made at once; beyond that it is one a second until something comes of them, so that no fault of
#: ours or of the authority can become a flood. An order takes about a dozen, or two where nonces are refused.
BURST = 60.0

_USER_AGENT = f"mles_tx/{__version__}".encode()


def verifying_agent(reactor: Any, authority: Path | None = None) -> IAgent:
    """What makes requests, and looks at the certificates of those it asks.

    Args:
        reactor: whose connections these are.
        authority: a file with the certificates to trust instead of those the system trusts.

    Raises:
        CertificateError: the file cannot be used.
    """
    if authority is None:
        policy = BrowserLikePolicyForHTTPS()
    else:
        policy = BrowserLikePolicyForHTTPS(trustRootFromCertificates(read_authorities(authority)))
    return Agent(reactor, policy, connectTimeout=DEADLINE_SECONDS, pool=_QuietPool(reactor, persistent=False))


class _QuietFactory(_HTTP11ClientFactory):
    noisy = False


class _QuietPool(HTTPConnectionPool):
    """Does not log two lines for each request."""

    _factory = _QuietFactory


def read_authorities(path: Path) -> list[Certificate]:
    """The certificates of a file with authorities to trust.

    Raises:
        CertificateError: it cannot be used.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CertificateError(f"--acme-ca {path}: {error.strerror}") from None
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    blocks = [begin + part.partition(end)[0] + end + b"\n" for part in text.split(begin)[1:]]
    try:
        certificates = [Certificate.loadPEM(block) for block in blocks]
    except (crypto.Error, ValueError):
        raise CertificateError(f"--acme-ca {path}: damaged: replace it") from None
    if not certificates:
        raise CertificateError(f"--acme-ca {path}: no PEM certificate in this file")
    return certificates


@dataclass(frozen=True)  # no slots: what is parsed once is kept
class Answer:
    """What came back.

    Attributes:
        url: what was asked for.
        code: the status.
        headers: by their names in lower case; of several the first.
        body: at most `MAX_BODY_BYTES`.
    """

    url: str
    code: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The JSON object in the body.

        Raises:
            Unavailable: there is none.
        """
        if self._object is None:
            raise Unavailable(
                f"{clean(self.url)} answered {self.code} and no JSON object of at most {MAX_JSON_BYTES} bytes"
            )
        return self._object

    @cached_property
    def _object(self) -> dict[str, Any] | None:
        if len(self.body) > MAX_JSON_BYTES:
            return None
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def text(self, name: str) -> str:
        """A text of the object in the body.

        Raises:
            Unavailable: it is not there.
        """
        value = self.json().get(name)
        if not isinstance(value, str) or not value:
            raise Unavailable(f"{clean(self.url)} answered {self.code} without {name!r}")
        return value

    def location(self) -> str:
        """The URL of what was made.

        Raises:
            Unavailable: it is not there, or none that could be asked.
        """
        found = self.headers.get("location", "")
        if not found.startswith("https://"):
            raise Unavailable(f"{clean(self.url)} answered {self.code} without an https Location")
        return found

    def retry_after(self, now: datetime) -> float:
        """Seconds that the authority wants us to wait (RFC 9110 section 10.2.3); 0.0: it does not say."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return float(value[:12])
        try:
            date = parsedate_to_datetime(value)
            return max(0.0, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())
        except (ValueError, TypeError, IndexError, OverflowError):
            return 0.0


class _Body(Protocol):
    """Collects a body up to its limit."""

    def __init__(self) -> None:
        self.finished: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._content = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._content += data
        if len(self._content) > MAX_BODY_BYTES:
            self._abort()
            self._end(Unavailable(f"an answer has more than {MAX_BODY_BYTES} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Without a length the end of the connection is the end of the body: what is cut off then is no JSON, or no PEM.
        if reason.check(ResponseDone, PotentialDataLoss):
            self._end(bytes(self._content))
        else:
            self._end(Unavailable("an answer broke off"))

    def _end(self, result: bytes | Unavailable) -> None:
        if not self.finished.called:
            self.finished.callback(result) if isinstance(result, bytes) else self.finished.errback(result)

    def _abort(self) -> None:
        abort = getattr(self.transport, "abortConnection", None) or getattr(self.transport, "loseConnection", None)
        if abort is not None:
            abort()


class Fetcher:
    """Makes requests.

    Args:
        agent: what makes them.
        clock: the reactor, or a `Clock` in tests.
    """

    def __init__(self, agent: IAgent, clock: IReactorTime) -> None:
        self._agent = agent
        self._clock = clock
        self._paid_until = float("-inf")

    async def fetch(
        self, method: bytes, url: str, body: bytes | None = None, headers: Mapping[bytes, bytes] | None = None
    ) -> Answer:
        """Make a request.

        Raises:
            Unavailable: there was no answer, or not a whole one in time.
        """
        if not url.startswith("https://") or not url.isascii():
            raise Unavailable(f"{clean(url)} is no https URL")
        await self._wait_for_turn()
        sent = Headers({b"user-agent": [_USER_AGENT]})
        for name, value in (headers or {}).items():
            sent.setRawHeaders(name, [value])
        asked = _cancellable(Deferred.fromCoroutine(self._ask(method, url, body, sent)))
        deadline = self._clock.callLater(DEADLINE_SECONDS, asked.cancel)
        try:
            return await asked
        except Unavailable as error:
            raise Unavailable(f"{clean(url)}: {error}") from None
        except CancelledError:
            if deadline.active():
                raise
            raise Unavailable(f"{clean(url)}: no answer within {DEADLINE_SECONDS:.0f} s") from None
        except Exception as error:
            raise Unavailable(f"{clean(url)} cannot be reached: {clean(_reason(error)).rstrip('.')}") from None
        finally:
            if deadline.active():
                deadline.cancel()

    def reset_pace(self) -> None:
        """Something has come of the requests: they were no flood."""
        self._paid_until = float("-inf")

    async def _ask(self, method: bytes, url: str, body: bytes | None, headers: Headers) -> Answer:
        producer = None if body is None else _Whole(body)
        response: IResponse = await self._agent.request(method, url.encode("ascii"), headers, producer)
        collected = _Body()
        response.deliverBody(collected)
        content = await collected.finished
        found = {
            name.decode("latin-1").lower(): values[0].decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(url, response.code, found, content)

    async def _wait_for_turn(self) -> None:
        now = self._clock.seconds()
        self._paid_until = max(self._paid_until, now) + 1.0
        wait = self._paid_until - now - BURST
        if wait > 0:
            await deferLater(self._clock, wait, lambda: None)


@implementer(IBodyProducer)
class _Whole:
    """A body of a few hundred bytes, written at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":  # noqa: N802 - what a producer has
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """It is over already."""

    resumeProducing = stopProducing = pauseProducing


def _cancellable(asked: "Deferred[Answer]") -> "Deferred[Answer]":
    """The same, but a `CancelledError` when it is cancelled: Twisted's client makes something else of that."""

    given_up = False

    def cancel(_: object) -> None:
        nonlocal given_up
        given_up = True
        asked.cancel()

    result: Deferred[Answer] = Deferred(cancel)

    def deliver(outcome: Answer | Failure) -> None:
        if not given_up:
            result.callback(outcome)

    asked.addBoth(deliver)
    return result


def _reason(error: BaseException) -> object:
    """What lies below Twisted's collections of reasons."""
    reasons = getattr(error, "reasons", None)
    while reasons:
        error = reasons[0].value
        reasons = getattr(error, "reasons", None)
    if isinstance(error, TLSError) and error.args and error.args[0]:
        return f"TLS: {error.args[0][0][-1]}: with a private authority, give its certificate with --acme-ca"
    if isinstance(error, ConnectionDone):
        return "it closed the connection without an answer"
    return error
