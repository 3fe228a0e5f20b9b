"""A server inside somebody else's program: start it, look at it, stop it.

The reactor is a parameter, and nothing of the process is touched: no signal handlers, no log set-up, no clock.
"""

from typing import Any

from twisted.internet.defer import Deferred, succeed

from mles_tx.metrics import MetricsSnapshot

from .changing import Change
from .config import ServerConfig
from .server import MlesService

__all__ = ["ServerHandle", "run"]


class ServerHandle:
    """A server that runs.

    Attributes:
        service: the server itself, with `publish`, `join` and `resource`.
    """

    def __init__(self, service: MlesService) -> None:
        self.service = service
        self._ended: list[Deferred[None]] = []
        self._requested = False
        self._has_ended = False

    @property
    def address(self) -> tuple[str, int]:
        """The first address it listens on, and the port.

        Raises:
            LookupError: it does not listen (`listen=False`), or not any more.
        """
        return self.service.listener.addresses[0]

    def metrics(self) -> MetricsSnapshot:
        """Its metrics now."""
        return self.service.metrics()

    def reload(self, config: ServerConfig) -> list[Change]:
        """Change to another configuration without losing anybody: see `MlesService.reload`.

        Raises:
            CertificateError: a certificate file cannot be used; then nothing has changed.
        """
        return self.service.reload(config)

    def shutdown(self) -> "Deferred[None]":
        """Stop it: members are told and drained. Any number of times.

        Returns:
            A Deferred that fires when nothing of it is left.
        """
        if not self._requested:
            self._requested = True
            self.service.stopService().addCallback(self._end)
        return self.wait_for_shutdown()

    def is_shutdown_requested(self) -> bool:
        """Whether it has been told to stop."""
        return self._requested

    def wait_for_shutdown(self) -> "Deferred[None]":
        """A Deferred that fires when it has stopped, whoever stops it. Cancelling it stops nothing."""
        if self._has_ended:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._ended.remove)
        self._ended.append(waiting)
        return waiting

    def _end(self, _: object) -> None:
        self._has_ended = True
        ended, self._ended = self._ended, []
        for waiting in ended:
            waiting.callback(None)


async def _start(config: ServerConfig, reactor: Any, shutdown: "Deferred[Any] | None") -> ServerHandle:
    service = MlesService(config, reactor)
    try:
        service.privilegedStartService()
        service.startService()
    except BaseException:
        await service.stopService()  # what had been started
        raise
    handle = ServerHandle(service)
    if shutdown is not None:
        shutdown.addBoth(lambda result: (handle.shutdown(), result)[1])
    return handle


def run(config: ServerConfig, reactor: Any, shutdown: "Deferred[Any] | None" = None) -> "Deferred[ServerHandle]":
    """Start a server.

    Args:
        config: what it is to be; `port=0` takes a free port.
        reactor: where it is to run.
        shutdown: stops it when it fires, with whatever result, which is passed on.

    Returns:
        A Deferred of its handle; it fails with `BindError` or `CertificateError` when it cannot start.
    """
    return Deferred.fromCoroutine(_start(config, reactor, shutdown))
