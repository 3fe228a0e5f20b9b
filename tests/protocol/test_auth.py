"""Tests of the auth value: known vectors, strict reading, what is refused and why."""

from siphashc import siphash
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol import auth
from mles_tx.protocol.auth import auth_value, check_auth, digest
from mles_tx.protocol.closing import CloseReason, ProtocolViolation

_OPEN = "9b3b95527f7c2d80"  # alice on example, no key
_KEYED = "2446b8f3f28ff385"  # alice on example, key s3cret
_KEY = b"s3cret"

#: SipHash-2-4 as published by its authors: key 00 .. 0f, input 00 01 02 ... of length 0, 1, 2, ...; little-endian.
_PUBLISHED = (
    "310e0edd47db6f72",
    "fd67dc93c539f874",
    "5a4fa9d909806c0d",
    "2d7efbd796666785",
    "b7877127e09427cf",
    "8da699cd64557618",
    "cee3fe586e46c9cb",
    "37d1018bf50002ab",
    "6224939a79f5f593",
    "b0e4a90bdf82009e",
    "f3b9dd94c5bb5d7a",
    "a7ad6b22462fb3f4",
    "fbe50e86bc8f1e75",
    "903d84c02756ea14",
    "eef27a8e90ca23f7",
    "e545be4961ca29a1",
)


class DigestTests(SynchronousTestCase):
    """The hash is the one that clients compute."""

    def test_published_vectors(self) -> None:
        """The hash function underneath gives what its authors published."""
        for length, expected in enumerate(_PUBLISHED):
            found = siphash(bytes(range(16)), bytes(range(length)))
            self.assertEqual(int(found).to_bytes(8, "little").hex(), expected, f"{length=}")

    def test_zero_key(self) -> None:
        """A digest is the hash under the key of sixteen zero bytes, whatever bytes it is of."""
        for data in (b"", b"\0", b"alice", bytes(range(256)), b"x" * 100_000):
            self.assertEqual(digest(data), siphash(b"\0" * 16, data), f"data={data[:8]!r} length={len(data)!r}")
        self.assertEqual(digest(b"aliceexample"), int(_OPEN, 16))

    def test_64_bits(self) -> None:
        """A digest is a whole number of at most 64 bits, and uses the upper ones too."""
        found = [digest(bytes([number])) for number in range(64)]
        self.assertTrue(all(0 <= value < 2**64 for value in found))
        self.assertGreater(max(found), 2**63)
        self.assertEqual(len(set(found)), 64)


class AuthValueTests(SynchronousTestCase):
    """The value a client sends to prove that it knows the server's key."""

    def test_vectors(self) -> None:
        """The value is the one that existing clients send, with a key and without."""
        for key, expected in ((None, _OPEN), (b"", _OPEN), (_KEY, _KEYED)):
            self.assertEqual(auth_value("alice", "example", key), expected, f"{key=}")

    def test_always_16_digits(self) -> None:
        """A value with leading zeros has them written out."""
        self.assertEqual(auth_value("user92", "example"), "00ee0d6bf1e1fd0a")

    def test_uid_channel_key_in_this_order(self) -> None:
        """The value is that of uid, channel and key one after the other, with nothing between."""
        self.assertEqual(auth_value("ali", "ceexample"), _OPEN)
        self.assertEqual(auth_value("alice", "examples3cret"), _KEYED)
        self.assertNotEqual(auth_value("example", "alice"), _OPEN)

    def test_any_bytes_as_key(self) -> None:
        """A key may be any bytes, as it comes from the environment."""
        self.assertEqual(
            auth_value("alice", "example", b"\xff\x00"), f"{digest(b'aliceexample' + bytes((255, 0))):016x}"
        )


