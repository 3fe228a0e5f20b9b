"""What TLS contexts agree to, against two other implementations: Python's, and messages written by hand."""

import ssl
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mles_tx.transport.certificates.names import names_of
from mles_tx.transport.contexts import ICertificates, make_context

from .certificates.making import Made, make
from .hellos import (
    ALERT,
    BAD_SUITES,
    ECDSA_SUITES,
    FATAL,
    GOOD_GROUPS,
    HANDSHAKE,
    HANDSHAKE_FAILURE,
    OTHER_GROUPS,
    PROTOCOL_VERSION,
    RSA_SUITES,
    SERVER_HELLO,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    client_hello,
)


@implementer(ICertificates)
class Certificates:
    """Shows what it is told to, and notes who is asked for."""

    def __init__(self, made: Made, **others: Made) -> None:
        self._default = make_context([made.certificate], usable(made))
        self._others = {name: make_context([other.certificate], usable(other)) for name, other in others.items()}
        self.asked: list[str | None] = []

    def context_for(self, server_name: str | None) -> SSL.Context:
        self.asked.append(server_name)
        return self._others.get(server_name or "", self._default)


def usable(made: Made) -> Any:
    """Its key, of a kind TLS can use."""
    return made.key


class Memory:
    """The server's end of a connection, in memory: it shakes hands, and sends back what comes.

    Args:
        certificates: asked for the context as a connection asks.
    """

    def __init__(self, certificates: ICertificates) -> None:
        self._tls = SSL.Connection(certificates.context_for(None), None)
        self._tls.set_app_data(certificates)
        self._tls.set_accept_state()
        self.fault: SSL.Error | None = None

    def receive(self, data: bytes) -> None:
        """The client sends something."""
        self._tls.bio_write(data)
        try:
            self._tls.do_handshake()
            self._tls.send(self._tls.recv(65536))
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.fault = error

    def taken(self) -> bytes:
        """What was sent since the last look."""
        try:
            return self._tls.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""


class TLSTestCase(SynchronousTestCase):
    """A server in memory."""

    def serve(self, certificates: ICertificates) -> Memory:
        """A connection to a server with these certificates."""
        return Memory(certificates)


