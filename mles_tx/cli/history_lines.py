"""The messages of a history as lines: for people, and as JSON for `mles-tx history export` and `import`.

An exported line is one object: `channel`, `n` (microseconds since 1970; unique and growing in a file), `uid`, and
`text`, or `data` in base64 for a binary message; `join` is true for a join frame.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from mles_tx.channels.history import Message
from mles_tx.protocol.frames import encode_message, is_binary, payload_of
from mles_tx.protocol.header import MAX_MESSAGE_BYTES, make_header
from mles_tx.stores.schema import ChannelRow

__all__ = ["BadLine", "channel_table", "exported", "imported", "shown"]

_FIELDS = ({"channel", "n", "uid", "text"}, {"channel", "n", "uid", "data"})


class BadLine(ValueError):
    """A line that is no exported message; the text says why."""


def moment(n: int) -> str:
    """When a message was taken: its number as a time."""
    return datetime.fromtimestamp(n / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def channel_table(rows: Sequence[ChannelRow]) -> list[str]:
    """Channels for people: messages, bytes, when something was last said, name."""
    lines = [f"{'messages':>10} {'bytes':>12}  {'last said':20}  channel"]
    return lines + [f"{row.messages:10} {row.bytes:12}  {moment(row.last):20}  {row.name}" for row in rows]


def shown(n: int, message: Message) -> str:
    """A message for people: nothing in it can do something to a terminal."""
    payload = payload_of(message.frame)
    if message.is_join:
        what = "joined"
    elif is_binary(message.frame):
        what = f"({len(payload)} bytes)"
    else:
        text = payload.decode("utf-8", "replace")
        what = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return f"{moment(n)}  {message.uid or '(from a peer)'}: {what}"


def exported(channel: str, n: int, message: Message) -> str:
    """A message as a line of JSON."""
    fields: dict[str, object] = {"channel": channel, "n": n, "uid": message.uid}
    payload = payload_of(message.frame)
    if is_binary(message.frame):
        fields["data"] = base64.b64encode(payload).decode("ascii")
    else:
        fields["text"] = payload.decode("utf-8")
    if message.is_join:
        fields["join"] = True
    return json.dumps(fields, separators=(",", ":"))


def imported(line: str, newest: int) -> tuple[str, int, Message]:
    """The channel, the number and the message of a line.

    Args:
        line: what `exported` has made.
        newest: the highest number a message can have: that of the present.

    Raises:
        BadLine: it is something else.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine("not JSON") from None
    if not isinstance(fields, dict):
        raise BadLine("not an object")
    join = fields.pop("join", False)
    if set(fields) not in _FIELDS or not isinstance(join, bool):
        raise BadLine("not the fields channel, n, uid and text or data, perhaps join")
    channel, n, uid = fields["channel"], fields["n"], fields["uid"]
    try:
        # Nobody's are the messages of a history that a peer held.
        make_header("nobody" if uid == "" and not join else uid, channel)
    except (ValueError, TypeError):
        raise BadLine("channel or uid is not what a client could send") from None
    if type(n) is not int or not 0 < n <= newest:
        raise BadLine("n is no time of the past in microseconds")
    payload = _payload(fields)
    if len(payload) > MAX_MESSAGE_BYTES:
        raise BadLine(f"a message has at most {MAX_MESSAGE_BYTES} bytes")
    return channel, n, Message(encode_message(payload, "data" in fields), uid, 0, join)


def _payload(fields: dict[str, object]) -> bytes:
    text, data = fields.get("text"), fields.get("data")
    try:
        if isinstance(text, str):
            return text.encode("utf-8")
        if isinstance(data, str):
            return base64.b64decode(data, validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        pass
    raise BadLine("text is no text, or data no base64")
