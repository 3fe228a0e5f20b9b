"""A side of a bridge that is a topic of an MQTT broker, by paho-mqtt.

paho connects, does the TLS handshake and waits before it tries again, and all of that blocks; in its external loop it
would do so in the reactor's thread. So it has its own thread. What happens there is handed over to the reactor's, in
order, and nothing of ours is touched there; what is published goes the other way by paho's own queue.

MQTT 5 is needed: what this bridge has published does not come back (no local), and what it has not acknowledged yet
is bounded (receive maximum), so that a broker keeps what another side cannot take.
"""

import ssl
import threading
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from mles_tx.protocol.auth import digest
from mles_tx.protocol.header import MAX_MESSAGE_BYTES

from .bridge import Bridge
from .interfaces import Message
from .mqtt_address import MqttAddress
from .side import ISideLink

__all__ = ["MqttLink"]

#: Messages we have published and the broker has not acknowledged: as many as paho lets be in flight.
_WINDOW = 20

#: Messages the broker may send that we have not acknowledged.
_RECEIVE_MAXIMUM = 100

#: Seconds the broker keeps for us what is published while we are away.
_SESSION_SECONDS = 24 * 3600

_KEEPALIVE_SECONDS = 30

#: Seconds between two attempts, at first and at most.
_RETRY_SECONDS = 1
_MAX_RETRY_SECONDS = 30

#: Seconds for the last words with the broker.
_STOP_SECONDS = 3.0

#: Bytes a PUBLISH has beside topic and payload, at most.
_OVERHEAD_BYTES = 32

#: What a broker says that will not change by asking again (MQTT 5 section 3.2.2.2): not understood, version, client
#: identifier, login, not authorized, banned, authentication method.
_FINAL = frozenset((0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C))


