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
from mles_tx.transport.inherited import InheritedSockets, InheritError, SystemdSocket
from mles_tx.transport.port import BindError, ListeningPort, bind, usable

from .config import ServerConfig

__all__ = ["DRAIN_SECONDS", "PortService"]

#: Seconds after which whoever has not taken its close frame is cut off. A member that reads has it in a fraction.
DRAIN_SECONDS = 5.0


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

    Attributes:
        door: what every connection meets first.
        spread: seconds over which `tell_all` spreads what it says.
    """

    door: DoorFactory
    spread = 0.0

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig,
        number: int,
        option: str,
        wanted: Sequence[SystemdSocket] = (),
        wanted_by: str = "--listen",
        inherited: InheritedSockets | None = None,
    ) -> None:
        self._reactor = reactor
        self._config = config
        self._number = number
        self._option = option
        self._wanted = wanted
        self._wanted_by = wanted_by
        self._inherited = inherited or InheritedSockets()
        self._sockets: list[socket.socket] = []
        self._ports: list[ListeningPort] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Addresses and ports it listens on."""
        return [(port.getHost().host, port.getHost().port) for port in self._ports]

    @abstractmethod
    def make_port(self, bound: socket.socket) -> ListeningPort:
        """A port for a socket that listens."""

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
        if not self._config.listen:
            return
        if self._wanted:
            try:
                self._sockets = self._inherited.take(*self._wanted)
            except InheritError as error:
                raise BindError(f"{self._wanted_by} {error}") from None
            return
        interfaces = self._config.listen_interfaces
        if not self._config.interfaces:
            interfaces = usable(interfaces)
        self._sockets = bind(interfaces, self._number, self._option)

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
