"""What holds for every stream transport: aborts, halves, and peers that end a connection or vanish."""

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from .stream_peers import End
from .transport_rig import Contract, HalfCloser, Talker, pattern

__all__ = ["AbortContract", "HalfCloseContract", "VanishingContract"]

LARGE = 6_000_000


class AbortContract(Contract):
    """The server cuts a connection off."""

    async def test_abort(self) -> None:
        """An abort resets the peer; the protocol is told once, not within the call."""
        peer, talker = await self.connect()
        talker.transport.abortConnection()
        self.assertEqual(talker.reasons, [])
        talker.transport.write(b"nobody hears this")
        talker.transport.writeSequence([b"nor", b"this"])
        talker.transport.abortConnection()
        talker.transport.loseConnection()
        await self.lost(talker, self.reason_of_abort)
        if self.may_abort_when_gone:
            talker.transport.abortConnection()
        talker.transport.write(b"gone")
        data, end = await peer.receive_rest()
        self.assertEqual((data, end), (b"", End.RESET))

    async def test_abort_with_much(self) -> None:
        """What waits is dropped."""
        peer, talker = await self.connect()
        await self.stall(peer, talker)
        talker.transport.abortConnection()
        await self.lost(talker, self.reason_of_abort)
        self.assertEqual((await peer.receive_rest())[1], End.RESET)

    async def test_abort_after_close(self) -> None:
        """An end that takes too long can be cut short."""
        peer, talker = await self.connect()
        await self.stall(peer, talker)
        talker.transport.loseConnection()
        await self.assert_quiet(talker)
        talker.transport.abortConnection()
        await self.lost(talker, self.reason_of_abort)

    async def test_abort_in_answer(self) -> None:
        """A protocol can abort while it is told something; nothing more is delivered."""
        peer, talker = await self.connect(on_data=lambda talker, data: talker.transport.abortConnection())
        peer.put(peer.encrypt(b"one") + peer.encrypt(pattern(200_000)))
        await self.lost(talker, self.reason_of_abort)
        self.assertLessEqual(len(talker.received), 65536 + 3)

    async def test_abort_in_handshake(self) -> None:
        """A connection that has not shaken hands can be aborted, at any step."""
        for said in (0, 1, 100):
            peer, talker = await self.dial()
            if said:
                peer.put((peer.hello() if self.is_secure else pattern(200))[:said])
            await self.turns(3)
            talker.transport.abortConnection()
            await self.lost(talker, self.reason_of_abort)

    async def test_abort_when_made(self) -> None:
        """Nothing is delivered on a connection that was aborted when it was made."""
        self.prepare = lambda talker: setattr(talker, "on_made", lambda talker: talker.transport.abortConnection())
        _, talker = await self.dial()
        await self.lost(talker, self.reason_of_abort)
        self.assertEqual(talker.received, b"")


class HalfCloseContract(Contract):
    """The server ends its half of a connection."""

    async def test_half_close(self) -> None:
        """After half of it has ended, what the peer says still arrives."""
        if not self.closes_half:
            return
        peer, talker = await self.connect(HalfCloser)
        talker.transport.write(pattern(LARGE))
        talker.transport.loseWriteConnection()
        await self.assert_quiet(talker)
        self.assertNotIn("write lost", talker.events)
        self.assertTrue(await peer.receive_finish() == pattern(LARGE))
        await self.told(talker, "write lost")
        talker.transport.write(b"too late")
        await self.assert_quiet(talker)
        for _ in range(3):
            peer.say(pattern(50_000))
            await self.turns(3)
        await self.until(lambda: len(talker.received) == 150_000)
        self.assertTrue(talker.received == pattern(50_000) * 3)
        peer.finish()
        await self.told(talker, "read lost")
        self.assertEqual([event for event in talker.events if "lost" in event], ["write lost", "read lost"])
        await self.assert_quiet(talker)
        talker.transport.loseConnection()
        await self.lost(talker, ConnectionDone)
        self.assertEqual(await peer.receive_rest(), (b"", End.CLEAN))

    async def test_half_close_alone(self) -> None:
        """A protocol that knows nothing of halves can end one too; the peer's end is the end."""
        if not self.closes_half:
            return
        peer, talker = await self.connect()
        talker.transport.write(b"last words")
        talker.transport.loseWriteConnection()
        self.assertEqual(await peer.receive_finish(), b"last words")
        peer.say(b"goodbye")
        await self.until(lambda: talker.received == b"goodbye")
        self.assertFalse(talker.is_lost)
        peer.finish()
        await self.lost(talker, ConnectionDone)

    async def test_half_close_twice(self) -> None:
        """Half an end that is asked for twice is one, and what the peer says still arrives."""
        if not self.closes_half:
            return
        peer, talker = await self.connect(HalfCloser)
        talker.transport.loseWriteConnection()
        await peer.receive_finish()
        talker.transport.pauseProducing()
        peer.say(b"one")
        talker.transport.loseWriteConnection()
        await self.turns(3)
        talker.transport.resumeProducing()
        await self.until(lambda: talker.received == b"one" or talker.is_lost)
        peer.say(b"two")
        await self.until(lambda: talker.received == b"onetwo" or talker.is_lost)
        self.assertEqual((talker.received, talker.reasons), (b"onetwo", []))

    async def test_half_close_early(self) -> None:
        """Half an end before the handshake waits for what was written before."""
        if not self.closes_half:
            return

        def speak(talker: Talker) -> None:
            talker.transport.write(b"first")
            talker.transport.loseWriteConnection()

        self.prepare = lambda talker: setattr(talker, "on_made", speak)
        peer, talker = await self.dial(HalfCloser)
        await peer.handshake()
        self.assertEqual(await peer.receive_finish(), b"first")
        peer.say(b"heard")
        await self.until(lambda: talker.received == b"heard")

    async def test_half_close_when_gone(self) -> None:
        """Half an end of a connection that has ended is nothing."""
        if not self.closes_half:
            return
        _, talker = await self.connect()
        talker.transport.abortConnection()
        await self.lost(talker, ConnectionAborted)
        talker.transport.loseWriteConnection()
        talker.transport.loseConnection()

    async def test_half_close_then_close(self) -> None:
        """Whoever has ended half of it can end the rest."""
        if not self.closes_half:
            return
        peer, talker = await self.connect(HalfCloser)
        talker.transport.loseWriteConnection()
        await peer.receive_finish()
        await self.told(talker, "write lost")
        talker.transport.loseConnection()
        if self.waits_for_peer and not talker.is_lost:
            await self.farewell(peer, talker)
        await self.lost(talker, ConnectionDone)


