"""Whether the directory for certificates can be written to, and by whom its files can be read."""

import os
import stat
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile

import pem
from cryptography.x509 import Certificate, load_pem_x509_certificate

from mles_tx.transport.certificates.names import covers, names_of

from .checks import Finding, Verdict

__all__ = ["find_certificate", "look_at_cache"]

#: Files that are looked at: a server has a few for each domain.
_MAX_FILES = 10_000

#: Bytes of a file that may be a certificate with its chain and key.
_MAX_PEM = 256 * 1024


def look_at_cache(path: Path) -> Finding:
    """Whether a server of this user can keep certificates in a directory, and nobody else reads its keys.

    Nothing of it is changed, but for a file that is written and taken away again.
    """
    shown = f"--cache {path}"
    try:
        if not path.exists():
            return _judge_missing(path, shown)
        if not path.is_dir():
            return Finding(Verdict.FAIL, f"{shown} is not a directory", "give a directory that can be written to")
        with NamedTemporaryFile(dir=path, prefix="doctor-"):
            pass
        return _judge_modes(path, shown)
    except OSError as error:
        return Finding(
            Verdict.FAIL,
            f"{shown}: {error.strerror}",
            "let the server's user own it, or run this as that user",
        )


def _judge_missing(path: Path, shown: str) -> Finding:
    above = next(directory for directory in path.absolute().parents if directory.exists())
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
        return Finding(Verdict.OK, f"{shown} will be made at the first start")
    return Finding(
        Verdict.FAIL,
        f"{shown} is not there, and {above} cannot be written to",
        "make it, with mode 0700, for the server's user",
    )


def _judge_modes(path: Path, shown: str) -> Finding:
    for file in _files(path):
        mode = stat.S_IMODE(file.lstat().st_mode)
        if mode & 0o077 and _has_key(file):
            return Finding(Verdict.FAIL, f"{file} has mode {mode:04o}: others can get at its key", f"chmod 600 {file}")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(Verdict.WARN, f"{shown} has mode {mode:04o}: others can look into it", f"chmod 700 {path}")
    if path.stat().st_uid != os.geteuid():
        return Finding(Verdict.WARN, f"{shown} can be written to, but belongs to another user", "run this as that user")
    return Finding(Verdict.OK, f"{shown} can be written to, by its owner alone")


def _has_key(file: Path) -> bool:
    return file.stat().st_size <= _MAX_PEM and b"PRIVATE KEY-----" in file.read_bytes()


def find_certificate(directories: Sequence[Path], domain: str) -> Certificate | None:
    """The certificate that is kept for a domain: of the first directory that has one, that which ends last."""
    for directory in directories:
        found = [certificate for file in _files(directory) if (certificate := _certificate(file, domain)) is not None]
        if found:
            return max(found, key=lambda certificate: certificate.not_valid_after_utc)
    return None


def _files(path: Path) -> Iterator[Path]:
    """The ordinary PEM files below a directory."""
    found = (file for file in path.rglob("*.pem") if stat.S_ISREG(file.lstat().st_mode))
    return islice(found, _MAX_FILES)


def _certificate(file: Path, domain: str) -> Certificate | None:
    try:
        if file.stat().st_size > _MAX_PEM:
            return None
        items = [item for item in pem.parse(file.read_bytes()) if isinstance(item, pem.Certificate)]
        certificate = load_pem_x509_certificate(items[0].as_bytes()) if items else None
        return certificate if certificate is not None and covers(names_of(certificate), domain) else None
    except (OSError, ValueError):
        return None  # broken, foreign, or gone meanwhile
