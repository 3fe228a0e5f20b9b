"""Which certificates a server shows: on a reactor in memory, with an authority that nobody reaches."""

import contextlib
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.x509 import Certificate
from OpenSSL import SSL
from twisted.application.service import IService
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.service.certificates import (
    CertificateService,
    CertificateState,
    changed_pairs,
    read_pairs,
    read_pairs_again,
)
from mles_tx.service.config import ServerConfig
from mles_tx.transport.certificates.authority import Authority
from mles_tx.transport.certificates.names import names_of
from mles_tx.transport.certificates.pairs import CertificateError, Pair
from mles_tx.transport.certificates.selfsigned import self_signed_pair
from mles_tx.transport.certificates.store import CertificateDirectory
from tests.transport.certificates.making import Made, make

from .servers import logged

#: Nobody is there.
DIRECTORY = "https://localhost:1/dir"

TOKEN = "a-token"
ANSWER = b"a-token.thumbprint"


def shown_by(context: SSL.Context) -> Certificate:
    """The certificate that a client of a TLS context sees."""
    server, client = SSL.Connection(context, None), SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(2):
        for one, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(1 << 16))
    peer = client.get_peer_certificate()
    assert peer is not None
    return peer.to_cryptography()


class _Case(SynchronousTestCase):
    """A cache directory, an operator's files, and a reactor in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.cache = self.directory / "cache"

    def make(self, *domains: str, **fields: Any) -> CertificateService:
        """The certificates of a server, not started; they are stopped at the end."""
        service = CertificateService(self.reactor, ServerConfig(domains=domains, cache=self.cache, **fields))
        self.addCleanup(self.stop, service)
        return service

    def start(self, *domains: str, **fields: Any) -> CertificateService:
        """The certificates of a server."""
        service = self.make(*domains, **fields)
        service.privilegedStartService()
        service.startService()
        return service

    def order(self, *domains: str, **fields: Any) -> CertificateService:
        """Those of one that orders them."""
        return self.start(*(domains or ("example.org",)), acme_directory=DIRECTORY, **fields)

    def stop(self, service: CertificateService) -> None:
        """Stop them, and see that no timer is left."""
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assert_nothing(service)

    def assert_nothing(self, service: CertificateService) -> None:
        """Nothing is shown, ordered or answered."""
        self.assertEqual((service.shown, service.preface, service.challenge(TOKEN)), (None, None, None))
        self.assertEqual((service.states(), service.not_ready()), ([], []))

    def files(self, made: Made, name: str = "one") -> tuple[Path, Path]:
        """Certificate and key as an operator's files."""
        chain, key = self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"
        chain.write_bytes(made.certificate_pem)
        key.write_bytes(made.key_pem)
        return chain, key

    @property
    def root(self) -> Path:
        """What is kept of the authority."""
        return self.cache / "acme" / Authority(DIRECTORY).folder

    def keep(self, name: str, content: bytes) -> None:
        """A file of the authority's part of the cache, as an earlier run has left it."""
        path = self.root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(content)

    def shown(self, service: CertificateService, name: str | None = None) -> Certificate:
        """The certificate that a client sees who asks for a name."""
        assert service.shown is not None
        return shown_by(service.shown.context_for(name))


class NoCertificateTests(_Case):
    """Servers that speak no TLS."""

    def test_interface(self) -> None:
        """It is a service as twistd and applications use them."""
        self.assertTrue(verifyObject(IService, self.make()))

    def test_nothing_to_do(self) -> None:
        """On a laptop, behind a proxy and in somebody else's site nothing is made, ordered or written."""
        for domains, fields in (
            ((), {}),
            (("example.org",), {"tls": False}),
            (("example.org",), {"listen": False}),
            (("localhost",), {"listen": False}),
        ):
            config: dict[str, Any] = dict(fields)
            service = self.start(*domains, **config)
            self.assertEqual(service.running, 1)
            self.assert_nothing(service)
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            self.stop(service)
        self.assertFalse(self.cache.exists())

    def test_files_of_a_mounted_server(self) -> None:
        """Where somebody else speaks TLS the certificate files are not read."""
        missing = self.directory / "missing.pem"
        self.assert_nothing(self.start("example.org", certificates=((missing, missing),), listen=False))


