"""Several processes that are one server: with real ones, on a real Redis."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from mles_tx.protocol.auth import digest
from tests import rounds

from .clients import Member, join_frame, together
from .processes import WAIT, Process, Server, server_environ
from .redises import RedisServer
from .support import LOCAL, SECURE, Contract, IntegrationTestCase
from .test_signals import LESS_THAN_DRAIN, again_if_late

STOPPING = (1001, "server is stopping")
RESTARTING = (1012, "server is restarting")

WITHIN_PROMISE = 10.0


class WorkersTestCase(IntegrationTestCase):
    """A server with workers, and its Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = RedisServer()
        self.addCleanup(self.redis.stop)

    def serve(
        self,
        *options: str,
        workers: int = 2,
        command: tuple[str, ...] = LOCAL,
        environ: Mapping[str, str] | None = None,
    ) -> Server:
        """A server with so many workers."""
        return self.start_server(
            *command, "--workers", str(workers), "--history", self.redis.url, *options, environ=environ
        )

    def processes(self, server: Server) -> list[int]:
        """The workers of a server, the first one first."""
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
        workers = {}
        for pid in map(int, children.split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            workers[pid] = int(words[-2] or 0)
        return sorted(workers, key=workers.__getitem__)

    def worker_of(self, server: Server, uid: str) -> int:
        """The number of the worker that serves a member, as the log tells."""
        return int(server.expect(rf"\[worker (\d+) [^\]]*\] joined: uid {re.escape(uid)},")[1])

    def on_each(self, server: Server) -> dict[int, Member]:
        """A member on each worker, by its number: while it connects, the other workers stand still."""
        found: dict[int, Member] = {}
        processes = self.processes(server)
        for number, process in enumerate(processes, 1):
            others = [other for other in processes if other != process]
            for other in others:
                os.kill(other, signal.SIGSTOP)
            try:
                found[number] = self.member(server, f"member {number}", history=0)
            finally:
                for other in others:
                    os.kill(other, signal.SIGCONT)
            self.assertEqual(self.worker_of(server, f"member {number}"), number)
        return found

    def ask(self, server: Server, path: str) -> tuple[int, str]:
        """What the admin endpoint says."""
        port = int(server.expect(r"answered on 127\.0\.0\.1:(\d+)")[1])
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT) as answer:
                return answer.status, answer.read().decode()
        except OSError as error:
            return getattr(error, "code", 0), getattr(error, "read", bytes)().decode()

    def metric(self, server: Server, name: str) -> float:
        """A metric."""
        match = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.ask(server, "/metrics")[1], re.MULTILINE)
        assert match is not None, name
        return float(match[1])

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        end = time.monotonic() + WAIT
        while not holds():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def gone(self, pids: Iterable[int]) -> None:
        """Wait until processes are no more."""
        self.until(lambda: not any(self.lives(pid) for pid in pids))

    def lives(self, pid: int) -> bool:
        """Whether there is a process; one that has ended and was not asked for is none."""
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
        except OSError:
            return False


