"""Listening sockets: bound early and loudly, and served with our own connections."""

import errno
import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.tcp import Port
from twisted.logger import Logger

from mles_tx.metrics import Metrics

from .admission import Admission, AdmittingFactory
from .contexts import ICertificates
from .share import TurnShare
from .tcp import DEPARTURES, Preface, TCPServer
from .tls import HANDSHAKE_STEPS, TLSServer, record_memory

__all__ = ["BindError", "ListeningPort", "bind", "has_ipv6", "usable"]

#: Connections the kernel may hold for us: a restarted server meets all its clients in the same second.
_BACKLOG = 1024

#: Connections accepted in a turn. Each comes back with its request and its first frame, so that without TLS a turn of a
#: flood has four times as many events, some 10 ms; with 64 it was 40 to 70, and everybody else waited for two of them.
_ACCEPTS = 16

#: How often a free port is looked for that is free on all addresses.
_FREE_PORT_TRIES = 20

_REMEDIES = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another {option}",
    errno.EACCES: "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE:"
    " start as root, or choose another {option}",
    errno.EADDRNOTAVAIL: "this machine does not have that address: choose another {interface}",
    errno.EAFNOSUPPORT: "this machine does not have that kind of address: choose another {interface}",
}


class BindError(Exception):
    """An address cannot be listened on; the text names it and the remedy."""


class ListeningPort(Port):
    """A port made from a socket that listens already; it belongs to the port from then on.

    Args:
        listening: the socket.
        factory: who builds the protocols of those who are admitted.
        reactor: the reactor.
        admission: who is, and where connections are counted; None: everybody.
        certificates: connections speak TLS, and are shown one of these; None: they do not.
        preface: reads what stands before TLS, or before the protocol without it; None: nothing does.
        proxy_header: reads what stands before that: where the connection comes from; None: from its peer.
    """

    _log = Logger()

    transport: Any = TCPServer

    def __init__(
        self,
        listening: socket.socket,
        factory: IProtocolFactory,
        reactor: Any,
        admission: Admission | None = None,
        certificates: ICertificates | None = None,
        preface: Preface | None = None,
        proxy_header: Preface | None = None,
    ) -> None:
        if admission is None:
            admission = Admission(reactor, Metrics())
        interface = listening.getsockname()[0]
        super().__init__(0, AdmittingFactory(admission, factory, interface), interface=interface, reactor=reactor)
        self.admission = admission
        self.prefaces = tuple(each for each in (proxy_header, preface) if each is not None)
        self.certificates = certificates
        self.departures = TurnShare(reactor, DEPARTURES)
        if certificates is not None:
            self.transport = TLSServer
            self.handshakes = TurnShare(reactor, HANDSHAKE_STEPS)
            self.read_memory = record_memory()
        self._preexistingSocket = listening

    def doRead(self) -> None:
        # As Twisted does it, but for the loop around it, which is made for systems where accepting fails in many ways.
        for _ in range(_ACCEPTS):
            try:
                connected, address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError:
                super().doRead()  # it knows what to do when descriptors run out
                return
            try:
                self._take(connected, address)
            except Exception:
                self._log.failure("a connection could not be taken")

    def _take(self, connected: socket.socket, address: tuple[Any, ...]) -> None:
        if len(address) == 4 and address[3]:  # a link-local IPv6 address, with the number of its interface
            host, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
            address = (host, *address[1:])
        peer, factory = self._buildAddr(address), self.factory
        protocol = None if factory is None else factory.buildProtocol(peer)
        if protocol is None:
            connected.close()
            return
        self.sessionno += 1
        transport = self.transport(connected, protocol, address, self, self.sessionno, self.reactor, peer)
        protocol.makeConnection(transport)


def usable(interfaces: Sequence[str]) -> tuple[str, ...]:
    """Those of some numeric addresses whose kind this machine has."""
    return tuple(interfaces) if has_ipv6() else tuple(name for name in interfaces if ":" not in name)


def has_ipv6() -> bool:
    """Whether this machine has the IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def bind(
    interfaces: Sequence[str], port: int, option: str = "--port", interface_option: str = "--interface"
) -> list[socket.socket]:
    """Listen on one port of some numeric addresses.

    Args:
        interfaces: IPv4 and IPv6 addresses.
        port: 0 takes a port that is free on all of them.
        option: what the operator may change when it cannot be listened on.
        interface_option: the same, when it is the address.

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
                remedy = _REMEDIES.get(error.errno or 0, str(error.strerror)).format(
                    option=option, interface=interface_option
                )
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
