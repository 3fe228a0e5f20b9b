"""Servers for tests: in this process, with real sockets on loopback, or on a reactor in memory."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from cryptography.x509 import Certificate
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mles_tx.service.config import ServerConfig
from mles_tx.service.server import MlesService
from mles_tx.transport.door import Door
from tests.transport.certificates.making import Made
from tests.transport.fakes import FakeTransport
from tests.wire import client_frame, header, upgrade

from .clients import AnyCertificate, Client, dial, reactor

__all__ = ["FOUND", "NOT_FOUND", "DrainTestCase", "ServerTestCase", "logged", "occupied"]

FOUND = "HTTP/1.1 200 OK"
NOT_FOUND = "HTTP/1.1 404 Not Found"


@contextmanager
def logged() -> Iterator[list[str]]:
    """The warnings that are logged meanwhile."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name in ("warn", "error", "critical"):
            lines.append(formatEvent(event))

    observer: Any = observe
    globalLogPublisher.addObserver(observer)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observer)


def occupied() -> tuple[socket.socket, int]:
    """A loopback port that another program listens on."""
    other = socket.socket()
    other.bind(("127.0.0.1", 0))
    other.listen()
    return other, other.getsockname()[1]


class ServerTestCase(TestCase):
    """Servers that end with their test."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.cache = self.directory / "cache"

    def start(self, **fields: Any) -> MlesService:
        """A server that has been started, on a free port."""
        service = MlesService(ServerConfig(**{"port": 0, "cache": self.cache, **fields}), reactor)
        service.privilegedStartService()
        service.startService()
        self.addCleanup(self._stop, service)
        return service

    async def _stop(self, service: MlesService) -> None:
        if service.running:
            await service.stopService()

    def start_secure(self, **fields: Any) -> MlesService:
        """One with TLS, on 127.0.0.1 alone."""
        return self.start(**{"domains": ("localhost",), "interfaces": ("127.0.0.1",), **fields})

    def port(self, service: MlesService) -> int:
        """Where a server listens."""
        return service.listener.addresses[0][1]

    def write(self, name: str, content: bytes) -> Path:
        """A file of the operator's."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def files(self, made: Made, name: str) -> tuple[Path, Path]:
        """Certificate and key as an operator's files."""
        return self.write(f"{name}.pem", made.certificate_pem), self.write(f"{name}-key.pem", made.key_pem)

    def trust(self, name: str = "localhost", host: str = "localhost", offered: tuple[bytes, ...] = ()) -> Any:
        """A client's TLS that trusts the self-signed certificate, for a host name."""
        text = (self.cache / "self-signed" / f"{name}.pem").read_bytes()
        root = TwistedCertificate.loadPEM(text[text.index(b"-----BEGIN CERTIFICATE") :])
        return optionsForClientTLS(host, trustRoot=root, acceptableProtocols=list(offered) or None)

    async def join(self, service: MlesService, uid: str, tls: Any = None, **more: Any) -> Client:
        """A member."""
        client = await dial(self.port(service), tls)
        client.transport.write(upgrade())
        await client.until(b"\r\n\r\n")
        client.transport.write(header(uid, **more) + client_frame(9, b"joined"))
        await client.until(b"joined")
        client.received = b""
        return client

    async def shown(self, service: MlesService, name: str | None = None) -> Certificate:
        """The certificate a client is shown that asks for a server by name."""
        client = await dial(self.port(service), AnyCertificate(name))
        client.transport.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.until(b"HTTP/1.1 ")
        certificate: Certificate = client.transport.getPeerCertificate().to_cryptography()
        await client.hang_up()
        return certificate

    def assert_free(self, port: int) -> None:
        """Nobody listens on a port of 127.0.0.1 any more."""
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", port)), 0)


class DrainTestCase(SynchronousTestCase):
    """A server whose peers do not go, on a clock."""

    #: What is set in the server's configuration.
    fields: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.service = MlesService(ServerConfig(port=0, **self.fields), self.reactor)
        self.service.privilegedStartService()
        self.service.startService()

    def connect(self, data: bytes = b"") -> FakeTransport:
        """A connection, on which something has come."""
        door = self.service.listener.door.buildProtocol(None)
        assert isinstance(door, Door)
        peer = FakeTransport(door)
        peer.receive(data)
        peer.taken()
        return peer

    def member(self, uid: str) -> FakeTransport:
        """A member."""
        peer = self.connect(upgrade() + header(uid, history=0))
        self.assertFalse(peer.lost)
        return peer

    def assert_all_gone(self) -> None:
        """No timer, socket or connection is left."""
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((self.reactor.getReaders(), self.reactor.getWriters()), ([], []))
        self.assertEqual(self.service.listener.websocket.connections, set())
        self.assertEqual(self.service.listener.door.doors, set())
