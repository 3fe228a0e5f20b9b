"""When certificates are ordered, in which way, and when it is tried again: a small authority and a clock in memory."""

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL
from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.authority import Authority
from mles_tx.transport.certificates.choice import FixedCertificates
from mles_tx.transport.certificates.issuing import IssuingService
from mles_tx.transport.certificates.pairs import CertificateError, pair_from_pem
from mles_tx.transport.certificates.store import CertificateDirectory

from .authority import SmallAuthority
from .making import make

_DAY = 86400.0


class _Case(SynchronousTestCase):
    """A server's certificates, and an authority."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.began = datetime.now(UTC)
        self.cache = Path(self.mktemp())
        self.cache.mkdir()
        self.fallback = FixedCertificates([pair_from_pem(make("a.test", "b.test").objects)])
        self.authority = SmallAuthority(now=self.now)
        self.authority.validate = self.validate
        self.wrong: dict[str, str] = {}
        self.validated: list[tuple[str, str]] = []
        self.services: list[IssuingService] = []
        self.addCleanup(self.stop_all)

    def now(self) -> datetime:
        """The wall clock."""
        return self.began + timedelta(seconds=self.clock.seconds())

    def validate(self, name: str, kind: str, token: str, key_authorization: str) -> str | None:
        """What the authority does: with HTTP-01 it really looks."""
        self.validated.append((name, kind))
        if kind == "http-01" and kind not in self.wrong:
            answers = {service.answer(token) for service in self.services}
            return None if answers == {key_authorization.encode()} else "incorrectResponse"
        return self.wrong.get(kind)

    def service(self, *names: str, http_01: bool = True, start: bool = True, **more: Any) -> IssuingService:
        """A server's certificates."""
        service = IssuingService(
            self.clock,
            self.cache,
            names or ("a.test",),
            Authority(f"{self.authority.url}/directory"),
            self.fallback,
            http_01=http_01,
            now=more.pop("now", self.now),
            random=lambda: 0.5,
            orders=more.pop("orders", True),
            agent=RequestTraversalAgent(self.authority),
        )
        self.services.append(service)
        if start:
            service.startService()
        return service

    def stop_all(self) -> None:
        """End all, and see that nothing is left of them."""
        for service in self.services:
            if service.running:
                self.successResultOf(service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def advance(self, seconds: float, step: float = 1.0) -> None:
        """Time passes."""
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step

    def orders(self) -> int:
        """How many orders were made."""
        return self.authority.asked.count("/newOrder")

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        (found,) = (self.cache / "acme").iterdir()
        return found

    def served(self, service: IssuingService, name: str = "a.test") -> x509.Certificate:
        """What is kept for a name."""
        objects = CertificateDirectory(self.folder / "certificates").load(name)
        return x509.load_pem_x509_certificate(objects[1].as_bytes())


class IssuingTests(_Case):
    """Certificates for those who have none."""

    def test_first(self) -> None:
        """Each name gets a certificate of its own, with its chain, and is served with it at once."""
        service = self.service("a.test", "b.test")
        self.assertFalse(service.is_ready)
        self.assertIs(service.certificates.context_for("a.test"), self.fallback.context_for(None))
        waiting = service.when_certs_valid()
        self.assertNoResult(waiting)
        self.advance(5)
        self.successResultOf(waiting)
        self.assertTrue(service.is_ready)
        contexts = {service.certificates.context_for(name) for name in ("a.test", "b.test")}
        self.assertEqual(len(contexts - {self.fallback.context_for(None)}), 2)
        for status in service.statuses():
            ends = self.served(service, status.name).not_valid_after_utc
            self.assertEqual((status.not_valid_after, status.is_valid, status.error), (ends, True, None))
            assert status.renewal is not None
            self.assertLess(abs(status.renewal - self.began - timedelta(days=60)), timedelta(minutes=1))
            objects = CertificateDirectory(self.folder / "certificates").load(status.name)
            self.assertEqual(len(objects), 3)
        self.assertEqual(self.validated, [("a.test", "tls-alpn-01"), ("b.test", "tls-alpn-01")])
        self.assertEqual(self.orders(), 2)
        self.advance(3 * 3600, 60.0)
        self.assertEqual(self.orders(), 2)

    def test_many(self) -> None:
        """Many names have their certificates within seconds: orders that come to something are not held back."""
        service = self.service(*(f"n{number}.test" for number in range(20)))
        self.advance(30)
        self.assertTrue(service.is_ready)
        self.assertGreater(len(self.authority.asked), 120)

    def test_keys(self) -> None:
        """Each certificate has an ECDSA P-256 key of its own, that no log tells."""
        with capturedLogs() as events:
            service = self.service("a.test", "b.test")
            self.advance(5)
        keys = {self.served(service, name).public_key().public_numbers() for name in ("a.test", "b.test")}  # type: ignore[union-attr]
        self.assertEqual([key.curve.name for key in keys], ["secp256r1"] * 2)  # type: ignore[union-attr]
        text = "\n".join(formatEvent(event) or "" for event in events)
        self.assertRegex(text, r"serving the certificate for a\.test: valid until 20\d\d-.* to be renewed at 20")
        self.assertNotIn("PRIVATE", text + repr(events))

    def test_long_name(self) -> None:
        """A name that is too long for a common name gets a certificate as well."""
        name = f"{'x' * 60}.{'y' * 60}.test"
        service = self.service(name)
        self.advance(5)
        self.assertTrue(service.is_ready)

    def test_http_after_tls(self) -> None:
        """When TLS-ALPN-01 fails HTTP-01 is tried in an order of its own, and next time it is the first."""
        self.wrong = {"tls-alpn-01": "unauthorized"}
        service = self.service()
        self.advance(5)
        self.assertTrue(service.is_ready)
        self.assertEqual(self.validated, [("a.test", "tls-alpn-01"), ("a.test", "http-01")])
        self.assertEqual(self.orders(), 2)
        self.successResultOf(service.stopService())
        self.services.clear()
        (self.folder / "certificates" / "a.test.pem").unlink()
        self.service()
        self.advance(5)
        self.assertEqual(self.validated[2:], [("a.test", "http-01")])
        left = [path for path in (self.folder / "challenges").rglob("*") if path.is_file()]
        self.assertEqual(left, [])

    def test_only_tls(self) -> None:
        """Without a site on port 80 HTTP-01 is not tried; nor is a challenge the authority does not offer."""
        self.wrong = {"tls-alpn-01": "connection"}
        self.service(http_01=False)
        self.advance(5)
        self.assertEqual(self.validated, [("a.test", "tls-alpn-01")])
        self.authority.kinds = ("dns-01",)
        service = self.service("b.test")
        self.advance(5)
        (status,) = service.statuses()
        self.assertIn("does not offer tls-alpn-01", status.error or "")
        self.assertIn("does not offer http-01", status.error or "")

    def test_proved_before(self) -> None:
        """A name the authority has proved already is not proved again."""
        offered = SmallAuthority._authorization

        def proved(authority: SmallAuthority, number: int) -> bytes:
            found = json.loads(offered(authority, number))
            authority._orders[number].status = "ready"
            return json.dumps({**found, "status": "valid", "challenges": []}).encode()

        self.patch(SmallAuthority, "_authorization", proved)
        service = self.service()
        self.advance(5)
        self.assertTrue(service.is_ready)
        self.assertEqual(self.validated, [])

    def test_restart(self) -> None:
        """What is in the cache serves from the first moment, and nothing is ordered."""
        first = self.service()
        self.advance(5)
        self.successResultOf(first.stopService())
        second = self.service(start=False)
        self.assertTrue(second.is_ready)
        second.startService()
        self.successResultOf(second.when_certs_valid())
        self.advance(100)
        self.assertEqual(self.orders(), 1)

    def test_two_servers(self) -> None:
        """Of two servers on one cache one orders for a name, and both serve what comes of it."""
        first, second = (self.service("a.test", "b.test", start=False) for _ in range(2))
        first.startService()
        second.startService()
        self.advance(6)
        self.assertTrue(first.is_ready and second.is_ready)
        self.assertEqual(self.orders(), 2)
        self.assertEqual(
            [status.not_valid_after for status in first.statuses()],
            [status.not_valid_after for status in second.statuses()],
        )

    def test_one_that_does_not_order(self) -> None:
        """One that leaves ordering to another serves what comes of it, and answers its challenges."""
        second = self.service("a.test", orders=False)
        self.advance(6)
        self.assertEqual((self.orders(), second.is_ready), (0, False))
        first = self.service("a.test")
        self.advance(6)
        self.assertEqual((self.orders(), first.is_ready, second.is_ready), (1, True, True))

    def test_modes(self) -> None:
        """All that is kept is the owner's alone."""
        self.service()
        self.advance(5)
        for path in self.cache.rglob("*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700 if path.is_dir() else 0o600, path)

    def test_cache_in_the_way(self) -> None:
        """A cache directory that cannot be made is an error at the start, with the option."""
        (self.cache / "acme").write_bytes(b"")
        error = self.assertRaises(CertificateError, self.service)
        self.assertRegex(str(error), "^--cache .*directory that can be written to")
        self.services.clear()


class RenewalTests(_Case):
    """Certificates for those who have one."""

    def test_two_thirds(self) -> None:
        """At two thirds of its life a certificate is renewed, and the old one serves until then."""
        for life, step in ((timedelta(days=90), 3600.0), (timedelta(days=6), 600.0), (timedelta(seconds=90), 1.0)):
            self.authority.life = life
            self.cache = Path(self.mktemp())
            self.authority.asked.clear()
            service = self.service()
            self.advance(5)
            first = self.served(service)
            self.advance(life.total_seconds() * 0.66 - 5, step)
            self.assertEqual(self.orders(), 1)
            context = service.certificates.context_for("a.test")
            self.advance(life.total_seconds() * 0.02 + 10, step)
            self.assertEqual(self.orders(), 2, life)
            self.assertNotEqual(self.served(service).serial_number, first.serial_number)
            self.assertIsNot(service.certificates.context_for("a.test"), context)
            self.successResultOf(service.stopService())
            self.services.clear()

    def test_expired(self) -> None:
        """One that has expired while the server was off serves until there is another."""
        self.authority.life = timedelta(seconds=90)
        first = self.service()
        self.advance(5)
        self.successResultOf(first.stopService())
        self.clock.advance(1000)
        service = self.service(start=False)
        self.assertFalse(service.is_ready)
        self.assertIsNot(service.certificates.context_for("a.test"), self.fallback.context_for(None))
        service.startService()
        self.advance(5)
        self.assertTrue(service.is_ready)

    def test_removed(self) -> None:
        """A certificate whose file is removed or broken goes on serving, and is replaced."""
        service = self.service()
        self.advance(5)
        for orders, harm in ((2, Path.unlink), (3, lambda path: path.write_bytes(b"harm"))):
            context = service.certificates.context_for("a.test")
            harm(self.folder / "certificates" / "a.test.pem")
            service.certificates.refresh()
            self.assertIs(service.certificates.context_for("a.test"), context)
            self.advance(5)
            self.assertEqual(self.orders(), orders)
            self.assertIsNot(service.certificates.context_for("a.test"), context)

    def test_advice(self) -> None:
        """When the authority wants a certificate to be renewed earlier, it is, and is told which one it replaces."""
        self.authority.window = lambda ends: (
            (ends - timedelta(days=80)).isoformat(),
            (ends - timedelta(days=79)).isoformat(),
        )
        service = self.service()
        self.advance(20)
        self.assertEqual(len(self.authority.windows_asked), 1)
        (status,) = service.statuses()
        assert status.renewal is not None
        self.assertTrue(timedelta(days=10) <= status.renewal - self.began <= timedelta(days=11, minutes=1))
        self.advance(9.9 * _DAY, 600.0)
        self.assertEqual(self.orders(), 1)
        self.advance(1.2 * _DAY, 600.0)
        self.assertEqual(self.orders(), 2)
        replaced = [(said.payload or {}).get("replaces") for said in self.authority.said if said.path == "/newOrder"]
        self.assertEqual(replaced, [None, self.authority.windows_asked[0]])

    def test_urgent_advice(self) -> None:
        """An authority that wants all its certificates back is listened to, once a day at most."""
        save = CertificateDirectory.save

        def saved_now(directory: CertificateDirectory, name: str, objects: Any) -> None:
            save(directory, name, objects)
            path = self.folder / "certificates" / f"{name}.pem"
            os.utime(path, (self.now().timestamp(), self.now().timestamp()))

        self.patch(CertificateDirectory, "save", saved_now)
        service = self.service()
        self.advance(5)
        self.assertEqual(self.orders(), 1)
        self.advance(2 * _DAY, 600.0)
        self.authority.window = lambda ends: ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z")
        self.advance(_DAY, 600.0)
        self.assertEqual(self.orders(), 2)
        self.assertTrue(service.is_ready)

    def test_already_replaced(self) -> None:
        """An authority that does not want to hear what is replaced gets the order without it."""
        self.authority.window = lambda ends: ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z")
        service = self.service()
        self.advance(5)
        (self.folder / "certificates" / "a.test.pem").unlink()
        refused = iter([True, False])
        refusal = self.authority.refuse("alreadyReplaced", 409)
        self.authority.misbehave = lambda path: refusal if path == "/newOrder" and next(refused) else None
        self.advance(5)
        self.assertEqual((self.orders(), service.statuses()[0].error), (3, None))
        self.assertTrue((self.folder / "certificates" / "a.test.pem").is_file())
        self.assertNotIn(
            "replaces", [said for said in self.authority.said if said.path == "/newOrder"][-1].payload or {}
        )


class FailureTests(_Case):
    """What happens when there is no certificate."""

    def status(self, service: IssuingService) -> str:
        """Why the last try failed."""
        return service.statuses()[0].error or ""

    def test_gone(self) -> None:
        """An authority that is out of order, in whatever way, is asked again within half a minute, for all names."""
        misdeeds: tuple[Any, ...] = (
            (500, b"{}"),
            (503, b"busy"),
            (200, b"<html>"),
            (200, b"{}"),
            (200, b"[" * 100000),
            (404, b""),
            "half",
            "cut",
            "nothing",
        )
        for misdeed in misdeeds:
            self.cache = Path(self.mktemp())
            self.authority.asked.clear()
            self.authority.misbehave = lambda path, misdeed=misdeed: misdeed  # type: ignore[misc]
            service = self.service("a.test", "b.test")
            self.advance(300)
            self.assertTrue(self.status(service), misdeed)
            self.assertLess(len(self.authority.asked), 20, misdeed)
            self.assertTrue(all(status.error for status in service.statuses()))
            self.assertIs(service.certificates.context_for("a.test"), self.fallback.context_for(None))
            self.authority.misbehave = lambda path: None
            self.advance(60 + (30 if misdeed == "nothing" else 0))
            self.assertTrue(service.is_ready, misdeed)
            self.assertEqual([status.error for status in service.statuses()], [None, None])
            self.successResultOf(service.stopService())
            self.services.clear()

    def test_gone_for_long(self) -> None:
        """An authority that stays away is in the log once, and then now and then."""
        self.authority.misbehave = lambda path: (500, b"")
        with capturedLogs() as events:
            service = self.service("a.test", "b.test")
            self.advance(3600)
        lines = [line for line in map(formatEvent, events) if line and "answered 500" in line]
        self.assertTrue(5 <= len(lines) <= 7, lines)
        self.assertLess(service.statuses()[1].next_try, 34.0)
        self.assertLess(len(self.authority.asked), 130)  # one at a time finds out whether it is back, not each name

    def test_silent(self) -> None:
        """Once it is known that the authority says nothing, one question at a time finds out whether it is back."""
        self.authority.misbehave = lambda path: "nothing"
        self.service("a.test", "b.test")
        self.advance(31)
        self.assertEqual(len(self.authority.asked), 2)
        self.advance(36)
        self.assertEqual(len(self.authority.asked), 3)

    def test_gone_half_way(self) -> None:
        """It is the same when it fails in the middle of an order."""
        for place in (
            "/newNonce",
            "/newAccount",
            "/newOrder",
            "/authz/",
            "/challenge/",
            "/order/",
            "/finalize/",
            "/certificate/",
        ):
            for misdeed in ((500, b""), (200, b"garbage"), "half"):
                if place == "/newNonce" and misdeed == (200, b"garbage"):
                    continue  # a nonce is a nonce, whatever comes with it
                self.cache = Path(self.mktemp())
                self.authority.asked.clear()
                self.authority.misbehave = lambda path, m=misdeed, p=place: m if path.startswith(p) else None  # type: ignore[misc]
                service = self.service()
                self.advance(90)
                self.assertTrue(self.status(service) or place == "/challenge/", (place, misdeed))
                self.assertLess(len(self.authority.asked), 130, (place, misdeed))
                self.authority.misbehave = lambda path: None
                # Once there is an order the name waits as after a refusal, not only for the authority to be back.
                self.advance(100 if place in ("/newNonce", "/newAccount", "/newOrder") else 500)
                self.assertTrue(service.is_ready, (place, misdeed, service.statuses()))
                self.successResultOf(service.stopService())
                self.services.clear()

    def test_gone_at_renewal(self) -> None:
        """As long as the old certificate has time left, an authority that is gone is asked less often."""
        service = self.service()
        self.advance(5)
        self.advance(59 * _DAY, 3600.0)
        self.authority.misbehave = lambda path: (500, b"")
        self.authority.asked.clear()
        self.advance(3 * _DAY, 60.0)
        self.assertTrue(5 < len(self.authority.asked) < 60, len(self.authority.asked))
        self.assertTrue(service.is_ready)
        self.assertIn("answered 500", self.status(service))
        self.authority.misbehave = lambda path: None
        self.advance(0.5 * _DAY, 60.0)
        self.assertEqual((self.orders(), self.status(service)), (1, ""))

    def test_refused(self) -> None:
        """A refusal is told in a line with the remedy, and the waits become long; other names are not kept waiting."""
        self.wrong = {"tls-alpn-01": "connection", "http-01": "caa"}
        with capturedLogs() as events:
            service = self.service("a.test", "b.test")
            self.authority.validate = lambda name, kind, *rest: self.wrong.get(kind) if name == "a.test" else None
            self.advance(5)
        bad, good = service.statuses()
        self.assertTrue(good.is_valid)
        self.assertRegex(
            bad.error or "", "tls-alpn-01: connection: .*port 443 of a.test.*; and http-01: caa: .*CAA record"
        )
        self.assertTrue(54 < bad.next_try <= 60)
        text = [formatEvent(event) or "" for event in events]
        (line,) = [line for line in text if line.startswith("no certificate for a.test")]
        self.assertIn("a self-signed one is served", line)
        self.assertNotIn("\n", line)
        self.authority.asked.clear()
        self.advance(2 * 3600, 10.0)
        self.assertEqual(self.orders(), 2 * 3)  # after 1, 6 and 31 minutes, both challenges
        self.advance(2 * _DAY, 60.0)
        self.assertTrue(2 * 10 <= self.orders() <= 2 * 12)

    def test_retry_after(self) -> None:
        """The authority's wish to wait is respected, in seconds and as a date, also across a restart."""
        later = (self.began + timedelta(hours=2)).strftime("%a, %d %b %Y %H:%M:%S GMT")
        for wish in ("7200", later):
            self.cache = Path(self.mktemp())
            refusal = self.authority.refuse("rateLimited", 429, "too many", retry_after=wish)
            self.authority.misbehave = lambda path, refusal=refusal: refusal if path == "/newOrder" else None  # type: ignore[misc]
            service = self.service()
            self.advance(5)
            self.assertTrue(7190 < service.statuses()[0].next_try <= 7200, service.statuses())
            self.assertIn("--staging", self.status(service))
            self.successResultOf(service.stopService())
            self.services.clear()
            self.authority.misbehave = lambda path: None
            self.authority.asked.clear()
            again = self.service()
            self.assertIn("rateLimited", self.status(again))
            self.advance(7000, 10.0)
            self.assertEqual(self.orders(), 0)
            self.advance(220, 10.0)
            self.assertTrue(again.is_ready)
            self.successResultOf(again.stopService())
            self.services.clear()
            self.clock.rightNow = 0.0

    def test_account(self) -> None:
        """When the authority refuses the account all names wait, and it is not asked for each of them."""
        self.authority.external = {}
        service = self.service("a.test", "b.test", "c.test")
        self.advance(50)
        self.assertEqual([said.path for said in self.authority.said].count("/newAccount"), 1)
        for status in service.statuses():
            self.assertIn("key id and HMAC key", status.error or "")
        self.advance(3600, 10.0)
        self.assertLess([said.path for said in self.authority.said].count("/newAccount"), 8)

    def test_crash_loop(self) -> None:
        """A server that dies in the middle of each order makes a few orders, not one a start."""
        self.authority.misbehave = lambda path: "nothing" if path.startswith("/authz/") else None
        for _ in range(40):
            service = self.service()
            self.advance(10)
            # It dies: no stop of ours, only its lock and its timers are gone.
            kept = {path: path.read_bytes() for path in (self.folder / "tries").iterdir()}
            self.successResultOf(service.stopService())
            for path, content in kept.items():
                path.write_bytes(content)
            self.services.clear()
        self.assertLess(self.orders(), 5)

    def test_stopped(self) -> None:
        """A server that is stopped in the middle of an order leaves no answer behind, and waits before the next one."""
        self.authority.misbehave = lambda path: "nothing" if path.startswith("/challenge/") else None
        service = self.service()
        self.advance(3)
        answers = self.folder / "challenges" / "tls-alpn-01"
        self.assertEqual([path.name for path in answers.iterdir()], ["a.test"])
        self.successResultOf(service.stopService())
        self.assertEqual(list(answers.iterdir()), [])
        self.authority.misbehave = lambda path: None
        again = self.service()
        self.assertIn("stopped in the middle", self.status(again))
        self.advance(55)
        self.assertEqual((self.orders(), again.is_ready), (1, False))
        self.advance(10)
        self.assertTrue(again.is_ready)

    def test_stopped_again_and_again(self) -> None:
        """A server that is stopped again and again in the middle of its orders makes a few, not one a start."""
        self.authority.misbehave = lambda path: "nothing" if path.startswith("/challenge/") else None
        for _ in range(40):
            service = self.service()
            self.advance(10)
            self.successResultOf(service.stopService())
            self.services.clear()
        self.assertEqual(self.orders(), 3)  # after 1 and 6 minutes

    def test_stopped_before_the_order(self) -> None:
        """A server that is stopped before it has ordered anything is not kept waiting."""
        for place in ("/directory", "/newNonce", "/newAccount"):
            self.cache = Path(self.mktemp())
            self.authority.misbehave = lambda path, place=place: "nothing" if path == place else None  # type: ignore[misc]
            service = self.service()
            self.advance(3)
            self.successResultOf(service.stopService())
            self.services.clear()
            self.assertEqual(json.loads((self.folder / "tries" / "a.test.json").read_text())["failures"], 0)
            self.authority.misbehave = lambda path: None
            again = self.service()
            self.advance(5)
            self.assertTrue(again.is_ready, place)
            self.successResultOf(again.stopService())
            self.services.clear()

    def test_orders_that_come_to_nothing(self) -> None:
        """An authority that takes orders and then fails gets as few of them as one that refuses."""
        for place, misdeed in (("/finalize/", (500, b"")), ("/certificate/", (200, b"garbage")), ("/authz/", "cut")):
            self.cache = Path(self.mktemp())
            self.authority.asked.clear()
            self.authority.misbehave = lambda path, m=misdeed, p=place: m if path.startswith(p) else None  # type: ignore[misc]
            service = self.service()
            self.advance(600)
            self.assertEqual(self.orders(), 3, place)  # after 1 and 6 minutes
            self.assertTrue(1200 < service.statuses()[0].next_try <= 1500, place)
            self.assertTrue(self.status(service), place)
            self.successResultOf(service.stopService())
            self.services.clear()

    def test_one_that_fails(self) -> None:
        """A name the authority always fails at keeps no other name from its certificate, and has its errors alone."""
        self.authority.misbehave = lambda path: (500, b"") if path.startswith("/finalize/0") else None
        service = self.service("a.test", "b.test")
        self.advance(10)
        bad, good = service.statuses()
        self.assertIn("answered 500", bad.error or "")
        self.assertTrue(good.is_valid)
        (self.folder / "certificates" / "b.test.pem").unlink()
        self.authority.misbehave = lambda path: "nothing" if path == "/directory" else None
        self.clock.advance(1)
        self.assertIsNone(service.statuses()[1].error)

    def test_one_that_cannot_order(self) -> None:
        """When the authority fails already at the order for one name, the other names have their turn all the same."""
        names = ("a.test", "b.test", "c.test")
        real = SmallAuthority._new_order
        tried: list[str] = []

        def fails_for_one(authority: SmallAuthority, request: Any, payload: dict[str, Any]) -> bytes:
            name = payload["identifiers"][0]["value"]
            tried.append(name)
            if name == "a.test" or len(tried) <= len(names):
                request.setResponseCode(500)
                return b""
            return real(authority, request, payload)

        self.patch(SmallAuthority, "_new_order", fails_for_one)
        service = self.service(*names)
        self.advance(75)  # at 5, 15 and 35 s it fails for all, at 65 s it is the second name's turn
        self.assertEqual([status.is_valid for status in service.statuses()], [False, True, True])
        self.advance(600)
        self.assertEqual((tried.count("b.test"), tried.count("c.test")), (2, 2))

    def test_never_looks(self) -> None:
        """An authority that never comes to look is not waited for for ever."""
        self.authority.validate = lambda *_: None
        offered = SmallAuthority._challenge
        self.patch(SmallAuthority, "_challenge", lambda *_: b"{}")
        service = self.service(http_01=False)
        self.advance(400)
        self.assertIn("not come to look", self.status(service))
        self.patch(SmallAuthority, "_challenge", offered)

    def test_full_disk(self) -> None:
        """When nothing can be written nothing is ordered; a certificate that came too late for that is not lost."""
        service = self.service(start=False)
        folder = self.cache / "acme" / Authority(f"{self.authority.url}/directory").folder
        folder.mkdir(parents=True)
        (folder / "tries").write_bytes(b"in the way")
        service.startService()
        self.advance(30)
        self.assertEqual(self.orders(), 0)
        self.assertIn("cannot be written to", self.status(service))
        (self.folder / "tries").unlink()
        (self.folder / "certificates").rmdir()
        (self.folder / "certificates").write_bytes(b"in the way")
        self.advance(60)
        self.assertEqual(self.orders(), 1)
        self.assertIn("cannot be kept", self.status(service))
        self.assertTrue(service.is_ready)
        context = service.certificates.context_for("a.test")
        self.assertIsNot(context, self.fallback.context_for(None))
        (self.folder / "certificates").unlink()
        self.advance(1000)
        self.assertEqual((self.orders(), self.status(service)), (1, ""))
        self.assertTrue((self.folder / "certificates" / "a.test.pem").is_file())

    def test_wrong_certificate(self) -> None:
        """A certificate for another name or another key is not served."""
        made = make("a.test")
        for chain in (made.certificate_pem, made.certificate_pem + b"garbage", b"-----BEGIN CERTIFICATE-----\nAA==\n"):
            self.cache = Path(self.mktemp())
            self.authority.misbehave = lambda path, c=chain: (200, c) if path.startswith("/certificate/") else None  # type: ignore[misc]
            service = self.service()
            self.advance(5)
            self.assertFalse(service.is_ready)
            self.assertRegex(self.status(service), "certificate")
            self.successResultOf(service.stopService())
            self.services.clear()

    def test_fault_of_ours(self) -> None:
        """A fault of our own is logged, and neither ends the looking after nor becomes a flood."""

        def fault(*args: object) -> None:
            raise RuntimeError("a fault")

        with_fault: Callable[..., Any] = fault
        self.patch(IssuingService, "_issue_cert", with_fault)
        service = self.service()
        self.advance(100)
        faults = len(self.flushLoggedErrors(RuntimeError))
        self.assertTrue(1 <= faults <= 3)
        self.assertIn("fault of our own", self.status(service))

    def test_wall_clock(self) -> None:
        """A step of the wall clock harms nobody: what serves goes on, and nothing is ordered twice."""
        service = self.service()
        self.advance(5)
        context: SSL.Context = service.certificates.context_for("a.test")
        for step in (-31, 31, -1):
            self.began += timedelta(days=step)
            self.advance(100)
            self.assertIs(service.certificates.context_for("a.test"), context)
        self.assertEqual(self.orders(), 1)

    def test_wrong_clock(self) -> None:
        """When a new certificate is due already a wrong clock is told, and orders are as few as after refusals."""
        for life, wrong in (
            (timedelta(days=6), timedelta(days=31)),  # this machine's clock
            (timedelta(days=6), timedelta(days=5)),  # the new one is due, and has not ended
            (timedelta(seconds=20), timedelta(minutes=5)),
            (timedelta(seconds=20), timedelta(days=31)),
        ):
            self.cache = Path(self.mktemp())
            self.authority.asked.clear()
            self.authority.life = life
            with capturedLogs() as events:
                service = self.service(now=lambda wrong=wrong: self.now() + wrong)
                self.advance(600)
            self.assertEqual(self.orders(), 3 if life < timedelta(days=1) else 1, (life, wrong))
            (status,) = service.statuses()
            self.assertRegex(status.error or "", "the clock of this machine or of the authority is wrong.*: set")
            self.assertGreater(status.next_try, 600)
            lines = [line for line in map(formatEvent, events) if line and "clock" in line]
            self.assertEqual(len(lines), self.orders())
            self.assertNotIn("\n", "".join(lines))
            self.successResultOf(service.stopService())
            self.services.clear()

    def test_young(self) -> None:
        """What has just come is not ordered again because the wall clock jumps; later it is, and if it is removed."""
        self.authority.life = timedelta(days=6)
        jump = timedelta(0)
        service = self.service(now=lambda: self.now() + jump)
        self.advance(60)
        jump = timedelta(days=31)
        self.advance(14 * 3600, 10.0)
        self.assertEqual((self.orders(), service.is_ready), (1, False))
        self.assertTrue(1300 < service.statuses()[0].next_try <= 1500)  # a tenth of its life is 14.4 hours
        self.advance(1600, 10.0)
        self.assertEqual(self.orders(), 2)
        (self.folder / "certificates" / "a.test.pem").unlink()
        self.advance(70)
        self.assertEqual(self.orders(), 3)
