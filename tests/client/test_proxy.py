"""A bridge as a service: what it is told, and what it is made of."""

from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.client import MlesClient
from mles_tx.client.config import ClientConfigError, Repeats, Trust
from mles_tx.client.mqtt import MqttLink
from mles_tx.client.proxy import Proxy, ProxyConfig

A, B = "ws://127.0.0.1:1/", "ws://127.0.0.1:2/"

BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"servers": ()}, "a bridge has two sides: give two servers or more, or one and --mqtt"),
    ({"servers": (A,)}, "a bridge has two sides: give two servers or more, or one and --mqtt"),
    ({"servers": (A, B, A)}, "a server is given twice; give each one once"),
    ({"keys": (b"1", b"2", b"3")}, "there are 3 keys for 2 servers; give one for all, or one for each"),
    ({"trusts": (Trust(),) * 3}, "there are 3 fingerprints for 2 servers; give one for all, or one for each"),
    ({"servers": (A, "http://b")}, "server 'http://b': give a URL like wss://HOST/ or ws://HOST:PORT/"),
    ({"channel": "grün"}, "channel 'grün': give 1 to 4096 characters of printable ASCII"),
    ({"uid": ""}, "uid '': give 1 to 4096 characters of printable ASCII"),
    ({"mqtt": "mqtt://h/%23"}, "--mqtt: no topic is called '#'; give another one behind the host, /TOPIC"),
)


class ConfigTests(SynchronousTestCase):
    """What it is told."""

    def test_bad(self) -> None:
        """What cannot be a bridge is refused with one line that names the remedy."""
        for fields, text in BAD:
            error = self.assertRaises(ClientConfigError, ProxyConfig, **({"channel": "c", "servers": (A, B)} | fields))
            self.assertEqual(str(error), text)

    def test_for_each(self) -> None:
        """One key and one kind of trust are for all servers, several for one each; each says the same words again."""
        one, other = Trust(ca_file=Path("a")), Trust(ca_file=Path("b"))
        for keys, trusts, found in (
            ((), (), [(None, Trust()), (None, Trust())]),
            ((b"k",), (one,), [(b"k", one), (b"k", one)]),
            ((None, b"k"), (one, other), [(None, one), (b"k", other)]),
        ):
            configs = ProxyConfig("c", (A, B), keys=keys, trusts=trusts).client_configs("bridge")
            self.assertEqual([(config.key, config.trust) for config in configs], found)
            self.assertEqual([config.uid for config in configs], ["bridge"] * 2)
            self.assertEqual({config.repeats for config in configs}, {Repeats.DROP_REPLAYED})

    def test_secrets(self) -> None:
        """Neither keys nor passwords are in what a configuration looks like."""
        shown = repr(ProxyConfig("c", (A, B), mqtt="mqtt://me:s3cret@h", keys=(b"s3cret",)))
        self.assertNotIn("s3cret", shown)


class ProxyTests(SynchronousTestCase):
    """The service."""

    def test_sides(self) -> None:
        """It has a client for each server, which have one uid, and knows what happens on each side."""
        reactor = MemoryReactorClock()
        proxy = Proxy(ProxyConfig("c", (A, B)), reactor)
        clients = [service for service in proxy if isinstance(service, MlesClient)]
        self.assertEqual([client.config.url for client in clients], [A, B])
        self.assertEqual(len({client.config.uid for client in clients}), 1)
        self.assertRegex(clients[0].config.uid, "^proxy-[0-9a-f]{8}$")
        self.assertEqual(list(proxy.counts), [A, B])
        proxy.startService()
        self.assertEqual([client[1] for client in reactor.tcpClients], [1, 2])
        proxy.stopService()
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_who_it_is(self) -> None:
        """Each is somebody else, unless it is said who."""
        uids = {next(iter(Proxy(ProxyConfig("c", (A, B)), MemoryReactorClock()))).config.uid for _ in range(3)}
        self.assertEqual(len(uids), 3)
        proxy = Proxy(ProxyConfig("c", (A, B), uid="bridge"), MemoryReactorClock())
        self.assertEqual([client.config.uid for client in proxy], ["bridge"] * 2)

    def test_mqtt(self) -> None:
        """With a broker one server is enough; the login is not part of its name."""
        proxy = Proxy(ProxyConfig("c", (A,), mqtt="mqtt://me:s3cret@127.0.0.1:3"), MemoryReactorClock())
        self.assertEqual([type(service) for service in proxy], [MlesClient, MqttLink])
        self.assertEqual(list(proxy.counts), [A, "mqtt://127.0.0.1:3/c"])
