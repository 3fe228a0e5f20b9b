"""Hands what is said to a link, as much as its transport takes."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from mles_tx.protocol.auth import digest
from mles_tx.protocol.header import MAX_MESSAGE_BYTES

from .interfaces import ClientClosed, QueueFull, Status
from .link import Link
from .outbox import Outbox, Saying

__all__ = ["Sender"]


class Sender:
    """What one client says.

    Args:
        clock: the reactor, or a `Clock` in tests.
        max_messages: messages that may wait.
        max_bytes: bytes of them.
        idle: called when nothing waits any more.
        heard: the digests of what came last.

    Attributes:
        outbox: what was said.
    """

    def __init__(
        self,
        clock: IReactorTime,
        max_messages: int,
        max_bytes: int,
        idle: Callable[[], None],
        heard: Callable[[], tuple[int, ...]],
    ) -> None:
        self.outbox = Outbox()
        self._clock = clock
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._idle = idle
        self._heard = heard
        self._link: Link | None = None
        self._closed: Status | None = None

    def __len__(self) -> int:
        """Messages that wait to be sent."""
        return len(self.outbox)

    def say(self, payload: str | bytes, fail_when_full: bool) -> Deferred[None]:
        """What `MlesClient.publish` promises."""
        data = payload.encode("utf-8") if isinstance(payload, str) else bytes(payload)
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message has at most {MAX_MESSAGE_BYTES} bytes, not {len(data)}")
        if self._closed is not None:
            return fail(ClientClosed(self._closed))
        waiting = len(self)
        is_too_much = waiting and self.outbox.waiting_bytes + len(data) > self._max_bytes
        if fail_when_full and (waiting >= self._max_messages or is_too_much):
            return fail(QueueFull("as much waits to be sent as is allowed"))
        handed: Deferred[None] = Deferred()
        self.outbox.add(Saying(data, not isinstance(payload, str), handed, digest(data)))
        self._send()
        return handed

    def begin(self, link: Link) -> None:
        """Send on a link, first what may have been lost on the one before."""
        self._link = link
        self.age()
        self.outbox.send_again()
        self._send()

    def age(self) -> None:
        """What was sent long ago was surely taken."""
        self.outbox.age(self._clock.seconds())

    def writable(self) -> None:
        """The transport takes more."""
        self._send()

    def broken(self) -> None:
        """The link is gone."""
        self._link = None

    def end(self, status: Status) -> None:
        """Nothing will be sent any more."""
        self._closed = status
        self._link = None
        for saying in self.outbox.discard():
            if saying.handed is not None:
                saying.handed.errback(ClientClosed(status))

    def _send(self) -> None:
        while self._link is not None and self._link.can_send and self._link.is_writable:
            saying = self.outbox.take()
            if saying is None:
                self._idle()
                return
            self._link.sendMessage(saying.payload, saying.is_binary)
            self.outbox.sent(saying, self._clock.seconds(), self._heard())
            if saying.handed is not None:
                handed, saying.handed = saying.handed, None
                handed.callback(None)
