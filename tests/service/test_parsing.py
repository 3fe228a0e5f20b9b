"""What option values are made from."""

from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.parsing import (
    canonical_address,
    choice,
    directory_url,
    domain_names,
    history_place,
    whole_number,
)
from mles_tx.stores.redis.address import RedisAddress

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

GOOD_URLS = (
    "https://ca.example/directory",
    "https://ca.example",
    "https://localhost:14000/dir",
    "https://127.0.0.1:14000/dir?a=b",
    "https://[::1]:14000/dir",
)

BAD_URLS = (
    "",
    "ca.example",
    "http://ca.example/directory",
    "ftp://ca.example",
    "https://",
    "https:///directory",
    "https://ca.example:99999/",
    "https://ca.example:x/",
    "https://[::1/",
    "https://user:password@ca.example/",
    "https://ca.example/#x",
    "https://ca.example/a b",
    "https://ca.example/\r\nx",
    "https://b\u00fccher.example/",
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

    def test_zero(self) -> None:
        """Where 0 switches off it may be given, and stands in the remedy."""
        coerce = whole_number("--per-ip-limit", 5, 10, or_zero=True)
        self.assertEqual([coerce(text) for text in ("0", "5", "10")], [0, 5, 10])
        error = self.assertRaises(usage.UsageError, coerce, "4")
        self.assertEqual(str(error), "--per-ip-limit '4': give a whole number from 5 to 10, or 0 to switch it off")

    def test_domains(self) -> None:
        """Domains as browsers have them, several by commas."""
        self.assertEqual([(text, domain_names(text)) for text, _ in DOMAINS], list(DOMAINS))

    def test_addresses(self) -> None:
        """Addresses in their short form; names, and addresses of one link, as they are."""
        for text, address in (
            ("::0001", "::1"),
            ("[::1]", "::1"),
            ("localhost", "localhost"),
            ("fe80::1%lo", "fe80::1%lo"),
        ):
            self.assertEqual(canonical_address(text), address)

    def test_words(self) -> None:
        """One of some words, as it is written; anything else is refused with all of them."""
        coerce = choice("--durability", "relaxed", "strict")
        self.assertEqual([coerce(text) for text in ("relaxed", "strict")], ["relaxed", "strict"])
        for text in ("", "Strict", "strict ", "both"):
            error = self.assertRaises(usage.UsageError, coerce, text)
            self.assertEqual(str(error), f"--durability {text!r}: give relaxed or strict")

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

    def test_urls(self) -> None:
        """The URL of a directory is an https one, and nothing but an address is in it."""
        self.assertEqual([directory_url(url) for url in GOOD_URLS], list(GOOD_URLS))
        for url in BAD_URLS:
            error = self.assertRaises(usage.UsageError, directory_url, url)
            self.assertEqual(
                str(error), f"--acme-directory {url!r}: give the https:// URL of the authority's directory"
            )
