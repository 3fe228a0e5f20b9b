"""The first frame of a connection: bytes in, `Header` or `ProtocolViolation` out.

Every limit that a client can run into is named in this module.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from .closing import CloseReason, ProtocolViolation

__all__ = [
    "HEADER_SECONDS",
    "MAX_DEPTH",
    "MAX_FRAGMENTS",
    "MAX_HEADER_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_RESYNC",
    "MAX_SINCE",
    "Header",
    "make_header",
    "parse_header",
]

#: Bytes of payload in the first frame. Real ones have about 100; 16 KiB is what web servers allow a request head.
MAX_HEADER_BYTES = 16 * 1024

#: Bytes of payload in any later message, as in the reference server.
MAX_MESSAGE_BYTES = 1024 * 1024

#: Fragments of one message: the largest message in pieces of 64 bytes. Without a bound, empty fragments never end.
MAX_FRAGMENTS = MAX_MESSAGE_BYTES // 64

#: Seconds from the upgrade to the first frame, as in the reference server.
HEADER_SECONDS = 30.0

#: Levels of nesting in the first frame. It has one; what others put into keys of their own has a few.
MAX_DEPTH = 64

#: Digests in `since`: enough to find a place among repeated payloads, few enough to compare quickly.
MAX_SINCE = 8

#: Messages of a history that a client may announce: as many as a channel can be told to remember.
MAX_RESYNC = 999_999

#: Keys that are ours or secret: they are not replayed to others.
_NOT_REPLAYED = frozenset(("auth", "history", "since", "receive", "resync"))

#: Printable ASCII: what cannot break a log line, a terminal or a header.
_NAME = re.compile(r"[\x20-\x7e]+")

_DIGEST = re.compile(r"[0-9a-fA-F]{16}", re.ASCII)

#: What clients nearly always send: two names in which nothing is escaped, and perhaps an auth value.
_USUAL = re.compile(rb'\{"uid":"([ !#-\[\]-~]+)","channel":"([ !#-\[\]-~]+)"(?:,"auth":"([ !#-\[\]-~]*)")?\}')


@dataclass(frozen=True, slots=True)
class Header:
    """A first frame that obeys the rules.

    Attributes:
        uid: who joins; printable ASCII, not empty.
        channel: where; printable ASCII, not empty.
        auth: the auth value as it was sent, not yet checked, or None.
        history: replay at most that many messages; None: all there are.
        since: digests of the last frames the client has, oldest first; empty: none were given.
        receive: False for a member that only publishes.
        resync: that many of the next messages are history the client holds.
        replay: the payload later joiners get to see: the frame as it came, or without the keys
            that are not for them.
    """

    uid: str
    channel: str
    auth: str | None
    history: int | None
    since: tuple[int, ...]
    receive: bool
    resync: int
    replay: bytes


def parse_header(payload: bytes, is_binary: bool) -> Header:
    """Read a first frame.

    Args:
        payload: the message's payload, unmasked.
        is_binary: whether it came as a binary message.

    Raises:
        ProtocolViolation: with the first rule that it breaks.
    """
    if is_binary:
        raise ProtocolViolation(CloseReason.HEADER_NOT_TEXT)
    if len(payload) > MAX_HEADER_BYTES:
        raise ProtocolViolation(CloseReason.HEADER_TOO_LARGE)
    return _usual_header(payload) or _any_header(payload)


def _usual_header(payload: bytes) -> Header | None:
    """The header when it is a usual one: a tenth of the time it takes to find out what JSON can say besides."""
    match = _USUAL.fullmatch(payload)
    if match is None:
        return None
    uid, channel, auth = match.groups()
    if auth is None:
        return Header(uid.decode("ascii"), channel.decode("ascii"), None, None, (), True, 0, payload)
    replay = payload[: match.end(2) + 1] + b"}"
    return Header(uid.decode("ascii"), channel.decode("ascii"), auth.decode("ascii"), None, (), True, 0, replay)


def _any_header(payload: bytes) -> Header:
    fields = _json_object(payload)
    return Header(
        uid=_name(fields.get("uid"), CloseReason.HEADER_UID),
        channel=_name(fields.get("channel"), CloseReason.HEADER_CHANNEL),
        auth=_auth(fields.get("auth")),
        history=_history(fields.get("history")),
        since=_since(fields.get("since")),
        receive=_receive(fields.get("receive")),
        resync=_resync(fields.get("resync")),
        replay=_replay(payload, fields),
    )


def make_header(uid: str, channel: str, history: int | None = None) -> Header:
    """The header of a member that is part of this program.

    Raises:
        ValueError: a client could not send it.
    """
    fields = {"uid": uid, "channel": channel}
    payload = json.dumps(fields, separators=(",", ":")).encode("utf-8")
    try:
        header = parse_header(payload, is_binary=False)
        return replace(header, history=_history(history))
    except ProtocolViolation as violation:
        raise ValueError(violation.reason.text) from None


def _json_object(payload: bytes) -> dict[str, Any]:
    """Parse strictly (RFC 8259): no duplicate keys, no NaN or infinity, no lone surrogates, no deep nesting."""
    try:
        value = _DECODER.decode(payload.decode("utf-8"))
        _check_depth(value)
        # Writing it out again finds what loads lets through: 1e999 became infinity, "\ud800" a lone surrogate.
        _ENCODER.encode(value).encode("utf-8")
    except (ValueError, RecursionError):
        raise ProtocolViolation(CloseReason.HEADER_NOT_JSON) from None
    if not isinstance(value, dict):
        raise ProtocolViolation(CloseReason.HEADER_NOT_JSON)
    return value


_CONTAINERS = (dict, list)


def _check_depth(value: Any) -> None:
    # Where Python itself gives up depends on its version: between 1,000 levels and all that 16 KiB can hold.
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, _CONTAINERS)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError("nested too deeply")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ProtocolViolation(CloseReason.HEADER_DUPLICATE_KEY)
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)


def _name(value: object, reason: CloseReason) -> str:
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise ProtocolViolation(reason)
    return value


def _auth(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ProtocolViolation(CloseReason.HEADER_AUTH)
    return value


def _history(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise ProtocolViolation(CloseReason.HEADER_HISTORY)
    return value


def _since(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_SINCE:
        raise ProtocolViolation(CloseReason.HEADER_SINCE)
    if not all(isinstance(item, str) and _DIGEST.fullmatch(item) for item in value):
        raise ProtocolViolation(CloseReason.HEADER_SINCE)
    return tuple(int(item, 16) for item in value)


def _receive(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, bool):
        raise ProtocolViolation(CloseReason.HEADER_RECEIVE)
    return value


def _resync(value: object) -> int:
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= MAX_RESYNC:
        raise ProtocolViolation(CloseReason.HEADER_RESYNC)
    return value


def _replay(payload: bytes, fields: dict[str, Any]) -> bytes:
    if _NOT_REPLAYED.isdisjoint(fields):
        return payload
    public = {key: value for key, value in fields.items() if key not in _NOT_REPLAYED}
    return json.dumps(public, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
