"""What the supervisor and its workers tell each other: one JSON object a line.

    0  commands, to the worker; their end is the end of the supervisor
    1  answers, from the worker
    2  its log, one event a line; and whatever else writes to standard error
    3  memory they share
    4  and so on: the sockets that listen, first those of the port, then those of redirects

A worker may be of a newer version than its supervisor: who does not know a word passes over it, and options go as they
were given, to be parsed by whoever uses them. Nothing here is to be renamed.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["MEMORY", "SOCKETS", "Given", "Lines", "decode", "encode"]

MEMORY = 3
SOCKETS = 4

#: Bytes of a line at most: a longer one is no message of ours.
_MAX_LINE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """The settings as they were given, with the files that they name.

    Attributes:
        arguments: the command line.
        directory: where relative paths begin.
        contents: what is in each file.
    """

    arguments: Sequence[str]
    directory: Path
    contents: Mapping[Path, bytes] = field(repr=False)

    def pack(self) -> dict[str, Any]:
        """As it goes over the pipe."""
        return {
            "arguments": list(self.arguments),
            "directory": os.fspath(self.directory),
            "contents": {os.fspath(path): b64encode(data).decode("ascii") for path, data in self.contents.items()},
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> "Given":
        """As it came over the pipe."""
        contents = {Path(path): b64decode(data) for path, data in packed["contents"].items()}
        return cls(packed["arguments"], Path(packed["directory"]), contents)


def encode(kind: str, **fields: Any) -> bytes:
    """A message as a line."""
    return json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message in a line.

    Raises:
        ValueError: it is none.
    """
    message = json.loads(line)
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ValueError("no message")
    return message


class Lines:
    """Takes a stream apart.

    Args:
        received: called with each line, without its end.
    """

    def __init__(self, received: Callable[[bytes], object]) -> None:
        self._received = received
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = self._rest + lines[0]
            self._rest = rest
        else:
            self._rest += rest
        for line in lines:
            self._received(line)
        if len(self._rest) > _MAX_LINE:
            self._rest = b""

    def end(self) -> None:
        """Nothing more comes: what there is, is the last line."""
        rest, self._rest = self._rest, b""
        if rest:
            self._received(rest)
