"""What a program of its own logs: one line an event, readable or JSON, from a level up.

A line is formatted once and is out in one write before the event's logger goes on, so that a crash loses none. Whatever
others have put into it, it is one line of bounded length, and the same one again and again is not written each time.

It must not be used by a server inside somebody else's program: logs are that program's.
"""

import json
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from math import isfinite
from time import gmtime, localtime, strftime
from typing import Any

from twisted.logger import (
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    LogLevel,
    eventAsText,
    formatEvent,
)
from twisted.python.logfile import LogFile
from twisted.python.reflect import safe_str
from zope.interface import implementer

from .config import LOG_LEVELS
from .repeats import Repeats

__all__ = [
    "RELAYED_TRACEBACK",
    "JsonLines",
    "Lines",
    "Log",
    "ReadableLines",
    "log_to",
    "refuse_own",
    "stream_writer",
    "twistd_log",
]

_ALL_LEVELS = tuple(LogLevel.iterconstants())

#: What would break a line up, or talk to the terminal of whoever reads it. Lines of a traceback are indented.
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
    if chr(code) != "\t"
} | {ord("\n"): "\n\t"}

#: Names in a JSON line that are not an event's own. A field of such a name gets an underscore behind it.
_OWN_NAMES = frozenset(("time", "level", "logger", "text", "traceback"))

#: Namespace of what was logged with `twisted.python.log`. Its fields are that module's own.
_LEGACY = "log_legacy"

#: The format of an event that is one line already.
_WHOLE_LINE = "{line}"

#: Characters of a line of JSON, of a text or traceback, and of any other value in a line that is too long; what is
#: beyond is counted. The metrics, with all the addresses they may name, are shorter.
_MAX_LINE = 256 * 1024
_MAX_TEXT = 64 * 1024
_MAX_VALUE = 1024

#: Items of a value when a line is too long.
_MAX_ITEMS = 100

#: The field with the traceback of an event that another process has logged; its text is a whole line.
RELAYED_TRACEBACK = "log_relayed_traceback"

#: How deep a field's value is taken apart.
_DEPTH = 4

Lines = Callable[[LogEvent], str]


