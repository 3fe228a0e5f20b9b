"""Where a Redis is, as an endpoint."""

from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.redis.address import RedisAddress
from mles_tx.stores.redis.endpoint import endpoint_for

ADDRESS = RedisAddress("127.0.0.1", 6379)

OWN = b"mles:0:node:n"


class EndpointTests(SynchronousTestCase):
    """Where a link goes."""

    def test_kinds(self) -> None:
        """Over TCP, over TLS, and through a socket of this machine."""
        reactor = MemoryReactorClock()
        for address in (RedisAddress("127.0.0.1", 7), RedisAddress("127.0.0.1", 7, tls=True)):
            endpoint_for(reactor, address).connect(None)  # type: ignore[arg-type]
            reactor.advance(0)
            self.assertEqual(reactor.tcpClients.pop()[:2], ("127.0.0.1", 7))
        endpoint_for(reactor, RedisAddress("", path="/run/r.sock")).connect(None)  # type: ignore[arg-type]
        self.assertEqual(reactor.unixClients[0][0], "/run/r.sock")

    def test_authority(self) -> None:
        """A file with authorities has to be there and to hold one."""
        path = Path(self.mktemp())
        reactor = MemoryReactorClock()
        address = RedisAddress("h", tls=True, ca=path)
        self.assertRaises(OSError, endpoint_for, reactor, address)
        path.write_text("nothing")
        self.assertRaises(ValueError, endpoint_for, reactor, address)
        path.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
        self.assertRaises(ValueError, endpoint_for, reactor, address)
