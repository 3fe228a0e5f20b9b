"""The PROXY protocol on a port: its header is read before everything else, TLS included, and to the byte.

Who may connect at all is `Admission`'s: only trusted proxies. Here the connection gets its client's address, and is
counted as that client's.
"""

import socket
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.logger import Logger

from mles_tx.metrics import Metrics
from mles_tx.protocol.proxyheader import ProxyHeader, ProxyHeaderError, parse_proxy_header

from .admission import Admission
from .tcp import PrefaceError

__all__ = ["ProxyProtocol"]

#: Bytes looked at in one go: any header fits that the first segment of a connection can hold (section 2.2).
_LOOK_BYTES = 536

#: Proxies that are complained about: enough to see that the configurations do not fit.
_MAX_COMPLAINTS = 16


class Introduced(Protocol):
    """A connection before its first byte."""

    socket: socket.socket

    def getPeer(self) -> Any:  # noqa: N802 - Twisted's name
        """Where it comes from."""

    def comes_from(self, host: str, port: int) -> None:
        """It comes from somewhere else."""


class ProxyProtocol:
    """Reads the header of each connection of a port.

    Args:
        admission: where clients are counted.
        metrics: where those without a header are counted.
    """

    _log = Logger()

    def __init__(self, admission: Admission, metrics: Metrics) -> None:
        self._admission = admission
        self._metrics = metrics
        self._begun: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()
        self._complained: set[str] = set()

    def read_header(self, connection: Introduced) -> bool:
        """Take the header, and not a byte of what stands behind it: a `Preface`.

        What has come of a header that is not whole is taken as well, so that nothing is announced twice.

        Raises:
            PrefaceError: it has none, or its client has too many connections.
        """
        begun = self._begun.pop(connection, b"")
        try:
            seen = connection.socket.recv(_LOOK_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            seen = None
        if seen == b"":
            raise PrefaceError("the connection ends within its header")
        header = self._parse(begun + (seen or b""), connection) if seen else None
        if header is None:
            begun += connection.socket.recv(len(seen)) if seen else b""
            if begun:
                self._begun[connection] = begun
            return False
        connection.socket.recv(header.size - len(begun))
        if header.client is not None:
            connection.comes_from(*header.client)
            if self._admission.seconds_to_wait(header.client[0]):
                raise PrefaceError("the client has too many connections")
        return True

    def _parse(self, data: bytes, connection: Introduced) -> ProxyHeader | None:
        try:
            return parse_proxy_header(data)
        except ProxyHeaderError as error:
            proxy = connection.getPeer().host
            self._metrics.dropped(proxy)
            if proxy not in self._complained and len(self._complained) < _MAX_COMPLAINTS:
                self._complained.add(proxy)
                self._log.warn(
                    "a connection from {proxy} does not begin with a PROXY header: {why}; let the proxy send one, or"
                    " leave --proxy-protocol away",
                    proxy=proxy,
                    why=str(error),
                )
            raise PrefaceError("no header") from error
