"""Listening on a UNIX socket: what a crash has left behind is replaced, what is in use is not.

Twisted's own port marks its socket with a lock file that stays behind when binding fails, lets everybody connect for a
moment, and never ends when somebody has removed its socket.
"""

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

from .port import BindError

__all__ = ["UnixPort", "bind_unix"]

#: Connections the kernel may hold for us.
_BACKLOG = 64

_REMEDIES = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another {option}",
    errno.EEXIST: "something that is no socket is there: remove it, or choose another {option}",
    errno.ENOENT: "its directory is not there: make it, or choose another {option}",
    errno.EACCES: "its directory cannot be written to: change that, or choose another {option}",
}


class UnixPort(unix.Port):
    """A port made from a socket that listens already; it belongs to the port from then on.

    Args:
        listening: the socket.
        factory: who builds the protocols.
        reactor: the reactor.
    """

    def __init__(self, listening: socket.socket, factory: IProtocolFactory, reactor: Any) -> None:
        path = listening.getsockname()
        status = os.lstat(path)
        super().__init__(path, factory, mode=stat.S_IMODE(status.st_mode), reactor=reactor)
        self._preexistingSocket = listening
        self._path = path
        self._identity = status.st_dev, status.st_ino

    def connectionLost(self, reason: Failure) -> None:
        # Not Twisted's own: it ends with an exception, and the port never, when the socket has been removed.
        with suppress(OSError):
            status = os.lstat(self._path)
            if (status.st_dev, status.st_ino) == self._identity:  # else it is another server's by now
                os.unlink(self._path)  # noqa: PTH108
        tcp.Port.connectionLost(self, reason)


def bind_unix(path: str, mode: int, option: str) -> socket.socket:
    """Listen on a UNIX socket.

    Args:
        path: where it is to be.
        mode: who may connect.
        option: what the operator may change when it cannot be listened on.

    Raises:
        BindError: it cannot be listened on.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        _remove_stale(path)
        before = os.umask(0o777 & ~mode)  # so that it is never open to more
        try:
            bound.bind(path)
        finally:
            os.umask(before)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        remedy = _REMEDIES.get(error.errno or 0, str(error.strerror)).format(option=option)
        raise BindError(f"cannot listen on {path}: {remedy}") from error
    return bound


def _remove_stale(path: str) -> None:
    """Remove a socket nobody listens on any more."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise FileExistsError(errno.EEXIST, "not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108
        except BlockingIOError:
            pass  # somebody is there, and busy: binding says so
