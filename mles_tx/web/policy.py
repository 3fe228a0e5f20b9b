"""What browsers are told beside a file: how long they may keep it, and what they must not do with it.

It says nothing about what the operator's pages may load: a Content-Security-Policy of ours would break them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["HASHED", "PLAIN", "REVALIDATE", "Field", "Policy", "cache_control", "never"]

#: A file whose name changes with its content: kept for a year, and not asked for again (RFC 8246).
HASHED = b"public, max-age=31536000, immutable"

#: Any other file may be kept, but is asked for each time; nearly always the answer is 304.
REVALIDATE = b"no-cache"

#: The parts of a file's name.
_PARTS = re.compile(r"[.~-]|(?<=[a-zA-Z0-9])_")

#: What bundlers put into names. Hexadecimal: webpack, Parcel, Rails; base 32: esbuild. With a letter and a digit, which
#: dates and words have not.
_HEXADECIMAL = re.compile(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f]{8,64}")
_BASE32 = re.compile(r"(?=.*[2-7])(?=.*[A-Z])[A-Z2-7]{8}")

#: Base 64: Vite and Rollup. A word in mixed case looks like it, so it counts only in their directories, and with a
#: letter behind a digit: a third has none and is asked for each time, but no ``icon-iPhone15.png`` is kept for a year.
_BASE64 = re.compile(r"(?=.*[0-9][A-Za-z_])(?=.*[a-z])(?=.*[A-Z])[0-9A-Za-z_]{8}")
_BUNDLED = frozenset(("_app", "_astro", "_next", "assets", "build", "dist", "immutable", "static"))

#: Two years are what browsers ask of those who want to be on their lists; one is what most sites have (RFC 6797).
_HSTS = (b"Strict-Transport-Security", b"max-age=31536000")

_ON_TLS = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"strict-origin-when-cross-origin"),
)

#: Together they make `crossOriginIsolated` true, which SharedArrayBuffer and exact timers need.
_ISOLATION = (
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Embedder-Policy", b"require-corp"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
)

Field = tuple[bytes, bytes]


def cache_control(target: bytes) -> bytes:
    """The Cache-Control of what is found at a path.

    Args:
        target: the path as in a request, without a query.
    """
    *directories, name = target.decode("latin-1").split("/")
    stem, dot, extension = name.rpartition(".")
    if not dot or extension.lower() in ("html", "htm"):
        return REVALIDATE  # pages are what links lead to
    is_bundled = not _BUNDLED.isdisjoint(directories)
    for part in _PARTS.split(stem)[1:]:
        if _HEXADECIMAL.fullmatch(part) or _BASE32.fullmatch(part) or (is_bundled and _BASE64.fullmatch(part)):
            return HASHED
    # Base 64 may have a dash, or begin with an underscore: the last nine characters then.
    if is_bundled and stem[-9:-8] in ("-", ".") and _BASE64.fullmatch(stem[-8:].replace("-", "_")):
        return HASHED
    return REVALIDATE


def never(host: str) -> bool:
    """For servers none of whose certificates lasts: no host is to be visited over TLS only."""
    return False


@dataclass(frozen=True, slots=True)
class Policy:
    """The headers all answers of a server have.

    Attributes:
        is_secure: whether it speaks TLS itself; a proxy in front of it has its own headers.
        is_isolated: whether its pages are to be isolated from those of other origins.
        demands_tls: whether browsers are to come to a host over TLS only from now on: not for names of this machine,
            nor where they cannot trust the certificate.
    """

    is_secure: bool = False
    is_isolated: bool = False
    demands_tls: Callable[[str], bool] = never

    def fields(self, host: str) -> tuple[Field, ...]:
        """The headers of an answer for a host, names as they are written."""
        isolation = _ISOLATION if self.is_isolated else ()
        if not self.is_secure:
            return isolation
        return (*isolation, *_ON_TLS, _HSTS) if self.demands_tls(host) else (*isolation, *_ON_TLS)


#: That of a server without TLS.
PLAIN = Policy()
