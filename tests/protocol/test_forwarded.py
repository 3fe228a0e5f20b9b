"""Who a client behind proxies is."""

from collections.abc import Iterable
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from mles_tx.protocol.forwarded import MAX_HOPS, NOBODY, Client, TrustedProxies, client_of, parse_network

PROXY = "10.0.0.1"
TRUSTED = TrustedProxies(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])

#: Lines of X-Forwarded-For from a trusted proxy, and who the client is.
FORWARDED: tuple[tuple[tuple[str, ...], str], ...] = (
    # Nobody is named.
    ((), PROXY),
    (("",), PROXY),
    ((" , ,",), PROXY),
    # One, from the right.
    (("198.51.100.1",), "198.51.100.1"),
    (("203.0.113.9, 198.51.100.1",), "198.51.100.1"),
    (("203.0.113.9,198.51.100.1",), "198.51.100.1"),
    (("203.0.113.9", "198.51.100.1"), "198.51.100.1"),
    ((" 198.51.100.1\t",), "198.51.100.1"),
    (("198.51.100.1,, ",), "198.51.100.1"),
    # Trusted ones on the way.
    (("203.0.113.9, 198.51.100.1, 10.1.1.1",), "198.51.100.1"),
    (("198.51.100.1", "10.1.1.1, 192.0.2.7", "fd00::7"), "198.51.100.1"),
    (("198.51.100.1, ::ffff:10.1.1.1",), "198.51.100.1"),
    (("10.3.3.3, 10.2.2.2",), "10.3.3.3"),
    # As proxies write addresses.
    (("198.51.100.1:567",), "198.51.100.1"),
    (("198.51.100.1, 10.1.1.1:80",), "198.51.100.1"),
    (("2001:db8::5",), "2001:db8::5"),
    (("[2001:db8::5]",), "2001:db8::5"),
    (("[2001:DB8:0::5]:4711",), "2001:db8::5"),
    (("[::1]:5",), "::1"),
    (("::ffff:198.51.100.1",), "198.51.100.1"),
    (("[::ffff:198.51.100.1]:5",), "198.51.100.1"),
    # What is no address ends the search where it stands.
    (("unknown",), PROXY),
    (("_hidden",), PROXY),
    (("198.51.100.1, unknown",), PROXY),
    (("198.51.100.1, unknown, 10.1.1.1",), "10.1.1.1"),
    (("198.51.100.1, _gazonk, 10.1.1.1, 10.2.2.2",), "10.1.1.1"),
    *(
        ((f"198.51.100.1, {garbage}",), PROXY)
        for garbage in (
            *("1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4:", "1.2.3.4:port", "1.2.3.4:123456", "1"),
            *("[1.2.3.4]", "[::1", "::1]", "[::1]5", "[]", "[fe80::1%eth0]", "fe80::1%eth0", "::1::", "12345::"),
            *('"1.2.3.4"', "for=1.2.3.4", "1.2.3.4 5.6.7.8", "1.2.3.4;5.6.7.8", "example.org", "\xff", "1.2.3.\u00b2"),
            *("\x00", "1.2.3.4\r\nX: y", "%0a", "9" * 9000, ":" * 9000, "[" * 9000),
        )
    ),
)


def headers(*lines: str) -> list[tuple[bytes, list[bytes]]]:
    """Lines of X-Forwarded-For."""
    return [(b"X-Forwarded-For", [line.encode("latin-1")]) for line in lines]


class NetworkTests(SynchronousTestCase):
    """Who is trusted."""

    def test_contains(self) -> None:
        """Addresses are trusted one by one and by networks, however they are written; nothing else is."""
        for host in (
            "10.0.0.0",
            "10.255.255.255",
            "::ffff:10.0.0.1",
            "192.0.2.7",
            "fd00::1",
            "fdff::1",
            "fd00::1%eth0",
        ):
            self.assertIn(host, TRUSTED)
        for host in (
            "11.0.0.0",
            "192.0.2.8",
            "::1",
            "fe00::1",
            "::ffff:11.0.0.1",
            "::10.0.0.1",
            "",
            "unknown",
            "/run/x",
        ):
            self.assertNotIn(host, TRUSTED)

    def test_nobody(self) -> None:
        """By default it is nobody."""
        self.assertTrue(TRUSTED)
        self.assertFalse(NOBODY)
        self.assertNotIn("127.0.0.1", NOBODY)

    def test_all(self) -> None:
        """All of a kind may be trusted: in a network of one's own."""
        self.assertIn("198.51.100.1", TrustedProxies(["0.0.0.0/0"]))
        self.assertNotIn("::1", TrustedProxies(["0.0.0.0/0"]))

    def test_mapped_network(self) -> None:
        """A network of IPv4 that is written as IPv6 is the same network."""
        self.assertIn("10.1.1.1", TrustedProxies(["::ffff:10.0.0.0/104"]))
        self.assertNotIn("11.1.1.1", TrustedProxies(["::ffff:10.0.0.0/104"]))

    def test_refused(self) -> None:
        """What is no network is refused."""
        for text in (
            "",
            "proxy",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0",
            "fe80::1%eth0",
            "::1/129",
            "10.0.0.1-9",
            " ::1",
        ):
            self.assertRaises(ValueError, parse_network, text)
            self.assertRaises(ValueError, TrustedProxies, [text])


