"""Whether a client needs a file again, and which part of it: preconditions and ranges (RFC 9110 sections 13 and 14).

Plain functions over header values: they must not know where files are.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from twisted.web.http import stringToDatetime

__all__ = ["NOT_MODIFIED", "OK", "PRECONDITION_FAILED", "UNSATISFIABLE", "Fields", "requested_range", "status_for"]

OK: Final = 200
NOT_MODIFIED: Final = 304
PRECONDITION_FAILED: Final = 412

#: A range that asks for nothing the file has.
UNSATISFIABLE: Final = range(0)

#: Asked for the values of a header, by its name in lower case.
Fields = Callable[[bytes], Sequence[bytes]]

#: One range of bytes: from a place on, or so many at the end (RFC 9110 section 14.1.2).
_RANGE = re.compile(
    rb"bytes=[ \t]*(?:(?P<first>[0-9]{1,18})-(?P<last>[0-9]{0,18})|-(?P<suffix>[0-9]{1,18}))[ \t]*", re.IGNORECASE
)

#: An entity tag in a list (RFC 9110 section 8.8.3).
_TAG = re.compile(rb'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def status_for(fields: Fields, tag: bytes, modified: int) -> int:
    """What to answer to a GET or HEAD, in the order of RFC 9110 section 13.2.2.

    Args:
        fields: the headers of the request.
        tag: the strong entity tag of what would be sent, in its quotes.
        modified: when that was last modified, in whole seconds since 1970.

    Returns:
        `OK`, `NOT_MODIFIED` or `PRECONDITION_FAILED`.
    """
    if_match = fields(b"if-match")
    if if_match:
        if not _lists(if_match, tag, weakly=False):
            return PRECONDITION_FAILED
    else:
        unmodified_since = _date(fields(b"if-unmodified-since"))
        if unmodified_since is not None and modified > unmodified_since:
            return PRECONDITION_FAILED
    if_none_match = fields(b"if-none-match")
    if if_none_match:
        return NOT_MODIFIED if _lists(if_none_match, tag, weakly=True) else OK
    modified_since = _date(fields(b"if-modified-since"))
    return NOT_MODIFIED if modified_since is not None and modified <= modified_since else OK


def requested_range(fields: Fields, size: int, tag: bytes, modified: int) -> range | None:
    """Which part of a file is asked for.

    Args:
        fields: the headers of the request.
        size: bytes of the file.
        tag: its strong entity tag.
        modified: when it was last modified, in whole seconds since 1970.

    Returns:
        The places of the bytes; None: all of it, also when several ranges are asked for or one that makes no sense
        (RFC 9110 section 14.2 allows to ignore any); `UNSATISFIABLE`.
    """
    values = fields(b"range")
    match = _RANGE.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or not _still_the_same(fields(b"if-range"), tag, modified):
        return None
    if match["suffix"]:
        length = min(int(match["suffix"]), size)
        return range(size - length, size) if length else UNSATISFIABLE
    first = int(match["first"])
    last = int(match["last"]) if match["last"] else size - 1
    if match["last"] and last < first:
        return None
    return range(first, min(last, size - 1) + 1) if first < size else UNSATISFIABLE


def _still_the_same(values: Sequence[bytes], tag: bytes, modified: int) -> bool:
    """Whether the file is the one a client has a part of already (RFC 9110 section 13.1.5)."""
    if not values:
        return True
    if len(values) > 1:
        return False
    return values[0] == tag or _date(values) == modified


def _lists(values: Sequence[bytes], tag: bytes, *, weakly: bool) -> bool:
    """Whether a list of entity tags has one; a star stands for any."""
    text = b",".join(values)
    if text.strip() == b"*":
        return True
    tags = (match[0] for match in _TAG.finditer(text))
    return any((each.removeprefix(b"W/") if weakly else each) == tag for each in tags)


def _date(values: Sequence[bytes]) -> int | None:
    """The date of a header, in seconds since 1970; None: there is none, or it is no date."""
    if len(values) != 1:
        return None
    try:
        return int(stringToDatetime(values[0]))
    except (ValueError, LookupError, OverflowError):
        return None
