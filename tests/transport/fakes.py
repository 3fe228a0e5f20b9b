"""A connection in memory, with what Twisted's TCP transports have and its own fakes lack."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides

__all__ = ["FakeTransport", "Turns"]


class FakeTransport(StringTransport):
    """Keeps what is written; can be told to have enough.

    Args:
        protocol: whose transport it is; it is connected at once.
        provides: more interfaces it is to have.
    """

    def __init__(self, protocol: Protocol, *provides: Any) -> None:
        super().__init__()
        alsoProvides(self, *provides)
        self.protocol: Any = protocol
        self.aborted = False
        self.finished = False
        self.no_delay = False
        self.lost = False
        self.full = False
        self.bytes_acknowledged = 0
        protocol.makeConnection(self)

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        self.no_delay = enabled

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full and self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:  # noqa: N802
        self.write(b"".join(data))

    def drained(self) -> None:
        """The peer has taken everything: ask for more."""
        self.full = False
        if self.producer is not None:
            self.producer.resumeProducing()

    def bytes_taken(self) -> int:
        """What the peer has taken, as tests say."""
        return self.bytes_acknowledged

    def loseWriteConnection(self) -> None:  # noqa: N802
        self.finished = True

    def loseConnection(self) -> None:
        self.finished = True

    def abortConnection(self) -> None:
        self.aborted = True
        self._lose(ConnectionAborted())

    def hang_up(self) -> None:
        """The peer closes the connection."""
        self._lose(ConnectionDone())

    def _lose(self, reason: Exception) -> None:
        if not self.lost:
            self.lost = True
            self.disconnecting = True
            producer, self.producer = self.producer, None
            if producer is not None:
                producer.stopProducing()
            self.protocol.connectionLost(Failure(reason))

    def receive(self, data: bytes) -> None:
        """The peer sends something."""
        self.protocol.dataReceived(data)

    def receive_by_byte(self, data: bytes) -> None:
        """The peer sends something, one byte at a time."""
        for index in range(len(data)):
            self.protocol.dataReceived(data[index : index + 1])

    def taken(self) -> bytes:
        """What was written since the last look."""
        value: bytes = self.value()
        self.clear()
        return value


class Turns:
    """A clock on which a turn of the reactor takes a second, so that tests can look in between."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def callLater(self, delay: float, call: Callable[[], object]) -> IDelayedCall:  # noqa: N802
        return self._clock.callLater(1, call)
