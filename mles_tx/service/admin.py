"""The admin endpoint as a service: bound early, there until everything else has ended.

Start: bind, a TCP port before root is given up and a UNIX socket after it, so that it belongs to the user who serves.
Stop: last of all, so that `/readyz` says for as long as members are drained that the server is stopping.
"""

import socket
from collections.abc import Callable
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.logger import Logger

from mles_tx.transport.doors import DoorFactory
from mles_tx.transport.port import ListeningPort, bind
from mles_tx.transport.unix import UnixPort, bind_unix
from mles_tx.web.admin import make_admin_site

from .endpoints import Endpoint
from .lag import ReactorLag

__all__ = ["MAX_CONNECTIONS", "AdminListener", "Watched"]

#: Connections at one time; as many more are told that there are too many. They come out of the descriptors that are
#: kept for everything but members.
MAX_CONNECTIONS = 12

#: Seconds somebody who asks at the very end has to take the answer.
_LAST_SECONDS = 1.0

_OPTION = "--admin"


class _AdminFactory(Factory):
    """Builds doors for so many connections and no more."""

    noisy = False

    def __init__(self, door: DoorFactory) -> None:
        self._door = door

    def logPrefix(self) -> str:  # noqa: N802
        return "listener"  # the line of a UNIX socket has its path

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        return self._door.buildProtocol(addr) if len(self._door.doors) < 2 * MAX_CONNECTIONS else None


class Watched(Protocol):
    """Whose state is told."""

    def not_ready(self) -> list[str]: ...

    def warnings(self) -> list[str]: ...


class AdminListener(Service):
    """Answers operators, Prometheus, and whoever restarts what does not live.

    Args:
        reactor: whose sockets these are.
        server: whose state it tells.
        endpoint: where.
        registry_for: makes what `/metrics` shows, from the lag of the reactor.
        refresh: called before something is told, and waited for; None: nothing has to be waited for.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        server: Watched,
        endpoint: Endpoint,
        registry_for: Callable[[ReactorLag], CollectorRegistry],
        refresh: Callable[[], "Deferred[None]"] | None = None,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._socket: socket.socket | None = None
        self._port: Port | None = None
        self.lag = ReactorLag(reactor)
        site = make_admin_site(registry_for(self.lag), server.not_ready, server.warnings, refresh)
        self.door = DoorFactory(reactor, None, site, lambda: len(self.door.doors) >= MAX_CONNECTIONS)

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens; before the start, where it is to listen."""
        if self._port is None or self._endpoint.path:
            return self._endpoint
        host = self._port.getHost()
        return Endpoint(host.host, host.port)

    def privilegedStartService(self) -> None:
        """Bind what may need root.

        Raises:
            BindError: it cannot be listened on.
        """
        super().privilegedStartService()
        if not self._endpoint.path:
            (self._socket,) = bind((self._endpoint.interface,), self._endpoint.port, _OPTION, _OPTION)

    def startService(self) -> None:
        """Answer.

        Raises:
            BindError: it cannot be listened on.
        """
        if self.running:
            return
        if self._endpoint.path:
            self._socket = bind_unix(self._endpoint.path, self._endpoint.mode, _OPTION)
        elif self._socket is None:
            self.privilegedStartService()
        super().startService()
        bound, self._socket = self._socket, None
        assert bound is not None
        kind = UnixPort if self._endpoint.path else ListeningPort
        self._port = kind(bound, _AdminFactory(self.door), self._reactor)
        self._port.startListening()
        self.lag.startService()
        self._log.info("metrics and readiness are answered on {endpoint}", endpoint=str(self.endpoint))

    def abort(self) -> None:
        """Cut off whoever is still there."""
        self.door.abort_all()

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._socket is not None:  # it was never started
            self._socket.close()
            self._socket = None
        if self._port is not None:
            port, self._port = self._port, None
            await port.stopListening()
            self.lag.stopService()
        self.door.finish_all()
        cut = self._reactor.callLater(_LAST_SECONDS, self.abort)
        await self.door.when_empty()
        if cut.active():
            cut.cancel()
        self.door.stop()
