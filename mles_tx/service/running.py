"""Running a server as a program: what an embedded one must not do to its process.

It says in one line why it cannot start, takes its time from a clock that nobody sets and as many descriptors as
it may have, announces itself, logs its metrics on SIGUSR1, reads its settings again on SIGHUP, and ends at once when it
is told twice to end.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python import usage

from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.port import BindError

from .banner import banner
from .config import ConfigError, ServerConfig
from .parsing import one_line
from .resources import raise_descriptor_limit
from .server import MlesService

__all__ = ["Program", "follow_monotonic_time"]

#: Standard output and error.
_OUTPUT = (1, 2)


def follow_monotonic_time(reactor: Any) -> None:
    """Let a reactor's timers follow the time since the machine started, before the first one is set.

    Twisted's follow the wall clock: when that is set back they stand still, when it is set forward all of
    them are due at once.
    """
    reactor.seconds = time.monotonic


class Program(MlesService):
    """A server that has its process to itself.

    Args:
        config: what it is to be.
        reactor: where it is to run.
        announce: called with each line of the banner.
        reread: called on SIGHUP for what it is to be from then on; None: the same, but files are read again.
    """

    def __init__(
        self,
        config: ServerConfig,
        reactor: Any,
        announce: Callable[[str], object],
        reread: Callable[[], ServerConfig] | None = None,
    ) -> None:
        raise_descriptor_limit()
        super().__init__(config, reactor)
        self._reactor = reactor
        self._announce = announce
        self._reread = reread
        self._is_to_reread = False
        self._terminal: int | None = None
        self._usr1_before: object = None
        self._hup_before: object = None

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except (BindError, CertificateError) as error:
            raise SystemExit(f"mles: {error}") from None

    def startService(self) -> None:
        # First of all: who reads that it serves may send a signal at once, and it would be the end.
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGUSR1) != self._usr1:  # else it was started before
            self._usr1_before = signal.signal(signal.SIGUSR1, self._usr1)
            self._hup_before = signal.signal(signal.SIGHUP, self._hup)
            self._terminal = next(filter(os.isatty, _OUTPUT), None)  # not before: twistd lets go of it
        try:
            super().startService()
        except (BindError, CertificateError) as error:
            raise SystemExit(f"mles: {error}") from None
        lines = banner(
            self.config,
            self.listener.addresses[0][1],
            self.listener.admission.max_connections,
            self.certificates.states(),
            None if self.redirect is None else self.redirect.addresses[0][1],
        )
        for line in lines:
            self._announce(line)

    def reread(self) -> None:
        """Read the settings again, and change to them; when that cannot be done, nothing changes."""
        self._is_to_reread = False
        if not self.running:
            return
        if self._has_lost_terminal():
            signal.raise_signal(signal.SIGTERM)
            return
        try:
            told = self.reload(self.config if self._reread is None else self._reread())
        except (CertificateError, ConfigError, usage.UsageError) as error:
            self._log.error("the settings stay as they were: {error}", error=one_line(str(error)))
        except Exception:
            self._log.failure("the settings could not be read again")
        else:
            waiting = sum(change.needs_restart for change in told)
            self._log.info(
                "settings read again: {changed} changed, {waiting} need a restart",
                changed=len(told) - waiting,
                waiting=waiting,
            )

    def stopService(self) -> "Deferred[None]":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._told_again)
        return super().stopService()

    def _usr1(self, number: int, frame: FrameType | None) -> None:
        # twistd rotates its log file on this signal, and keeps doing so.
        if callable(self._usr1_before):
            self._usr1_before(number, frame)
        self._reactor.callFromThread(self.housekeeping.log_metrics)

    def _has_lost_terminal(self) -> bool:
        """Whether SIGHUP means what it did at first: whoever has started this in a terminal has closed that."""
        is_to_stay = self._hup_before is signal.SIG_IGN  # nohup
        return self._terminal is not None and not is_to_stay and not os.isatty(self._terminal)

    def _hup(self, number: int, frame: FrameType | None) -> None:
        if callable(self._hup_before):
            self._hup_before(number, frame)
        if not self._is_to_reread:  # what has changed until then is read then
            self._is_to_reread = True
            self._reactor.callFromThread(self.reread)

    def _told_again(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.abort)