@implementer(ILogObserver)
class Log:
    """Passes on the events from a level up.

    Args:
        observer: who gets them.
        level: one of `LOG_LEVELS`.
        settle: given the time now and then, to write what is held back.
    """

    def __init__(
        self,
        observer: Callable[[LogEvent], object],
        level: str,
        settle: Callable[[float], object] = lambda when: None,
    ) -> None:
        self._observer = observer
        self.settle = settle
        self._passing: frozenset[object] = frozenset()
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Log from another level on.

        Args:
            level: one of `LOG_LEVELS`.

        Raises:
            ValueError: it is none of them.
        """
        if level not in LOG_LEVELS:
            raise ValueError(f"the level of a log is one of {', '.join(LOG_LEVELS)}")
        lowest = LogLevel.lookupByName(level)
        self._passing = frozenset(other for other in _ALL_LEVELS if other >= lowest)

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") in self._passing:
            self._observer(event)


def log_to(write: Callable[[bytes], object], log_format: str, level: str) -> Log:
    """A log whose lines go to a function.

    Args:
        write: takes a line, with its end, as UTF-8. When it raises `OSError` (the disk is full, nobody reads) that
            line is lost: there is nobody to be told.
        log_format: one of `LOG_FORMATS`.
        level: one of `LOG_LEVELS`.
    """
    is_json = log_format == "json"
    lines: Lines = JsonLines() if is_json else ReadableLines()

    def put(line: str, more: int) -> None:
        if more:
            line = f'{line[:-2]},"repeated":{more}}}\n' if is_json else f"{line[:-1]} ({more} more times)\n"
        try:
            write(line.encode("utf-8", "backslashreplace"))
        except OSError:
            return  # as said; `suppress` would take longer than all the rest of this

    repeats = Repeats(put)

    def observe(event: LogEvent) -> None:
        line = lines(event)
        if line:
            # The time stands first, and is all that differs.
            repeats.take(line, line.partition("," if is_json else " ")[2], event.get("log_time", 0.0))

    return Log(observe, level, repeats.settle)


class ReadableLines:
    """For people: ``2026-01-31T12:00:00+0100 [mles_tx#info] text``, in local time."""

    def __init__(self) -> None:
        self._second = -1
        self._stamp = ""
        self._systems: dict[tuple[Any, Any], str] = {}

    def __call__(self, event: LogEvent) -> str:
        text = _text(event)
        if not text:
            return ""
        second = int(event.get("log_time", 0))
        if second != self._second:
            self._second, self._stamp = second, strftime("%Y-%m-%dT%H:%M:%S%z", localtime(second))
        if len(text) > _MAX_TEXT:
            text = _cut(text, _MAX_TEXT)
        if not text.isprintable():
            text = text.translate(_CONTROLS)
        return f"{self._stamp} [{self._system(event)}] {text}\n"

    def _system(self, event: LogEvent) -> str:
        if event.get("log_system") is not None:
            return safe_str(event["log_system"]).translate(_CONTROLS)
        key = event.get("log_namespace"), event.get("log_level")
        system = self._systems.get(key)
        if system is None:
            # A program has a few dozen of them.
            system = self._systems[key] = f"{key[0] or '-'}#{key[1].name if key[1] else '-'}"
        return system


class JsonLines:
    """For programs: one object a line, with `time` (RFC 3339, UTC), `level`, `logger`, `text` and the event's fields.

    Of a failure there is the `traceback` as well.
    """

    def __init__(self) -> None:
        self._second = -1
        self._stamp = ""
        self._encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

    def __call__(self, event: LogEvent) -> str:
        failure = event.get("log_failure")
        relayed = event.get(RELAYED_TRACEBACK)
        text = _plain_text(event) if relayed is None else event["line"]
        if not text and failure is None:
            return ""
        when = event.get("log_time", 0.0)
        second = int(when)
        if second != self._second:
            self._second, self._stamp = second, strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        level = event.get("log_level")
        namespace = event.get("log_namespace")
        line: dict[str, object] = {
            "time": f"{self._stamp}.{int(when % 1 * 1000):03d}Z",
            "level": level.name if level else "info",
            "logger": namespace or "-",
            "text": text,
        }
        if failure is not None:
            line["traceback"] = _traceback(event)
        elif relayed is not None:
            line["traceback"] = relayed
        if namespace != _LEGACY:
            is_whole_line = event.get("log_format") == _WHOLE_LINE or relayed is not None
            for name, value in event.items():
                if name[:4] != "log_" and not (is_whole_line and name == "line"):
                    line[f"{name}_" if name in _OWN_NAMES else name] = value
        try:
            encoded = self._encode(line)
        except Exception:
            encoded = self._encode({name: _plain(value, _DEPTH) for name, value in line.items()})
        if len(encoded) > _MAX_LINE:
            encoded = self._encode(_shortened(line))
        return encoded + "\n"


def _text(event: LogEvent) -> str:
    """What an event says, with its traceback."""
    if "log_failure" in event:
        return eventAsText(event, includeTimestamp=False, includeSystem=False)
    return _plain_text(event)


def _plain_text(event: LogEvent) -> str:
    """What an event says, without its traceback."""
    # Twisted's own formatting takes ten times as long. It knows calls in formats, and what to do with bad ones.
    form = event.get("log_format")
    if form == _WHOLE_LINE and type(event.get("line")) is str:
        line: str = event["line"]
        return line
    if type(form) is str and "(" not in form and "log_flattened" not in event:
        try:
            return form.format_map(event)
        except Exception:
            pass
    return formatEvent(event)


def _traceback(event: LogEvent) -> str:
    text = eventAsText({"log_failure": event["log_failure"]}, includeTimestamp=False, includeSystem=False)
    return text.strip("\n")


def _plain(value: object, depth: int) -> object:
    """Something JSON can say, whatever the value is."""
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int and value.bit_length() <= 64:
        return value
    if type(value) is float and isfinite(value):
        return value
    if depth:
        try:
            if is_dataclass(value) and not isinstance(value, type):
                return {field.name: _plain(getattr(value, field.name), depth - 1) for field in fields(value)}
            if isinstance(value, Mapping):
                return {safe_str(key): _plain(item, depth - 1) for key, item in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [_plain(item, depth - 1) for item in value]
        except Exception:
            pass
    return safe_str(value)


def _cut(text: str, size: int) -> str:
    """A text, or the beginning of one that is too long."""
    return text if len(text) <= size else f"{text[:size]}… ({len(text) - size} more characters)"


def _shortened(line: Mapping[str, object]) -> dict[str, object]:
    """A line that is too long, with bounds for all that is in it."""
    short = {}
    for name, value in islice(line.items(), _MAX_ITEMS):
        plain = _plain(value, _DEPTH)
        said = plain if isinstance(plain, str) else json.dumps(plain, allow_nan=False)
        size = _MAX_TEXT if name in ("text", "traceback") else _MAX_VALUE
        short[_cut(name, _MAX_VALUE)] = plain if len(said) <= size else _cut(said, size)
    return short


def stream_writer(stream: Any) -> Callable[[bytes], object]:
    """A function that writes bytes to a text stream's end, at once."""
    if stream is None:
        return lambda line: None  # closed by whoever has started us
    stream.flush()
    buffer = stream.buffer

    def write(line: bytes) -> None:
        buffer.write(line)
        buffer.flush()

    return write


def refuse_own(log_format: str, level: str, reason: str) -> None:
    """Say that somebody else's log is used, when something was asked for of ours.

    Raises:
        SystemExit: it was.
    """
    for option, value, usual in (("--log-format", log_format, "readable"), ("--log-level", level, "info")):
        if value != usual:
            raise SystemExit(f"mles: {option} {value}: {reason}")


def twistd_log(twistd: Mapping[str, Any], log_format: str, level: str, reactor: Any) -> Log | None:
    """The log twistd is to use instead of its own; where it goes is what twistd was told.

    As twistd does, it rotates a log file on SIGUSR1.

    Args:
        twistd: twistd's own options.
        log_format: one of `LOG_FORMATS`.
        level: one of `LOG_LEVELS`.
        reactor: the reactor.

    Returns:
        The log; None: twistd does what it would do without us, be it with an observer of the operator's own, or to say
        that its options do not fit together.

    Raises:
        SystemExit: our options do not fit to twistd's, or the file cannot be written; says so in one line.
    """
    if twistd.get("logger"):
        refuse_own(log_format, level, "of no use with twistd's --logger; leave one of them away")
        return None
    path = twistd.get("logfile")
    if twistd.get("syslog"):
        if log_format == "json":
            raise SystemExit("mles: --log-format json: of no use with twistd's --syslog; leave one of them away")
        from twisted.python.syslog import SyslogObserver

        emit: Any = SyslogObserver(twistd.get("prefix", "")).emit
        return Log(LegacyLogObserverWrapper(emit), level)
    if path == "-" or (not path and twistd.get("nodaemon")):
        return log_to(stream_writer(sys.stdout), log_format, level) if twistd.get("nodaemon") else None
    try:
        file = LogFile.fromFullPath(path or "twistd.log")
    except OSError as error:
        raise SystemExit(
            f"mles: --logfile {path or 'twistd.log'}: {error.strerror}; give twistd a file that can be written to"
        ) from None
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda number, frame: reactor.callFromThread(file.rotate))
    return log_to(file.write, log_format, level)
