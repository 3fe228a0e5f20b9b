"""The peer's side of the wire, written out: requests, masked frames, and what came back taken apart."""

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Frame", "client_frame", "close_of", "header", "read_frames", "split_answer", "upgrade"]

_MASK = b"\x37\xfa\x21\x3d"


@dataclass(frozen=True)
class Frame:
    """A frame the server sent."""

    opcode: int
    payload: bytes


def upgrade(*headers: str, protocol: str | None = "mles-websocket", path: str = "/") -> bytes:
    """A request for an upgrade, with more headers if need be."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    if protocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True) -> bytes:
    """A frame as a client sends it: 1 text, 2 binary, 0 continuation, 8 close, 9 ping, 10 pong."""
    size = len(payload)
    flag = 0x80 if masked else 0
    head = bytes(((0x80 if final else 0) | opcode,))
    if size < 126:
        head += bytes((flag | size,))
    elif size < 65536:
        head += bytes((flag | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((flag | 127,)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = (_MASK * (size // 4 + 1))[:size]
    return head + _MASK + bytes(a ^ b for a, b in zip(payload, key, strict=True))


def header(uid: str, channel: str = "example", **more: Any) -> bytes:
    """A first frame."""
    return client_frame(1, json.dumps({"uid": uid, "channel": channel, **more}).encode())


def split_answer(data: bytes) -> tuple[bytes, bytes]:
    """An HTTP answer's head and what follows it."""
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def read_frames(data: bytes) -> list[Frame]:
    """Whole server frames, taken apart; fails when there is a piece of one."""
    frames = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            raise ValueError(f"a frame of {size} bytes is cut after {len(data) - start}")
        frames.append(Frame(data[0] & 15, data[start : start + size]))
        data = data[start + size :]
    return frames


def close_of(frame: Frame) -> tuple[int, str]:
    """Code and text of a close frame."""
    if frame.opcode != 8:
        raise ValueError(f"not a close frame: {frame}")
    return int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode()
