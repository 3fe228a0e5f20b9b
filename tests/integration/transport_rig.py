"""A server of one kind of stream transport on the real reactor, its protocols, and waiting for what happens to them."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from mles_tx.transport.port import ListeningPort, bind

from .stream_peers import End, Peer

__all__ = ["Contract", "HalfCloser", "Talker", "TransportTestCase", "pattern"]

#: Turns of the reactor within which everything that is ready is handled, when it is not much.
TURNS = 40

#: A transport is quiet when the reactor does not call it in so many turns; it may take so many looks until it is.
QUIET_TURNS, QUIET_LOOKS = 10, 30


def pattern(size: int) -> bytes:
    """Bytes in which a piece that is lost, doubled or moved shows."""
    return b"".join(number.to_bytes(4, "big") for number in range((size + 3) // 4))[:size]


@implementer(IHandshakeListener)
class Talker(Protocol):
    """A server's end of a connection: notes what happens, and does what its test says."""

    transport: Any

    def __init__(self, case: "TransportTestCase") -> None:
        self._case = case
        self.received = b""
        self.events: list[str] = []
        self.reasons: list[Failure] = []
        self.on_data: Callable[[Talker, bytes], object] = lambda talker, data: None
        self.on_made: Callable[[Talker], object] = lambda talker: None

    def _note(self, event: str) -> None:
        self.events.append(event)
        self._case.news()

    def connectionMade(self) -> None:
        self.on_made(self)
        self._note("made")

    def handshakeCompleted(self) -> None:
        self._note("handshake")

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        try:
            self.on_data(self, data)
        finally:
            self._case.news()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reasons.append(reason)
        self._note("lost")

    @property
    def is_lost(self) -> bool:
        """Whether it was told that its connection has ended."""
        return bool(self.reasons)


@implementer(IHalfCloseableProtocol)
class HalfCloser(Talker):
    """One that goes on when one direction has ended."""

    def readConnectionLost(self) -> None:  # noqa: N802
        self._note("read lost")

    def writeConnectionLost(self) -> None:  # noqa: N802
        self._note("write lost")


def counted(kind: type) -> Any:
    """A kind of transport that counts how often the reactor calls it."""

    class Counted(kind):  # type: ignore[misc]
        calls = 0

        def doRead(self) -> Any:
            self.calls += 1
            return super().doRead()

        def doWrite(self) -> Any:
            self.calls += 1
            return super().doWrite()

    return Counted