class OwnFilesTests(_Case):
    """The operator's files."""

    def test_shown(self) -> None:
        """Each domain is shown under its own certificate, nothing is ordered, and all is ready."""
        one, other = make("example.org", days=10), make("*.example.net", days=20)
        certificates = (self.files(one), self.files(other, "other"))
        service = self.start("example.org", "www.example.net", certificates=certificates)
        for name, made in (("example.org", one), ("www.example.net", other), (None, one), ("foreign.example", one)):
            self.assertEqual((name, self.shown(service, name)), (name, made.certificate))
        self.assertEqual(
            service.states(),
            [
                CertificateState("example.org", one.certificate.not_valid_after_utc, True, None),
                CertificateState("www.example.net", other.certificate.not_valid_after_utc, True, None),
            ],
        )
        self.assertEqual((service.not_ready(), service.preface, service.challenge(TOKEN)), ([], None, None))
        self.assertFalse(self.cache.exists())

    def test_not_trusted(self) -> None:
        """A certificate that has expired or is for another name is shown, and the server is not ready."""
        old = make("example.org", days=-1)
        with logged() as warnings:
            service = self.start("example.org", "example.net", certificates=(self.files(old),))
        self.assertEqual(
            warnings,
            [
                "the certificate for example.org has expired: replace it",
                "no certificate is for example.net: clients will refuse it",
            ],
        )
        ends = old.certificate.not_valid_after_utc
        self.assertEqual(
            service.states(),
            [CertificateState(name, ends, False, None) for name in ("example.org", "example.net")],
        )
        self.assertEqual(
            service.not_ready(),
            ["example.org has no valid certificate yet", "example.net has no valid certificate yet"],
        )

    def test_ending(self) -> None:
        """A certificate near its end is told in time, logged and to whoever asks; the server is ready until then."""
        for days, is_told in ((8.0, False), (6.9, True), (0.5, True), (-1.0, False)):
            made = make("example.org", days=days, life=90)
            with logged() as warnings:
                service = self.start("example.org", certificates=(self.files(made),))
            line = (
                f"the certificate for example.org ends on {made.certificate.not_valid_after_utc:%Y-%m-%d}: replace it"
            )
            self.assertEqual((days, service.ending()), (days, [line] if is_told else []))
            self.assertEqual((days, line in warnings), (days, is_told))
            self.assertEqual((days, service.not_ready() == []), (days, days > 0))
            self.stop(service)

    def test_ending_of_short_ones(self) -> None:
        """One that lives for some days only is not near its end from the first one on."""
        told = []
        for days in (5.0, 2.1, 1.9):
            service = self.start("example.org", certificates=(self.files(make("example.org", days=days, life=6)),))
            told.append(len(service.ending()))
            self.stop(service)
        self.assertEqual(told, [0, 0, 1])

    def test_read_early(self) -> None:
        """The files are read while the server is still root; nothing is shown before it starts."""
        one = make("example.org")
        chain, key = self.files(one)
        service = self.make("example.org", certificates=((chain, key),))
        service.privilegedStartService()
        self.assertIsNone(service.shown)
        chain.unlink()
        key.unlink()
        service.startService()
        self.assertEqual(self.shown(service), one.certificate)

    def test_missing(self) -> None:
        """A file that is missing is told at once, also when the start is made in one step."""
        missing = self.directory / "missing.pem"
        for step in ("privilegedStartService", "startService"):
            service = self.make("example.org", certificates=((missing, missing),))
            error = self.assertRaises(CertificateError, getattr(service, step))
            self.assertEqual(
                str(error), f"--certificate {missing}: No such file or directory; give a file that can be read"
            )
            self.assert_nothing(service)

    def test_again(self) -> None:
        """Stopped and started, the files are read anew."""
        service = self.start("example.org", certificates=(self.files(make("example.org")),))
        self.stop(service)
        renewed = make("example.org")
        self.files(renewed)
        service.startService()
        self.assertEqual(self.shown(service), renewed.certificate)


