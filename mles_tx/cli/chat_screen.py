"""Where a chat is typed and shown: a terminal with line editing, or pipes.

Both take lines from somebody and show messages meanwhile. prompt_toolkit is an extra, imported for a terminal alone.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

from .chat_lines import NAME_STYLES, Shown, plain
from .client_running import Failed
from .input import InputReader
from .threads import in_daemon_thread

__all__ = ["IScreen", "PipeScreen", "TerminalScreen", "screen_for"]

#: Bytes of a line that is read from a pipe.
_LINE_BYTES = 1024 * 1024 + 2


class IScreen(Interface):
    """Where somebody types and reads."""

    def show(shown: Shown) -> None:
        """Show a message above what is being typed."""

    def typed() -> AsyncIterator[str]:
        """What somebody says, until he has nothing more to say."""


@implementer(IScreen)
class PipeScreen:
    """Standard input and output as they are: a line is a message.

    Args:
        reactor: the reactor; reading happens in a thread.
        source: what is read.
    """

    def __init__(self, reactor: Any, source: InputReader) -> None:
        self._reactor = reactor
        self._input = source

    def show(self, shown: Shown) -> None:
        sys.stdout.buffer.write(plain(shown).encode("utf-8", "replace") + b"\n")
        sys.stdout.flush()

    async def typed(self) -> AsyncIterator[str]:
        while True:
            data = await in_daemon_thread(self._reactor, self._input.line, _LINE_BYTES)
            if not data:
                return
            yield data.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")


@implementer(IScreen)
class TerminalScreen:
    """A terminal, with prompt_toolkit: editing, what was typed before, and pastes of many lines as one message.

    Args:
        me: who types.

    Raises:
        Failed: prompt_toolkit is not installed.
    """

    def __init__(self, me: str) -> None:
        try:
            from prompt_toolkit import PromptSession
            from prompt_toolkit.key_binding import KeyBindings
            from prompt_toolkit.patch_stdout import patch_stdout
            from prompt_toolkit.styles import Style
        except ImportError:
            raise Failed("on a terminal chat needs prompt_toolkit: pip install 'mles-tx[chat]'") from None
        self._style = Style.from_dict(
            {name: name for name in NAME_STYLES}
            | {"time": "ansibrightblack", "note": "ansibrightblack italic", "me": "bold", "prompt": "bold"}
        )
        self._patch_stdout = patch_stdout
        bindings = KeyBindings()

        @bindings.add("c-@")
        def leave(event: Any) -> None:
            # A Ctrl-D pressed while a message is shown arrives as NUL: the terminal has taken it for an end of input.
            if not event.current_buffer.text:
                event.app.exit(exception=EOFError)

        self._session: Any = PromptSession(
            [("class:prompt", f"{me}> ")],
            style=self._style,
            erase_when_done=True,
            reserve_space_for_menu=0,
            key_bindings=bindings,
        )

    def show(self, shown: Shown) -> None:
        from prompt_toolkit import print_formatted_text
        from prompt_toolkit.formatted_text import FormattedText

        pieces = [(f"class:{style}" if style else "", text) for style, text in shown.pieces]
        print_formatted_text(FormattedText(pieces), style=self._style)

    async def typed(self) -> AsyncIterator[str]:
        loop = asyncio.get_event_loop()
        with self._patch_stdout():
            while True:
                asking = asyncio.ensure_future(self._session.prompt_async(handle_sigint=False), loop=loop)
                try:
                    text: str = await Deferred.fromFuture(asking)
                except (EOFError, KeyboardInterrupt):
                    return
                yield text


def screen_for(reactor: Any, me: str) -> Any:
    """The screen there is: a terminal when both ends are one.

    Raises:
        Failed: what it needs is not installed.
    """
    if sys.stdin.isatty() and sys.stdout.isatty():
        return TerminalScreen(me)
    return PipeScreen(reactor, InputReader(0))
