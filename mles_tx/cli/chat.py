"""`mles-tx chat`: talks on a channel, in a terminal or through pipes."""

import os
import secrets
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import platformdirs
from twisted.internet.defer import CancelledError, Deferred, DeferredList, FirstError
from zope.interface import implementer

from mles_tx.client.config import ClientConfigError, Repeats
from mles_tx.client.interfaces import IClientListener, Message, State, Status
from mles_tx.protocol.auth import digest
from mles_tx.protocol.dedup import DigestMemory

from .chat_lines import shown_line, shown_note, status_note
from .cipher import cipher_for
from .client_options import ClientOptions
from .client_running import require_streams, run
from .terminal import close_output

if TYPE_CHECKING:
    from mles_tx.client import MlesClient
    from mles_tx.client.e2e import Cipher

__all__ = ["Chat", "ChatOptions", "chat", "remembered_uid"]


class ChatOptions(ClientOptions):
    """What `mles-tx chat` understands."""

    longdesc = (
        "Talks on a channel: what you type is said, and what others say is shown, the history first. Ctrl-D or Ctrl-C"
        " leaves. On a terminal it needs pip install 'mles-tx[chat]'; through pipes a line is a message. It remembers"
        " the name you gave it."
    )

    def parseArgs(self, channel: str) -> None:  # type: ignore[override]  # noqa: N802
        """One channel."""
        self["channel"] = channel


def remembered_uid(given: str | None, directory: Path) -> str:
    """The uid somebody has on this machine: the one given now or the last time, else a new one; it is remembered.

    Args:
        given: the one of the options, which obeys the rules; None: there is none.
        directory: where it is kept; that it cannot be is no reason not to chat.
    """
    path = directory / "uid"
    kept = ""
    with suppress(OSError, UnicodeDecodeError):
        kept = path.read_text("ascii")[:4096].strip()
    uid = given or (kept if kept.isprintable() else "") or f"guest-{1000 + secrets.randbelow(9000)}"
    if uid != kept:
        with suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            fresh = directory / f"uid.{os.getpid()}"
            fresh.write_text(f"{uid}\n", "ascii")
            fresh.replace(path)
    return uid


def chat(options: ChatOptions) -> NoReturn:
    """Talk until somebody leaves, and exit."""
    require_streams("mles-tx chat")
    try:
        options.config(options["channel"])  # a wrong name is not remembered
        uid = remembered_uid(options["uid"], platformdirs.user_state_path("mles-tx"))
        config = options.config(options["channel"], uid=uid, repeats=Repeats.DROP_REPLAYED)
        secret = options.secret
    except ClientConfigError as error:
        sys.exit(f"mles-tx chat: {error}")

    async def main(reactor: Any) -> int:
        from mles_tx.client import MlesClient

        from .chat_screen import screen_for

        screen = screen_for(reactor, config.uid)
        cipher = await cipher_for(reactor, secret, config.channel)
        talk = Chat(screen, config.channel, config.uid, config.server.authority, cipher)
        client = MlesClient(config, reactor, talk)
        if cipher is None:
            talk.note("without a secret messages go in the clear; --ask-secret encrypts them")
        try:
            await talk.run(client)
        except BrokenPipeError:
            close_output()
        finally:
            await client.stopService()
        return 0

    def install() -> None:
        import asyncio

        from twisted.internet import asyncioreactor

        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)

    run("mles-tx chat", main, install, interrupted=0)  # that is how one leaves


@implementer(IClientListener)
class Chat:
    """A talk on a channel: shows what is said there, and says what is typed.

    Args:
        screen: an `IScreen`.
        channel: the channel.
        me: who sits here.
        server: the server, for people.
        cipher: seals and opens lines; None: they go in the clear.
    """

    def __init__(self, screen: Any, channel: str, me: str, server: str, cipher: "Cipher | None") -> None:
        self._screen = screen
        self._channel = channel
        self._me = me
        self._server = server
        self._cipher = cipher
        self._before = State.IDLE
        self._seen = DigestMemory()  # lines that have a time in them: what has the same payload is the same line

    async def run(self, client: "MlesClient") -> None:
        """Talk until nothing more is typed.

        Errors:
            ClientClosed: the client has to give up.
        """
        from mles_tx.client import ClientClosed

        closed = client.when_closed()
        if self._cipher is not None:
            from mles_tx.client.lines import sealed_join

            client.publish(sealed_join(self._cipher, self._me, self._channel)).addErrback(lambda _: None)
        client.startService()
        typing = Deferred.fromCoroutine(self._talk(client))
        waiting: Any = DeferredList([typing, closed], fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)
        try:
            _, index = await waiting
        except FirstError as error:
            error.subFailure.raiseException()
        finally:
            typing.cancel()
        if index == 1 and client.status.is_error:
            raise ClientClosed(client.status)
        with suppress(ClientClosed, CancelledError):
            if client.status.state is not State.CLOSED:
                await client.finish()

    async def _talk(self, client: "MlesClient") -> None:
        async for text in self._screen.typed():
            if text.strip():
                self._say(client, text)

    def _say(self, client: "MlesClient", text: str) -> None:
        from mles_tx.client.lines import Kind, Line, clear_line, sealed_line

        now = datetime.now(UTC)
        text = text.encode("utf-8", "replace").decode("utf-8")
        cipher = self._cipher
        data = clear_line(self._me, text, now) if cipher is None else sealed_line(cipher, self._me, text, now)
        try:
            client.publish(data).addErrback(lambda _: None)
        except ValueError:
            self.note("that is too long: one message may have 1 MiB; it was not sent")
            return
        self._show(Line(Kind.SAID, text, self._me, now, is_sealed=cipher is not None))

    def note(self, text: str) -> None:
        """Say something about the chat itself."""
        self._screen.show(shown_note(text))

    def _show(self, line: Any) -> None:
        has_secret = self._cipher is not None
        self._screen.show(shown_line(line, self._me, lambda: datetime.now(UTC), has_secret=has_secret))

    def message_received(self, message: Message) -> None:
        from mles_tx.client.lines import Kind, read

        line = read(message, self._channel, self._cipher)
        if line.kind is Kind.SAID and line.time is not None and not self._seen.add(self._digest(message)):
            return
        if line.kind is not Kind.JOINED or line.uid != self._me:
            self._show(line)

    def _digest(self, message: Message) -> int:
        """What a line with a time is known by: mles-client goes by the plaintext."""
        sealed = self._cipher is not None and message.is_binary
        return digest(self._cipher.open(message.payload)) if sealed and self._cipher else message.digest

    def status_changed(self, status: Status) -> None:
        text = status_note(status, self._server, self._before)
        self._before = status.state
        if text is not None:
            self.note(text)
