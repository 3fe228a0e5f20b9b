"""Certificates from a real authority: Pebble, on free ports, looks at real ports of ours."""

import atexit
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from mles_tx.transport.certificates.answers import ChallengeAnswers
from mles_tx.transport.certificates.authority import Authority, ExternalAccount
from mles_tx.transport.certificates.challenges import TLSChallenges
from mles_tx.transport.certificates.choice import FixedCertificates
from mles_tx.transport.certificates.issuing import IssuingService, utc_now
from mles_tx.transport.certificates.pairs import pair_from_pem
from tests.transport.certificates.authority import SmallAuthority
from tests.transport.certificates.making import make

from .acme.pebble import Pebble
from .acme.ports import TwoPorts, see
from .processes import WAIT

_NAMES = ("a.test", "b.test")

_EXTERNAL = {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


@cache
def pebble(kind: str = "") -> Pebble:
    """A Pebble for all tests that need one like it."""
    found = {
        "": lambda: Pebble(),
        "short": lambda: Pebble(validity=30, bad_nonces=50),
        "external": lambda: Pebble(external=_EXTERNAL),
    }[kind]()
    atexit.register(found.remove)
    found.start()
    return found


class _LiveTests(TestCase):
    """Servers on one cache, and an authority."""

    timeout = 90.0

    def setUp(self) -> None:
        self.cache = Path(tempfile.mkdtemp(prefix="mles-tx-cache-"))
        self.addCleanup(shutil.rmtree, self.cache)
        self.fallback = FixedCertificates([pair_from_pem(make(*_NAMES).objects)])

    def service(
        self, authority: Pebble | Authority, *names: str, http_01: bool = False, cache: Path | None = None
    ) -> IssuingService:
        """A server's certificates; not started."""
        if isinstance(authority, Pebble):
            authority = Authority(authority.url, authority.ca, ("me@example.org",))
        return IssuingService(reactor, cache or self.cache, names or _NAMES, authority, self.fallback, http_01=http_01)

    def start(self, service: IssuingService) -> IssuingService:
        """Start one; it ends with the test."""
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def ports(self, service: Any, tls: int | None = 0, http: int | None = None) -> TwoPorts:
        """The ports of a server; they are closed with the test."""
        ports = TwoPorts(reactor, service, tls, http)
        self.addCleanup(lambda: Deferred.fromCoroutine(ports.stop()))
        return ports

    async def until(self, holds: Callable[[], object], seconds: float = WAIT) -> None:
        """Wait until something holds."""
        for _ in range(int(seconds * 20)):
            if holds():
                return
            await deferLater(reactor, 0.05)
        self.fail("it did not come about")

    def folder(self, authority: Pebble) -> Path:
        """Where a server keeps what has to do with an authority."""
        return self.cache / "acme" / Authority(authority.url).folder


class IssuingTests(_LiveTests):
    """Certificates for a server that had none."""

    async def test_tls_alpn(self) -> None:
        """Two domains are served with self-signed certificates at first, and then each with one that clients trust."""
        ca = pebble()
        service = self.service(ca)
        ports = self.ports(service, ca.tls_port)
        before = await see(ports.port, "a.test")
        self.assertEqual((before.names, service.is_ready), (["a.test", "b.test"], False))
        self.start(service)
        await service.when_certs_valid()
        self.assertEqual([status.error for status in service.statuses()], [None, None])
        self.assertTrue(service.is_ready)
        for name in _NAMES:
            seen = await see(ports.port, name, root=ca.root())
            self.assertEqual((seen.names, seen.protocol, seen.echoed), ([name], "http/1.1", b"hello"))
        kept = sorted(self.cache.rglob("*"))
        self.assertEqual({path.stat().st_mode & 0o777 for path in kept if path.is_file()}, {0o600})
        self.assertEqual({path.stat().st_mode & 0o777 for path in kept if path.is_dir()}, {0o700})
        self.assertEqual([path.name for path in kept if path.is_file() and "challenges" in path.parts], [])

    async def test_http_01(self) -> None:
        """Where the TLS port cannot be reached, the site on port 80 is asked, and the next time at once."""
        ca = pebble()
        service = self.service(ca, "a.test", http_01=True)
        ports = self.ports(service, None, ca.http_port)
        self.start(service)
        await service.when_certs_valid()
        self.assertTrue(service.is_ready)
        self.assertGreater(ports.answers.asked, 0)
        self.assertIn('"http-01"', (self.folder(ca) / "tries" / "a.test.json").read_text())

    async def test_neither(self) -> None:
        """Where the authority can reach neither port, the operator reads what to do about each."""
        service = self.service(pebble(), "a.test", http_01=True)
        self.start(service)
        await service.when_certs_valid()
        (status,) = service.statuses()
        self.assertEqual((status.is_valid, status.not_valid_after, status.renewal), (False, None, None))
        self.assertRegex(status.error or "", "tls-alpn-01: .*port 443 of a.test .*http-01: .*port 80 of a.test")
        self.assertTrue(50 < status.next_try <= 66, status.next_try)

    async def test_one_name_fails(self) -> None:
        """A name that cannot have a certificate does not keep another from its own."""
        ca = pebble()
        service = self.service(ca, "bad_name.test", "b.test")
        self.ports(service, ca.tls_port)
        self.start(service)
        await service.when_certs_valid()
        bad, good = service.statuses()
        self.assertEqual((bad.is_valid, good.is_valid), (False, True))
        self.assertTrue(bad.error)

    async def test_restart(self) -> None:
        """A server that starts again serves what it had, and orders nothing."""
        ca = pebble()
        first = self.service(ca, "a.test")
        self.ports(first, ca.tls_port)
        first.startService()
        await first.when_certs_valid()
        await first.stopService()
        issued = ca.output.count("Issued certificate")
        second = self.start(self.service(ca, "a.test"))
        self.assertTrue(second.is_ready)
        await second.when_certs_valid()
        await deferLater(reactor, 1.2)
        self.assertEqual(ca.output.count("Issued certificate"), issued)

    async def test_external_account(self) -> None:
        """An authority that wants to know its customers gets to; a wrong key is told as what it is."""
        ca = pebble("external")
        for key, works in ((_EXTERNAL["kid-1"], True), ("AAAA", False)):
            authority = Authority(ca.url, ca.ca, (), ExternalAccount("kid-1", key))
            service = self.service(authority, "a.test", cache=self.cache / str(works))
            ports = self.ports(service, ca.tls_port)
            service.startService()
            await service.when_certs_valid()
            (status,) = service.statuses()
            self.assertEqual(status.is_valid, works)
            if not works:
                self.assertRegex(status.error or "", "check key id and HMAC key")
            await service.stopService()
            await ports.stop()

    async def test_broken_cache(self) -> None:
        """A cache full of broken and foreign files is told about, and a certificate is got all the same."""
        ca = pebble()
        folder = self.folder(ca)
        for name in (
            "certificates/a.test.pem",
            "account-key.pem",
            "account.json",
            "tries/a.test.json",
            "authority.json",
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"-----BEGIN GARBAGE-----\n\0\xff")
        (folder / "certificates" / "b.test.pem").write_bytes(b"".join(o.as_bytes() for o in make("other.test").objects))
        service = self.service(ca)
        self.ports(service, ca.tls_port)
        self.start(service)
        await service.when_certs_valid()
        self.assertTrue(service.is_ready)
        self.assertEqual((folder / "account-key.broken").read_bytes()[:5], b"-----")

    async def test_two_nodes(self) -> None:
        """Of two servers on one cache one orders and the other answers; both serve the same certificate."""
        ca = pebble()
        first, second = self.service(ca), self.service(ca)
        ports = self.ports(second, ca.tls_port)  # the authority reaches the second one alone
        elsewhere = self.ports(first)
        issued = ca.output.count("Issued certificate")
        self.start(first)
        self.start(second)
        await self.until(lambda: first.is_ready and second.is_ready)
        for name in _NAMES:
            seen = [await see(port, name, root=ca.root()) for port in (ports.port, elsewhere.port)]
            self.assertEqual(seen[0].certificate, seen[1].certificate)
        self.assertEqual(ca.output.count("Issued certificate") - issued, 2)

    async def test_renewal(self) -> None:
        """A certificate of seconds is renewed while a member stays connected, though every second nonce is refused."""
        ca = pebble("short")
        service = self.service(ca)
        ports = self.ports(service, ca.tls_port)
        self.start(service)
        await service.when_certs_valid()
        self.assertTrue(service.is_ready, service.statuses())
        root = ca.root()
        member = await deferToThread(_connect, ports.port, "a.test", root)
        self.addCleanup(member.close)
        first = await see(ports.port, "a.test", root=root)
        latest = first
        while latest.certificate == first.certificate:
            latest = await see(ports.port, "a.test", root=root)  # raises when it has expired: that is late
            self.assertEqual(await deferToThread(_echo, member, b"still here"), b"still here")
            await deferLater(reactor, 0.3)
        begins, ends = first.certificate.not_valid_before_utc, first.certificate.not_valid_after_utc
        self.assertGreater(utc_now() - begins, (ends - begins) * 2 / 3 - timedelta(seconds=4))
        self.assertEqual(await deferToThread(_echo, member, b"and still"), b"and still")

    async def test_down_at_start(self) -> None:
        """An authority that is gone at the start is asked again, and the certificate is there soon after its return."""
        ca = Pebble()
        self.addCleanup(ca.remove)
        service = self.service(ca)
        ports = self.ports(service, ca.tls_port)
        self.start(service)
        await service.when_certs_valid()
        for status in service.statuses():
            self.assertRegex(status.error or "", "cannot be reached: .*refused")
            self.assertTrue(0 < status.next_try < 6, status.next_try)
        self.assertEqual((await see(ports.port, "a.test")).echoed, b"hello")
        await deferToThread(ca.start)
        await self.until(lambda: service.is_ready)
        self.assertEqual((await see(ports.port, "b.test", root=ca.root())).names, ["b.test"])
        # An authority that starts afresh has forgotten our account, and is told again.
        for path in (self.folder(ca) / "certificates").iterdir():
            path.unlink()
        ca.stop()
        await deferToThread(ca.start)
        await self.until(lambda: not any(status.renewal for status in service.statuses()))
        await self.until(lambda: all(status.renewal for status in service.statuses()))
        self.assertEqual((await see(ports.port, "b.test", root=ca.root())).names, ["b.test"])

    async def test_foreign_authority(self) -> None:
        """An authority whose own certificate nobody vouches for is told nothing; the operator reads what to do."""
        server = make("localhost")
        directory = self.cache / "server"
        directory.mkdir()
        path = directory / "server.pem"
        path.write_bytes(server.key_pem + server.certificate_pem)
        found = SmallAuthority()
        port = reactor.listenSSL(0, Site(found), _server_context(path), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        service = self.start(self.service(Authority(f"https://localhost:{port.getHost().port}/directory"), "a.test"))
        await service.when_certs_valid()
        (status,) = service.statuses()
        self.assertRegex(status.error or "", "certificate verify failed: .*--acme-ca")
        self.assertEqual(found.asked, [])


@dataclass
class _Challenged:
    """What the ports need of a server, with challenges made by hand."""

    certificates: FixedCertificates
    answers: ChallengeAnswers

    def __post_init__(self) -> None:
        self.look_for_challenge = TLSChallenges(self.answers, utc_now).look_for_challenge
        self.answer = self.answers.http


class ChallengeTests(_LiveTests):
    """What is to be seen on the TLS port while a challenge is outstanding."""

    def setUp(self) -> None:
        super().setUp()
        self.answers = ChallengeAnswers(self.cache / "challenges", reactor, lambda: datetime.now(UTC))
        self.served = self.ports(_Challenged(self.fallback, self.answers))

    async def assert_ordinary(self, name: str = "a.test") -> None:
        """Whoever comes for the server gets it."""
        seen = await see(self.served.port, name)
        self.assertEqual((seen.names, seen.protocol, seen.echoed), (["a.test", "b.test"], "http/1.1", b"hello"))

    async def test_versions(self) -> None:
        """An authority that speaks TLS 1.2 or 1.3 sees the certificate of its challenge, and nothing else."""
        self.answers.put_tls("a.test", "token.thumbprint")
        for version, called in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            seen = await see(
                self.served.port, "a.test", protocols=("acme-tls/1",), version=version, say=b"GET / HTTP/1.1\r\n\r\n"
            )
            self.assertEqual((seen.version, seen.protocol, seen.echoed), (called, "acme-tls/1", b""))
            self.assertEqual(seen.names, ["a.test"])
            found = seen.certificate.extensions.get_extension_for_oid(_ACME_IDENTIFIER)
            digest = sha256(b"token.thumbprint").digest()
            self.assertTrue(found.critical)
            self.assertEqual(found.value.public_bytes(), b"\x04\x20" + digest)
            await self.assert_ordinary()

    async def test_no_challenge(self) -> None:
        """Whoever wants to see a challenge that there is not is refused with the alert for that."""
        self.answers.put_tls("a.test", "token.thumbprint")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            failure = await self.assertFailure(
                see(self.served.port, "b.test", protocols=("acme-tls/1",), version=version), ssl.SSLError
            )
            self.assertIn("no application protocol", str(failure))
        await self.assert_ordinary()

    async def test_over(self) -> None:
        """As soon as a challenge is over nothing of it is to be seen."""
        self.answers.put_tls("a.test", "token.thumbprint")
        self.answers.put_tls("b.test", "token.thumbprint")
        self.answers.remove_tls("a.test")
        await self.assertFailure(see(self.served.port, "a.test", protocols=("acme-tls/1",)), ssl.SSLError)
        self.assertEqual((await see(self.served.port, "b.test", protocols=("acme-tls/1",))).names, ["b.test"])

    async def test_in_pieces(self) -> None:
        """A first message that comes in pieces costs a few looks, not a look a turn, and is understood."""
        self.answers.put_tls("a.test", "token.thumbprint")
        before = self.served.looks
        seen = await deferToThread(_slow_hello, self.served.port)
        self.assertEqual(seen, "acme-tls/1")
        self.assertLessEqual(self.served.looks - before, 4)

    async def test_broken_off(self) -> None:
        """Garbage, half a message and nothing are left to TLS; they cost a few looks, and hurt nobody."""
        self.answers.put_tls("a.test", "token.thumbprint")
        for said in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00half",
            b"\x16\x03",
            b"",
            b"\x16\x03\x01\xff\xff" + bytes(99),
        ):
            before = self.served.looks
            with socket.create_connection(("127.0.0.1", self.served.port), WAIT) as client:
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
                await deferToThread(_drain, client)
            self.assertLessEqual(self.served.looks - before, 4, said)
        await self.assert_ordinary()


def _server_context(path: Path) -> Any:
    from twisted.internet.ssl import DefaultOpenSSLContextFactory

    return DefaultOpenSSLContextFactory(str(path), str(path))


def _connect(port: int, name: str, root: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=root)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), WAIT), server_hostname=name)


def _echo(member: ssl.SSLSocket, said: bytes) -> bytes:
    member.sendall(said)
    return member.recv(100)


def _drain(client: socket.socket) -> None:
    client.settimeout(WAIT)
    try:
        while client.recv(4096):
            pass
    except ConnectionError:
        pass


def _slow_hello(port: int) -> str | None:
    """A handshake whose first message is sent a piece at a time; the protocol it ends with."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="a.test")
    with socket.create_connection(("127.0.0.1", port), WAIT) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pieces = True
        while True:
            try:
                client.do_handshake()
                return client.selected_alpn_protocol()
            except ssl.SSLWantReadError:
                said = outgoing.read()
                for piece in [said[at : at + 40] for at in range(0, len(said), 40)] if pieces else [said]:
                    stream.sendall(piece)
                    # Each piece has to be a packet that the server can wake up for.
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pieces = False
                incoming.write(stream.recv(65536))