class ServingContract(Contract):
    """What holds for both commands."""

    command: tuple[str, ...]

    #: Exit codes by signal; below zero: a signal's number.
    codes: Mapping[int, int]

    serve: Callable[..., Server]
    processes: Callable[[Server], list[int]]
    on_each: Callable[..., dict[int, Member]]
    gone: Callable[[Iterable[int]], None]
    until: Callable[[Callable[[], bool]], None]
    metric: Callable[[Server, str], float]
    ask: Callable[[Server, str], tuple[int, str]]
    worker_of: Callable[[Server, str], int]

    def test_as_one(self) -> None:
        """Members on different workers hear each other, find one history, and are counted together."""
        server = self.serve("--admin", "tcp:0", command=self.command)
        members = self.on_each(server)
        members[1].send("from one")
        self.assertEqual(members[2].receive(), "from one")
        members[2].send(b"from two")
        self.assertEqual(members[1].receive(), b"from two")
        late = self.member(server, "late", history=2)
        self.assertEqual(late.receive_some(2), ["from one", b"from two"])
        self.assertEqual(self.metric(server, "mles_workers"), 2)
        self.assertEqual(self.metric(server, "mles_members"), 3)
        self.assertEqual(self.metric(server, "mles_messages_received_total"), 2)
        self.assertEqual(self.ask(server, "/readyz"), (200, "ready\n"))
        server.signal(signal.SIGUSR1)
        server.expect(r"metrics: active_connections 3, .*total_messages_received 2,")
        self.assert_no_faults(server)

    def test_end(self) -> None:
        """On a signal all members get what was said on their worker and are told; all processes end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            server = self.serve(command=self.command)
            members, processes = self.on_each(server), self.processes(server)
            listener = self.member(server, "listener", history=0)
            speaker = members[self.worker_of(server, "listener")]
            speaker.send("the last")
            speaker.settle()
            server.signal_group(number)  # as a terminal does
            self.assertEqual(listener.receive(), "the last")
            self.assertEqual([member.closed() for member in members.values()], [STOPPING] * 2)
            self.assertEqual(server.wait(WITHIN_PROMISE), self.codes[number])
            self.gone(processes)
            self.assert_no_faults(server)

    @again_if_late
    def test_second_signal(self) -> None:
        """A second signal ends it at once, whoever lets it wait."""
        server = self.serve(command=self.command)
        stubborn = [self.raw_member(server, f"stubborn {number}", history=0) for number in range(4)]
        server.signal(signal.SIGTERM)
        for member in stubborn:
            self.assertEqual(member.read_close(), STOPPING)
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(LESS_THAN_DRAIN), self.codes[signal.SIGTERM])
        self.assert_no_faults(server)

    def test_supervisor_killed(self) -> None:
        """When the supervisor is killed its workers tell their members, and end: nobody is left behind."""
        server = self.serve(command=self.command)
        members, processes = self.on_each(server), self.processes(server)
        server.signal(signal.SIGKILL)
        self.assertEqual([member.closed() for member in members.values()], [STOPPING] * 2)
        self.gone(processes)
        server.wait()

    def test_worker_killed(self) -> None:
        """A worker that is killed is replaced; members of the other one do not notice, and nothing is lost."""
        server = self.serve("--admin", "tcp:0", command=self.command)
        members = self.on_each(server)
        processes = self.processes(server)
        os.kill(processes[0], signal.SIGKILL)
        server.expect("worker 1 was ended by signal 9: another one is started")
        members[2].send("are you there?")
        server.expect(r"worker 1 serves: process \d+")
        server.new_faults()  # that one was killed
        self.assertEqual(self.processes(server)[1], processes[1])
        self.assertNotEqual(self.processes(server)[0], processes[0])
        late = self.member(server, "late", history=1)
        self.assertEqual(late.receive(), "are you there?")
        late.send("yes")
        self.assertEqual(members[2].receive(), "yes")
        self.assertEqual(self.metric(server, "mles_worker_restarts_total"), 1)
        self.assert_no_faults(server)


class LocalServingTests(ServingContract, WorkersTestCase):
    """`mles-tx serve`."""

    command = LOCAL
    codes = {signal.SIGTERM: 0, signal.SIGINT: 0}


class TwistdServingTests(ServingContract, WorkersTestCase):
    """Under twistd, with TLS."""

    command = SECURE
    codes = {signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: -signal.SIGINT}


class SettingsTests(WorkersTestCase):
    """What a server with workers is told, and tells."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.config = self.directory / "mles.toml"

    def begin(self, text: str, *options: str, **more: object) -> Server:
        """A server with a file of settings."""
        self.config.write_text(text)
        return self.serve("--config", str(self.config), "--admin", "tcp:0", *options, **more)  # type: ignore[arg-type]

    def change(self, server: Server, text: str, told: str) -> None:
        """Have it read another file."""
        self.config.write_text(text)
        server.signal(signal.SIGHUP)
        server.expect(told)

    def test_reread(self) -> None:
        """On SIGHUP all workers have other settings; a wrong file changes nothing, and is told once."""
        server = self.begin("max-channels = 4")
        members = self.on_each(server)
        self.change(server, "max-channels = 0", r"the settings stay as they were: .*mles.toml")
        self.change(server, "max-channels = 1", "settings read again: 1 changed, 0 need a restart")
        for number in range(8):  # some on each worker
            refused = self.client(server)
            refused.send(join_frame(f"refused {number}", f"{self.channel} {number}"))
            self.assertEqual(refused.closed()[0], 1013)
        self.assertEqual(server.output.count("the settings stay as they were"), 1)
        self.assertEqual(server.output.count("changed: --max-channels: 4 -> 1"), 1)
        os.kill(self.processes(server)[1], signal.SIGKILL)  # who follows has them as well
        server.expect("worker 2 serves")
        server.new_faults()
        members[1].settle()
        for number in range(8):
            refused = self.client(server)
            refused.send(join_frame(f"refused {number}", f"{self.channel} {number}"))
            self.assertEqual(refused.closed()[0], 1013)
        self.assert_no_faults(server)

    def test_limit_of_addresses(self) -> None:
        """The connections of an address are counted on all workers together."""
        server = self.begin("per-ip-limit = 20")
        answers = []
        for _ in range(30):
            client = self.raw(server)
            with contextlib.suppress(OSError, AssertionError):
                answers.append(client.upgrade().status)
        self.assertEqual(answers, [101] * 20)
        self.assertEqual(self.metric(server, "mles_dropped_connections_total"), 10)

    def test_log(self) -> None:
        """Each line says which worker it is of; in JSON that is a field."""
        server = self.serve("--log-format", "json")
        self.member(server, "alice")
        match = server.expect(r'^\{"time":.*"text":"joined: uid alice.*"worker":(\d).*\}$')
        self.assertIn(match[1], "12")

    def test_service_manager(self) -> None:
        """Its sockets may be somebody else's, and the service manager hears of the supervisor alone."""
        activator = (sys.executable, str(Path(__file__).with_name("activator.py")), "https,http")
        program = (
            str(Path(sys.executable).with_name("mles-tx")),
            "serve",
            "--domains",
            "localhost",
            "--cache",
            "cache",
        )
        listen = ("--listen", "systemd:name=https", "--redirect-listen", "systemd:name=http", "--per-ip-limit", "0")
        with (
            TemporaryDirectory(prefix="mles-") as directory,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        ):
            manager.bind(f"{directory}/notify")
            manager.settimeout(WAIT)
            environ = {"NOTIFY_SOCKET": f"{directory}/notify"}
            server = self.serve(command=(*activator, *program, *listen), environ=environ)
            self.assertEqual(manager.recv(4096).decode(), f"READY=1\nSTATUS=serving on port {server.port}")
            alice = self.member(server, "alice")
            redirect = int(server.expect(r"http is on port (\d+)")[1])
            with socket.create_connection(("127.0.0.1", redirect), WAIT) as browser:
                browser.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertIn(b"301 Moved Permanently", browser.recv(4096))
            supervisor = int(server.expect(r"started (\d+)")[1])
            os.kill(supervisor, signal.SIGUSR2)
            self.assertEqual(alice.closed(), RESTARTING)
            self.assertIn("STATUS=replacing 2 workers, one after another", manager.recv(4096).decode())
            server.expect("all workers are replaced")
            self.assertIn("READY=1", manager.recv(4096).decode())
            os.kill(supervisor, signal.SIGTERM)
            self.assertIn("STOPPING=1", manager.recv(4096).decode())
            server.expect(r"ended with 0$")
            self.assert_no_faults(server)

    def test_command_line(self) -> None:
        """What cannot be is told in one line."""
        for options, told in (
            (
                ("--workers", "2"),
                "mles: --workers 2: several processes share what is said through Redis; give --history"
                " redis://HOST/DB as well\n",
            ),
            (("--workers", "0"), "mles: --workers '0': give a whole number from 1 to 256\n"),
        ):
            for command in (LOCAL, ("twistd", "-n", "--pidfile=", "mles")):
                process = Process((*command, *options), self.directory, server_environ(self.directory))
                self.addCleanup(process.stop)
                self.assertEqual(process.wait(), 1)
                self.assertEqual(process.output, told)

    def test_cannot_start(self) -> None:
        """When a worker cannot start, the server says why in a line, and ends."""
        url = f"rediss://localhost:1?ca={self.config}"  # no certificate in it
        self.config.write_text("")
        for command in (LOCAL, ("twistd", "-n", "--pidfile=", "mles", "--port", "0")):
            process = Process(
                (*command, "--workers", "2", "--history", url), self.directory, server_environ(self.directory)
            )
            self.addCleanup(process.stop)
            self.assertEqual(process.wait(), 1, process.output)
            process.expect("^mles: --history rediss://localhost:1/0: the file of ca=: there is no certificate in it")


