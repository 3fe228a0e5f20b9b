"""A bridge as a service: one channel on several servers, and on a topic of MQTT, as if it were one.

Proxy
 ├ MlesClient      one for each server ─┐
 ├ MlesClient                           ├─ Bridge
 └ MqttLink        if asked for ────────┘
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from .bridge import Bridge
from .config import ENVIRONMENT, ClientConfig, ClientConfigError, Repeats, Trust
from .mles_side import MlesSide
from .mqtt_address import MqttAddress
from .side import SideCounts

__all__ = ["Proxy", "ProxyConfig"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """What a `Proxy` is told.

    Attributes:
        channel: the channel, called the same everywhere.
        servers: URLs of the servers, ``ws://`` or ``wss://``.
        mqtt: URL of a broker, ``mqtt://[USER:PASSWORD@]HOST[:PORT][/TOPIC]`` or ``mqtts://``; the topic is called like
            the channel where none is given. None: there is no broker.
        uid: who joins, the same everywhere. None: somebody new in each `Proxy`.
        keys: the servers' keys: none, one for all, or one for each, in which None stands for a server without one.
        trusts: whose certificates are believed, likewise; without any, whom the system trusts.
        mqtt_ca: PEM file with the authorities to trust for the broker, instead of the system's.
        proxy: an HTTP proxy to go through, as in `ClientConfig`; not to the broker.
        passes_repeats: whether what is said again in the same words is passed on: only where no other bridge joins
            these servers.
        standby: seconds a message waits in any case before it is said, and is not when it comes another way meanwhile.
    """

    channel: str
    servers: tuple[str, ...]
    mqtt: str | None = field(default=None, repr=False)
    uid: str | None = None
    keys: tuple[bytes | None, ...] = field(default=(), repr=False)
    trusts: tuple[Trust, ...] = ()
    mqtt_ca: Path | None = None
    proxy: str = field(default=ENVIRONMENT, repr=False)
    passes_repeats: bool = False
    standby: float = 0.0

    def __post_init__(self) -> None:
        if len(self.servers) + (self.mqtt is not None) < 2:
            raise ClientConfigError("a bridge has two sides: give two servers or more, or one and --mqtt")
        if len(set(self.servers)) < len(self.servers):
            raise ClientConfigError("a server is given twice; give each one once")
        self.client_configs("uid" if self.uid is None else self.uid)
        if self.mqtt is not None:
            MqttAddress.parse(self.mqtt, self.channel)

    def client_configs(self, uid: str) -> list[ClientConfig]:
        """What the client of each server is told."""
        keys = self._for_each("keys", self.keys or (None,))
        trusts = self._for_each("fingerprints", self.trusts or (Trust(),))
        return [
            ClientConfig(
                url,
                uid,
                self.channel,
                key=key,
                trust=trust,
                proxy=self.proxy,
                repeats=Repeats.DROP_REPLAYED,
            )
            for url, key, trust in zip(self.servers, keys, trusts, strict=True)
        ]

    def _for_each(self, what: str, values: tuple[_T, ...]) -> tuple[_T, ...]:
        if len(values) == 1:
            return values * len(self.servers)
        if len(values) != len(self.servers):
            raise ClientConfigError(
                f"there are {len(values)} {what} for {len(self.servers)} servers; give one for all, or one for each"
            )
        return values


class Proxy(MultiService):
    """Passes on what is said on one side to all others, for as long as it runs.

    Args:
        config: which sides there are.
        reactor: the reactor.
        failed: called with a line when there is no use in trying on with one side.
        more: further arguments of each `MlesClient`.

    Raises:
        ClientConfigError: a file the configuration names cannot be used.
        ImportError: there is a broker, and paho-mqtt is not installed.
    """

    def __init__(
        self, config: ProxyConfig, reactor: Any, failed: Callable[[str], object] = lambda line: None, **more: Any
    ) -> None:
        super().__init__()
        self.config = config
        self.bridge = Bridge(reactor, standby=config.standby, passes_repeats=config.passes_repeats)
        uid = f"proxy-{token_hex(4)}" if config.uid is None else config.uid
        for client_config in config.client_configs(uid):
            MlesSide(client_config, self.bridge, reactor, failed, **more).client.setServiceParent(self)
        if config.mqtt is not None:
            # Here, not above: who needs no MQTT need not have what that takes.
            from .mqtt import MqttLink

            MqttLink(
                MqttAddress.parse(config.mqtt, config.channel),
                self.bridge,
                reactor,
                name=config.uid,
                ca_file=config.mqtt_ca,
                failed=failed,
            ).setServiceParent(self)

    def stopService(self) -> "Deferred[list[Any]]":
        self.bridge.stop()
        stopped: Deferred[list[Any]] = super().stopService()
        return stopped

    @property
    def counts(self) -> Mapping[str, SideCounts]:
        """What happened on each side, by its URL without anything secret."""
        return self.bridge.counts
