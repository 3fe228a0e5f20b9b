"""All connections of a server: what they share, what the operator changes about them, and how they end."""

from collections.abc import Sequence
from secrets import token_hex

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from mles_tx.channels.deadlines import Deadlines
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.extensions import EXTENSIONS_HEADER, Extensions
from mles_tx.protocol.header import HEADER_SECONDS

from .connection import MlesConnection, Settings
from .drain import Drain
from .heartbeat import Heartbeat
from .websocket import WebSocketConnection, WebSocketFactory

__all__ = ["MlesFactory"]


class MlesFactory(WebSocketFactory):
    """Builds connections, and holds what they share.

    Args:
        clock: the reactor, or a `Clock` in tests.
        registry: where they join; connections and faults are counted in its metrics.
        settings: what the operator set.

    Attributes:
        strangers: who is not a member yet; until its first frame, and then as long again until it is let in.
    """

    protocol = MlesConnection

    def __init__(self, clock: IReactorTime, registry: ChannelRegistry, settings: Settings) -> None:
        super().__init__(clock, settings.origin_allowed)
        self._run = token_hex(8)
        self.registry = registry
        self.metrics = registry.metrics
        self.settings = settings
        self._say_extensions()
        self.heartbeat = Heartbeat(clock, settings.ping_interval)
        self.strangers = Deadlines[MlesConnection](clock, HEADER_SECONDS, MlesConnection.stayed_out)
        self._empty: Deferred[None] | None = None
        self._drain: Drain[WebSocketConnection] | None = None

    def forget(self, connection: WebSocketConnection) -> None:
        super().forget(connection)
        self.metrics.active_connections = len(self.connections)
        if not self.connections and self._empty is not None:
            empty, self._empty = self._empty, None
            self._stop_drain()
            empty.callback(None)

    def change(self, settings: Settings) -> None:
        """Take over other settings: for those who come, and for everybody who is here."""
        before, self.settings = self.settings, settings
        self._say_extensions()
        self.origin_allowed = settings.origin_allowed
        if settings.ping_interval != before.ping_interval:
            self.heartbeat.change(settings.ping_interval)
        if (settings.keys, settings.rate_limit) != (before.keys, before.rate_limit):
            for connection in self.connections:
                if isinstance(connection, MlesConnection):
                    connection.change(before, settings)

    def _say_extensions(self) -> None:
        """Have every answer to an upgrade say what this server knows."""
        extensions = str(Extensions(self.settings.history_limit, self._run))
        self.headers = {EXTENSIONS_HEADER: extensions}
        self.more_headers = f"{EXTENSIONS_HEADER}: {extensions}\r\n".encode("ascii")

    def close_all(self, reason: CloseReason, seconds: float = 0.0) -> "Deferred[None]":
        """Tell everybody that it is over, and before that deliver to them what was said.

        Args:
            reason: what they are told.
            seconds: over how long that is spread; who is not told yet is served as ever.

        Returns:
            A Deferred that fires when the last connection is gone: within `CLOSE_SECONDS` after the last was told.
        """

        def tell(connections: Sequence[WebSocketConnection]) -> None:
            self.registry.flush()
            for connection in connections:
                connection.close(reason)

        self.registry.flush()
        self._drain = Drain(self.clock, self.connections, seconds, tell)
        self._drain.start()
        if not self.connections:
            self._stop_drain()
            return succeed(None)
        self._empty = Deferred()
        return self._empty

    def close_rest(self) -> None:
        """Tell those whom `close_all` has not told yet, now."""
        if self._drain is not None:
            self._drain.finish()

    def _stop_drain(self) -> None:
        if self._drain is not None:
            self._drain.stop()
            self._drain = None

    def stop(self) -> None:
        super().stop()
        self._stop_drain()
        self.heartbeat.stop()
        self.strangers.stop()
