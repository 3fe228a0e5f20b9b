"""What a server says when it has started."""

from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.banner import banner
from mles_tx.service.certificates import CertificateState
from mles_tx.service.config import ServerConfig
from mles_tx.service.options import Options

PAIRS = ((Path("chain.pem"), Path("key.pem")),)
CACHE = Path("/var/lib/mles")

EVERYBODY = "everybody may join"
KEYS = "to join, clients need one of 2 keys"
KEY = "to join, clients need the key"
PROXY = "without TLS: let a proxy in front of it speak that"
CONNECTIONS = "up to 1000 connections at one time (ulimit -Hn sets how many)"
ENDS = datetime(2031, 5, 6, 7, 8, tzinfo=UTC)

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
AUTHORITY = "https://ca.example/directory"

#: Configuration, how it stands with the certificate of a.test or example.org, line.
CERTIFICATES = (
    (
        ServerConfig(domains=("example.org",), certificates=PAIRS),
        CertificateState("example.org", ENDS, True, None),
        "certificate for example.org: valid until 2031-05-06",
    ),
    (
        ServerConfig(domains=("example.org",), certificates=PAIRS),
        CertificateState("example.org", ENDS, False, None),
        "certificate for example.org: not valid now, or for another name: replace it",
    ),
    (
        ServerConfig(domains=("example.org",)),
        CertificateState("example.org", ENDS, True, None),
        "certificate for example.org: valid until 2031-05-06",
    ),
    (
        ServerConfig(domains=("example.org",)),
        CertificateState("example.org", ENDS, True, "refused", 59.6),
        "certificate for example.org: valid until 2031-05-06; the last order failed: refused (next try in 60 s)",
    ),
    (
        ServerConfig(domains=("example.org",)),
        CertificateState("example.org", ENDS, False, None),
        f"certificate for example.org: ordered from {LETS_ENCRYPT}, a self-signed one serves until it is there",
    ),
    (
        ServerConfig(domains=("a.test",), acme_directory=AUTHORITY),
        CertificateState("a.test", ENDS, False, "refused", 300.0),
        f"certificate for a.test: ordered from {AUTHORITY}, a self-signed one serves until it is there;"
        " the last order failed: refused (next try in 300 s)",
    ),
    (
        ServerConfig(domains=("a.test", "example.org"), cache=CACHE),
        CertificateState("a.test", ENDS, False, None),
        "certificate for a.test: self-signed, clients have to be told to trust it (/var/lib/mles/self-signed)",
    ),
)

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
        ["serving wss://localhost/", "serving wss://[::1]/", EVERYBODY, CONNECTIONS],
    ),
    (
        ServerConfig(domains=("10.0.0.1",), cache=CACHE, key=b"s3cret"),
        4433,
        ["serving wss://10.0.0.1:4433/", KEY, CONNECTIONS],
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
            "On a server with a domain:",
            "  twistd -n mles --domains example.org --email me@example.org --redirect",
            CONNECTIONS,
        ],
    ),
)


class BannerTests(SynchronousTestCase):
    """The first lines somebody reads who has started a server."""

    def test_banners(self) -> None:
        """What is served and where, who may join, and how many."""
        found = [(config, port, banner(config, port, 1000)) for config, port, _ in BANNERS]
        self.assertEqual(found, list(BANNERS))

    def test_certificates(self) -> None:
        """Whether clients will trust each certificate, until when, and what to do if not."""
        found = [(config, state, banner(config, 443, 1000, [state])[-3]) for config, state, _ in CERTIFICATES]
        self.assertEqual(found, list(CERTIFICATES))

    def test_all(self) -> None:
        """Behind what is served comes a line for each certificate, then the redirects, then who may join."""
        states = [CertificateState(name, ENDS, True, None) for name in ("example.org", "www.example.org")]
        config = ServerConfig(domains=("example.org", "www.example.org"))
        self.assertEqual(
            banner(config, 8443, 1000, states, 8080),
            [
                "serving wss://example.org:8443/",
                "serving wss://www.example.org:8443/",
                "certificate for example.org: valid until 2031-05-06",
                "certificate for www.example.org: valid until 2031-05-06",
                "sending browsers from http on port 8080 to https",
                EVERYBODY,
                CONNECTIONS,
            ],
        )

    def test_command_of_the_banner(self) -> None:
        """The command that is shown for a server with a domain is one that the program understands."""
        (command,) = (line for line in banner(ServerConfig(), 8080, 1000) if "twistd" in line)
        options = Options({})
        options.parseOptions(command.split()[3:])
        config = options.config()
        self.assertEqual((config.acme_names, config.redirect_port), (("example.org",), 80))

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

    def test_several_keys(self) -> None:
        """Where there are several keys, that is said; which they are is not."""
        config = ServerConfig(domains=("a.test",), key=b"s3cret", other_keys=(b"0ther",))
        lines = banner(config, 443, 1000)
        self.assertIn(KEYS, lines)
        self.assertNotIn("s3cret", " ".join(lines))