class HelloTests(TLSTestCase):
    """What the server agrees to, told from its first record."""

    def answer(
        self, made: Made, version: int, suites: tuple[int, ...], groups: tuple[int, ...] = GOOD_GROUPS
    ) -> tuple[int, ...]:
        """SERVER_HELLO, version and suite; or ALERT, level and description."""
        transport = self.serve(Certificates(made))
        transport.receive(client_hello(version, suites, groups))
        record = transport.taken()
        if record[0] == ALERT:
            return ALERT, record[5], record[6]
        self.assertEqual((record[0], record[5]), (HANDSHAKE, SERVER_HELLO))
        session = record[43]
        suite = record[44 + session : 46 + session]
        return SERVER_HELLO, int.from_bytes(record[9:11], "big"), int.from_bytes(suite, "big")

    def test_versions(self) -> None:
        """TLS 1.2 is the oldest version that is spoken; clients with older ones are told so."""
        made = make("localhost")
        suites = (*ECDSA_SUITES, *BAD_SUITES)
        for version in (0x0300, TLS_1_0, TLS_1_1):
            self.assertEqual(self.answer(made, version, suites), (ALERT, FATAL, PROTOCOL_VERSION))
        agreed, version, suite = self.answer(made, TLS_1_2, suites)
        self.assertEqual((agreed, version), (SERVER_HELLO, TLS_1_2))
        self.assertIn(suite, ECDSA_SUITES)

    def test_suites(self) -> None:
        """Each of the good suites is agreed to, and none of the others, alone or together."""
        for made, good in (
            (make("localhost"), ECDSA_SUITES),
            (make("localhost", key=rsa.generate_private_key(65537, 2048)), RSA_SUITES),
        ):
            for suite in good:
                self.assertEqual(self.answer(made, TLS_1_2, (suite,)), (SERVER_HELLO, TLS_1_2, suite))
            refused = [suite for suite in BAD_SUITES if self.answer(made, TLS_1_2, (suite,))[0] == ALERT]
            self.assertEqual(refused, list(BAD_SUITES))
            self.assertEqual(self.answer(made, TLS_1_2, BAD_SUITES), (ALERT, FATAL, HANDSHAKE_FAILURE))

    def test_preferred_suite(self) -> None:
        """Of several good ones it is the one with the short keys, but for who has no instructions for AES: that is told
        by what stands first."""
        made = make("localhost")
        short, long, chacha = ECDSA_SUITES
        for offered, chosen in (
            ((short, long, chacha), short),
            ((long, chacha, short), short),
            ((chacha, long, short), chacha),
            ((long, chacha), long),
        ):
            self.assertEqual(self.answer(made, TLS_1_2, offered), (SERVER_HELLO, TLS_1_2, chosen))

    def test_groups(self) -> None:
        """Each of the groups everybody knows is agreed to, and no other (Mozilla's "intermediate")."""
        made = make("localhost", key=rsa.generate_private_key(65537, 2048))  # it binds the client to no group
        for group in GOOD_GROUPS:
            self.assertEqual(self.answer(made, TLS_1_2, (0xC02F,), (group,)), (SERVER_HELLO, TLS_1_2, 0xC02F))
        refused = [group for group in OTHER_GROUPS if self.answer(made, TLS_1_2, (0xC02F,), (group,))[0] == ALERT]
        self.assertEqual(refused, list(OTHER_GROUPS))

    def test_no_tls(self) -> None:
        """Who speaks plain HTTP is cut off, and nothing reaches what is behind TLS."""
        transport = self.serve(Certificates(make("localhost")))
        transport.receive(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertNotIn(b"HTTP", transport.taken())
        self.assertIsInstance(transport.fault, SSL.Error)


class Client:
    """Python's TLS, in memory.

    Args:
        server: the server.
        server_name: what it asks for; None: nothing.
        protocols: what it offers (ALPN).
        trusted: the certificate it trusts; None: any.
        newest: the newest version it speaks.
    """

    def __init__(
        self,
        server: Memory,
        server_name: str | None = "localhost",
        protocols: tuple[str, ...] = (),
        trusted: Made | None = None,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = newest
        if trusted is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.load_verify_locations(cadata=trusted.certificate_pem.decode())
        if protocols:
            context.set_alpn_protocols(list(protocols))
        self._server = server
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=server_name)
        self._talk(self.tls.do_handshake)

    def _talk(self, step: Any) -> Any:
        """Take a step, and hand over what either side has to say, until the step is done."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if not self.exchange():
                    raise
            finally:
                self.exchange()

    def exchange(self) -> bool:
        """Hand over what there is; whether the server has answered."""
        data = self._out.read()
        if data:
            self._server.receive(data)
        answer = self._server.taken()
        self._in.write(answer)
        return bool(answer)

    def say(self, data: bytes) -> bytes:
        """Send something; what comes back."""
        self.tls.write(data)
        self.exchange()
        received: bytes = self._talk(lambda: self.tls.read(65536))
        return received

    @property
    def shown(self) -> tuple[str, ...]:
        """The names in the certificate it was shown."""
        der = self.tls.getpeercert(binary_form=True)
        assert der is not None
        return names_of(load_der_x509_certificate(der))


def connect(context: SSL.Context, server: Memory) -> SSL.Connection:
    """pyOpenSSL's client, when it has shaken hands."""
    client = SSL.Connection(context, None)
    client.set_connect_state()
    while True:
        try:
            client.do_handshake()
            return client
        except SSL.WantReadError:
            server.receive(client.bio_read(65536))
            client.bio_write(server.taken())


class ConnectionTests(TLSTestCase):
    """Whole connections."""

    def setUp(self) -> None:
        super().setUp()
        self.made = make("localhost")
        self.certificates = Certificates(self.made)

    def connect(self, *args: Any, **kwargs: Any) -> Client:
        """A client that has shaken hands."""
        return Client(self.serve(self.certificates), *args, **kwargs)

    def test_both_versions(self) -> None:
        """TLS 1.3 with those who know it, 1.2 with the others; either way the certificate is good."""
        for newest, spoken in ((ssl.TLSVersion.TLSv1_3, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLSv1.2")):
            client = self.connect(trusted=self.made, newest=newest)
            self.assertEqual(client.tls.version(), spoken)
            self.assertEqual(client.say(b"hello"), b"hello")

    def test_preferred_suite(self) -> None:
        """So it is with TLS 1.3."""
        libssl: Any = SSL
        aes_128, aes_256, chacha = "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"
        for offered, chosen in (
            ((aes_256, chacha, aes_128), aes_128),
            ((chacha, aes_256, aes_128), chacha),
            ((aes_256, chacha), aes_256),
        ):
            context = SSL.Context(SSL.TLS_METHOD)
            libssl._lib.SSL_CTX_set_ciphersuites(context._context, ":".join(offered).encode())
            client = connect(context, self.serve(self.certificates))
            self.assertEqual((client.get_cipher_version(), client.get_cipher_name()), ("TLSv1.3", chosen))

    def test_not_compressed(self) -> None:
        """Nothing is compressed: that would tell what is inside."""
        self.assertIsNone(self.connect(newest=ssl.TLSVersion.TLSv1_2).tls.compression())

    def test_application_protocol(self) -> None:
        """Who offers http/1.1 gets it, also behind h2; who does not is served all the same, and never h2."""
        for offered, agreed in (
            (("http/1.1",), "http/1.1"),
            (("h2", "http/1.1"), "http/1.1"),
            (("http/1.1", "h2"), "http/1.1"),
            (("h2",), None),
            (("http/1.0", "spdy/3"), None),
            (("acme-tls/1", "http/1.1"), "http/1.1"),
            ((), None),
        ):
            for newest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
                client = self.connect(protocols=offered, newest=newest)
                self.assertEqual((offered, client.tls.selected_alpn_protocol()), (offered, agreed))
                self.assertEqual(client.say(b"hello"), b"hello")

    def test_validation_without_challenge(self) -> None:
        """An authority that comes to validate what nobody asked for is told so, and never gets to a page."""
        for newest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            with self.assertRaisesRegex(ssl.SSLError, "no application protocol"):
                self.connect(protocols=("acme-tls/1",), newest=newest)

    def test_renegotiation(self) -> None:
        """A client cannot have the handshake done again and again on one connection."""
        context = make_context([self.made.certificate], usable(self.made))
        options = context.set_options(0)
        self.assertTrue(options & SSL.OP_NO_RENEGOTIATION)
        self.assertTrue(options & SSL.OP_NO_COMPRESSION)

    def test_no_session_is_kept(self) -> None:
        """Connections that are gone are not remembered on the server."""
        context = make_context([self.made.certificate], usable(self.made))
        self.assertEqual(context.get_session_cache_mode(), SSL.SESS_CACHE_OFF)

    def test_key_of_another(self) -> None:
        """A key that is not the certificate's gives no context."""
        self.assertRaises(SSL.Error, make_context, [self.made.certificate], usable(make("localhost")))

    def test_chain(self) -> None:
        """The whole chain is sent, the server's own certificate first, so that clients find the way to the root."""
        root = make("root.example", common_name="root")
        middle = make("middle.example", common_name="middle", issuer=root)
        leaf = make("leaf.example", common_name="leaf", issuer=middle)
        self.certificates._default = make_context(
            [leaf.certificate, middle.certificate, root.certificate], usable(leaf)
        )
        client = connect(SSL.Context(SSL.TLS_METHOD), self.serve(self.certificates))
        chain = client.get_peer_cert_chain()
        assert chain is not None
        shown = [certificate.to_cryptography().public_bytes(Encoding.PEM) for certificate in chain]
        self.assertEqual(shown, [leaf.certificate_pem, middle.certificate_pem, root.certificate_pem])


class ServerNameTests(TLSTestCase):
    """Several certificates on one port."""

    def setUp(self) -> None:
        super().setUp()
        self.certificates = Certificates(make("default.example"), other=make("other.example"))

    def test_own_certificate(self) -> None:
        """Who names a server is shown its certificate, whatever the case of the name and the version of TLS."""
        for newest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            for name, shown in (
                ("other", "other.example"),
                ("OTHER", "other.example"),
                ("unknown.example", "default.example"),
                (None, "default.example"),
                ("127.0.0.1", "default.example"),
            ):
                client = Client(self.serve(self.certificates), name, newest=newest)
                self.assertEqual((name, client.shown), (name, (shown,)))
                self.assertEqual(client.say(b"hello"), b"hello")

    def test_application_protocol(self) -> None:
        """The application protocol is agreed on for every one of the certificates."""
        for name in ("other", "unknown.example"):
            client = Client(self.serve(self.certificates), name, ("h2", "http/1.1"))
            self.assertEqual(client.tls.selected_alpn_protocol(), "http/1.1")

    def test_asked_in_lower_case(self) -> None:
        """The certificates are asked with the name in lower case, and with none for whoever names no server."""
        Client(self.serve(self.certificates), "OTHER.Example")
        Client(self.serve(self.certificates), None)
        self.assertEqual(self.certificates.asked, [None, "other.example", None])

    def test_name_of_garbage(self) -> None:
        """A name that is no text does no harm: the default certificate is shown."""
        for name in (b"\xff\xfe", b"other\xff", b"x" * 255):
            transport = self.serve(self.certificates)
            client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
            client.set_connect_state()
            client.set_tlsext_host_name(name)
            self.assertRaises(SSL.WantReadError, client.do_handshake)
            transport.receive(client.bio_read(65536))
            client.bio_write(transport.taken())
            client.do_handshake()
            certificate = client.get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            self.assertEqual(names_of(certificate), ("default.example",))
