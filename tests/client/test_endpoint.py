"""How a client reaches its server."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.client.config import ClientConfig, ClientConfigError, ProxyAddress, Trust
from mles_tx.client.endpoint import endpoint_for, proxy_for
from mles_tx.client.tunnel import TunnelEndpoint


def config(url: str = "wss://mles.test/", **settings: Any) -> ClientConfig:
    """A configuration for a server."""
    return ClientConfig(url, "alice", "news", **settings)


class ProxyTests(SynchronousTestCase):
    """By way of whom."""

    def test_environment(self) -> None:
        """The environment names a proxy for each scheme, and hosts that need none; this machine needs none."""
        environ = {"https": "http://secure:1", "http": "plain:2", "no": "near.test,other.test:443"}
        for url, proxy in (
            ("wss://mles.test/", ProxyAddress("secure", 1)),
            ("ws://mles.test/", ProxyAddress("plain", 2)),
            ("wss://near.test/", None),
            ("wss://localhost/", None),
            ("wss://127.0.0.1/", None),
            ("wss://[::1]/", None),
        ):
            self.assertEqual((url, proxy_for(config(url), environ)), (url, proxy))
        self.assertIsNone(proxy_for(config(), {}))

    def test_said(self) -> None:
        """What the configuration says is stronger."""
        environ = {"https": "http://secure:1"}
        self.assertIsNone(proxy_for(config(proxy=""), environ))
        self.assertEqual(proxy_for(config(proxy="http://mine:3"), environ), ProxyAddress("mine", 3))

    def test_bad(self) -> None:
        """A proxy of another kind is an error, also when the environment names it."""
        self.assertRaises(ClientConfigError, proxy_for, config(), {"https": "socks5://x:1"})


class EndpointTests(SynchronousTestCase):
    """The way itself."""

    def test_kinds(self) -> None:
        """By name, through a proxy, and with TLS around."""
        reactor = MemoryReactorClock()
        self.assertIsInstance(endpoint_for(config("ws://mles.test/", proxy=""), reactor), HostnameEndpoint)
        self.assertIsInstance(endpoint_for(config("ws://mles.test/", proxy="p:1"), reactor), TunnelEndpoint)
        for trust in (Trust(), Trust(fingerprint="ab" * 32)):
            verifyObject(IStreamClientEndpoint, endpoint_for(config(proxy="", trust=trust), reactor))

    def test_bad_names(self) -> None:
        """A name that no certificate can be for is told; without TLS it is looked up like any other."""
        for host, trust in (("my_host", Trust()), ("a..b", Trust()), ("a..b", Trust(fingerprint="ab" * 32))):
            error = self.assertRaises(
                ClientConfigError, endpoint_for, config(f"wss://{host}/", trust=trust), MemoryReactorClock()
            )
            self.assertIn(f"server {host}: no certificate can be for this name; give one of", str(error))
        for url, trust in (("ws://my_host/", Trust()), ("wss://my_host/", Trust(fingerprint="ab" * 32))):
            endpoint_for(config(url, proxy="", trust=trust), MemoryReactorClock())

    def test_bad_authorities(self) -> None:
        """A file of authorities that is missing or has none in it is named."""
        with TemporaryDirectory() as directory:
            path = Path(directory) / "ca.pem"
            error = self.assertRaises(ClientConfigError, endpoint_for, config(trust=Trust(ca_file=path)), None)
            self.assertIn("No such file", str(error))
            for content in ("nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
                path.write_text(content)
                error = self.assertRaises(ClientConfigError, endpoint_for, config(trust=Trust(ca_file=path)), None)
                self.assertIn("no certificates in it", str(error))
