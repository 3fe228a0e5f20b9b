"""A way from a client to a server in memory, on a clock: it can be cut, held up and refused."""

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IConsumer, IPushProducer, IStreamClientEndpoint, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from mles_tx.client import Callbacks, ClientConfig, Message, MlesClient, State, Status
from mles_tx.service.config import ServerConfig
from mles_tx.service.server import MlesService
from mles_tx.testing import MemoryServer

URL = "ws://mles.test/"


@implementer(ITransport, IConsumer, IPushProducer)
class Side:
    """One end of a connection in memory. What is written arrives in the next turn, and in order."""

    disconnecting = False

    def __init__(self, clock: Clock, protocol: Any) -> None:
        self.clock = clock
        self.protocol = protocol
        self.peer: Side
        self.arriving: deque[bytes | None] = deque()
        self.is_connected = True
        self.is_read = True
        self.is_stalled = False
        self.written = b""
        self.producer: Any = None

    def write(self, data: bytes) -> None:
        if self.is_connected:
            self.written += data
            self.peer.arrive(data)
            if self.is_stalled and self.producer is not None:
                self.producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def arrive(self, data: bytes | None) -> None:
        """Something comes from the other end; None is its end."""
        self.arriving.append(data)
        self.clock.callLater(0, self.deliver)

    def deliver(self) -> None:
        """Hand over what has come."""
        while self.arriving and self.is_connected and (self.is_read or self.arriving[0] is None):
            data = self.arriving.popleft()
            if data is None:
                self.lose(ConnectionLost())
            else:
                self.protocol.dataReceived(data)

    def take(self) -> None:
        """What was written is taken at last."""
        self.is_stalled = False
        if self.producer is not None:
            self.producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.is_read = False

    def resumeProducing(self) -> None:
        self.is_read = True
        self.clock.callLater(0, self.deliver)

    def stopProducing(self) -> None:
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getPeer(self) -> Any:
        return None

    def getHost(self) -> Any:
        return None

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        self.abortConnection()

    def abortConnection(self) -> None:
        if self.is_connected:
            self.peer.arrive(None)
            self.lose(ConnectionLost())

    def lose(self, reason: Exception) -> None:
        """The connection is gone, on this end."""
        if self.is_connected:
            self.is_connected = False
            self.disconnecting = True
            self.protocol.connectionLost(Failure(reason))


@implementer(IStreamClientEndpoint)
class Way:
    """Connects to a server in memory.

    Attributes:
        is_up: whether somebody listens there.
        hangs: whether an attempt stays without an answer.
        sides: the client's ends of all connections so far.
    """

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.is_up = True
        self.hangs = False
        self.sides: list[Side] = []

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        if self.hangs:
            return Deferred()
        if not self.is_up:
            return fail(ConnectionRefusedError())
        clock = self.server.clock
        link = protocolFactory.buildProtocol(None)
        connection: Any = self.server.service.listener.websocket.buildProtocol(None)
        near, far = Side(clock, link), Side(clock, connection)
        near.peer, far.peer = far, near
        self.sides.append(near)
        # The head of a request is read by the door; what is behind it is the WebSocket's.
        connection.makeConnection(far)
        link.makeConnection(near)
        return succeed(link)

    def restart(self) -> None:
        """Another server takes the place of this one, on the same clock, and knows nothing of what was said."""
        fresh = MemoryServer(rate_limit=0)
        service = MlesService(ServerConfig(listen=False, rate_limit=0), self.server.clock)
        service.startService()
        fresh.service, fresh.clock, self.server = service, self.server.clock, fresh

    def cut(self) -> None:
        """The connection breaks, and what was on its way is lost."""
        near = self.sides[-1]
        near.arriving.clear()
        near.peer.arriving.clear()
        near.peer.lose(ConnectionLost())
        near.lose(ConnectionLost())


class Heard:
    """A client and what it was told.

    Args:
        way: how it connects.
        uid: who it is.
        settings: further fields of its `ClientConfig`.
    """

    def __init__(self, way: Way, uid: str = "alice", channel: str = "news", held: Any = None, **settings: Any) -> None:
        self.way = way
        self.messages: list[Message] = []
        self.statuses: list[Status] = []
        listener = Callbacks(self.messages.append, self.statuses.append)
        config = ClientConfig(URL, uid, channel, **settings)
        self.client = MlesClient(config, way.server.clock, listener, endpoint=way, random=lambda: 0.5, held=held)

    @property
    def said(self) -> list[str | bytes]:
        """What others have said, without join frames."""
        texts: list[str | bytes] = [one.payload if one.is_binary else one.text or "" for one in self.messages]
        return [text for text in texts if isinstance(text, bytes) or not text.startswith('{"uid"')]

    @property
    def states(self) -> list[State]:
        return [status.state for status in self.statuses]

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps in which everything that arrives is handled."""
        clock = self.way.server.clock
        for _ in range(8):
            clock.advance(0)
        for _ in range(round(seconds * 4)):
            clock.advance(0.25)
        for _ in range(8):
            clock.advance(0)
