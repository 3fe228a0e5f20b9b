"""Where a chat is typed and shown. The terminal itself is driven in tests/integration/test_chatting.py."""

import sys
from io import BytesIO, TextIOWrapper
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from mles_tx.cli import chat_screen
from mles_tx.cli.chat_lines import Shown
from mles_tx.cli.chat_screen import IScreen, PipeScreen, TerminalScreen, screen_for
from mles_tx.cli.client_running import Failed
from mles_tx.cli.input import InputReader


class PipeTests(SynchronousTestCase):
    """Through pipes."""

    def test_pipe(self) -> None:
        """A line is a message, however it ends and whatever is in it; what is shown is a line."""
        pieces = [b"one\ntwo\r\n\xff\nlast", b""]
        self.patch(chat_screen, "InputReader", lambda _: InputReader(0, lambda *_: pieces.pop(0) if pieces else b""))
        self.patch(sys, "stdin", TextIOWrapper(BytesIO()))
        out = BytesIO()
        self.patch(sys, "stdout", TextIOWrapper(out))

        def at_once(_: object, call: Any, *args: Any) -> Deferred[Any]:
            return succeed(call(*args))

        self.patch(chat_screen, "in_daemon_thread", at_once)
        screen = screen_for(None, "me")
        self.assertIsInstance(screen, PipeScreen)

        async def typed() -> list[str]:
            return [line async for line in screen.typed()]

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(typed())), ["one", "two", "\ufffd", "last"])
        screen.show(Shown((("time", "12:00 "), ("", "grüß"))))
        self.assertEqual(out.getvalue(), "12:00 grüß\n".encode())

    def test_interface(self) -> None:
        """Both screens are ones."""
        verifyClass(IScreen, PipeScreen)
        verifyClass(IScreen, TerminalScreen)

    def test_missing(self) -> None:
        """Without the extra the line says what to install."""
        there = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "prompt_toolkit"}
        self.addCleanup(sys.modules.update, there)
        for name in [*there, "prompt_toolkit"]:
            sys.modules[name] = None  # type: ignore[assignment]
        self.assertIn("pip install 'mles-tx[chat]'", str(self.assertRaises(Failed, TerminalScreen, "me")))
        if not there:
            del sys.modules["prompt_toolkit"]
