"""A real proxy between a real server and a real broker, Debian's mosquitto."""

import os
import queue
import re
import signal
import threading
from base64 import b64encode
from collections.abc import Mapping
from hashlib import pbkdf2_hmac

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests import rounds
from tests.transport.certificates.making import make

from .brokers import Mosquitto
from .processes import WAIT, Process, server_environ
from .support import LOCAL, IntegrationTestCase


class _Peer:
    """Somebody at the broker, with MQTT 3.1.1 as most have it; hears everything on a topic.

    Args:
        port: the broker's.
        topic: the topic.
        name: what it is called there, and what is published while it is away is kept for it; empty: nothing is.
    """

    def __init__(self, port: int, topic: str, name: str = "") -> None:
        self.topic = topic
        self.heard: queue.Queue[MQTTMessage] = queue.Queue()
        self._client = Client(CallbackAPIVersion.VERSION2, name, not name, protocol=MQTTProtocolVersion.MQTTv311)
        self._subscribed = threading.Event()
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda client, data, message: self.heard.put(message)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not self._subscribed.wait(WAIT):
            raise AssertionError("the broker does not answer")

    def _subscribe(self, *_: object) -> None:
        self._client.subscribe(self.topic, qos=1)

    def publish(self, payload: bytes) -> None:
        """Publish something, and wait until the broker has it."""
        self._client.publish(self.topic, payload, qos=1).wait_for_publish(WAIT)

    def receive(self) -> MQTTMessage:
        """The next message; its own come back as well."""
        return self.heard.get(timeout=WAIT)

    def payloads(self, number: int) -> list[bytes]:
        """The payloads of the next messages."""
        return [bytes(self.receive().payload) for _ in range(number)]

    def leave(self) -> None:
        """Be gone."""
        self._client.disconnect()
        self._client.loop_stop()


