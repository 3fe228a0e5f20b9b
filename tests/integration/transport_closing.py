"""What holds for every stream transport: a connection that the server ends."""

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost

from .stream_peers import End
from .transport_rig import Contract, HalfCloser, Talker, pattern

__all__ = ["ClosingContract"]

LARGE = 6_000_000


def answer_and_close(talker: Any, data: bytes) -> None:
    """Answer with a lot, and close."""
    talker.transport.write(pattern(LARGE))
    talker.transport.loseConnection()


class ClosingContract(Contract):
    """The server ends a connection, or half of it."""

    async def test_close(self) -> None:
        """What was written arrives, then a clean end; the protocol is told once."""
        peer, talker = await self.connect()
        talker.transport.write(b"last words")
        talker.transport.loseConnection()
        talker.transport.loseConnection()
        self.assertEqual(await peer.receive_finish(), b"last words")
        await self.farewell(peer, talker)
        self.assertEqual(await peer.receive_rest(), (b"", End.CLEAN))

    async def test_close_much(self) -> None:
        """However much waits, all of it arrives before the clean end."""
        peer, talker = await self.connect()
        talker.transport.write(pattern(LARGE))
        talker.transport.loseConnection()
        await self.assert_quiet(talker)
        self.assertTrue(await peer.receive_finish() == pattern(LARGE))
        await self.farewell(peer, talker)

    async def test_close_in_answer(self) -> None:
        """So it does when the protocol answers and closes while it is told of the question."""
        peer, talker = await self.connect(on_data=answer_and_close)
        peer.say(b"question")
        self.assertTrue(await peer.receive_finish() == pattern(LARGE))
        await self.farewell(peer, talker)

    async def test_close_early(self) -> None:
        """What was written before the handshake arrives too when the end is asked for before it."""

        def speak(talker: Talker) -> None:
            talker.transport.write(b"first and last")
            talker.transport.loseConnection()

        self.prepare = lambda talker: setattr(talker, "on_made", speak)
        peer, talker = await self.dial()
        await peer.handshake()
        self.assertEqual(await peer.receive_finish(), b"first and last")
        await self.farewell(peer, talker)

    async def test_close_early_and_silent(self) -> None:
        """An end that is asked for before anything was said is one at once."""
        self.prepare = lambda talker: setattr(talker, "on_made", lambda talker: talker.transport.loseConnection())
        peer, talker = await self.dial()
        await self.lost(talker, self.reason_of_abort if self.aborts_early else ConnectionDone)
        self.assertEqual(await peer.receive_rest(), (b"", End.RESET if self.aborts_early else End.CLEAN))

    async def test_close_while_peer_talks(self) -> None:
        """What the peer says after that is not delivered, and does not spoil what is on its way to it."""
        peer, talker = await self.connect()
        talker.transport.write(pattern(LARGE))
        talker.transport.loseConnection()
        peer.say(b"one more")
        await self.assert_quiet(talker)
        if self.waits_for_peer:
            self.assertTrue(await peer.receive_finish() == pattern(LARGE))
            peer.say(pattern(30_000))
            await self.farewell(peer, talker)
        else:
            await peer.receive_rest()
            await self.lost(talker, ConnectionDone, ConnectionLost)
        if self.is_deaf_after_close:
            self.assertEqual(talker.received, b"")

    async def test_close_peer_goes_first(self) -> None:
        """A peer that has said its last word already, and waits for the answer, gets all of it."""
        peer, talker = await self.connect(on_data=answer_and_close)
        peer.put(peer.encrypt(b"question") + (peer.goodbye() if self.is_secure else b""))
        peer.fin()
        self.assertTrue(await peer.receive_finish() == pattern(LARGE))
        await self.lost(talker, ConnectionDone)

    async def test_close_peer_goes_meanwhile(self) -> None:
        """So does one that says its last word while the answer is on its way."""
        peer, talker = await self.connect(on_data=answer_and_close)
        peer.say(b"question")
        await self.until(lambda: talker.received)
        peer.finish()
        await self.assert_quiet(talker)
        self.assertTrue(await peer.receive_finish() == pattern(LARGE))
        await self.lost(talker, ConnectionDone)

    async def test_close_half_closed(self) -> None:
        """A protocol whose peer has finished, and that goes on alone, gets all it writes across."""
        peer, talker = await self.connect(HalfCloser)
        peer.finish()
        peer.fin()
        await self.until(lambda: "read lost" in talker.events or talker.is_lost)
        if not self.tells_of_half_close:
            self.assertTrue(talker.is_lost)
            return
        talker.transport.write(pattern(LARGE))
        talker.transport.loseConnection()
        self.assertTrue(await peer.receive_finish() == pattern(LARGE))
        await self.lost(talker, ConnectionDone)

    async def test_close_paused(self) -> None:
        """A protocol that has paused reading can close."""
        if not self.closes_while_paused:
            return
        for pauses_first in (True, False):
            peer, talker = await self.connect()
            talker.transport.write(b"last words")
            if pauses_first:
                talker.transport.pauseProducing()
            talker.transport.loseConnection()
            if not pauses_first:
                talker.transport.pauseProducing()
            self.assertEqual(await peer.receive_finish(), b"last words")
            await self.farewell(peer, talker)

    async def test_write_after_close(self) -> None:
        """What is written after the end is dropped."""
        peer, talker = await self.connect()
        talker.transport.write(b"last words")
        talker.transport.loseConnection()
        if not self.sends_after_close:
            talker.transport.write(b" and more")
        self.assertEqual(await peer.receive_finish(), b"last words")
        talker.transport.write(b" too late")
        talker.transport.writeSequence([b" too", b" late"])
        await self.farewell(peer, talker)
        talker.transport.write(b" gone")
        talker.transport.writeSequence([b" gone"])
        talker.transport.loseConnection()
        if self.may_abort_when_gone:
            talker.transport.abortConnection()
        self.assertEqual(await peer.receive_rest(), (b"", End.CLEAN))

    async def test_close_with_producer(self) -> None:
        """A producer that is done before the end, or only afterwards, is no obstacle to it."""
        for late in (False, True):
            peer, talker = await self.connect()
            talker.transport.registerProducer(_Producer(), True)
            talker.transport.write(b"last words")
            talker.transport.loseConnection()
            if late:
                await self.turns()
                if self.waits_for_peer and not talker.is_lost:
                    peer.say(b"still talking")
            if not talker.is_lost:
                talker.transport.unregisterProducer()
            self.assertEqual(await peer.receive_finish(), b"last words")
            await self.turns()
            await self.farewell(peer, talker)

    async def test_peer_stays(self) -> None:
        """A peer that does not answer the end is waited for in peace, and can be cut off."""
        peer, talker = await self.connect()
        talker.transport.loseConnection()
        await peer.receive_finish()
        if self.waits_for_peer:
            await self.assert_quiet(talker)
            peer.say(pattern(50_000))
            await self.assert_quiet(talker)
            if self.is_deaf_after_close:
                self.assertEqual(talker.received, b"")
            talker.transport.abortConnection()
            await self.lost(talker, self.reason_of_abort)
        else:
            await self.lost(talker, ConnectionDone)

    async def test_peer_answers_curtly(self) -> None:
        """A peer that answers the end by closing its socket is not reproached."""
        peer, talker = await self.connect()
        talker.transport.loseConnection()
        await peer.receive_finish()
        peer.close()
        await self.lost(talker, self.reason_of_curt_answer)


class _Producer:
    """Has nothing to produce."""

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass
