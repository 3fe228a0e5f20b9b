"""What clients send, made up: streams of frames, mostly good ones, with everything in them that can be wrong.

The frames are written here octet by octet, so that they can break every rule there is.
"""

from collections.abc import Callable

from hypothesis import strategies as st

__all__ = ["cut", "cuts", "raw_frame", "streams"]

_SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 124, 125, 126, 127, 128, 255, 256, 4095, 4096, 4097)
_LARGE_SIZES = (65_535, 65_536, 70_000)

#: Not UTF-8: cut off, without a beginning, overlong, surrogates, behind the last code point, octets that never occur.
_BAD_TEXTS = (
    *(b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"\xbf"),
    *(b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\x80", b"\xf0\x80\x80\x80"),
    *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff"),
)


def raw_frame(
    first: int,
    payload: bytes = b"",
    *,
    key: bytes | None = b"\x37\xfa\x21\x3d",
    octets: int = 0,
    size: int | None = None,
) -> bytes:
    """A frame, right or wrong.

    Args:
        first: the octet with the flags and the opcode.
        payload: as it is before masking.
        key: the masking key; None: it is not masked.
        octets: in which the length is written: 1, 2 or 8; 0: as many as have to be.
        size: what the frame says its length is, when that is not true.
    """
    size = len(payload) if size is None else size
    flag = 0 if key is None else 0x80
    octets = octets or (1 if size < 126 else 2 if size < 65536 else 8)
    if octets == 1:
        head = bytes((first, flag | size))
    else:
        head = bytes((first, flag | (126 if octets == 2 else 127))) + size.to_bytes(octets, "big")
    if key is None:
        return head + payload
    repeated = int.from_bytes((key * (len(payload) // 4 + 1))[: len(payload)], "big")
    return head + key + (int.from_bytes(payload, "big") ^ repeated).to_bytes(len(payload), "big")


_KEYS = st.sampled_from((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x37\xfa\x21\x3d", b"\0\0\0\1")) | st.binary(
    min_size=4, max_size=4
)


@st.composite
def _payloads(draw: st.DrawFn, is_text: bool) -> bytes:
    kind = draw(st.integers(0, 9))
    if kind < 4:
        return draw(st.text(max_size=20)).encode() if is_text else draw(st.binary(max_size=40))
    size = draw(st.sampled_from(_LARGE_SIZES if kind == 9 else _SIZES))
    if is_text:
        letter = draw(st.sampled_from("aß€\U0001f600")).encode()
        return (letter * (size // len(letter))).ljust(size, b"x")
    pattern = draw(st.binary(min_size=1, max_size=7))
    return (pattern * (size // len(pattern) + 1))[:size]


@st.composite
def _bad_texts(draw: st.DrawFn) -> bytes:
    before, behind = draw(st.sampled_from(("", "a", "€" * 50, "x" * 130))), draw(st.sampled_from(("", "b", "ß" * 70)))
    return before.encode() + draw(st.sampled_from(_BAD_TEXTS)) + behind.encode()


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    is_text = draw(st.booleans())
    return raw_frame(0x81 if is_text else 0x82, draw(_payloads(is_text)), key=draw(_KEYS))


@st.composite
def _controls(draw: st.DrawFn) -> bytes:
    payload = draw(st.binary(max_size=10) | st.sampled_from((b"x" * 124, b"x" * 125)))
    return raw_frame(draw(st.sampled_from((0x89, 0x8A))), payload, key=draw(_KEYS))


@st.composite
def _fragmented(draw: st.DrawFn) -> bytes:
    is_text = draw(st.booleans())
    is_bad = is_text and draw(st.integers(0, 3)) == 0
    payload = draw(_bad_texts() if is_bad else _payloads(is_text))
    ends = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    frames, start = [], 0
    for number, end in enumerate([*ends, len(payload)]):
        first = (0x80 if number == len(ends) else 0) | (0 if number else 1 if is_text else 2)
        frames.append(raw_frame(first, payload[start:end], key=draw(_KEYS)))
        if draw(st.integers(0, 2)) == 0:
            frames.append(draw(_controls()))
        start = end
    return b"".join(frames)


@st.composite
def _closes(draw: st.DrawFn) -> bytes:
    code = draw(
        st.sampled_from((None, 1000, 1001, 1003, 3000, 4999, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535))
    )
    if code is None:
        return raw_frame(0x88)
    reason = draw(st.sampled_from((b"", b"bye", b"x" * 123)) | _bad_texts().filter(lambda text: len(text) < 124))
    return raw_frame(0x88, code.to_bytes(2, "big") + reason)


@st.composite
def _faults(draw: st.DrawFn) -> bytes:
    payload = draw(st.binary(max_size=8))
    firsts = st.sampled_from((0x81, 0x82))
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: raw_frame(draw(firsts), payload, key=None),  # not masked
        lambda: raw_frame(draw(firsts) | draw(st.sampled_from((0x10, 0x20, 0x40, 0x70))), payload),  # reserved bits
        lambda: raw_frame(0x80 | draw(st.sampled_from((3, 4, 7, 11, 12, 15))), payload),  # reserved opcodes
        lambda: raw_frame(draw(firsts), payload, octets=draw(st.sampled_from((2, 8)))),  # not the shortest way
        lambda: raw_frame(draw(firsts), b"x" * draw(st.sampled_from((125, 126, 4096))), octets=8),  # likewise
        lambda: raw_frame(0x81, draw(_bad_texts())),
        lambda: raw_frame(0x80, payload),  # goes on with nothing
        lambda: raw_frame(draw(st.sampled_from((1, 2))), payload) + raw_frame(draw(firsts), payload),  # goes not on
        lambda: raw_frame(draw(st.sampled_from((9, 10))), payload),  # a fragment of a ping
        lambda: raw_frame(0x89, b"x" * 126),  # too long for a ping
        lambda: raw_frame(0x88, b"x"),  # half of a code
        lambda: raw_frame(
            draw(firsts), payload, size=draw(st.sampled_from((100_001, 1 << 30, (1 << 63) - 1, 1 << 63)))
        ),
        lambda: draw(st.binary(max_size=30)),  # noise
    )
    return draw(st.sampled_from(kinds))()


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A stream of a client's frames: of six parts about one breaks a rule, and some streams are damaged as a whole."""
    parts = []
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.integers(0, 29))
        if kind < 16:
            parts.append(draw(_messages()))
        elif kind < 20:
            parts.append(draw(_fragmented()))
        elif kind < 24:
            parts.append(draw(_controls()))
        elif kind < 25:
            parts.append(draw(_closes()))
        else:
            parts.append(draw(_faults()))
    data = bytearray(b"".join(parts))
    for _ in range(draw(st.sampled_from((0, 0, 0, 0, 0, 1, 3)))):
        if data:
            at = draw(st.integers(0, min(len(data) - 1, 300)))
            change = draw(st.integers(0, 2))
            if change == 0:
                data[at] ^= 1 << draw(st.integers(0, 7))
            elif change == 1:
                del data[at : at + draw(st.integers(1, 8))]
            else:
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
    return bytes(data)


def cuts() -> st.SearchStrategy[tuple[int, ...]]:
    """How a stream is cut: the lengths of the pieces, over and over again. Nothing: it is not cut."""
    return st.one_of(
        st.just(()),
        st.just((1,)),
        st.lists(st.integers(1, 20), min_size=1, max_size=8).map(tuple),
        st.lists(st.sampled_from((1, 2, 5, 6, 7, 8, 131, 132, 133, 4103, 4104, 65_550)), min_size=1, max_size=8).map(
            tuple
        ),
    )


def cut(data: bytes, lengths: tuple[int, ...]) -> list[bytes]:
    """The pieces of a stream. A long one is cut into small pieces only at its beginning and its end."""
    pieces, at, number = [], 0, 0
    while at < len(data):
        length = lengths[number % len(lengths)] if lengths else len(data)
        if number >= 1500 and len(data) - at > 1000:
            length = len(data) - at - 1000
            number = 0
        pieces.append(data[at : at + length])
        at += length
        number += 1
    return pieces