class MqttTests(IntegrationTestCase):
    """A channel and a topic."""

    def setUp(self) -> None:
        super().setUp()
        self.channel = f"channel {self.channel.split()[0]}"

    def start_broker(self, *lines: str, files: Mapping[str, bytes] | None = None) -> Mosquitto:
        broker = Mosquitto(*lines, files=files or {})
        self.addCleanup(broker.stop)
        return broker

    def peer(self, broker: Mosquitto, name: str = "") -> _Peer:
        peer = _Peer(broker.port, self.channel, name)
        self.addCleanup(peer.leave)
        return peer

    def run_proxy(self, mqtt: str, *options: str) -> Process:
        """A proxy between the server and a broker, which may not be there."""
        self.server = self.shared_server(LOCAL)
        directory = self.server.directory
        command = ["mles-tx", "proxy", "--channel", self.channel, *options, self.server.url]
        proxy = Process(command, directory, server_environ(directory, MLES_TX_MQTT=mqtt))
        self.addCleanup(proxy.stop)
        return proxy

    def start_proxy(self, mqtt: str, *options: str) -> Process:
        """A proxy that has joined both."""
        return self.await_proxy(self.run_proxy(mqtt, *options))

    def await_proxy(self, proxy: Process) -> Process:
        """Wait until it has joined both: a program starts, and makes connections."""
        for what in (": joined", ": connected"):
            proxy.expect(what, 3 * WAIT)
        return proxy

    def end(self, proxy: Process) -> None:
        proxy.signal(signal.SIGTERM)
        self.assertEqual(proxy.wait(), 0)
        self.assertNotIn("Traceback", proxy.output)

    def test_both_ways(self) -> None:
        """What is said is published and the other way round, unchanged and once, and nothing is retained."""
        broker = self.start_broker()
        proxy = self.start_proxy(broker.url)
        alice, peer = self.member(self.server, "alice", history=0), self.peer(broker)
        said: list[str | bytes] = [b"\x00\xff", "grüße", b"", bytes(range(256)) * 400]
        for message in said:
            alice.send(message)
        for message in said:
            found = peer.receive()
            self.assertEqual(found.payload, message if isinstance(message, bytes) else message.encode())
            self.assertEqual((found.qos, found.retain), (1, False))
        for payload in (b"from a sensor", b"\xff\x00", bytes(100 * 1024)):
            peer.publish(payload)
            self.assertEqual(alice.receive(), payload)
        alice.send("the end")
        self.assertEqual(peer.payloads(4)[-1], b"the end")
        late = self.peer(broker)
        alice.send("for both")
        self.assertEqual(late.receive().payload, b"for both")
        self.end(proxy)
        self.assertIn(f"{broker.url}/{self.channel}: down, 3 heard, 0 repeated, 6 said", proxy.output)

    def test_several_proxies(self) -> None:
        """Two proxies do the same, a third one leads on: text stays text, and nothing goes in circles."""
        broker = self.start_broker()
        first = self.start_proxy(f"{broker.url}/the%20topic")
        second = self.start_proxy(f"{broker.url}/the%20topic")
        alice = self.member(self.server, "alice", history=0)
        other = self.start_server(*LOCAL)
        command = ["mles-tx", "proxy", "--channel", self.channel, "--mqtt", f"{broker.url}/the%20topic", other.url]
        third = Process(command, other.directory, server_environ(other.directory))
        self.addCleanup(third.stop)
        self.await_proxy(third)
        bob = self.member(other, "bob", history=0)
        for number in range(20):
            alice.send(f"{number}")
            alice.send(f"{number}".encode() + b"\xff")
        heard = [bob.receive() for _ in range(40)]
        self.assertEqual(heard, [text for n in range(20) for text in (f"{n}", f"{n}".encode() + b"\xff")])
        bob.send("back")
        self.assertEqual(alice.receive(), "back")
        for proxy in (first, second, third):
            self.end(proxy)

    def test_broker_restarts(self) -> None:
        """What is said while the broker is away is published when it is back, in order; then everything goes on."""
        broker = self.start_broker("persistence true", "persistence_location {directory}/")
        proxy = self.start_proxy(broker.url)
        alice, peer = self.member(self.server, "alice", history=0), self.peer(broker, name="peer")
        said: list[str] = []

        def say(number: int) -> None:
            for _ in range(number):
                said.append(str(len(said)))
                alice.send(said[-1])

        found: list[bytes] = []
        for number in range(rounds(2, 20)):
            say(50)
            broker.end()
            say(50)
            broker.start()
            proxy.expect(rf"(?s)(?>.*?: connected){{{number + 2}}}", 3 * WAIT)
            say(50)
            while not found or found[-1] != said[-1].encode():
                found += [payload for payload in peer.payloads(1) if payload.isdigit()]
            peer.publish(f"from mqtt {number}".encode())
            self.assertEqual(alice.receive(), f"from mqtt {number}".encode())
        # QoS 1 is at least once: what the broker had not acknowledged before it ended is published again.
        self.assertEqual(list(dict.fromkeys(found)), [text.encode() for text in said])
        self.end(proxy)

    def test_proxy_that_begins_again(self) -> None:
        """What is published while there is no proxy is said by the next one of the same name."""
        broker = self.start_broker()
        first = self.start_proxy(broker.url, "--uid", "bridge")
        alice, peer = self.member(self.server, "alice", history=0), self.peer(broker)
        peer.publish(b"1")
        self.assertEqual(alice.receive(), b"1")
        self.end(first)
        for number in range(2, 50):
            peer.publish(str(number).encode())
        second = self.start_proxy(broker.url, "--uid", "bridge")
        self.assertEqual([alice.receive() for _ in range(48)], [str(number).encode() for number in range(2, 50)])
        self.end(second)

    def test_secure(self) -> None:
        """Over TLS, with a login; the password stands nowhere in the log."""
        made = make("localhost", "127.0.0.1")
        salt = os.urandom(12)
        hashed = pbkdf2_hmac("sha512", b"s3cret", salt, 101)
        broker = self.start_broker(
            *("certfile {directory}/cert.pem", "keyfile {directory}/key.pem"),
            *("allow_anonymous false", "password_file {directory}/passwords"),
            files={
                "cert.pem": made.certificate_pem,
                "key.pem": made.key_pem,
                "passwords": b"bridge:$7$101$%b$%b\n" % (b64encode(salt), b64encode(hashed)),
            },
        )
        where = f"localhost:{broker.port}"
        ca = str(broker.directory / "cert.pem")
        proxy = self.start_proxy(f"mqtts://bridge:s3cret@{where}", "--ca-file", ca)
        proxy.expect(re.escape(f"mqtts://{where}/{self.channel}: connected"))
        self.end(proxy)
        self.assertNotIn("s3cret", proxy.output)
        wrong = self.run_proxy(f"mqtts://bridge:wr0ng@{where}", "--ca-file", ca)
        self.assertEqual(wrong.wait(3 * WAIT), 1)
        self.assertEqual(
            wrong.output.splitlines()[-1],
            f"mles-tx proxy: mqtts://{where}/{self.channel}: the broker refuses us: Not authorized",
        )
        self.assertNotIn("wr0ng", wrong.output)

    def test_nobody_there(self) -> None:
        """A broker that cannot be reached is tried again, and the proxy can be stopped meanwhile."""
        proxy = self.run_proxy("mqtt://127.0.0.1:1")
        proxy.expect(r"mqtt://127\.0\.0\.1:1/.*: nobody answers; trying again", 3 * WAIT)
        proxy.expect(": joined")
        self.end(proxy)
