"""End-to-end encryption."""

import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.e2e import Cipher, MissingLibrary, WrongSecret, derive_key, salt_of

#: Vectors made with mles-client.
KEY = bytes.fromhex("4a02774c9b1855a435b2201f50ac0bc8c613042a02fec68612d530ceaba79637")
NONCE = bytes(range(24))
PLAINTEXT = b"2026-11-22T12:00:00Z alice: hello"
SEALED = bytes.fromhex(
    "5aa603ecfa0f711e3f47e87742ddbdb788e1e19c240c672598f0d86402fb3f65bdd4739127ddd324e9774a9fa5031e0be6"
)


class KeyTests(SynchronousTestCase):
    """Keys."""

    def test_vector(self) -> None:
        """Secret and channel make the key that mles-client makes of them."""
        self.assertEqual(salt_of("example").hex(), "693bb8377f4b9b23c6bbce0b69ea472e")
        self.assertEqual(derive_key(b"correct horse", "example"), KEY)

    def test_empty(self) -> None:
        """An empty secret is none."""
        self.assertRaises(ValueError, derive_key, b"", "example")


class CipherTests(SynchronousTestCase):
    """Frames."""

    def test_vector(self) -> None:
        """A frame is the one mles-client makes, and its own are opened."""
        self.assertEqual(Cipher(KEY, lambda _: NONCE).seal(PLAINTEXT), NONCE + SEALED)
        self.assertEqual(Cipher(KEY).open(NONCE + SEALED), PLAINTEXT)

    def test_nonces(self) -> None:
        """The same text is another frame each time."""
        cipher = Cipher(KEY)
        self.assertEqual(len({cipher.seal(b"x") for _ in range(100)}), 100)

    @given(st.binary(max_size=300))
    def test_round(self, plaintext: bytes) -> None:
        """What was sealed is opened, whatever it is."""
        cipher = Cipher(KEY)
        self.assertEqual(cipher.open(cipher.seal(plaintext)), plaintext)

    @given(st.integers(0, len(SEALED) + 23), st.integers(1, 255))
    def test_changed(self, at: int, flip: int) -> None:
        """A frame of which a bit was changed is opened by nobody."""
        frame = bytearray(NONCE + SEALED)
        frame[at] ^= flip
        self.assertRaises(WrongSecret, Cipher(KEY).open, bytes(frame))

    @given(st.binary(max_size=100))
    def test_anything(self, frame: bytes) -> None:
        """Anything else is not opened, and nothing else happens."""
        self.assertRaises(WrongSecret, Cipher(KEY).open, frame)

    def test_other_key(self) -> None:
        """Another key opens nothing; what is no key is refused."""
        self.assertRaises(WrongSecret, Cipher(bytes(32)).open, NONCE + SEALED)
        self.assertRaises(ValueError, Cipher, b"short")

    def test_missing(self) -> None:
        """Without the extra the error says what to install."""
        there = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "nacl"}
        self.addCleanup(sys.modules.update, there)
        for name in there:
            sys.modules[name] = None  # type: ignore[assignment]
        error = self.assertRaises(MissingLibrary, Cipher, KEY)
        self.assertIn("pip install 'mles-tx[e2e]'", str(error))
