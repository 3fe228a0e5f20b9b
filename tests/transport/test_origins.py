"""Which web pages may connect."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.origins import any_origin, is_loopback_name, pages_of_this_machine

#: Origins that a server on a laptop takes: programs, apps, files, and pages of the laptop itself.
OURS = (
    None,
    "",
    "null",
    "file://",
    "app://localhost",
    "capacitor://localhost",
    "ionic://app.example",
    "chrome-extension://abcdefgh",
    "moz-extension://1234",
    "http://localhost",
    "http://localhost:8080",
    "https://localhost:8443",
    "HTTP://LOCALHOST:8080",
    "http://localhost.",
    "http://talk.localhost:8080",
    "http://127.0.0.1:8080",
    "http://127.0.0.53",
    "http://[::1]:8080",
    "http://[0:0:0:0:0:0:0:1]",
)

#: Origins of pages that come from elsewhere, and what only looks like ours.
FOREIGN = (
    "http://example.org",
    "https://example.org",
    "HTTPS://example.org:8443",
    "http://localhost.example.org",
    "http://localhost.example.org:8080",
    "http://notlocalhost",
    "http://127.0.0.1.example.org",
    "http://localhost@example.org",
    "http://localhost:8080@example.org",
    "http://192.168.1.1",
    "http://10.0.0.1:8080",
    "http://0.0.0.0:8080",
    "http://[fe80::1]",
    "http://[::2]:8080",
    "http://[::1",
    "http://::1]",
    "http://[localhost]",
    "http://",
    "https:example.org",
    "http:///localhost",
    "http://local host",
    "http://\u24db\u24de\u24d2alhost.example",
    "ht\ttp://example.org",
    "http\n://example.org",
)

#: Host name, whether it always means this machine.
LOOPBACK = (
    ("localhost", True),
    ("LocalHost", True),
    ("localhost.", True),
    ("a.b.localhost", True),
    ("127.0.0.1", True),
    ("127.255.255.254", True),
    ("::1", True),
    ("[::1]", True),
    ("0:0:0:0:0:0:0:1", True),
    ("", False),
    (".", False),
    ("localhost.example", False),
    ("alocalhost", False),
    ("local", False),
    ("example.org", False),
    ("128.0.0.1", False),
    ("0.0.0.0", False),
    ("127.0.0.1.example", False),
    ("127.0.0.256", False),
    ("::", False),
    ("::2", False),
)


class OriginTests(SynchronousTestCase):
    """Pages that want to connect."""

    def test_public_server(self) -> None:
        """A public server takes pages from everywhere, apps and programs."""
        self.assertEqual([origin for origin in OURS + FOREIGN if any_origin(origin) is not True], [])

    def test_laptop(self) -> None:
        """A server on a laptop takes programs, apps, files and its own pages, and no page of the web."""
        self.assertEqual([origin for origin in OURS if pages_of_this_machine(origin) is not True], [])
        self.assertEqual([origin for origin in FOREIGN if pages_of_this_machine(origin) is not False], [])

    def test_loopback_names(self) -> None:
        """localhost, names below it and the loopback addresses mean this machine; nothing that only begins so."""
        self.assertEqual([(host, is_loopback_name(host)) for host, _ in LOOPBACK], list(LOOPBACK))
