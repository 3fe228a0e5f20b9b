"""Connections over TCP: what they write goes to the kernel at once, and what they read has a share of each turn.

It must not know what is said on them. TLS is added in `tls`.
"""

import socket
import sys
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any

from twisted.internet import main
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.tcp import Server
from twisted.python.failure import Failure

from .admission import Admission

__all__ = [
    "DEPARTURES",
    "OPEN",
    "READ_BYTES",
    "WRITE_BYTES",
    "Phase",
    "Preface",
    "PrefaceError",
    "TCPServer",
    "acknowledged",
    "bytes_taken",
    "end_stream",
]

#: Bytes read from a connection in a turn. 64 KiB, Twisted's own measure, hold 10,900 pings: 180 ms in which nobody else
#: is served.
READ_BYTES = 16 * 1024

#: Bytes given to the kernel for a connection before the others have their turn: what Twisted sends at once.
WRITE_BYTES = 128 * 1024

#: Connections of a port whose end is seen to in a turn: some 5 ms. Thousands may vanish in the same instant, when the
#: network in front of them does, and the others go on talking.
DEPARTURES = 64

#: What is done with the socket of a connection before its protocol, or TLS, reads the first byte. It is called with
#: the connection whenever there is something to be read, or the end of it (then it has to raise), until it returns
#: True. It reads no byte too many (``MSG_PEEK`` looks without reading), and sets ``SO_RCVLOWAT`` when it has seen a
#: part: what is seen and not read would be announced again and again.
Preface = Callable[[Any], bool]


class PrefaceError(Exception):
    """What a peer sends first is not what has to stand there: the connection is closed without a word."""


class Phase(Enum):
    """What becomes of a write."""

    HANDSHAKE = auto()  #: it waits for the end of the TLS handshake
    OPEN = auto()  #: it goes out at once, unless something waits already
    ENDING = auto()  #: it is Twisted's business: the connection, or its direction, is about to end


#: To look a member of an Enum up takes as long as the rest of a small write.
OPEN = Phase.OPEN


class TCPServer(Server):
    """A connection that hands bytes to the kernel at once.

    Twisted's own waits for the reactor to find the socket writable: one more turn and two more system calls
    for what nearly always would have gone out right away. What the kernel refuses, or is more than one connection's
    share of a turn, goes Twisted's way.

    It is made by a `ListeningPort`.
    """

    phase = Phase.OPEN

    _is_gone = False

    _prefaces: tuple[Preface, ...] = ()  # those that are not over

    def __init__(
        self,
        connected: socket.socket,
        protocol: Any,
        client: tuple[Any, ...],
        port: Any,
        number: int,
        reactor: Any,
        peer: IPv4Address | IPv6Address | None = None,
    ) -> None:
        super().__init__(connected, protocol, client, port, number, reactor)
        self._peer = super().getPeer() if peer is None else peer
        # Asked for with each message: Python looks for what stands on the class for twice as long.
        self.disconnecting = False
        self.dataBuffer = b""
        self._admission: Admission = port.admission
        self._admission.open += 1
        self._eager_bytes = 0  # since the reactor last found the socket writable
        if port.prefaces:
            self._prefaces = port.prefaces
            self.doRead = self._read_preface  # type: ignore[method-assign]

    def _getLogPrefix(self, protocol: object) -> str:
        return type(protocol).__name__  # which Twisted would find out in three calls

    def startTLS(self, ctx: object, normal: bool = True) -> None:
        raise RuntimeError("TLS is spoken from the first byte on, or not at all")

    def comes_from(self, host: str, port: int) -> None:
        """Whoever is at the other end speaks for somebody else: that is the peer from now on.

        Args:
            host: an IPv4 or IPv6 address.
            port: its port.
        """
        self._peer = (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)

    def getPeer(self) -> Any:
        return self._peer

    def bytes_taken(self) -> int:
        """Bytes the peer's system has acknowledged: a sign of life that needs no answer."""
        try:
            return acknowledged(self.socket)
        except AttributeError:
            return 0  # the connection is gone

    def doRead(self) -> Any:
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        return self._dataReceived(data)

    def doWrite(self) -> Any:
        self._eager_bytes = 0
        return super().doWrite()

    def writeSomeData(self, data: Any) -> Any:
        try:
            return self.socket.send(memoryview(data)[:WRITE_BYTES])
        except BlockingIOError:
            return 0
        except OSError:
            return main.CONNECTION_LOST

    def write(self, data: bytes) -> None:
        if (
            self.phase is OPEN
            and (self.producer is None or self.streamingProducer)  # one that is pulled is asked again by `doWrite`
            and self._eager_bytes < WRITE_BYTES
            and not (self.dataBuffer or self._tempDataBuffer)
        ):
            sent = self.writeSomeData(data)
            if isinstance(sent, int):  # else it is lost: the reactor finds out
                self._eager_bytes += sent
                if sent == len(data):
                    return
                data = data[sent:]
        super().write(data)

    def loseConnection(self) -> None:
        self._ends()
        super().loseConnection()

    def loseWriteConnection(self) -> None:
        if self.connected and not self._writeDisconnected:
            self._ends()
            super().loseWriteConnection()

    def abortConnection(self) -> None:
        self._ends()
        super().abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        if self._is_gone:
            return  # Twisted may call it twice
        self._is_gone = True
        self._ends()
        # Until its turn comes nothing is read or written any more; its protocol does not know it yet.
        self.connected, self.disconnected = 0, 1
        self.stopReading()
        self.stopWriting()
        port: Any = self.server
        port.departures.run(partial(self._depart, reason))

    def _depart(self, reason: Failure) -> None:
        """Tell the protocol, and close the socket."""
        self._admission.open -= 1
        super().connectionLost(reason)

    def _ends(self) -> None:
        if self.phase is Phase.OPEN:
            self.phase = Phase.ENDING

    def _read_preface(self) -> Any:
        while self._prefaces:
            try:
                is_over = self._prefaces[0](self)
            except (PrefaceError, OSError):
                return main.CONNECTION_LOST
            if not is_over or self._aborting or self.disconnecting:
                return None
            self._prefaces = self._prefaces[1:]
        del self.doRead, self._prefaces
        return self.doRead()


#: ``tcpi_bytes_acked`` in Linux' ``struct tcp_info``.
_BYTES_ACKED = slice(120, 128)
_TCP_INFO_BYTES = 128


def acknowledged(connected: socket.socket) -> int:
    """Bytes the other end of a TCP connection has acknowledged; 0 where the system does not tell."""
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except (AttributeError, OSError):
        return 0
    return int.from_bytes(info[_BYTES_ACKED], sys.byteorder)


def bytes_taken(transport: Any) -> int:
    """Bytes the peer of a connection has taken; 0 where that cannot be told, as in somebody else's site."""
    # Through Twisted's TLS too: it passes on what it does not know.
    ask = getattr(transport, "bytes_taken", None)
    return 0 if ask is None else int(ask())


def end_stream(transport: Any) -> None:
    """Send what is left, and then the end of the stream; the peer's end is still read.

    Closing at once would reset the connection when the peer has sent something we have not read, and what was
    on its way to it would be lost. Whoever calls this sees to it that the connection is aborted when the peer's
    end never comes.
    """
    if ISSLTransport.providedBy(transport):
        transport.loseConnection()  # says so within TLS, and waits for the peer to do the same
    else:
        transport.loseWriteConnection()
