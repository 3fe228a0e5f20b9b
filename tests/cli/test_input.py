"""Standard input."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.input import InputReader


def reader(*pieces: bytes) -> InputReader:
    """Input that comes in some pieces."""
    left = [*pieces, b""]
    return InputReader(0, lambda _, most: left.pop(0) if left else b"")


class InputReaderTests(SynchronousTestCase):
    """Lines and all of it."""

    def lines(self, source: InputReader, most: int = 100) -> list[bytes]:
        """All lines."""
        found = []
        while line := source.line(most):
            found.append(line)
        return found

    def test_lines(self) -> None:
        """Lines come as they were, however they were cut; the last one needs no end."""
        self.assertEqual(
            self.lines(reader(b"on", b"e\n\ntw", b"o\r\n", b"three")), [b"one\n", b"\n", b"two\r\n", b"three"]
        )
        self.assertEqual(self.lines(reader()), [])

    def test_long(self) -> None:
        """Of a line that is too long no more is kept than is asked for."""
        self.assertEqual(reader(b"x" * 50, b"y\n").line(10), b"x" * 10)

    def test_all(self) -> None:
        """All of it is all of it, up to a bound."""
        self.assertEqual(reader(b"a\n", b"b").all(100), b"a\nb")
        self.assertEqual(reader(b"abc", b"def").all(4), b"abcd")
        self.assertEqual(reader().all(9), b"")

    @given(st.lists(st.binary(min_size=1, max_size=9)))
    def test_cuts(self, pieces: list[bytes]) -> None:
        """However input is cut, its lines are the same."""
        whole = b"".join(pieces)
        lines = [line + b"\n" for line in whole.split(b"\n")]
        lines[-1] = lines[-1].removesuffix(b"\n")
        self.assertEqual(self.lines(reader(*pieces), 1000), [line for line in lines if line])