@contextlib.asynccontextmanager
async def _connected(server: Server, trust: ssl.SSLContext | None) -> AsyncIterator[ClientConnection]:
    async with connect(
        server.url,
        sock=await asyncio.to_thread(server.dial),
        ssl=trust,
        subprotocols=[Subprotocol("mles-websocket")],
        open_timeout=WAIT,
        close_timeout=WAIT,
    ) as connection:
        yield connection


class _Resuming:
    """A member that comes back as soon as it is told to go, and goes on behind what it has."""

    def __init__(self, server: Server, trust: ssl.SSLContext | None, uid: str, channel: str) -> None:
        self.server = server
        self.trust = trust
        self.uid = uid
        self.channel = channel
        self.heard: list[str] = []
        self.told: list[tuple[int, str]] = []
        self.joined = asyncio.Event()
        self.is_over = False

    async def listen(self) -> None:
        """Be there all the time."""
        while not self.is_over:
            since = [f"{digest(text.encode()):016x}" for text in self.heard[-4:]]
            try:
                async with _connected(self.server, self.trust) as connection:
                    await connection.send(join_frame(self.uid, self.channel, since=since))
                    self.joined.set()
                    async for text in connection:
                        if str(text).isdigit():  # else it is the join frame of another one
                            self.heard.append(str(text))
            except ConnectionClosed as error:
                assert error.rcvd is not None, "the connection ended without a close frame"
            close = connection.protocol.close_rcvd
            assert close is not None
            self.told.append((close.code, close.reason))


