"""A member that is part of this program: no socket, no frames, just a function that is called."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import encode_message, is_binary, payload_of, split
from mles_tx.protocol.header import MAX_MESSAGE_BYTES

from .channel import Channel
from .history import IReplay
from .member import PIECE_BYTES, IMember

if TYPE_CHECKING:
    from .registry import ChannelRegistry

__all__ = ["LocalMember", "Received", "encode_own"]

#: What a member of this program is called with: text as str, binary messages as bytes.
Received = Callable[[str | bytes], object]


def encode_own(message: str | bytes) -> bytes:
    """The frame of a message of this program: str goes as text, bytes as binary.

    Raises:
        ValueError: it is larger than what a client could send.
    """
    payload = message if isinstance(message, bytes) else message.encode("utf-8")
    if len(payload) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message has at most {MAX_MESSAGE_BYTES} bytes, and this one {len(payload)}")
    return encode_message(payload, isinstance(message, bytes))


@implementer(IMember)
class LocalMember:
    """Somebody on a channel who lives in this process.

    Args:
        registry: whose channels these are.
        received: called with every message, history included, in order; what it raises is logged.
        closed: called once with the reason, when the member is no longer one and did not leave by itself;
            what it raises is logged.
    """

    _log = Logger()

    def __init__(
        self,
        registry: "ChannelRegistry",
        received: Received,
        closed: Callable[[CloseReason], object] | None = None,
    ) -> None:
        self.uid = ""
        self.serial = 0
        self.receives = True
        self.channel: Channel | None = None
        self._registry = registry
        self._received = received
        self._closed = closed
        self._waiting: list[bytes] | None = None  # what comes until the history was heard
        self._before: Channel | None = None  # where it was a member before

    def publish(self, message: str | bytes) -> None:
        """Say something to everybody else on the channel; nothing happens once this is no member any more.

        Raises:
            ValueError: the message is not what a client could send.
        """
        frame = encode_own(message)
        if self.channel is not None:
            self._registry.metrics.total_messages_received += 1
            self._registry.publish(self, [frame])

    def leave(self) -> None:
        """Be a member no more; any number of times."""
        self._registry.leave(self)

    def write(self, data: bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(data)
        else:
            self._hear(data)

    def replay(self, replay: IReplay) -> None:
        if self._before is not None:
            self._before.came_again(self)
        self._before = self.channel
        self._waiting = []
        Deferred.fromCoroutine(self._catch_up(replay, self.serial))

    def close(self, reason: CloseReason) -> None:
        if self.channel is not None:
            self._registry.leave(self)
            if self._closed is not None:
                try:
                    self._closed(reason)
                except Exception:
                    self._log.failure("the end of a membership could not be told")

    def is_alive(self) -> "Deferred[bool]":
        return succeed(self.channel is not None)

    async def _catch_up(self, replay: IReplay, serial: int) -> None:
        """Hear the history of a membership, and then what came meanwhile."""
        try:
            while frames := await self._pull(replay):
                for frame in frames:
                    if not self._is_in(serial):
                        return
                    self._hear(frame)
        except Exception:
            self._log.failure("a history could not be read")
            if self._is_in(serial):
                self.close(CloseReason.INTERNAL_ERROR)
        while self._is_in(serial) and self._waiting:
            self._hear(self._waiting.pop(0))  # which may let others speak: that waits as well
        if self._is_in(serial):
            self._waiting = None

    async def _pull(self, replay: IReplay) -> list[bytes]:
        pulled = replay.pull(PIECE_BYTES)
        return await pulled if isinstance(pulled, Deferred) else pulled

    def _is_in(self, serial: int) -> bool:
        """Whether that membership goes on: after it, there may have been another."""
        return self.channel is not None and self.serial == serial

    def _hear(self, data: bytes) -> None:
        serial = self.serial
        for frame in split(data)[0]:
            if self.channel is None or self.serial != serial:
                return  # it has left while it heard what came before, and may have joined again
            payload = payload_of(frame)
            try:
                self._received(payload if is_binary(frame) else payload.decode("utf-8"))
            except Exception:
                self._log.failure("a message could not be received")
