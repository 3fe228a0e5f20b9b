"""Everything between the sockets and the channels, as one service.

How it starts and stops is in `ports`.
"""

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mles_tx.channels.registry import ChannelRegistry
from mles_tx.metrics import Metrics
from mles_tx.protocol.closing import CloseReason
from mles_tx.transport.admission import Admission
from mles_tx.transport.connection import Settings
from mles_tx.transport.connections import MlesFactory
from mles_tx.transport.doors import PIECES_PER_TURN, DoorFactory
from mles_tx.transport.inherited import InheritedSockets
from mles_tx.transport.port import ListeningPort
from mles_tx.transport.proxyprotocol import ProxyProtocol
from mles_tx.transport.share import TurnShare
from mles_tx.transport.tcp import Preface
from mles_tx.web.bodies import BodyCache
from mles_tx.web.files import FileStock, SiteFiles
from mles_tx.web.hosts import make_site
from mles_tx.web.policy import Policy
from mles_tx.web.quick import QuickAnswers
from mles_tx.web.slots import FileSlots

from .certificates import CertificateService
from .config import ServerConfig
from .pages import bundled_pages
from .part import WHOLE, Part
from .ports import PortService
from .resources import connections_for, descriptor_limit, upstreams_for

if TYPE_CHECKING:
    from mles_tx.web.proxy import Proxy

__all__ = ["Listener"]

#: Seconds what was said last has to be stored before members are told to go, where it is stored first.
_SETTLE_SECONDS = 1.0


class Listener(PortService):
    """Everything between the sockets and the channels.

    Args:
        reactor: whose sockets these are.
        config: what to listen on, and what to show.
        registry: where members join.
        metrics: where connections are counted.
        certificates: what is shown to clients; it is started first.
        inherited: sockets that listen already, if the configuration asks for some.
        part: what this process has of the server.
    """

    _log = Logger()

    websocket: MlesFactory
    admission: Admission
    proxy: "Proxy | None"
    bodies: BodyCache

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig,
        registry: ChannelRegistry,
        metrics: Metrics,
        certificates: CertificateService,
        inherited: InheritedSockets | None = None,
        part: Part = WHOLE,
    ) -> None:
        super().__init__(
            reactor, config, config.listen_port, "--port", config.listen_on, "--listen", inherited, part.listening
        )
        self.spread = float(config.drain)
        self._has_told = False
        self._certificates = certificates
        self.websocket = MlesFactory(
            reactor,
            registry,
            _settings(config),
        )
        self._slots = FileSlots(config.filelimit)
        self.proxy = None
        if config.proxies:
            # Here, not above: who passes nothing on need not load what that takes.
            from mles_tx.web.proxy import Proxy

            self.proxy = Proxy(
                reactor,
                config.proxies,
                config.hosts,
                upstreams_for(descriptor_limit()),
                config.trusted,
                lambda client: self.admission.seconds_to_wait(client),
            )
        self.admission = Admission(
            reactor,
            metrics,
            config.connections_per_ip,
            config.seconds_per_ip,
            self._max_connections(config),
            config.trusted,
            only_trusted=config.proxy_protocol,
            make_window=part.make_window,
        )
        #: What every connection begins with, on this port and that of redirects; None: with nothing.
        self.proxy_header: Preface | None = (
            ProxyProtocol(self.admission, metrics).read_header if config.proxy_protocol else None
        )
        share = TurnShare(reactor, PIECES_PER_TURN, lambda: not self.websocket.connections)
        self.bodies = BodyCache(config.compression_cache * 1024 * 1024, self._in_thread)
        sites = self._sites(FileStock(self._slots, self.bodies, share))
        policy = Policy(config.speaks_tls, config.cors, certificates.demands_tls)
        self.door = DoorFactory(
            reactor,
            self.websocket,
            make_site(sites, policy),
            lambda: self.admission.is_full,
            QuickAnswers(sites, policy, time.time).answer,
            share,
            self.admission,
            self.proxy,
        )

    def change(self, config: ServerConfig) -> None:
        """Take over the limits, keys and origins of another configuration; connections go on."""
        self._config = config
        self.websocket.change(_settings(config))
        self._slots.change(config.filelimit)
        self.spread = float(config.drain)
        self.admission.change(config.connections_per_ip, config.seconds_per_ip, self._max_connections(config))

    def make_port(self, bound: socket.socket) -> ListeningPort:
        shown, preface = self._certificates.shown, self._certificates.preface
        return ListeningPort(bound, self.door, self._reactor, self.admission, shown, preface, self.proxy_header)

    async def settle(self) -> None:
        await self.websocket.registry.settle(_SETTLE_SECONDS)

    def tell_all(self) -> "Deferred[None]":
        # Who spreads the end over a while has somebody else take the members in: for them it is a restart.
        self._has_told = True
        is_restart = self.spread or self.is_restart
        reason = CloseReason.SERVER_RESTARTING if is_restart else CloseReason.SERVER_STOPPING
        if self.proxy is not None:
            self.proxy.close_all(reason, self.spread)
        return self.websocket.close_all(reason, self.spread)

    async def drain(self) -> None:
        await super().drain()
        self.websocket.stop()
        if self.proxy is not None:
            await self.proxy.stop()

    def abort(self) -> None:
        if not self._has_told:
            self.tell_all()
        self.websocket.close_rest()
        if self.proxy is not None:
            self.proxy.close_rest()
        self.websocket.abort_all()
        super().abort()

    def _max_connections(self, config: ServerConfig) -> int:
        descriptors = descriptor_limit()
        upstreams = 0 if self.proxy is None else upstreams_for(descriptors)
        return connections_for(descriptors - upstreams, config.filelimit)

    def _in_thread(self, make: Callable[[], bytes]) -> "Deferred[bytes]":
        made: Deferred[bytes] = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), make)
        return made

    def _sites(self, stock: FileStock) -> dict[str, SiteFiles]:
        config = self._config
        sites = {}
        for host, directory in config.hosts.items():
            root = bundled_pages() if config.wwwroot is None else config.wwwroot / directory
            if not root.is_dir():
                self._log.warn("{root} is not a directory: {host} has no pages", root=str(root), host=host)
            sites[host] = SiteFiles(root, stock)
        return sites


def _settings(config: ServerConfig) -> Settings:
    return Settings(
        keys=config.keys,
        ping_interval=config.ping_interval,
        max_missed_pongs=config.max_missed_pongs,
        rate_limit=config.rate_limit,
        history_limit=config.limit,
        origin_allowed=config.origin_allowed,
    )
