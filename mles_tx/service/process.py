"""A service that has its process to itself: what an embedded one must not do.

It says in one line why it cannot start, has as many descriptors as it may, gives up root once it has bound,
announces itself, to the service manager as well, logs its metrics on SIGUSR1, replaces processes on SIGUSR2, reads its
settings again on SIGHUP, and ends at once when it is told twice to end.
It must not know whether it serves by itself or has others do it.
"""

import os
import signal
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, MutableMapping
from math import inf
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from mles_tx.channels.history import HistoryError
from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.port import BindError

from .binding import DRAIN_SECONDS
from .changing import Change
from .config import ConfigError, ServerConfig
from .early import release_signals
from .logs import Log
from .notify import Notify
from .parsing import one_line
from .privileges import PrivilegeError, become, hand_over, unusable
from .resources import raise_descriptor_limit

__all__ = ["OwnProcess"]

#: The signals that end the process.
_ENDING = (signal.SIGINT, signal.SIGTERM)

#: Standard output and error.
_OUTPUT = (1, 2)

#: What concerns this process alone, and must not be found by a child.
_ACTIVATION = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class OwnProcess(Service):
    """The base of a service that has its process to itself; beside it stands what it does there.

    Args:
        reactor: where it is to run.
        announce: called with each line of the banner.
        log: where it logs. Under twistd it takes the place of twistd's own; else it has to be in place already. None:
            that is somebody else's business.
        environ: the environment.

    Attributes:
        config: what it is at the moment.
        notify: the service manager, to be told how it goes.
    """

    _log = Logger()
    config: ServerConfig

    def __init__(
        self,
        reactor: Any,
        announce: Callable[[str], object],
        log: Log | None,
        environ: MutableMapping[str, str],
    ) -> None:
        raise_descriptor_limit()
        self._reactor = reactor
        self._announce = announce
        self._program_log = log
        self._is_to_reread = False
        self._is_changing = False
        self._terminal: int | None = None
        self._usr1_before: object = None
        self._hup_before: object = None
        self._ending_before: dict[int, object] = {}
        self._is_in_a_hurry = False  # it was told to end more than once
        self._ready: IDelayedCall | None = None
        self.notify = Notify(reactor, environ)
        for name in _ACTIVATION:
            environ.pop(name, None)

    # -- what is done there

    @property
    @abstractmethod
    def port(self) -> int:
        """Where it serves, once it does."""

    @property
    @abstractmethod
    def connections(self) -> int:
        """How many WebSocket connections there are, about."""

    @abstractmethod
    def change(self) -> "list[Change] | Deferred[list[Change]]":
        """Read the settings again, and change to them; see `MlesService.reload`.

        Returns:
            What has changed, at once or as soon as it has.

        Raises:
            CertificateError, ConfigError, UsageError: they cannot be used; then nothing has changed.
        """

    @abstractmethod
    def restart(self) -> None:
        """Have new processes go on with what this one does, as far as there are such."""

    @abstractmethod
    def log_metrics(self) -> None:
        """Log the metrics now."""

    @abstractmethod
    def cut_off(self) -> None:
        """Cut off whoever is still there; for when stopping takes too long."""

    # -- its life

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

    def look_after_log(self) -> None:
        """Write what the log holds back; called now and then."""
        if self._program_log is not None:
            self._program_log.settle(time.time())

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
            signal.signal(signal.SIGUSR2, self._usr2)
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

    def serves(self, banner: Iterable[str]) -> None:
        """Tell everybody that it serves: to be called once connections are accepted.

        Args:
            banner: lines for whoever has started it.
        """
        for line in banner:
            self._announce(line)
        if os.geteuid() == 0:
            self._log.warn(
                "running as root: --run-as USER gives that up once the ports are bound; docs/operations.md says how to"
                " start without it"
            )
        if self.notify.is_wanted:
            # Not before the reactor runs: from the moment it is ready, it can also be stopped.
            self._ready = self._reactor.callLater(0, self.tell_ready)

    def reread(self) -> None:
        """Read the settings again, and change to them; when that cannot be done, nothing changes.

        Whoever waits for the end of it finds the new ones everywhere.
        """
        if self._is_changing:
            return  # to be read again as soon as that is done
        self._is_to_reread = False
        if not self.running:
            return
        if self._has_lost_terminal():
            signal.raise_signal(signal.SIGTERM)
            return
        self._is_changing = True
        self.notify.reloading()
        maybeDeferred(self.change).addCallbacks(self._changed, self._not_changed).addCallback(self._change_is_over)

    def _changed(self, told: list[Change]) -> None:
        waiting = sum(change.needs_restart for change in told)
        self._log.info(
            "settings read again: {changed} changed, {waiting} need a restart",
            changed=len(told) - waiting,
            waiting=waiting,
        )

    def _not_changed(self, failure: Failure) -> None:
        if failure.check(CertificateError, ConfigError, usage.UsageError):
            self._log.error("the settings stay as they were: {error}", error=one_line(str(failure.value)))
        else:
            self._log.failure("the settings could not be read again", failure)

    def _change_is_over(self, _: None) -> None:
        self._is_changing = False
        if self._is_to_reread:
            self.reread()
        elif self.running:
            self.tell_ready()

    def _reread_if_asked(self) -> None:
        if self._is_to_reread:  # else it was done when the change before was over
            self.reread()

    def stopService(self) -> "Deferred[None]":
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING:
                signal.signal(number, self._told_again)
        if self._ready is not None and self._ready.active():
            self._ready.cancel()
        members = self.connections
        self.notify.stopping(f"telling {members} connections to go", self.config.drain + 2 * DRAIN_SECONDS)
        stopped: Deferred[None] = super().stopService().addBoth(self._stopped)
        if self._is_in_a_hurry:
            self._reactor.callLater(0, self.cut_off)
        return stopped

    def _stopped(self, result: Any) -> Any:
        self.notify.stop()
        if self._program_log is not None:
            self._program_log.settle(inf)  # nothing is held back any longer
        return result

    def tell_ready(self) -> None:
        """Tell the service manager that it serves."""
        self.notify.ready(f"serving on port {self.port}")

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
        self._reactor.callFromThread(self.log_metrics)

    def _usr2(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.restart)

    def _has_lost_terminal(self) -> bool:
        """Whether SIGHUP means what it did at first: whoever has started this in a terminal has closed that."""
        is_to_stay = self._hup_before is signal.SIG_IGN  # nohup
        return self._terminal is not None and not is_to_stay and not os.isatty(self._terminal)

    def _hup(self, number: int, frame: FrameType | None) -> None:
        if callable(self._hup_before):
            self._hup_before(number, frame)
        if not self._is_to_reread:  # what has changed until then is read then
            self._is_to_reread = True
            self._reactor.callFromThread(self._reread_if_asked)

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
            self._reactor.callLater(0, self.cut_off)
