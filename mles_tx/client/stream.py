"""Messages for ``async for``: as many wait as one loop takes at its ease, and the link is not read meanwhile."""

from collections import deque
from typing import TYPE_CHECKING, Self

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from .interfaces import ClientClosed, IClientListener, Message, State, Status

if TYPE_CHECKING:
    from .client import MlesClient

__all__ = ["MAX_WAITING", "MessageStream"]

#: Messages that wait for the loop before the link is not read any more.
MAX_WAITING = 256


@implementer(IClientListener)
class MessageStream:
    """The messages of a client, from the moment this is made.

    Each step is a Deferred: coroutines of Twisted await it, and those of asyncio its ``asFuture``.

    Args:
        client: whose they are.
    """

    def __init__(self, client: "MlesClient") -> None:
        self._client = client
        self._waiting: deque[Message] = deque()
        self._wanted: Deferred[Message] | None = None
        self._is_pausing = False
        self._end: Status | None = None
        client.listen(self)
        if client.status.state is State.CLOSED:
            self._end = client.status

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Deferred[Message]:
        """The next message.

        Errors:
            StopAsyncIteration: the client has left.
            ClientClosed: the client had to give up.
        """
        if self._wanted is not None:
            raise RuntimeError("one message at a time: the one before is still waited for")
        if self._waiting:
            message = self._waiting.popleft()
            if self._is_pausing and len(self._waiting) <= MAX_WAITING // 2:
                self._is_pausing = False
                self._client.resume_receiving()
            return succeed(message)
        if self._end is not None:
            return fail(self._error(self._end))
        self._wanted = Deferred(self._not_wanted)
        return self._wanted

    def _not_wanted(self, _: object) -> None:
        self._wanted = None

    def message_received(self, message: Message) -> None:
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            wanted.callback(message)
            return
        self._waiting.append(message)
        if len(self._waiting) >= MAX_WAITING and not self._is_pausing:
            self._is_pausing = True
            self._client.pause_receiving()

    def status_changed(self, status: Status) -> None:
        if status.state is State.CLOSED:
            self._end = status
            if self._wanted is not None:
                wanted, self._wanted = self._wanted, None
                wanted.errback(self._error(status))

    @staticmethod
    def _error(status: Status) -> Exception:
        return ClientClosed(status) if status.is_error else StopAsyncIteration()
