"""Real servers and real proxies between them: nothing is lost, whatever shape they have and whatever breaks."""

import asyncio
import contextlib
import re
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from websockets.exceptions import ConnectionClosed

from mles_tx.protocol.auth import auth_value
from tests import rounds

from .clients import Member, Reachable, join_frame, together
from .processes import WAIT, Process, Server, server_environ
from .support import LOCAL, SECURE, IntegrationTestCase
from .wires import Wire

#: For each proxy, the servers it joins, and the milliseconds it waits: those that close a circle, or do the same as
#: another one, stand by. It is longer than any test takes.
RING = (((0, 1), 0), ((1, 2), 0), ((2, 0), 60_000))
CHAIN = ((0, 1), (1, 2))
MESH = (((0, 1, 2), 0), ((0, 1, 2), 30_000), ((0, 1, 2), 60_000))


class _Person:
    """Somebody on a server who talks, and listens all the time.

    Args:
        name: in everything that is said.
        member: the connection.
    """

    def __init__(self, name: str, member: Member) -> None:
        self.name = name
        self.member = member
        self.said: list[str | bytes] = []
        self.heard: list[str | bytes] = []
        self._news: asyncio.Condition
        together([self._begin()])

    async def _begin(self) -> None:
        self._news = asyncio.Condition()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self.member.connection:
                self.heard.append(message)
                async with self._news:
                    self._news.notify_all()

    async def say(self, number: int) -> None:
        """Say so many more things, text and binary in turn, while others do the same."""
        for _ in range(number):
            text = f"{self.name}.{len(self.said)}"
            message = text if len(self.said) % 2 else text.encode()
            self.said.append(message)
            await self.member.connection.send(message)
            await asyncio.sleep(0)

    async def hear(self, people: Iterable["_Person"]) -> None:
        """Wait until everything of the others has come."""
        wanted = {text for other in people if other is not self for text in other.said}
        seen = 0

        def is_all() -> bool:
            nonlocal seen
            wanted.difference_update(self.heard[seen:])
            seen = len(self.heard)
            return not wanted

        async with self._news:
            await self._news.wait_for(is_all)

    @property
    def first_heard(self) -> list[str | bytes]:
        """What was heard, without what came again."""
        return list(dict.fromkeys(self.heard))


class _BridgeTests(IntegrationTestCase):
    """Servers, proxies and people."""

    servers: list[Server]

    def start_servers(self, number: int, *options: str) -> list[Server]:
        self.servers = [self.start_server(*LOCAL, "--rate-limit", "0", *options) for _ in range(number)]
        return self.servers

    def start_proxy(self, servers: Sequence[Reachable | Wire], *options: str) -> Process:
        """A proxy that has joined them all."""
        urls = [server.url for server in servers]
        directory = self.servers[0].directory
        command = ["mles-tx", "proxy", "--channel", self.channel, *options, *urls]
        proxy = Process(command, directory, server_environ(directory))
        self.addCleanup(proxy.stop)
        for url in urls:
            proxy.expect(re.escape(f"{url}: joined"), 3 * WAIT)  # a program starts, and makes connections
        return proxy

    def wire(self, server: Server) -> Wire:
        """A way to a server that can be cut."""
        wire = Wire(server.port)
        self.addCleanup(wire.close)
        return wire

    def person(self, index: int, name: str | None = None) -> _Person:
        """Somebody on a server, without its history."""
        name = name or f"p{index}"
        return _Person(name, self.member(self.servers[index], name, history=0))

    def remembered(self, index: int, speaker: _Person) -> list[str | bytes]:
        """What a server remembers, without join frames; somebody there speaks to mark the end."""
        late = self.client(self.servers[index])
        late.send(join_frame(f"late {len(speaker.said)}", self.channel, history=999_999))
        together([speaker.say(1)])
        found: list[str | bytes] = []
        while not found or found[-1] != speaker.said[-1]:
            found.append(late.receive())
        late.leave()
        return found

    def all_talk(self, people: Sequence[_Person], number: int) -> None:
        """Everybody says so many things at the same time, and hears everything of the others."""
        together([person.say(number) for person in people])
        self.all_hear(people)

    def all_hear(self, people: Sequence[_Person]) -> None:
        """Everybody hears everything of the others, one after the other so that each has its time."""
        for person in people:
            together([person.hear(people)])

    def assert_all_heard(self, people: Sequence[_Person], *, in_order: bool = True, comes_back: bool = False) -> None:
        """Everybody has heard everything of the others, in the order in which each has said it, and nothing else.

        Where there are two ways, and none stands by, words may come back to whoever said them; and when links are cut
        besides, overtake themselves.
        """
        for person in people:
            others = [other for other in people if other is not person]
            heard = set(person.heard).difference(person.said) if comes_back else set(person.heard)
            self.assertEqual(heard, {text for other in others for text in other.said})
            if in_order:
                for other in others:
                    own = set(other.said)
                    self.assertEqual([text for text in person.first_heard if text in own], other.said)

    def assert_once(self, people: Sequence[_Person]) -> None:
        """Nobody has heard anything twice."""
        for person in people:
            self.assertEqual(max(Counter(person.heard).values()), 1, person.name)


