"""Frames of a client: the first byte says where the stream is cut in two."""

from mles_tx.protocol.frames import MAX_RUN_PAYLOAD_BYTES, decode_run, is_binary, payload_of, split
from tests.wire import client_frame

__all__ = ["run", "seeds"]


def run(data: bytes) -> None:
    """Whole frames and what is left; cut anywhere, the same frames come out."""
    cut, stream = (data[0] if data else 0), data[1:]
    frames, taken = decode_run(stream)
    assert 0 <= taken <= len(stream)
    for frame in frames:
        payload = payload_of(frame)
        assert len(payload) <= MAX_RUN_PAYLOAD_BYTES
        if not is_binary(frame):
            payload.decode("utf-8")
    assert split(b"".join(frames)) == (frames, b"")
    first, used = decode_run(stream[:cut])
    rest, more = decode_run(stream[used:])
    assert (first + rest, used + more) == (frames, taken)
    whole, left = split(stream)
    assert b"".join(whole) + left == stream


def seeds() -> list[bytes]:
    """Runs of small frames, with something else in between."""
    text, binary = client_frame(1, b"hello"), client_frame(2, b"\0" * 200)
    return [b"\x07" + text + binary + text, b"\x00" + text + client_frame(9) + text, b"\x03" + client_frame(1, b"\xff")]
