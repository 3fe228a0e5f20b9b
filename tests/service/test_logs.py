"""What a program of its own logs."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, LogPublisher, textFileLogObserver
from twisted.python import log as legacy
from twisted.python import syslog
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.metrics import MAX_DROPPED_ADDRESSES, Metrics
from mles_tx.service.config import LOG_FORMATS, LOG_LEVELS
from mles_tx.service.logs import JsonLines, Log, ReadableLines, log_to, stream_writer, twistd_log
from tests import examples

#: Noon of a day in winter, and in summer, as seconds since 1970 in UTC.
NOON = 1769860800.25


class Unspeakable:
    """Cannot be put into words."""

    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


@dataclass
class Point:
    """A value with parts."""

    x: int
    y: object


def event(form: str | None = "text", /, **more: Any) -> LogEvent:
    """An event as a logger makes it."""
    return {
        "log_format": form,
        "log_level": LogLevel.info,
        "log_namespace": "name.space",
        "log_time": NOON,
        "log_logger": Logger(),
        "log_source": None,
        **more,
    }


def failure() -> Failure:
    """One with a traceback."""
    try:
        raise ZeroDivisionError("by\nnought")
    except ZeroDivisionError:
        return Failure()


class LogTestCase(SynchronousTestCase):
    """Logs into a list."""

    def setUp(self) -> None:
        self.lines: list[bytes] = []

    def log(self, log_format: str = "readable", level: str = "info") -> Log:
        """A log."""
        return log_to(self.lines.append, log_format, level)


class LevelTests(LogTestCase):
    """From which level on."""

    def logged(self, log: Log) -> list[str]:
        """The levels that are logged."""
        self.lines.clear()
        for level in LogLevel.iterconstants():
            log(event("{level}", level=level.name, log_level=level))
        return [line.decode().split("] ")[1].strip() for line in self.lines]

    def test_levels(self) -> None:
        """What is asked for is logged, and everything above it: critical faults always are."""
        everything = ["debug", "info", "warn", "error", "critical"]
        for index, level in enumerate(LOG_LEVELS):
            self.assertEqual(self.logged(self.log(level=level)), everything[index:])

    def test_changed(self) -> None:
        """The level can be changed while it is logged; one that does not exist changes nothing."""
        log = self.log(level="error")
        log.set_level("warn")
        self.assertEqual(self.logged(log), ["warn", "error", "critical"])
        error = self.assertRaises(ValueError, log.set_level, "loud")
        self.assertEqual(str(error), "the level of a log is one of debug, info, warn, error")
        self.assertEqual(self.logged(log), ["warn", "error", "critical"])

    def test_without_level(self) -> None:
        """An event without a level is not logged, as Twisted's own filter has it."""
        self.log(level="debug")({"log_format": "text"})
        self.assertEqual(self.lines, [])

    def test_observer(self) -> None:
        """It is an observer as Twisted wants it."""
        self.assertTrue(verifyObject(ILogObserver, self.log()))

    def test_full_disk(self) -> None:
        """When a line cannot be written nobody is disturbed, and later ones are written again."""
        written: list[bytes] = []

        def write(line: bytes) -> None:
            written.append(line)
            if len(written) == 1:
                raise OSError(28, "No space left on device")

        publisher = LogPublisher(log_to(write, "readable", "info"))
        for _ in range(2):
            Logger("x", observer=publisher).info("text")
        self.assertEqual(len(written), 2)


class BoundTests(LogTestCase):
    """However much there is to say, and however often."""

    def test_repeated(self) -> None:
        """The same line a hundred times in a second is written a few times, and then once for all the others."""
        for log_format in LOG_FORMATS:
            self.lines.clear()
            log = self.log(log_format)
            for number in range(100):
                log(event("no {what}", what="luck", log_time=1000.0 + number / 1000))
            self.assertEqual(len(self.lines), 5)
            log.settle(1002.0)
            log(event("no {what}", what="luck", log_time=1003.0))
            self.assertEqual(len(self.lines), 7)
            if log_format == "json":
                self.assertEqual(json.loads(self.lines[5])["repeated"], 95)
                self.assertEqual(json.loads(self.lines[5])["text"], "no luck")
            else:
                self.assertTrue(self.lines[5].endswith(b"] no luck (95 more times)\n"), self.lines[5])

    def test_long(self) -> None:
        """A line that would never end does, and says how much is missing; it stays one line."""
        text = "x" * 1_000_000
        for log_format in LOG_FORMATS:
            self.log(log_format)(event("{text} {n}", text=text, n={str(n): text for n in range(300)}))
            self.log(log_format)(event("{text}", text=text, log_failure=Failure(ValueError(text))))
        for line in self.lines:
            self.assertLess(len(line), 500_000)
            self.assertIn("more characters", line.decode())
        for line in self.lines[2:]:
            self.assertIn("text", json.loads(line))

    def test_all_addresses(self) -> None:
        """The metrics with as many addresses as there may be are whole."""
        metrics = Metrics()
        for number in range(2 * MAX_DROPPED_ADDRESSES):
            metrics.dropped(f"2001:db8:1111:2222:3333:4444:5555:{number:x}")
        for log_format in LOG_FORMATS:
            self.log(log_format)(event("metrics: {metrics}", metrics=metrics.snapshot()))
        for line in self.lines:
            self.assertEqual(line.count(b"2001:db8"), MAX_DROPPED_ADDRESSES * (1 + line.startswith(b"{")))


