"""What must not be logged while something is tried."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.logger import LogEvent, globalLogPublisher

__all__ = ["nothing_failed"]


@contextmanager
def nothing_failed() -> Iterator[list[LogEvent]]:
    """Give what was logged meanwhile.

    Raises:
        AssertionError: a failure was: the server's own fault, which it has survived.
    """
    events: list[LogEvent] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observer)
    for event in events:
        if "log_failure" in event:
            raise AssertionError(event["log_failure"].getTraceback())