@implementer(ISideLink)
class MqttLink(Service):
    """A topic, as one side of a bridge: payloads unchanged, QoS 1, nothing retained.

    A text frame is published with the mark that its payload is UTF-8; what has this mark becomes text again, everything
    else binary.

    Args:
        address: the broker and the topic.
        bridge: whose side it is.
        reactor: the reactor; paho's thread hands over to it.
        name: who we are, also when the program is started again: the broker keeps what is published meanwhile. None:
            somebody else each time, for whom it keeps that as long as the program runs.
        ca_file: PEM file with the authorities to trust instead of the system's.
        failed: called once with a line when there is no use in trying on.

    Raises:
        OSError, ssl.SSLError: the file cannot be used.
    """

    _log = Logger()

    def __init__(
        self,
        address: MqttAddress,
        bridge: Bridge,
        reactor: Any,
        *,
        name: str | None = None,
        ca_file: Path | None = None,
        failed: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.name = str(address)
        self.address = address
        self._bridge = bridge
        self._reactor = reactor
        self._failed = failed
        self._side = bridge.add(self)
        self._is_kept = name is not None
        self._client = self._make_client(name or token_hex(8), ca_file)
        self._links = 0  # how many there were: an acknowledgement is for the one the message came on
        self._is_held = False
        self._is_subscribed = False
        self._unsaid: Message | None = None  # until it is
        self._window = _WINDOW
        self._unanswered: set[int] = set()  # packet identifiers of what we have published
        self._wanted: Deferred[None] | None = None
        self._held: deque[tuple[int, int, int, Message]] = deque()

    def _make_client(self, name: str, ca_file: Path | None) -> Client:
        address = self.address
        own = blake2b(f"{name}\n{address.topic}".encode(), digest_size=8).hexdigest()
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"mles-tx{own}",  # 23 characters: what every broker takes
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
        )
        client.suppress_exceptions = True
        client.reconnect_delay_set(_RETRY_SECONDS, _MAX_RETRY_SECONDS)
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.is_secure:
            client.tls_set_context(ssl.create_default_context(cafile=ca_file))
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda *_: self._hand_over(self._unreachable)
        client.on_disconnect = lambda client, data, flags, reason, properties: self._hand_over(
            self._broken, str(reason)
        )
        client.on_message = self._on_message
        client.on_publish = lambda client, data, mid, reason, properties: self._hand_over(
            self._published, mid, "" if reason.value < 0x80 else str(reason)
        )
        client.on_subscribe = lambda client, data, mid, reasons, properties: self._hand_over(
            self._subscribed, "" if reasons[0].value < 0x80 else str(reasons[0])
        )
        return client

    # -- in paho's thread

    def _hand_over(self, call: Callable[..., object], *values: object) -> None:
        self._reactor.callFromThread(self._take_over, call, values)

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.value >= 0x80:
            self._hand_over(self._refused, reason.value, str(reason))
        else:
            packet = getattr(properties, "MaximumPacketSize", None)
            self._hand_over(self._connected, getattr(properties, "ReceiveMaximum", _WINDOW), packet)

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        payload = bytes(message.payload)
        is_binary = getattr(message.properties, "PayloadFormatIndicator", 0) != 1 or not _is_text(payload)
        heard = Message(payload, is_binary, digest(payload), message.dup)
        self._hand_over(self._came, message.mid, message.qos, heard)

    # -- in the reactor's

    def _take_over(self, call: Callable[..., object], values: tuple[object, ...]) -> None:
        if self.running:
            call(*values)

    def startService(self) -> None:
        super().startService()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = _SESSION_SECONDS
        properties.ReceiveMaximum = _RECEIVE_MAXIMUM
        properties.MaximumPacketSize = MAX_MESSAGE_BYTES + len(self.address.topic.encode()) + 64 * 1024
        self._client.connect_async(
            self.address.host,
            self.address.port,
            _KEEPALIVE_SECONDS,
            clean_start=False,
            properties=properties,
        )
        self._client.loop_start()

    def stopService(self) -> "Deferred[None]":
        """Leave, and wait for paho's thread, a few seconds at most: it may be within an attempt to connect."""
        super().stopService()
        self._bridge.broken(self._side)
        ended: Deferred[None] = Deferred()

        def end() -> None:
            if not ended.called:
                timer.cancel()
                ended.callback(None)

        def give_up() -> None:
            ended.callback(None)

        def stop() -> None:
            self._client.loop_stop()
            self._reactor.callFromThread(end)

        properties = Properties(PacketTypes.DISCONNECT)
        properties.SessionExpiryInterval = _SESSION_SECONDS if self._is_kept else 0
        self._client.disconnect(properties=properties)
        timer = self._reactor.callLater(_STOP_SECONDS, give_up)
        threading.Thread(target=stop, daemon=True).start()
        return ended

    def _connected(self, receive_maximum: int, packet_bytes: int | None) -> None:
        self._links += 1
        self._window = max(1, min(_WINDOW, receive_maximum))
        if packet_bytes is not None:
            largest = packet_bytes - len(self.address.topic.encode()) - _OVERHEAD_BYTES
            self._side.max_payload = max(0, min(MAX_MESSAGE_BYTES, largest))
        self._client.subscribe(
            self.address.topic,
            options=SubscribeOptions(qos=1, noLocal=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND),
        )
        self._bridge.caught_up(self._side)  # what the broker has kept for us comes now

    def _subscribed(self, fault: str) -> None:
        if fault:
            self._give_up(f"the broker does not let us read the topic: {fault}")
            return
        self._log.info("{name}: connected", name=self.name)
        self._is_subscribed = True
        unsaid, self._unsaid = self._unsaid, None
        if unsaid is not None:
            self._publish(unsaid)
            self._want_more()

    def _refused(self, code: int, reason: str) -> None:
        if code in _FINAL:
            self._give_up(f"the broker refuses us: {reason}")
        else:
            self._log.warn("{name}: the broker refuses us for now: {reason}", name=self.name, reason=reason)

    def _unreachable(self) -> None:
        self._log.warn("{name}: nobody answers; trying again", name=self.name)

    def _broken(self, reason: str) -> None:
        self._is_subscribed = False
        self._bridge.broken(self._side)
        self._log.warn("{name}: the connection has ended: {reason}", name=self.name, reason=reason)

    def _give_up(self, line: str) -> None:
        self._client.disconnect()
        self._failed(f"{self.name}: {line}")

    # -- what comes

    def _came(self, mid: int, qos: int, message: Message) -> None:
        self._held.append((self._links, mid, qos, message))
        self._hear()

    def _hear(self) -> None:
        while self._held and not self._is_held:
            link, mid, qos, message = self._held.popleft()
            if len(message.payload) <= MAX_MESSAGE_BYTES:
                self._bridge.heard(self._side, message)
            else:
                self._side.counts.refused += 1
            if link == self._links:
                self._client.ack(mid, qos)

    def hold(self) -> None:
        self._is_held = True

    def go_on(self) -> None:
        self._is_held = False
        self._hear()

    # -- what is said

    def say(self, message: Message) -> "Deferred[None]":
        if not self._is_subscribed:
            # paho tells that it is connected before it sends again what was not acknowledged, and that was said before.
            # The answer to the subscription is read when it has.
            self._unsaid = message
        else:
            self._publish(message)
            if len(self._unanswered) < self._window:
                return succeed(None)
        self._wanted = Deferred()
        return self._wanted

    def _publish(self, message: Message) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.PayloadFormatIndicator = int(not message.is_binary)
        info = self._client.publish(self.address.topic, message.payload, qos=1, retain=False, properties=properties)
        self._unanswered.add(info.mid)

    def _published(self, mid: int, fault: str) -> None:
        self._unanswered.discard(mid)
        if fault:
            self._give_up(f"the broker does not let us publish to the topic: {fault}")
        else:
            self._want_more()

    def _want_more(self) -> None:
        if self._wanted is not None and self._unsaid is None and len(self._unanswered) < self._window:
            wanted, self._wanted = self._wanted, None
            wanted.callback(None)


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
