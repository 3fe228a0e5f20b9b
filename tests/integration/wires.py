"""Wires to servers that can be cut: plain TCP, passed on byte by byte."""

import asyncio
import contextlib

from .clients import together

__all__ = ["Wire"]


class Wire:
    """A port on loopback that leads to another one.

    Args:
        port: where it leads.

    Attributes:
        port: the port of the wire.
        url: that for WebSocket.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self.is_whole = True
        (self._server,) = together([self._listen()])
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"ws://localhost:{self.port}/"

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_whole:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there_writer}
        self._writers |= both
        await asyncio.gather(self._pass(reader, there_writer), self._pass(there_reader, writer))
        self._writers -= both

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    def cut(self) -> None:
        """Cut it: what is on its way is lost, and nothing gets through any more."""
        together([self._cut()])

    async def _cut(self) -> None:
        self.is_whole = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Let connections through again."""
        self.is_whole = True

    def close(self) -> None:
        """Be no more."""
        self.cut()
        together([self._close()])

    async def _close(self) -> None:
        self._server.close()
