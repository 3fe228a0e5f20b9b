"""A topic as a side of a bridge, with paho's client replaced: what its thread hands over, and what it is told."""

from typing import Any

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.client import mqtt as module
from mles_tx.client.bridge import Bridge
from mles_tx.client.mqtt import MqttLink
from mles_tx.client.mqtt_address import MqttAddress
from mles_tx.client.side import ISideLink

from .bridges import MemoryChannel, MemoryLink


class _Reactor(Clock):
    """A clock that is called from threads."""

    def callFromThread(self, call: Any, *values: Any) -> None:  # noqa: N802
        call(*values)


class _Client:
    """paho's client, without a thread: it notes what it is told."""

    def __init__(self, version: Any, client_id: str, protocol: Any, manual_ack: bool) -> None:
        self.client_id = client_id
        self.told: list[tuple[Any, ...]] = []
        self.published: list[tuple[bytes, int]] = []  # payload and format
        self.sent: list[bytes] = []  # what the broker gets, in order
        self.unanswered: dict[int, bytes] = {}
        self.acknowledged: list[int] = []
        self.is_gone = False

    def __getattr__(self, name: str) -> Any:
        return lambda *values, **more: self.told.append((name, *values))

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Any) -> Any:
        assert (topic, qos, retain) == ("topic", 1, False)
        self.published.append((payload, properties.PayloadFormatIndicator))
        self.sent.append(payload)
        self.unanswered[len(self.published)] = payload
        return MQTTMessage(len(self.published)).info

    def greet(self, reason: ReasonCode, properties: Properties) -> None:
        """The broker has answered: first somebody is told, then what it may not have is sent again."""
        self.on_connect(self, None, None, reason, properties)
        if reason.value < 0x80:
            self.sent += self.unanswered.values()

    def subscribed(self) -> None:
        """It has taken the subscription."""
        self.on_subscribe(self, None, 1, [ReasonCode(PacketTypes.SUBACK, "Granted QoS 1")], None)

    def ack(self, mid: int, qos: int) -> None:
        self.acknowledged.append(mid)

    def disconnect(self, properties: Any = None) -> None:
        self.is_gone = True
        if properties is not None:
            self.told.append(("kept", properties.SessionExpiryInterval))


