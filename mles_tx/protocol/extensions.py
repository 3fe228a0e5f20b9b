"""What a server says about itself in its answer to an upgrade: which extensions of the first frame it knows.

    Mles-Extensions: history, since, receive, resync; limit=200; run=9f86d081884c7d65

A client that does not know the header does not see it. One that does may send what a server without it would take for
messages: frames of `resync`.
"""

import re
from dataclasses import dataclass

__all__ = ["CAUGHT_UP", "EXTENSIONS_HEADER", "Extensions", "parse_extensions"]

#: The header of the answer.
EXTENSIONS_HEADER = "Mles-Extensions"

#: The payload of a ping that is answered behind everything that waits for its sender, its history too.
CAUGHT_UP = b"caught up?"

_KEYS = ("history", "since", "receive", "resync")

_LIMIT = re.compile(r"[0-9]{1,9}", re.ASCII)

_RUN = re.compile(r"[0-9A-Za-z]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Extensions:
    """What a server offers.

    Attributes:
        limit: messages of a history it takes from a client, and remembers itself.
        run: says which run of the server this is: one that was restarted has another.
        keys: the keys of the first frame that it knows.
    """

    limit: int
    run: str
    keys: tuple[str, ...] = _KEYS

    def __str__(self) -> str:
        """The value of the header."""
        return f"{', '.join(self.keys)}; limit={self.limit}; run={self.run}"


def parse_extensions(value: str | None) -> Extensions | None:
    """Read the value of the header; None when there is none, or none that is understood.

    What is not known of it is passed over, so that later servers may say more.
    """
    if value is None:
        return None
    words, *parameters = value.split(";")
    fields = dict(parameter.strip().partition("=")[::2] for parameter in parameters)
    limit, run = fields.get("limit", ""), fields.get("run", "")
    if _LIMIT.fullmatch(limit) is None or _RUN.fullmatch(run) is None:
        return None
    return Extensions(int(limit), run, tuple(word.strip() for word in words.split(",")))