class ShapeTests(_BridgeTests):
    """Three servers and three proxies."""

    def check_shape(self, shape: Sequence[tuple[tuple[int, ...], int]]) -> None:
        """With proxies that stand by everything comes once; without, which takes longer, at most once from each."""
        servers = self.start_servers(3)
        for standing_by in (True, False)[: rounds(1, 2)]:
            self.channel += f" {standing_by}"
            proxies = [
                self.start_proxy(
                    [servers[index] for index in indexes], *(("--standby", str(standby)) if standing_by else ())
                )
                for indexes, standby in shape
            ]
            people = [self.person(index) for index in range(3)]
            self.all_talk(people, rounds(100, 3400))
            self.assert_all_heard(people, comes_back=not standing_by)
            if standing_by:
                self.assert_once(people)
            for index, person in enumerate(people):
                ways = sum(index in indexes for indexes, _ in shape)
                self.assertLessEqual(max(Counter(person.heard).values()), ways)
            for proxy in proxies:
                proxy.signal(signal.SIGTERM)
            for proxy in proxies:
                self.assertEqual(proxy.wait(), 0)
                self.assertNotIn("Traceback", proxy.output)
        for server in servers:
            self.assert_no_faults(server)

    def test_ring(self) -> None:
        """Three servers in a ring of proxies: everything said anywhere is heard everywhere, in each sender's order."""
        self.check_shape(RING)

    def test_mesh(self) -> None:
        """Three proxies that all join all three servers; two of them stand by."""
        self.check_shape(MESH)


