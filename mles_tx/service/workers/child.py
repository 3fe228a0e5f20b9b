"""One worker process, as its supervisor knows it.

STARTING → SERVING → ENDING → ENDED
    └─────────┴────────────────↑      it may end at any time
"""

from collections.abc import Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

from .relay import event_of, words_of
from .wire import Given, Lines, decode, encode

__all__ = ["Child", "ChildState", "IWatch"]

#: Seconds a worker has to come up.
START_SECONDS = 60.0

#: Seconds between two signs of life, and without one after which it is taken for stuck, and killed.
_BEAT_SECONDS = 5.0
STUCK_SECONDS = 30.0

#: Seconds from one beat to the next that tell of a pause of this process itself.
_PAUSE_SECONDS = 2 * _BEAT_SECONDS

#: Seconds a worker has to say how it is.
_REPORT_SECONDS = 2.0


class ChildState(Enum):
    """How far a worker is."""

    STARTING = auto()
    SERVING = auto()
    ENDING = auto()
    ENDED = auto()


class IWatch(Protocol):
    """Who is told what becomes of a worker."""

    def child_serves(self, child: "Child") -> None:
        """It accepts connections."""

    def child_ended(self, child: "Child") -> None:
        """It is no more."""


class Child(ProcessProtocol):
    """A worker process.

    Args:
        clock: the reactor, or a `Clock` in tests.
        watch: who is told what becomes of it.
        place: which of the workers it is, from 0 on.
        slot: which of the processes it is in the memory they share.

    Attributes:
        state: how far it is.
        why: why it could not start, in its own words; empty: it has not said.
        banner: what it says to whoever has started the server.
        port: where it serves.
        report: the last one of it; None: there was none.
        how: how it has ended.
        served_at: since when it serves; None: it never has.
    """

    _log = Logger()

    def __init__(self, clock: Any, watch: IWatch, place: int, slot: int) -> None:
        self._clock = clock
        self._watch = watch
        self.place = place
        self.slot = slot
        self.state = ChildState.STARTING
        self.why = ""
        self.banner: list[str] = []
        self.port = 0
        self.report: Mapping[str, Any] | None = None
        self.how = ""
        self.served_at: float | None = None
        self._lines = {1: Lines(self._said), 2: Lines(self._logged)}
        self._timer: IDelayedCall | None = clock.callLater(START_SECONDS, self._too_late)
        self._heard_at = self._beat_at = clock.seconds()
        self._reporting: list[Deferred[None]] = []
        self._changing: list[Deferred[str]] = []
        self._ending: list[Deferred[None]] = []

    @property
    def number(self) -> int:
        """Which of the workers it is, for people."""
        return self.place + 1

    @property
    def is_late(self) -> bool:
        """Whether it has not answered for a while."""
        return bool(self._clock.seconds() - self._heard_at > 2 * _BEAT_SECONDS)

    @property
    def pid(self) -> int | None:
        """Its process; None: it has none any more."""
        return None if self.transport is None else self.transport.pid

    # -- what it is told

    def start(self, given: Given, live: Given | None, **more: Any) -> None:
        """Serve.

        Args:
            given: with which settings.
            live: what of them has changed since; None: nothing has.
            more: where it belongs; see `worker`.
        """
        self._tell("start", given=given.pack(), live=None if live is None else live.pack(), **more)

    def change(self, given: Given) -> "Deferred[str]":
        """Have other settings.

        Returns:
            A Deferred that fires with why it could not, or with nothing.
        """
        changed: Deferred[str] = Deferred()
        self._changing.append(changed)
        self._tell("change", given=given.pack())
        return changed

    def ask(self) -> "Deferred[None]":
        """Ask how it is: the Deferred fires when `report` says so, or when it takes too long."""
        answered: Deferred[None] = Deferred()
        if self.state is not ChildState.SERVING:
            answered.callback(None)
            return answered
        if not self._reporting:
            self._tell("report")
        self._reporting.append(answered)
        return answered.addTimeout(_REPORT_SECONDS, self._clock, lambda result, _: None)

    def stop(self, seconds: float, is_restart: bool) -> "Deferred[None]":
        """End, telling everybody.

        Args:
            seconds: how long that may take; then it is killed.
            is_restart: whether somebody else goes on.

        Returns:
            A Deferred that fires when it has ended.
        """
        ended: Deferred[None] = Deferred()
        if self.state is ChildState.ENDED:
            ended.callback(None)
            return ended
        self._ending.append(ended)
        if self.state is not ChildState.ENDING:
            if self.state is ChildState.STARTING:
                self._signal("TERM")  # it is still loading its program, and hears nothing else
            self.state = ChildState.ENDING
            self._tell("stop", is_restart=is_restart)
            self._wait(seconds)
        return ended

    def abort(self) -> None:
        """End at once."""
        self._tell("abort")

    def kill(self) -> None:
        """End it, whatever it does."""
        self._signal("KILL")

    def not_started(self, why: str) -> None:
        """There is no process: that is its end, too.

        Args:
            why: why not.
        """
        self.why = why
        self._clock.callLater(0, self.processEnded, Failure(ProcessTerminated(1)))

    # -- what it says

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803
        self._lines[childFD].feed(data)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802
        for lines in self._lines.values():
            lines.end()
        self.how = _how(reason)
        self.transport = None
        self.state = ChildState.ENDED
        self._cancel()
        for changed in self._changing:
            changed.callback("")  # the next one has them
        self._changing.clear()
        self._answered()
        self._watch.child_ended(self)
        ending, self._ending = self._ending, []
        for ended in ending:
            ended.callback(None)

    def _said(self, line: bytes) -> None:
        self._heard_at = self._clock.seconds()
        try:
            message = decode(line)
        except ValueError:
            self._log.error("worker {worker} says what is not understood", worker=self.number)
            return
        kind = message["kind"]
        if kind == "serving" and self.state is ChildState.STARTING:
            self.state = ChildState.SERVING
            self.banner, self.port, self.report = message["banner"], message["port"], message["report"]
            self.served_at = self._beat_at = self._clock.seconds()
            self._cancel()
            self._timer = self._clock.callLater(_BEAT_SECONDS, self._beat)
            self._watch.child_serves(self)
        elif kind == "failed":
            self.why = message["why"]
        elif kind == "report":
            self.report = message["report"]
            self._answered()
        elif kind == "changed" and self._changing:
            self._changing.pop(0).callback(message["why"])

    def _logged(self, line: bytes) -> None:
        if line:
            event = event_of(line, self.number)
            globalLogPublisher(words_of(line, self.number) if event is None else event)

    # -- its life

    def _answered(self) -> None:
        reporting, self._reporting = self._reporting, []
        for answered in reporting:
            if not answered.called:  # else it has taken too long
                answered.callback(None)

    def _beat(self) -> None:
        now = self._clock.seconds()
        if now - self._beat_at > _PAUSE_SECONDS:
            self._heard_at = now  # what it has said meanwhile is in the pipe, unread; or it stood still, too
        self._beat_at = now
        if now - self._heard_at > STUCK_SECONDS:
            self._timer = None
            self._log.error(
                "worker {worker} has not answered for {seconds:.0f} seconds: it is killed",
                worker=self.number,
                seconds=STUCK_SECONDS,
            )
            self.kill()
            return
        self._timer = self._clock.callLater(_BEAT_SECONDS, self._beat)
        self._tell("ping")

    def _too_late(self) -> None:
        self._timer = None
        self._log.error("worker {worker} takes too long: it is killed", worker=self.number)
        self.kill()

    def _wait(self, seconds: float) -> None:
        self._cancel()
        self._timer = self._clock.callLater(seconds, self._too_late)

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _tell(self, kind: str, **fields: Any) -> None:
        if self.transport is not None:
            line = encode(kind, **fields)
            with suppress(KeyError):  # it has closed its input, and is about to end
                self.transport.writeToChild(0, line)

    def _signal(self, name: str) -> None:
        if self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(name)


def _how(reason: Failure) -> str:
    """How a process has ended, for people."""
    number = getattr(reason.value, "signal", None)
    if number is not None:
        return f"was ended by signal {number}"
    return f"has ended with code {getattr(reason.value, 'exitCode', None)}"
