"""Which web pages may connect."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.origins import (
    ListedOrigins,
    any_origin,
    canonical_origin,
    is_loopback_name,
    pages_of_this_machine,
)

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

#: As somebody writes it, as browsers write it.
CANONICAL = (
    ("https://example.org", "https://example.org"),
    ("HTTPS://Example.ORG", "https://example.org"),
    ("https://example.org:443", "https://example.org"),
    ("http://example.org:80", "http://example.org"),
    ("https://example.org:80", "https://example.org:80"),
    ("http://example.org:443", "http://example.org:443"),
    ("https://example.org:08443", "https://example.org:8443"),
    ("https://example.org.", "https://example.org."),
    ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ("http://localhost:3000", "http://localhost:3000"),
    ("http://192.0.2.1:8080", "http://192.0.2.1:8080"),
    ("http://[2001:DB8:0:0::1]:80", "http://[2001:db8::1]"),
    ("https://[::1]:8443", "https://[::1]:8443"),
    ("null", "null"),
    ("NULL", "null"),
    ("file://", "file://"),
    ("capacitor://localhost", "capacitor://localhost"),
    ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
    ("app+x.y-z://host:443", "app+x.y-z://host:443"),
)

_ANY = "give an origin like https://example.org, https://*.example.org or null"
_GIVE = "an origin is a scheme, a host and perhaps a port: give "

#: What is no origin, and what is said about it.
NO_ORIGINS = (
    ("", _ANY),
    ("*", _ANY),
    ("example.org", _GIVE + "https://example.org"),
    ("*.example.org", _GIVE + "https://*.example.org"),
    ("example.org:8443", _GIVE + "https://example.org:8443"),
    ("https://example.org/", _GIVE + "https://example.org"),
    ("https://example.org/path?a#b", _GIVE + "https://example.org"),
    ("https://example.org, https://a.test", _ANY),
    ("https://me@example.org", _ANY),
    ("https://", _ANY),
    ("https://:443", _ANY),
    ("file:///home", _ANY),
    ("https:example.org", _ANY),
    ("://example.org", _ANY),
    ("1https://example.org", _ANY),
    ("https://example.org:", _ANY),
    ("https://example.org:x", _ANY),
    ("https://example.org:0", "a port is a number from 1 to 65535"),
    ("https://example.org:65536", "a port is a number from 1 to 65535"),
    ("https://a..b", _ANY),
    ("https://.a", _ANY),
    ("https://[::1", _ANY),
    ("https://[:::1]", _ANY),
    ("https://[1.2.3.4]", _ANY),
    ("https://a\n.b", _ANY),
    ("https://b\u00fccher.example", "write an international name in its xn-- form"),
    ("https://example.or\u212a", "write an international name in its xn-- form"),
    ("wss://example.org", "a page is loaded by http or https: give https://example.org"),
    ("ws://example.org:80", "a page is loaded by http or https: give http://example.org:80"),
)

LISTED = (
    "https://example.org",
    "http://a.test:8080",
    "https://*.b.test",
    "https://*.c.test:8443",
    "app://x",
    "file://",
)

#: Origin, whether it may connect when these are listed.
LISTED_VERDICTS = (
    (None, True),
    ("https://example.org", True),
    ("https://example.org:443", True),
    ("HTTPS://EXAMPLE.ORG", True),
    ("http://a.test:8080", True),
    ("https://x.b.test", True),
    ("https://x.y.b.test", True),
    ("https://X.B.test:443", True),
    ("https://x.c.test:8443", True),
    ("app://x", True),
    ("file://", True),
    ("", False),
    ("null", False),
    ("http://example.org", False),
    ("https://example.org:8443", False),
    ("https://www.example.org", False),
    ("https://example.org.", False),
    ("https://example.org.evil.test", False),
    ("https://evilexample.org", False),
    ("https://example.org/", False),
    ("https://example.org@evil.test", False),
    ("https://evil.test@example.org", False),
    ("https://evil.test https://example.org", False),
    ("https://example.org https://evil.test", False),
    ("https://evil.test/https://example.org", False),
    ("https://example.org\n", False),
    ("http://a.test", False),
    ("https://a.test:8080", False),
    ("https://b.test", False),
    ("https://.b.test", False),
    ("https://*.b.test", False),
    ("http://x.b.test", False),
    ("https://x.b.test:8443", False),
    ("https://xb.test", False),
    ("https://x.b.test.evil.test", False),
    ("https://x.c.test", False),
    ("app://y", False),
    ("http://localhost", False),
    ("https://\u00e9.b.test", False),
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


class ListedOriginsTests(SynchronousTestCase):
    """A list of those who may connect."""

    def test_canonical(self) -> None:
        """An origin is the same in any case and with the usual port; what more there may be to it counts."""
        self.assertEqual([(text, canonical_origin(text)) for text, _ in CANONICAL], list(CANONICAL))

    def test_no_origins(self) -> None:
        """What is no origin is refused, with the one that was probably meant."""
        found = [(text, str(self.assertRaises(ValueError, canonical_origin, text))) for text, _ in NO_ORIGINS]
        self.assertEqual(found, list(NO_ORIGINS))
        for text in (
            "https://*",
            "https://*.",
            "https://*.[::1]",
            "https://*.10.0.0.1",
            "https://*.*.a.test",
            "*.null",
        ):
            self.assertRaises(ValueError, ListedOrigins, [text])

    def test_listed(self) -> None:
        """Who is on the list, or is no page, may connect; nobody who only looks like it."""
        listed = ListedOrigins(LISTED)
        self.assertEqual([(origin, listed(origin)) for origin, _ in LISTED_VERDICTS], list(LISTED_VERDICTS))

    def test_null(self) -> None:
        """Pages without an origin may connect when that is said, in one word."""
        self.assertEqual([ListedOrigins(["null"])(origin) for origin in ("null", "https://a.test")], [True, False])

    def test_same(self) -> None:
        """Two lists of the same origins are the same, in whatever order and form."""
        one, other = ListedOrigins(["https://a.test", "null"]), ListedOrigins(["null", "HTTPS://a.test:443"])
        self.assertEqual((one, hash(one)), (other, hash(other)))
        self.assertNotEqual(one, ListedOrigins(["null"]))
