"""A certificate for names nobody can get a public one for, signed by itself and kept between starts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

import pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .names import is_ip_address
from .pairs import CertificateError, Pair, pair_from_pem
from .store import CertificateDirectory

__all__ = ["self_signed_pair"]

#: How long one is valid, beginning an hour ago: Mozilla's "intermediate" recommendation is less than 366 days.
_LIFETIME = timedelta(days=364)

#: What is left at the start has to be at least this, else a new one is made.
_RENEW_BEFORE = timedelta(days=30)


def self_signed_pair(store: CertificateDirectory, names: Sequence[str], now: datetime) -> Pair:
    """The kept certificate for exactly these names, or a new one.

    Args:
        store: where it is kept, under the first name.
        names: host names and IP addresses, at least one.
        now: the time, with its zone.

    Raises:
        OSError: it cannot be kept.
    """
    key = _file_name(names[0])
    try:
        kept = pair_from_pem(store.load(key))
        lasts = kept.not_valid_before <= now and kept.not_valid_after - now > _RENEW_BEFORE
        if lasts and set(kept.names) == set(names):
            return kept
    except (KeyError, CertificateError):
        pass  # none yet, or a broken one: the new one takes its place
    objects = _make(names, now)
    store.save(key, objects)
    return pair_from_pem(objects)


def _file_name(name: str) -> str:
    return name.replace(":", "_")


def _make(names: Sequence[str], now: datetime) -> list[pem.AbstractPEMObject]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + _LIFETIME)
        .serial_number(x509.random_serial_number())
        .public_key(public)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ip_address(name)) if is_ip_address(name) else x509.DNSName(name) for name in names]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return [
        pem.PrivateKey(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        pem.Certificate(certificate.public_bytes(Encoding.PEM)),
    ]
