"""Running a server as a program: what an embedded one must not do to its process.

It says in one line why it cannot start, takes its time from a clock that nobody sets and as many descriptors as
it may have, gives up root once it has bound, announces itself, to the service manager as well, logs its metrics on
SIGUSR1, reads its settings again on SIGHUP, and ends at once when it is told twice to end.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from mles_tx.channels.history import HistoryError
from mles_tx.transport.certificates.pairs import CertificateError, Pair
from mles_tx.transport.port import BindError

from .banner import banner
from .config import ConfigError, ServerConfig
from .early import release_signals
from .logs import Log
from .notify import Notify
from .parsing import one_line
from .ports import DRAIN_SECONDS
from .privileges import PrivilegeError, become, hand_over, unusable
from .resources import raise_descriptor_limit
from .server import MlesService

__all__ = ["Program", "follow_monotonic_time"]

#: The signals that end the process.
_ENDING = (signal.SIGINT, signal.SIGTERM)

#: Standard output and error.
_OUTPUT = (1, 2)


def follow_monotonic_time(reactor: Any) -> None:
    """Let a reactor's timers follow the time since the machine started, before the first one is set.

    Twisted's follow the wall clock: when that is set back they stand still, when it is set forward all of
    them are due at once.
    """
    reactor.seconds = time.monotonic


#: What concerns this process alone, and must not be found by a child.
_ACTIVATION = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Program(MlesService):
    """A server that has its process to itself.

    Args:
        config: what it is to be.
        reactor: where it is to run.
        announce: called with each line of the banner.
        log: where it logs. Under twistd it takes the place of twistd's own; else it has to be in place already. None:
            that is somebody else's business.
        environ: the environment.
        reread: called on SIGHUP for what it is to be from then on; None: the same, but files are read again.

    Attributes:
        notify: the service manager, to be told how it goes.
    """

    def __init__(
        self,
        config: ServerConfig,
        reactor: Any,
        announce: Callable[[str], object],
        log: Log | None = None,
        environ: MutableMapping[str, str] = os.environ,
        reread: Callable[[], ServerConfig] | None = None,
    ) -> None:
        raise_descriptor_limit()
        super().__init__(config, reactor)
        self._reactor = reactor
        self._announce = announce
        self._program_log = log
        self._reread = reread
        self._is_to_reread = False
        self._terminal: int | None = None
        self._usr1_before: object = None
        self._hup_before: object = None
        self._ending_before: dict[int, object] = {}
        self._is_in_a_hurry = False  # it was told to end more than once
        self._ready: IDelayedCall | None = None
        self.notify = Notify(reactor, environ)
        for name in _ACTIVATION:
            environ.pop(name, None)

    def setServiceParent(self, parent: Any) -> None:  # noqa: N802
        if self._program_log is not None and isinstance(parent, Componentized):  # twistd's application
            parent.setComponent(ILogObserver, self._program_log)
        super().setServiceParent(parent)

    def set_log_level(self, level: str) -> None:
        """Log from another level on; nothing happens when the log is somebody else's.

        Args:
            level: one of `LOG_LEVELS`.

        Raises:
            ValueError: it is none of them.
        """
        if self._program_log is not None:
            self._program_log.set_level(level)

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except (BindError, CertificateError) as error:
            self._fail(str(error))
        if self.config.run_as is not None:
            self._give_up_root()

    def startService(self) -> None:
        # First of all: who reads that it serves may send a signal at once, and it would be the end.
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGUSR1) != self._usr1:  # else it was started before
            self._usr1_before = signal.signal(signal.SIGUSR1, self._usr1)
            self._hup_before = signal.signal(signal.SIGHUP, self._hup)
            self._terminal = next(filter(os.isatty, _OUTPUT), None)  # not before: twistd lets go of it
        if is_main:
            release_signals()
            self._is_in_a_hurry = False
            self._reactor.callWhenRunning(self._take_ending)  # behind the reactor, which takes them when it starts
        if self.config.uses_cache:
            self._look_at_cache()
        try:
            super().startService()
        except (BindError, CertificateError) as error:
            self._fail(str(error))
        except HistoryError as error:
            self._fail(f"--history {'sqlite:' if isinstance(self.config.history, Path) else ''}{error}")
        lines = banner(
            self.config,
            self.listener.addresses[0][1],
            self.listener.admission.max_connections,
            self.certificates.states(),
            None if self.redirect is None else self.redirect.addresses[0][1],
        )
        for line in lines:
            self._announce(line)
        if os.geteuid() == 0:
            self._log.warn(
                "running as root: --run-as USER gives that up once the ports are bound; docs/operations.md says how to"
                " start without it"
            )
        if self.notify.is_wanted:
            # Not before the reactor runs: from the moment it is ready, it can also be stopped.
            self._ready = self._reactor.callLater(0, self._tell_ready)

    def reread(self) -> None:
        """Read the settings again, and change to them; when that cannot be done, nothing changes."""
        self._is_to_reread = False
        if not self.running:
            return
        if self._has_lost_terminal():
            signal.raise_signal(signal.SIGTERM)
            return
        self.notify.reloading()
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
        self._tell_ready()

    def take_over(self, config: ServerConfig, pairs: Sequence[Pair]) -> None:
        super().take_over(config, pairs)
        self.set_log_level(config.log_level)

    def stopService(self) -> "Deferred[None]":
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING:
                signal.signal(number, self._told_again)
        if self._ready is not None and self._ready.active():
            self._ready.cancel()
        members = len(self.listener.websocket.connections)
        self.notify.stopping(f"telling {members} connections to go", self.config.drain + 2 * DRAIN_SECONDS)
        stopped = super().stopService().addBoth(self._stopped)
        if self._is_in_a_hurry:
            self._reactor.callLater(0, self.abort)
        return stopped

    def _stopped(self, result: Any) -> Any:
        self.notify.stop()
        return result

    def _tell_ready(self) -> None:
        self.notify.ready(f"serving on port {self.listener.addresses[0][1]}")

    def _fail(self, why: str) -> NoReturn:
        self.notify.status(why)
        raise SystemExit(f"mles: {why}") from None

    def _give_up_root(self) -> None:
        account = self.config.run_as
        assert account is not None
        try:
            if self.config.uses_cache and os.geteuid() == 0:
                hand_over(self.config.cache, account)
            become(account)
        except OSError as error:
            self._fail(f"--cache {self.config.cache}: {error.strerror}; give a directory that can be made")
        except PrivilegeError as error:
            self._fail(f"--run-as {account}: {error}")

    def _look_at_cache(self) -> None:
        """What root has left behind there would be found out much later, when a certificate has to be renewed."""
        found = unusable(self.config.cache)
        if found is not None:
            self._fail(
                f"--cache {self.config.cache}: user {os.geteuid()} cannot use {found}: give it all to that user"
                f" (chown -R {os.geteuid()}), or give another directory"
            )

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

    def _take_ending(self) -> None:
        for number in _ENDING:
            before = signal.getsignal(number)
            if callable(before) and before not in (self._told, self._told_again):
                self._ending_before[number] = before
                signal.signal(number, self._told)

    def _told(self, number: int, frame: FrameType | None) -> None:
        """The first signal is for the reactor, which stops; no other one may reach it: it would have a fault to log."""
        for each in _ENDING:
            signal.signal(each, self._told_again)
        before = self._ending_before[number]
        if callable(before):
            before(number, frame)

    def _told_again(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._hurry)

    def _hurry(self) -> None:
        self._is_in_a_hurry = True
        if not self.running:  # it has begun to end; everybody is told in this turn, and cut off then
            self._reactor.callLater(0, self.abort)
