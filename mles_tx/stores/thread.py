"""The one thread of a store: what waits for a disk is called there, one after the other."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["SerialThread", "StoreThread"]

P = ParamSpec("P")
T = TypeVar("T")


class SerialThread(Protocol):
    """Where a store calls what may take a while."""

    def start(self) -> None:
        """Begin; again after a stop."""

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        """Call something when all before it has been called; a Deferred with what comes of it."""

    def give_way(self, seconds: float) -> None:
        """Let it have the time for itself; Python runs in one thread at a time."""

    def stop(self) -> None:
        """End; nothing may be going on."""

    def abandon(self) -> None:
        """End without what is going on: it never comes back."""


class _Pool(ThreadPool):
    # A disk that never answers must not keep a process from ending.
    threadFactory: Any = staticmethod(partial(threading.Thread, daemon=True))  # noqa: N815


class StoreThread:
    """A thread of a reactor.

    Args:
        reactor: where results are told.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool: ThreadPool | None = None

    def start(self) -> None:
        self._pool = _Pool(1, 1, "mles-tx history")
        self._pool.start()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        assert self._pool is not None
        called: Deferred[T] = deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs)
        return called

    def give_way(self, seconds: float) -> None:
        time.sleep(seconds)

    def stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()

    def abandon(self) -> None:
        self._pool = None