class ReadableTests(LogTestCase):
    """For people."""

    def line(self, log_event: LogEvent) -> str:
        """The line of an event."""
        self.lines.clear()
        self.log()(log_event)
        return b"".join(self.lines).decode("utf-8")

    def classic(self, log_event: LogEvent) -> str:
        """Twisted's line."""
        stream = BytesIO()
        with TextIOWrapper(stream, "utf-8", write_through=True) as text:
            textFileLogObserver(text)(log_event)
            return stream.getvalue().decode("utf-8")

    def zone(self, name: str) -> None:
        """Be somewhere else."""
        before = os.environ.get("TZ")

        def back() -> None:
            os.environ.pop("TZ", None) if before is None else os.environ.update(TZ=before)
            time.tzset()

        self.addCleanup(back)
        os.environ["TZ"] = name
        time.tzset()

    def test_line(self) -> None:
        """Time with zone, who, level, text."""
        self.zone("Europe/Helsinki")
        self.assertEqual(self.line(event()), "2026-01-31T14:00:00+0200 [name.space#info] text\n")
        self.assertEqual(self.line(event(log_time=NOON + 180 * 86400))[:24], "2026-07-30T15:00:00+0300")

    def test_as_twisted(self) -> None:
        """The lines are those Twisted writes."""
        for log_event in (
            event("joined: uid {uid}, {n:.1f} {s!r}", uid="alice", n=1.25, s="x"),
            event("{a.x} {b[0]} {c()}", a=Point(1, 2), b=[3], c=lambda: 4),
            event("a\nb"),
            event("{missing}", log_level=LogLevel.error),
            event("{bad", log_level=LogLevel.warn),
            event("{u}", u="b\u00fccher \U0001f600"),
            event("text", log_system="HTTPChannel,1,127.0.0.1"),
            event("it failed", log_failure=failure(), log_level=LogLevel.critical),
            event(None, log_failure=failure()),
            event(None),
            event(""),
            event("{line}", line="{not} a format"),
            event(log_namespace=None),
            event(log_namespace=""),
        ):
            expected = self.classic(dict(log_event))
            found = self.line(log_event)
            if "MESSAGE LOST" in expected:  # it says where it was found out
                expected, found = expected[:80], found[:80]
            self.assertEqual(found, expected.replace("[None#", "[-#").replace("[#", "[-#"))

    def test_whole(self) -> None:
        """Whatever an event says, it stays in its line: further lines are indented, and no terminal is talked to."""
        for text in ("\x1b]0;title\x07", "a\rb", "\x9b31m", "\x00", "\u2028", "\x7f"):
            line = self.line(event("{text}", text=f"<{text}>"))
            self.assertTrue(line.endswith(">\n"), line)
            self.assertTrue(line[:-1].isprintable(), line)
        self.assertEqual(self.line(event("a\nb"))[-5:], "a\n\tb\n")
        line = self.line(event(log_system="x\ny"))
        self.assertIn("[x\n\ty] text", line)

    def test_surrogate(self) -> None:
        """Text that is no Unicode is logged all the same."""
        self.assertIn(r"<\udc80>", self.line(event("<\udc80>")))

    def test_unspeakable(self) -> None:
        """A value that cannot be formatted costs its text, not the line."""
        self.assertIn("MESSAGE LOST", self.line(event("{value}", value=Unspeakable())))

    def test_seconds(self) -> None:
        """Each line has its own time, also when the clock is set back."""
        log = self.log()
        for seconds in (NOON, NOON + 0.5, NOON + 1, NOON):
            log(event(log_time=seconds))
        self.assertEqual([line[17:19] for line in self.lines], [b"00", b"00", b"01", b"00"])


