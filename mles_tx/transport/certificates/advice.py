"""When the authority would like certificates to be renewed (RFC 9773): asked now and then, one question at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .problems import AcmeError
from .renewal import Window, parse_window
from .session import AcmeSession

__all__ = ["RenewalAdvice"]

#: Seconds until an authority that did not answer is asked again, and one that has nothing to say.
_AFTER_FAILURE, _AFTER_NOTHING = 3600.0, 6 * 3600.0


@dataclass(slots=True)
class _Asked:
    """What is known about one certificate."""

    identifier: str
    window: Window | None = None
    again: float = float("-inf")


class RenewalAdvice:
    """What the authority says about the certificates there are.

    Args:
        session: whom it asks.
        clock: the reactor, or a `Clock` in tests.
        now: the time, with its zone.
    """

    _log = Logger()

    def __init__(self, session: AcmeSession, clock: IReactorTime, now: Callable[[], datetime]) -> None:
        self._session = session
        self._clock = clock
        self._now = now
        self._asked: dict[str, _Asked] = {}
        self._asking: Deferred[None] | None = None

    def window(self, name: str, identifier: str | None) -> Window | None:
        """When the certificate of a name is to be renewed; None: nothing was said."""
        asked = self._asked.get(name)
        return asked.window if asked is not None and asked.identifier == identifier else None

    def ask(self, certificates: Iterable[tuple[str, str]]) -> None:
        """Ask about the first for which it is time, unless a question is under way.

        Args:
            certificates: names, and the identifiers of their certificates.
        """
        if self._asking is not None:
            return
        for name, identifier in certificates:
            asked = self._asked.get(name)
            if asked is None or asked.identifier != identifier:
                asked = self._asked[name] = _Asked(identifier)
            if asked.again <= self._clock.seconds():
                self._asking = asking = Deferred.fromCoroutine(self._ask(name, asked))
                asking.addErrback(self._failed).addBoth(self._done)
                return

    def stop(self) -> None:
        """Give up a question that is under way."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, name: str, asked: _Asked) -> None:
        asked.again = self._clock.seconds() + _AFTER_FAILURE
        await self._session.open()
        answer = await self._session.renewal_info(asked.identifier)
        if answer is None:
            asked.again = self._clock.seconds() + _AFTER_NOTHING
            return
        window = parse_window(answer.json(), answer.retry_after(self._now()))
        if window is None:
            return
        asked.again = self._clock.seconds() + window.ask_again
        if asked.window is None or (window.start, window.end) != (asked.window.start, asked.window.end):
            self._log.info(
                "the authority would like the certificate for {name} to be renewed between {start} and {end}",
                name=name,
                start=window.start.isoformat(" ", "minutes"),
                end=window.end.isoformat(" ", "minutes"),
            )
        asked.window = window

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError, AcmeError):
            self._log.failure("the authority was not asked about renewal", failure)

    def _done(self, _: None) -> None:
        self._asking = None
