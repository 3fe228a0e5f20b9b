"""Tests of what an operator writes to say where Redis is."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.redis.address import RedisAddress, parse_address

GOOD = (
    ("redis://localhost", RedisAddress(), "redis://localhost:6379/0"),
    ("redis://localhost/", RedisAddress(), "redis://localhost:6379/0"),
    ("redis://10.0.0.1:6380/3", RedisAddress("10.0.0.1", 6380, database=3), "redis://10.0.0.1:6380/3"),
    ("redis://[::1]:6380/0", RedisAddress("::1", 6380), "redis://[::1]:6380/0"),
    ("redis://:secret@h/1", RedisAddress("h", database=1, password="secret"), "redis://h:6379/1"),
    ("redis://mles:p%40ss@h", RedisAddress("h", user="mles", password="p@ss"), "redis://h:6379/0"),
    ("rediss://h:6390", RedisAddress("h", 6390, tls=True), "rediss://h:6390/0"),
    ("rediss://h?ca=/etc/ca.pem", RedisAddress("h", tls=True, ca=Path("/etc/ca.pem")), "rediss://h:6379/0"),
    ("redis+unix:///run/r.sock", RedisAddress("", path="/run/r.sock"), "redis+unix:///run/r.sock?db=0"),
    (
        "redis+unix://:secret@/run/r%20s.sock?db=2",
        RedisAddress("", path="/run/r s.sock", database=2, password="secret"),
        "redis+unix:///run/r s.sock?db=2",
    ),
)

BAD = (
    ("http://h", "does not begin with redis://"),
    ("redis:h", "the host is missing"),
    ("redis://", "the host is missing"),
    ("redis://:6379", "the host is missing"),
    ("redis://h:0", "port 0 is none"),
    ("redis://h:66666", "the host or the port is none"),
    ("redis://h:secret", "the host or the port is none"),
    ("redis://[::1", "the host or the port is none"),
    ("redis://h/secret", "the database is a number"),
    ("redis://h/-1", "the database is a number"),
    ("redis://h/1/2", "the database is a number"),
    ("redis://h/99999999999", "the database is a number"),
    ("redis://secret@h", "a user needs a password"),
    ("redis://h?db=1", "nothing may follow a ?"),
    ("redis://h?ca=x", "nothing may follow a ?"),
    ("rediss://h?db=1", "only ?ca= is known"),
    ("rediss://h?ca=", "only ?ca= is known"),
    ("redis+unix://run/r.sock", "a path begins with a slash"),
    ("redis+unix:///", "the path of the socket is missing"),
    ("redis+unix:///r?db=x", "the database is a number"),
    ("redis://:secret#1@h", "the host or the port is none"),
    ("redis://h/0#secret", "has to be written as %23"),
)


class AddressTests(SynchronousTestCase):
    """A URL is understood, or it is said what is wrong with it."""

    def test_good(self) -> None:
        """Host, port, database, login, TLS and socket are what the URL says, and what is left away is usual."""
        for url, address, shown in GOOD:
            self.assertEqual(parse_address(url), address, url)
            self.assertEqual(str(address), shown)

    def test_bad(self) -> None:
        """What is wrong is said in words, and without the password."""
        for url, wrong in BAD:
            error = self.assertRaises(ValueError, parse_address, url)
            self.assertIn(wrong, str(error), url)
            self.assertNotIn("secret", str(error), url)

    def test_secret(self) -> None:
        """A password is not shown when an address is printed in whatever way."""
        address = parse_address("redis://mles:hidden@h")
        self.assertNotIn("hidden", f"{address} {address!r} {[address]}")
