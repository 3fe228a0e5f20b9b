"""Running for good: under a service manager, on its sockets, started as root, and ending with many members there."""

import asyncio
import contextlib
import itertools
import os
import pwd
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SkipTest
from websockets.exceptions import ConnectionClosed

from tests.ports import free_port

from .clients import Member, together
from .parts import debian_program
from .processes import WAIT, Process, Server, server_environ
from .support import LOCAL, SECURE, Contract, IntegrationTestCase

#: A server with TLS under either command, which takes over its sockets.
_SERVE = ("serve", "--domains", "localhost", "--cache", "cache", "--per-ip-limit", "0")


@dataclass(frozen=True)
class Ended:
    """How a member's connection ended: what it was told, when, and what it had heard."""

    told: tuple[int, str] | None
    at: float
    heard: list[str | bytes]


def command(name: str) -> str:
    """A command beside the Python that runs the tests."""
    return str(Path(sys.executable).with_name(name))


def page(port: int, *, tls: bool = True) -> bytes:
    """The status line of an answer; it waits until somebody serves there."""
    client = socket.create_connection(("127.0.0.1", port), WAIT)
    with client:
        return ask(client, tls=tls)


def ask(client: socket.socket, *, tls: bool = True) -> bytes:
    """Ask for a page on a connection; the status line of the answer."""
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(client, server_hostname="localhost")
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return client.makefile("rb").readline().rstrip()


