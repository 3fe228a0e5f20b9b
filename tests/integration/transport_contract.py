"""What holds for every stream transport: writing, reading, and producers."""

import socket
from typing import Any

from twisted.internet.interfaces import IConsumer, ISSLTransport, ITCPTransport, ITransport

from .transport_rig import Contract, Talker, pattern

__all__ = ["ReadingContract", "WritingContract"]

LARGE = 5_000_000


def echo(talker: Any, data: bytes) -> None:
    """Send back what comes."""
    talker.transport.write(data)


class Producer:
    """Notes what it is told; a pull producer writes a piece each time it is asked, as long as it has one."""

    def __init__(self, talker: Any = None, pieces: tuple[bytes, ...] = ()) -> None:
        self._talker = talker
        self._pieces = list(pieces)
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        if self._pieces:
            self._talker.transport.write(self._pieces.pop(0))
            if not self._pieces:
                self._talker.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.told.append("stop")


class WritingContract(Contract):
    """What a protocol writes."""

    async def test_interfaces(self) -> None:
        """A protocol can tell what it is connected by."""
        _, talker = await self.connect()
        for interface in (ITransport, ITCPTransport, IConsumer):
            self.assertTrue(interface.providedBy(talker.transport), interface)
        self.assertEqual(ISSLTransport.providedBy(talker.transport), self.is_secure)

    async def test_addresses(self) -> None:
        """It knows both addresses."""
        peer, talker = await self.connect()
        host, other = talker.transport.getHost(), talker.transport.getPeer()
        self.assertEqual((host.type, host.host, host.port), ("TCP", "127.0.0.1", self.number))
        self.assertEqual((other.type, other.host, other.port), ("TCP", *peer.address))

    async def test_socket_options(self) -> None:
        """Nagle's algorithm and keep-alive are switched on and off."""
        _, talker = await self.connect()
        transport = talker.transport
        for enabled in (True, False, True):
            transport.setTcpNoDelay(enabled)
            transport.setTcpKeepAlive(enabled)
            self.assertEqual((transport.getTcpNoDelay(), transport.getTcpKeepAlive()), (enabled, enabled))
            number = self.raw(talker).socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            self.assertEqual(bool(number), enabled)

    async def test_before_handshake(self) -> None:
        """What is written before the connection can carry it arrives first, in order."""

        def greet(talker: Talker) -> None:
            talker.transport.write(b"hel")
            talker.transport.writeSequence([b"lo", b" ", b"there"])
            talker.transport.write(b"!")

        self.prepare = lambda talker: setattr(talker, "on_made", greet)
        peer, talker = await self.connect()
        talker.transport.write(b" more")
        self.assertEqual(await peer.receive(17), b"hello there! more")

    async def test_much_before_handshake(self) -> None:
        """So does a lot of it."""
        data = pattern(LARGE)
        self.prepare = lambda talker: setattr(talker, "on_made", lambda talker: talker.transport.write(data))
        peer, _ = await self.connect()
        self.assertTrue(await peer.receive(LARGE) == data)

    async def test_small_writes(self) -> None:
        """Many small pieces, empty ones among them, arrive in order."""
        peer, talker = await self.connect()
        pieces = [b"%d," % number * (number % 4) for number in range(2000)]
        for piece in pieces:
            talker.transport.write(piece)
        whole = b"".join(pieces)
        self.assertEqual(await peer.receive(len(whole)), whole)

    async def test_sizes(self) -> None:
        """Every size arrives whole: around a TLS record, and around what goes out in one turn."""
        peer, talker = await self.connect()
        for size in (1, 16383, 16384, 16385, 32768, 131071, 131072, 131073, 200_000):
            talker.transport.write(pattern(size))
            self.assertTrue(await peer.receive(size) == pattern(size), size)

    async def test_text(self) -> None:
        """Text is refused, and nothing of it is sent."""
        peer, talker = await self.connect()
        for write in (talker.transport.write, lambda text: talker.transport.writeSequence([text])):
            self.assertRaises(TypeError, write, "text")
        talker.transport.write(b"bytes")
        self.assertEqual(await peer.receive(5), b"bytes")

    async def test_sequence(self) -> None:
        """A sequence arrives in order, between what was written before and behind it."""
        peer, talker = await self.connect()
        talker.transport.write(b"a")
        talker.transport.writeSequence([])
        talker.transport.writeSequence([b"b", b"", b"c"])
        talker.transport.write(b"d")
        talker.transport.writeSequence((b"e", b"f"))
        self.assertEqual(await peer.receive(6), b"abcdef")

    async def test_slow_reader(self) -> None:
        """A lot, written in unlike pieces to a peer that does not read yet, arrives whole and in order."""
        peer, talker = await self.connect()
        data = pattern(LARGE)
        start = 0
        for number in range(10_000):
            size = (1, 70_000, 16_384, 333, 131_073)[number % 5]
            if number % 3:
                talker.transport.write(data[start : start + size])
            else:
                talker.transport.writeSequence(
                    [data[start : start + size // 2], data[start + size // 2 : start + size]]
                )
            start += size
            if start >= len(data):
                break
        await self.assert_quiet(talker)
        self.assertTrue(await peer.receive(len(data)) == data)
        talker.transport.write(b"at once again")
        self.assertEqual(await peer.receive(13), b"at once again")

    async def test_push_producer(self) -> None:
        """A producer is paused when too much waits, and resumed when nothing waits any more."""
        peer, talker = await self.connect()
        producer = Producer()
        talker.transport.registerProducer(producer, True)
        talker.transport.write(b"small")
        self.assertEqual(await peer.receive(5), b"small")
        self.assertEqual(producer.told, [])
        written = await self.stall(peer, talker)
        self.assertEqual(set(producer.told), {"pause"})
        await self.assert_quiet(talker)
        self.assertTrue(await peer.receive(len(written)) == written)
        await self.turns()
        self.assertEqual(producer.told.count("resume"), 1)
        self.assertEqual(producer.told[-1], "resume")
        talker.transport.unregisterProducer()
        await self.stall(peer, talker)
        self.assertEqual(producer.told[-1], "resume")

    async def test_pull_producer(self) -> None:
        """A producer that is asked for each piece is asked until it has none, whether or not they go out at once."""
        peer, talker = await self.connect()
        pieces = (b"one", b"two", pattern(300_000), b"three", pattern(3_000_000), b"four")
        producer = Producer(talker, pieces)
        talker.transport.registerProducer(producer, False)
        whole = b"".join(pieces)
        await self.turns()
        self.assertGreater(len(producer.told), 1, "it is not asked again")
        self.assertTrue(await peer.receive(len(whole)) == whole)
        await self.turns()
        self.assertEqual(producer.told, ["resume"] * len(pieces))

    async def test_pull_producer_waits(self) -> None:
        """It is not asked while its last piece waits."""
        peer, talker = await self.connect()
        producer = Producer(talker, (pattern(6_000_000), b"rest"))
        talker.transport.registerProducer(producer, False)
        await self.turns()
        self.assertEqual(producer.told, ["resume"])
        self.assertTrue(await peer.receive(6_000_004) == pattern(6_000_000) + b"rest")

    async def test_second_producer(self) -> None:
        """A second producer is refused as long as there is one."""
        _, talker = await self.connect()
        first, second = Producer(), Producer()
        talker.transport.registerProducer(first, True)
        self.assertRaises(RuntimeError, talker.transport.registerProducer, second, True)
        talker.transport.unregisterProducer()
        talker.transport.registerProducer(second, True)
        talker.transport.unregisterProducer()
        self.assertEqual((first.told, second.told), ([], []))

    async def test_producer_at_the_end(self) -> None:
        """A producer is told to stop when the connection ends, and so is one that comes later."""
        for hang_up in ("reset", "abort"):
            peer, talker = await self.connect()
            producer = Producer()
            talker.transport.registerProducer(producer, True)
            if hang_up == "reset":
                peer.reset()
            else:
                talker.transport.abortConnection()
            await self.gone(talker)
            self.assertEqual(producer.told[-1:], ["stop"])
            self.assertEqual(producer.told.count("stop"), 1)
            late = Producer()
            talker.transport.registerProducer(late, True)
            self.assertEqual(late.told, ["stop"])


class ReadingContract(Contract):
    """What a protocol reads."""

    async def test_echo(self) -> None:
        """What the peer says arrives, and the answer comes back."""
        peer, _ = await self.connect(on_data=echo)
        for data in (b"x", b"hello" * 100, pattern(16384), pattern(50_000)):
            peer.say(data)
            self.assertTrue(await peer.receive(len(data)) == data)

    async def test_byte_by_byte(self) -> None:
        """Bytes that come one at a time are put together again, from the first one on."""
        peer, talker = await self.dial(on_data=echo)
        if self.is_secure:
            for byte in peer.hello():
                peer.put(bytes((byte,)))
                await self.turns(1)
            await peer.handshake()
        for byte in peer.encrypt(b"hello"):
            peer.put(bytes((byte,)))
            await self.turns(1)
        self.assertEqual(await peer.receive(5), b"hello")
        self.assertEqual(talker.received, b"hello")

    async def test_much(self) -> None:
        """A lot arrives whole and in order."""
        peer, talker = await self.connect()
        data = pattern(LARGE)
        await peer.say_all(data)
        await self.until(lambda: len(talker.received) >= LARGE)
        self.assertTrue(talker.received == data)

    async def test_both_ways(self) -> None:
        """A lot goes both ways at once."""
        peer, talker = await self.connect(on_data=echo)
        data = pattern(3_000_000)
        sending = self.spawn(peer.say_all(data))
        self.assertTrue(await peer.receive(len(data)) == data)
        await sending
        self.assertTrue(talker.received == data)

    async def test_paused(self) -> None:
        """Nothing is delivered while reading is paused, and all of it afterwards."""
        peer, talker = await self.connect()
        talker.transport.pauseProducing()
        talker.transport.pauseProducing()
        peer.say(b"one")
        peer.say(pattern(100_000))
        await self.assert_quiet(talker)
        self.assertEqual(talker.received, b"")
        talker.transport.resumeProducing()
        await self.until(lambda: len(talker.received) == 100_003)
        self.assertTrue(talker.received == b"one" + pattern(100_000))

    async def test_pauses_at_once(self) -> None:
        """A protocol that pauses whenever something comes gets it piece by piece, and loses nothing."""
        peer, talker = await self.connect(on_data=lambda talker, data: talker.transport.pauseProducing())
        data = pattern(1_000_000)
        sending = self.spawn(peer.say_all(data))
        while len(talker.received) < len(data):
            before = len(talker.received)
            talker.transport.resumeProducing()
            await self.heard(talker, before + 1)
            paused_at = len(talker.received)
            await self.turns(2)
            self.assertEqual(len(talker.received), paused_at)
        await sending
        self.assertTrue(talker.received == data)

    async def test_paused_writes(self) -> None:
        """A protocol that does not read can write."""
        peer, talker = await self.connect()
        talker.transport.pauseProducing()
        peer.say(b"unread")
        data = pattern(6_000_000)
        talker.transport.write(data)
        self.assertTrue(await peer.receive(len(data)) == data)
        self.assertEqual(talker.received, b"")

    async def test_paused_from_the_start(self) -> None:
        """A protocol that pauses before it was told anything is told when it resumes."""
        self.prepare = lambda talker: setattr(talker, "on_made", lambda talker: talker.transport.pauseProducing())
        peer, talker = await self.dial(on_data=echo)
        peer.put(peer.hello() if self.is_secure else b"hello")
        await self.assert_quiet(talker)
        self.assertEqual((talker.received, talker.events), (b"", ["made"]))
        talker.transport.resumeProducing()
        if self.is_secure:
            await peer.handshake()
            peer.say(b"hello")
        self.assertEqual(await peer.receive(5), b"hello")

    async def test_fault(self) -> None:
        """A protocol that fails loses its connection, the fault is logged, and nobody else notices."""

        def fail(talker: Any, data: bytes) -> None:
            raise ValueError("made for this test")

        other, _ = await self.connect(on_data=echo)
        peer, talker = await self.connect(on_data=fail)
        peer.say(b"hello")
        await self.lost(talker, self.reason_of_fault)
        _, end = await peer.receive_rest()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(end, self.end_of_fault)
        other.say(b"still here?")
        self.assertEqual(await other.receive(11), b"still here?")

    async def test_loud_neighbour(self) -> None:
        """Whoever sends a lot is handled in pieces: another one's message comes in between."""
        loud_peer, loud = await self.connect()
        peer, talker = await self.connect()
        heard: list[int] = []
        talker.on_data = lambda talker, data: heard.append(len(loud.received))
        loud.transport.pauseProducing()
        wire = memoryview(loud_peer.encrypt(pattern(4_000_000)))
        try:
            while wire:
                wire = wire[loud_peer.socket.send(wire) :]
        except BlockingIOError:
            pass
        loud.transport.resumeProducing()
        peer.say(b"me too")  # now the loud one is the first in the reactor's queue
        await self.until(lambda: heard)
        self.assertLessEqual(heard[0], 200_000)
        self.assertGreater(len(loud.received) + len(wire), 0)

    async def test_many_small_pieces(self) -> None:
        """So is whoever sends a lot of small pieces."""
        loud_peer, loud = await self.connect()
        loud.transport.pauseProducing()
        wire = b"".join(loud_peer.encrypt(b"x") for _ in range(5000))
        await loud_peer.put_all(wire)
        loud.transport.resumeProducing()
        await self.until(lambda: loud.received)
        self.assertLessEqual(len(loud.received), self.small_pieces_in_a_turn)
        await self.until(lambda: len(loud.received) == 5000)
        self.assertEqual(loud.received, b"x" * 5000)

    async def test_quiet(self) -> None:
        """A connection on which nothing happens costs nothing."""
        peer, talker = await self.connect()
        await self.assert_quiet(talker)
        wire = peer.encrypt(b"hello")
        peer.put(wire[:-1])
        await self.assert_quiet(talker)
        peer.put(wire[-1:])
        await self.until(lambda: talker.received == b"hello")
        await self.assert_quiet(talker)
