"""Tests of the frames the server sends, octet by octet."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import (
    PING,
    close_frame,
    encode_close,
    encode_message,
    encode_pong,
    is_binary,
    payload_of,
    split,
)

#: Length of the payload, and what follows the first octet (RFC 6455 section 5.2).
_LENGTHS = (
    (0, "00"),
    (1, "01"),
    (125, "7d"),
    (126, "7e007e"),
    (127, "7e007f"),
    (65535, "7effff"),
    (65536, "7f0000000000010000"),
    (1048576, "7f0000000000100000"),
)


class MessageTests(SynchronousTestCase):
    """What one member says reaches the others as one whole frame."""

    def test_lengths(self) -> None:
        """A message of any length has the shortest header there is, the mask bit off, the payload unchanged."""
        for length, header in _LENGTHS:
            for binary, first in ((False, "81"), (True, "82")):
                payload = b"\xc5" * length
                frame = encode_message(payload, binary)
                self.assertEqual(frame[: len(frame) - length].hex(), first + header, f"{length=} {binary=}")
                self.assertTrue(frame.endswith(payload), f"{length=} {binary=}")

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(payload=st.one_of(st.binary(max_size=300), st.integers(65500, 65570).map(bytes)), binary=st.booleans())
    def test_what_goes_in_comes_out(self, payload: bytes, binary: bool) -> None:
        """The payload and its type can be read from a frame again, whatever they are."""
        frame = encode_message(payload, binary)
        self.assertEqual(payload_of(frame), payload)
        self.assertIs(is_binary(frame), binary)


class CloseTests(SynchronousTestCase):
    """A peer is told why the connection ends."""

    def test_octets(self) -> None:
        """A close frame is empty, or has a code and a text."""
        table: tuple[tuple[int | None, bytes, bytes], ...] = (
            (None, b"", b"\x88\x00"),
            (1000, b"", b"\x88\x02\x03\xe8"),
            (4999, b"no", b"\x88\x04\x13\x87no"),
            (1000, "ä".encode(), b"\x88\x04\x03\xe8\xc3\xa4"),
            (1001, b"x" * 123, b"\x88\x7d\x03\xe9" + b"x" * 123),
        )
        for code, text, expected in table:
            self.assertEqual(encode_close(code, text), expected, f"{code=} length={len(text)!r}")

    def test_too_long(self) -> None:
        """A text of 124 bytes is refused: a control frame holds 125 bytes with its code."""
        self.assertRaises(ValueError, encode_close, 1000, b"x" * 124)

    def test_every_reason(self) -> None:
        """Each reason makes a whole close frame with its code and its text."""
        for reason in CloseReason:
            frame = close_frame(reason)
            self.assertEqual(frame[0], 0x88, reason.label)
            self.assertEqual(frame[1], len(frame) - 2, reason.label)
            self.assertLessEqual(frame[1], 125, reason.label)
            self.assertEqual(int.from_bytes(frame[2:4], "big"), reason.code, reason.label)
            self.assertEqual(frame[4:].decode("ascii"), reason.text, reason.label)


class PingTests(SynchronousTestCase):
    """Signs of life."""

    def test_ping(self) -> None:
        """Our ping is the two octets of an empty ping."""
        self.assertEqual(PING, b"\x89\x00")

    def test_pong(self) -> None:
        """A ping is answered with its own payload, up to the 125 bytes it can have."""
        for payload in (b"", b"\x00", b"ping", b"\xff" * 125):
            self.assertEqual(encode_pong(payload), bytes((0x8A, len(payload))) + payload, f"length={len(payload)!r}")

    def test_pong_too_long(self) -> None:
        """A pong of 126 bytes does not exist."""
        self.assertRaises(ValueError, encode_pong, b"x" * 126)


class SplitTests(SynchronousTestCase):
    """A stream of frames is taken apart again."""

    def test_frames_of_any_length(self) -> None:
        """Frames of all kinds and lengths that come in one piece come apart whole, in order, and nothing is left."""
        frames = [encode_message(b"\xc5" * length, binary) for length, _ in _LENGTHS for binary in (False, True)]
        frames += [PING, encode_pong(b"x"), encode_close(1000, b"bye"), encode_close(None)]
        self.assertEqual(split(b"".join(frames)), (frames, b""))

    def test_rest(self) -> None:
        """Wherever a stream is cut, the frames that are whole come out and the beginning of the next is kept."""
        frames = [encode_message(b"a", False), encode_message(b"b" * 200, True), encode_message(b"c" * 70000, False)]
        data = b"".join(frames)
        ends = [0, *(len(b"".join(frames[: count + 1])) for count in range(len(frames)))]
        for cut in (*range(220), *range(len(data) - 3, len(data) + 1)):
            whole = sum(cut >= end for end in ends[1:])
            self.assertEqual(split(data[:cut]), (frames[:whole], data[ends[whole] : cut]), f"{cut=}")

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        payloads=st.lists(st.binary(max_size=300), max_size=6),
        cuts=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    )
    def test_pieces(self, payloads: list[bytes], cuts: list[int]) -> None:
        """However a stream comes in pieces, the same frames come out of it."""
        frames = [encode_message(payload, True) for payload in payloads]
        data = b"".join(frames)
        found: list[bytes] = []
        rest = b""
        for cut in [*cuts, len(data)]:
            piece, data = data[:cut], data[cut:]
            whole, rest = split(rest + piece)
            found += whole
        self.assertEqual((found, rest), (frames, b""))
