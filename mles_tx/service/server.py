"""The service tree: built from a configuration, started and stopped in an order of our own.

    MlesService
     ├ AdminListener       port or socket → door → metrics and readiness, if asked for
     ├ ChannelService      the history and the registry of channels
     ├ CertificateService  the operator's certificates, or ACME and what serves until it is done
     ├ Listener            ports → admission → PROXY header → TLS → door → WebSocket | web
     ├ RedirectListener    port → door → redirects and HTTP-01, if asked for
     └ Housekeeping        metrics logged, tables shrunk

Start: read the operator's files and bind, which may need root; then, with root given up, all the rest, and
accept. Stop goes the other way round, one after the other (MultiService would stop all at once): no more
connections, members told and drained, then the certificates and the channels; last the admin endpoint, which says so
meanwhile.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mles_tx.channels.claims import IClaims
from mles_tx.channels.history import IHistory
from mles_tx.channels.local import LocalMember, Received, encode_own
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.metrics import Metrics, MetricsSnapshot
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.header import make_header
from mles_tx.transport.certificates.pairs import Pair
from mles_tx.transport.inherited import InheritedSockets
from mles_tx.web.mount import MlesResource

from .certificates import CertificateService, changed_pairs, read_pairs_again
from .changing import Change, changes, tell, with_live_of
from .config import ConfigError, ServerConfig
from .history import make_history
from .listener import Listener
from .part import WHOLE, Part
from .redirect import RedirectListener
from .resources import has_descriptors

if TYPE_CHECKING:
    from .admin import AdminListener

__all__ = ["ChannelService", "Housekeeping", "MlesService"]

#: Seconds between two lines of metrics, as in the reference server.
_ROUND_SECONDS = 10.0


class ChannelService(Service):
    """The channels: what is said in them, and what they remember.

    Args:
        reactor: whose channels these are.
        config: how much is remembered.
        metrics: where messages are counted.
        part: what this process has of the server.
    """

    history: IHistory
    registry: ChannelRegistry

    def __init__(self, reactor: Any, config: ServerConfig, metrics: Metrics, part: Part = WHOLE) -> None:
        self.history = make_history(reactor, config)
        claims = self.history if IClaims.providedBy(self.history) else None
        self.registry = ChannelRegistry(
            reactor, self.history, metrics, config.max_channels, claims, part.count_channels
        )

    def change(self, config: ServerConfig) -> None:
        """Remember as much as another configuration says."""
        self.history.change(config.limit, config.history_bytes)
        self.registry.max_channels = config.max_channels

    def startService(self) -> None:
        if self.running:
            return
        self.history.open()
        super().startService()
        self.registry.start()

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        self.registry.stop()
        return self.history.close()


class Housekeeping(Service):
    """What is done every now and then, whether anybody comes or not: metrics logged, tables shrunk.

    Args:
        reactor: whose time it is.
        server: whose house it is.
    """

    _log = Logger()

    def __init__(self, reactor: Any, server: "MlesService") -> None:
        self._reactor = reactor
        self._server = server
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._timer = self._reactor.callLater(_ROUND_SECONDS, self._round)

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def log_metrics(self) -> None:
        """Log the metrics now."""
        self._log.info("metrics: {metrics}", metrics=self._server.metrics())

    def _round(self) -> None:
        self._timer = self._reactor.callLater(_ROUND_SECONDS, self._round)
        self._server.listener.admission.sweep()
        self._server.look_after_log()
        if self._server.config.metrics_logging:
            self.log_metrics()


class MlesService(MultiService):
    """A Mles server, to be started by twistd or as a child of an application's own services.

    Args:
        config: what it is to be.
        reactor: where it is to run.
        part: what this process has of a server that has several.

    Attributes:
        config: what it is at the moment.

    Raises:
        ConfigError: it is to have several processes; only a program of its own has.
    """

    _log = Logger()
    config: ServerConfig
    channels: ChannelService
    listener: Listener

    def __init__(self, config: ServerConfig, reactor: Any, part: Part = WHOLE) -> None:
        if config.workers is not None:
            raise ConfigError("--workers: only twistd and mles-tx serve start processes; leave it away")
        super().__init__()
        self.config = config
        self._metrics = Metrics()
        self._state = "not started"
        self.admin = self._make_admin(reactor)
        self.channels = ChannelService(reactor, config, self._metrics, part)
        self.channels.setServiceParent(self)
        self.certificates = CertificateService(reactor, config, part.read, part.orders)
        self.certificates.setServiceParent(self)
        self._inherited = InheritedSockets()
        self.listener = Listener(
            reactor, config, self.channels.registry, self._metrics, self.certificates, self._inherited, part
        )
        self.listener.setServiceParent(self)
        self.redirect: RedirectListener | None = None
        if config.redirects and config.listen:
            self.redirect = RedirectListener(
                reactor,
                config,
                config.redirect_port or 0,
                self.listener.admission,
                lambda: self.listener.addresses[0][1],
                self.certificates.challenge,
                self._inherited,
                self.listener.proxy_header,
                part.redirecting,
            )
            self.redirect.setServiceParent(self)
        self.housekeeping = Housekeeping(reactor, self)
        self.housekeeping.setServiceParent(self)

    def look_after_log(self) -> None:
        """Called every ten seconds, to write what is held back; the log of an embedded server is its program's."""

    def _make_admin(self, reactor: Any) -> "AdminListener | None":
        if self.config.admin is None:
            return None
        # Here, not above: it takes a tenth of a second.
        from .admin import AdminListener
        from .exported import make_registry

        admin = AdminListener(reactor, self, self.config.admin, lambda lag: make_registry(self, lag))
        admin.setServiceParent(self)
        return admin

    @property
    def counts(self) -> Metrics:
        """The numbers as they are counted."""
        return self._metrics

    def metrics(self) -> MetricsSnapshot:
        """The metrics now."""
        self._metrics.total_channels = self.channels.registry.count_channels()
        states = self.certificates.states()
        counts = self.channels.history.counts()
        self._metrics.history_waiting = counts.waiting
        self._metrics.history_lost = counts.lost
        self._metrics.history_faults = counts.faults
        self._metrics.certificate_ends = {state.domain: state.not_valid_after.timestamp() for state in states}
        self._metrics.certificate_errors = {state.domain: state.error for state in states if state.error is not None}
        return self._metrics.snapshot()

    @property
    def is_serving(self) -> bool:
        """Whether it has started, and was not told to stop."""
        return not self._state

    def not_ready(self) -> list[str]:
        """Why this server cannot do all it is there for, a line each; empty: it can.

        It says so from the moment it is told to stop, before anything else happens.
        """
        if self._state:
            return [self._state]
        reasons = self.certificates.not_ready() + self.channels.history.not_ready()
        admission = self.listener.admission
        if admission.is_full:
            reasons.append(f"full: there are {admission.open} connections, as many as there are descriptors for")
        elif not has_descriptors():
            reasons.append("the process, or the system, has no descriptors left")
        return reasons

    def warnings(self) -> list[str]:
        """What will keep this server from being ready unless something is done, a line each."""
        return self.certificates.ending()

    def reload(self, config: ServerConfig) -> list[Change]:
        """Change to another configuration without losing anybody: as far as that can be done without a restart.

        The operator's certificate files are read anew, also when they are called the same. What needs a restart keeps
        its old value. All of it is logged.

        Returns:
            What has changed, and what is to change but needs a restart.

        Raises:
            CertificateError: a file cannot be used; then nothing has changed.
        """
        told = changes(self.config, config)
        config = with_live_of(self.config, config)
        pairs = read_pairs_again(config) if config.listen else []
        told += changed_pairs(self.certificates.pairs, pairs)
        self.take_over(config, pairs)
        tell(self._log, told)
        return told

    def take_over(self, config: ServerConfig, pairs: Sequence[Pair]) -> None:
        """Be what a configuration says, in all that can change; it was looked at, so that nothing can go wrong.

        Args:
            config: what the server is to be.
            pairs: what is in its certificate files; empty: it has none.
        """
        self.config = config
        self.channels.change(config)
        self.listener.change(config)
        if pairs:
            self.certificates.show(config, pairs)

    def abort(self) -> None:
        """Cut off whoever is still there; for when stopping takes too long."""
        self.listener.abort()
        if self.redirect is not None:
            self.redirect.abort()
        if self.admin is not None:
            self.admin.abort()

    def resource(self) -> MlesResource:
        """A resource to mount where WebSocket clients are to find this server in a site that exists already."""
        return MlesResource(self.listener.websocket, self.config.trusted)

    def publish(self, channel: str, message: str | bytes, uid: str = "server") -> None:
        """Say something on a channel: to all its members, and to its history.

        Args:
            channel: its name, printable ASCII.
            message: text, or bytes for a binary message; at most 1 MiB.
            uid: who says it, for `since`; printable ASCII.

        Raises:
            ValueError: the channel, the uid or the message is not what a client could send.
            ProtocolViolation: SERVER_FULL, there are too many channels.
        """
        frame = encode_own(message)
        header = make_header(uid, channel)
        self.channels.registry.announce(header.channel, header.uid, frame)

    async def join(
        self,
        channel: str,
        uid: str,
        received: Received,
        closed: Callable[[CloseReason], object] | None = None,
        history: int | None = None,
    ) -> LocalMember:
        """Be a member without a socket.

        Args:
            channel: its name, printable ASCII.
            uid: who joins; printable ASCII.
            received: called with each message, first those of the history: text as str, others as bytes.
            closed: called with the reason when the server ends the membership.
            history: at most that many of the last messages; None: all there is, with the join frames.

        Raises:
            ValueError: the channel or the uid is not what a client could send.
            ProtocolViolation: UID_TAKEN or SERVER_FULL.
        """
        member = LocalMember(self.channels.registry, received, closed)
        await maybeDeferred(self.channels.registry.join, make_header(uid, channel, history), member)
        return member

    def startService(self) -> None:
        """Accept connections, and do all that takes no root.

        Raises:
            BindError: an address cannot be listened on.
            CertificateError: the cache directory cannot be used.
            HistoryError: the history cannot be used.
        """
        super().startService()
        self._state = ""
        if self.config.listen_on or self.config.redirect_on:
            for left in self._inherited.left_over():
                self._log.warn("socket {left} was passed, and no --listen names it: nobody answers there", left=left)

    def stopService(self) -> "Deferred[None]":
        """Stop, listener first.

        Returns:
            A Deferred that fires when no connection, timer or descriptor is left.
        """
        self._state = "stopping"
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        ports = [self.listener] if self.redirect is None else [self.listener, self.redirect]
        await DeferredList([port.stopService() for port in ports], consumeErrors=True)
        self._inherited.give_back()
        self.housekeeping.stopService()
        await self.certificates.stopService()
        await self.channels.stopService()
        if self.admin is not None:
            await self.admin.stopService()
