"""Channels of servers in memory, bridged by real clients on a clock."""

from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mles_tx.client.bridge import Bridge
from mles_tx.client.config import ClientConfig, Repeats
from mles_tx.client.interfaces import IClientListener, IHeldHistory, State
from mles_tx.client.mles_side import MlesSide
from mles_tx.client.side import ISideLink
from mles_tx.service.config import ServerConfig
from mles_tx.service.server import MlesService
from mles_tx.testing import MemoryClient, MemoryServer
from mles_tx.transport.connections import MlesFactory

from .fakes import Way


class MlesSideTests(SynchronousTestCase):
    """A bridge between two servers."""

    def setUp(self) -> None:
        first, second = MemoryServer(rate_limit=0), MemoryServer(rate_limit=0)
        self.clock = second.clock = first.clock
        second.service = MlesService(ServerConfig(listen=False, rate_limit=0), self.clock)
        second.service.startService()
        self.ways = [Way(first), Way(second)]
        self.bridge = Bridge(self.clock)
        self.failed: list[str] = []

    def begin(self, **settings: Any) -> list[MlesSide]:
        """The bridge has joined both."""
        self.sides = [
            MlesSide(
                ClientConfig(f"ws://{name}.test/", "bridge", "news", repeats=Repeats.DROP_REPLAYED, **settings),
                self.bridge,
                self.clock,
                self.failed.append,
                endpoint=way,
                random=lambda: 0.5,
            )
            for name, way in zip("ab", self.ways, strict=True)
        ]
        for side in self.sides:
            side.client.startService()
        self.pass_time(0)
        return self.sides

    def tearDown(self) -> None:
        stopped = [side.client.stopService() for side in self.sides]
        self.pass_time(7)
        for one in stopped:
            self.successResultOf(one)

    def pass_time(self, seconds: float) -> None:
        for step in (0.0,) * 8 + (0.25,) * round(seconds * 4) + (0.0,) * 8:
            self.clock.advance(step)

    def join(self, index: int, uid: str, **more: Any) -> MemoryClient:
        return self.ways[index].server.join(uid, "news", **more)

    def test_interfaces(self) -> None:
        """It is what a bridge, and what a client asks for."""
        side, _ = self.begin()
        for interface in (ISideLink, IClientListener, IHeldHistory):
            self.assertTrue(verifyObject(interface, side))

    def test_both_ways(self) -> None:
        """Text and binary messages are passed on with their type, join frames are not."""
        alice = self.join(0, "alice", history=0)
        self.begin()
        bob = self.join(1, "bob", history=0)
        alice.send("grüße")
        alice.send(b"\x00\xff")
        bob.send('{"uid":"said by bob","channel":"news"}')
        self.pass_time(0)
        self.assertEqual(bob.received, ["grüße", b"\x00\xff"])
        self.assertEqual(alice.received, ['{"uid":"said by bob","channel":"news"}'])
        self.assertEqual([(side.heard, side.said) for side in self.bridge.counts.values()], [(2, 1), (1, 2)])

    def test_gap(self) -> None:
        """What is said on both while one link is cut, or was on its way then, is passed on when it is back, once."""
        self.begin()
        alice, bob = self.join(0, "alice", history=0), self.join(1, "bob", history=0)
        alice.send("1")
        self.clock.advance(0)
        self.ways[1].cut()
        alice.send("2")
        bob.send("3")
        self.pass_time(10)
        self.assertEqual((alice.received, bob.received), (["3"], ["1", "2"]))

    def test_restarted(self) -> None:
        """A server that was restarted is filled again, but for what is said to it anyway."""
        self.begin()
        alice, bob = self.join(0, "alice", history=0), self.join(1, "bob", history=0)
        alice.send("1")
        bob.send("2")
        self.pass_time(200)  # by then it is sure that the server had it
        self.ways[1].cut()
        self.ways[1].restart()
        alice.send("3")
        self.pass_time(10)
        self.assertEqual(self.join(1, "zoe", history=9).received, ["1", "2", "3"])
        self.assertEqual(alice.received, ["2"])

    def test_reference(self) -> None:
        """One that says nothing about itself is sent no history: it would take it for new messages."""
        self.patch(MlesFactory, "_say_extensions", lambda factory: None)
        self.begin()
        self.pass_time(9)
        alice, bob = self.join(0, "alice", history=0), self.join(1, "bob", history=0)
        alice.send("1")
        self.pass_time(200)
        self.assertEqual(bob.received, ["1"])
        self.ways[1].cut()
        self.ways[1].restart()
        alice.send("2")
        self.pass_time(20)
        self.assertEqual(self.join(1, "zoe", history=9).received, ["2"])

    def test_back_pressure(self) -> None:
        """A side that is held hears nothing, and everything when it is let go on."""
        first, second = self.begin()
        alice, bob = self.join(0, "alice", history=0), self.join(1, "bob", history=0)
        first.hold()
        for number in range(20):
            alice.send(str(number))
        self.pass_time(1)
        self.assertEqual(bob.received, [])
        first.go_on()
        self.pass_time(1)
        self.assertEqual(bob.received, [str(number) for number in range(20)])
        self.assertIs(second.client.status.state, State.LIVE)

    def test_given_up(self) -> None:
        """When there is no use in trying on it is told, with the server and the reason; until then that is logged."""
        logged: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event["log_level"] is LogLevel.warn:
                logged.append(event["why"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.ways[0].is_up = False
        self.begin(auth="0123456789abcdef")
        self.pass_time(1)
        self.assertEqual(self.failed, ["ws://b.test/: auth does not match uid, channel and key"])
        self.assertEqual(logged[0], "nobody listens on a.test:80")
