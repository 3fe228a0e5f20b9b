"""What a server says when it has started."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.banner import banner
from mles_tx.service.config import ServerConfig

PAIRS = ((Path("chain.pem"), Path("key.pem")),)
CACHE = Path("/var/lib/mles")

EVERYBODY = "everybody may join"
KEY = "to join, clients need the key"
PROXY = "without TLS: let a proxy in front of it speak that"
CONNECTIONS = "up to 1000 connections at one time (ulimit -Hn sets how many)"
SELF_SIGNED = "the certificate is self-signed: clients have to be told to trust it (/var/lib/mles/self-signed)"

#: Configuration, port, lines.
BANNERS = (
    (
        ServerConfig(domains=("example.org",), certificates=PAIRS),
        443,
        ["serving wss://example.org/", EVERYBODY, CONNECTIONS],
    ),
    (
        ServerConfig(domains=("example.org", "www.example.org"), certificates=PAIRS, key=b"s3cret"),
        8443,
        ["serving wss://example.org:8443/", "serving wss://www.example.org:8443/", KEY, CONNECTIONS],
    ),
    (
        ServerConfig(domains=("localhost", "::1"), cache=CACHE),
        443,
        ["serving wss://localhost/", "serving wss://[::1]/", SELF_SIGNED, EVERYBODY, CONNECTIONS],
    ),
    (
        ServerConfig(domains=("10.0.0.1",), cache=CACHE, key=b"s3cret"),
        4433,
        ["serving wss://10.0.0.1:4433/", SELF_SIGNED, KEY, CONNECTIONS],
    ),
    (
        ServerConfig(domains=("example.org",), tls=False),
        80,
        ["serving ws://example.org/", PROXY, EVERYBODY, CONNECTIONS],
    ),
    (
        ServerConfig(domains=("example.org",), tls=False, key=b"s3cret"),
        443,
        ["serving ws://example.org:443/", PROXY, KEY, CONNECTIONS],
    ),
    (
        ServerConfig(),
        8080,
        [
            "mles_tx serves this machine:",
            "  open  http://localhost:8080/ in two windows of a browser, and chat",
            "  type  websocat --protocol mles-websocket ws://localhost:8080/",
            '        and then, as the first line, {"uid":"alice","channel":"example"}',
            "  stop  with Ctrl-C",
            "On a server with a domain and a certificate:",
            "  twistd -n mles --domains example.org --certificate fullchain.pem --private-key privkey.pem",
            CONNECTIONS,
        ],
    ),
)


class BannerTests(SynchronousTestCase):
    """The first lines somebody reads who has started a server."""

    def test_banners(self) -> None:
        """What is served and where, whether the certificate will be trusted, who may join, and how many."""
        found = [(config, port, banner(config, port, 1000)) for config, port, _ in BANNERS]
        self.assertEqual(found, list(BANNERS))

    def test_real_port(self) -> None:
        """The port is the one that was bound, not the one that was asked for."""
        lines = banner(ServerConfig(port=0), 54321, 1000)
        self.assertEqual(
            lines[1:3], [line.replace("8080", "54321") for line in banner(ServerConfig(), 8080, 1000)[1:3]]
        )
        self.assertIn("54321", lines[1])

    def test_local_with_key(self) -> None:
        """A key is not shown; that one is needed is said also on a laptop."""
        lines = banner(ServerConfig(key=b"s3cret"), 8080, 1000)
        self.assertNotIn("s3cret", "\n".join(lines))
        self.assertTrue(any("key" in line.split() for line in lines), lines)