class CheckAuthTests(SynchronousTestCase):
    """Who gets in, and what the others are told."""

    def _verdict(self, given: str | None, key: bytes | None, uid: str = "alice") -> CloseReason | None:
        try:
            check_auth(uid, "example", given, () if key is None else (key,))
        except ProtocolViolation as violation:
            return violation.reason
        return None

    def test_verdicts(self) -> None:
        """The right value gets in; a missing, misspelt or wrong one is refused with its own reason."""
        required, malformed, wrong = CloseReason.AUTH_REQUIRED, CloseReason.HEADER_AUTH, CloseReason.AUTH_WRONG
        table: tuple[tuple[str | None, bytes | None, CloseReason | None], ...] = (
            (None, None, None),
            (_OPEN, None, None),
            (_OPEN.upper(), None, None),
            (_KEYED, None, wrong),
            ("0", None, wrong),
            (_OPEN[:15], None, wrong),
            (_OPEN[1:], None, wrong),
            (None, _KEY, required),
            (_KEYED, _KEY, None),
            (_KEYED.upper(), _KEY, None),
            (_OPEN, _KEY, wrong),
            (_KEYED[:-1] + "4", _KEY, wrong),
            ("f" * 16, _KEY, wrong),
            ("", None, malformed),
            ("", _KEY, malformed),
        )
        for value, key, expected in table:
            self.assertEqual(self._verdict(value, key), expected, f"{value=} {key=}")

    def test_any_key(self) -> None:
        """With several keys each of them lets in, in any order, and what belongs to none of them does not."""
        keys = (b"new", _KEY, b"\xff")
        for order in (keys, keys[::-1]):
            for key in keys:
                check_auth("alice", "example", auth_value("alice", "example", key), order)
            for given in (_OPEN, auth_value("alice", "example", b"older"), auth_value("bob", "example", _KEY)):
                with self.assertRaises(ProtocolViolation) as caught:
                    check_auth("alice", "example", given, order)
                self.assertIs(caught.exception.reason, CloseReason.AUTH_WRONG)
        with self.assertRaises(ProtocolViolation) as caught:
            check_auth("alice", "example", None, keys)
        self.assertIs(caught.exception.reason, CloseReason.AUTH_REQUIRED)

    def test_every_key_is_tried(self) -> None:
        """The right one does not end the search: the time tells nothing about which it was."""
        tried: list[bytes | None] = []

        def noted(uid: str, channel: str, key: bytes | None = None) -> str:
            tried.append(key)
            return auth_value(uid, channel, key)

        self.patch(auth, "auth_value", noted)
        check_auth("alice", "example", auth_value("alice", "example", b"a"), (b"a", b"b", b"c"))
        self.assertEqual(tried, [b"a", b"b", b"c"])

    def test_strict_hex(self) -> None:
        """What other parsers would take for the number is refused as no hex digits at all."""
        for value in (
            "+" + _OPEN[1:],
            "-" + _OPEN[1:],
            "0x" + _OPEN[2:],
            " " + _OPEN,
            _OPEN + " ",
            _OPEN + "\n",
            "\t" + _OPEN,
            "0" + _OPEN,  # 17 digits
            _OPEN * 2,
            "9b3b_9552_7f7c_2d80",
            "9b3b95527f7c2d8g",
            "9b3b95527f7c2d8\uff10",  # full-width digit
            "9b3b95527f7c2d8\u0660",  # Arabic-Indic digit
            "\0" * 16,
            "x",
        ):
            for key in (None, _KEY):
                self.assertEqual(self._verdict(value, key), CloseReason.HEADER_AUTH, f"{value=} {key=}")

    def test_leading_zeros_may_be_missing(self) -> None:
        """A client that leaves leading zeros away gets in; one that leaves away other digits does not."""
        for value in ("00ee0d6bf1e1fd0a", "0ee0d6bf1e1fd0a", "ee0d6bf1e1fd0a", "EE0d6bf1e1fd0A"):
            self.assertIsNone(self._verdict(value, None, uid="user92"), f"{value=}")
        self.assertEqual(self._verdict("e0d6bf1e1fd0a", None, uid="user92"), CloseReason.AUTH_WRONG)

    def test_refusal_does_not_quote(self) -> None:
        """The text of a refusal gives away neither the key nor the right value."""
        with self.assertRaises(ProtocolViolation) as caught:
            check_auth("alice", "example", "0", (_KEY,))
        told = repr(caught.exception) + caught.exception.reason.text
        for secret in ("s3cret", _KEYED):
            self.assertNotIn(secret, told)
