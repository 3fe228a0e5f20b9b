"""Files in the cache directory and an operator's: the first byte says which one, the rest is what stands in it."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from josepy.jwk import JWKEC
from twisted.internet.task import Clock

from mles_tx.transport.certificates.account import Account
from mles_tx.transport.certificates.backoff import Backoff
from mles_tx.transport.certificates.pairs import CertificateError, pair_from_files, pair_from_pem
from mles_tx.transport.certificates.store import CertificateDirectory
from tests.transport.certificates.making import make

from .logged import nothing_failed

__all__ = ["run", "seeds"]

_MADE = make("example.org")


def run(data: bytes) -> None:
    """A certificate, an account, a state, or what is promised instead."""
    kind, content = (data[0] if data else 0) % 4, data[1:]
    with TemporaryDirectory() as name, nothing_failed():
        _KINDS[kind](Path(name), content)


def _stored(directory: Path, content: bytes) -> None:
    (directory / "example.org.pem").write_bytes(content)
    with suppress(KeyError, CertificateError):
        pair_from_pem(CertificateDirectory(directory).load("example.org"))


def _given(directory: Path, content: bytes) -> None:
    certificate, key = directory / "fullchain.pem", directory / "privkey.pem"
    certificate.write_bytes(content)
    key.write_bytes(_MADE.key_pem if content[:1] == b"-" else content)
    try:
        pair_from_files(certificate, key)
    except CertificateError as error:
        assert str(error).isprintable()


def _account(directory: Path, content: bytes) -> None:
    account = Account(directory)
    (directory / "account.json").write_bytes(content)
    (directory / "account-key.pem").write_bytes(content)
    key = account.key()
    assert isinstance(key, JWKEC)
    known = account.load(key)
    assert known is None or known[0].startswith("https://")


def _state(directory: Path, content: bytes) -> None:
    path = directory / "example.org.json"
    path.write_bytes(content)
    state = Backoff(path, Clock(), lambda: datetime.now(UTC), lambda: 0.5)
    assert 0.0 <= state.wait < float("inf") and state.failures >= 0
    assert state.error is None or state.error.isprintable()


_KINDS = (_stored, _given, _account, _state)


def seeds() -> list[bytes]:
    """What stands there when all is well."""
    both = _MADE.key_pem + _MADE.certificate_pem
    state = b'{"failures": 2, "delay": 5.0, "until": 1700000000.0, "error": "no", "hint": "http-01"}'
    account = b'{"key": "00", "url": "https://ca.example/1", "contact": ["mailto:me@example.org"]}'
    return [
        b"\0" + both,
        b"\1" + both,
        b"\1" + _MADE.certificate_pem,
        b"\2" + account,
        b"\2" + _MADE.key_pem,
        b"\3" + state,
    ]
