"""What a chat says in a frame: in the clear as the bundled page does, sealed as mles-client does.

A file of the page is a binary frame with a line of JSON before its bytes; it is named, not opened.

In the clear a line is a text frame, ``{"text": …, "uid": …, "time": …}``. Sealed it is a binary frame with plaintext
``2026-11-22T12:00:00Z UID: TEXT``. Somebody's first frame, or a sealed object with a `uid`, says that he has joined.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from .e2e import Cipher, WrongSecret
from .interfaces import Message

__all__ = ["Kind", "Line", "clear_line", "read", "sealed_join", "sealed_line"]

#: A sealed line. A uid with a colon and a space in it cannot be told from the beginning of a text.
_SEALED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z) (.{1,4096}?): (.*)", re.DOTALL)

#: Bytes in which the head of a file's frame ends, and letters of its name that are told.
_MAX_FILE_HEAD = 4096
_MAX_FILE_NAME = 200


class Kind(Enum):
    """What a line is."""

    SAID = auto()  #: somebody says something
    JOINED = auto()  #: somebody has joined
    FILE = auto()  #: somebody sends a file, or a part of one
    BINARY = auto()  #: bytes that are no text
    SEALED = auto()  #: sealed with another secret, or with one where there is none here


@dataclass(frozen=True, slots=True)
class Line:
    """What a frame says.

    Attributes:
        kind: what it is.
        text: what was said; of a file its name, of binary data how much there is.
        uid: who; None: the frame does not say.
        time: when, in UTC; None: it does not say.
        is_sealed: whether it was encrypted with the shared secret.
    """

    kind: Kind
    text: str
    uid: str | None = None
    time: datetime | None = None
    is_sealed: bool = False


def clear_line(uid: str, text: str, now: datetime) -> str:
    """The text frame for a line in the clear."""
    time = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"text": text, "uid": uid, "time": time}, ensure_ascii=False, separators=(",", ":"))


def sealed_line(cipher: Cipher, uid: str, text: str, now: datetime) -> bytes:
    """The binary frame for a sealed line."""
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return cipher.seal(f"{time} {uid}: {text}".encode())


def sealed_join(cipher: Cipher, uid: str, channel: str) -> bytes:
    """The binary frame that says that somebody has joined."""
    return cipher.seal(json.dumps({"uid": uid, "channel": channel}, separators=(",", ":")).encode())


def read(message: Message, channel: str, cipher: Cipher | None) -> Line:
    """What a frame says.

    Args:
        message: the frame.
        channel: where it was said.
        cipher: what sealed frames are opened with; None: none are.
    """
    if not message.is_binary:
        return _read_clear(message.text or "", channel)
    if cipher is None:
        return _binary(message.payload)
    try:
        plaintext = cipher.open(message.payload)
    except WrongSecret:
        return Line(Kind.SEALED, f"{len(message.payload)} bytes sealed with another secret")
    return _read_sealed(plaintext)


def _binary(payload: bytes, is_sealed: bool = False) -> Line:
    head, newline, _ = payload[:_MAX_FILE_HEAD].partition(b"\n")
    fields = _object(head.decode("utf-8", "replace")) if newline else {}
    name, uid, part, parts = fields.get("file"), fields.get("uid"), fields.get("part"), fields.get("parts")
    if isinstance(name, str) and isinstance(uid, str):
        size = f"{len(payload) - len(head) - 1} bytes"
        if isinstance(part, int) and isinstance(parts, int) and parts > 1:
            size = f"part {part + 1} of {parts}"
        return Line(Kind.FILE, f"{name[:_MAX_FILE_NAME]}, {size}", uid, _time(fields.get("time")), is_sealed)
    size = f"{len(payload)} {'byte' if len(payload) == 1 else 'bytes'}"
    return Line(Kind.BINARY, f"{size} of binary data", is_sealed=is_sealed)


def _read_clear(text: str, channel: str) -> Line:
    fields = _object(text)
    uid, said, time = fields.get("uid"), fields.get("text"), fields.get("time")
    if isinstance(uid, str) and isinstance(said, str):
        return Line(Kind.SAID, said, uid, _time(time))
    if isinstance(uid, str) and fields.get("channel") == channel:
        return Line(Kind.JOINED, "", uid)
    return Line(Kind.SAID, text)


def _read_sealed(plaintext: bytes) -> Line:
    try:
        text = plaintext.decode("utf-8")
    except UnicodeDecodeError:
        return _binary(plaintext, is_sealed=True)
    if text.startswith('{"file"'):  # a file that is a text itself
        return _binary(plaintext, is_sealed=True)
    uid = _object(text).get("uid")
    if isinstance(uid, str):
        return Line(Kind.JOINED, "", uid, is_sealed=True)
    match = _SEALED.fullmatch(text)
    if match is None:
        return Line(Kind.SAID, text, is_sealed=True)
    return Line(Kind.SAID, match[3], match[2], _time(match[1]), is_sealed=True)


def _object(text: str) -> dict[str, Any]:
    if not text.startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _time(value: object) -> datetime | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