#: What a server logs when Redis has not answered for a fifth of a second: who joins then, on a node that has no history
#: of the channel, gets none.
_ALONE = "this server goes on alone"

#: How often a test is tried that Redis was too slow for.
_TRIES = 3


class _NoHistory(Exception):
    """The machine was too busy for Redis to answer: what joins promise otherwise does not hold."""


class _Speaking:
    """A member that never pauses, and looks after each connection what the server has of it."""

    def __init__(self, server: Server, trust: ssl.SSLContext | None, channel: str) -> None:
        self.server = server
        self.trust = trust
        self.channel = channel
        self.said = 0
        self.is_over = False

    def goes_on(self) -> bool:
        """Whether it has more to say."""
        return not self.is_over

    async def speak(self) -> None:
        """Say one number after another."""
        while self.goes_on():
            async with _connected(self.server, self.trust) as connection:
                await connection.send(join_frame("speaker", self.channel, history=1 if self.said else 0))
                if self.said:
                    self.said = await self.last(connection) + 1
                with contextlib.suppress(ConnectionClosed):
                    while self.goes_on():
                        await connection.send(str(self.said))
                        self.said += 1
                        await asyncio.sleep(0.005)
                    await (await connection.ping())

    async def last(self, connection: ClientConnection) -> int:
        """The last number that the history has.

        Raises:
            _NoHistory: it has come without a history.
        """
        while True:
            try:
                text = str(await asyncio.wait_for(connection.recv(), 1))
            except TimeoutError:
                if _ALONE in self.server.output:
                    raise _NoHistory from None
                continue
            if text.isdigit():
                return int(text)


class RollingTests(WorkersTestCase):
    """All workers are replaced, one after another, while everybody is there."""

    def roll(self, server: Server, members: int) -> None:
        """Replace all workers under members who resume, a speaker, and somebody who connects again and again.

        Raises:
            _NoHistory: Redis was too slow meanwhile.
        """
        trust = server.trust()
        before = self.processes(server)

        async def run() -> list[_Resuming]:
            listeners = [_Resuming(server, trust, f"member {number}", self.channel) for number in range(members)]
            speaker = _Speaking(server, trust, self.channel)
            tasks = []
            try:
                for listener in listeners:
                    tasks.append(asyncio.create_task(listener.listen()))
                    await listener.joined.wait()
                knocking = asyncio.create_task(self.knock(server, trust))
                tasks.append(knocking)
                speaking = asyncio.create_task(speaker.speak())
                tasks.append(speaking)
                await asyncio.sleep(0.2)
                server.signal(signal.SIGUSR2)
                await asyncio.to_thread(server.expect, "all workers are replaced", 3 * WAIT)
                await asyncio.sleep(0.2)
                speaker.is_over = True
                await asyncio.wait_for(speaking, WAIT)
                knocking.cancel()
                until = time.monotonic() + WAIT
                while time.monotonic() < until and any(len(listener.heard) < speaker.said for listener in listeners):
                    if _ALONE in server.output:
                        raise _NoHistory
                    await asyncio.sleep(0.02)
                for listener in listeners:
                    listener.is_over = True
                for task in tasks:
                    if task.done() and not task.cancelled():
                        task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            expected = [str(number) for number in range(speaker.said)]
            for listener in listeners:
                if _ALONE in server.output:
                    raise _NoHistory
                self.assertEqual(listener.heard, expected, listener.uid)
            return listeners

        (listeners,) = together([run()])
        told = [close for listener in listeners for close in listener.told]
        self.assertEqual(set(told), {RESTARTING})
        self.assertGreaterEqual(len(told), members)
        after = self.processes(server)
        self.assertEqual((len(after), set(after) & set(before)), (len(before), set()))

    async def knock(self, server: Server, trust: ssl.SSLContext | None) -> None:
        """Connect again and again: nobody is turned away."""
        while True:
            async with _connected(server, trust):
                pass

    def test_replaced(self) -> None:
        """Members come back to the next worker; nothing is lost or doubled, and no connection is refused."""
        for _ in range(_TRIES):
            server = self.serve("--rate-limit", "0", "--limit", "10000", command=SECURE)
            try:
                self.roll(server, rounds(6, 500))
            except _NoHistory:
                server.stop()
                self.channel += "+"
                continue
            self.assert_no_faults(server)
            return
        self.fail(f"in none of {_TRIES} tries did Redis get a fifth of a second of this machine in time")