class TransportTestCase(TestCase):
    """A server of one kind. Its tests are coroutines; both ends run on the one reactor."""

    timeout = 120  # a bound, not a measure
    is_secure = False

    # Where the kinds differ; a class that says something else gives the reason.

    #: After `loseConnection` the peer's end is waited for.
    waits_for_peer = True

    #: `loseWriteConnection` ends one direction alone.
    closes_half = True

    #: What is written after `loseConnection`, while the rest still waits, is sent as well.
    sends_after_close = True

    #: Nothing is delivered after `loseConnection`.
    is_deaf_after_close = True

    #: A protocol that does not read can close: the peer's end is read all the same.
    closes_while_paused = True

    #: What a protocol is told of a peer that takes the end for an answer, and closes its socket.
    reason_of_curt_answer: type[Exception] = ConnectionDone

    #: What it is told when it has aborted.
    reason_of_abort: type[Exception] = ConnectionAborted

    #: `abortConnection` may be called when there is nothing to be aborted any more.
    may_abort_when_gone = True

    #: An end that is asked for before the handshake, with nothing to be sent, is an abort.
    aborts_early = False

    #: A half-closeable protocol is told when the peer has finished, and goes on writing.
    tells_of_half_close = True

    #: Pieces of a byte that are delivered in a turn at most: what Twisted reads at once.
    small_pieces_in_a_turn = 65536

    #: What a protocol is told when it has failed.
    reason_of_fault: type[Exception] = ValueError

    #: What the peer sees of it, when nothing was waiting for it.
    end_of_fault = End.CLEAN

    def make_port(self, factory: Factory) -> Port:
        """A port, not yet listening."""
        (listening,) = bind(("127.0.0.1",), 0)
        return ListeningPort(listening, factory, reactor)

    def make_peer(self, port: int) -> Peer:
        """A client, connected and silent."""
        return Peer(reactor, port)

    def raw(self, talker: Talker) -> Any:
        """The transport that the reactor calls."""
        return talker.transport

    async def setUp(self) -> None:  # type: ignore[override]
        self.reactor: Any = reactor
        await self.turns(1)  # it runs, and has what it needs itself
        self._watchers: list[tuple[Callable[[], object], Deferred[None]]] = []
        self._open_before = self._sockets()
        self._selectables_before = self._selectables()
        self.talkers: list[Talker] = []
        self.peers: list[Peer] = []
        self.next_kind: Callable[[TransportTestCase], Talker] = Talker
        self.prepare: Callable[[Talker], object] = lambda talker: None
        factory: Any = Factory.forProtocol(self._build)
        factory.noisy = False
        self.port: Any = self.make_port(factory)
        self.port.transport = counted(self.port.transport)
        self.port.startListening()
        self.number: int = self.port.getHost().port

    def _build(self) -> Talker:
        talker = self.next_kind(self)
        self.prepare(talker)
        self.talkers.append(talker)
        return talker

    async def tearDown(self) -> None:  # type: ignore[override]
        """Nothing is left open, nor with the reactor."""
        for peer in self.peers:
            peer.close()
        for talker in self.talkers:
            if talker.transport is not None and not talker.is_lost:
                talker.transport.abortConnection()
        await self.until(lambda: all(talker.is_lost for talker in self.talkers if talker.transport))
        await self.port.stopListening()
        await self.turns(2)
        for talker in self.talkers:
            self.assertEqual(talker.events.count("lost"), 1, talker.events)
        self.assertEqual(self._selectables() - self._selectables_before, set())
        self.assertEqual(self._sockets() - self._open_before, set())

    def _sockets(self) -> set[str]:
        """The sockets this process has open."""
        found = set()
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # the one that lists them
                found.add(str(entry.readlink()))
        return {target for target in found if target.startswith("socket:")}

    def _selectables(self) -> set[Any]:
        return {*self.reactor.getReaders(), *self.reactor.getWriters()}

    # -- waiting

    def news(self) -> None:
        """Something has happened to a talker."""
        for watcher in list(self._watchers):
            predicate, happened = watcher
            if predicate():
                self._watchers.remove(watcher)
                self.reactor.callLater(0, self._tell, happened)

    @staticmethod
    def _tell(happened: Deferred[None]) -> None:
        if not happened.called:  # else the test has given up waiting
            happened.callback(None)

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait until what happened to the talkers makes something true."""
        if not predicate():
            happened: Deferred[None] = Deferred()
            self._watchers.append((predicate, happened))
            await happened

    async def turns(self, number: int = TURNS) -> None:
        """Let the reactor handle what is ready."""
        for _ in range(number):
            await deferLater(self.reactor, 0)

    async def gone(self, talker: Talker) -> None:
        """Wait until a talker was told that its connection has ended."""
        await self.until(lambda: talker.is_lost)

    async def told(self, talker: Talker, event: str) -> None:
        """Wait until a talker was told something."""
        await self.until(lambda: event in talker.events)

    async def heard(self, talker: Talker, size: int) -> None:
        """Wait until a talker has got so many bytes."""
        await self.until(lambda: len(talker.received) >= size)

    def spawn(self, work: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Let something happen meanwhile; its end has to be waited for."""
        return Deferred.fromCoroutine(work)

    # -- connections

    async def dial(
        self,
        kind: Callable[["TransportTestCase"], Talker] = Talker,
        *,
        on_data: Callable[[Talker, bytes], object] | None = None,
    ) -> tuple[Any, Any]:
        """A connection on which nothing was said, and its server's end."""
        self.next_kind = kind
        before = len(self.talkers)
        peer = self.make_peer(self.number)
        self.peers.append(peer)
        await self.until(lambda: len(self.talkers) > before and "made" in self.talkers[-1].events)
        talker = self.talkers[-1]
        if on_data is not None:
            talker.on_data = on_data
        return peer, talker

    async def connect(self, kind: Callable[["TransportTestCase"], Talker] = Talker, **more: Any) -> tuple[Any, Any]:
        """A connection that has shaken hands, and its server's end."""
        peer, talker = await self.dial(kind, **more)
        await peer.handshake()
        if self.is_secure:
            await self.until(lambda: "handshake" in talker.events)
        return peer, talker

    async def stall(self, peer: Any, talker: Any) -> bytes:
        """Write to a peer that does not read, until the kernel takes no more and the rest waits; what was written."""
        block = pattern(1 << 20)
        for _ in range(6):
            talker.transport.write(block)
        await self.turns()
        return block * 6

    async def assert_quiet(self, talker: Any) -> None:
        """As soon as what is ready has been handled, the reactor is left in peace."""
        raw = self.raw(talker)
        for _ in range(QUIET_LOOKS):
            before = raw.calls
            await self.turns(QUIET_TURNS)
            if raw.calls == before:
                return
        self.fail(f"the reactor spins: {raw.calls} calls")

    def assert_lost(self, talker: Any, *kinds: type[Exception]) -> None:
        """It was told once that the connection has ended, and how."""
        self.assertEqual(talker.events.count("lost"), 1, talker.events)
        self.assertIsInstance(talker.reasons[0].value, kinds)

    async def farewell(self, peer: Any, talker: Any) -> None:
        """The peer answers the end of the connection with its own."""
        if self.waits_for_peer:
            await self.turns(3)
            self.assertEqual(talker.reasons, [])
            await self.assert_quiet(talker)
            peer.finish()
        await self.lost(talker, ConnectionDone)

    async def lost(self, talker: Any, *kinds: type[Exception]) -> None:
        """Wait for the end of a connection, of one of these kinds."""
        await self.until(lambda: talker.is_lost)
        await self.turns(3)
        self.assert_lost(talker, *kinds)


#: The base of tests that hold for every kind of transport: classes of test cases add the kind.
if TYPE_CHECKING:
    Contract = TransportTestCase
else:
    Contract = object
