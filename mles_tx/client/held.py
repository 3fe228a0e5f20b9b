"""What is remembered of a channel, for a server that has lost it."""

from collections import deque

from zope.interface import implementer

from mles_tx.protocol.auth import digest

from .interfaces import IClientListener, IHeldHistory, Message, Status
from .replay import who_joins

__all__ = ["HELD_BYTES", "HELD_MESSAGES", "HeardMessages", "HeldMessages"]

#: Messages that are held, and bytes of them: more than most servers remember, and as much as a channel may have there.
HELD_MESSAGES = 10_000
HELD_BYTES = 10 * 1024 * 1024


@implementer(IHeldHistory)
class HeldMessages:
    """The last messages of a channel.

    Args:
        max_messages: messages that are held.
        max_bytes: bytes of them.
    """

    def __init__(self, max_messages: int = HELD_MESSAGES, max_bytes: int = HELD_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[Message] = deque()
        self._bytes = 0

    def add(self, message: Message) -> None:
        """One more is on the channel, and no join frame."""
        self._messages.append(message)
        self._bytes += len(message.payload)
        while len(self._messages) > self._max_messages or self._bytes > self._max_bytes:
            self._bytes -= len(self._messages.popleft().payload)

    def held_frames(self) -> list[Message]:
        return list(self._messages)


@implementer(IClientListener)
class HeardMessages(HeldMessages):
    """What a client hears, and is told that it has said.

        held = HeardMessages("news")
        client = MlesClient(config, reactor, held, held=held)

    Args:
        channel: its name, by which join frames are known: they are not held.
        max_messages: messages that are held.
        max_bytes: bytes of them.
    """

    def __init__(self, channel: str, max_messages: int = HELD_MESSAGES, max_bytes: int = HELD_BYTES) -> None:
        super().__init__(max_messages, max_bytes)
        self._channel = channel

    def add_said(self, payload: str | bytes) -> None:
        """The client has said something itself, which listeners are not told."""
        data = payload.encode("utf-8") if isinstance(payload, str) else payload
        self.add(Message(data, isinstance(payload, bytes), digest(data)))

    def message_received(self, message: Message) -> None:
        if not (message.is_replayed and who_joins(message.payload, message.is_binary, self._channel) is not None):
            self.add(message)

    def status_changed(self, status: Status) -> None:
        pass
