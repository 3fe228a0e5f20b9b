"""What stands in for the thread of a store: calls happen at once, or when a test says so."""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

__all__ = ["HeldThread", "PromptThread"]


class PromptThread:
    """Calls at once."""

    def __init__(self) -> None:
        self.is_running = False
        self.calls = 0
        self.given = 0.0

    def start(self) -> None:
        self.is_running = True

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> "Deferred[Any]":
        if not self.is_running:
            raise RuntimeError("there is no thread")
        self.calls += 1
        return maybeDeferred(function, *args, **kwargs)

    def give_way(self, seconds: float) -> None:
        self.given += seconds

    def stop(self) -> None:
        self.is_running = False

    def abandon(self) -> None:
        self.is_running = False


class HeldThread(PromptThread):
    """Calls when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[tuple[Deferred[Any], Callable[[], Any]]] = deque()

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> "Deferred[Any]":
        if not self.is_running:
            raise RuntimeError("there is no thread")
        called: Deferred[Any] = Deferred()
        self.waiting.append((called, lambda: function(*args, **kwargs)))
        return called

    def step(self) -> None:
        """Make the oldest call."""
        called, function = self.waiting.popleft()
        self.calls += 1
        maybeDeferred(function).chainDeferred(called)

    def run(self) -> None:
        """Make all calls, and those they lead to."""
        while self.waiting:
            self.step()
