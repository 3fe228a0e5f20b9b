"""What a server is given that is one of several processes, by the process that supervises them."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mles_tx.channels.registry import only_here
from mles_tx.transport.admission import MakeWindow, own_window

from .config import ServerConfig

__all__ = ["WHOLE", "Part", "share_of"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """What a process has of a server. What is left as it is makes it all of it.

    Attributes:
        listening: sockets of the port, which listen already; none: they are bound.
        redirecting: likewise those of redirects.
        read: gives what is in a file of the operator's that was read when there still was the right to.
        orders: whether certificates are ordered here.
        make_window: makes the table in which the connections of each address are counted, from a limit and seconds.
        count_channels: told how many channels there are here, says how many there are in all.
    """

    listening: Sequence[socket.socket] = ()
    redirecting: Sequence[socket.socket] = ()
    read: Callable[[Path], bytes] = Path.read_bytes
    orders: bool = True
    make_window: MakeWindow = own_window
    count_channels: Callable[[int], int] = only_here


#: A server in one process.
WHOLE = Part()


def share_of(config: ServerConfig, is_first: bool) -> ServerConfig:
    """What one of the processes is to be when all of them together are to be what a configuration says.

    Memory and open files are shared out evenly. Ports, users and the admin endpoint are the supervisor's.

    Args:
        config: what they are together.
        is_first: whether it has the redirect port as well.
    """
    workers = config.workers or 1
    return replace(
        config,
        workers=None,
        admin=None,
        run_as=None,
        metrics_logging=False,
        filelimit=max(1, config.filelimit // workers),
        compression_cache=config.compression_cache // workers or min(config.compression_cache, 1),
        history_total=max(1, config.history_bytes // workers // _MIB),
        redirect_port=config.redirect_port if is_first else None,
        redirect_on=config.redirect_on if is_first else (),
    )