class ServiceManagerContract(Contract):
    """A server under a service manager, with either command."""

    command: tuple[str, ...]

    def test_notify(self) -> None:
        """It says when it is ready, that it is alive, and that it stops; only then it ends."""
        with self.manager() as (path, read):
            environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"}
            server = self.start_server(*self.command, environ=environ)
            self.assertEqual(read(), f"READY=1\nSTATUS=serving on port {server.port}")
            self.assertEqual([read() for _ in range(3)], ["WATCHDOG=1"] * 3)
            alice = self.member(server, "alice")
            server.signal(signal.SIGTERM)
            said = [read()]
            while said[-1] == "WATCHDOG=1":
                said.append(read())
            self.assertEqual(said[-1], "STOPPING=1\nSTATUS=telling 1 connections to go\nEXTEND_TIMEOUT_USEC=10000000")
            self.assertEqual(alice.closed()[0], 1001)
            server.wait()
            self.assert_no_faults(server)

    def test_reload(self) -> None:
        """On SIGHUP it says that it reads its settings again, and that it has: good ones and bad ones."""
        with self.manager() as (path, read), TemporaryDirectory(prefix="mles-") as directory:
            config = Path(directory) / "mles.toml"
            config.write_text("limit = 5")
            server = self.start_server(*self.command, "--config", str(config), environ={"NOTIFY_SOCKET": path})
            ready = read()
            for text, told in (("limit = 6", "changed: --limit: 5 -> 6"), ("limit = 0", "the settings stay as they")):
                config.write_text(text)
                server.signal(signal.SIGHUP)
                self.assertRegex(read(), r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
                self.assertEqual(read(), ready)
                server.expect(told)
            self.assertTrue(server.is_running)

    @contextmanager
    def manager(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """A service manager: its address, and what reads the next message."""
        with (
            TemporaryDirectory(prefix="mles-") as directory,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        ):
            manager.bind(f"{directory}/notify")
            manager.settimeout(WAIT)
            yield f"{directory}/notify", lambda: manager.recv(4096).decode()

    def test_cannot_start(self) -> None:
        """A service manager that asks why it did not start gets the line."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        with self.manager() as (path, read), socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            arguments = [*self.command, "--port", str(port), "--interface", "127.0.0.1", "--domains", "localhost"]
            process = Process(arguments, directory, server_environ(directory, NOTIFY_SOCKET=path))
            self.addCleanup(process.stop)
            self.assertEqual(process.wait(), 1)
            self.assertIn(f"STATUS=cannot listen on 127.0.0.1:{port}: another program listens there", read())


class LocalServiceManagerTests(ServiceManagerContract, IntegrationTestCase):
    """`mles-tx serve`."""

    command = LOCAL


class TwistdServiceManagerTests(ServiceManagerContract, IntegrationTestCase):
    """Under twistd, in the foreground."""

    command = SECURE


class ActivationTests(IntegrationTestCase):
    """Sockets of somebody else's."""

    def activate(self, names: str, *arguments: str) -> Server:
        """A server whose sockets are somebody else's."""
        activator = Path(__file__).with_name("activator.py")
        return self.start_server(sys.executable, str(activator), names, *arguments)

    def child(self, server: Server, number: int = 1) -> int:
        """The process that serves, the first one or a later one."""
        found = server.expect(rf"(?s)(?:started (\d+).*?){{{number}}}serving wss")
        return int(found[1])

    def test_restart(self) -> None:
        """While the server restarts nobody is refused: who connects waits, and is served by the next one."""
        for program in (
            (command("mles-tx"), *_SERVE),
            (command("twistd"), "-n", "--pidfile=", "mles", *_SERVE[1:]),
        ):
            listen = ("--listen", "systemd:name=https", "--redirect-listen", "systemd:name=http")
            server = self.activate("https,http", *program, *listen)
            redirect = int(server.expect(r"http is on port (\d+)")[1])
            self.assertEqual(page(server.port), b"HTTP/1.1 200 OK")
            self.assertEqual(page(redirect, tls=False), b"HTTP/1.1 301 Moved Permanently")
            alice = self.member(server, "alice")
            os.kill(self.child(server), signal.SIGTERM)
            self.assertEqual(alice.closed()[0], 1001)
            server.expect(r"ended with (0|-15)$")
            waiting = [socket.create_connection(("127.0.0.1", server.port), WAIT) for _ in range(50)]
            server.write_line("again")
            self.child(server, 2)
            for client in waiting:
                with client:
                    self.assertEqual(ask(client), b"HTTP/1.1 200 OK")
            self.assertEqual(page(redirect, tls=False), b"HTTP/1.1 301 Moved Permanently")
            self.assert_healthy(server)
            server.stop()

    def test_while_it_restarts(self) -> None:
        """Somebody who connects again and again is never refused, whenever the server ends and begins."""
        server = self.activate("https", command("mles-tx"), *_SERVE, "--listen", "systemd:index=0")
        server.write_line("again")  # is read when it has ended
        refused: list[OSError] = []
        done = threading.Event()

        def connect() -> None:
            while not done.is_set():
                try:
                    socket.create_connection(("127.0.0.1", server.port), WAIT).close()
                except ConnectionResetError:
                    pass  # it was let in, by a server that has ended since
                except OSError as error:
                    refused.append(error)
                time.sleep(0.001)  # leave the others some of the processor

        clients = [threading.Thread(target=connect) for _ in range(2)]
        for client in clients:
            client.start()
        try:
            os.kill(self.child(server), signal.SIGTERM)
            server.expect("ended with 0")
            self.child(server, 2)
        finally:
            done.set()
            for client in clients:
                client.join()
        self.assertEqual(refused, [])
        self.assert_healthy(server)

    def test_systemd_socket_activate(self) -> None:
        """systemd's own tool holds the socket: the first client has the server started, and is served."""
        tool = debian_program("systemd", "systemd-socket-activate")
        if subprocess.run([str(tool), "--version"], capture_output=True).returncode != 0:
            raise SkipTest("systemd-socket-activate does not run here")
        port = free_port()  # it takes no port 0
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        environ = server_environ(directory)
        kept = [f"--setenv={name}" for name in environ if name in ("PATH", "PYTHONPATH", "HOME", "XDG_STATE_HOME")]
        process = Process(
            [
                *(str(tool), f"--listen=127.0.0.1:{port}", "--fdname=https", *kept),
                *(command("mles-tx"), *_SERVE, "--listen", "systemd:name=https"),
            ],
            directory,
            environ,
        )
        self.addCleanup(process.stop)
        process.expect("Listening on")
        self.assertEqual(page(port), b"HTTP/1.1 200 OK")
        process.expect("serving wss://localhost:")
        process.signal(signal.SIGTERM)
        self.assertEqual(process.wait(), 0)

    def test_bad(self) -> None:
        """Sockets that are not there, or not meant for it, are told in one line, with code 1."""
        activate = [sys.executable, str(Path(__file__).with_name("activator.py")), "https"]
        none = "no socket was passed: start it by its socket unit, or leave the option away"
        https = "none has that name; there are 'https': set FileDescriptorName= in the socket unit"
        served = (command("mles-tx"), *_SERVE, "--listen")
        for arguments, message in (
            ([*served, "systemd:name=https"], f"--listen systemd:name=https: {none}"),
            (
                [*activate, *served, "systemd:name=http"],
                f"--listen systemd:name=http: {https}",
            ),
            (
                [
                    *activate,
                    *served,
                    "systemd:name=https",
                    "--redirect-listen",
                    "systemd:index=0",
                ],
                "--redirect-listen systemd:index=0: that socket is taken already: name each one once",
            ),
        ):
            directory = Path(self.mktemp()).absolute()
            directory.mkdir()
            process = Process(arguments, directory, server_environ(directory))
            self.addCleanup(process.stop)
            process.expect(f"^mles: {re.escape(message)}$")
            process.end_input()
            process.wait()
            self.assertNotIn("Traceback", process.output)

    def test_left_over(self) -> None:
        """A socket that no option names is told in the log: who connects to it would wait for ever."""
        server = self.activate("https,http", command("mles-tx"), *_SERVE, "--listen", "systemd:name=https")
        server.expect(re.escape("socket 1 (http) was passed, and no --listen names it"))


class RootTests(IntegrationTestCase):
    """Started as root."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            raise SkipTest("this takes root")
        self.user = pwd.getpwnam("daemon")
        self.place = Path(self.enterContext(TemporaryDirectory(prefix="mles-")))
        self.place.chmod(0o755)
        self.cache = self.place / "cache"

    def serve(self, *options: str) -> tuple[str, ...]:
        """A server whose state is where another user can reach it."""
        return ("mles-tx", "serve", "--domains", "localhost", "--port", "0", "--cache", str(self.cache), *options)

    def numbers(self, server: Server) -> dict[str, list[int]]:
        """The user, the groups and the rights of a server."""
        status = Path(f"/proc/{server.pid}/status").read_text()
        rows = dict(line.split(":", 1) for line in status.splitlines())
        numbers = {name: [int(number) for number in rows[name].split()] for name in ("Uid", "Gid", "Groups")}
        return numbers | {"CapEff": [int(rows["CapEff"], 16)], "CapPrm": [int(rows["CapPrm"], 16)]}

    def assert_given_up(self, server: Server) -> None:
        """It is that user, cannot be root again, and works."""
        uid, gid = self.user.pw_uid, self.user.pw_gid
        groups = sorted(os.getgrouplist(self.user.pw_name, gid))
        self.assertEqual(
            self.numbers(server),
            {"Uid": [uid] * 4, "Gid": [gid] * 4, "Groups": groups, "CapEff": [0], "CapPrm": [0]},
        )
        self.assertEqual(page(server.port), b"HTTP/1.1 200 OK")
        self.assertNotIn("running as root", server.output)
        made = self.cache / "self-signed" / "localhost.pem"
        self.assertEqual((made.stat().st_uid, made.stat().st_mode & 0o777), (uid, 0o600))
        server.stop()
        self.assert_no_faults(server)

    def test_run_as(self) -> None:
        """With --run-as it has bound as root, and serves as that user, for good."""
        self.assert_given_up(self.start_server(*self.serve("--run-as", self.user.pw_name, "--redirect-port", "0")))

    def test_twistd(self) -> None:
        """twistd's own options do the same; so does --run-as there."""
        self.cache.mkdir(0o700)
        os.chown(self.cache, self.user.pw_uid, self.user.pw_gid)
        twistd = ("twistd", "-n", "--pidfile=")
        given = ("--uid", str(self.user.pw_uid), "--gid", str(self.user.pw_gid))
        self.assert_given_up(self.start_server(*twistd, *given, "mles", *self.serve()[2:]))
        self.assert_given_up(self.start_server(*twistd, "mles", *self.serve("--run-as", self.user.pw_name)[2:]))

    def test_certificate_of_root(self) -> None:
        """A key that root alone can read is served: it was read before."""
        made = self.start_server(*self.serve())
        made.stop()
        key = self.place / "key.pem"
        key.write_bytes((self.cache / "self-signed" / "localhost.pem").read_bytes())
        key.chmod(0o600)
        files = ("--certificate", str(key), "--private-key", str(key))
        self.cache = self.place / "another"
        server = self.start_server(*self.serve("--run-as", self.user.pw_name, *files))
        self.assertEqual(self.numbers(server)["Uid"], [self.user.pw_uid] * 4)
        self.assertEqual(page(server.port), b"HTTP/1.1 200 OK")

    def test_orders(self) -> None:
        """What orders certificates is loaded before, wherever Python lies."""
        options = ("--run-as", self.user.pw_name, "--acme-directory", "https://localhost:1/directory")
        server = self.start_server(*self.serve(*options))
        self.assertEqual(self.numbers(server)["Uid"], [self.user.pw_uid] * 4)
        self.assertEqual(page(server.port), b"HTTP/1.1 200 OK")
        self.assert_no_faults(server)

    def test_left_behind(self) -> None:
        """Files that root has made before are found at the start, with what to do."""
        self.start_server(*self.serve()).stop()
        for command in (
            self.serve("--run-as", self.user.pw_name),
            ("twistd", "-n", "--pidfile=", "--uid", str(self.user.pw_uid), "mles", *self.serve()[2:]),
        ):
            process = Process(command, self.place, server_environ(self.place))
            self.addCleanup(process.stop)
            self.assertEqual(process.wait(), 1)
            uid = self.user.pw_uid
            process.expect(
                f"mles: --cache {self.cache}: user {uid} cannot use {self.cache}: give it all to that user"
                rf" \(chown -R {uid}\), or give another directory$"
            )
            self.assertNotIn("Traceback", process.output)

    def test_stays_root(self) -> None:
        """Who does not give it up is told how, and served all the same."""
        server = self.start_server(*self.serve())
        server.expect("running as root: --run-as USER gives that up")
        self.assertEqual(page(server.port), b"HTTP/1.1 200 OK")


class DrainTests(IntegrationTestCase):
    """The end of a server that others take over from."""

    def test_spread(self) -> None:
        """Everybody is told to come back, one after another; who is not told yet goes on hearing the others."""
        server = self.start_server(*SECURE, "--drain", "3", "--rate-limit", "0")
        # Anybody may be the first that is told: one speaker might say nothing.
        speakers = {uid: self.member(server, uid, history=0) for uid in "abcde"}
        members = [self.member(server, f"member-{number}", history=0) for number in range(200)]
        server.signal(signal.SIGTERM)

        async def talk(uid: str) -> None:
            with contextlib.suppress(ConnectionClosed):
                for number in itertools.count(1):
                    await speakers[uid].connection.send(f"{uid}{number}")
                    await asyncio.sleep(0.05)

        async def speak(uid: str) -> Ended:
            end, _ = await asyncio.gather(follow(speakers[uid]), talk(uid))
            return end

        async def follow(member: Member) -> Ended:
            heard = []
            try:
                while True:
                    heard.append(await member.connection.recv())
            except ConnectionClosed as closed:
                code = None if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)
                return Ended(code, time.monotonic(), heard)

        ended = together([*(follow(member) for member in members), *map(speak, speakers)])
        self.assertEqual({end.told for end in ended}, {(1012, "server is restarting")})
        first, last = min(end.at for end in ended), max(end.at for end in ended)
        self.assertGreater(last - first, 1)
        listeners = ended[: len(members)]
        for end in listeners:
            for uid in speakers:
                heard = [message for message in end.heard if str(message).startswith(uid)]
                self.assertEqual(heard, [f"{uid}{number + 1}" for number in range(len(heard))])
        self.assertGreater(len({len(end.heard) for end in listeners}), 3)
        self.assertEqual(server.wait(WAIT), -signal.SIGTERM)
        self.assert_no_faults(server)

    def test_cut_short(self) -> None:
        """A second signal tells everybody at once, and ends it."""
        server = self.start_server(*LOCAL, "--drain", "3600")
        members = [self.member(server, f"member-{number}", history=0) for number in range(20)]
        server.signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionError):
            while True:
                server.dial().close()
        server.signal(signal.SIGTERM)
        self.assertEqual([member.closed() for member in members], [(1012, "server is restarting")] * 20)
        self.assertEqual(server.wait(), 0)
        self.assert_no_faults(server)
