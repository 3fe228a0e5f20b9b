"""Text of others on this terminal: nothing in it moves the cursor, changes colours or hides something."""

import os
import sys
from contextlib import suppress

__all__ = ["close_output", "neutral", "one_row"]

#: What joins letters and signs to one: no harm, and many languages and emoji need it.
_JOINERS = frozenset("\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")


def neutral(text: str) -> str:
    """A text of somebody else with everything replaced that is not to be printed, but for tabs and line ends."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" or letter in _JOINERS else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )


def one_row(text: str) -> str:
    """The same on one line: line ends and tabs are shown as signs."""
    return neutral(text).replace("\n", "\N{SYMBOL FOR NEWLINE}").replace("\t", " ")


def close_output() -> None:
    """Write nothing more to standard output: who reads it has gone."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
