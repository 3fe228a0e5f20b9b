"""Who is to issue certificates: what the operator says about the authority. Importing it costs nothing."""

import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["LETS_ENCRYPT", "LETS_ENCRYPT_STAGING", "Authority", "ExternalAccount"]

#: The directories of Let's Encrypt: for certificates that clients trust, and for trying things out.
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"

_BASE64URL = re.compile("[A-Za-z0-9_-]{2,}={0,2}")

#: Printable, and without what only fragments and logins need: RFC 8555 section 6.1 wants plain https.
_HTTPS_URL = re.compile(r"""https://[!$-;=?A-\[\]-~]+""")


def _is_base64url(text: str) -> bool:
    if not _BASE64URL.fullmatch(text):
        return False
    bare = text.rstrip("=")
    try:
        urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except ValueError:  # one character more than whole bytes have
        return False
    return True


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """An account the operator has with an authority by other means, to which ours is bound (RFC 8555 section 7.3.4).

    Attributes:
        key_id: as the authority has given it.
        hmac_key: likewise, in base64url.

    Raises:
        ValueError: one is missing, or the key is no base64url.
    """

    key_id: str
    hmac_key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.key_id or not _is_base64url(self.hmac_key):
            raise ValueError("a key id and an HMAC key in base64url are needed")


@dataclass(frozen=True, slots=True)
class Authority:
    """Who issues the certificates.

    Attributes:
        directory: the URL of its directory (RFC 8555 section 7.1.1), https.
        ca: a file with the certificates to trust when talking to it, instead of the system's.
        emails: whom it may write to.
        external: the operator's account there, if ours has to be bound to it.

    Raises:
        ValueError: the directory is no https URL; the text names the option and the remedy.
    """

    directory: str = LETS_ENCRYPT
    ca: Path | None = None
    emails: tuple[str, ...] = ()
    external: ExternalAccount | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.directory)
            _ = parts.port  # looked at when it is asked for
        except ValueError:
            parts = urlsplit("")
        if not parts.hostname or not _HTTPS_URL.fullmatch(self.directory):
            raise ValueError(f"--acme-directory {self.directory!r}: give the https:// URL of the authority's directory")

    @property
    def folder(self) -> str:
        """The name of its part of the cache: certificates for trying things out are never taken for others."""
        host = re.sub("[^a-z0-9.-]", "_", urlsplit(self.directory).hostname or "")
        return f"{host}-{sha256(self.directory.encode()).hexdigest()[:8]}"
