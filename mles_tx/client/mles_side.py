"""A side of a bridge that is a channel of a Mles server."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from .bridge import Bridge
from .client import MlesClient
from .config import ClientConfig
from .interfaces import IClientListener, IHeldHistory, Message, State, Status
from .replay import who_joins
from .side import ISideLink

__all__ = ["MlesSide"]


@implementer(ISideLink, IClientListener, IHeldHistory)
class MlesSide:
    """A member that hears and speaks for a bridge.

    Args:
        config: where to, and as whom; repeated messages have to be passed on, but for those of a replay.
        bridge: whose side it is.
        reactor: the reactor, or a `Clock` in tests that give an endpoint.
        failed: called once with a line when there is no use in trying on.
        more: further arguments of `MlesClient`.

    Attributes:
        client: the `MlesClient`, to be started and stopped.
    """

    _log = Logger()

    def __init__(
        self,
        config: ClientConfig,
        bridge: Bridge,
        reactor: Any,
        failed: Callable[[str], object] = lambda line: None,
        **more: Any,
    ) -> None:
        self.name = config.url
        self._channel = config.channel
        self._bridge = bridge
        self._failed = failed
        self._side = bridge.add(self)
        self.client = MlesClient(config, reactor, self, held=self, **more)

    def say(self, message: Message) -> "Deferred[None]":
        return self.client.publish(message.payload if message.is_binary else message.payload.decode("utf-8"))

    def hold(self) -> None:
        self.client.pause_receiving()

    def go_on(self) -> None:
        self.client.resume_receiving()

    def message_received(self, message: Message) -> None:
        # Join frames come in replays, and nowhere else. They are about this server.
        if not (message.is_replayed and who_joins(message.payload, message.is_binary, self._channel) is not None):
            self._bridge.heard(self._side, message)

    def status_changed(self, status: Status) -> None:
        if status.state is State.LIVE:
            self._log.info("{name}: joined", name=self.name)
            self._bridge.caught_up(self._side)
        elif status.state is State.WAITING:
            self._bridge.broken(self._side)
            self._log.warn(
                "{name}: {why}; trying again in {seconds} s",
                name=self.name,
                why=status.why,
                seconds=round(status.seconds, 1),
            )
        elif status.state is State.CLOSED:
            self._bridge.broken(self._side)
            if status.is_error:
                self._failed(f"{self.name}: {status.why}")

    def held_frames(self) -> Sequence[Message]:
        return self._side.held.held_frames()
