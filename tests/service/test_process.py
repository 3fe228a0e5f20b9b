"""A service that has its process to itself: signals, the service manager, root, and what it reads again."""

import contextlib
import os
import resource
import signal
import socket
import threading
import time
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.python import usage

from mles_tx.service import ports, process
from mles_tx.service.config import ConfigError, ServerConfig
from mles_tx.service.logs import log_to
from mles_tx.service.privileges import Account
from mles_tx.service.resources import connections_for
from mles_tx.service.running import Program
from mles_tx.transport import websocket
from mles_tx.transport.certificates.pairs import CertificateError
from tests.transport.certificates.making import listen, make
from tests.transport.fakes import FakeTransport
from tests.wire import close_of, read_frames

from .programs import ProgramTestCase, join
from .servers import logged


class ServiceManagerTests(ProgramTestCase):
    """What the service manager is told."""

    def setUp(self) -> None:
        super().setUp()
        path = self.enterContext(TemporaryDirectory(prefix="mles-")) + "/notify"
        self.manager = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.manager.bind(path)
        self.manager.setblocking(False)
        self.environ |= {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
        self.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0", "LISTEN_FDNAMES": "", "PATH": "/bin"}

    def told(self) -> list[str]:
        """The messages that came since the last look."""
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self.manager.recv(4096).decode())
        return messages

    def test_life(self) -> None:
        """It is ready when it serves and not before, alive for as long as it runs, and says that it stops."""
        program = self.program()
        self.assertEqual(self.environ, {"PATH": "/bin"})
        self.start(program)
        self.assertEqual(self.told(), [])
        self.reactor.advance(0)
        ready = f"READY=1\nSTATUS=serving on port {program.listener.addresses[0][1]}"
        self.assertEqual(self.told(), [ready, "WATCHDOG=1"])
        self.reactor.advance(1)
        self.assertEqual(self.told(), ["WATCHDOG=1"])
        stopped = self.stop(program)
        (stopping,) = self.told()
        self.assertEqual(stopping, "STOPPING=1\nSTATUS=telling 0 connections to go\nEXTEND_TIMEOUT_USEC=10000000")
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_long_drain(self) -> None:
        """The service manager is told how long the end may take, and during it that the server is alive."""
        program = self.program(drain=60)
        self.start(program)
        self.reactor.advance(0)
        peer = join(program, "alice")
        self.told()
        stopped = self.stop(program)
        self.assertEqual(self.told(), ["STOPPING=1\nSTATUS=telling 1 connections to go\nEXTEND_TIMEOUT_USEC=70000000"])
        self.reactor.advance(1)
        self.assertEqual(self.told(), ["WATCHDOG=1"])
        peer.hang_up()
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_reload(self) -> None:
        """On SIGHUP it is reloading and then ready again, whatever came of it: nobody waits for it in vain."""
        rereads: list[ServerConfig | Exception] = []

        def reread() -> ServerConfig:
            found = rereads.pop()
            if isinstance(found, Exception):
                raise found
            return found

        config = ServerConfig(port=0, cache=self.directory / "cache")
        del self.environ["WATCHDOG_USEC"]
        program = Program(config, self.reactor, self.announced.append, environ=self.environ, reread=reread)
        self.start(program)
        self.reactor.advance(0)
        ready = self.told()
        for found in (replace(config, limit=5), config, ConfigError("--limit 0: give another"), ZeroDivisionError()):
            rereads.append(found)
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            signal.raise_signal(signal.SIGHUP)
            self.assertEqual(self.told(), [])
            self.reactor.advance(0)
            reloading, *after = self.told()
            self.assertEqual(after, ready)
            state, _, moment = reloading.partition("\nMONOTONIC_USEC=")
            self.assertEqual(state, "RELOADING=1")
            self.assertTrue(before <= int(moment) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(self.successResultOf(self.stop(program)))

    def test_stopped_at_once(self) -> None:
        """Stopped before it has run, it was never ready."""
        program = self.program()
        self.start(program)
        self.assertIsNone(self.successResultOf(self.stop(program)))
        self.assertEqual([message.split("\n")[0] for message in self.told()], ["STOPPING=1"])

    def test_cannot_start(self) -> None:
        """Why it cannot start is there for whoever asks the service manager."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            program = self.program(port=other.getsockname()[1])
            error = self.assertRaises(SystemExit, program.privilegedStartService)
            self.assertEqual(self.told(), [f"STATUS={str(error.code).removeprefix('mles: ')}"])


class RootTests(ProgramTestCase):
    """Who is started as root; those tests that give it up are in the integration tests."""

    def test_warning(self) -> None:
        """Root is told how to run without; others are told nothing."""
        for uid, number in ((0, 1), (1000, 0)):
            self.patch(os, "geteuid", lambda uid=uid: uid)
            program = self.program()
            with logged() as lines:
                self.start(program)
            self.assertEqual(len([line for line in lines if "running as root: --run-as USER" in line]), number)
            self.assertIsNone(self.successResultOf(self.stop(program)))

    def test_not_root(self) -> None:
        """Who is not root cannot become somebody else, and does not start as itself instead."""
        self.patch(os, "geteuid", lambda: 1000)
        program = self.program(run_as=Account(12345, 54321))
        error = self.assertRaises(SystemExit, program.privilegedStartService)
        self.assertEqual(
            error.code,
            "mles: --run-as 12345: only root can become somebody else: start as root, or leave the option away",
        )

    def test_oneself(self) -> None:
        """Who is that user already goes on."""
        program = self.program(run_as=Account(os.geteuid(), os.getegid()))
        self.start(program)
        self.assertIsNone(self.successResultOf(self.stop(program)))

    def test_cache_that_cannot_be_made(self) -> None:
        """Root makes the directory for the other user; where it cannot, it says so."""
        self.patch(os, "geteuid", lambda: 0)
        (self.directory / "file").write_text("")
        cache = self.directory / "file" / "cache"
        program = self.program(
            domains=("localhost",), interfaces=("127.0.0.1",), cache=cache, run_as=Account(12345, 54321)
        )
        error = self.assertRaises(SystemExit, program.privilegedStartService)
        self.assertEqual(error.code, f"mles: --cache {cache}: Not a directory; give a directory that can be made")

    def test_cache_of_another_user(self) -> None:
        """Files in the cache that this user cannot read are found at the start, with what to do."""
        (self.directory / "cache").mkdir()
        self.patch(process, "unusable", lambda directory: directory / "account.pem")
        program = self.program(domains=("localhost",), interfaces=("127.0.0.1",))
        error = self.assertRaises(SystemExit, self.start, program)
        cache, uid = self.directory / "cache", os.geteuid()
        self.assertEqual(
            error.code,
            f"mles: --cache {cache}: user {uid} cannot use {cache / 'account.pem'}: give it all to that user"
            f" (chown -R {uid}), or give another directory",
        )


class StopTests(ProgramTestCase):
    """Ctrl-C, once and twice."""

    def setUp(self) -> None:
        super().setUp()
        # Nothing but the second signal is to cut a peer off here.
        self.patch(ports, "DRAIN_SECONDS", 3600.0)
        self.patch(websocket, "CLOSE_SECONDS", 3600.0)

    def begin(self) -> tuple[Program, FakeTransport]:
        """A program that runs, and a member that does not go by itself."""
        program = self.program()
        self.start(program)
        return program, join(program, "alice")

    def finish(self, stopped: "Deferred[None]") -> None:
        """It is over, and nothing is left."""
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((self.reactor.getReaders(), self.reactor.getWriters()), ([], []))

    def test_once(self) -> None:
        """Told once to end, it waits for its members."""
        program, peer = self.begin()
        stopped = self.stop(program)
        self.assertEqual(close_of(read_frames(peer.taken())[-1]), (1001, "server is stopping"))
        self.reactor.advance(60)
        self.assertNoResult(stopped)
        self.assertFalse(peer.aborted)
        peer.hang_up()
        self.finish(stopped)

    def test_twice(self) -> None:
        """Told twice to end, by either signal, it waits for nobody."""
        for number in (signal.SIGINT, signal.SIGTERM):
            program, peer = self.begin()
            stopped = self.stop(program)
            self.assertNoResult(stopped)
            signal.raise_signal(number)
            self.assertFalse(peer.aborted, "the signal handler itself does nothing but tell the reactor")
            self.reactor.advance(0)
            self.assertTrue(peer.aborted)
            self.finish(stopped)

    def test_three_times(self) -> None:
        """Further signals do no harm, also when it is over."""
        program, _ = self.begin()
        stopped = self.stop(program)
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
            self.reactor.advance(0)
        self.finish(stopped)
        signal.raise_signal(signal.SIGINT)
        self.reactor.advance(0)

    def test_twice_in_a_row(self) -> None:
        """Two signals before anything has begun: the reactor hears of one, and members are told before they are cut."""
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)):
            told: list[int] = []

            def tell(number: int, frame: object, told: list[int] = told) -> None:
                told.append(number)

            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, tell)
            program, peer = self.begin()
            self.run_hooks()
            signal.raise_signal(first)
            signal.raise_signal(second)
            self.reactor.advance(0)
            self.assertEqual((told, peer.aborted, program.running), ([first], False, 1))
            stopped = self.stop(program)
            self.assertEqual(close_of(read_frames(peer.taken())[-1]), (1001, "server is stopping"))
            self.assertTrue(peer.aborted)
            self.finish(stopped)

    def test_second_before_members_are_told(self) -> None:
        """So are they when the second signal comes right behind the beginning of the end."""
        program, peer = self.begin()
        stopped = program.stopService()
        signal.raise_signal(signal.SIGTERM)
        self.reactor.advance(0)
        self.assertEqual(close_of(read_frames(peer.taken())[-1]), (1001, "server is stopping"))
        self.assertTrue(peer.aborted)
        self.finish(stopped)

    def test_ignored(self) -> None:
        """A signal that whoever has started it ignores, as a shell does for what runs in the background, stays so."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        program, peer = self.begin()
        self.run_hooks()
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
        peer.hang_up()
        self.finish(self.stop(program))

    def run_hooks(self) -> None:
        """The reactor runs."""
        while self.reactor.whenRunningHooks:
            hook, args, kwargs = self.reactor.whenRunningHooks.pop(0)
            hook(*args, **kwargs)

    def test_signals_are_left_alone_before(self) -> None:
        """Until the reactor runs, signals are somebody else's business."""
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        program, peer = self.begin()
        self.assertEqual([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], before)
        peer.hang_up()
        self.finish(self.stop(program))

    def test_in_a_thread(self) -> None:
        """In a thread that cannot have signals it is stopped without them."""
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        program, peer = self.begin()
        stopped: list[Deferred[None]] = []
        thread = threading.Thread(target=lambda: stopped.append(program.stopService()))
        thread.start()
        thread.join()
        self.reactor.advance(0)
        peer.hang_up()
        self.finish(stopped[0])
        self.assertEqual([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], before)


class MetricsTests(ProgramTestCase):
    """SIGUSR1."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        observer: Any = self._observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _observe(self, event: LogEvent) -> None:
        line = formatEvent(event)
        if line.startswith("metrics: "):
            self.lines.append(line)

    def usr1(self) -> list[str]:
        """The lines of metrics after another signal."""
        signal.raise_signal(signal.SIGUSR1)
        self.reactor.advance(0)
        return self.lines

    def test_at_once(self) -> None:
        """The metrics are logged at once, also when that is switched off, and the program goes on."""
        for logging in (True, False):
            self.lines.clear()
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            program = self.program(metrics_logging=logging)
            self.start(program)
            self.assertEqual(self.usr1(), [f"metrics: {program.metrics()}"])
            self.assertEqual(len(self.usr1()), 2)
            self.assertTrue(program.running)
            self.assertIsNone(self.successResultOf(self.stop(program)))

    def test_handler_only_tells(self) -> None:
        """The signal handler itself does nothing but tell the reactor."""
        program = self.program()
        self.start(program)
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(self.lines, [])
        self.reactor.advance(0)
        self.assertEqual(len(self.lines), 1)
        self.assertIsNone(self.successResultOf(self.stop(program)))

    def test_others_are_told_too(self) -> None:
        """What twistd does on this signal it goes on doing."""
        told: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, frame: told.append(number))
        program = self.program()
        self.start(program)
        self.assertEqual((len(self.usr1()), told), (1, [signal.SIGUSR1]))
        self.assertIsNone(self.successResultOf(self.stop(program)))

    def test_started_again(self) -> None:
        """A program that was stopped and started logs one line for each signal."""
        program = self.program()
        for number in (1, 2):
            self.start(program)
            self.assertEqual(len(self.usr1()), number)
            self.assertIsNone(self.successResultOf(self.stop(program)))

    def test_in_a_thread(self) -> None:
        """In a thread that cannot have signals it is started without them."""
        before = signal.getsignal(signal.SIGUSR1)
        program = self.program()
        thread = threading.Thread(target=self.start, args=(program,))
        thread.start()
        thread.join()
        self.assertEqual((program.running, signal.getsignal(signal.SIGUSR1)), (1, before))
        self.assertIsNone(self.successResultOf(self.stop(program)))

    def test_descriptors(self) -> None:
        """A program has as many descriptors as it may, and says how many connections it has room for."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] - 1, before[1]))
        program = self.program(filelimit=1)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (before[1], before[1]))
        self.assertEqual(program.listener.admission.max_connections, connections_for(before[1], 1))


