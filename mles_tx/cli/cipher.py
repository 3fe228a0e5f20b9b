"""The cipher of a command, when it was given a secret."""

import sys
from typing import TYPE_CHECKING, Any

from .client_running import Failed
from .threads import in_daemon_thread

if TYPE_CHECKING:
    from mles_tx.client.e2e import Cipher

__all__ = ["cipher_for", "tell_clear"]


async def cipher_for(reactor: Any, secret: bytes | None, channel: str) -> "Cipher | None":
    """The cipher for a channel; None: there is no secret. Its key is made in a thread.

    Raises:
        Failed: PyNaCl is not installed.
    """
    if secret is None:
        return None
    from mles_tx.client.e2e import KEY_BYTES, Cipher, MissingLibrary, derive_key

    try:
        Cipher(bytes(KEY_BYTES))  # before a second is spent on the key
    except MissingLibrary as error:
        raise Failed(str(error)) from None
    return Cipher(await in_daemon_thread(reactor, derive_key, secret, channel))


def tell_clear(command: str) -> None:
    """Say that messages are not encrypted, to who sits there; a log needs not be told each time."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{command}: without a secret messages go in the clear; --ask-secret encrypts them\n")
