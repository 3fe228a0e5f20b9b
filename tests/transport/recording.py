"""A connection and its transport that keep all that happens to them, in its order."""

from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import is_binary, payload_of
from mles_tx.transport.websocket import WebSocketConnection

from .fakes import FakeTransport

__all__ = ["Recorder", "Wire"]


class Recorder(WebSocketConnection):
    """Keeps what comes of a stream, in its order."""

    maxMessagePayloadSize = 100_000  # noqa: N815  # Autobahn's name
    max_fragments = 4

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[object, ...]] = []
        self.runs = 0  # how often the fast lane was taken

    def message(self, payload: bytes, is_binary: bool) -> None:
        self.heard.append(("message", is_binary, payload))

    def messages(self, frames: list[bytes]) -> None:
        self.runs += 1
        self.heard += [("message", is_binary(frame), payload_of(frame)) for frame in frames]

    def ended(self, reason: CloseReason) -> None:
        self.heard.append(("ended", reason))


class Wire(FakeTransport):
    """Keeps what its connection does to it, in order with what the connection hears."""

    protocol: Recorder

    def write(self, data: bytes) -> None:
        self.protocol.heard.append(("wrote", data))
        super().write(data)

    def loseWriteConnection(self) -> None:  # noqa: N802
        self.protocol.heard.append(("finished",))
        super().loseWriteConnection()

    def loseConnection(self) -> None:
        self.protocol.heard.append(("finished",))
        super().loseConnection()

    def abortConnection(self) -> None:
        self.protocol.heard.append(("aborted",))
        super().abortConnection()
