"""Several real servers on one real Redis, which is stopped, ended, killed and cut off while everybody talks."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from twisted.trial.unittest import SkipTest
from websockets.exceptions import ConnectionClosed

from tests import rounds
from tests.ports import free_port
from tests.torture.admin import metric, readiness
from tests.transport.certificates.making import make

from .clients import Member, join_frame
from .processes import WAIT, Server
from .redises import RedisServer
from .support import LOCAL, IntegrationTestCase

#: Seconds between two messages of one that talks all the time.
PACE = 0.005

#: Seconds within which members of one node hear each other, whatever Redis does: enough to see that nobody waits for
#: it. Promised are 0.25, which `make torture` judges.
PROMPT = 5.0

#: How often it is tried to find Redis quick enough to be relied on.
_TRIES = 3


@dataclass
class _Talker:
    """Somebody who talks all the time."""

    name: str
    member: Member
    said: list[tuple[str, float]] = field(default_factory=list)

    async def talk(self) -> None:
        """Never pause."""
        while True:
            text = f"{self.name}.{len(self.said)}"
            self.said.append((text, time.monotonic()))
            await self.member.connection.send(text)
            await asyncio.sleep(PACE)


@dataclass
class _Listener:
    """Somebody who listens."""

    member: Member
    heard: list[tuple[str, float]] = field(default_factory=list)

    async def listen(self) -> None:
        """Note everything, and when it came."""
        with contextlib.suppress(ConnectionClosed):
            async for text in self.member.connection:
                self.heard.append((str(text), time.monotonic()))

    @property
    def texts(self) -> list[str]:
        return [text for text, _ in self.heard]


class _RedisTests(IntegrationTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.redis = self.start_redis()

    def start_redis(self, *options: str, tcp: bool = False, tls: bool = False) -> RedisServer:
        server = RedisServer(*options, tcp=tcp, tls=tls)
        self.addCleanup(server.stop)
        return server

    def node(self, *options: str, url: str | None = None) -> Server:
        """A server on the Redis."""
        return self.start_server(*LOCAL, "--rate-limit", "0", "--history", url or self.redis.url, *options)


class NodesTests(_RedisTests):
    """Two servers that are one."""

    def test_history_from_a_peer(self) -> None:
        """History that a client holds is taken on one node for all, and after that on none."""
        nodes = [self.node(), self.node()]
        listening = [self.member(node, f"p{index}", history=0) for index, node in enumerate(nodes)]
        for index, node in enumerate(nodes):
            offering = self.member(node, f"offering {index}", resync=2, history=0)
            for text in ("old 1", "old 2", f"said {index}"):
                offering.send(text)
            expected = ["old 1", "old 2", "said 0"] if index == 0 else ["said 1"]
            for member in listening:
                self.assertEqual(member.receive_some(len(expected)), expected)
        for index, node in enumerate(nodes):
            late = self.member(node, f"late {index}", history=4)
            self.assertEqual(late.receive_some(4), ["old 1", "old 2", "said 0", "said 1"])

    def test_as_one(self) -> None:
        """Members of different servers hear each other, find one history, and cannot have the same uid."""
        one, other = self.node(), self.node()
        alice, bob = self.member(one, "alice", history=0), self.member(other, "bob", history=0)
        alice.send("from one")
        self.assertEqual(bob.receive(), "from one")
        bob.send(b"\x00from other")
        self.assertEqual(alice.receive(), b"\x00from other")
        history = [join_frame("alice", self.channel), join_frame("bob", self.channel), "from one", b"\x00from other"]
        for number, server in enumerate((one, other, self.node())):
            late = self.member(server, f"late {number}")
            self.assertEqual(late.receive_some(4), history)
        taken = self.client(other)
        taken.send(join_frame("alice", self.channel))
        self.assertEqual(taken.closed()[0], 4512)
        alice.leave()
        one.expect("left: uid alice")
        self.assertEqual(self.member(other, "alice").receive_some(4), history)
        for server in (one, other):
            self.assert_no_faults(server)

    def test_dead_server(self) -> None:
        """Members of a server that was killed come back to another one within seconds, and miss nothing."""
        one, other = self.node(), self.node()
        self.member(one, "alice", history=0)
        bob = self.member(other, "bob", history=0)
        one.signal(signal.SIGKILL)
        one.wait()
        bob.send("where are you?")
        began = time.monotonic()
        while True:
            alice = self.client(other)
            alice.send(join_frame("alice", self.channel, history=1))
            try:
                self.assertEqual(alice.receive(), "where are you?")
                break
            except ConnectionClosed as error:
                assert error.rcvd is not None
                self.assertEqual(error.rcvd.code, 4512)
        self.assertLess(time.monotonic() - began, 6 + PROMPT)

    def test_whole_stop(self) -> None:
        """What was said before all servers have ended is there when they start again; they end as they should."""
        one = self.node()
        alice = self.member(one, "alice", history=0)
        for number in range(300):
            alice.send(str(number))
        alice.settle()
        one.signal(signal.SIGTERM)
        self.assertEqual(alice.closed()[0], 1001)
        one.wait()
        self.assert_no_faults(one)
        late = self.client(self.node())
        late.send(join_frame("late", self.channel, history=1000))
        self.assertEqual(late.receive_some(200), [str(number) for number in range(100, 300)])

    def test_password(self) -> None:
        """A Redis over TCP with a password and a database is used as it is; nobody reads the password."""
        protected = self.start_redis("--requirepass", "s3cret", tcp=True)
        url = f"redis://:s3cret@127.0.0.1:{protected.port}/3"
        one, other = self.node(url=url), self.node(url=url)
        alice, bob = self.member(one, "alice", history=0), self.member(other, "bob", history=0)
        alice.send("hello")
        self.assertEqual(bob.receive(), "hello")
        wrong = self.node(url=f"redis://:wr0ng@127.0.0.1:{protected.port}/3")
        wrong.expect("WRONGPASS")
        for server in (one, other, wrong):
            self.assertNotIn("s3cret", server.output)
            self.assertNotIn("wr0ng", server.output)
            self.assert_no_faults(server)

    def test_tls(self) -> None:
        """A Redis that speaks TLS is talked to if its certificate is one we trust, and else not."""
        made, directory = make("localhost"), Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        (directory / "cert.pem").write_bytes(made.certificate_pem)
        (directory / "key.pem").write_bytes(made.key_pem)
        files = ("--tls-cert-file", str(directory / "cert.pem"), "--tls-key-file", str(directory / "key.pem"))
        secure = self.start_redis(*files, "--tls-auth-clients", "no", "--tls-ca-cert-file", files[1], tls=True)
        url = f"rediss://localhost:{secure.port}"
        one, other = self.node(url=f"{url}?ca={files[1]}"), self.node(url=f"{url}?ca={files[1]}")
        alice, bob = self.member(one, "alice", history=0), self.member(other, "bob", history=0)
        alice.send("hello")
        self.assertEqual(bob.receive(), "hello")
        self.node(url=url).expect(r"Redis at rediss://localhost:\d+/0: .*certificate verify failed")
        for server in (one, other):
            self.assert_no_faults(server)

    def test_none_at_start(self) -> None:
        """A server starts without Redis, serves its members, and is one with the others as soon as it is there."""
        self.redis.end()
        one, other = self.node(), self.node()
        alice, bob = self.member(one, "alice", history=0), self.member(one, "bob", history=0)
        eve = self.member(other, "eve", history=0)
        alice.send("1")
        self.assertEqual(bob.receive(), "1")
        self.redis.start()
        self.assertEqual(eve.receive(), "1")
        eve.send("2")
        self.assertEqual((alice.receive(), bob.receive()), ("2", "2"))
        for server in (one, other):
            server.expect("answers in time again")
            self.assert_no_faults(server)


class OutageTests(_RedisTests):
    """Members on two servers who never pause, whatever happens to Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.admin = [free_port(), free_port()]
        self.servers = [self.node("--admin", f"tcp:{port}") for port in self.admin]
        self.talkers = [
            _Talker(f"{name}{number}", self.member(server, f"{name}{number}", receive=False))
            for number, server in enumerate(self.servers)
            for name in ("alice", "bob")
        ]
        self.listeners = [
            _Listener(self.member(server, f"ear{number}", history=0)) for number, server in enumerate(self.servers)
        ]
        run = self.listeners[0].member._run
        self.run_on_loop: Callable[..., object] = run

        async def begin() -> None:
            self.listening = [asyncio.ensure_future(listener.listen()) for listener in self.listeners]

        run(begin())

    def talk(self) -> None:
        """Everybody begins to talk."""

        async def begin() -> None:
            self.talking = [asyncio.ensure_future(talker.talk()) for talker in self.talkers]

        self.run_on_loop(begin())

    def hush(self) -> None:
        """Everybody stops talking; wait until everything was heard everywhere."""

        async def end() -> None:
            for task in self.talking:
                task.cancel()
            await asyncio.gather(*self.talking, return_exceptions=True)

        self.run_on_loop(end())
        count = sum(len(talker.said) for talker in self.talkers)
        until = time.monotonic() + WAIT
        while time.monotonic() < until and any(len(listener.heard) < count for listener in self.listeners):
            time.sleep(0.02)

    def wait(self, seconds: float) -> None:
        """Let them talk for so long."""
        time.sleep(seconds)

    def assert_heard(self) -> None:
        """Everybody has heard everything once, in each sender's order; on one's own server soon."""
        for number, listener in enumerate(self.listeners):
            for talker in self.talkers:
                heard = [text for text in listener.texts if text.split(".")[0] == talker.name]
                said = [text for text, _ in talker.said]
                if heard != said:
                    at = next((i for i, (a, b) in enumerate(zip(heard, said, strict=False)) if a != b), -1)
                    self.fail(
                        f"of {talker.name} server {number} has {len(heard)} messages for {len(said)}, other ones from"
                        f" {at}: {heard[at : at + 5]} for {said[at : at + 5]}"
                    )
                if talker.name.endswith(str(number)):
                    times = dict(listener.heard)
                    slowest = max(times[text] - at for text, at in talker.said)
                    self.assertLess(slowest, PROMPT, f"{talker.name} at its own server")

    def assert_one_order(self, since: int = 0) -> None:
        """Both have heard the same, in the same order."""
        first, second = (listener.texts[since:] for listener in self.listeners)
        self.assertEqual(first, second)

    def calm(self) -> None:
        """While both rely on Redis, there is one order. They talk again where the machine is too busy for that."""
        for _ in range(_TRIES):
            self.await_readiness()
            faults, heard = self.faults(), len(self.listeners[0].heard)
            self.talk()
            self.wait(0.3)
            self.hush()
            self.assert_heard()
            if self.faults() == faults:
                self.assert_one_order(heard)
                return
        raise SkipTest("Redis did not answer in time, again and again")

    def await_readiness(self) -> None:
        """Wait until both servers rely on Redis."""
        until = time.monotonic() + WAIT
        while any(readiness(port) != 200 for port in self.admin):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)

    def faults(self) -> list[float]:
        """How often each server had to do without Redis so far."""
        return [metric(port, "mles_history_faults_total") for port in self.admin]

    def recovered(self) -> None:
        """Wait until both servers rely on Redis again."""
        with self.redis.client as client:
            until = time.monotonic() + WAIT
            while time.monotonic() < until:
                lists = client.client_list()
                if sum(int(entry["sub"]) > 0 for entry in lists) >= 2:
                    break
                time.sleep(0.05)

    def trouble(self, *what: Callable[[], object]) -> None:
        """Everybody talks while something happens; then all is well again."""
        self.calm()
        self.talk()
        self.wait(0.3)
        for happens in what:
            happens()
        self.wait(0.5)
        self.hush()
        self.assert_heard()
        self.recovered()
        self.wait(0.5)
        self.calm()
        for server in self.servers:
            self.assert_no_faults(server)

    def test_stopped(self) -> None:
        """Redis is stopped for a while, and goes on."""
        self.trouble(
            lambda: self.redis.process.signal(signal.SIGSTOP),
            lambda: self.wait(rounds(2, 10)),
            lambda: self.redis.process.signal(signal.SIGCONT),
        )

    def test_ended(self) -> None:
        """Redis ends, and is started again after a while."""
        self.trouble(lambda: self.redis.end(), lambda: self.wait(rounds(1, 10)), self.redis.start)

    def test_killed(self) -> None:
        """Redis is killed, and started with what it has kept; who joins afterwards finds one history everywhere."""
        for _ in range(rounds(1, 10)):
            self.trouble(lambda: self.redis.end(signal.SIGKILL), lambda: self.wait(0.5), self.redis.start)
        found = []
        for number, server in enumerate(self.servers):
            late = self.client(server)
            late.send(join_frame(f"late{number}", self.channel, history=100))
            found.append(late.receive_some(100))
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0], self.listeners[0].texts[-100:])

    def test_links_cut(self) -> None:
        """The links of both servers are cut ten times."""
        self.trouble(*(happens for kind in ("normal", "pubsub") * 5 for happens in self.cut(kind, 0.25)))

    def test_links_cut_in_quick_succession(self) -> None:
        """Likewise, with no time to recover in between."""
        for _ in range(rounds(1, 10)):
            self.trouble(*(happens for kind in ("normal", "pubsub") * 5 for happens in self.cut(kind, 0.02)))

    def cut(self, kind: str, seconds: float) -> list[Callable[[], object]]:
        """Cut the links of a kind, and wait."""
        return [lambda: self.redis.cut(kind), lambda: self.wait(seconds)]
