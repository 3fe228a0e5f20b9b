"""Tests of frames: those the server sends, octet by octet, and those of clients that the fast lane takes."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import (
    MAX_RUN_PAYLOAD_BYTES,
    PING,
    client_close_frame,
    close_frame,
    decode_run,
    encode_close,
    encode_message,
    encode_pong,
    is_binary,
    is_message,
    lone_control,
    payload_of,
    split,
)
from tests import examples
from tests.streams import raw_frame, streams

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
        self.assertTrue(is_message(frame))
        self.assertFalse(is_message(frame[:-1]) or is_message(frame + b"x"))
        self.assertIs(is_binary(frame), binary)


class NoMessageTests(SynchronousTestCase):
    """What is no message is not taken for one."""

    def test_others(self) -> None:
        """Control frames, fragments, masked frames, and what is too short to say what it is."""
        for frame in (
            b"",
            b"\x81",
            PING,
            encode_close(1000),
            b"\x01\x01x",
            b"\x80\0",
            b"\x81\x85" + bytes(133),
            b"\x82~\0",
        ):
            self.assertFalse(is_message(frame), frame)


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
            masked = client_close_frame(reason)
            self.assertEqual(masked, frame[:1] + bytes((frame[1] | 0x80,)) + bytes(4) + frame[2:], reason.label)


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


class LoneControlTests(SynchronousTestCase):
    """A ping or pong that comes alone."""

    def test_lengths(self) -> None:
        """It comes out with its payload, whatever the length and the key."""
        for key in (bytes(4), b"\x37\xfa\x21\x3d", b"\xff" * 4):
            for size in range(126):
                payload = bytes(range(100, 100 + size))
                for opcode in (9, 10):
                    self.assertEqual(lone_control(raw_frame(0x80 | opcode, payload, key=key)), (opcode == 9, payload))

    def test_left_alone(self) -> None:
        """Nothing else does: part of one, two, one with flags, without a key, too long, other frames."""
        ping = raw_frame(0x89, b"ping")
        for data in (
            *(ping[:size] for size in range(1, len(ping))),
            *(ping + b"\x89", ping + ping, b"\x81" + ping),
            *(raw_frame(first, b"ping") for first in (0x09, 0x0A, 0xC9, 0xA9, 0x99, 0x88, 0x8B, 0x81, 0x82, 0x80)),
            raw_frame(0x89, b"ping", key=None),
            raw_frame(0x89, b"x" * 126),
            raw_frame(0x89, b"ping", octets=2),
            raw_frame(0x89, b"ping", size=3),
            raw_frame(0x89, b"ping", size=5),
        ):
            self.assertIsNone(lone_control(data), data)


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


def _reference_run(data: bytes) -> tuple[list[bytes], int]:
    """What `decode_run` has to give, read off RFC 6455 section 5.2 octet by octet."""
    frames: list[bytes] = []
    taken = 0
    while True:
        rest = data[taken:]
        if len(rest) < 2:
            break
        is_final, reserved, opcode = rest[0] >> 7 == 1, rest[0] >> 4 & 7, rest[0] & 15
        is_masked, size, at = rest[1] >> 7 == 1, rest[1] & 127, 2
        if not is_final or reserved or opcode not in (1, 2) or not is_masked or size == 127:
            break
        if size == 126:
            size, at = int.from_bytes(rest[2:4], "big"), 4
            if size < 126:
                break
        if size > 4096 or len(rest) < at + 4 + size:
            break
        key, masked = rest[at : at + 4], rest[at + 4 : at + 4 + size]
        payload = bytes(octet ^ key[index % 4] for index, octet in enumerate(masked))
        if opcode == 1 and payload.decode("utf-8", "ignore").encode() != payload:
            break
        frames.append(encode_message(payload, opcode == 2))
        taken += at + 4 + size
    return frames, taken


class RunTests(SynchronousTestCase):
    """The usual frames of clients are decoded in one go, and no others."""

    def test_lengths(self) -> None:
        """Messages of up to 4,096 bytes come out whole, text and binary, whatever their length does to the mask."""
        self.assertEqual(MAX_RUN_PAYLOAD_BYTES, 4096)
        key = b"\x01\x80\xff\x7e"
        for length in (*range(140), 255, 256, 257, 4093, 4094, 4095, 4096):
            for first in (0x81, 0x82):
                payload = bytes(octet % 128 for octet in range(length))
                data = raw_frame(first, payload, key=key)
                self.assertEqual(decode_run(data), ([encode_message(payload, first == 0x82)], len(data)), f"{length=}")

    def test_runs(self) -> None:
        """Messages that come in one piece come out in order, each with its own key, and what follows them is left."""
        messages = [(0x81, "grüße".encode()), (0x82, b"\xff" * 200), (0x81, b""), (0x82, b""), (0x81, b"x" * 126)]
        run = b"".join(
            raw_frame(first, payload, key=bytes((n, 2, 3, 4))) for n, (first, payload) in enumerate(messages)
        )
        frames = [encode_message(payload, first == 0x82) for first, payload in messages]
        for rest in (b"", b"\x82", raw_frame(0x89, b"ping"), raw_frame(0x82, b"cut off")[:-1]):
            self.assertEqual(decode_run(run + rest), (frames, len(run)), f"{rest=}")

    def test_cut(self) -> None:
        """Of a message that is not whole nothing is taken."""
        for payload in (b"", b"x", b"x" * 125, b"x" * 126, b"x" * 4096):
            data = raw_frame(0x82, payload)
            for end in {*range(min(len(data), 12)), len(data) - 2, len(data) - 1}:
                self.assertEqual(decode_run(data[:end]), ([], 0), f"{len(payload)=} {end=}")

    def test_left_alone(self) -> None:
        """Whatever is not usual, or breaks a rule, is left where it stands, after what came before it was taken."""
        table = {
            "a fragment": raw_frame(0x01, b"x"),
            "a continuation": raw_frame(0x80, b"x"),
            "a close frame": raw_frame(0x88),
            "a ping": raw_frame(0x89, b"x"),
            "a pong": raw_frame(0x8A, b"x"),
            "a reserved opcode": raw_frame(0x83, b"x"),
            "the compression bit": raw_frame(0xC1, b"x"),
            "another reserved bit": raw_frame(0x92, b"x"),
            "no mask": raw_frame(0x82, b"x" * 10, key=None),
            "no mask, longer": raw_frame(0x82, b"x" * 126, key=None),
            "4,097 bytes": raw_frame(0x82, b"x" * 4097),
            "65,535 bytes": raw_frame(0x82, b"x" * 65535),
            "65,536 bytes": raw_frame(0x82, b"x" * 65536),
            "125 bytes in two octets": raw_frame(0x82, b"x" * 125, octets=2),
            "no bytes in two octets": raw_frame(0x82, octets=2),
            "126 bytes in eight octets": raw_frame(0x82, b"x" * 126, octets=8),
            "an octet that is never in UTF-8": raw_frame(0x81, b"x\xff"),
            "half a character": raw_frame(0x81, b"x\xc3"),
            "half a character, longer": raw_frame(0x81, b"x" * 130 + b"\xe2\x82"),
            "a surrogate": raw_frame(0x81, b"\xed\xa0\x80"),
            "an overlong form": raw_frame(0x81, b"\xc0\xaf"),
            "behind the last code point": raw_frame(0x81, b"\xf4\x90\x80\x80"),
        }
        before = raw_frame(0x81, b"before")
        behind = raw_frame(0x82, b"behind")
        for name, frame in table.items():
            found = decode_run(before + frame + behind)
            self.assertEqual(found, ([encode_message(b"before", False)], len(before)), name)

    def test_binary_may_be_anything(self) -> None:
        """What would not do as text goes through as binary."""
        data = raw_frame(0x82, b"\xed\xa0\x80\xff")
        self.assertEqual(decode_run(data), ([encode_message(b"\xed\xa0\x80\xff", True)], len(data)))

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(400))
    @given(data=streams(), start=st.integers(0, 3))
    def test_like_the_rules(self, data: bytes, start: int) -> None:
        """Whatever stands there, exactly what the rules make of it comes out: no byte more, no message less."""
        data = data[start:]
        frames, size = decode_run(data)
        self.assertEqual((frames, size), _reference_run(data))
        again = b"".join(raw_frame(frame[0], payload_of(frame), key=b"\x9a\0\xff\x21") for frame in frames)
        self.assertEqual((decode_run(again), len(again)), ((frames, len(again)), size))

    @settings(deadline=None, database=None, max_examples=examples(200))
    @given(data=st.binary(max_size=60), size=st.integers(0, 60))
    def test_noise(self, data: bytes, size: int) -> None:
        """Noise behind the beginning of a message is taken apart by the rules as well."""
        data = bytes((0x81 + size % 2, 0x80 | size)) + data
        self.assertEqual(decode_run(data), _reference_run(data))