class SelfSignedTests(_Case):
    """Names nobody can get a public certificate for."""

    def test_shown(self) -> None:
        """One certificate has all the names; nothing is ordered, and that is as ready as it gets."""
        service = self.start("localhost", "chat.internal", "127.0.0.1")
        shown = self.shown(service)
        self.assertEqual(names_of(shown), ("localhost", "chat.internal", "127.0.0.1"))
        self.assertEqual(
            service.states(),
            [
                CertificateState(name, shown.not_valid_after_utc, False, None)
                for name in ("localhost", "chat.internal", "127.0.0.1")
            ],
        )
        self.assertEqual((service.not_ready(), service.preface), ([], None))
        self.assertFalse((self.cache / "acme").exists())

    def test_long_run(self) -> None:
        """A server that runs for months shows a new one before the old one ends."""
        service = self.start("localhost")
        self.reactor.advance(3600)
        first = self.shown(service)
        nearly_over = datetime.now(UTC) - timedelta(days=340)
        store = CertificateDirectory(self.cache / "self-signed")
        (self.cache / "self-signed" / "localhost.pem").unlink()
        old = self_signed_pair(store, ("localhost",), nearly_over)
        self.reactor.advance(3600)
        second = self.shown(service)
        self.assertNotEqual(second, first)
        self.assertGreater(second.not_valid_after_utc, old.not_valid_after)
        self.assertEqual([state.not_valid_after for state in service.states()], [second.not_valid_after_utc])

    def test_cache_is_gone(self) -> None:
        """When a new one cannot be kept, the old one is shown on, and it is looked at again."""
        service = self.start("localhost")
        first = self.shown(service)
        (self.cache / "self-signed" / "localhost.pem").unlink()
        (self.cache / "self-signed").rmdir()
        (self.cache / "self-signed").write_bytes(b"in the way")
        self.reactor.advance(3600)
        self.assertEqual(len(self.flushLoggedErrors(CertificateError)), 1)
        self.assertEqual(self.shown(service), first)
        (self.cache / "self-signed").unlink()
        self.reactor.advance(3600)
        self.assertNotEqual(self.shown(service), first)

    def test_started_twice(self) -> None:
        """To start it once more changes nothing, and leaves nothing behind."""
        service = self.start("localhost")
        first = self.shown(service)
        service.startService()
        self.assertEqual(self.shown(service), first)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)

    def test_after_root(self) -> None:
        """Nothing is written before root is given up."""
        service = self.make("localhost")
        service.privilegedStartService()
        self.assertFalse(self.cache.exists())
        self.assert_nothing(service)

    def test_kept(self) -> None:
        """Stopped and started, the same is shown; the directory is for the server's user alone."""
        service = self.start("localhost")
        first = self.shown(service)
        self.stop(service)
        service.startService()
        self.assertEqual(self.shown(service), first)
        self.assertEqual(stat.S_IMODE(self.cache.stat().st_mode), 0o700)

    def test_unwritable(self) -> None:
        """A cache that cannot be written to is told with its option; nothing is shown."""
        self.cache.write_bytes(b"in the way")
        for fields in ({}, {"acme_directory": DIRECTORY}):
            config: dict[str, Any] = dict(fields)
            service = self.make("chat.internal", **config)
            error = self.assertRaises(CertificateError, service.startService)
            self.assertEqual(
                str(error), f"--cache {self.cache}: Not a directory; give a directory that can be written to"
            )
            self.assertIsNone(service.shown)
            self.stop(service)