class MqttLinkTests(SynchronousTestCase):
    """A channel in memory and a topic."""

    def setUp(self) -> None:
        self.patch(module, "Client", _Client)
        self.reactor = _Reactor()
        self.bridge = Bridge(self.reactor)
        self.channel = MemoryChannel()
        self.failed: list[str] = []
        self.begin()

    def begin(self, name: str | None = None) -> None:
        address = MqttAddress.parse("mqtt://me:s3cret@broker/topic", "c")
        self.link = MqttLink(address, self.bridge, self.reactor, name=name, failed=self.failed.append)
        self.client: Any = self.link._client
        self.mles = MemoryLink(self.bridge, self.channel)
        self.link.startService()
        self.mles.join()
        self.mles.arrive()

    def connect(self, code: str = "Success", **properties: int) -> None:
        """The broker has answered, also to the subscription."""
        self.greet(code, **properties)
        if code == "Success":
            self.client.subscribed()

    def greet(self, code: str = "Success", **properties: int) -> None:
        """The broker has answered."""
        found = Properties(PacketTypes.CONNACK)
        for name, value in properties.items():
            setattr(found, name, value)
        self.client.greet(ReasonCode(PacketTypes.CONNACK, code), found)

    def disconnect(self) -> None:
        """The broker has gone."""
        reason = ReasonCode(PacketTypes.DISCONNECT, "Server shutting down")
        self.client.on_disconnect(self.client, None, None, reason, None)

    def come(self, payload: bytes, mid: int = 1, dup: bool = False, is_text: bool = False) -> None:
        """Somebody has published something."""
        message = MQTTMessage(mid, b"topic")
        message.payload, message.qos, message.dup = payload, 1, dup
        message.properties = Properties(PacketTypes.PUBLISH)
        if is_text:
            message.properties.PayloadFormatIndicator = 1
        self.client.on_message(self.client, None, message)

    def answer(self, mid: int, code: str = "Success") -> None:
        """The broker has taken something."""
        self.client.unanswered.pop(mid, None)
        self.client.on_publish(self.client, None, mid, ReasonCode(PacketTypes.PUBACK, code), None)

    def test_interface(self) -> None:
        """It is what a bridge asks for, and its name has no secret."""
        self.assertTrue(verifyObject(ISideLink, self.link))
        self.assertEqual(self.link.name, "mqtt://broker:1883/topic")

    def test_both_ways(self) -> None:
        """Text is published as such and only what is marked comes back as text; what came is acknowledged."""
        self.connect()
        self.channel.say("hello")
        self.mles.arrive()
        self.assertEqual(self.client.published, [(b"hello", 1)])
        self.come(b"one", 7)
        self.come(b"two", 8, is_text=True)
        self.come(b"\xff", 9, is_text=True)
        self.assertEqual(
            [message.is_binary for message in self.link._side.held.held_frames()], [False, True, False, True]
        )
        self.assertEqual(self.client.acknowledged, [7, 8, 9])

    def test_window(self) -> None:
        """No more is published than the broker takes at a time; the rest waits for its answers."""
        self.connect(ReceiveMaximum=3)
        for number in range(10):
            self.channel.say(str(number))
        self.mles.arrive()
        self.assertEqual(len(self.client.published), 3)
        self.answer(1)
        self.assertEqual(len(self.client.published), 4)
        for mid in range(2, 11):
            self.answer(mid)
        self.assertEqual([payload for payload, _ in self.client.published], [b"%d" % number for number in range(10)])

    def test_held(self) -> None:
        """What another side cannot take is not acknowledged, so that the broker keeps what comes behind it."""
        self.connect()
        self.link.hold()
        self.come(b"one", 1)
        self.come(b"two", 2)
        self.assertEqual((self.client.acknowledged, self.channel.everything), ([], []))
        self.link.go_on()
        self.assertEqual((self.client.acknowledged, self.channel.everything), ([1, 2], ["one", "two"]))

    def test_broken(self) -> None:
        """Over a break nothing is lost: what comes again is known, and an answer is for the link it came on."""
        self.connect()
        self.link.hold()
        self.come(b"one", 1)
        self.disconnect()
        self.channel.say("meanwhile")
        self.mles.arrive()
        self.assertEqual(self.client.published, [])
        self.connect()
        self.assertEqual(self.client.published, [(b"meanwhile", 1)])
        self.link.go_on()
        self.assertEqual(self.client.acknowledged, [])
        self.come(b"one", 1, dup=True)
        self.assertEqual((self.client.acknowledged, self.channel.everything), ([1], ["meanwhile", "one"]))

    def test_order_over_a_break(self) -> None:
        """What the broker may not have got comes before what was said while it was away."""
        self.connect()
        for text in ("one", "two", "three"):
            self.channel.say(text)
        self.mles.arrive()
        self.answer(1)
        self.disconnect()
        for text in ("four", "five"):
            self.channel.say(text)
        self.mles.arrive()
        self.greet()
        self.answer(2)
        self.client.subscribed()
        again = [b"two", b"three"]
        self.assertEqual(self.client.sent, [b"one", *again, *again, b"four", b"five"])

    def test_broken_again(self) -> None:
        """The same when the broker goes before it has answered."""
        self.connect()
        self.disconnect()
        for text in ("one", "two"):
            self.channel.say(text)
        self.mles.arrive()
        self.greet()
        self.disconnect()
        self.greet()
        self.assertEqual(self.client.sent, [])
        self.client.subscribed()
        self.assertEqual(self.client.sent, [b"one", b"two"])

    def test_kept_for_us(self) -> None:
        """What the broker has kept for us comes before it answers to the subscription, and is no history."""
        self.greet()
        self.come(b"one", 1)
        self.assertEqual((self.client.acknowledged, self.channel.everything), ([1], ["one"]))

    def test_too_large(self) -> None:
        """What is too large for the broker or for Mles is counted, and nothing else happens."""
        self.connect(MaximumPacketSize=100)
        self.channel.say("x" * 64)
        self.channel.say("x" * 63)
        self.mles.arrive()
        self.assertEqual([len(payload) for payload, _ in self.client.published], [63])
        self.come(bytes(1024 * 1024 + 1), 5)
        self.assertEqual((self.client.acknowledged, self.link._side.counts.refused), ([5], 2))

    def test_refused(self) -> None:
        """What will not change by asking again is told, once each; what may is tried again."""
        self.connect("Server busy")
        self.client.on_connect_fail(self.client, None)
        self.assertEqual((self.failed, self.client.is_gone), ([], False))
        self.connect("Not authorized")
        self.client.on_subscribe(self.client, None, 1, [ReasonCode(PacketTypes.SUBACK, "Not authorized")], None)
        self.answer(1, "Not authorized")
        self.assertEqual(
            self.failed,
            [
                f"mqtt://broker:1883/topic: the broker {text}: Not authorized"
                for text in ("refuses us", "does not let us read the topic", "does not let us publish to the topic")
            ],
        )
        self.assertTrue(self.client.is_gone)

    def test_end(self) -> None:
        """It leaves, and what paho's thread still says is heard no more; only who has a name has what comes kept."""
        for name, seconds in ((None, 0), ("bridge", 24 * 3600)):
            self.bridge = Bridge(self.reactor)
            self.begin(name)
            self.connect()
            self.link.stopService()
            self.assertIn(("kept", seconds), self.client.told)
            self.come(b"late", 1)
            self.assertEqual(self.client.acknowledged, [])
            self.reactor.advance(5)
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_same_name(self) -> None:
        """Who has a name is called the same at the broker each time, and who has none is not."""
        found = []
        for name in ("bridge", "bridge", None, None):
            self.bridge = Bridge(self.reactor)
            self.begin(name)
            found.append(self.client.client_id)
        self.assertEqual((found[0], len(set(found)), {len(one) for one in found}), (found[1], 3, {23}))
