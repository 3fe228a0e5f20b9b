"""Certificates and keys for tests, made on the spot, and what is logged."""

from base64 import encodebytes
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from typing import TypeAlias

import pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mles_tx.transport.certificates.names import is_ip_address

__all__ = ["NOW", "Key", "Made", "key_pem", "listen", "make", "twice_extended"]

#: The certificates begin a day before this, and end 90 days after it unless said.
NOW = datetime.now(UTC).replace(microsecond=0)

#: The kinds a certificate is made for, whether or not a server can use them.
Key: TypeAlias = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | dsa.DSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


def key_pem(key: Key, form: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes | None = None) -> bytes:
    """A private key as text."""
    encryption: KeySerializationEncryption = (
        NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    )
    return key.private_bytes(Encoding.PEM, form, encryption)


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    key: Key
    certificate: x509.Certificate

    @cached_property
    def key_pem(self) -> bytes:
        """The key as text."""
        return key_pem(self.key)

    @cached_property
    def certificate_pem(self) -> bytes:
        """The certificate as text."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def objects(self) -> list[pem.AbstractPEMObject]:
        """Key and certificate as a store keeps them."""
        return pem.parse(self.key_pem + self.certificate_pem)


def make(
    *names: str,
    common_name: str | None = None,
    others: Sequence[x509.GeneralName] = (),
    days: float = 90,
    life: float | None = None,
    key: Key | None = None,
    issuer: Made | None = None,
) -> Made:
    """A certificate.

    Args:
        names: host names and addresses it is for.
        common_name: its common name, if it is to have one.
        others: more alternative names.
        days: when it ends, from `NOW`.
        life: how many days it is valid; None: from a day before `NOW`.
        key: its key; made when none is given.
        issuer: who signs it; itself when none is given.
    """
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
    attributes = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    subject = x509.Name(attributes)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .not_valid_before(NOW + timedelta(days=min(days, 0) - 1 if life is None else days - life))
        .not_valid_after(NOW + timedelta(days=days))
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
    )
    alternatives = [
        *(x509.IPAddress(ip_address(name)) if is_ip_address(name) else x509.DNSName(name) for name in names),
        *others,
    ]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    signer = key if issuer is None else issuer.key
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    return Made(key, builder.sign(signer, digest))


def twice_extended(name: str, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """PEM of a certificate with the same extension twice (against RFC 5280 section 4.2), and of its key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=90))
        .serial_number(1)
        .public_key(key.public_key())
    )
    for number in ("1.2.3.4", "1.2.3.5"):
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(number), b"\x05\x00")
        builder = builder.add_extension(extension, critical=False)
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    der = der.replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04")
    return key_pem(key) + bytes(
        pem.Certificate(b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % encodebytes(der)).as_bytes()
    )


def listen(case: SynchronousTestCase) -> list[str]:
    """What is logged while a test runs."""
    told: list[str] = []

    @implementer(ILogObserver)
    def observer(event: LogEvent) -> None:
        told.append(formatEvent(event))

    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return told
