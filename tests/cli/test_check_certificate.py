"""Which certificate clients get, and what they make of it."""

from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID
from twisted.internet import ssl
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mles_tx.cli.check_certificate import judge_certificate, look_at_certificate
from mles_tx.cli.checks import Finding, Verdict
from tests.service.clients import reactor
from tests.service.servers import ServerTestCase, occupied
from tests.transport.certificates.making import NOW, make

OK, WARN, FAIL, UNKNOWN = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN

CA = make(common_name="Example CA R1")

LEAF = make("example.org", "*.example.org", issuer=CA)  # begins a day before NOW, ends 90 days after

UNTIL = f"{NOW + timedelta(days=90):%Y-%m-%d %H:%M} UTC"

#: Domain, days from now, verdict, text.
AGES = (
    ("example.org", 0, OK, f"from Example CA R1, until {UNTIL}"),
    ("WWW.example.org", 0, OK, f"from Example CA R1, until {UNTIL}"),
    ("example.org", 67, OK, f"from Example CA R1, until {UNTIL}"),
    ("example.org", 68, WARN, f"from Example CA R1, until {UNTIL}: it should have been renewed"),
    ("example.org", 90, FAIL, f"from Example CA R1, until {UNTIL}: it has expired"),
    ("example.org", -2, FAIL, f"begins {NOW - timedelta(days=1):%Y-%m-%d %H:%M} UTC"),
    ("example.net", 0, FAIL, f"until {UNTIL}, but for example.org, *.example.org"),
)


class JudgementTests(SynchronousTestCase):
    """What a client makes of a certificate."""

    def test_ages(self) -> None:
        """A good one says from whom it is and until when; others say what is wrong."""
        for domain, days, verdict, text in AGES:
            finding = judge_certificate(domain, LEAF.certificate, NOW + timedelta(days=days))
            self.assertEqual((domain, days, finding.verdict), (domain, days, verdict))
            self.assertIn(text, finding.text)
            self.assertEqual(bool(finding.remedy), verdict is not OK)

    def test_self_signed(self) -> None:
        """One signed by itself serves until the first comes; for a local name there is no other."""
        for domain, verdict, more in (("example.org", WARN, ": clients refuse it"), ("localhost", OK, "")):
            finding = judge_certificate(domain, make(domain).certificate, NOW)
            self.assertEqual((finding.verdict, finding.text), (verdict, f"self-signed, until {UNTIL}{more}"))

    def test_issuer(self) -> None:
        """An issuer is named by its organization and its own name, if it has any."""
        self.assertIn("from an authority without a name", self.issued_by([]))
        named = [(NameOID.COUNTRY_NAME, "AQ"), (NameOID.COMMON_NAME, "R1"), (NameOID.ORGANIZATION_NAME, "Example")]
        self.assertIn("from Example R1", self.issued_by(named))

    def issued_by(self, attributes: list[tuple[x509.ObjectIdentifier, str]]) -> str:
        issuer = x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.org")]))
            .issuer_name(issuer)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=1))
            .serial_number(1)
            .public_key(LEAF.key.public_key())
        )
        return judge_certificate("example.org", builder.sign(CA.key, hashes.SHA256()), NOW).text


class _Shows:
    """Looks at a port."""

    def __init__(self, kept: Certificate | None = None) -> None:
        self._kept = kept
        self.asked: list[str] = []

    async def kept(self, domain: str) -> Certificate | None:
        self.asked.append(domain)
        return self._kept

    async def look(self, port: int, domain: str = "localhost") -> Finding:
        return await look_at_certificate(reactor, domain, ("127.0.0.1",), port, self.kept, NOW)


class ServedTests(ServerTestCase):
    """What a running server shows."""

    async def test_served(self) -> None:
        """The certificate the server shows for the domain is what is told, not that of the cache."""
        one, other = make("example.org", issuer=CA), make("example.net", issuer=CA, days=30)
        service = self.start_secure(
            domains=("example.org", "example.net"), certificates=(self.files(one, "one"), self.files(other, "other"))
        )
        shows = _Shows(make("example.org").certificate)
        for domain, days in (("example.org", 90), ("example.net", 30)):
            finding = await shows.look(self.port(service), domain)
            until = f"{NOW + timedelta(days=days):%Y-%m-%d %H:%M}"
            self.assertEqual((finding.verdict, finding.text), (OK, f"from Example CA R1, until {until} UTC"))
        finding = await shows.look(self.port(service), "foreign.example")
        self.assertEqual(finding.verdict, FAIL)
        self.assertIn("but for example.org", finding.text)
        self.assertEqual(shows.asked, [])

    async def test_address(self) -> None:
        """For an address nobody is asked for by name."""
        service = self.start_secure(domains=("127.0.0.1",))
        finding = await _Shows().look(self.port(service), "127.0.0.1")
        self.assertEqual(finding.verdict, OK)
        self.assertTrue(finding.text.startswith("self-signed, until "), finding.text)

    async def test_not_served(self) -> None:
        """Where nobody listens the one that is kept counts; that there is none yet is no fault."""
        other, port = occupied()
        other.close()
        shows = _Shows(LEAF.certificate)
        finding = await shows.look(port, "example.org")
        self.assertEqual(
            (finding.verdict, finding.text),
            (OK, f"kept, and not served at the moment: from Example CA R1, until {UNTIL}"),
        )
        self.assertEqual(shows.asked, ["example.org"])
        finding = await _Shows().look(port)
        self.assertEqual((finding.verdict, "none yet" in finding.text), (OK, True))


class StrangerTests(TestCase):
    """Others that listen there."""

    async def test_no_tls(self) -> None:
        """Who speaks no TLS shows none."""

        class Talker(Protocol):
            transport: Any

            def dataReceived(self, data: bytes) -> None:
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                self.transport.loseConnection()

        port = reactor.listenTCP(0, Factory.forProtocol(Talker), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        finding = await _Shows().look(port.getHost().port)
        self.assertEqual((finding.verdict, "nobody shows one" in finding.text), (UNKNOWN, True))

    async def test_other_server(self) -> None:
        """Another server's certificate is told as well: clients get it."""
        made = make("foreign.example")
        context = ssl.PrivateCertificate.loadPEM(made.certificate_pem + made.key_pem).options()
        port = reactor.listenSSL(0, Factory.forProtocol(Protocol), context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        finding = await _Shows().look(port.getHost().port, "example.org")
        self.assertEqual((finding.verdict, "but for foreign.example" in finding.text), (FAIL, True))
