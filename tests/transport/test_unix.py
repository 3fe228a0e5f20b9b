"""Listening on a UNIX socket."""

import os
import socket
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mles_tx.transport.port import BindError
from mles_tx.transport.unix import UnixPort, bind_unix

reactor: Any = global_reactor


class _Greeting(Protocol):
    """Says one thing and hangs up."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.write(b"hello")
        self.transport.loseConnection()


class _Listening(Protocol):
    """Collects what comes."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(self.received)


class UnixTests(TestCase):
    """Sockets in a directory."""

    def setUp(self) -> None:
        # Not trial's own: the path of a socket is short.
        directory = TemporaryDirectory(prefix="mles-tx-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "socket"

    def bind(self, mode: int = 0o660) -> socket.socket:
        """The socket."""
        bound = bind_unix(str(self.path), mode, "--admin")
        self.addCleanup(bound.close)
        return bound

    def listen(self, mode: int = 0o660) -> UnixPort:
        """A port that greets."""
        factory = Factory.forProtocol(_Greeting)
        factory.noisy = False
        port = UnixPort(self.bind(mode), factory, reactor)
        port.startListening()
        self.addCleanup(self.close, port)
        return port

    async def close(self, port: UnixPort) -> None:
        """Stop listening, if it listens."""
        await maybeDeferred(port.stopListening)

    async def greeting(self) -> bytes:
        """What somebody hears who connects."""
        client: Any = await connectProtocol(UNIXClientEndpoint(reactor, str(self.path)), _Listening())
        received: bytes = await client.ended
        return received

    def refused(self, path: Path | None = None) -> str:
        """Why it cannot be listened on."""
        return str(self.assertRaises(BindError, bind_unix, str(path or self.path), 0o660, "--admin"))

    async def test_serves(self) -> None:
        """Who connects is served, and the socket is gone in the end."""
        port = self.listen()
        self.assertEqual(await self.greeting(), b"hello")
        await port.stopListening()
        self.assertFalse(self.path.exists())

    def test_mode(self) -> None:
        """It is open to those it is to be open to, whatever the umask; and the umask stays."""
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        for mode in (0o600, 0o660, 0o666):
            bound = self.bind(mode)
            self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), mode)
            bound.close()
        self.assertEqual(os.umask(0o022), 0o022)

    async def test_mode_stays(self) -> None:
        """Twisted makes nothing of it that everybody may connect to."""
        self.listen(0o600)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    async def test_left_behind(self) -> None:
        """A socket that a crash has left behind is replaced."""
        self.bind().close()
        self.assertTrue(self.path.exists())
        self.listen()
        self.assertEqual(await self.greeting(), b"hello")

    async def test_in_use(self) -> None:
        """One that another program listens on stays as it is."""
        self.listen()
        self.assertEqual(
            self.refused(),
            f"cannot listen on {self.path}: another program listens there: stop it, or choose another --admin",
        )
        self.assertEqual(await self.greeting(), b"hello")

    def test_no_socket(self) -> None:
        """A file that is no socket is not touched."""
        self.path.write_text("precious")
        self.assertEqual(
            self.refused(),
            f"cannot listen on {self.path}: something that is no socket is there: remove it, or choose another --admin",
        )
        self.assertEqual(self.path.read_text(), "precious")

    def test_no_directory(self) -> None:
        """A directory that is missing is not made."""
        path = self.path / "no" / "socket"
        self.assertEqual(
            self.refused(path),
            f"cannot listen on {path}: its directory is not there: make it, or choose another --admin",
        )

    async def test_removed(self) -> None:
        """It ends also when somebody has removed its socket."""
        port = self.listen()
        self.path.unlink()
        await port.stopListening()
        self.assertFalse(self.path.exists())

    async def test_replaced(self) -> None:
        """It does not remove what another server has put in its place."""
        port = self.listen()
        self.path.unlink()
        other = self.listen()
        await port.stopListening()
        self.assertEqual(await self.greeting(), b"hello")
        await other.stopListening()
        self.assertFalse(self.path.exists())