class JsonTests(LogTestCase):
    """For programs."""

    def line(self, log_event: LogEvent) -> dict[str, Any]:
        """The line of an event."""
        self.lines.clear()
        self.log("json")(log_event)
        (line,) = self.lines
        self.assertEqual((line[-1:], line.count(b"\n"), line.isascii()), (b"\n", 1, True))
        parsed: dict[str, Any] = json.loads(line, parse_constant=self.fail)
        return parsed

    def test_line(self) -> None:
        """Time in UTC, level, who, text, and the fields of the event."""
        self.assertEqual(
            self.line(event("joined: {uid}", uid="alice", serial=12, seconds=1.5, good=True, nothing=None)),
            {
                "time": "2026-01-31T12:00:00.250Z",
                "level": "info",
                "logger": "name.space",
                "text": "joined: alice",
                "uid": "alice",
                "serial": 12,
                "seconds": 1.5,
                "good": True,
                "nothing": None,
            },
        )

    def test_line_that_is_formatted_already(self) -> None:
        """A field that is the whole text stands there once."""
        line = self.line(event("{line}", line="joined: alice", uid="alice"))
        self.assertEqual((line["text"], line["uid"], "line" in line), ("joined: alice", "alice", False))
        self.assertIn("line", self.line(event("{line}!", line="x")))

    def test_failure(self) -> None:
        """A failure has its traceback as a field of its own."""
        line = self.line(event("it failed", log_failure=failure(), log_level=LogLevel.critical))
        self.assertEqual((line["text"], line["level"]), ("it failed", "critical"))
        self.assertTrue(line["traceback"].startswith("Traceback (most recent call last):"), line)
        self.assertIn("ZeroDivisionError: by\nnought", line["traceback"])
        self.assertEqual(self.line(event(None, log_failure=failure()))["text"], "")

    def test_own_names(self) -> None:
        """A field that is called as one of the line's own does not replace it."""
        line = self.line(event("x", level="loud", time=1, text="other", logger="me", traceback="no"))
        self.assertEqual((line["level"], line["text"], line["logger"]), ("info", "x", "name.space"))
        fields = [line[name] for name in ("level_", "time_", "text_", "logger_", "traceback_")]
        self.assertEqual(fields, ["loud", 1, "other", "me", "no"])

    def test_values(self) -> None:
        """Values with parts are taken apart; what JSON has no word for is told as text."""
        deep: list[object] = []
        deep.append(deep)
        line = self.line(
            event(
                "x",
                point=Point(1, (2, {3})),
                table={"a": 1, 2: float("inf")},
                nan=float("nan"),
                large=10**5000,
                octets=b"\xff",
                bad=Unspeakable(),
                worse=Point(1, Unspeakable()),
                deep=deep,
                kind=LogLevel,
                odd="\udc80\x00\u2028",
            )
        )
        self.assertEqual(line["point"], {"x": 1, "y": [2, [3]]})
        self.assertEqual(line["table"], {"a": 1, "2": "inf"})
        self.assertEqual((line["nan"], line["octets"], line["odd"]), ("nan", r"b'\xff'", "\udc80\x00\u2028"))
        self.assertIn("Unspeakable", line["bad"])
        self.assertIn("Unspeakable", line["worse"]["y"])
        self.assertIsInstance(line["large"], str)
        self.assertIsInstance(line["kind"], str)

    def test_metrics(self) -> None:
        """The metrics are an object, with a number for each name."""
        line = self.line(event("metrics: {metrics}", metrics=Metrics().snapshot()))
        self.assertEqual((line["metrics"]["total_errors"], line["metrics"]["dropped_by_ip"]), (0, {}))

    def test_legacy(self) -> None:
        """What is logged in Twisted's old way has its text, and not the fields of that way."""
        publisher = LogPublisher()
        publisher.addObserver(self.log("json"))
        old: Any = legacy.LogPublisher(publishPublisher=publisher)
        old.msg("one", "two", system="sys")
        (line,) = (json.loads(line) for line in self.lines)
        self.assertEqual((line["text"], set(line)), ("one two", {"time", "level", "logger", "text"}))

    def test_nothing_to_say(self) -> None:
        """An event without text is no line."""
        self.log("json")(event(None))
        self.assertEqual(self.lines, [])

    @settings(max_examples=examples(200), deadline=None)
    @given(
        st.dictionaries(
            st.text(min_size=1).filter(lambda name: not name.startswith("log_")),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(object),
                lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text(), inner),
                max_leaves=8,
            ),
        ),
        st.text(),
    )
    def test_any(self, fields: dict[str, object], text: str) -> None:
        """Whatever an event holds, it is one line that is JSON."""
        line = JsonLines()(event("{given_text}", **(fields | {"given_text": f"{text}."})))
        self.assertEqual((line.count("\n"), json.loads(line, parse_constant=self.fail)["text"]), (1, f"{text}."))
        readable = ReadableLines()(event("{given_text}", **(fields | {"given_text": f"{text}."})))
        self.assertNotRegex(readable, r"\n[^\t]")


