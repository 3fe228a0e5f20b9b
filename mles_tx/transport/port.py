"""Listening sockets: bound early and loudly, and served with connections that write at once."""

import errno
import fcntl
import socket
import sys
import termios
from collections.abc import Sequence
from typing import Any

from twisted.internet import main
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.tcp import Port, Server
from twisted.python.failure import Failure

from mles_tx.metrics import Metrics

from .admission import Admission, AdmittingFactory

__all__ = ["BindError", "ListeningPort", "bind", "bytes_taken", "has_ipv6"]

#: Connections the kernel may hold for us: a restarted server meets all its clients in the same second.
_BACKLOG = 1024

#: How often a free port is looked for that is free on all addresses.
_FREE_PORT_TRIES = 20

#: Bytes read from a connection in a turn. 64 KiB, Twisted's own measure, hold 10,900 empty frames: 150 ms in which
#: nobody else is served.
_READ_BYTES = 16 * 1024

#: Bytes given to the kernel for a connection before the others have their turn: what Twisted sends at once.
_WRITE_BYTES = 128 * 1024

_REMEDIES = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another --port",
    errno.EACCES: "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE:"
    " start as root, or choose another --port",
    errno.EADDRNOTAVAIL: "this machine does not have that address: choose another --interface",
    errno.EAFNOSUPPORT: "this machine does not have that kind of address: choose another --interface",
}


class BindError(Exception):
    """An address cannot be listened on; the text names it and the remedy."""


class _EagerServer(Server):
    """A connection that hands bytes to the kernel at once.

    Twisted's own waits for the reactor to find the socket writable: one more turn and two more system calls
    for what nearly always would have gone out right away. What the kernel refuses, or is more than one connection's
    share of a turn, goes Twisted's way.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        port: Any = self.server
        self._admission: Admission = port.admission
        self._admission.open += 1
        self._sent_bytes = 0
        self._eager_bytes = 0  # since the reactor last found the socket writable

    def connectionLost(self, reason: Failure) -> None:
        if hasattr(self, "socket"):  # Twisted may call it twice
            self._admission.open -= 1
        super().connectionLost(reason)

    def bytes_taken(self) -> int:
        """Bytes the peer's system has acknowledged: a sign of life that needs no answer."""
        try:
            waiting = fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except (AttributeError, OSError):
            return self._sent_bytes  # the connection is gone, or the system does not tell
        return self._sent_bytes - int.from_bytes(waiting, sys.byteorder)

    def doRead(self) -> Any:
        try:
            data = self.socket.recv(_READ_BYTES)
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
            sent = self.socket.send(memoryview(data)[:_WRITE_BYTES])
        except BlockingIOError:
            return 0
        except OSError:
            return main.CONNECTION_LOST
        self._sent_bytes += sent
        return sent

    def write(self, data: bytes) -> None:
        if (
            self._eager_bytes < _WRITE_BYTES
            and self.connected
            and not (self.dataBuffer or self._tempDataBuffer or self.disconnecting or self._writeDisconnected)
        ):
            rest: Any = memoryview(data)
            while rest:
                sent = self.writeSomeData(rest)
                if not isinstance(sent, int) or sent == 0:
                    break  # it is full, or lost: the reactor finds out which
                self._eager_bytes += sent
                rest = rest[sent:]
            if not rest:
                return
            data = bytes(rest)
        super().write(data)


class ListeningPort(Port):
    """A port made from a socket that listens already; it belongs to the port from then on.

    Args:
        listening: the socket.
        factory: who builds the protocols of those who are admitted.
        reactor: the reactor.
        admission: who is, and where connections are counted; None: everybody.
    """

    transport: Any = _EagerServer

    def __init__(
        self, listening: socket.socket, factory: IProtocolFactory, reactor: Any, admission: Admission | None = None
    ) -> None:
        if admission is None:
            admission = Admission(reactor, Metrics())
        super().__init__(0, AdmittingFactory(admission, factory), interface=listening.getsockname()[0], reactor=reactor)
        self.admission = admission
        self._preexistingSocket = listening


def bytes_taken(transport: Any) -> int:
    """Bytes the peer of a connection has taken; 0 where that cannot be told, as in somebody else's site."""
    # Through TLS too: Twisted's passes on what it does not know.
    ask = getattr(transport, "bytes_taken", None)
    return 0 if ask is None else int(ask())


def has_ipv6() -> bool:
    """Whether this machine has the IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def bind(interfaces: Sequence[str], port: int) -> list[socket.socket]:
    """Listen on one port of some numeric addresses.

    Args:
        interfaces: IPv4 and IPv6 addresses.
        port: 0 takes a port that is free on all of them.

    Raises:
        BindError: one of them cannot be listened on; then none is.
    """
    for attempt in range(_FREE_PORT_TRIES):
        sockets: list[socket.socket] = []
        number = port
        try:
            for interface in interfaces:
                sockets.append(_listen(interface, number))
                number = sockets[0].getsockname()[1]
            return sockets
        except OSError as error:
            for bound in sockets:
                bound.close()
            taken = port == 0 and sockets and error.errno == errno.EADDRINUSE
            if not taken or attempt == _FREE_PORT_TRIES - 1:
                remedy = _REMEDIES.get(error.errno or 0, error.strerror)
                raise BindError(f"cannot listen on {_shown(interface, number)}: {remedy}") from error
    raise AssertionError("unreachable")


def _listen(interface: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    address = socket.getaddrinfo(
        interface, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )[0][4]
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def _shown(interface: str, port: int) -> str:
    return f"[{interface}]:{port}" if ":" in interface else f"{interface}:{port}"