class DemandTests(_Case):
    """Whether browsers may be told to come to a host over TLS only."""

    def signed(self, *names: str, days: float = 90) -> Made:
        """A certificate of an authority's."""
        authority = make("authority.example", common_name="An authority")
        return make(*names, common_name=names[0], days=days, issuer=authority)

    def asked(self, service: CertificateService, *hosts: str) -> list[bool]:
        """What is said of hosts."""
        return [service.demands_tls(host) for host in hosts]

    def test_trusted(self) -> None:
        """Yes for a domain with an authority's certificate, no for any other host."""
        service = self.start("example.org", certificates=(self.files(self.signed("example.org")),))
        self.assertEqual(self.asked(service, "example.org", "www.example.org", "localhost", ""), [True] + [False] * 3)

    def test_table(self) -> None:
        """No for names of this machine and of private networks, for expired, foreign and self-signed certificates."""
        local = ("localhost", "chat.test", "chat.local", "chat.internal", "10.0.0.1", "::1")
        with logged():
            for made, names, expected in (
                (self.signed("example.org", *local), ("example.org", *local), [True] + [False] * len(local)),
                (make("example.org"), ("example.org",), [False]),
                (self.signed("example.org", days=-1), ("example.org",), [False]),
                (self.signed("other.example"), ("example.org",), [False]),
                (self.signed("*.example.org"), ("www.example.org",), [True]),
            ):
                service = self.start(*names, certificates=(self.files(made),))
                self.assertEqual((names, self.asked(service, *names)), (names, expected))
                self.stop(service)

    def test_own(self) -> None:
        """No for a certificate of the server's own, while one is ordered as well; and none without TLS."""
        for domain, fields in (
            ("localhost", {}),
            ("example.org", {"acme_directory": DIRECTORY}),
            ("example.org", {"tls": False}),
            ("example.org", {"listen": False}),
        ):
            config: dict[str, Any] = dict(fields)
            service = self.start(domain, **config)
            self.assertEqual(self.asked(service, domain), [False])
            self.stop(service)

    def test_before_the_start_and_after(self) -> None:
        """No before the server has started, and a second after it has stopped."""
        service = self.make("example.org", certificates=(self.files(self.signed("example.org")),))
        self.assertEqual(self.asked(service, "example.org"), [False])
        service.privilegedStartService()
        service.startService()
        self.reactor.advance(1)
        self.assertEqual(self.asked(service, "example.org"), [True])
        self.successResultOf(service.stopService())
        self.reactor.advance(1)
        self.assertEqual(self.asked(service, "example.org"), [False])

    def test_remembered(self) -> None:
        """It is found out once in a second, however often it is asked, and anew in the next."""
        service = self.start("example.org", certificates=(self.files(self.signed("example.org")),))
        looks: list[None] = []
        states = service.states
        self.patch(service, "states", lambda: looks.append(None) or states())  # type: ignore[func-returns-value]
        for _ in range(3):
            for _ in range(100):
                self.asked(service, "example.org", "foreign.example")
            self.reactor.advance(1)
        self.assertEqual(len(looks), 3)