class ClientTests(SynchronousTestCase):
    """Where a request comes from."""

    def test_table(self) -> None:
        """From a trusted proxy: the first from the right that is not one as well."""
        for lines, expected in FORWARDED:
            self.assertEqual((lines, client_of(PROXY, headers(*lines), TRUSTED)), (lines, Client(expected, None)))

    def test_untrusted(self) -> None:
        """What anybody else says is not looked at."""
        told = [*headers("203.0.113.9"), (b"X-Forwarded-Proto", [b"https"])]
        for peer in ("198.51.100.1", "2001:db8::1", ""):
            self.assertEqual(client_of(peer, told, TRUSTED), Client(peer, None))
            self.assertEqual(client_of(peer, told, NOBODY), Client(peer, None))

    def test_scheme(self) -> None:
        """What the client has used is what the proxy in front says last; nothing else is taken for a scheme."""
        for values, expected in (
            ([b"https"], "https"),
            ([b"http"], "http"),
            ([b" HTTPS "], "https"),
            ([b"wss"], "https"),
            ([b"ws"], "http"),
            ([b"https", b"http"], "http"),
            ([b"https, http"], "http"),
            ([b"http,https"], "https"),
            ([b""], None),
            ([], None),
            ([b"gopher"], None),
            ([b"https\r\nX: y"], None),
        ):
            self.assertEqual(client_of(PROXY, [(b"x-forwarded-PROTO", values)], TRUSTED).scheme, expected)

    def test_headers_of_twisted(self) -> None:
        """The headers of a request in twisted.web do as they are."""
        raw = Headers({b"host": [b"localhost"], b"x-forwarded-for": [b"203.0.113.9", b"198.51.100.1, 10.1.1.1"]})
        raw.addRawHeader(b"X-Forwarded-Proto", b"https")
        found = client_of(PROXY, raw.getAllRawHeaders(), TRUSTED)
        self.assertEqual(found, ("198.51.100.1", "https"))

    def test_other_headers(self) -> None:
        """Nothing else is believed."""
        told = [(name, [b"198.51.100.1"]) for name in (b"Forwarded", b"X-Real-IP", b"X-Forwarded", b"True-Client-IP")]
        self.assertEqual(client_of(PROXY, told, TRUSTED), Client(PROXY, None))

    def test_very_long(self) -> None:
        """Of a very long list a bounded part is looked at."""
        near = ["10.1.1.1"] * (MAX_HOPS - 1)
        self.assertEqual(client_of(PROXY, headers(", ".join(["1.1.1.1", *near])), TRUSTED).address, "1.1.1.1")
        self.assertEqual(
            client_of(PROXY, headers(", ".join(["1.1.1.1", "10.2.2.2", *near])), TRUSTED).address, "10.2.2.2"
        )
        self.assertEqual(client_of(PROXY, headers(*["1.1.1.1"] * 5000, "10.2.2.2", *near), TRUSTED).address, "10.2.2.2")
        self.assertEqual(client_of(PROXY, headers("," * 100_000), TRUSTED).address, PROXY)

    @given(
        st.lists(st.binary(max_size=60) | st.sampled_from([b"10.1.1.1", b"1.1.1.1", b"::1", b",", b" "]), max_size=20)
    )
    def test_anything(self, values: Iterable[bytes]) -> None:
        """Whatever a header has in it, there is an address, written as addresses are."""
        address = client_of(PROXY, [(b"x-forwarded-for", list(values))], TRUSTED).address
        self.assertEqual(str(ip_address(address)), address)

    @given(st.text("0123456789.:abf[]%, \t", max_size=60))
    def test_nearly(self, text: str) -> None:
        """So there is when it has nearly an address in it; what stands left of the client changes nothing."""
        address = client_of(PROXY, headers(text), TRUSTED).address
        self.assertEqual(str(ip_address(address)), address)
        self.assertEqual(client_of(PROXY, headers(text, "198.51.100.1, 10.1.1.1"), TRUSTED).address, "198.51.100.1")
