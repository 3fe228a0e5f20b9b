"""Preconditions and ranges."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.conditions import (
    NOT_MODIFIED,
    OK,
    PRECONDITION_FAILED,
    UNSATISFIABLE,
    Fields,
    requested_range,
    status_for,
)

TAG = b'"abc-7"'
MODIFIED = 1609556645  # Sat, 02 Jan 2021 03:04:05 GMT

BEFORE = b"Sat, 02 Jan 2021 03:04:04 GMT"
AT = b"Sat, 02 Jan 2021 03:04:05 GMT"
AFTER = b"Sat, 02 Jan 2021 03:04:06 GMT"

MATCH, NONE_MATCH = b"if-match", b"if-none-match"
UNMODIFIED, MODIFIED_SINCE = b"if-unmodified-since", b"if-modified-since"

#: Headers, status. The order is that of RFC 9110 section 13.2.2.
CONDITIONS: tuple[tuple[dict[bytes, bytes], int], ...] = (
    ({}, OK),
    # 1: If-Match
    ({MATCH: TAG}, OK),
    ({MATCH: b"*"}, OK),
    ({MATCH: b'"x", "abc-7"'}, OK),
    ({MATCH: b'"x"'}, PRECONDITION_FAILED),
    ({MATCH: b"abc-7"}, PRECONDITION_FAILED),
    ({MATCH: b"W/" + TAG}, PRECONDITION_FAILED),
    ({MATCH: b""}, PRECONDITION_FAILED),
    # 2: If-Unmodified-Since, only without If-Match
    ({UNMODIFIED: AT}, OK),
    ({UNMODIFIED: AFTER}, OK),
    ({UNMODIFIED: BEFORE}, PRECONDITION_FAILED),
    ({UNMODIFIED: b"soon"}, OK),
    ({MATCH: TAG, UNMODIFIED: BEFORE}, OK),
    ({MATCH: b'"x"', UNMODIFIED: AFTER}, PRECONDITION_FAILED),
    # 3: If-None-Match
    ({NONE_MATCH: TAG}, NOT_MODIFIED),
    ({NONE_MATCH: b"W/" + TAG}, NOT_MODIFIED),
    ({NONE_MATCH: b"*"}, NOT_MODIFIED),
    ({NONE_MATCH: b" * "}, NOT_MODIFIED),
    ({NONE_MATCH: b'"x","abc-7" , W/"y"'}, NOT_MODIFIED),
    ({NONE_MATCH: b'"x, \\"abc-7\\""'}, OK),
    ({NONE_MATCH: b'"a,b", "abc-7"'}, NOT_MODIFIED),
    ({NONE_MATCH: b'"x"'}, OK),
    ({NONE_MATCH: b'"abc-7-br"'}, OK),
    ({NONE_MATCH: b"abc-7"}, OK),
    ({NONE_MATCH: b'"abc-7'}, OK),
    ({NONE_MATCH: b'w/"abc-8"'}, OK),
    ({NONE_MATCH: b""}, OK),
    ({NONE_MATCH: b"\xff"}, OK),
    # 4: If-Modified-Since, only without If-None-Match
    ({MODIFIED_SINCE: AT}, NOT_MODIFIED),
    ({MODIFIED_SINCE: AFTER}, NOT_MODIFIED),
    ({MODIFIED_SINCE: BEFORE}, OK),
    ({MODIFIED_SINCE: b"yesterday"}, OK),
    ({MODIFIED_SINCE: b""}, OK),
    ({NONE_MATCH: b'"x"', MODIFIED_SINCE: AFTER}, OK),
    ({NONE_MATCH: TAG, MODIFIED_SINCE: BEFORE}, NOT_MODIFIED),
    # what stands first decides
    ({MATCH: b'"x"', NONE_MATCH: TAG}, PRECONDITION_FAILED),
    ({MATCH: TAG, NONE_MATCH: TAG}, NOT_MODIFIED),
    ({UNMODIFIED: BEFORE, MODIFIED_SINCE: AT}, PRECONDITION_FAILED),
    ({UNMODIFIED: AT, MODIFIED_SINCE: AT}, NOT_MODIFIED),
    ({UNMODIFIED: BEFORE, NONE_MATCH: TAG}, PRECONDITION_FAILED),
)

RANGE, IF_RANGE = b"range", b"if-range"

#: Headers, the part of ten bytes.
RANGES: tuple[tuple[dict[bytes, bytes], range | None], ...] = (
    ({}, None),
    ({RANGE: b"bytes=0-0"}, range(1)),
    ({RANGE: b"bytes=2-4"}, range(2, 5)),
    ({RANGE: b"Bytes=2-4"}, range(2, 5)),
    ({RANGE: b"bytes= 2-4 "}, range(2, 5)),
    ({RANGE: b"bytes=7-"}, range(7, 10)),
    ({RANGE: b"bytes=0-"}, range(10)),
    ({RANGE: b"bytes=9-9"}, range(9, 10)),
    ({RANGE: b"bytes=7-999"}, range(7, 10)),
    ({RANGE: b"bytes=7-999999999999999999"}, range(7, 10)),
    ({RANGE: b"bytes=-3"}, range(7, 10)),
    ({RANGE: b"bytes=-999"}, range(10)),
    ({RANGE: b"bytes=10-"}, UNSATISFIABLE),
    ({RANGE: b"bytes=10-12"}, UNSATISFIABLE),
    ({RANGE: b"bytes=-0"}, UNSATISFIABLE),
    ({RANGE: b"bytes=4-2"}, None),
    ({RANGE: b"bytes=12-10"}, None),
    ({RANGE: b"bytes=0-1,3-4"}, None),
    ({RANGE: b"bytes=0-" + b"9" * 100}, None),
    ({RANGE: b"bytes=-"}, None),
    ({RANGE: b"bytes="}, None),
    ({RANGE: b"bytes=1"}, None),
    ({RANGE: b"bytes=+1-2"}, None),
    ({RANGE: b"bytes=1 - 2"}, None),
    ({RANGE: b"lines=1-2"}, None),
    # If-Range: only when the file is the very same
    ({RANGE: b"bytes=2-4", IF_RANGE: TAG}, range(2, 5)),
    ({RANGE: b"bytes=2-4", IF_RANGE: AT}, range(2, 5)),
    ({RANGE: b"bytes=2-4", IF_RANGE: b"W/" + TAG}, None),
    ({RANGE: b"bytes=2-4", IF_RANGE: b'"x"'}, None),
    ({RANGE: b"bytes=2-4", IF_RANGE: b"*"}, None),
    ({RANGE: b"bytes=2-4", IF_RANGE: BEFORE}, None),
    ({RANGE: b"bytes=2-4", IF_RANGE: AFTER}, None),
    ({RANGE: b"bytes=2-4", IF_RANGE: b""}, None),
    ({RANGE: b"bytes=2-4", IF_RANGE: b'"x", "abc-7"'}, None),
    ({RANGE: b"bytes=10-", IF_RANGE: b'"x"'}, None),
    ({IF_RANGE: TAG}, None),
)


def fields(headers: dict[bytes, bytes]) -> Fields:
    """The headers of a request, each once."""
    return lambda name: [headers[name]] if name in headers else []


class StatusTests(SynchronousTestCase):
    """Whether a client needs a file again."""

    def test_table(self) -> None:
        """The preconditions decide in the order of the standard."""
        found = [(headers, status_for(fields(headers), TAG, MODIFIED)) for headers, _ in CONDITIONS]
        self.assertEqual(found, list(CONDITIONS))

    def test_headers_that_stand_twice(self) -> None:
        """Lists of tags may be cut in several headers; two dates are none."""
        self.assertEqual(status_for(lambda name: [b'"x"', TAG] if name == NONE_MATCH else [], TAG, MODIFIED), 304)
        self.assertEqual(status_for(lambda name: [AT, AT] if name == MODIFIED_SINCE else [], TAG, MODIFIED), 200)


class RangeTests(SynchronousTestCase):
    """Which part of a file is asked for."""

    def test_table(self) -> None:
        """One range of bytes is understood; anything else is ignored, and so is one of another file."""
        found = [(headers, requested_range(fields(headers), 10, TAG, MODIFIED)) for headers, _ in RANGES]
        self.assertEqual(found, list(RANGES))
        unsatisfiable = [headers for headers, part in RANGES if part == UNSATISFIABLE]
        for headers in unsatisfiable:
            self.assertIs(requested_range(fields(headers), 10, TAG, MODIFIED), UNSATISFIABLE)

    def test_nothing(self) -> None:
        """Of an empty file there is no part."""
        for value in (b"bytes=0-", b"bytes=0-0", b"bytes=-1"):
            self.assertIs(requested_range(fields({RANGE: value}), 0, TAG, MODIFIED), UNSATISFIABLE)

    def test_twice(self) -> None:
        """Two Range or If-Range headers ask for nothing that can be told."""
        for twice in (RANGE, IF_RANGE):
            headers = {RANGE: [b"bytes=2-4"], IF_RANGE: [TAG]}
            headers[twice] *= 2
            self.assertIsNone(requested_range(lambda name, headers=headers: headers[name], 10, TAG, MODIFIED))  # type: ignore[misc]
