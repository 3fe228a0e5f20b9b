"""Lean and fair reactor turns, and time that nobody sets, for a program that has its reactor to itself.

Around each event Twisted's epoll reactor sets the log prefix of the connection it belongs to, in eight calls. Nothing
here logs with prefixes.

The kernel hands events out in the order they came. When thousands of connections have something to be read at once, as
when all members leave in the same instant, who says a word behind them would wait for all of that, and again with the
next word: a third of a second with 8,000. So where there is more than a turn takes, half of it is for those who have
been served since that began, and half for those who have not: a talker waits once at most. Peers that have vanished
wait for all others, but for an eighth of each turn.
"""

import time
from collections.abc import Callable, Sequence
from select import EPOLLERR, EPOLLHUP, EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger

__all__ = ["follow_monotonic_time", "lean_turns"]

#: Events handled in a turn. Twisted makes room for as many as there are connections.
_EVENTS = 512

#: Events that those are chosen from when there are more. Room for them costs 5 µs, and each event some 0.5 µs.
_MOST = 16384

#: Events of a connection that is no more: nobody waits for what comes of it.
_GONE = EPOLLERR | EPOLLHUP

_log = Logger()


def follow_monotonic_time(reactor: Any) -> None:
    """Let a reactor's timers follow the time since the machine started, before the first one is set.

    Twisted's follow the wall clock: when that is set back they stand still, when it is set forward all of
    them are due at once.
    """
    reactor.seconds = time.monotonic


def lean_turns(reactor: Any) -> None:
    """Let a reactor handle what has arrived without ceremony; nothing happens to one that does not use epoll."""
    if type(reactor) is EPollReactor:
        reactor.__dict__["doIteration"] = _lean_iteration(reactor)


class _Queue:
    """Who waits, and who was served, while there is more than a turn takes.

    Attributes:
        served: descriptors, who was served last is last; empty: there is no more than a turn takes.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}  # who has waited longest is first
        self.served: dict[int, None] = {}

    def choose(self, events: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """What is handled in this turn of what there is; the rest waits."""
        gone = [(number, event) for number, event in events if event & _GONE]
        ready, served = {number: event for number, event in events if not event & _GONE}, self.served
        self._waiting.update((number, None) for number in ready if number not in served)
        waiting = [number for number in self._waiting if number in ready]
        again = [number for number in served if number in ready]
        spare = gone[: max(_EVENTS // 8, _EVENTS - len(ready))]
        room = _EVENTS - len(spare)
        chosen = waiting[: max(room // 2, room - len(again))] + again[: max(room // 2, room - len(waiting))]
        for number in chosen:
            self._waiting.pop(number, None)
            served.pop(number, None)
            served[number] = None
        return [(number, ready[number]) for number in chosen] + spare

    def clear(self) -> None:
        """There is no more than a turn takes."""
        self._waiting.clear()
        self.served.clear()


def _lean_iteration(reactor: Any) -> Callable[[float | None], None]:
    poll = reactor._poller.poll
    selectables = reactor._selectables
    queue = _Queue()

    def iterate(timeout: float | None) -> None:
        events = poll(timeout, _EVENTS)
        if len(events) == _EVENTS:
            # The kernel tells of the first ones again, behind the others.
            events = queue.choose(list(dict([*events, *poll(0, _MOST)]).items()))
        elif queue.served:
            queue.clear()
        for number, event in events:
            selectable = selectables.get(number)
            if selectable is None:
                continue  # an earlier event of this turn has closed it
            if event != EPOLLIN:
                reactor._doReadOrWrite(selectable, number, event)
                continue
            try:
                why = selectable.doRead()
            except BaseException as error:
                _log.failure("an event could not be handled")
                why = error
            if why:
                reactor._disconnectSelectable(selectable, why, True)

    return iterate
