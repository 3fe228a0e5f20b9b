"""The cipher of a command."""

import sys
from io import StringIO
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli import cipher
from mles_tx.cli.client_running import Failed


class CipherTests(SynchronousTestCase):
    """With a secret and without."""

    def setUp(self) -> None:
        def at_once(_: object, call: Any, *args: Any) -> Deferred[Any]:
            return succeed(call(*args))

        self.patch(cipher, "in_daemon_thread", at_once)

    def made(self, secret: bytes | None) -> Deferred[Any]:
        return Deferred.fromCoroutine(cipher.cipher_for(None, secret, "example"))

    def test_secret(self) -> None:
        """Who has the same secret reads what was sealed."""
        one, other = (self.successResultOf(self.made(b"correct horse")) for _ in range(2))
        self.assertEqual(other.open(one.seal(b"x")), b"x")

    def test_none(self) -> None:
        """Without a secret there is no cipher."""
        self.assertIsNone(self.successResultOf(self.made(None)))

    def test_missing(self) -> None:
        """Without the extra the line says what to install, and no time is spent on a key."""
        there = {name: None for name in sys.modules if name.split(".")[0] == "nacl"}
        self.enterContext(patch.dict(sys.modules, {"nacl": None, **there}))
        self.patch(cipher, "in_daemon_thread", None)
        self.assertIn("pip install 'mles-tx[e2e]'", str(self.failureResultOf(self.made(b"x"), Failed).value))

    def test_clear(self) -> None:
        """Who sits at a terminal is told that messages go in the clear; a log is not."""
        for is_terminal in (True, False):
            err = StringIO()
            err.isatty = lambda is_terminal=is_terminal: is_terminal  # type: ignore[method-assign, misc]
            self.patch(sys, "stderr", err)
            cipher.tell_clear("mles-tx pub")
            self.assertEqual("in the clear" in err.getvalue(), is_terminal)
