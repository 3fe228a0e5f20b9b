"""When a certificate is to be renewed: plain functions, time is an argument.

At two thirds of its life, whatever that is; or when the authority says (RFC 9773), whose word may be to do so at once.
"""

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from cryptography.x509 import AuthorityKeyIdentifier, Certificate
from cryptography.x509.extensions import ExtensionNotFound

__all__ = ["Window", "certificate_id", "parse_window", "renewal_time", "youth"]

#: Seconds until the authority is asked again, unless it names a time, and the bounds of that (RFC 9773 section 4.3.1).
_ASK_AGAIN, _ASK_SOONEST, _ASK_LATEST = 6 * 3600.0, 60.0, 86400.0

#: The longest time that a new certificate is left alone, whatever the authority or the wall clock says: one that always
#: says so would get an order a minute.
_YOUNG = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """When the authority would like a certificate to be renewed.

    Attributes:
        start: from then on.
        end: until then; after `start`.
        ask_again: seconds after which to ask again.
    """

    start: datetime
    end: datetime
    ask_again: float


def certificate_id(certificate: Certificate) -> str | None:
    """The name of a certificate in RFC 9773 (section 4.1); None: it does not say who signed it."""
    try:
        signer = certificate.extensions.get_extension_for_class(AuthorityKeyIdentifier).value.key_identifier
    except (ExtensionNotFound, ValueError):
        return None
    if signer is None:
        return None
    number = certificate.serial_number
    return f"{_base64url(signer)}.{_base64url(number.to_bytes(number.bit_length() // 8 + 1, 'big'))}"


def parse_window(document: dict[str, Any], retry_after: float) -> Window | None:
    """What the authority has answered (RFC 9773 section 4.2); None: nothing that makes sense.

    Args:
        document: its answer.
        retry_after: seconds after which it wants to be asked again; 0.0: it did not say.
    """
    suggested = document.get("suggestedWindow")
    if not isinstance(suggested, dict):
        return None
    try:
        start, end = (datetime.fromisoformat(suggested[name]) for name in ("start", "end"))
        if not start < end:
            return None
    except (KeyError, TypeError, ValueError):  # TypeError also where one has a zone and the other has none
        return None
    if start.tzinfo is None:
        return None
    return Window(start, end, min(max(retry_after or _ASK_AGAIN, _ASK_SOONEST), _ASK_LATEST))


def renewal_time(
    begins: datetime, ends: datetime, window: Window | None = None, stored: datetime | None = None, seed: str = ""
) -> datetime:
    """When to renew a certificate.

    Args:
        begins: when it begins to be valid.
        ends: when it ends.
        window: what the authority says about it, if it does.
        stored: when it came here, if that is known.
        seed: chooses the moment within the window: the same for all processes, another one for each certificate.
    """
    life = ends - begins
    if window is None:
        return begins + life * 2 / 3
    chosen = window.start + (window.end - window.start) * _fraction(seed)
    if stored is not None:
        chosen = max(chosen, stored + youth(begins, ends))
    return min(chosen, ends - life / 10)  # a window that lies after its end would let it lapse


def youth(begins: datetime, ends: datetime) -> timedelta:
    """How long a certificate that has just come is not renewed: a tenth of its life, or a day."""
    return min(_YOUNG, (ends - begins) / 10)


def _fraction(seed: str) -> float:
    return int.from_bytes(sha256(seed.encode()).digest()[:6], "big") / (1 << 48)


def _base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
