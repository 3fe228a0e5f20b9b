"""Events of a worker's log on their way to the supervisor, which logs them as its own: with who has said it.

They go as lines of JSON, so that whatever the supervisor logs to (a stream, a file, syslog, twistd's observers) gets
all of an event. What is no event, such as the last words of a Python that breaks off, is logged as it is.
"""

import json
import time
from datetime import datetime
from typing import Any

from twisted.logger import LogEvent, LogLevel

from ..logs import RELAYED_TRACEBACK

__all__ = ["event_of", "words_of"]

#: Fields of a line that are not those of the event.
_OWN = frozenset(("time", "level", "logger", "text", "traceback"))

_LEVELS = {level.name: level for level in LogLevel.iterconstants()}

#: The logger of what was logged in Twisted's earlier way, whose fields are not an event's own. These are.
_LEGACY = "log_legacy"

#: So that a millisecond that was written is read as the same.
_BIT = 1e-6

#: Characters of a line that is no event.
_MAX_WORDS = 2000


def event_of(line: bytes, worker: int) -> LogEvent | None:
    """An event, as the supervisor is to log it.

    Args:
        line: as `JsonLines` makes it.
        worker: which worker has said it, from 1 on.

    Returns:
        The event; None: it is none.
    """
    try:
        said = json.loads(line)
        level = _LEVELS[said["level"]]
        text, logger = str(said["text"]), str(said["logger"]).replace(_LEGACY, "-")
        when = datetime.fromisoformat(said["time"]).timestamp() + _BIT
    except (ValueError, KeyError, TypeError):
        return None
    event: dict[str, Any] = {name: value for name, value in said.items() if name not in _OWN and name[:4] != "log_"}
    event |= {
        "log_level": level,
        "log_namespace": logger,
        "log_time": when,
        "log_system": f"worker {worker} {logger}#{level.name}",
        "log_format": "{line}",
        "line": text,
        "worker": worker,
    }
    if "traceback" in said:
        event[RELAYED_TRACEBACK] = str(said["traceback"])
        event["log_format"] = f"{{line}}\n{{{RELAYED_TRACEBACK}}}"
    return event


def words_of(line: bytes, worker: int) -> LogEvent:
    """A line that is no event, as an event."""
    return {
        "log_level": LogLevel.warn,
        "log_namespace": __name__,
        "log_time": time.time(),
        "log_system": f"worker {worker} {__name__}#warn",
        "log_format": "{line}",
        "line": line.decode("utf-8", "backslashreplace")[:_MAX_WORDS],
        "worker": worker,
    }
