"""The auth value of a first frame: compute it, parse it strictly, compare it in constant time.

SipHash-2-4 with 64 bits of output and the all-zero key, over the bytes of uid, channel and, when the
server has one, its key, one after the other. Clients depend on the value, so it cannot be improved
here: it proves knowledge of the server's key and nothing else. TLS keeps it from being read.
"""

import re
from collections.abc import Sequence
from hmac import compare_digest

from siphashc import siphash

from .closing import CloseReason, ProtocolViolation

__all__ = ["auth_value", "check_auth", "digest"]

_ZERO_KEY = bytes(16)

#: A 64-bit value takes 16 hex digits; clients may leave leading zeros away.
_HEX = re.compile(r"[0-9a-fA-F]{1,16}", re.ASCII)


def digest(data: bytes) -> int:
    """The SipHash-2-4 of data under the zero key, 0 to 2**64-1: what `since` and deduplication use."""
    return int(siphash(_ZERO_KEY, data))


def auth_value(uid: str, channel: str, key: bytes | None = None) -> str:
    """The auth value for a uid on a channel: 16 hex digits.

    Args:
        uid: an ASCII uid.
        channel: an ASCII channel name.
        key: the server's key (``MLES_KEY``), or None for a server without one.
    """
    return f"{digest(uid.encode('ascii') + channel.encode('ascii') + (key or b'')):016x}"


def check_auth(uid: str, channel: str, auth: str | None, keys: Sequence[bytes]) -> None:
    """Refuse a header whose auth is missing or wrong. Any of the keys will do.

    Without a key an auth may be missing, but one that is there has to be right all the same: a client
    that was given a key must not believe that it was checked.

    The time it takes tells neither how much of a value was right nor which of the keys it belongs to.

    Raises:
        ProtocolViolation: AUTH_REQUIRED, HEADER_AUTH or AUTH_WRONG.
    """
    if auth is None:
        if keys:
            raise ProtocolViolation(CloseReason.AUTH_REQUIRED)
        return
    if _HEX.fullmatch(auth) is None:
        raise ProtocolViolation(CloseReason.HEADER_AUTH)
    given = auth.lower().zfill(16)
    is_right = False
    for key in keys or (None,):
        is_right |= compare_digest(given, auth_value(uid, channel, key))
    if not is_right:
        raise ProtocolViolation(CloseReason.AUTH_WRONG)
