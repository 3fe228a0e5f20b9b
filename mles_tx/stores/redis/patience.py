"""Whether Redis answers in time: what waits for it, and the looks whether it can be relied on again.

It must not know what is waited for.
"""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mles_tx.channels.deadlines import Deadlines

__all__ = ["PATIENCE_SECONDS", "IWaited", "Patience"]

#: Seconds Redis may take for a batch before it is delivered without it.
PATIENCE_SECONDS = 0.2

#: Seconds it may take for an answer when it is to be relied on again, and between two such looks.
_PROMPT_SECONDS = 0.1
_LOOK_SECONDS = 0.25

#: Seconds in which this node itself may have been too slow to read the answer.
_DOUBT_SECONDS = 0.01


class IWaited(Protocol):
    """Something that is waited for."""

    def __hash__(self) -> int: ...

    @property
    def is_passed(self) -> bool:
        """Whether nobody waits for it any more."""


class _Answer:
    """An answer of Redis that somebody waits for.

    Attributes:
        is_passed: whether it has come.
    """

    __slots__ = ("is_passed",)

    def __init__(self) -> None:
        self.is_passed = False


class Patience:
    """Knows whether Redis can be relied on.

    Args:
        clock: the reactor, or a `Clock` in tests.
        ping: asks Redis for any answer.
        oldest: since when something waits to be stored; None: nothing does.
        late: called when it takes too long.
        prompt: called when it can be relied on again.

    Attributes:
        is_late: whether it takes too long.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ping: Callable[[], "Deferred[Any]"],
        oldest: Callable[[], float | None],
        late: Callable[[], object],
        prompt: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._ping = ping
        self._oldest = oldest
        self._late = late
        self._prompt = prompt
        self._waiting = Deadlines[IWaited](clock, PATIENCE_SECONDS, self._impatient)
        self._suspects: list[IWaited] = []
        self._judging: IDelayedCall | None = None
        self._looking: IDelayedCall | None = None
        self.is_late = False

    def start(self, waited: IWaited) -> None:
        """Wait for something from now on."""
        self._waiting.start(waited)

    def met(self, waited: IWaited) -> None:
        """It has come."""
        self._waiting.met(waited)

    def timed(self, answer: "Deferred[Any]") -> "Deferred[Any]":
        """Look whether an answer comes in time."""
        waited = _Answer()
        self._waiting.start(waited)

        def came(result: Any) -> Any:
            waited.is_passed = True
            self._waiting.met(waited)
            return result

        return answer.addBoth(came)

    def stop(self) -> None:
        """Wait for nothing more, and keep no timer."""
        self._waiting.stop()
        for timer in (self._looking, self._judging):
            if timer is not None and timer.active():
                timer.cancel()
        self._looking = self._judging = None
        self._suspects = []
        self.is_late = False

    def _impatient(self, waited: IWaited) -> None:
        # After a pause of our own the answer may be there already, unread.
        if not self._suspects:
            self._judging = self._clock.callLater(_DOUBT_SECONDS, self._judge)
        self._suspects.append(waited)

    def _judge(self) -> None:
        suspects, self._suspects = self._suspects, []
        if not self.is_late and not all(waited.is_passed for waited in suspects):
            self.is_late = True
            self._waiting.stop()
            self._late()
            self._looking = self._clock.callLater(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Find out whether answers come in time again."""
        self._looking = self._clock.callLater(_LOOK_SECONDS, self._look)
        asked = self._clock.seconds()
        self._ping().addCallbacks(lambda _: self._came(asked), lambda _: None)

    def _came(self, asked: float) -> None:
        limit, oldest = self._clock.seconds() - _PROMPT_SECONDS, self._oldest()
        if asked < limit or (oldest is not None and oldest < limit) or self._looking is None:
            return
        self._looking.cancel()
        self._looking = None
        self.is_late = False
        self._prompt()
