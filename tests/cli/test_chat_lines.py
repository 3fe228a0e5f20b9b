"""What a chat shows."""

from datetime import UTC, datetime, timedelta, timezone

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.chat_lines import NAME_STYLES, name_style, plain, shown_line, shown_note, status_note
from mles_tx.client.interfaces import State, Status
from mles_tx.client.lines import Kind, Line

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)

#: Lines, and how they are shown.
SHOWN = (
    (Line(Kind.SAID, "hello", "bob", NOW), "12:30 bob: hello"),
    (Line(Kind.SAID, "hello", "bob"), "12:30 bob: hello"),
    (Line(Kind.SAID, "hello", "bob", NOW - timedelta(days=1)), "2026-11-21 12:30 bob: hello"),
    (Line(Kind.SAID, "plain"), "12:30 plain"),
    (Line(Kind.SAID, "one\ntwo", "bob"), "12:30 bob: one\n      two"),
    (Line(Kind.SAID, "\x1b[2J", "b\nob\x1b"), "12:30 b\N{SYMBOL FOR NEWLINE}ob\ufffd: \ufffd[2J"),
    (Line(Kind.JOINED, "", "b\nob"), "12:30 b\N{SYMBOL FOR NEWLINE}ob joined"),
    (Line(Kind.FILE, "a\x1b.png, 3 bytes", "bob"), "12:30 bob sends a\ufffd.png, 3 bytes"),
    (Line(Kind.BINARY, "3 bytes of binary data"), "12:30 (3 bytes of binary data)"),
)


class ShownTests(SynchronousTestCase):
    """Lines on the screen."""

    def test_lines(self) -> None:
        """A line has a time and a name; nothing in it moves the cursor or looks like another line."""
        for line, text in SHOWN:
            self.assertEqual((line, plain(shown_line(line, "me", lambda: NOW, UTC))), (line, text))

    def test_not_encrypted(self) -> None:
        """Where there is a secret, what was said without it is marked."""
        clear, sealed = Line(Kind.SAID, "x", "bob", NOW), Line(Kind.SAID, "x", "bob", NOW, True)
        self.assertEqual(
            [plain(shown_line(line, "me", lambda: NOW, UTC, has_secret=True)) for line in (clear, sealed)],
            ["12:30 (not encrypted) bob: x", "12:30 bob: x"],
        )

    def test_zone(self) -> None:
        """Times are those of the clock on the wall."""
        zone = timezone(timedelta(hours=13))
        self.assertEqual(plain(shown_line(Line(Kind.SAID, "x", time=NOW), "me", lambda: NOW, zone)), "01:30 x")

    def test_colours(self) -> None:
        """A name has its colour, always the same, and one's own is told apart."""
        self.assertEqual(name_style("bob"), name_style("bob"))
        self.assertEqual({name_style(str(number)) for number in range(100)}, set(NAME_STYLES))
        styles = [style for style, _ in shown_line(Line(Kind.SAID, "x", "me"), "me", lambda: NOW, UTC).pieces]
        self.assertEqual(styles, ["time", "me", ""])

    def test_notes(self) -> None:
        """What a server says cannot look like a message."""
        self.assertEqual(plain(shown_note("a\nb\x1b")), "* a\N{SYMBOL FOR NEWLINE}b\ufffd")

    def test_status(self) -> None:
        """Breaks and their ends are told, and how long the next attempt takes."""
        waiting = Status(State.WAITING, "the connection was lost", 0.4)
        self.assertEqual(status_note(waiting, "s", State.LIVE), "the connection was lost; trying again in 1 s")
        self.assertEqual(status_note(Status(State.JOINING), "s", State.CONNECTING), "connected to s")
        for state in (State.CONNECTING, State.LIVE, State.CLOSED):
            self.assertIsNone(status_note(Status(state), "s", State.JOINING))