class OrderTests(_Case):
    """Certificates that are ordered."""

    def test_meanwhile(self) -> None:
        """Until it is there a self-signed one serves, and it is told what clients will think of it."""
        service = self.order("example.org", "www.example.org")
        shown = self.shown(service, "example.org")
        self.assertEqual(names_of(shown), ("example.org", "www.example.org"))
        self.assertEqual(self.shown(service), shown)
        ends = shown.not_valid_after_utc
        self.assertEqual(
            service.states(),
            [CertificateState(name, ends, False, None) for name in ("example.org", "www.example.org")],
        )
        self.assertEqual(
            service.not_ready(),
            ["example.org has no valid certificate yet", "www.example.org has no valid certificate yet"],
        )
        self.assertNotEqual(self.reactor.getDelayedCalls(), [], "it is looked after")

    def test_challenges(self) -> None:
        """An authority finds the answers that are there, and no others; who has none waits for nothing."""
        service = self.order()
        self.keep(f"challenges/http-01/{TOKEN}", ANSWER)
        self.assertEqual((service.challenge(TOKEN), service.challenge("other")), (ANSWER, None))
        self.assertEqual(service.challenge("../../account-key.pem"), None)
        assert service.preface is not None
        connection: Any = object()
        self.assertIs(service.preface(connection), True)

    def test_kept(self) -> None:
        """The next start shows the certificate that was issued; all is ready."""
        issued = make("example.org", days=80)
        self.keep("certificates/example.org.pem", issued.key_pem + issued.certificate_pem)
        service = self.order()
        self.assertEqual(self.shown(service, "example.org"), issued.certificate)
        self.assertEqual(
            service.states(),
            [CertificateState("example.org", issued.certificate.not_valid_after_utc, True, None)],
        )
        self.assertEqual(service.not_ready(), [])

    def test_expired(self) -> None:
        """One that has expired is shown all the same, with its own end, and the server is not ready."""
        issued = make("example.org", days=-2)
        self.keep("certificates/example.org.pem", issued.key_pem + issued.certificate_pem)
        service = self.order()
        self.assertEqual(self.shown(service, "example.org"), issued.certificate)
        ends = issued.certificate.not_valid_after_utc
        self.assertEqual(service.states(), [CertificateState("example.org", ends, False, None)])
        self.assertEqual(service.not_ready(), ["example.org has no valid certificate yet"])

    def test_why(self) -> None:
        """Why the last order failed is told for its domain, also when that was before the start."""
        failed = {"failures": 1, "delay": 60.0, "until": 4e9, "error": "no such domain", "hint": ""}
        self.keep("tries/example.org.json", json.dumps(failed).encode())
        service = self.order("example.org", "example.net")
        self.assertEqual([state.error for state in service.states()], ["no such domain", None])
        self.assertEqual(
            service.not_ready(),
            [
                "example.org has no valid certificate yet: no such domain",
                "example.net has no valid certificate yet",
            ],
        )

    def test_ending(self) -> None:
        """That nothing comes after a certificate whose order has failed is told in the last week, with the reason."""
        failed = {"failures": 9, "delay": 60.0, "until": 4e9, "error": "no such domain", "hint": ""}
        for days, is_told in ((3.0, True), (10.0, False), (-1.0, False)):
            issued = make("example.org", days=days, life=90)
            self.keep("certificates/example.org.pem", issued.key_pem + issued.certificate_pem)
            self.keep("tries/example.org.json", json.dumps(failed).encode())
            service = self.order()
            ends = f"{issued.certificate.not_valid_after_utc:%Y-%m-%d}"
            line = f"the certificate for example.org ends on {ends}: no such domain"
            self.assertEqual((days, service.ending()), (days, [line] if is_told else []))
            self.stop(service)

    def test_renewed_in_time(self) -> None:
        """Nothing is told of one near its end whose order has not failed: it is being renewed."""
        issued = make("example.org", days=3, life=90)
        self.keep("certificates/example.org.pem", issued.key_pem + issued.certificate_pem)
        self.assertEqual(self.order().ending(), [])

    def test_local_and_public(self) -> None:
        """Names of both kinds are served; only for those an authority knows one is ordered and missed."""
        issued = make("example.org")
        self.keep("certificates/example.org.pem", issued.key_pem + issued.certificate_pem)
        service = self.order("10.0.0.1", "example.org", "example.net")
        own = self.shown(service, "10.0.0.1")
        self.assertEqual(names_of(own), ("example.org", "example.net", "10.0.0.1"))
        self.assertEqual(self.shown(service, "example.org"), issued.certificate)
        self.assertEqual(self.shown(service, "example.net"), own)
        self.assertEqual(self.shown(service), issued.certificate, "the first that is ordered, for who names none")
        self.assertEqual([state.is_trusted for state in service.states()], [False, True, False])
        self.assertEqual(service.not_ready(), ["example.net has no valid certificate yet"])

    def test_after_root(self) -> None:
        """Nothing is written or ordered before root is given up."""
        service = self.make("example.org", acme_directory=DIRECTORY)
        service.privilegedStartService()
        self.assertFalse(self.cache.exists())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_authority_file(self) -> None:
        """A file of the authority's certificates that cannot be used is told at the start, with its option."""
        missing, empty = self.directory / "missing.pem", self.directory / "empty.pem"
        empty.write_bytes(b"")
        for path, reason in ((missing, "No such file or directory"), (empty, "no PEM certificate in this file")):
            service = self.make("example.org", acme_directory=DIRECTORY, acme_ca=path)
            error = self.assertRaises(CertificateError, service.startService)
            self.assertEqual(str(error), f"--acme-ca {path}: {reason}")
            self.stop(service)

    def test_unwritable(self) -> None:
        """A cache in which the authority's part cannot be made is told at the start, with its option."""
        self.cache.mkdir()
        (self.cache / "acme").write_bytes(b"in the way")
        service = self.make("example.org", acme_directory=DIRECTORY)
        error = self.assertRaises(CertificateError, service.startService)
        self.assertEqual(str(error), f"--cache {self.root}: File exists; give a directory that can be written to")
        self.stop(service)

    def test_unwritable_for_a_while(self) -> None:
        """A server that could not keep its certificates can be started once it can."""
        self.cache.mkdir()
        in_the_way = self.cache / "acme"
        in_the_way.write_bytes(b"")
        service = self.make("example.org", acme_directory=DIRECTORY)
        self.assertRaises(CertificateError, service.startService)
        self.stop(service)
        in_the_way.unlink()
        service.startService()
        self.assertEqual(len(service.states()), 1)

    def test_again(self) -> None:
        """Stopped it orders no more, also in the middle of an order; started again it shows what is there then."""
        service = self.order()
        for _ in range(5):
            self.reactor.advance(1)
        tries = self.root / "tries" / "example.org.json"
        self.assertEqual(
            json.loads(tries.read_bytes())["error"], "the server ended in the middle of the order", "one is under way"
        )
        self.stop(service)
        self.assertEqual(json.loads(tries.read_bytes())["failures"], 0)
        issued = make("example.org")
        self.keep("certificates/example.org.pem", issued.key_pem + issued.certificate_pem)
        service.startService()
        self.assertEqual(self.shown(service, "example.org"), issued.certificate)
        self.assertEqual((service.not_ready(), len(service.states())), ([], 1))
        self.assertIsNotNone(service.preface)


