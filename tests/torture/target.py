"""A server as its peers see it: a URL, whom to trust, and perhaps the processes behind it."""

import socket
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from .process import Usage

__all__ = ["Target"]

#: Seconds for what has no promise of its own.
_PATIENCE = 20.0


@cache
def _context(ca: str | None, changed: int) -> ssl.SSLContext:
    """A TLS context that trusts what a file holds since it was changed: to read it takes longer than a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca)
    return context


@dataclass(frozen=True, slots=True)
class Target:
    """A Mles server.

    Attributes:
        url: where it is, ``ws://host:port`` or ``wss://host:port``.
        ca: a PEM file with the certificate to trust; None: nothing is verified.
        pids: its processes; none: nothing can be said about what it uses.
        address: where to connect to, when that is not what the URL's host says.
    """

    url: str
    ca: str | None = None
    pids: tuple[int, ...] = ()
    address: str | None = None

    @property
    def host(self) -> str:
        """The name in its URL."""
        return urlsplit(self.url).hostname or "localhost"

    @property
    def port(self) -> int:
        """Its port."""
        return urlsplit(self.url).port or (443 if self.is_secure else 80)

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken."""
        return urlsplit(self.url).scheme in ("wss", "https")

    def dial(self, receive_buffer: int | None = None, source: str | None = None) -> socket.socket:
        """A TCP connection to it.

        Args:
            receive_buffer: bytes the kernel is to hold for us; None: as many as it likes.
            source: an address of this machine to come from.
        """
        host = self.address or ("127.0.0.1" if self.host == "localhost" else self.host)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        dialed = socket.socket(family)
        try:
            if receive_buffer is not None:
                dialed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            dialed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            dialed.settimeout(_PATIENCE)
            if source is not None:
                dialed.bind((source, 0))
            dialed.connect((host, self.port))
        except BaseException:
            dialed.close()
            raise
        return dialed

    def trust(self) -> ssl.SSLContext | None:
        """A TLS context for it; None: it speaks none."""
        if not self.is_secure:
            return None
        return _context(self.ca, Path(self.ca).stat().st_mtime_ns if self.ca is not None else 0)

    def connect(self, receive_buffer: int | None = None, source: str | None = None) -> socket.socket:
        """A connection to it, behind the TLS handshake where there is one."""
        dialed = self.dial(receive_buffer, source)
        context = self.trust()
        if context is None:
            return dialed
        try:
            return context.wrap_socket(dialed, server_hostname=self.host)
        except BaseException:
            dialed.close()
            raise

    def usage(self) -> Usage | None:
        """What its processes use; None: they are not known."""
        return Usage.of(*self.pids) if self.pids else None