class RereadTests(ProgramTestCase):
    """SIGHUP."""

    def setUp(self) -> None:
        super().setUp()
        self.told = listen(self)
        self.rereads: list[ServerConfig | Exception] = []

    def begin(self, **fields: Any) -> Program:
        """A program that runs, and reads what `rereads` has next."""
        config = ServerConfig(**{"port": 0, "cache": self.directory / "cache", **fields})
        program = Program(config, self.reactor, self.announced.append, reread=self.reread)
        self.start(program)
        self.addCleanup(self.stop, program)
        self.told.clear()
        return program

    def reread(self) -> ServerConfig:
        """What stands there now."""
        found = self.rereads.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def hup(self, times: int = 1) -> list[str]:
        """What is logged after the signal."""
        for _ in range(times):
            signal.raise_signal(signal.SIGHUP)
        self.reactor.advance(0)
        told = list(self.told)
        self.told.clear()
        return told

    def test_change(self) -> None:
        """What is read again takes effect, and is told."""
        program = self.begin()
        self.rereads = [replace(program.config, rate_limit=5)]
        self.assertEqual(
            self.hup(), ["changed: --rate-limit: 100 -> 5", "settings read again: 1 changed, 0 need a restart"]
        )
        self.assertEqual(program.config.rate_limit, 5)

    def test_signalled_when_told(self) -> None:
        """Who signals as soon as the log tells has the settings read once for it, and not once more at some time."""
        program = self.begin()

        def signal_once(event: LogEvent) -> None:
            globalLogPublisher.removeObserver(observer)
            signal.raise_signal(signal.SIGHUP)

        observer: Any = signal_once
        globalLogPublisher.addObserver(observer)
        self.rereads = [program.config] * 3
        self.hup()
        self.hup(0)
        self.assertEqual(len(self.rereads), 1)

    def test_log_level(self) -> None:
        """The log level changes at once, and back; when something else is wrong it stays."""
        lines: list[bytes] = []
        log = log_to(lines.append, "readable", "info")
        config = ServerConfig(port=0, cache=self.directory / "cache")
        program = Program(config, self.reactor, self.announced.append, log, reread=self.reread)
        self.start(program)
        self.addCleanup(self.stop, program)
        logger = Logger("test", observer=log)
        for found, level, expected in (
            (replace(config, log_level="warn"), "warn", [b"warn"]),
            (replace(config, log_level="debug"), "debug", [b"debug", b"info", b"warn"]),
            (ConfigError("--limit 0: give another"), "debug", [b"debug", b"info", b"warn"]),
            (config, "info", [b"info", b"warn"]),
        ):
            self.rereads = [found]
            self.hup()
            lines.clear()
            for name in ("debug", "info", "warn"):
                logger.emit(LogLevel.levelWithName(name), "at {name}", name=name)
            self.assertEqual(([line.split()[-1] for line in lines], program.config.log_level), (expected, level))

    def test_error(self) -> None:
        """What is wrong is told in one line, and all stays as it was; the next time may be better."""
        program = self.begin()
        before = program.config
        missing = self.directory / "missing.pem"
        self.rereads = [
            ConfigError("mles.toml: limit '0': give another"),
            usage.UsageError("--limit 0: give another"),
            CertificateError(f"--certificate {missing}: gone"),
            replace(before, limit=5),
        ]
        for text in ("mles.toml: limit '0': give another", "--limit 0: give another", f"--certificate {missing}: gone"):
            self.assertEqual(self.hup(), [f"the settings stay as they were: {text}"])
            self.assertEqual(program.config, before)
        self.hup()
        self.assertEqual(program.config.limit, 5)

    def test_as_soon_as_it_says_so(self) -> None:
        """Who sends a signal the moment the program says that it serves does not end it."""
        announced: list[str] = []

        def announce(line: str) -> None:
            announced.append(line)
            for number in (signal.SIGHUP, signal.SIGUSR1):
                self.assertTrue(callable(signal.getsignal(number)))

        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        program = Program(ServerConfig(port=0), self.reactor, announce)
        self.start(program)
        self.addCleanup(self.stop, program)
        self.assertTrue(announced)

    def test_own_fault(self) -> None:
        """A fault of the program's own is logged as one, and ends nothing."""
        program = self.begin()
        self.rereads = [ZeroDivisionError()]
        self.assertEqual(self.hup(), ["the settings could not be read again"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(program.running)

    def test_handler_only_tells(self) -> None:
        """The signal handler itself does nothing but tell the reactor; signals that come together are one."""
        program = self.begin()
        self.rereads = [program.config] * 2
        for _ in range(100):
            signal.raise_signal(signal.SIGHUP)
        self.assertEqual(len(self.rereads), 2)
        self.assertEqual(self.hup(), ["settings read again: 0 changed, 0 need a restart"])
        self.assertEqual(len(self.rereads), 1)
        self.hup()
        self.assertEqual(self.rereads, [])

    def test_without_options(self) -> None:
        """A program that was not made of options reads its certificate files again."""
        made, newer = make("example.org"), make("example.org", days=300)
        chain, key = self.directory / "chain.pem", self.directory / "key.pem"
        chain.write_bytes(made.certificate_pem)
        key.write_bytes(made.key_pem)
        program = self.program(domains=("example.org",), interfaces=("127.0.0.1",), certificates=((chain, key),))
        self.start(program)
        self.addCleanup(self.stop, program)
        chain.write_bytes(newer.certificate_pem)
        key.write_bytes(newer.key_pem)
        self.told.clear()
        told = self.hup()
        self.assertEqual(len(told), 2)
        self.assertTrue(told[0].startswith("changed: certificates: example.org until "), told)
        key.write_bytes(made.key_pem)
        (line,) = self.hup()
        self.assertIn("the key does not belong to the certificate", line)

    def test_others_are_told_too(self) -> None:
        """Whoever listened to this signal before goes on doing so."""
        told: list[int] = []
        signal.signal(signal.SIGHUP, lambda number, frame: told.append(number))
        program = self.begin()
        self.rereads = [program.config]
        self.hup()
        self.assertEqual((told, self.rereads), ([signal.SIGHUP], []))

    def test_terminal_closed(self) -> None:
        """In a terminal the signal reads the settings; when the terminal is closed it ends the program, as ever."""
        ends: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, frame: ends.append(number))
        for before, ended in ((signal.SIG_DFL, [signal.SIGTERM]), (signal.SIG_IGN, [])):
            ends.clear()
            signal.signal(signal.SIGHUP, before)
            terminal, here = os.openpty()
            self.addCleanup(os.close, here)
            self.patch(process, "_OUTPUT", (here,))
            program = self.begin()
            self.rereads = [program.config] * 2
            self.assertIn("settings read again", self.hup()[-1])
            os.close(terminal)
            self.hup()
            self.assertEqual((ends, len(self.rereads)), (ended, 1 if ended else 0))
            signal.signal(signal.SIGTERM, lambda number, frame: ends.append(number))

    def test_after_the_end(self) -> None:
        """A program that ends does not change any more, and is not killed by the signal."""
        program = self.begin()
        self.stop(program)
        self.told.clear()
        self.assertEqual(self.hup(), [])


class RestartTests(ProgramTestCase):
    """SIGUSR2."""

    def test_one_process(self) -> None:
        """A server of one process says that it has no others to replace, and goes on."""
        program = self.program()
        self.start(program)
        with logged() as lines:
            os.kill(os.getpid(), signal.SIGUSR2)
            self.reactor.advance(0)
        self.assertEqual(
            lines, ["SIGUSR2 replaces the processes of --workers; this server has one: restart it to replace that"]
        )
        self.assertTrue(program.running)
        self.stop(program)