class StreamTests(SynchronousTestCase):
    """Where lines go."""

    def test_at_once(self) -> None:
        """A line is out as soon as it is logged, and behind what was printed before."""
        raw = BytesIO()
        stream = TextIOWrapper(raw, "ascii")
        print("before", file=stream)
        write = stream_writer(stream)
        self.assertEqual(raw.getvalue(), b"before\n")
        write("b\u00fccher\n".encode())
        self.assertEqual(raw.getvalue(), "before\nb\u00fccher\n".encode())

    def test_none(self) -> None:
        """A program without that stream goes without a log."""
        stream_writer(None)(b"line\n")


class Reactor(MemoryReactorClock):
    """A reactor in memory that keeps what a signal handler asks it to do."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Callable[[], object]] = []

    def callFromThread(self, function: Callable[[], object]) -> None:  # noqa: N802
        self.asked.append(function)


class TwistdTests(SynchronousTestCase):
    """The log under twistd goes where twistd was told."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.path = self.directory / "log"
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    def make(self, log_format: str = "readable", level: str = "info", **twistd: object) -> Log | None:
        """The log for what twistd was told."""
        options = {"logger": None, "logfile": None, "syslog": 0, "prefix": "twisted", "nodaemon": 0}
        return twistd_log({**options, **twistd}, log_format, level, self.reactor)

    def say(self, log: Log | None, text: str = "text") -> None:
        """Log something."""
        assert log is not None
        log(event(text))

    def test_file(self) -> None:
        """A log file, in both formats; it is the one twistd would take, daemon or not."""
        for log_format, pattern in (("readable", r"\S+ \[name.space#info\] text\n"), ("json", r"\{.*\}\n")):
            for nodaemon in (0, 1):
                path = self.directory / f"{log_format}-{nodaemon}"
                self.say(self.make(log_format, logfile=str(path), nodaemon=nodaemon))
                self.assertRegex(path.read_text(), re.compile(f"^{pattern}$"))

    def test_usual_file(self) -> None:
        """A daemon that was told nothing logs to twistd.log, behind what is there."""
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        Path("twistd.log").write_text("before\n")
        self.say(self.make())
        self.assertRegex(Path("twistd.log").read_text(), r"^before\n.* text\n$")

    def test_rotated(self) -> None:
        """The file is rotated on SIGUSR1, unless somebody else has taken the signal."""
        log = self.make(logfile=str(self.path))
        self.say(log, "one")
        signal.raise_signal(signal.SIGUSR1)
        (rotate,) = self.reactor.asked
        rotate()
        self.say(log, "two")
        self.assertIn("one", (self.directory / "log.1").read_text())
        self.assertIn("two", self.path.read_text())
        mine = signal.getsignal(signal.SIGUSR1)
        self.make(logfile=str(self.path))
        self.assertIs(signal.getsignal(signal.SIGUSR1), mine)

    def test_standard_output(self) -> None:
        """In the foreground it goes to standard output, when it is told so or nothing."""
        for path in (None, "-", ""):
            raw = BytesIO()
            self.patch(sys, "stdout", TextIOWrapper(raw, "utf-8"))
            self.say(self.make(logfile=path, nodaemon=1))
            self.assertIn(b"] text\n", raw.getvalue())

    def test_left_to_twistd(self) -> None:
        """A daemon that is to log to standard output is refused by twistd itself."""
        self.assertIsNone(self.make(logfile="-"))

    def test_syslog(self) -> None:
        """With --syslog the level counts, and the system log has times of its own."""
        logged: list[tuple[int, str]] = []
        for name, replaced in (("openlog", lambda *args: None), ("syslog", lambda *args: logged.append(args))):
            self.patch(syslog.SyslogObserver, name, staticmethod(replaced))
        log = self.make(syslog=1, level="warn")
        assert log is not None
        log(event("quiet"))
        log(event("loud", log_level=LogLevel.warn))
        self.assertEqual([text for _, text in logged], ["[-] loud"])

    def test_own_logger(self) -> None:
        """An observer the operator has chosen is left alone."""
        self.assertIsNone(self.make(logger=lambda: None))

    def test_refused(self) -> None:
        """What does not fit together, or cannot be written, is told in one line."""
        no_logger = "of no use with twistd's --logger; leave one of them away"
        missing = self.directory / "no" / "log"
        for arguments, twistd, line in (
            (("json", "info"), {"logger": print}, f"--log-format json: {no_logger}"),
            (("readable", "warn"), {"logger": print}, f"--log-level warn: {no_logger}"),
            (
                ("json", "info"),
                {"syslog": 1},
                "--log-format json: of no use with twistd's --syslog; leave one of them away",
            ),
            (
                ("readable", "info"),
                {"logfile": str(missing)},
                f"--logfile {missing}: No such file or directory; give twistd a file that can be written to",
            ),
        ):
            error = self.assertRaises(SystemExit, self.make, *arguments, **twistd)
            self.assertEqual(error.code, f"mles: {line}")
