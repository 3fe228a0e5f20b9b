"""Tests of the two connections, against a Redis that the test plays."""

from typing import Any

import hiredis
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mles_tx.stores.redis.address import RedisAddress
from mles_tx.stores.redis.link import Link
from mles_tx.stores.redis.scripts import CLAIM, RELEASE
from mles_tx.stores.redis.seam import ILink, ILinked, LinkDownError

ADDRESS = RedisAddress("127.0.0.1", 6379)

OWN = b"mles:0:node:n"


@implementer(ILinked)
class _Linked:
    """Notes what a link says."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def link_up(self) -> None:
        self.said.append("up")

    def link_down(self) -> None:
        self.said.append("down")

    def hearing(self, announcements: bytes) -> None:
        self.said.append(("hearing", announcements))

    def deaf(self) -> None:
        self.said.append("deaf")

    def hearing_again(self) -> None:
        self.said.append("hears")

    def heard(self, announcements: bytes, data: bytes) -> None:
        self.said.append((announcements, data))


class _Transport(StringTransport):
    """The link's end of a connection, with a Redis at the other."""

    aborted = False

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self._reader = hiredis.Reader()
        protocol.makeConnection(self)

    def asked(self) -> list[list[bytes]]:
        """The commands that have come since the last look."""
        self._reader.feed(self.value())
        self.clear()
        commands = []
        while (command := self._reader.gets()) is not False:
            commands.append(command)
        return commands

    def answer(self, *lines: bytes) -> None:
        """Answer; a line is as Redis writes it."""
        self.protocol.dataReceived(b"".join(line + b"\r\n" for line in lines))

    def abortConnection(self) -> None:
        self.aborted = True
        self.lose()

    def lose(self) -> None:
        if self.connected:
            self.connected = False
            self.protocol.connectionLost(Failure(ConnectionLost()))


def _bulk(*parts: bytes) -> bytes:
    """An array of strings."""
    return b"\r\n".join([b"*%d" % len(parts), *(b"$%d\r\n%s" % (len(part), part) for part in parts)])


TIME = _bulk(b"1700000000", b"500000")


