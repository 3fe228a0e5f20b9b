"""Text of others on a terminal."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.terminal import neutral, one_row

BAD = "\N{REPLACEMENT CHARACTER}"


class NeutralTests(SynchronousTestCase):
    """Nothing in it does anything."""

    def test_neutral(self) -> None:
        """Escapes, returns and marks that turn text around are replaced; letters of all languages stay."""
        for text, shown in (
            ("plain", "plain"),
            ("a\tb\nc", "a\tb\nc"),
            ("\x1b[31mred\x1b[0m", f"{BAD}[31mred{BAD}[0m"),
            ("\rover\x08\x7f\x9b\x00", f"{BAD}over{BAD * 4}"),
            ("\u202eevil\u2066", f"{BAD}evil{BAD}"),
            ("\ud800", BAD),
            ("grüße 漢字 👩\N{ZERO WIDTH JOINER}💻", "grüße 漢字 👩\N{ZERO WIDTH JOINER}💻"),
        ):
            self.assertEqual((text, neutral(text)), (text, shown))

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Whatever it is: no control character is left, and on one row none at all."""
        self.assertEqual([letter for letter in neutral(text) if ord(letter) < 32 and letter not in "\n\t"], [])
        self.assertEqual([letter for letter in one_row(text) if ord(letter) < 32], [])
