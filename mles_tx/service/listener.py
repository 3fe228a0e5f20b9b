"""Everything between the sockets and the channels, as one service.

Start: bind, which may need root; then, with root given up, accept. Stop: no more connections, members told, drained
over a grace, the rest cut off.
"""

import socket
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger

from mles_tx.channels.registry import ChannelRegistry
from mles_tx.metrics import Metrics
from mles_tx.protocol.closing import CloseReason
from mles_tx.transport.admission import Admission
from mles_tx.transport.connection import MlesFactory, Settings
from mles_tx.transport.door import DoorFactory
from mles_tx.transport.port import ListeningPort, bind, usable
from mles_tx.web.files import SiteFiles
from mles_tx.web.hosts import make_site
from mles_tx.web.proxy import Proxy

from .certificates import CertificateService
from .config import ServerConfig
from .pages import bundled_pages
from .resources import connections_for, descriptor_limit, upstreams_for

__all__ = ["DRAIN_SECONDS", "Listener"]

#: Seconds after which whoever has not taken its close frame is cut off. A member that reads has it in a fraction.
DRAIN_SECONDS = 5.0


class Listener(Service):
    """Everything between the sockets and the channels.

    Args:
        reactor: whose sockets these are.
        config: what to listen on, and what to show.
        registry: where members join.
        metrics: where connections are counted.
        certificates: what is shown to clients; it is started first.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig,
        registry: ChannelRegistry,
        metrics: Metrics,
        certificates: CertificateService,
    ) -> None:
        self._reactor = reactor
        self._config = config
        self._sockets: list[socket.socket] = []
        self._ports: list[ListeningPort] = []
        self._certificates = certificates
        self.websocket = MlesFactory(
            reactor,
            registry,
            Settings(
                key=config.key,
                ping_interval=config.ping_interval,
                max_missed_pongs=config.max_missed_pongs,
                rate_limit=config.rate_limit,
                origin_allowed=config.origin_allowed,
            ),
        )
        self.proxy: Proxy | None = None
        upstreams = 0
        if config.proxies:
            upstreams = upstreams_for(descriptor_limit())
            self.proxy = Proxy(reactor, config.proxies, config.hosts, upstreams)
        self.admission = Admission(
            reactor,
            metrics,
            config.connections_per_ip,
            config.per_ip_window,
            connections_for(descriptor_limit() - upstreams, config.filelimit),
        )
        self.door = DoorFactory(
            reactor, self.websocket, make_site(self._sites()), lambda: self.admission.is_full, self.proxy
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Addresses and ports it listens on."""
        return [(port.getHost().host, port.getHost().port) for port in self._ports]

    def privilegedStartService(self) -> None:
        """Bind: what may need root.

        Raises:
            BindError: an address cannot be listened on.
        """
        super().privilegedStartService()
        if not self._config.listen:
            return
        interfaces = self._config.listen_interfaces
        if not self._config.interfaces:
            interfaces = usable(interfaces)
        self._sockets = bind(interfaces, self._config.listen_port)

    def startService(self) -> None:
        """Accept connections."""
        if not self._sockets:
            self.privilegedStartService()
        super().startService()
        shown, preface = self._certificates.shown, self._certificates.preface
        for bound in self._sockets:
            port = ListeningPort(bound, self.door, self._reactor, self.admission, shown, preface)
            port.startListening()
            self._ports.append(port)
        self._sockets = []

    async def drain(self) -> None:
        """Stop accepting, tell everybody, and wait until they have gone, or have been cut off."""
        await DeferredList([port.stopListening() for port in self._ports], consumeErrors=True)
        self._ports = []
        for bound in self._sockets:  # of a server that was never started
            bound.close()
        self._sockets = []
        gone = self.websocket.close_all(CloseReason.SERVER_STOPPING)
        self.door.finish_all()
        cut = self._reactor.callLater(DRAIN_SECONDS, self.abort)
        await gone
        await self.door.when_empty()
        if cut.active():
            cut.cancel()
        self.websocket.stop()
        self.door.stop()
        if self.proxy is not None:
            await self.proxy.stop()

    def abort(self) -> None:
        """End what is left of a drain now."""
        self.websocket.abort_all()
        self.door.abort_all()

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        return Deferred.fromCoroutine(self.drain())

    def _sites(self) -> dict[str, SiteFiles]:
        config = self._config
        slots = DeferredSemaphore(config.filelimit)
        sites = {}
        for host, directory in config.hosts.items():
            root = bundled_pages() if config.wwwroot is None else config.wwwroot / directory
            if not root.is_dir():
                self._log.warn("{root} is not a directory: {host} has no pages", root=str(root), host=host)
            sites[host] = SiteFiles(root, slots)
        return sites
