"""Running a server of several processes as a program: the process that was started supervises the others."""

import os
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python import usage
from twisted.python.failure import Failure

from mles_tx.transport.certificates.pairs import CertificateError

from ..changing import Change
from ..config import ConfigError, ServerConfig
from ..logs import Log
from ..options import Options
from ..parsing import one_line
from ..process import OwnProcess
from .supervision import Supervision

__all__ = ["Supervisor"]


class Supervisor(OwnProcess, Supervision):
    """A server of several processes that has this one to itself.

    Args:
        options: the settings as they were given.
        config: what they say.
        reactor: where it is to run.
        announce: called with each line of the banner.
        log: where it logs, as for a `Program`.
        environ: the environment.

    Attributes:
        failure: why it has ended by itself; empty: it has not.
    """

    def __init__(
        self,
        options: Options,
        config: ServerConfig,
        reactor: Any,
        announce: Callable[[str], object],
        log: Log | None = None,
        environ: MutableMapping[str, str] = os.environ,
    ) -> None:
        Supervision.__init__(self, options, config, reactor)
        OwnProcess.__init__(self, reactor, announce, log, environ)
        self._is_to_change = False
        self._is_to_replace = False
        self.failure = ""

    @property
    def port(self) -> int:
        return self.listening_port

    @property
    def connections(self) -> int:
        return self.members_connected

    def log_metrics(self) -> None:
        self.tell_metrics()

    def served(self, banner: Sequence[str]) -> None:
        self.serves(banner)

    def cannot_start(self, why: str) -> None:
        if not self.failure:
            self.failure = one_line(why)
            self.notify.status(self.failure)
            self._reactor.callLater(0, self._reactor.stop)

    def take_over(self, config: ServerConfig) -> None:
        super().take_over(config)
        self.set_log_level(config.log_level)

    def change(self) -> "Deferred[list[Change]]":
        return self.reload(self._options.reread())

    def reread(self) -> None:
        if self._is_replacing:
            self._is_to_change = True  # when all of them have the same settings
        else:
            super().reread()

    def restart(self) -> None:
        if not self.running or self._state:
            return
        if self._is_replacing:
            self._is_to_replace = True
            return
        try:
            replacing = self.replace(self._options.reread())
        except (CertificateError, ConfigError, usage.UsageError) as error:
            self._log.error("no worker is replaced: {error}", error=one_line(str(error)))
        except Exception:
            self._log.failure("no worker is replaced: the settings could not be read again")
        else:
            self._tell_replacing()
            replacing.addCallback(self._replaced).addErrback(self._failed)

    def tell_ready(self) -> None:
        super().tell_ready()
        if self._is_replacing:  # a change was under way when that began
            self._tell_replacing()

    def _tell_replacing(self) -> None:
        self.notify.status(f"replacing {self.config.workers} workers, one after another")

    def cut_off(self) -> None:
        self.abort()

    @property
    def _is_replacing(self) -> bool:
        return self.crew is not None and self.crew.is_rolling

    def _replaced(self, is_done: bool) -> None:
        if not self.running:
            return
        if is_done:
            self._log.info("all workers are replaced")
        self.tell_ready()
        if self._is_to_change:
            self._is_to_change = False
            self.reread()
        if self._is_to_replace:
            self._is_to_replace = False
            self.restart()

    def _failed(self, failure: Failure) -> None:
        self._log.failure("the workers could not be replaced", failure)
