"""Lean reactor turns, and time that nobody sets, for a program that has its reactor to itself.

Around each event Twisted's epoll reactor sets the log prefix of the connection it belongs to, in eight calls. Nothing
here logs with prefixes.
"""

import time
from collections.abc import Callable
from select import EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import Logger

__all__ = ["follow_monotonic_time", "lean_turns"]

#: Events taken from the kernel in a turn. Twisted makes room for as many as there are connections.
_EVENTS = 512

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


def _lean_iteration(reactor: Any) -> Callable[[float | None], None]:
    poll = reactor._poller.poll
    selectables = reactor._selectables

    def iterate(timeout: float | None) -> None:
        for number, event in poll(timeout, _EVENTS):
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
