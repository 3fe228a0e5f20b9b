"""The sockets a port listens on, and how long its members have at the end; without what happens on them.

A supervisor has this alone: importing it imports no Autobahn.
"""

import socket
from collections.abc import Sequence

from mles_tx.transport.inherited import InheritedSockets, InheritError, SystemdSocket
from mles_tx.transport.port import BindError, bind, usable

from .config import ServerConfig

__all__ = ["DRAIN_SECONDS", "bind_for"]

#: Seconds after which whoever has not taken its close frame is cut off. A member that reads has it in a fraction.
DRAIN_SECONDS = 5.0


def bind_for(
    config: ServerConfig,
    number: int,
    option: str,
    wanted: Sequence[SystemdSocket],
    wanted_by: str,
    inherited: InheritedSockets,
) -> list[socket.socket]:
    """The sockets a port is to listen on: bound, or taken over.

    Args:
        config: on which addresses.
        number: the port's number; 0: one that is free.
        option: what the operator may change when it cannot be listened on.
        wanted: sockets that listen already, instead of an address and a number.
        wanted_by: the option that asks for them.
        inherited: where those are.

    Raises:
        BindError: an address cannot be listened on, or a socket is not there.
    """
    if wanted:
        try:
            return inherited.take(*wanted)
        except InheritError as error:
            raise BindError(f"{wanted_by} {error}") from None
    interfaces = config.listen_interfaces
    return bind(interfaces if config.interfaces else usable(interfaces), number, option)
