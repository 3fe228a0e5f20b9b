"""What a chat shows: a line for each message, with its time, its name in a colour of its own, and nothing raw.

It must not know a terminal: a shown line is a list of pieces with the name of a style.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from mles_tx.client.interfaces import State, Status
from mles_tx.protocol.auth import digest

from .terminal import neutral, one_row

if TYPE_CHECKING:
    from mles_tx.client.lines import Line

__all__ = ["NAME_STYLES", "Piece", "Shown", "plain", "shown_line", "shown_note", "status_note"]

#: Styles of names, by colours of the terminal that can be read on black and on white.
NAME_STYLES = ("ansired", "ansigreen", "ansiblue", "ansimagenta", "ansicyan", "ansibrightred", "ansibrightblue")

#: A piece of text and the name of its style; empty: none.
Piece = tuple[str, str]

#: What stands before each further line of a message.
_INDENT = "      "


@dataclass(frozen=True, slots=True)
class Shown:
    """A message on the screen.

    Attributes:
        pieces: style and text, one after the other; line ends stand in the texts.
    """

    pieces: tuple[Piece, ...]


def plain(shown: Shown) -> str:
    """The text of a shown message."""
    return "".join(text for _, text in shown.pieces)


def name_style(uid: str) -> str:
    """The style of a name: always the same."""
    return NAME_STYLES[digest(uid.encode("utf-8", "replace")) % len(NAME_STYLES)]


def shown_line(
    line: "Line", me: str, now: Callable[[], datetime], zone: tzinfo | None = None, *, has_secret: bool = False
) -> Shown:
    """A message as it is shown.

    Args:
        line: the message.
        me: the uid of who sits here.
        now: the time of one that does not say its own.
        zone: where the clock on the wall is; None: the system's.
        has_secret: whether what is said here is to be encrypted: then what is not, is marked.
    """
    from mles_tx.client.lines import Kind

    time = ("time", _clock(line.time, now, zone) + " ")
    uid = None if line.uid is None else one_row(line.uid)
    if line.kind is Kind.JOINED:
        return Shown((time, ("note", f"{uid} joined")))
    if line.kind is Kind.FILE:
        return Shown((time, ("note", f"{uid} sends {one_row(line.text)}")))
    if line.kind is not Kind.SAID:
        return Shown((time, ("note", f"({line.text})")))
    clear: tuple[Piece, ...] = (("note", "(not encrypted) "),) if has_secret and not line.is_sealed else ()
    text = neutral(line.text).replace("\n", f"\n{_INDENT}")
    if uid is None:
        return Shown((time, *clear, ("", text)))
    style = "me" if line.uid == me else name_style(uid)
    return Shown((time, *clear, (style, f"{uid}: "), ("", text)))


def _clock(time: datetime | None, now: Callable[[], datetime], zone: tzinfo | None) -> str:
    today = now().astimezone(zone)
    shown = today if time is None else time.astimezone(zone)
    return shown.strftime("%H:%M" if shown.date() == today.date() else "%Y-%m-%d %H:%M")


def shown_note(text: str) -> Shown:
    """A word of the chat itself."""
    return Shown((("note", f"* {one_row(text)}"),))


def status_note(status: Status, server: str, before: State) -> str | None:
    """What is said about a change; None: nothing.

    Args:
        status: how it stands.
        server: the server, for people.
        before: how it stood.
    """
    if status.state is State.WAITING:
        return f"{status.why}; trying again in {max(1, round(status.seconds))} s"
    if status.state is State.JOINING and before is State.CONNECTING:
        return f"connected to {server}"
    return None