class BreakTests(_BridgeTests):
    """Links, servers and proxies that go and come back."""

    def test_cut_links(self) -> None:
        """Links of a chain that are cut while everybody talks come back: all is there once, in each sender's order."""
        people = self.cut_links(CHAIN)
        self.assert_all_heard(people)
        self.assert_once(people)

    def test_cut_links_of_a_ring(self) -> None:
        """The same in a ring: nothing is missing."""
        people = self.cut_links([channels for channels, _ in RING])
        self.assert_all_heard(people, in_order=False, comes_back=True)

    def cut_links(self, shape: Sequence[tuple[int, ...]]) -> list[_Person]:
        """Everybody talks while one wire after the other is cut and mended."""
        servers = self.start_servers(3, "--limit", "100000")
        wires = [self.wire(server) for server in servers]
        for one, other in shape:
            self.start_proxy([wires[one], wires[other]])
        people = [self.person(index) for index in range(3)]
        for number in range(rounds(2, 30)):
            wire = wires[number % 3]
            together([person.say(40) for person in people])
            wire.cut()
            together([person.say(40) for person in people])
            wire.mend()
            together([person.say(40) for person in people])
        self.all_hear(people)
        for server in servers:
            self.assert_no_faults(server)
        return people

    def test_restarted_server(self) -> None:
        """A server that was killed, and begins again with nothing, is filled again by the proxy, once."""
        one, other = self.start_servers(2)
        self.start_proxy([one, other])
        alice, bob = self.person(0, "alice"), self.person(1, "bob")
        self.all_talk([alice, bob], 50)
        other.signal(signal.SIGKILL)
        other.wait()
        together([alice.say(20)])
        self.servers[1] = self.start_server(*LOCAL[:-1], str(other.port), "--rate-limit", "0")
        carol = self.person(1, "carol")
        together([carol.hear([alice])])
        together([carol.say(1)])
        together([alice.hear([bob, carol])])
        self.assert_once([alice])
        found = self.remembered(1, carol)
        self.assertEqual(Counter(found), Counter([*alice.said, *bob.said, *carol.said]))
        self.assertEqual([text for text in found if text in set(alice.said)], alice.said)
        self.assertEqual(Counter(self.remembered(0, alice)), Counter([*alice.said, *bob.said, *carol.said]))

    def test_proxy_that_begins_again(self) -> None:
        """What is said while there is no proxy is passed on by the next one, once, either way."""
        servers = self.start_servers(2)
        proxy = self.start_proxy(servers)
        alice, bob = self.person(0, "alice"), self.person(1, "bob")
        self.all_talk([alice, bob], 20)
        proxy.signal(signal.SIGTERM)
        self.assertEqual(proxy.wait(), 0)
        together([alice.say(20), bob.say(20)])
        alice.member.settle()
        bob.member.settle()
        self.start_proxy(servers)
        together([alice.hear([bob]), bob.hear([alice])])
        self.all_talk([alice, bob], 20)
        self.assert_all_heard([alice, bob])
        self.assert_once([alice, bob])

    def test_standing_by(self) -> None:
        """When a proxy is killed while everybody talks, one that stands by takes over, and nothing is missing."""
        servers = self.start_servers(2)
        first = self.start_proxy(servers)
        self.start_proxy(servers, "--standby", "200")
        people = [self.person(0), self.person(1)]
        self.all_talk(people, 20)
        together([person.say(50) for person in people])
        first.signal(signal.SIGKILL)
        self.all_talk(people, 50)
        self.assert_all_heard(people)


class SettingsTests(_BridgeTests):
    """What the command is told."""

    def fingerprint(self, pem: Path) -> str:
        """The SHA-256 of a certificate."""
        return load_pem_x509_certificate(pem.read_bytes()).fingerprint(SHA256()).hex(":")

    def test_secure_and_with_keys(self) -> None:
        """Servers with TLS, one with a key and one without: each is told what it wants to hear."""
        one = self.start_server(*SECURE, environ={"MLES_KEY": "s3cret"})
        other = self.start_server(*SECURE)
        self.servers = [one, other]
        directory = one.directory
        (directory / "key").write_text("s3cret\n")
        pem = directory / "cache" / "self-signed" / "localhost.pem"
        pinned = self.fingerprint(other.directory / "cache" / "self-signed" / "localhost.pem")
        trusts = ("--ca-file", str(pem), "--fingerprint", "none", "--fingerprint", pinned)
        proxy = self.start_proxy(self.servers, *trusts, "--key-file", "key", "--key-file", "none", "--uid", "bridge")
        auth = auth_value("alice", self.channel, b"s3cret")
        alice = self.member(one, "alice", auth=auth, history=0)
        bob = self.member(other, "bob", history=0)
        alice.send("from alice")
        self.assertEqual(bob.receive(), "from alice")
        bob.send(b"\x00from bob")
        self.assertEqual(alice.receive(), b"\x00from bob")
        proxy.signal(signal.SIGUSR1)
        proxy.expect(rf"{re.escape(one.url)}: up, 1 heard, 0 repeated, 1 said, 0 spared, 0 refused, 0 waiting, 1 links")
        proxy.signal(signal.SIGINT)
        self.assertEqual(proxy.wait(), 0)
        self.assertNotIn("s3cret", proxy.output)

    def test_refused(self) -> None:
        """A server that will never let it in ends it, with one line that says which and why."""
        server = self.start_server(*LOCAL, environ={"MLES_KEY": "s3cret"})
        other = self.shared_server(LOCAL)
        command = ["mles-tx", "proxy", "--channel", self.channel, server.url, other.url]
        proxy = Process(command, server.directory, server_environ(server.directory))
        self.addCleanup(proxy.stop)
        self.assertEqual(proxy.wait(3 * WAIT), 1)
        self.assertEqual(
            proxy.output.splitlines()[-1], f"mles-tx proxy: {server.url}: this server needs auth in the first frame"
        )
        self.assertNotIn("Traceback", proxy.output)
