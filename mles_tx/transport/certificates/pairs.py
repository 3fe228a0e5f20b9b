"""A certificate with its private key, read from PEM and looked at before anybody is shown it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import pem
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificate
from OpenSSL import SSL

from mles_tx.transport.contexts import make_context

from .names import names_of

__all__ = ["CertificateError", "Pair", "pair_from_files", "pair_from_pem"]


_DAMAGED = "the certificate or the key is damaged: replace it"
_WRONG_KIND = "the key is of a kind TLS has no use for: make an ECDSA or RSA key"


class CertificateError(Exception):
    """A certificate or key cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate that can be served.

    Attributes:
        names: the DNS names and addresses it is for.
        not_valid_before: when it begins, with its zone.
        not_valid_after: when it ends, with its zone.
        context: the TLS context that shows it.
        is_self_signed: whether it is its own issuer.
        digest: SHA-256 over it and its chain.
    """

    names: tuple[str, ...]
    not_valid_before: datetime
    not_valid_after: datetime
    context: SSL.Context
    is_self_signed: bool
    digest: bytes


def pair_from_files(certificate: Path, private_key: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> Pair:
    """Read an operator's own files: the certificate with its chain, and the key.

    Args:
        certificate: the one file.
        private_key: the other one.
        read: gives what is in a file, or raises `OSError`.

    Raises:
        CertificateError: with the option whose file is at fault.
    """
    chain = _parse("--certificate", certificate, read)
    if not any(isinstance(item, pem.Certificate) for item in chain):
        raise CertificateError(f"--certificate {certificate}: no PEM certificate in this file")
    key = _parse("--private-key", private_key, read)
    if not any(isinstance(item, pem.PrivateKey) for item in key):
        raise CertificateError(f"--private-key {private_key}: no PEM private key in this file")
    try:
        return pair_from_pem(
            [item for item in key if isinstance(item, pem.PrivateKey)]
            + [item for item in chain if isinstance(item, pem.Certificate)]
        )
    except CertificateError as error:
        raise CertificateError(f"--certificate {certificate}, --private-key {private_key}: {error}") from None


def pair_from_pem(objects: Sequence[pem.AbstractPEMObject]) -> Pair:
    """Make a pair of PEM objects: a key, and a certificate followed by its chain.

    Raises:
        CertificateError: one is missing or broken, or they do not belong together.
    """
    keys = [item for item in objects if isinstance(item, pem.PrivateKey)]
    certificates = [item for item in objects if isinstance(item, pem.Certificate)]
    if not keys or not certificates:
        raise CertificateError("a private key and a certificate are needed")
    try:
        chain = [load_pem_x509_certificate(item.as_bytes()) for item in certificates]
        key = load_pem_private_key(keys[0].as_bytes(), password=None)
    except TypeError:
        raise CertificateError("the key has a passphrase: remove it with openssl pkey") from None
    except UnsupportedAlgorithm:
        raise CertificateError(_WRONG_KIND) from None
    except Exception:  # a version or an extension that cannot be has an exception of its own
        raise CertificateError(_DAMAGED) from None
    if not isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey):
        raise CertificateError(_WRONG_KIND)
    try:
        names, begins, ends = names_of(chain[0]), chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
        is_self_signed = chain[0].issuer == chain[0].subject
        belongs = key.public_key() == chain[0].public_key()
    except Exception:  # names and extensions are parsed only now
        raise CertificateError(_DAMAGED) from None
    if not belongs:
        raise CertificateError("the key does not belong to the certificate: give matching files")
    try:
        return Pair(names, begins, ends, make_context(chain, key), is_self_signed, _digest(chain))
    except SSL.Error:
        raise CertificateError("the key or the certificate is too short or too weak for TLS: make a new one") from None
    except Exception:
        raise CertificateError(_DAMAGED) from None


def _digest(chain: Sequence[Certificate]) -> bytes:
    return sha256(b"".join(certificate.public_bytes(Encoding.DER) for certificate in chain)).digest()


def _parse(option: str, path: Path, read: Callable[[Path], bytes]) -> list[pem.AbstractPEMObject]:
    try:
        return pem.parse(read(path))
    except OSError as error:
        raise CertificateError(f"{option} {path}: {error.strerror}; give a file that can be read") from None
