"""The certificate authority: whether its directory answers, what the time is there, its name in CAA records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mles_tx.transport.certificates.fetch import Fetcher
from mles_tx.transport.certificates.problems import Unavailable

from .checks import Finding, Verdict

__all__ = ["FETCH_SECONDS", "Directory", "DirectoryAnswer", "judge_clock", "judge_directory"]

#: Seconds for the directory. Less than a check has, so that what is wrong can be told.
FETCH_SECONDS = 4.0

#: What a directory names at least (RFC 8555 section 7.1.1).
_NEEDED = ("newNonce", "newAccount", "newOrder")

#: Seconds a clock may be wrong before it is worth a word, and before it does harm: authorities let certificates begin
#: an hour before they are issued, just because of such clocks.
_SMALL, _LARGE = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class DirectoryAnswer:
    """What an authority tells of itself.

    Attributes:
        fault: why no certificate can be ordered; empty when one can.
        identities: its names in CAA records (RFC 8555 section 7.1.1), lower case; None: it does not tell.
        ahead: seconds this machine's clock is before its own, below zero when it is behind; None: it does not tell.
    """

    fault: str
    identities: Sequence[str] | None = None
    ahead: float | None = None


class Directory:
    """An authority's directory: fetched once, for all who want to know of it.

    Args:
        fetcher: fetches it.
        url: where it is.
        clock: measures how long that takes.
        now: the time of this machine's calendar clock, in seconds since 1970.
    """

    def __init__(self, fetcher: Fetcher, url: str, clock: IReactorTime, now: Callable[[], float]) -> None:
        self._fetcher = fetcher
        self._url = url
        self._clock = clock
        self._now = now
        self._fetch: Deferred[DirectoryAnswer] | None = None

    def get(self) -> "Deferred[DirectoryAnswer]":
        """What it tells.

        Returns:
            A Deferred of its own for each caller: cancelling it troubles nobody else.
        """
        waiting: Deferred[DirectoryAnswer] = Deferred()

        def pass_on(result: Any) -> Any:
            if not waiting.called:
                waiting.callback(result)
            return None if isinstance(result, Failure) else result

        if self._fetch is None:
            silent = DirectoryAnswer(f"{self._url}: no answer within {FETCH_SECONDS:g} seconds")
            fetch = Deferred.fromCoroutine(self._get())
            self._fetch = fetch.addTimeout(FETCH_SECONDS, self._clock, lambda *_: silent)
        self._fetch.addBoth(pass_on)
        return waiting

    async def _get(self) -> DirectoryAnswer:
        begun = self._clock.seconds()
        try:
            answer = await self._fetcher.fetch(b"GET", self._url)
        except Unavailable as error:
            return DirectoryAnswer(str(error))
        ahead = _ahead(answer.headers.get("date", ""), self._now(), self._clock.seconds() - begun)
        try:
            found = answer.json()
        except Unavailable as error:
            return DirectoryAnswer(str(error), ahead=ahead)
        if answer.code != 200 or not all(isinstance(found.get(name), str) for name in _NEEDED):
            return DirectoryAnswer(f"{self._url} answered {answer.code} and no ACME directory", ahead=ahead)
        return DirectoryAnswer("", _identities(found.get("meta")), ahead)


def _identities(meta: object) -> Sequence[str] | None:
    listed = meta.get("caaIdentities") if isinstance(meta, dict) else None
    names = [name.lower() for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    return names or None


def _ahead(date: str, now: float, took: float) -> float | None:
    try:
        # The other side wrote its date half-way, and cut off the fraction, which is half a second as a rule.
        return now - took / 2 - 0.5 - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def judge_directory(url: str, answer: DirectoryAnswer) -> Finding:
    """Whether certificates can be ordered there."""
    if answer.fault:
        return Finding(Verdict.FAIL, answer.fault, "see that the URL is right, and that this machine can connect to it")
    return Finding(Verdict.OK, f"{url} answers")


def judge_clock(ahead: float | None) -> Finding:
    """Whether the clock is right.

    Args:
        ahead: seconds it is before the authority's; None: not known.
    """
    if ahead is None:
        return Finding(Verdict.UNKNOWN, "the authority did not tell its time", "compare the clock with another")
    off = abs(ahead)
    if off < 2:
        return Finding(Verdict.OK, "agrees with the authority's")
    text = f"is {off:.0f} seconds {'ahead of' if ahead > 0 else 'behind'} the authority's"
    if off <= _SMALL:
        return Finding(Verdict.OK, text)
    return Finding(Verdict.WARN if off <= _LARGE else Verdict.FAIL, text, "set the clock, and let NTP keep it right")