class LinkTests(SynchronousTestCase):
    """A link that connects, loses and connects again."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.linked = _Linked()
        self.link = self.build(ADDRESS)

    def build(self, address: RedisAddress) -> Link:
        link = Link(self.reactor, address, "n", (CLAIM, RELEASE))
        self.addCleanup(self.stop, link)
        return link

    def stop(self, link: Link) -> None:
        link.stop()
        for *_, factory, _, _ in self.reactor.tcpClients:
            del factory
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def connections(self) -> list[_Transport]:
        """Let those connect that want to."""
        clients, self.reactor.tcpClients[:] = list(self.reactor.tcpClients), []
        return [_Transport(client[2].buildProtocol(None)) for client in clients]

    def begin(self) -> tuple[_Transport, _Transport]:
        """A link that is up: both its connections."""
        self.link.start(self.linked)
        self.reactor.advance(0)
        return self.prepare(*self.connections())

    def prepare(self, *connections: _Transport) -> tuple[_Transport, _Transport]:
        commands, announcements = connections
        commands.answer(b"+a", b"+b", b"+OK", TIME)
        announcements.answer(b"*3", b"$9", b"subscribe", b"$13", OWN, b":1")
        return commands, announcements

    def test_interfaces(self) -> None:
        """Links can be exchanged."""
        self.assertTrue(verifyObject(ILink, self.link))
        self.assertTrue(verifyObject(ILinked, self.linked))

    def test_up(self) -> None:
        """It is up when scripts are loaded and Redis can be written to, and hears when it listens."""
        self.link.start(self.linked)
        self.reactor.advance(0)
        commands, announcements = self.connections()
        asked = commands.asked()
        self.assertEqual([command[:2] for command in asked[:2]], [[b"SCRIPT", b"LOAD"]] * 2)
        self.assertEqual(asked[2:], [[b"SET", b"mles:node:n", b"1", b"PX", b"5000"], [b"TIME"]])
        self.assertEqual(announcements.asked(), [[b"SUBSCRIBE", OWN]])
        self.assertEqual((self.linked.said, self.link.is_up, self.link.is_hearing), ([], False, False))
        self.prepare(commands, announcements)
        self.assertEqual((self.linked.said, self.link.is_up, self.link.is_hearing), (["up", "hears"], True, True))
        self.assertEqual(self.link.clock_offset, 1700000000.5 - self.reactor.seconds())

    def test_login(self) -> None:
        """User, password and database come before anything else, on both connections."""
        self.link = self.build(RedisAddress("127.0.0.1", 6379, database=3, user="mles", password="secret"))
        self.link.start(self.linked)
        self.reactor.advance(0)
        for connection in self.connections():
            self.assertEqual(connection.asked()[:2], [[b"AUTH", b"mles", b"secret"], [b"SELECT", b"3"]])

    def test_refused(self) -> None:
        """Who is not let in tries again, and says why without the password."""
        self.link = self.build(RedisAddress("127.0.0.1", 6379, password="secret"))
        self.link.start(self.linked)
        self.reactor.advance(0)
        commands, _ = self.connections()
        commands.answer(b"-WRONGPASS invalid username-password pair", *[b"-NOAUTH Authentication required."] * 4)
        self.assertTrue(commands.aborted)
        self.assertEqual((self.linked.said, self.link.is_up), ([], False))
        self.assertEqual(self.link.fault, "WRONGPASS invalid username-password pair")
        self.reactor.advance(0.1)
        self.assertEqual(len(self.connections()), 1)

    def test_commands(self) -> None:
        """Commands are answered in order, errors as errors, whatever bytes there are."""
        commands, _ = self.begin()
        commands.asked()
        answers = [self.link.call("GET", b"\xff\r\n"), self.link.run(CLAIM, ["k"], "x", 7), self.link.call("NO")]
        self.assertEqual(
            commands.asked(),
            [[b"GET", b"\xff\r\n"], [b"EVALSHA", CLAIM.digest.encode(), b"1", b"k", b"x", b"7"], [b"NO"]],
        )
        commands.answer(b"$3", b"\xfe\r\n", _bulk(b"1", b"message", b"x", b"y"), b"-ERR no")
        self.assertEqual(self.successResultOf(answers[0]), b"\xfe\r\n")
        self.assertEqual(self.successResultOf(answers[1]), [b"1", b"message", b"x", b"y"])
        self.assertIn("no", str(self.failureResultOf(answers[2]).value))

    def test_announcements(self) -> None:
        """What is listened to is heard, and answers to pings in between are not taken for it."""
        _, announcements = self.begin()
        announcements.asked()
        self.link.listen([b"a", b"b"])
        self.link.ignore(b"a")
        self.assertEqual(announcements.asked(), [[b"SUBSCRIBE", b"a", b"b"], [b"UNSUBSCRIBE", b"a"]])
        announcements.answer(b"*3", b"$9", b"subscribe", b"$1", b"b", b":2", _bulk(b"pong", b""))
        announcements.answer(_bulk(b"message", b"b", b"\xff"))
        self.assertEqual(self.linked.said[2:], [("hearing", b"b"), (b"b", b"\xff")])

    def test_lost(self) -> None:
        """What was asked on a lost connection fails, and so does what is asked until there is another."""
        commands, _ = self.begin()
        answer = self.link.call("GET", "a")
        commands.lose()
        self.failureResultOf(answer, LinkDownError)
        self.failureResultOf(self.link.call("GET", "a"), LinkDownError)
        self.assertEqual(self.linked.said, ["up", "hears", "down"])
        self.reactor.advance(0.1)
        (again,) = self.connections()
        again.answer(b"+a", b"+b", b"+OK", TIME)
        self.assertEqual(self.linked.said, ["up", "hears", "down", "up"])
        self.assertTrue(self.link.is_up)

    def test_deaf(self) -> None:
        """Likewise for announcements; commands go on."""
        _, announcements = self.begin()
        announcements.lose()
        self.link.listen([b"a"])
        self.link.ignore(b"a")
        self.assertEqual((self.linked.said, self.link.is_up), (["up", "hears", "deaf"], True))
        self.reactor.advance(0.1)
        (again,) = self.connections()
        self.assertEqual(again.asked(), [[b"SUBSCRIBE", OWN]])
        again.answer(b"*3", b"$9", b"subscribe", b"$13", OWN, b":1")
        self.assertEqual(self.linked.said[3:], ["hears"])

    def test_silence(self) -> None:
        """A connection on which nothing comes for two to three seconds is given up; one that answers is kept."""
        commands, announcements = self.begin()
        for _ in range(10):
            commands.asked()
            announcements.asked()
            self.reactor.advance(1)
            self.assertEqual([command[0] for command in commands.asked()], [b"SET", b"TIME"])
            self.assertEqual(announcements.asked(), [[b"PING"]])
            commands.answer(b"+OK", TIME)
            announcements.answer(_bulk(b"pong", b""))
        for _ in range(3):
            self.assertFalse(commands.aborted or announcements.aborted)
            self.reactor.advance(1)
        self.assertTrue(commands.aborted and announcements.aborted)
        self.assertEqual(self.linked.said[2:], ["down", "deaf"])
        self.assertEqual(self.link.fault, "no answer")

    def test_cannot_be_written_to(self) -> None:
        """A Redis that takes nothing is as good as none, and it is said why."""
        commands, _ = self.begin()
        self.reactor.advance(1)
        commands.answer(b"-OOM command not allowed", TIME)
        self.assertTrue(commands.aborted)
        self.assertEqual(self.link.fault, "OOM command not allowed")

    def test_not_ready_in_time(self) -> None:
        """A connection that is not usable within three seconds is given up, and tried again more and more slowly."""
        self.link.start(self.linked)
        self.reactor.advance(0)
        attempts = 0
        for _ in range(600):
            for connection in self.connections():
                attempts += 1
                connection.lose()
            self.reactor.advance(0.1)
        self.assertTrue(50 < attempts < 120, attempts)
        (commands, *_) = [*self.connections(), *self._after(3)]
        self.reactor.advance(3)
        self.assertTrue(commands.aborted)

    def _after(self, seconds: float) -> list[_Transport]:
        self.reactor.advance(seconds)
        return self.connections()

    def test_drop(self) -> None:
        """It can be told to give its connection up, with a reason for the operator."""
        commands, _ = self.begin()
        self.link.drop("it is a replica")
        self.assertTrue(commands.aborted)
        self.assertEqual((self.link.is_up, self.link.fault[:2]), (False, "it"))

    def test_stop(self) -> None:
        """Stopped, it leaves no timer and no connection, whatever it was doing, and can be started again."""
        for moment in range(4):
            self.link.start(self.linked)
            if moment:
                self.reactor.advance(0)
            if moment > 1:
                connections = self.connections()
                if moment > 2:
                    self.prepare(*connections)
            stopped = self.link.stop()
            self.reactor.advance(0)
            self.assertIsNone(self.successResultOf(stopped))
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            self.reactor.tcpClients.clear()
        self.link.stop()
