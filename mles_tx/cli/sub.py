"""`mles-tx sub`: prints what is said on a channel, line by line."""

import base64
import json
import os
import select
import stat
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from twisted.python import usage

from mles_tx.client.config import ClientConfigError, Repeats
from mles_tx.service.parsing import whole_number

from .cipher import cipher_for
from .client_options import ClientOptions
from .client_running import require_streams, run
from .terminal import close_output, neutral, one_row

if TYPE_CHECKING:
    from mles_tx.client import Message
    from mles_tx.client.e2e import Cipher
    from mles_tx.client.lines import Line

__all__ = ["SubOptions", "printer", "sub"]

#: Seconds between two looks whether somebody still reads.
_LOOK_SECONDS = 0.5


class SubOptions(ClientOptions):
    """What `mles-tx sub` understands."""

    longdesc = (
        "Prints each message on a channel as a line: first the history, then what is said, until Ctrl-C. When the link"
        " breaks it comes back, and goes on where it was."
    )

    optFlags: Sequence[Sequence[Any]] = (
        ["json", "j", "An object a line: text or data (base64), and of lines of a chat uid and time as well."],
        ["raw", "r", "The bytes of each message as they are, and nothing between them."],
    )
    optParameters: Sequence[Sequence[Any]] = (
        ["count", "c", None, "End after so many messages, 1 to 999999999.", whole_number("--count", 1, 999_999_999)],
        [
            "history",
            "n",
            None,
            "Begin with at most so many messages of the history, 0 to 999999. [default: all]",
            whole_number("--history", 0, 999_999),
        ],
    )

    def parseArgs(self, channel: str) -> None:  # type: ignore[override]  # noqa: N802
        """One channel."""
        self["channel"] = channel

    def postOptions(self) -> None:
        super().postOptions()
        if self["json"] and self["raw"]:
            raise usage.UsageError("--raw: --json is given as well; keep one of them")


def sub(options: SubOptions) -> NoReturn:
    """Print until it ends, and exit."""
    require_streams("mles-tx sub")
    try:
        config = options.config(options["channel"], history=options["history"], repeats=Repeats.DROP_REPLAYED)
        secret = options.secret
    except ClientConfigError as error:
        sys.exit(f"mles-tx sub: {error}")

    async def main(reactor: Any) -> int:
        from mles_tx.client import MlesClient

        cipher = await cipher_for(reactor, secret, config.channel)
        shown = printer(options, config.channel, cipher, sys.stdout.buffer)
        client = MlesClient(config, reactor)
        messages = client.messages()
        watching = _watch_output(reactor, client)
        client.startService()
        left = options["count"]
        try:
            async for message in messages:
                if shown(message) and left is not None:
                    left -= 1
                    if left == 0:
                        break
        except BrokenPipeError:
            close_output()
        finally:
            watching()
            await client.stopService()
        return 0

    run("mles-tx sub", main)


def printer(options: SubOptions, channel: str, cipher: "Cipher | None", out: BinaryIO) -> Callable[["Message"], bool]:
    """What prints a message to `out`; it returns whether there was something to print."""
    from mles_tx.client.lines import Kind, read

    def show(message: "Message") -> bool:
        line = read(message, channel, cipher)
        if line.kind is Kind.JOINED:
            return False
        if options["raw"]:
            out.write(_opened(message, cipher))
        else:
            shown = _as_json(line, message) if options["json"] else _as_text(line, cipher is not None)
            out.write(shown.encode("utf-8", "replace") + b"\n")
        out.flush()
        return True

    return show


def _opened(message: "Message", cipher: "Cipher | None") -> bytes:
    """The bytes of a message, of a sealed one its plaintext; none when it cannot be opened."""
    if cipher is None or not message.is_binary:
        return message.payload
    from mles_tx.client.e2e import WrongSecret

    try:
        return cipher.open(message.payload)
    except WrongSecret:
        return b""


def _as_text(line: "Line", has_secret: bool) -> str:
    from mles_tx.client.lines import Kind

    if line.kind is Kind.FILE:
        return one_row(f"({line.uid} sends {line.text})")
    if line.kind is not Kind.SAID:
        return f"({line.text})"
    mark = "(not encrypted) " if has_secret and not line.is_sealed else ""
    return mark + neutral(line.text if line.uid is None else f"{line.uid}: {line.text}")


def _as_json(line: "Line", message: "Message") -> str:
    from mles_tx.client.lines import Kind

    fields: dict[str, Any] = {}
    if line.kind is Kind.SAID:
        fields["text"] = line.text
        if line.uid is not None:
            fields["uid"] = line.uid
        if line.time is not None:
            fields["time"] = line.time.isoformat().replace("+00:00", "Z")
    else:
        fields["data"] = base64.b64encode(message.payload).decode("ascii")
    fields["sealed"] = line.is_sealed
    fields["replayed"] = message.is_replayed
    return json.dumps(fields)


def _watch_output(reactor: Any, client: Any) -> Callable[[], None]:
    """End when whoever reads a pipe has gone, also while nothing is said; returns what ends the watching."""
    from twisted.internet.task import LoopingCall

    descriptor = sys.stdout.fileno()
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return lambda: None
    poll = select.poll()
    poll.register(descriptor, 0)

    def look() -> None:
        if poll.poll(0):
            looking.stop()
            client.stopService()

    looking = LoopingCall(look)
    looking.clock = reactor
    looking.start(_LOOK_SECONDS)
    return lambda: looking.stop() if looking.running else None
