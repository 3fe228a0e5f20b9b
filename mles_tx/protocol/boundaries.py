"""Where the frames of a WebSocket end, in a stream of which nothing else is looked at (RFC 6455 section 5.2)."""

__all__ = ["FrameStream"]

_CLOSE = 8

#: Frames in one piece of a stream that are passed over. To follow a flood of tiny ones takes longer than to pass it on.
_MAX_FRAMES = 256


class FrameStream:
    """One direction of a WebSocket, from its first frame on."""

    __slots__ = ("_head", "_is_over", "_left")

    def __init__(self) -> None:
        self._left = 0  # bytes of a frame that are still to come
        self._head = b""  # the beginning of one whose length is not known yet
        self._is_over = False  # it has closed, or was lost sight of

    @property
    def takes_frame(self) -> bool:
        """Whether a frame can be put in at this place: between two others, and before the end."""
        return not (self._left or self._head or self._is_over)

    def feed(self, data: bytes) -> None:
        """What comes next."""
        if self._is_over:
            return
        if self._left >= len(data):
            self._left -= len(data)
            return
        data = self._head + data[self._left :]
        at, end = 0, len(data)
        for _ in range(_MAX_FRAMES):
            size = _size(data, at)
            if not size:
                self._left, self._head = max(0, at - end), data[at:]
                return
            if data[at] & 15 == _CLOSE:
                break
            at += size
        self._is_over = True
        self._head = b""


def _size(data: bytes, at: int) -> int:
    """Bytes of the frame that begins at a place, its head included; 0 when not enough of it is there to tell."""
    left = len(data) - at
    if left < 2:
        return 0
    second = data[at + 1]
    size, more = second & 127, second >> 7 << 2  # a masking key
    if size < 126:
        return 2 + more + size
    length = 2 if size == 126 else 8
    if left < 2 + length:
        return 0
    return 2 + length + more + int.from_bytes(data[at + 2 : at + 2 + length], "big")
