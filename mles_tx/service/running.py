"""Running a server as a program: what an embedded one must not do to its process.

It says in one line why it cannot start, takes its time from a clock that nobody sets and as many descriptors as
it may have, gives up root once it has bound, announces itself, to the service manager as well, logs its metrics on
SIGUSR1, and ends at once when it is told twice to end.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from mles_tx.channels.history import HistoryError
from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.port import BindError

from .banner import banner
from .config import ServerConfig
from .notify import Notify
from .ports import DRAIN_SECONDS
from .privileges import PrivilegeError, become, hand_over, unusable
from .resources import raise_descriptor_limit
from .server import MlesService

__all__ = ["Program", "follow_monotonic_time"]


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
        environ: the environment.

    Attributes:
        notify: the service manager, to be told how it goes.
    """

    def __init__(
        self,
        config: ServerConfig,
        reactor: Any,
        announce: Callable[[str], object],
        environ: MutableMapping[str, str] = os.environ,
    ) -> None:
        raise_descriptor_limit()
        super().__init__(config, reactor)
        self._reactor = reactor
        self._announce = announce
        self._usr1_before: object = None
        self._ready: IDelayedCall | None = None
        self.notify = Notify(reactor, environ)
        for name in _ACTIVATION:
            environ.pop(name, None)

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except (BindError, CertificateError) as error:
            self._fail(str(error))
        if self.config.run_as is not None:
            self._give_up_root()

    def startService(self) -> None:
        if self.config.speaks_tls:
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
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGUSR1) != self._usr1:  # else it was started before
            self._usr1_before = signal.signal(signal.SIGUSR1, self._usr1)
        if self.notify.is_wanted:
            # Not before the reactor runs: from the moment it is ready, it can also be stopped.
            self._ready = self._reactor.callLater(0, self._tell_ready)

    def stopService(self) -> "Deferred[None]":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._told_again)
        if self._ready is not None and self._ready.active():
            self._ready.cancel()
        members = len(self.listener.websocket.connections)
        self.notify.stopping(f"telling {members} connections to go", self.config.drain + 2 * DRAIN_SECONDS)
        return super().stopService().addBoth(self._stopped)

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
            if self.config.speaks_tls and os.geteuid() == 0:
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

    def _told_again(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.abort)
