"""The static files that are asked for: made up here, so that every run serves the same bytes.

It knows nothing of servers.
"""

import random
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BROWSER_CODINGS", "DOWNLOAD", "LARGE_SCRIPT", "PAGE", "PAGES", "PICTURE", "SCRIPT", "Page", "write_site"]

#: What browsers take.
BROWSER_CODINGS = "gzip, deflate, br, zstd"

_KIB = 1024

_WORDS = (
    "channel",
    "member",
    "message",
    "payload",
    "history",
    "socket",
    "frame",
    "buffer",
    "render",
    "update",
    "index",
)


@dataclass(frozen=True, slots=True)
class Page:
    """A static file.

    Args:
        name: in its directory.
        size: its bytes.
        is_text: whether it gets smaller when it is compressed; the others are random bytes.
    """

    name: str
    size: int
    is_text: bool

    @property
    def content(self) -> bytes:
        """Its bytes: the same in every run."""
        chosen = random.Random(self.name)
        if not self.is_text:
            return chosen.randbytes(self.size)
        line = _paragraph if self.name.endswith(".html") else _function
        lines: list[str] = []
        left = self.size
        while left > 0:
            lines.append(line(chosen))
            left -= len(lines[-1])
        return "".join(lines).encode("ascii")[: self.size]


def _paragraph(chosen: random.Random) -> str:
    return f'<p class="{chosen.choice(_WORDS)}">{" ".join(chosen.choices(_WORDS, k=8))}</p>\n'


def _function(chosen: random.Random) -> str:
    name, one, two, *three = chosen.choices(_WORDS, k=5)
    number = chosen.randrange(10_000)
    test, result = f"{one}.{three[0]} > {number % 97}", f"{two}.{three[1]}"
    return f"function {name}{number}({one}, {two}) {{ if ({test}) return {result}; }}\n"


PAGE = Page("page.html", _KIB, True)
SCRIPT = Page("script.js", 10 * _KIB, True)
LARGE_SCRIPT = Page("large-script.js", 300 * _KIB, True)
PICTURE = Page("picture.png", 100 * _KIB, False)
DOWNLOAD = Page("download.bin", 1024 * _KIB, False)

PAGES = (PAGE, SCRIPT, LARGE_SCRIPT, PICTURE, DOWNLOAD)


def write_site(directory: Path) -> None:
    """Write all of them into a directory, which is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        (directory / page.name).write_bytes(page.content)
