"""Asking the DNS: a real server on loopback."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.trial.unittest import TestCase

from mles_tx.cli import lookups
from mles_tx.cli.lookups import Dns, DnsError, DnsSilence
from tests.service.clients import reactor

from .names import CAA, DnsServer, a, aaaa, alias, caa

ISSUE = b"\x00\x05issueca.example"

#: Enough of them for TCP.
MANY = [f"192.0.2.{number}" for number in range(1, 101)]

ZONE: dict[Any, list[Any] | int] = {
    "example.org": [a("192.0.2.1"), a("192.0.2.2"), aaaa("2001:db8::1")],
    "www.example.org": [alias("example.org"), a("192.0.2.1")],
    "deep.www.example.org": [],
    "many.example": [a(address) for address in MANY],
    "ca.example": [caa("issue", "ca.example"), caa("iodef", "mailto:x@ca.example", 128)],
    "own.ca.example": [caa("issue", ";")],
    "broken.example": dns.ESERVER,
    ("half.example", dns.A): [a("192.0.2.3")],
    ("half.example", dns.AAAA): dns.ESERVER,
    "refused.example": dns.EREFUSED,
    ("sub.broken.example", CAA): [caa("issue", "ca.example")],
    "example": [],
}


class DnsTests(TestCase):
    """What names stand for."""

    def setUp(self) -> None:
        self.server = DnsServer(ZONE)
        self.addCleanup(self.server.stop)
        self.dns = Dns(reactor, ("127.0.0.1", self.server.port))

    async def test_addresses(self) -> None:
        """A name's addresses of both kinds; none for a name that has none, or is not there."""
        for name, addresses in (
            ("example.org", ["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
            ("www.example.org", ["192.0.2.1"]),
            ("ca.example", []),
            ("nowhere.example", []),
        ):
            self.assertEqual((name, await self.dns.addresses(name)), (name, addresses))

    async def test_long_answer(self) -> None:
        """An answer too long for a datagram is fetched over TCP."""
        self.assertEqual(await self.dns.addresses("many.example"), MANY)

    async def test_errors(self) -> None:
        """A name whose servers fail is told from one that is not there, and from a server that refuses to say."""
        for name, kind, text in (
            ("broken.example", DnsError, "the DNS server answers SERVFAIL for broken.example"),
            ("half.example", DnsError, "the DNS server answers SERVFAIL for half.example"),
            ("refused.example", DnsSilence, "the DNS server answers DNSQueryRefusedError for refused.example"),
        ):
            error = await self.assertFailure(self._addresses(name), kind)
            self.assertEqual(str(error), text)

    async def test_no_answer(self) -> None:
        """So is one that says nothing."""
        self.patch(lookups, "_TIMEOUTS", (0.05,))
        self.server.silent = True
        self.dns = Dns(reactor, ("127.0.0.1", self.server.port))
        error = await self.assertFailure(self._addresses("example.org"), DnsSilence)
        self.assertEqual(str(error), "the DNS server does not answer for example.org")

    def _addresses(self, name: str) -> "Deferred[list[str]]":
        return Deferred.fromCoroutine(self.dns.addresses(name))

    async def test_caa(self) -> None:
        """A name's own CAA records count, else those of the nearest name above it."""
        own = (b"\x00\x05issue;",)
        parents = (b"\x00\x05issueca.example", b"\x80\x05iodefmailto:x@ca.example")
        for name, holder, records in (
            ("ca.example", "ca.example", parents),
            ("www.ca.example", "ca.example", parents),
            ("a.b.c.ca.example", "ca.example", parents),
            ("own.ca.example", "own.ca.example", own),
            ("www.own.ca.example", "own.ca.example", own),
            ("www.example.org", "www.example.org", ()),
            ("sub.broken.example", "sub.broken.example", (ISSUE,)),
        ):
            self.assertEqual((name, await self.dns.caa(name)), (name, (holder, list(records))))

    async def test_caa_of_the_top(self) -> None:
        """Asked are all names up to the top one."""
        await self.dns.caa("www.example.org")
        self.assertEqual(sorted(self.server.asked), [("example.org", CAA), ("org", CAA), ("www.example.org", CAA)])

    async def test_caa_errors(self) -> None:
        """An error for a name that counts is one, as it is for the authority."""
        for name in ("broken.example", "www.broken.example"):
            error = await self.assertFailure(Deferred.fromCoroutine(self.dns.caa(name)), DnsError)
            self.assertEqual(str(error), "the DNS server answers SERVFAIL for broken.example")

    async def test_system(self) -> None:
        """Without a server of its own it asks those of the system."""
        file = Path(self.mktemp())
        file.write_text("# a comment\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n")
        self.patch(lookups, "_RESOLV_CONF", str(file))
        resolver = Dns(reactor)._resolver
        resolver._parseCall.cancel()
        self.assertEqual(resolver.dynServers, [("192.0.2.53", 53), ("192.0.2.54", 53)])
