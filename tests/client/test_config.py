"""What a client is told."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.config import ClientConfig, ClientConfigError, ProxyAddress, ServerAddress, Trust

#: URL, what it means.
GOOD = (
    ("ws://localhost", ServerAddress(False, "localhost", 80, "/")),
    ("wss://mles.io/", ServerAddress(True, "mles.io", 443, "/")),
    ("ws://[::1]:8080/a/b?c=d", ServerAddress(False, "::1", 8080, "/a/b?c=d")),
    ("WSS://Example.ORG:9", ServerAddress(True, "example.org", 9, "/")),
)

BAD = (
    *("", "localhost", "http://localhost/", "ws://", "ws:///x", "ws://a:0/", "ws://a:99999/", "ws://a:b/"),
    *("ws://user@host/", "ws://host/#x", "ws://ho st/", "ws://host/\r\nX: y", "ws://[::1", "ws://h/\N{SNOWMAN}"),
)

#: Settings that are wrong, and what the line names.
WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"uid": ""}, "uid ''"),
    ({"uid": "a\nb"}, "uid 'a\\nb'"),
    ({"channel": "\N{SNOWMAN}"}, "channel"),
    ({"channel": "x" * 5000}, "channel"),
    ({"key": b""}, "key: empty"),
    ({"key": b"k", "auth": "12"}, "auth: the key is given as well"),
    ({"auth": "xyz"}, "auth: give"),
    ({"auth": "0" * 17}, "auth: give"),
    ({"history": -1}, "history -1"),
    ({"max_queued_messages": 0}, "queue"),
    ({"max_queued_bytes": 0}, "queue"),
    ({"connect_seconds": 0.0}, "connect_seconds"),
    ({"silence_seconds": -1.0}, "silence_seconds"),
    ({"origin": "a b"}, "origin"),
    ({"proxy": "https://user:pass@proxy:1/"}, "proxy: give"),
    ({"proxy": "socks5://proxy:1/"}, "proxy: give"),
    ({"url": "http://localhost/"}, "server 'http://localhost/'"),
)


class ServerAddressTests(SynchronousTestCase):
    """URLs of servers."""

    def test_good(self) -> None:
        """A URL for WebSocket says host, port and path."""
        for url, address in GOOD:
            self.assertEqual((url, ServerAddress.parse(url)), (url, address))

    def test_bad(self) -> None:
        """What is none is refused in one line with the remedy."""
        for url in BAD:
            error = self.assertRaises(ClientConfigError, ServerAddress.parse, url)
            self.assertIn("give a URL like wss://HOST/", str(error))
            self.assertNotIn("\n", str(error))

    def test_authority(self) -> None:
        """An IPv6 address stands in brackets."""
        self.assertEqual(ServerAddress.parse("ws://[::1]:8080/").authority, "[::1]:8080")
        self.assertEqual(ServerAddress.parse("wss://a/").authority, "a:443")


class ClientConfigTests(SynchronousTestCase):
    """The whole of it."""

    def config(self, **settings: Any) -> ClientConfig:
        return ClientConfig(**{"url": "ws://localhost/", "uid": "alice", "channel": "example"} | settings)

    def test_wrong(self) -> None:
        """A setting that makes no sense is named."""
        for settings, text in WRONG:
            error = self.assertRaises(ClientConfigError, self.config, **settings)
            self.assertIn(text, str(error))
            self.assertNotIn("\n", str(error))

    def test_auth(self) -> None:
        """The auth value is made from the key, or taken as it is."""
        self.assertIsNone(self.config().auth_value)
        self.assertEqual(self.config(key=b"s3cret").auth_value, "2446b8f3f28ff385")
        self.assertEqual(self.config(auth="2446b8f3f28ff385").auth_value, "2446b8f3f28ff385")

    def test_secrets(self) -> None:
        """Neither key nor auth nor a proxy's password stands in what is printed of it."""
        shown = repr(self.config(key=b"s3cret", proxy="http://me:pa55@proxy/")) + repr(self.config(auth="1234"))
        for secret in ("s3cret", "pa55", "1234"):
            self.assertNotIn(secret, shown)


class TrustTests(SynchronousTestCase):
    """Whose certificate is believed."""

    def test_pinned(self) -> None:
        """A fingerprint may be written with colons and in either case."""
        digits = "ab" * 32
        self.assertEqual(Trust.pinned("AB:" * 31 + "AB").fingerprint, digits)
        self.assertEqual(Trust.pinned(digits).fingerprint, digits)
        for text in ("", "ab" * 31, "zz" * 32, "ab" * 33):
            self.assertRaises(ClientConfigError, Trust.pinned, text)


class ProxyAddressTests(SynchronousTestCase):
    """Proxies."""

    def test_parse(self) -> None:
        """A proxy is a URL, or a host and a port."""
        self.assertEqual(ProxyAddress.parse("http://proxy:3128/"), ProxyAddress("proxy", 3128, None))
        self.assertEqual(ProxyAddress.parse("proxy:3128"), ProxyAddress("proxy", 3128, None))
        self.assertEqual(ProxyAddress.parse("http://me:a%40b@[::1]"), ProxyAddress("::1", 80, "me:a@b"))

    def test_bad(self) -> None:
        """What is no proxy is refused, and not quoted: there may be a password in it."""
        for url in ("", "https://me:pa55@p/", "http://me:pa55@/", "http://me:pa55@p:x", "http://me:pa55@p:1/\r\n"):
            error = self.assertRaises(ClientConfigError, ProxyAddress.parse, url)
            self.assertNotIn("pa55", str(error))
