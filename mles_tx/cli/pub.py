"""`mles-tx pub`: says something on a channel, and ends well only when the server has taken it."""

import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.python import usage

from mles_tx.client.config import ClientConfigError
from mles_tx.protocol.header import MAX_MESSAGE_BYTES

from .cipher import cipher_for, tell_clear
from .client_options import ClientOptions
from .client_running import Failed, run
from .input import InputReader
from .threads import in_daemon_thread

if TYPE_CHECKING:
    from mles_tx.client.e2e import Cipher

__all__ = ["PubOptions", "payload", "pub", "said"]

#: Bytes that encryption adds to a line, beside its uid: nonce, tag, and the time.
_SEALED_BYTES = 24 + 16 + 32


class PubOptions(ClientOptions):
    """What `mles-tx pub` understands."""

    synopsis = "[options] CHANNEL [TEXT|-]"
    longdesc = (
        "Says TEXT on a channel; without TEXT, or with -, each line of standard input as soon as it is there. Ends with"
        " code 0 when the server has taken everything, as its answer to the goodbye shows, and with code 1 otherwise."
    )

    optFlags: Sequence[Sequence[Any]] = (
        ["binary", "b", "As a binary message, not as text."],
        ["blob", None, "All of standard input as one message; binary, unless it is UTF-8 and --text is given."],
        ["text", "t", "With --blob: as text."],
    )

    def parseArgs(self, channel: str, *texts: str) -> None:  # type: ignore[override]  # noqa: N802
        """A channel, and at most one text."""
        if len(texts) > 1:
            raise usage.UsageError(f"{texts[1]!r}: one TEXT at most; put it into quotes")
        self["channel"] = channel
        self["message"] = texts[0] if texts and texts[0] != "-" else None

    def postOptions(self) -> None:
        super().postOptions()
        if self["blob"] and self["message"] is not None:
            raise usage.UsageError("--blob: takes standard input, and TEXT is given as well; keep one of them")
        if self["text"] and self["binary"]:
            raise usage.UsageError("--text: --binary is given as well; keep one of them")
        if self["text"] and not self["blob"]:
            raise usage.UsageError("--text: is what lines are in any case; it is of use with --blob")


def pub(options: PubOptions) -> NoReturn:
    """Say it, and exit."""
    try:
        config = options.config(options["channel"], receive=False)
        secret = options.secret
    except ClientConfigError as error:
        sys.exit(f"mles-tx pub: {error}")

    async def main(reactor: Any) -> int:
        from twisted.internet.defer import CancelledError, Deferred

        from mles_tx.client import ClientClosed, MlesClient

        if secret is None:
            tell_clear("mles-tx pub")
        cipher = await cipher_for(reactor, secret, config.channel)
        client = MlesClient(config, reactor)

        async def say_all() -> None:
            async for data in said(reactor, options, InputReader(0)):
                await client.publish(payload(options, config.uid, data, cipher))
            await client.finish()

        client.startService()
        saying = Deferred.fromCoroutine(say_all())
        # Nobody need type another line to be told that the client has given up.
        client.when_closed().addCallback(lambda status: saying.cancel() if status.is_error else None)
        try:
            await saying
        except (CancelledError, ClientClosed):
            if not client.status.is_error:
                raise
            raise Failed(f"not everything could be said: {client.status.why}") from None
        finally:
            await client.stopService()
        return 0

    run("mles-tx pub", main)


async def said(reactor: Any, options: PubOptions, source: InputReader) -> AsyncIterator[bytes]:
    """The messages to be said: TEXT, or what comes from `source`, which is read in a thread.

    Raises:
        Failed: one is too large.
    """
    if options["message"] is not None:
        yield options["message"].encode("utf-8", "surrogateescape")
        return
    number = 0
    while True:
        if options["blob"]:
            data = await in_daemon_thread(reactor, source.all, MAX_MESSAGE_BYTES + 1)
        else:
            data = await in_daemon_thread(reactor, source.line, MAX_MESSAGE_BYTES + 2)
        if not data and not (options["blob"] and number == 0):
            return
        number += 1
        if not options["blob"]:
            data = data.removesuffix(b"\n").removesuffix(b"\r")
        if len(data) > MAX_MESSAGE_BYTES:
            what = "standard input" if options["blob"] else f"line {number}"
            raise Failed(f"{what} is larger than {MAX_MESSAGE_BYTES} bytes, the most a message may have")
        yield data
        if options["blob"]:
            return


def payload(options: PubOptions, uid: str, data: bytes, cipher: "Cipher | None") -> str | bytes:
    """What is sent for some bytes.

    Raises:
        Failed: it cannot be sent.
    """
    is_binary = options["binary"] or (options["blob"] and not options["text"])
    if cipher is not None and len(data) + len(uid) + _SEALED_BYTES > MAX_MESSAGE_BYTES:
        raise Failed(f"a message has no room for encryption: sealed, {MAX_MESSAGE_BYTES} bytes are the most")
    if is_binary:
        return data if cipher is None else cipher.seal(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Failed("the text is not UTF-8; give --binary for other bytes") from None
    if cipher is None:
        return text
    from mles_tx.client.lines import sealed_line

    return sealed_line(cipher, uid, text, datetime.now(UTC))
