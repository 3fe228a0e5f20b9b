"""What option values are made from."""

from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.parsing import (
    canonical_address,
    domain_names,
    history_place,
    one_line,
    one_of,
    proxy_route,
    whole_number,
)
from mles_tx.stores.redis.address import RedisAddress
from mles_tx.web.routes import Route

#: Text, number; None: refused.
NUMBERS = (
    ("1", 1),
    ("007", 7),
    ("65535", 65535),
    ("0", None),
    ("65536", None),
    ("-1", None),
    ("+1", None),
    ("1.0", None),
    ("1e3", None),
    ("", None),
    (" 1", None),
    ("\u0661", None),
    ("9" * 5000, None),
)

#: Text, domains.
DOMAINS = (
    ("example.org", ["example.org"]),
    ("Example.ORG.", ["example.org"]),
    ("a.example, b.example,C.example", ["a.example", "b.example", "c.example"]),
    ("[::1]", ["::1"]),
    ("2001:DB8:0::1", ["2001:db8::1"]),
    ("127.0.0.1", ["127.0.0.1"]),
    ("", [""]),
)


class ParsingTests(SynchronousTestCase):
    """Values of options."""

    def test_numbers(self) -> None:
        """Whole numbers in a range, in plain digits; others are refused with the option and the range."""
        coerce = whole_number("--port", 1, 65535)
        for text, number in NUMBERS:
            if number is None:
                error = self.assertRaises(usage.UsageError, coerce, text)
                self.assertEqual(str(error), f"--port {text!r}: give a whole number from 1 to 65535")
            else:
                self.assertEqual(coerce(text), number)

    def test_words(self) -> None:
        """One of some words, as they are written; others are refused with the option and what there is."""
        coerce = one_of("--way", ("up", "down", "left"))
        self.assertEqual([coerce(word) for word in ("up", "left")], ["up", "left"])
        for text in ("", "UP", "up ", "sideways"):
            error = self.assertRaises(usage.UsageError, coerce, text)
            self.assertEqual(str(error), f"--way {text!r}: give up, down or left")

    def test_zero(self) -> None:
        """Where 0 switches off it may be given, and stands in the remedy."""
        coerce = whole_number("--per-ip-limit", 5, 10, or_zero=True)
        self.assertEqual([coerce(text) for text in ("0", "5", "10")], [0, 5, 10])
        error = self.assertRaises(usage.UsageError, coerce, "4")
        self.assertEqual(str(error), "--per-ip-limit '4': give a whole number from 5 to 10, or 0 to switch it off")

    def test_domains(self) -> None:
        """Domains as browsers have them, several by commas."""
        self.assertEqual([(text, domain_names(text)) for text, _ in DOMAINS], list(DOMAINS))

    def test_one_line(self) -> None:
        """A text for people stays in its line, and shows what else is in it."""
        for text, line in (
            ("caf\u00e9 'x'", "caf\u00e9 'x'"),
            ("a\r\nb\x00\x1b", "a\\r\\nb\\x00\\x1b"),
            ("\udcff", "\\udcff"),
        ):
            self.assertEqual(one_line(text), line)

    def test_addresses(self) -> None:
        """Addresses in their short form; names, and addresses of one link, as they are."""
        for text, address in (
            ("::0001", "::1"),
            ("[::1]", "::1"),
            ("localhost", "localhost"),
            ("fe80::1%lo", "fe80::1%lo"),
        ):
            self.assertEqual(canonical_address(text), address)

    def test_histories(self) -> None:
        """Memory, or a file that stays the same wherever the program goes."""
        self.assertIsNone(history_place("memory"))
        self.assertEqual(history_place("sqlite:/var/lib/mles/a b.db"), Path("/var/lib/mles/a b.db"))
        self.assertEqual(history_place("sqlite:history.db"), Path.cwd() / "history.db")
        for text in ("", "sqlite", "sqlite:", "Memory", "memory:", "/var/lib/mles.db", "sqlite:a\0b", "mysql:x"):
            error = self.assertRaises(usage.UsageError, history_place, text)
            self.assertEqual(
                str(error),
                f"--history {text!r}: give memory, sqlite:FILE with the file to keep it in, or the URL of a Redis",
            )

    def test_redis(self) -> None:
        """The URL of a Redis; what is wrong with it is said without the password that may be in it."""
        self.assertEqual(history_place("redis://h:7/2"), RedisAddress("h", 7, database=2))
        self.assertEqual(history_place("redis+unix:///r.sock"), RedisAddress("", path="/r.sock"))
        for text, wrong in (
            ("redis:secret", "redis: the host is missing"),
            ("rediss://:secret@h/x", "rediss: the data"),
        ):
            error = self.assertRaises(usage.UsageError, history_place, text)
            self.assertTrue(str(error).startswith(f"--history {wrong}"), str(error))
            self.assertTrue(str(error).endswith("; give a URL like redis://HOST:6379/0"), str(error))
            self.assertNotIn("secret", str(error))


