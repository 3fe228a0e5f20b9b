"""End-to-end encryption with a shared secret, as mles-client has it, byte for byte.

A key is made from the secret and the name of the channel by scrypt; a frame is a nonce of 24 random bytes and what
XChaCha20-Poly1305 makes of the plaintext. docs/protocol.md has the format with vectors.

PyNaCl is an extra: it is imported when a cipher is made.
"""

import hashlib
import os
from collections.abc import Callable

__all__ = [
    "KEY_BYTES",
    "NONCE_BYTES",
    "Cipher",
    "MissingLibrary",
    "WrongSecret",
    "derive_key",
    "salt_of",
]

#: Bytes of a key, and of the nonce a frame begins with.
KEY_BYTES = 32
NONCE_BYTES = 24

#: Bytes of the tag a frame ends with.
_TAG_BYTES = 16

_SALT_BYTES = 16

#: The cost of scrypt: about a second, and 128 MiB of memory while it lasts.
_N, _R, _P = 1 << 17, 8, 1
_MAX_MEMORY = 192 * 1024 * 1024


class MissingLibrary(Exception):
    """PyNaCl is not installed; the text says how to get it."""


class WrongSecret(Exception):
    """A frame was not sealed with this secret for this channel, or was changed."""


def salt_of(channel: str) -> bytes:
    """The salt for a channel: the first 16 bytes of the BLAKE2b-512 of its name."""
    return hashlib.blake2b(channel.encode("utf-8")).digest()[:_SALT_BYTES]


def derive_key(secret: bytes, channel: str) -> bytes:
    """The key of a channel: 32 bytes. It takes about a second, so call it in a thread.

    Args:
        secret: what its members have agreed upon; not empty.
        channel: its name.
    """
    if not secret:
        raise ValueError("a secret must not be empty")
    return hashlib.scrypt(secret, salt=salt_of(channel), n=_N, r=_R, p=_P, maxmem=_MAX_MEMORY, dklen=KEY_BYTES)


class Cipher:
    """Seals and opens frames with the key of a channel.

    Args:
        key: what `derive_key` has made.
        random: so many random bytes.

    Raises:
        MissingLibrary: PyNaCl is not installed.
    """

    def __init__(self, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        try:
            from nacl import bindings
        except ImportError:
            raise MissingLibrary("encryption needs PyNaCl: pip install 'mles-tx[e2e]'") from None
        self._encrypt = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt
        self._decrypt = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt
        self._key = key
        self._random = random

    def seal(self, plaintext: bytes) -> bytes:
        """The frame for a plaintext."""
        nonce = self._random(NONCE_BYTES)
        sealed: bytes = self._encrypt(plaintext, None, nonce, self._key)
        return nonce + sealed

    def open(self, frame: bytes) -> bytes:
        """The plaintext of a frame.

        Raises:
            WrongSecret: it is none of this key's.
        """
        from nacl.exceptions import CryptoError

        if len(frame) < NONCE_BYTES + _TAG_BYTES:
            raise WrongSecret("too short to be a sealed frame")
        try:
            plaintext: bytes = self._decrypt(frame[NONCE_BYTES:], None, frame[:NONCE_BYTES], self._key)
        except CryptoError:
            raise WrongSecret("sealed with another secret, or for another channel") from None
        return plaintext
