"""How long to wait before the next try, kept on disk so that a crash loop waits as well.

A try is written down as failed before it is made. Within a process the wait runs on the monotonic clock; the wall clock
only counts across a restart, and never for longer than the wait was meant to be.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .files import make_private_directory, read_small, replace_private
from .problems import clean

__all__ = ["LONGEST_SECONDS", "REFUSED", "UNAVAILABLE", "Backoff", "Delays"]

#: The longest wait of our own choice, in seconds.
LONGEST_SECONDS = 6 * 3600.0

#: The longest wait an authority can impose. One that names a later time is asked again once a day.
_RETRY_AFTER_MOST = 86400.0

#: Each wait is up to that part longer or shorter: servers that failed together do not come back together.
_JITTER = 0.1

_MAX_FILE = 1 << 16


@dataclass(frozen=True, slots=True)
class Delays:
    """How waits grow.

    Attributes:
        first: seconds after the first failure.
        factor: by which each is longer than the one before.
    """

    first: float
    factor: float

    def after(self, failures: int, longest: float) -> float:
        """Seconds to wait after so many failures in a row, at least one."""
        delay = self.first
        for _ in range(failures - 1):
            delay *= self.factor
            if delay >= longest:
                break
        return min(delay, longest)


#: The authority is not there: a question now and then costs it nothing.
UNAVAILABLE = Delays(5.0, 2.0)

#: It has said no. Let's Encrypt counts five failures an hour; each try may be two of them.
REFUSED = Delays(60.0, 5.0)


class Backoff:
    """The failures of one thing that is tried again and again.

    Args:
        path: the file they are kept in; its directory is made when it is needed.
        clock: the reactor, or a `Clock` in tests.
        now: the time, with its zone.
        random: a number from 0 to 1.

    Attributes:
        failures: in a row.
        error: why the last one failed; None: none did.
        hint: what worked last, or was tried first.
    """

    _log = Logger()

    def __init__(
        self, path: Path, clock: IReactorTime, now: Callable[[], datetime], random: Callable[[], float]
    ) -> None:
        self._path = path
        self._clock = clock
        self._now = now
        self._random = random
        self.failures = 0
        self.error: str | None = None
        self.hint = ""
        self._until = float("-inf")
        self._content: bytes | None = None
        self._before: tuple[int, str | None] | None = None
        self.reload()

    @property
    def wait(self) -> float:
        """Seconds until the next try may be made; 0.0: now."""
        return max(0.0, self._until - self._clock.seconds())

    def reload(self) -> None:
        """See what other processes have written."""
        try:
            content = read_small(self._path, _MAX_FILE)
        except OSError as error:
            self._log.warn("{path} cannot be read: {error!r}", path=str(self._path), error=error)
            return
        if content == self._content:
            return
        self._content = content
        self.failures, self.error, self.hint, self._until = 0, None, "", float("-inf")
        if content is None:
            return
        try:
            kept = json.loads(content)
            failures, delay, until = int(kept["failures"]), float(kept["delay"]), float(kept["until"])
            said, hint = kept.get("error"), str(kept.get("hint", ""))
            if not (failures >= 0 and 0 <= delay < float("inf") and abs(until) < float("inf")):
                raise ValueError("out of range")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as reason:
            self._log.warn("{path} is broken, and not used: {error!r}", path=str(self._path), error=reason)
            return
        self.failures, self.error, self.hint = failures, None if said is None else clean(said), clean(hint)
        if failures:
            left = min(until - self._now().timestamp(), delay, _RETRY_AFTER_MOST * (1 + _JITTER))
            self._until = self._clock.seconds() + left

    def begin(self, hint: str = "") -> None:
        """A try begins: until its end is known it counts as failed.

        Raises:
            OSError: it cannot be written down; then it is not to be made.
        """
        self._before = (self.failures, self.error)
        delay = self._delay(REFUSED, self.failures + 1, LONGEST_SECONDS)
        self._write(self.failures + 1, delay, "the server ended in the middle of the order", hint or self.hint)
        self.failures, self.error = self._before

    def undo(self) -> None:
        """The try was given up: nothing is known by it, and it can be made again at once."""
        failures, error = self._before or (self.failures, self.error)
        self._end(failures, 0.0, error, self.hint)

    def succeeded(self, hint: str = "") -> None:
        """The try has succeeded."""
        self._end(0, 0.0, None, hint or self.hint)

    def failed(
        self, error: str, delays: Delays = REFUSED, retry_after: float = 0.0, longest: float = LONGEST_SECONDS
    ) -> float:
        """The try has failed.

        Args:
            error: why, on one line.
            delays: how the waits grow.
            retry_after: seconds to wait at least, as the authority wishes.
            longest: seconds that our own wait has at most.

        Returns:
            Seconds until the next try.
        """
        failures = (self.failures if self._before is None else self._before[0]) + 1
        delay = max(self._delay(delays, failures, longest), min(retry_after, _RETRY_AFTER_MOST))
        self._end(failures, delay, error, self.hint)
        return delay

    def _end(self, failures: int, delay: float, error: str | None, hint: str) -> None:
        self._before = None
        try:
            self._write(failures, delay, error, hint)
        except OSError as reason:
            self._log.warn("{path} cannot be written: {error!r}", path=str(self._path), error=reason)

    def _delay(self, delays: Delays, failures: int, longest: float) -> float:
        return delays.after(failures, longest) * (1 - _JITTER + 2 * _JITTER * self._random())

    def _write(self, failures: int, delay: float, error: str | None, hint: str) -> None:
        self.failures, self.error, self.hint = failures, error, hint
        self._until = self._clock.seconds() + delay if failures else float("-inf")
        kept: dict[str, Any] = {
            "failures": failures,
            "delay": delay,
            "until": self._now().timestamp() + delay,
            "error": error,
            "hint": hint,
        }
        content = json.dumps(kept).encode()
        make_private_directory(self._path.parent)
        replace_private(self._path, content)
        self._content = content
