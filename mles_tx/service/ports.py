"""The life of a service's listening sockets: bound early, accepting later, drained at the end.

Start: bind, which may need root; then, with root given up, accept. Stop: no more connections, those that are there
told, the rest cut off after a grace. It must not know what is said on them.
"""

import socket
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed

from mles_tx.transport.doors import DoorFactory
from mles_tx.transport.inherited import InheritedSockets, SystemdSocket
from mles_tx.transport.port import ListeningPort

from .binding import DRAIN_SECONDS, bind_for
from .config import ServerConfig

__all__ = ["PortService"]

#: Seconds a connection that was accepted has to say what it wants before another process goes on.
_ARRIVE_SECONDS = 2.0


class PortService(Service):
    """Listening sockets that all lead to one door: the base of the services that have some.

    Args:
        reactor: whose sockets these are.
        config: on which addresses.
        number: the port's number; 0: one that is free.
        option: what the operator may change when it cannot be listened on.
        wanted: sockets that listen already, instead of an address and a number.
        wanted_by: the option that asks for them.
        inherited: where those are.
        listening: sockets that listen already and belong to it, instead of all that.

    Attributes:
        door: what every connection meets first.
        spread: seconds over which `tell_all` spreads what it says.
        is_restart: whether another process goes on with the same sockets. Then whoever was accepted is heard first.
    """

    door: DoorFactory
    spread = 0.0
    is_restart = False

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig,
        number: int,
        option: str,
        wanted: Sequence[SystemdSocket] = (),
        wanted_by: str = "--listen",
        inherited: InheritedSockets | None = None,
        listening: Sequence[socket.socket] = (),
    ) -> None:
        self._reactor = reactor
        self._config = config
        self._number = number
        self._option = option
        self._wanted = wanted
        self._wanted_by = wanted_by
        self._inherited = inherited or InheritedSockets()
        self._sockets = list(listening)
        self._ports: list[ListeningPort] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Addresses and ports it listens on."""
        return [(port.getHost().host, port.getHost().port) for port in self._ports]

    @abstractmethod
    def make_port(self, bound: socket.socket) -> ListeningPort:
        """A port for a socket that listens."""

    async def settle(self) -> None:
        """Wait until everybody has what was said until now."""

    def tell_all(self) -> "Deferred[None]":
        """Tell everybody who has left the door behind that it is over.

        Returns:
            A Deferred that fires when the last of them has gone.
        """
        return succeed(None)

    def privilegedStartService(self) -> None:
        """Bind: what may need root.

        Raises:
            BindError: an address cannot be listened on.
        """
        super().privilegedStartService()
        if not self._config.listen or self._sockets:
            return
        self._sockets = bind_for(
            self._config, self._number, self._option, self._wanted, self._wanted_by, self._inherited
        )

    def startService(self) -> None:
        """Accept connections.

        Raises:
            BindError: an address cannot be listened on.
        """
        if not self._sockets:
            self.privilegedStartService()
        super().startService()
        for bound in self._sockets:
            port = self.make_port(bound)
            port.startListening()
            self._ports.append(port)
        self._sockets = []

    async def drain(self) -> None:
        """Stop accepting, tell everybody, and wait until they have gone, or have been cut off."""
        ports, self._ports = self._ports, []
        await DeferredList([port.stopListening() for port in ports], consumeErrors=True)
        for bound in self._sockets:  # of a server that was never started
            bound.close()
        self._sockets = []
        if self.is_restart:
            await self.door.when_arrived(_ARRIVE_SECONDS)
        await self.settle()
        gone = self.tell_all()
        self.door.finish_all()
        cut = self._reactor.callLater(self.spread + DRAIN_SECONDS, self.abort)
        await gone
        await self.door.when_empty()
        if cut.active():
            cut.cancel()
        self.door.stop()
        for port in ports:
            port.departures.stop()

    def abort(self) -> None:
        """End what is left of a drain now."""
        self.door.abort_all()

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        return Deferred.fromCoroutine(self.drain())
