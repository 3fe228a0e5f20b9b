"""All workers of a server: started, replaced when they die, and one after another when they are to be.

A worker that is replaced goes on until the next one accepts connections. It must not know what they serve.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from .child import Child, ChildState
from .totals import Totals
from .wire import Given

__all__ = ["Crew", "ICrew", "Launch"]

#: Seconds a worker has to have served for its end not to be one of a row, and the longest wait in such a row.
_STEADY_SECONDS = 10.0
_MAX_DELAY = 30.0

#: Starts the process of a worker: connects it to its child.
Launch = Callable[[Child], object]


class ICrew(Protocol):
    """Who is told how it stands with them."""

    def all_serving(self) -> None:
        """For the first time all workers accept connections."""

    def cannot_start(self, why: str) -> None:
        """A worker has not come up at the start of the server."""

    def freed(self, slot: int) -> None:
        """A process has ended; so has what it had in shared memory."""


class _Place:
    """The place of one worker.

    Attributes:
        number: from 0 on.
        child: who has it; None: nobody.
        successor: who is to have it next.
        up: fires when the successor serves, or with False when it does not.
        failures: ends in a row.
        timer: until the next one is started.
        slot: in the memory they share, of the last process.
        living: all its processes: also one that was replaced, and has not ended yet.
    """

    __slots__ = ("child", "failures", "living", "number", "slot", "successor", "timer", "up")

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: Child | None = None
        self.successor: Child | None = None
        self.up: Deferred[bool] | None = None
        self.failures = 0
        self.timer: IDelayedCall | None = None
        self.slot = 2 * number
        self.living: list[Child] = []


class Crew:
    """The workers.

    Args:
        clock: the reactor, or a `Clock` in tests.
        number: how many.
        launch: starts a process.
        listener: who is told how it stands.
        totals: where what they have counted is kept.
        more: what a worker is told at its start, beside its settings and its place.
    """

    _log = Logger()

    def __init__(
        self, clock: Any, number: int, launch: Launch, listener: ICrew, totals: Totals, more: Mapping[str, Any]
    ) -> None:
        self._clock = clock
        self._launch = launch
        self._listener = listener
        self._totals = totals
        self._more = more
        self._places = [_Place(place) for place in range(number)]
        self._given: Given
        self._live: Given | None = None
        self._was_up = False
        self._is_stopping = False
        self.is_rolling = False

    @property
    def children(self) -> list[Child]:
        """All that run, but those that were replaced."""
        found = [child for place in self._places for child in (place.child, place.successor) if child is not None]
        return [child for child in found if child.state is not ChildState.ENDED]

    @property
    def _living(self) -> list[Child]:
        return [child for place in self._places for child in place.living]

    @property
    def serving(self) -> list[Child]:
        """Those that accept connections."""
        return [child for child in self.children if child.state is ChildState.SERVING]

    @property
    def missing(self) -> list[int]:
        """The numbers of those that do not serve at the moment, from 1 on."""
        serving = {child.place for child in self.serving}
        return [place.number + 1 for place in self._places if place.number not in serving]

    def start(self, given: Given) -> None:
        """Start all of them.

        Args:
            given: with which settings.
        """
        self._given = given
        for place in self._places:
            place.child = self._spawn(place, given, None)

    def change(self, given: Given) -> "Deferred[list[str]]":
        """Have other settings: those that run, and those that follow.

        Returns:
            A Deferred with a line for each that could not.
        """
        self._live = given
        children = self.children

        def told(answers: list[str]) -> list[str]:
            return [f"worker {child.number}: {why}" for child, why in zip(children, answers, strict=True) if why]

        return gatherResults([child.change(given) for child in children]).addCallback(told)

    def ask(self) -> "Deferred[None]":
        """Ask all of them how they are; the Deferred fires when it is known, or when that takes too long."""
        return gatherResults([child.ask() for child in self.serving]).addCallback(lambda _: None)

    def stop(self, seconds: float) -> "Deferred[None]":
        """End all of them at the same time.

        Args:
            seconds: how long that may take; then they are killed.
        """
        self._is_stopping = True
        for place in self._places:
            if place.timer is not None:
                place.timer.cancel()
                place.timer = None
        return gatherResults([child.stop(seconds, False) for child in self._living]).addCallback(lambda _: None)

    def abort(self) -> None:
        """End whoever is left at once."""
        for child in self._living:
            child.abort()

    async def roll(self, given: Given, seconds: float) -> bool:
        """Replace all of them, one after another.

        Args:
            given: with which settings the next ones serve.
            seconds: how long one may take to end.

        Returns:
            Whether it was done; when one does not come up, those that are left stay.
        """
        self.is_rolling = True
        try:
            for place in self._places:
                if not await self._replace(place, given, seconds):
                    return False
            return True
        finally:
            self.is_rolling = False

    async def _replace(self, place: _Place, given: Given, seconds: float) -> bool:
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None
        place.up = Deferred()
        successor = place.successor = self._spawn(place, given, None)
        is_up = await place.up
        place.successor = place.up = None
        if self._is_stopping:
            return False
        if not is_up:
            self._log.error(
                "the new worker {worker} has not come up{why}: those that are left stay as they are",
                worker=place.number + 1,
                why=f" ({successor.why})" if successor.why else "",
            )
            if place.child is None:  # it has gone meanwhile
                self._start_later(place)
            return False
        self._given, self._live = given, None
        before, place.child = place.child, successor
        place.failures = 0
        if before is not None:
            await before.stop(seconds, True)
        return not self._is_stopping

    def _spawn(self, place: _Place, given: Given, live: Given | None) -> Child:
        taken = [child.slot for child in place.living]
        if place.slot ^ 1 not in taken:  # else that of the last process is free, which has ended
            place.slot ^= 1
        child = Child(self._clock, self, place.number, place.slot)
        place.living.append(child)
        self._launch(child)
        child.start(given, live, is_first=place.number == 0, slot=place.slot, workers=len(self._places), **self._more)
        return child

    # -- what becomes of one

    def child_serves(self, child: Child) -> None:
        """One accepts connections."""
        place = self._places[child.place]
        if place.successor is child and place.up is not None:
            place.up.callback(True)
        if self._was_up:
            self._log.info("worker {worker} serves: process {pid}", worker=child.number, pid=child.pid)
        elif not self.missing:
            self._was_up = True
            self._listener.all_serving()

    def child_ended(self, child: Child) -> None:
        """One is no more."""
        place = self._places[child.place]
        place.living.remove(child)
        self._listener.freed(child.slot)
        self._totals.ended(child.report)
        if place.successor is child and place.up is not None:
            place.up.callback(False)
            return
        if place.child is not child:
            self._log.info("worker {worker} was replaced, and {how}", worker=child.number, how=child.how)
            return
        place.child = None
        if self._is_stopping:
            return
        if not self._was_up:
            self._listener.cannot_start(child.why or f"worker {child.number} {child.how} before it served")
            return
        if child.served_at is None or self._clock.seconds() - child.served_at < _STEADY_SECONDS:
            place.failures += 1
        else:
            place.failures = 0
        if place.successor is not None:
            self._log.error("worker {worker} {how}", worker=child.number, how=child.how)
            return
        why = f" ({child.why})" if child.why else ""
        self._log.error(
            "worker {worker} {how}{why}: another one is started{when}",
            worker=child.number,
            how=child.how,
            why=why,
            when=f" in {self._delay(place):.0f} s" if place.failures > 1 else "",
        )
        self._start_later(place)

    def _delay(self, place: _Place) -> float:
        return min(2.0 ** (place.failures - 2), _MAX_DELAY) if place.failures > 1 else 0.0

    def _start_later(self, place: _Place) -> None:
        place.timer = self._clock.callLater(self._delay(place), self._start_again, place)

    def _start_again(self, place: _Place) -> None:
        place.timer = None
        self._totals.restarts += 1
        place.child = self._spawn(place, self._given, self._live)
