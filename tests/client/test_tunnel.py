"""The way through an HTTP proxy."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mles_tx.client.tunnel import ProxyRefused, TunnelEndpoint


class Inner(Protocol):
    """What is connected in the end."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason


@implementer(IStreamClientEndpoint)
class ProxyEndpoint:
    """A proxy in memory."""

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803
        self.protocol = protocolFactory.buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)


class TunnelTests(SynchronousTestCase):
    """Asking, and going through."""

    def setUp(self) -> None:
        self.proxy = ProxyEndpoint()

    def connect(self, login: str | None = None) -> Deferred[Any]:
        endpoint = TunnelEndpoint(self.proxy, "mles.test:443", login)
        verifyObject(IStreamClientEndpoint, endpoint)
        connecting: Deferred[Any] = endpoint.connect(Factory.forProtocol(Inner))
        return connecting

    def test_through(self) -> None:
        """A yes of the proxy connects, however it is cut; what follows belongs to the other side."""
        answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nfirst"
        for size in (1, 7, len(answer)):
            connecting = self.connect()
            self.assertEqual(
                self.proxy.transport.value(), b"CONNECT mles.test:443 HTTP/1.1\r\nHost: mles.test:443\r\n\r\n"
            )
            self.proxy.transport.clear()
            for at in range(0, len(answer), size):
                self.proxy.protocol.dataReceived(answer[at : at + size])
            inner = self.successResultOf(connecting)
            self.assertEqual((self.proxy.transport.value(), inner.received), (b"hello", b"first"))
            self.proxy.protocol.dataReceived(b" second")
            lost = Failure(ConnectionDone())
            self.proxy.protocol.connectionLost(lost)
            self.assertEqual((inner.received, inner.lost), (b"first second", lost))

    def test_login(self) -> None:
        """User and password go along."""
        self.connect("me:pa55")
        self.assertIn(b"\r\nProxy-Authorization: Basic bWU6cGE1NQ==\r\n", self.proxy.transport.value())

    def test_refused(self) -> None:
        """A no says what it was."""
        connecting = self.connect()
        self.proxy.protocol.dataReceived(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        error = self.failureResultOf(connecting, ProxyRefused).value
        self.assertEqual((str(error), error.status), ("the proxy has answered with 407", 407))
        self.assertTrue(self.proxy.transport.disconnecting)
        self.proxy.protocol.dataReceived(b"more")
        self.proxy.protocol.connectionLost(Failure(ConnectionDone()))

    def test_no_proxy(self) -> None:
        """What is no proxy, or answers without end, or hangs up, is told."""
        for answer in (b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10000):
            connecting = self.connect()
            self.proxy.protocol.dataReceived(answer)
            self.assertEqual(
                str(self.failureResultOf(connecting, ProxyRefused).value), "the proxy does not answer in HTTP"
            )
        connecting = self.connect()
        self.proxy.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(str(self.failureResultOf(connecting, ProxyRefused).value), "the proxy has hung up")

    def test_unreachable(self) -> None:
        """A proxy that is not there is named as that; giving up stays giving up."""
        for error, kind in ((ConnectionRefusedError(), ProxyRefused), (CancelledError(), CancelledError)):
            self.patch(self.proxy, "connect", lambda _, error=error: fail(error))
            self.failureResultOf(self.connect(), kind)

    def test_cancelled(self) -> None:
        """Given up, it hangs up."""
        connecting = self.connect()
        connecting.addErrback(lambda _: None)
        connecting.cancel()
        self.assertTrue(self.proxy.transport.disconnecting)
