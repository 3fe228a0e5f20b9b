"""The best certificate at hand for each name, at once: the stored one, also when it has expired, else a fallback.

An expired certificate is served rather than a self-signed one: it says what is wrong to those who look, and goes on
serving those who do not. Files are looked at again when they have changed, so that what another process has stored is
served here as well.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pem
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from txacme.interfaces import ICertificateStore
from zope.interface import implementer

from mles_tx.transport.contexts import ICertificates

from .files import SWEEP_SECONDS, sweep_new
from .names import covers
from .pairs import CertificateError, Pair, pair_from_pem
from .renewal import certificate_id
from .store import CertificateDirectory

__all__ = ["CertificateStatus", "StoredCertificate", "StoredCertificates"]


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate that was issued for a name.

    Attributes:
        pair: what is served.
        stored: when it came into the directory.
        identifier: its name when the authority is asked about its renewal; None: it has none.
        is_kept: False as long as it could not be written to the directory.
    """

    pair: Pair
    stored: datetime
    identifier: str | None
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """How it stands with one name.

    Attributes:
        name: the name.
        not_valid_after: when the certificate that is served ends; None: there is none but the fallback.
        is_valid: whether it is one that was issued, and has not expired.
        renewal: when it is to be renewed; None: as soon as possible.
        error: why the last try failed; None: it did not.
        next_try: seconds until the next try; 0.0: none has to be waited for.
    """

    name: str
    not_valid_after: datetime | None
    is_valid: bool
    renewal: datetime | None
    error: str | None
    next_try: float


@implementer(ICertificates, ICertificateStore)
class StoredCertificates:
    """The certificates of a directory, one file a name.

    Args:
        path: the directory.
        names: whom certificates are looked for; the first one's is shown to whoever names no server.
        fallback: whom to ask for other names, and while there is none for one of these.
        now: the time, with its zone.
        on_change: told the name of each certificate that is served from now on.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        fallback: ICertificates,
        now: Callable[[], datetime],
        on_change: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._path = path
        self._directory = CertificateDirectory(path)
        self._names = tuple(names)
        self._fallback = fallback
        self._now = now
        self._on_change = on_change
        self._found: dict[str, StoredCertificate] = {}
        self._seen: dict[str, tuple[int, ...]] = {}
        self._refused: dict[str, tuple[tuple[int, ...], str]] = {}
        self._swept = float("-inf")
        self._unkept: dict[str, list[pem.AbstractPEMObject]] = {}

    def context_for(self, server_name: str | None) -> SSL.Context:
        name = self._names[0] if server_name is None else server_name.rstrip(".")
        found = self._found.get(name)
        return self._fallback.context_for(server_name) if found is None else found.pair.context

    def certificate(self, name: str) -> StoredCertificate | None:
        """What is served for a name; None: the fallback is."""
        return self._found.get(name)

    def refresh(self) -> None:
        """Look for what has changed in the directory. A broken file changes nothing but the log."""
        now = self._now().timestamp()
        if abs(now - self._swept) >= SWEEP_SECONDS:
            self._swept = now
            sweep_new(self._path, now)
        for name in self._names:
            path = self._path / f"{name}.pem"
            try:
                status = os.stat(path)  # noqa: PTH116 - once a second for each name
            except OSError:
                self._seen.pop(name, None)
                self._missing(name)
                continue
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if self._seen.get(name) != seen:
                self._take(name, path, seen, status.st_mtime)

    def is_unkept(self, name: str) -> bool:
        """Whether there is a certificate that could not be written, and is served all the same."""
        return name in self._unkept

    def keep(self, name: str) -> None:
        """Write what could not be written before.

        Raises:
            OSError: it still cannot be written.
        """
        self._directory.save(name, self._unkept[name])
        del self._unkept[name]
        self.refresh()

    # -- what txacme calls

    def get(self, server_name: str) -> "Deferred[list[pem.AbstractPEMObject]]":
        return self._directory.get(server_name)

    def store(self, server_name: str, pem_objects: list[pem.AbstractPEMObject]) -> "Deferred[None]":
        return maybeDeferred(self._store, server_name, pem_objects)

    def as_dict(self) -> "Deferred[dict[str, list[pem.AbstractPEMObject]]]":
        return self._directory.as_dict()

    def _store(self, name: str, pem_objects: list[pem.AbstractPEMObject]) -> None:
        # Parsed anew, because the key comes as one of no particular kind.
        objects = pem.parse(b"".join(item.as_bytes() for item in pem_objects))
        pair = pair_from_pem(objects)
        try:
            self._directory.save(name, objects)
        except OSError:
            # Not to be thrown away: how many there may be in a week is limited.
            self._unkept[name] = objects
            self._serve(name, StoredCertificate(pair, self._now(), _identifier(objects), is_kept=False))
            raise
        self.refresh()

    def _take(self, name: str, path: Path, seen: tuple[int, ...], modified: float) -> None:
        self._seen[name] = seen
        try:
            stored = datetime.fromtimestamp(modified, self._now().tzinfo)
            objects = self._directory.load(name)
            pair = pair_from_pem(objects)
            identifier = _identifier(objects)
            if not covers(pair.names, name):
                raise CertificateError("it is for other names")
        except Exception as error:  # a file must not keep the server from starting
            if isinstance(error, OSError):
                del self._seen[name]  # it may be the moment, and not the file: look again
            reason = "nothing in it, or no file of this kind" if isinstance(error, KeyError) else str(error)
            self._refuse(name, path, seen, reason)
            return
        self._refused.pop(name, None)
        self._unkept.pop(name, None)
        self._serve(name, StoredCertificate(pair, stored, identifier))

    def _refuse(self, name: str, path: Path, seen: tuple[int, ...], reason: str) -> None:
        if self._refused.get(name) != (seen, reason):
            self._refused[name] = (seen, reason)
            self._log.warn(
                "{path} is no certificate for {name}, and not used: {reason}",
                path=str(path),
                name=name,
                reason=reason,
            )
        self._missing(name)

    def _serve(self, name: str, certificate: StoredCertificate) -> None:
        self._found[name] = certificate
        self._on_change(name)

    def _missing(self, name: str) -> None:
        found = self._found.get(name)
        if found is not None and found.is_kept:
            # Served on, but no more counted as kept: a new one is due.
            self._found[name] = StoredCertificate(found.pair, found.stored, found.identifier, is_kept=False)


def _identifier(objects: Sequence[pem.AbstractPEMObject]) -> str | None:
    certificates = [item for item in objects if isinstance(item, pem.Certificate)]
    return certificate_id(load_pem_x509_certificate(certificates[0].as_bytes()))