class VanishingContract(Contract):
    """The peer ends a connection, or half of it, or is gone."""

    async def test_peer_finishes(self) -> None:
        """The peer's end is the end, for a protocol that knows nothing of halves."""
        peer, talker = await self.connect()
        peer.put(peer.encrypt(b"goodbye") + (peer.goodbye() if self.is_secure else b""))
        peer.fin()
        await self.lost(talker, ConnectionDone)
        self.assertEqual(talker.received, b"goodbye")
        self.assertEqual(await peer.receive_rest(), (b"", End.CLEAN))

    async def test_peer_finishes_and_stays(self) -> None:
        """So it is when the peer keeps its socket open."""
        peer, talker = await self.connect()
        peer.finish()
        await self.lost(talker, ConnectionDone)
        self.assertEqual(await peer.receive_rest(), (b"", End.CLEAN))

    async def test_peer_finishes_half(self) -> None:
        """A protocol that knows of halves goes on writing, and ends the connection itself."""
        for with_fin in (False, True):
            peer, talker = await self.connect(HalfCloser)
            peer.say(b"question")
            peer.finish()
            if with_fin:
                peer.fin()
            if not self.tells_of_half_close:
                await self.lost(talker, ConnectionDone)
                continue
            await self.told(talker, "read lost")
            self.assertEqual((talker.received, talker.reasons), (b"question", []))
            await self.assert_quiet(talker)
            for _ in range(3):
                talker.transport.write(pattern(2_000_000))
            await self.assert_quiet(talker)
            self.assertTrue(await peer.receive(6_000_000) == pattern(2_000_000) * 3)
            await self.turns(3)
            await self.assert_quiet(talker)
            talker.transport.loseConnection()
            self.assertEqual(await peer.receive_finish(), b"")
            await self.lost(talker, ConnectionDone)

    async def test_peer_closes_unread(self) -> None:
        """A peer that closes before it has read everything is lost."""
        peer, talker = await self.connect()
        await self.stall(peer, talker)
        peer.close()
        await self.lost(talker, ConnectionLost, ConnectionDone)

    async def test_reset(self) -> None:
        """A peer that resets the connection is lost: idle, while something waits for it, and while it is waited for."""
        for waiting in (False, True):
            peer, talker = await self.connect()
            if waiting:
                await self.stall(peer, talker)
            peer.reset()
            await self.lost(talker, ConnectionLost)
            talker.transport.write(b"nobody is there")

    async def test_reset_paused(self) -> None:
        """A reset while reading is paused is found out when something is written, or reading goes on."""
        for write in (True, False):
            peer, talker = await self.connect()
            talker.transport.pauseProducing()
            peer.reset()
            await self.turns(3)
            if write:
                talker.transport.write(b"are you there?")
                talker.transport.write(b"hello?")
                await self.turns(3)
            if not talker.is_lost:
                talker.transport.resumeProducing()
            await self.lost(talker, ConnectionLost)

    async def test_reset_after_close(self) -> None:
        """A peer that resets the connection instead of taking what waits for it is lost."""
        peer, talker = await self.connect()
        await self.stall(peer, talker)
        talker.transport.loseConnection()
        await self.turns(3)
        peer.reset()
        await self.lost(talker, ConnectionLost)

    async def test_reset_in_handshake(self) -> None:
        """A peer may vanish at any step of the handshake."""
        for said in (0, 1, 100, -1):
            for vanish in ("reset", "close", "fin"):
                peer, talker = await self.dial()
                hello = peer.hello() if self.is_secure else pattern(200)
                if said:
                    peer.put(hello if said < 0 else hello[:said])
                await self.turns(2)
                getattr(peer, vanish)()
                await self.gone(talker)
                self.assert_lost(talker, Exception)
                if vanish == "reset" or self.is_secure:
                    self.assert_lost(talker, ConnectionLost)

    async def test_paused_end(self) -> None:
        """What came before the end is delivered before it when reading goes on."""
        peer, talker = await self.connect()
        talker.transport.pauseProducing()
        peer.say(pattern(40_000))
        peer.finish()
        peer.fin()
        await self.assert_quiet(talker)
        self.assertEqual((talker.received, talker.reasons), (b"", []))
        talker.transport.resumeProducing()
        await self.lost(talker, ConnectionDone)
        self.assertTrue(talker.received == pattern(40_000))