#: Option value, route.
ROUTES = (
    ("/api=http://127.0.0.1:3000", Route("/api", "127.0.0.1", 3000)),
    ("/api/=http://127.0.0.1:3000", Route("/api", "127.0.0.1", 3000)),
    ("/api=http://127.0.0.1:3000/", Route("/api", "127.0.0.1", 3000, "/")),
    ("/a/b.c/~d=http://app.internal:80/v1/x/", Route("/a/b.c/~d", "app.internal", 80, "/v1/x/")),
    ("/=http://localhost:1", Route("/", "localhost", 1)),
    ("/api=http://my_app", Route("/api", "my_app", 80)),
    ("/api=HTTP://LOCALHOST:3000", Route("/api", "localhost", 3000)),
    ("/api=http://[::1]:3000", Route("/api", "::1", 3000)),
    ("/api=http://[2001:DB8:0::1]:3000/x", Route("/api", "2001:db8::1", 3000, "/x")),
)
_USUAL = "give PREFIX=http://HOST:PORT, like /api=http://127.0.0.1:3000"
_NO_PREFIX = "a prefix is a path of plain letters and digits, like /api; give one that begins with /"
_NO_HTTP = f"upstreams are reached over plain http; {_USUAL}"
_NO_PATH = "behind the port there may be a plain path; leave the rest away"

#: Option value, what is wrong with it.
NO_ROUTES = (
    ("", _USUAL),
    ("/api", _USUAL),
    ("http://127.0.0.1:3000", _USUAL),
    ("=http://a:1", _NO_PREFIX),
    ("api=http://a:1", _NO_PREFIX),
    ("//=http://a:1", _NO_PREFIX),
    ("/a//b=http://a:1", _NO_PREFIX),
    ("/a b=http://a:1", _NO_PREFIX),
    ("/%61=http://a:1", _NO_PREFIX),
    ("/b\u00fc=http://a:1", _NO_PREFIX),
    ("/a?b=http://a:1", _NO_PREFIX),
    ("/a/../b=http://a:1", _NO_PREFIX),
    ("/.=http://a:1", _NO_PREFIX),
    ("/a\n=http://a:1", _NO_PREFIX),
    ("/a=", _NO_HTTP),
    ("/a=a:1", _NO_HTTP),
    ("/a=https://a:1", _NO_HTTP),
    ("/a=unix:/run/app", _NO_HTTP),
    ("/a=http://", _NO_HTTP),
    ("/a=http://:1", _NO_HTTP),
    ("/a=http://a:0", _NO_HTTP),
    ("/a=http://a:65536", _NO_HTTP),
    ("/a=http://a:x", _NO_HTTP),
    ("/a=http://[::1", _NO_HTTP),
    ("/a=http://me:secret@a:1", _NO_HTTP),
    ("/a=http://b\u00fc:1", _NO_HTTP),
    ("/a=http://a b:1", _NO_HTTP),
    ("/a=http://a:1/x y", _NO_HTTP),
    ("/a=http://a:1/x\r\ny", _NO_HTTP),
    ("/a=http://a<b>:1", _NO_HTTP),
    ("/a=http://a:1?x", _NO_PATH),
    ("/a=http://a:1/?", _NO_PATH),
    ("/a=http://a:1/#x", _NO_PATH),
    ("/a=http://a:1/%20", _NO_PATH),
    ("/a=http://a:1//x", _NO_PATH),
    ("/a=http://a:1/../x", _NO_PATH),
)


class ProxyTests(SynchronousTestCase):
    """`--proxy`."""

    def test_good(self) -> None:
        """A prefix, and an upstream with or without a path."""
        self.assertEqual([(text, proxy_route(text)) for text, _ in ROUTES], list(ROUTES))

    def test_bad(self) -> None:
        """Everything else is told in a line."""
        found = [(text, str(self.assertRaises(usage.UsageError, proxy_route, text))) for text, _ in NO_ROUTES]
        self.assertEqual(found, [(text, f"--proxy {text!r}: {wrong}") for text, wrong in NO_ROUTES])
