"""The redirect port as a service: bound early, drained at the end.

Start: bind, which may need root; then, with root given up, accept. Stop: no more connections, what is being
answered is answered, the rest is cut off after a grace.
"""

import socket
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList

from mles_tx.transport.admission import Admission
from mles_tx.transport.door import DoorFactory
from mles_tx.transport.port import ListeningPort, bind, usable
from mles_tx.web.redirect import make_redirect_site

from .config import ServerConfig
from .listener import DRAIN_SECONDS

__all__ = ["RedirectListener"]


class RedirectListener(Service):
    """Sends browsers from http to https, and answers HTTP-01.

    Args:
        reactor: whose sockets these are.
        config: which hosts there are, and on which addresses.
        port: where to listen; 0: one that is free.
        admission: who is let in: that of the TLS port. The descriptors it shares out belong to the whole process, and
            a source address has as many connections on both ports together as it may have.
        https_port: asked at each request for the TLS port.
        challenge: asked for the answer to a challenge's token; None: there is none.
    """

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig,
        port: int,
        admission: Admission,
        https_port: Callable[[], int],
        challenge: Callable[[str], bytes | None] = lambda token: None,
    ) -> None:
        self._reactor = reactor
        self._config = config
        self._port = port
        self._admission = admission
        self._sockets: list[socket.socket] = []
        self._ports: list[ListeningPort] = []
        site = make_redirect_site(config.hosts, https_port, challenge)
        self.door = DoorFactory(reactor, None, site, lambda: admission.is_full)

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
        interfaces = self._config.listen_interfaces
        if not self._config.interfaces:
            interfaces = usable(interfaces)
        self._sockets = bind(interfaces, self._port, "--redirect-port")

    def startService(self) -> None:
        """Accept connections.

        Raises:
            BindError: an address cannot be listened on.
        """
        if not self._sockets:
            self.privilegedStartService()
        super().startService()
        for bound in self._sockets:
            port = ListeningPort(bound, self.door, self._reactor, self._admission)
            port.startListening()
            self._ports.append(port)
        self._sockets = []

    async def drain(self) -> None:
        """Stop accepting, and wait until everybody has gone, or has been cut off."""
        await DeferredList([port.stopListening() for port in self._ports], consumeErrors=True)
        self._ports = []
        for bound in self._sockets:  # of a server that was never started
            bound.close()
        self._sockets = []
        self.door.finish_all()
        cut = self._reactor.callLater(DRAIN_SECONDS, self.abort)
        await self.door.when_empty()
        if cut.active():
            cut.cancel()
        self.door.stop()

    def abort(self) -> None:
        """End what is left of a drain now."""
        self.door.abort_all()

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        return Deferred.fromCoroutine(self.drain())
