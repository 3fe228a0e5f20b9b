"""Bytes from elsewhere, whatever they are: a value or the named error comes of them, never anything else.

One module a subject, each with a function `run` that takes bytes and raises when something else came of them, and
`seeds`, good examples. In `corpus/SUBJECT/` are inputs that were of interest once. `test_targets` tries all of these
and what Hypothesis makes of them; ``python -m tests.fuzz`` lets a coverage-guided fuzzer go on for as long as one
likes.
"""

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

__all__ = ["CORPUS", "TARGETS", "Target", "inputs", "target"]

TARGETS = (
    "certificates",
    "clienthello",
    "frames",
    "header",
    "proxyheader",
    "redis_entries",
    "redis_streams",
    "relay",
    "request_head",
    "settings",
    "sqlite_file",
)

CORPUS = Path(__file__).parent / "corpus"


class Target(Protocol):
    """One subject."""

    def run(self, data: bytes) -> None:
        """Try some bytes.

        Raises:
            Exception: something came of them that must not.
        """

    def seeds(self) -> list[bytes]:
        """Good examples to begin with."""


def target(name: str) -> Target:
    """The module of a subject."""
    return cast(Target, import_module(f"{__name__}.{name}"))


def inputs(name: str) -> list[bytes]:
    """What stands in the corpus of a subject, and its seeds."""
    kept = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
    return target(name).seeds() + kept
