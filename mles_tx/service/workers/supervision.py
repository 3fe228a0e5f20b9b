"""A server whose members are served by other processes: how it stands with them, and what they are to be.

It stands where `MlesService` stands in a server of one process, and answers the same questions for all of them
together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ..binding import DRAIN_SECONDS
from ..certificates import changed_pairs
from ..changing import Change, changes, tell, with_live_of
from ..config import ConfigError, ServerConfig
from ..exported import server_name
from ..options import Options
from ..parsing import one_line
from .bound import bound_changes
from .crew import Crew
from .held import Held
from .totals import Totals, make_totals_registry

if TYPE_CHECKING:
    from ..admin import AdminListener

__all__ = ["Supervision"]

#: Seconds between two lines of metrics, as of a server in one process.
_ROUND_SECONDS = 10.0

#: Seconds a worker has beyond what its members have: to store what was said, and to end.
_SPARE_SECONDS = 4.0


class Supervision(MultiService):
    """A server of several processes.

    Args:
        options: the settings as they were given.
        config: what they say.
        reactor: where it is to run.

    Attributes:
        config: what it is at the moment.
        held: what the workers are passed.
        crew: the workers; None: they were not started yet.
        admin: where is told how it stands; None: nowhere.
    """

    _log = Logger()
    config: ServerConfig

    def __init__(self, options: Options, config: ServerConfig, reactor: Any) -> None:
        super().__init__()
        self.config = config
        self._reactor = reactor
        self._options = options
        self._state = "not started"
        self._totals = Totals()
        self._timer: IDelayedCall | None = None
        self.crew: Crew | None = None
        self.admin = self._make_admin()
        self.held = Held(reactor, config)
        self.held.setServiceParent(self)

    def _make_admin(self) -> "AdminListener | None":
        if self.config.admin is None:
            return None
        # Here, not above: it takes a tenth of a second.
        from ..admin import AdminListener

        name = server_name(self.config)
        admin = AdminListener(
            self._reactor,
            self,
            self.config.admin,
            lambda lag: make_totals_registry(name, self._totals, self._reports, lag),
            self._ask,
        )
        admin.setServiceParent(self)
        return admin

    # -- how it stands

    @property
    def listening_port(self) -> int:
        """Where it serves, once it does."""
        number: int = self.held.listening[0].getsockname()[1]
        return number

    @property
    def members_connected(self) -> int:
        """How many WebSocket connections there were when that was last looked at."""
        return sum(report["snapshot"]["active_connections"] for report in self._reports())

    def not_ready(self) -> list[str]:
        """Why this server cannot do all it is there for, a line each; empty: it can."""
        if self._state:
            return [self._state]
        children = [] if self.crew is None else self.crew.serving
        if not children:
            return ["no worker serves at the moment"]
        stuck = [f"worker {child.number} does not answer" for child in children if child.is_late]
        return stuck + self._said("not_ready")

    def warnings(self) -> list[str]:
        """What will keep this server from being ready unless something is done, a line each."""
        missing = [] if self.crew is None else self.crew.missing
        return [f"worker {number} is being started" for number in missing] + self._said("warnings")

    def _said(self, what: str) -> list[str]:
        """What workers say about themselves; what all of them say is said once."""
        said: dict[str, list[int]] = {}
        children = [] if self.crew is None else self.crew.serving
        for child in children:
            for line in child.report[what] if child.report is not None else ():
                said.setdefault(line, []).append(child.number)
        return [
            line if len(numbers) == len(children) else f"worker {', '.join(map(str, numbers))}: {line}"
            for line, numbers in said.items()
        ]

    def _reports(self) -> list[Mapping[str, Any]]:
        children = [] if self.crew is None else self.crew.children
        return [child.report for child in children if child.report is not None]

    def _ask(self) -> "Deferred[None]":
        return succeed(None) if self.crew is None else self.crew.ask()

    def look_after_log(self) -> None:
        """Called every ten seconds, to write what is held back; the log of an embedded server is its program's."""

    def tell_metrics(self) -> None:
        """Ask all workers, and log the metrics."""
        self._ask().addCallback(lambda _: self._log_metrics())

    def _log_metrics(self) -> None:
        self._log.info("metrics: {metrics}", metrics=self._totals.snapshot(self._reports()))

    def _round(self) -> None:
        self._timer = self._reactor.callLater(_ROUND_SECONDS, self._round)
        self.look_after_log()
        asked = self._ask()
        if self.config.metrics_logging:
            asked.addCallback(lambda _: self._log_metrics())

    # -- start

    def startService(self) -> None:
        """Start the workers as soon as the reactor runs.

        Raises:
            BindError: an address cannot be listened on.
            CertificateError: the cache directory cannot be used.
        """
        super().startService()
        for left in self.held.left_over():
            self._log.warn("socket {left} was passed, and no --listen names it: nobody answers there", left=left)
        self._state = "starting"
        self._timer = self._reactor.callLater(_ROUND_SECONDS, self._round)
        number = self.config.workers or 1
        self.crew = Crew(self._reactor, number, self.held.launch, self, self._totals, self.held.counts)
        # Not before the reactor runs: until then it does not notice that a process ends.
        self._reactor.callWhenRunning(self.crew.start, self.held.given(self._options))

    def all_serving(self) -> None:
        self._state = ""
        children = [] if self.crew is None else self.crew.serving
        banner = next((child.banner for child in children if child.place == 0), [])
        self.served([*banner, f"{self.config.workers} processes serve"])

    def served(self, banner: Sequence[str]) -> None:
        """All workers accept connections; lines for whoever has started the server."""

    def cannot_start(self, why: str) -> None:
        """A worker has not come up, so that the server does not either."""

    def freed(self, slot: int) -> None:
        self.held.freed(slot)

    # -- changes

    def reload(self, options: Options) -> "Deferred[list[Change]]":
        """Change to other settings, in all workers; see `MlesService.reload`.

        Returns:
            A Deferred that fires with what has changed, and what is to change but needs a restart: when all workers
            have it, or have said why they cannot.

        Raises:
            CertificateError: a file cannot be used; then nothing has changed anywhere.
            ConfigError: the settings do not fit together; likewise.
            UsageError: an option cannot be made sense of; likewise.
        """
        config = options.config()
        told = changes(self.config, config)
        config = with_live_of(self.config, config)
        before = self.held.pairs
        told += changed_pairs(before, self.held.read_again(config))
        self.take_over(config)
        tell(self._log, told)
        if self.crew is None:
            return succeed(told)
        return self.crew.change(self.held.given(options)).addCallback(self._taken_over, told)

    def take_over(self, config: ServerConfig) -> None:
        """Be what a configuration says, in all that is done here."""
        self.config = config

    def _taken_over(self, faults: Sequence[str], told: list[Change]) -> list[Change]:
        for line in faults:
            self._log.error("the settings stay as they were in {line}", line=one_line(line))
        return told

    def replace(self, options: Options) -> "Deferred[bool]":
        """Replace all workers, one after another, by new ones of the version that is installed, with other settings.

        Returns:
            A Deferred that fires with whether all were replaced.

        Raises:
            CertificateError, ConfigError, UsageError: as `reload`.
        """
        config = options.config()
        bound = bound_changes(self.config, config)
        if bound:
            raise ConfigError(f"{bound[0]} takes a whole restart; end the server and start it again")
        before = self.held.pairs
        told = changes(self.config, config) + changed_pairs(before, self.held.read_again(config))
        self.held.prepare(config)
        tell(self._log, [replace(change, needs_restart=False) for change in told])
        self.take_over(config)
        self._log.info("{workers} workers are replaced, one after another", workers=config.workers)
        if self.crew is None:
            return succeed(False)
        return Deferred.fromCoroutine(self.crew.roll(self.held.given(options), self._seconds))

    # -- end

    @property
    def _seconds(self) -> float:
        """How long a worker may take to end."""
        return self.config.drain + DRAIN_SECONDS + _SPARE_SECONDS

    def abort(self) -> None:
        """Cut off whoever is still there; for when stopping takes too long."""
        if self.crew is not None:
            self.crew.abort()
        if self.admin is not None:
            self.admin.abort()

    def stopService(self) -> "Deferred[None]":
        """Stop, the workers first.

        Returns:
            A Deferred that fires when no process, timer or descriptor is left.
        """
        self._state = "stopping"
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await maybeDeferred(self.held.stopService)
        if self.crew is not None:
            await self.crew.stop(self._seconds)
        self.held.let_go()
        if self.admin is not None:
            await self.admin.stopService()
