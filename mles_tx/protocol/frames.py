"""Server frames (RFC 6455 section 5.2): whole, final, not masked, encoded once for all who get them."""

from .closing import CloseReason

__all__ = [
    "PING",
    "close_frame",
    "encode_close",
    "encode_message",
    "encode_pong",
    "is_binary",
    "payload_of",
    "split",
]

_TEXT = 0x81
_BINARY = 0x82
_CLOSE = 0x88
_PONG = 0x8A

#: A ping without payload: any traffic counts as an answer, so there is nothing to match.
PING = bytes((0x89, 0))


def encode_message(payload: bytes, is_binary: bool) -> bytes:
    """The frame that carries a text or binary message to a client.

    Args:
        payload: for text, valid UTF-8; any length below 2**63.
        is_binary: whether it goes as a binary frame.
    """
    first = _BINARY if is_binary else _TEXT
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126, size >> 8, size & 255)) + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def encode_close(code: int | None, text: bytes = b"") -> bytes:
    """A close frame: with a code and up to 123 bytes of UTF-8 text, or empty when the code is None."""
    if code is None:
        return bytes((_CLOSE, 0))
    payload = code.to_bytes(2, "big") + text
    if len(payload) > 125:
        raise ValueError("a close frame holds at most 123 bytes of text")
    return bytes((_CLOSE, len(payload))) + payload


def close_frame(reason: CloseReason) -> bytes:
    """The close frame for a reason of ours."""
    return encode_close(reason.code, reason.text.encode("ascii"))


def encode_pong(payload: bytes) -> bytes:
    """The answer to a ping: its payload, at most 125 bytes, unchanged."""
    if len(payload) > 125:
        raise ValueError("a pong holds at most 125 bytes")
    return bytes((_PONG, len(payload))) + payload


def is_binary(frame: bytes) -> bool:
    """Whether an encoded message is binary."""
    return frame[0] == _BINARY


def payload_of(frame: bytes) -> bytes:
    """The payload of an encoded message."""
    size = frame[1]
    return frame[2:] if size < 126 else frame[4:] if size == 126 else frame[10:]


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames at the beginning of server data, each still encoded, and what follows them."""
    frames, start, end = [], 0, len(data)
    while end - start >= 2:
        size, body = data[start + 1], start + 2
        if size == 126:
            size, body = int.from_bytes(data[body : body + 2], "big"), body + 2
        elif size == 127:
            size, body = int.from_bytes(data[body : body + 8], "big"), body + 8
        if body + size > end:
            break
        frames.append(data[start : body + size])
        start = body + size
    return frames, data[start:]
