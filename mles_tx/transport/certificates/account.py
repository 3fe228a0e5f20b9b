"""The account at a certificate authority: its key, made once and kept, and where the authority keeps it."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from josepy.jwk import JWKEC
from twisted.logger import Logger

from .files import add_private, make_private_directory, read_small, replace_private, sweep_new

__all__ = ["Account"]

_MAX_FILE = 1 << 16


class Account:
    """The account's files: the key, and what the authority has answered.

    Args:
        path: the directory they are in.
    """

    _log = Logger()

    def __init__(self, path: Path) -> None:
        self._key_path = path / "account-key.pem"
        self._path = path / "account.json"

    def key(self) -> JWKEC:
        """The key. When there is none it is made: of several processes that do so, one makes it.

        Raises:
            OSError: it cannot be read, or cannot be kept.
        """
        make_private_directory(self._key_path.parent)
        sweep_new(self._key_path.parent, time.time())
        while True:
            kept = read_small(self._key_path, _MAX_FILE)
            if kept is not None:
                key = _load(kept)
                if key is not None:
                    return JWKEC(key=key)
            if self._key_path.exists() or self._key_path.is_symlink():
                aside = self._key_path.with_suffix(".broken")
                self._log.warn(
                    "{path} is no account key: moved to {aside}, and a new one made",
                    path=str(self._key_path),
                    aside=aside.name,
                )
                self._key_path.rename(aside)
            new = ec.generate_private_key(ec.SECP256R1())
            pem = new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            if add_private(self._key_path, pem):
                return JWKEC(key=new)

    def load(self, key: JWKEC) -> tuple[str, tuple[str, ...]] | None:
        """URL and contacts of the account with this key; None: it is not known to exist."""
        try:
            kept: Mapping[str, Any] = json.loads(read_small(self._path, _MAX_FILE) or b"{}")
            if kept.get("key") == _thumbprint(key):
                return _https(kept["url"]), tuple(kept["contact"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._log.warn("{path} is no account, and left alone: {error!r}", path=str(self._path), error=error)
        return None

    def save(self, key: JWKEC, url: str, contact: tuple[str, ...]) -> None:
        """Keep URL and contacts.

        Raises:
            ValueError: it is no https URL.
            OSError: they cannot be kept.
        """
        kept = {"key": _thumbprint(key), "url": _https(url), "contact": contact}
        replace_private(self._path, json.dumps(kept).encode())

    def forget(self) -> None:
        """The authority knows no such account: it is asked to make it again."""
        self._path.unlink(missing_ok=True)


def _load(content: bytes) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1) else None


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError("an account is at an https URL")
    return url


def _thumbprint(key: JWKEC) -> str:
    return key.thumbprint().hex()