class ShowTests(_Case):
    """The operator's files, replaced while the server runs."""

    def pairs(self, made: Made) -> list[Pair]:
        """What stands in the files now."""
        return read_pairs(ServerConfig(domains=("example.org",), certificates=(self.files(made),)))

    def start_own(self, made: Made) -> CertificateService:
        """A server that shows a certificate."""
        return self.start("example.org", certificates=(self.files(made),))

    def test_other(self) -> None:
        """Another certificate is shown from the next handshake on, by whoever asks who is to be shown what."""
        service = self.start_own(make("example.org"))
        shown, newer = service.shown, make("example.org", days=300)
        assert shown is not None
        service.show(service._config, self.pairs(newer))
        self.assertIs(service.shown, shown)
        self.assertEqual(shown_by(shown.context_for("example.org")), newer.certificate)
        self.assertEqual([state.is_trusted for state in service.states()], [True])

    def test_same(self) -> None:
        """The same certificate keeps its context, so that clients can go on with their sessions."""
        made = make("example.org")
        service = self.start_own(made)
        (before,) = service.pairs
        service.show(service._config, self.pairs(made))
        self.assertIs(service.pairs[0], before)

    def test_warnings(self) -> None:
        """What clients will not like about the new one is told, also when it was told before."""
        expired = make("example.org", days=-1)
        with logged() as before:
            service = self.start_own(expired)
        with logged() as after:
            service.show(service._config, self.pairs(expired))
        self.assertEqual((before, after), (["the certificate for example.org has expired: replace it"],) * 2)

    def test_told(self) -> None:
        """Certificates that differ are told with their names and ends; the same ones are not, nor are none."""
        old, new = self.pairs(make("example.org")), self.pairs(make("example.org", days=300))
        (change,) = changed_pairs(old, new)
        self.assertRegex(
            str(change), r"^certificates: example\.org until \d{4}-\d\d-\d\d \d\d:\d\dZ -> example\.org until \d{4}-"
        )
        self.assertEqual((changed_pairs(old, old), changed_pairs(old, [])), ([], []))

    def test_pipe(self) -> None:
        """A pipe in the place of a file would keep a running server waiting, and is refused."""
        chain, key = self.files(make("example.org"))
        key.unlink()
        os.mkfifo(key)
        config = ServerConfig(domains=("example.org",), certificates=((chain, key),))
        error = self.assertRaises(CertificateError, read_pairs_again, config)
        self.assertEqual(str(error), f"--private-key {key}: no regular file, so it cannot be read again")
