"""The first message of a TLS client."""

import contextlib
import ssl

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.clienthello import ClientHello, parse_client_hello, record_bytes


def hello(name: str | None, protocols: list[str], version: ssl.TLSVersion | None = None) -> bytes:
    """What OpenSSL says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


_SAID = hello("a.test", ["acme-tls/1"])


class ClientHelloTests(SynchronousTestCase):
    """What a client asks for."""

    def test_openssl(self) -> None:
        """Name and protocols are found in what OpenSSL says, of TLS 1.2 and 1.3."""
        for version in (None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for name in (None, "a.test", "A.Example.ORG", "xn--bcher-kva.example"):
                for protocols in ([], ["acme-tls/1"], ["h2", "http/1.1"]):
                    said = hello(name, protocols, version)
                    self.assertEqual(record_bytes(said), len(said))
                    self.assertEqual(
                        parse_client_hello(said),
                        ClientHello(name and name.lower(), tuple(protocol.encode() for protocol in protocols)),
                    )

    def test_record(self) -> None:
        """How much has to come is known from the first bytes, or that it is no TLS."""
        for head, length in (
            (b"\x16", 5),
            (b"\x16\x03", 5),
            (b"\x16\x03\x01\x02", 5),
            (b"\x16\x03\x01\x02\x00", 517),
            (b"\x16\x03\x03\x00\x01rest", 6),
            (b"\x16\x03\x01\x40\x00", 16389),
            (b"\x16\x03\x01\x40\x01", None),
            (b"\x16\x03\x01\x00\x00", None),
            (b"\x16\x02\x01\x02\x00", None),
            (b"\x80", None),
            (b"GET /", None),
            (b"\x15\x03\x01\x00\x02", None),
        ):
            self.assertEqual(record_bytes(head), length, head)

    def test_no_hello(self) -> None:
        """Another message of the handshake, and one that goes on in a second record, ask for nothing."""
        said = hello("a.test", ["acme-tls/1"])
        self.assertEqual(parse_client_hello(said[:5] + b"\x02" + said[6:]), ClientHello())
        self.assertEqual(parse_client_hello(said[:5] + said[5:100]), ClientHello())
        self.assertEqual(parse_client_hello(said[:5]), ClientHello())

    def test_foreign_names(self) -> None:
        """A name that is no ASCII, and one that is no host name, are none."""
        said = hello("a.test", [])
        self.assertIsNone(parse_client_hello(said.replace(b"a.test", b"\xe4.test")).server_name)
        self.assertIsNone(parse_client_hello(said.replace(b"\0\0\x06a.test", b"\x01\0\x06a.test")).server_name)

    def test_cut(self) -> None:
        """Wherever a message is cut off, it asks for nothing."""
        said = hello("a.test", ["acme-tls/1"])
        for length in range(5, len(said)):
            self.assertEqual(parse_client_hello(said[:length]), ClientHello())

    @given(st.binary(max_size=80), st.integers(0, 400), st.integers(0, 255))
    def test_any_bytes(self, said: bytes, at: int, value: int) -> None:
        """No bytes are too strange to be looked at."""
        self.assertIsInstance(parse_client_hello(b"\x16\x03\x01\0\0\x01" + said), ClientHello)
        changed = bytearray(_SAID)
        changed[5 + at % (len(changed) - 5)] = value
        self.assertIsInstance(parse_client_hello(bytes(changed)), ClientHello)
