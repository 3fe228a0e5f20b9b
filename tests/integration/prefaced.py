"""Connections on which something stands before everything else: what tests of them have in common."""

from typing import Any

from .transport_rig import Contract, pattern

__all__ = ["PrefacedContract"]


class PrefacedContract(Contract):
    """What holds behind a preface, with and without TLS.

    Attributes:
        is_secure: whether TLS stands behind it.
        opening: a preface that is right, whole.
    """

    is_secure = False
    opening: bytes

    def first_bytes(self, peer: Any) -> bytes:
        """What the peer says first behind the preface."""
        return bytes(peer.hello()) if self.is_secure else b"hello"

    async def talk(self, peer: Any, talker: Any) -> None:
        """The rest of the handshake, if there is one, and an answer."""
        if self.is_secure:
            await peer.handshake()
            peer.say(b"hello")
        self.assertEqual(await peer.receive(5), b"hello")
        self.assertEqual(talker.received, b"hello")

    async def meet(self) -> tuple[Any, Any]:
        """A connection on which nothing was said, with an echo behind it."""
        return await self.dial(on_data=lambda talker, data: talker.transport.write(data))

    async def test_much_behind(self) -> None:
        """However much stands behind the preface, it arrives whole."""
        peer, talker = await self.dial()
        if self.is_secure:
            peer.put(self.opening + peer.hello())
            await peer.handshake()
            await peer.say_all(pattern(1_000_000))
        else:
            await peer.put_all(self.opening + pattern(1_000_000))
        await self.until(lambda: len(talker.received) == 1_000_000)
        self.assertTrue(talker.received == pattern(1_000_000))
