"""What all probes have in common: their command line, the server they start when they are given none, and the pair."""

import argparse
import json
import os
import resource
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from tests.integration.processes import WAIT, Process, server_environ
from tests.ports import free_port

from .findings import Finding, Verdict
from .pair import Pair
from .peers import PATIENCE
from .process import Usage
from .target import Target

__all__ = ["Option", "Probe", "Run", "Started", "main", "perform"]

#: The server that is started: the installed one, as `make torture` and the README do it.
_TLS = ("twistd", "-n", "--pidfile=", "mles")
_PLAIN = ("mles-tx", "serve")
_DOMAIN = ("--domains", "localhost", "--cache", "{directory}/cache")

#: In a `--start` command: the options that ours is started with.
_FLAGS = "{flags}"

#: All peers come from one address.
_ALWAYS = ("--per-ip-limit", "0")

#: With `--priority`, in real time: the pair before the server, the server before the probe, and these before all else.
_PAIR_FIRST = ("chrt", "--rr", "20")
_FAVOURED = ("chrt", "--rr", "10")
_PROBE_PRIORITY = 5


@dataclass(frozen=True, slots=True)
class Option:
    """A size or a time of a probe that can be chosen."""

    name: str
    default: Any
    meaning: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A promise, and how it is put to the test.

    Attributes:
        promise: in words.
        does: does it to a server, and reports.
        options: sizes that can be chosen.
        flags: what our server is started with for it.
        has_pair: whether a pair talks meanwhile; where the server is stopped there is none.
        p99: what the pair's 99th percentile has to be below, milliseconds.
        setup: starts the server where flags alone would not do.
        starts: whether it starts servers itself, because it needs ones that are its own.
    """

    promise: str
    does: "Callable[[Run], None]"
    options: Sequence[Option] = ()
    flags: Sequence[str] = ()
    has_pair: bool = True
    p99: float | None = None
    setup: "Callable[[Run], object] | None" = None
    starts: bool = False


class Started(Process):
    """A server of the probe's own.

    Args:
        command: how it is started: `{port}` and `{directory}` stand for a free port and a directory of its own.
        directory: where it runs.
        port: the port it takes.
        is_secure: whether it speaks TLS.
        environ: more variables of its environment.
        is_ours: whether its certificate is to be looked for.
    """

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        port: int,
        is_secure: bool,
        environ: Mapping[str, str],
        is_ours: bool,
        interface: str = "127.0.0.1",
    ) -> None:
        self.directory = directory
        self.port = port
        super().__init__(command, directory, server_environ(directory, **environ))
        try:
            self._await_port(interface)
            if is_ours:  # its certificate is made after it listens
                self.expect(r"up to .* connections at one time")
            pid = self.server_pid
        except BaseException:
            self.stop()
            raise
        ca = str(directory / "cache" / "self-signed" / "localhost.pem") if is_secure and is_ours else None
        self.target = Target(f"{'wss' if is_secure else 'ws'}://localhost:{port}", ca, (pid,), interface)

    def _await_port(self, interface: str) -> None:
        deadline = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection((interface, self.port), 1).close()
                return
            except OSError:
                if not self.is_running or time.monotonic() > deadline:
                    raise RuntimeError(f"the server does not come up:\n{self.output}") from None
                time.sleep(0.01)

    @property
    def server_pid(self) -> int:
        """The process that serves: behind programs that run it, their only child."""
        pid = self.pid
        while True:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if name not in ("sh", "bash", "faketime", "nice", "chrt", "ip", "setpriv") or len(children) != 1:
                return pid
            pid = int(children[0])

    def faults(self) -> list[str]:
        """Lines of its log that tell of a fault of its own."""
        return [line for line in self.output.splitlines() if "Traceback" in line or "Unhandled" in line]


@dataclass
class Run:
    """One run of a probe: what it may do, and where it reports.

    Attributes:
        options: the command line.
        findings: what it has reported.
    """

    probe: Probe
    options: argparse.Namespace
    stack: ExitStack
    findings: list[Finding] = field(default_factory=list)
    server: Started | None = None
    _target: Target | None = None
    _pair: Pair | None = None

    def __getattr__(self, name: str) -> Any:
        # `--members` is run.members.
        with suppress(KeyError):
            return vars(self.__dict__["options"])[name]
        raise AttributeError(name)

    @property
    def target(self) -> Target:
        """The server."""
        assert self._target is not None
        return self._target

    @property
    def is_ours(self) -> bool:
        """Whether the server that is started takes our options."""
        return not self.options.start or _FLAGS in self.options.start

    @property
    def is_timed(self) -> bool:
        """Whether times are judged."""
        return not self.options.untimed

    # -- servers

    def directory(self) -> Path:
        """A directory for this run alone."""
        return Path(self.stack.enter_context(TemporaryDirectory(prefix="mles-tx-torture-"))).resolve()

    def start(
        self,
        *flags: str,
        before: Sequence[str] = (),
        directory: Path | None = None,
        port: int | None = None,
        interface: str = "127.0.0.1",
        environ: Mapping[str, str] | None = None,
    ) -> Started:
        """Start a server, which is the target from now on: the `--start` command, or else ours with some flags.

        Args:
            before: a command that runs it.
            directory: where it runs; None: in a new one.
            port: where it listens; None: on a free port.
            interface: where it listens.
            environ: more variables.
        """
        directory = directory or self.directory()
        port = port or free_port()
        is_secure = not self.options.plain
        listen = ("--interface", interface) if is_secure or interface != "127.0.0.1" else ()
        always = () if _ALWAYS[0] in flags else _ALWAYS
        ours = [*(_DOMAIN if is_secure else ()), "--port", "{port}", *listen, *always, *flags]
        whole = self.command(_TLS if is_secure else _PLAIN, ours)
        whole = [part.replace("{port}", str(port)).replace("{directory}", str(directory)) for part in whole]
        favoured = _FAVOURED if self.options.priority else ()
        server = Started(
            [*favoured, *before, *whole], directory, port, is_secure, environ or {}, self.is_ours, interface
        )
        self.stack.callback(server.stop)
        self.server, self._target = server, server.target
        return server

    def command(self, program: Sequence[str], flags: Sequence[str] = ()) -> list[str]:
        """How a server is started: the `--start` command, or else a program of ours with options."""
        if not self.options.start:
            return [_beside(program[0]), *program[1:], *flags]
        whole: list[str] = []
        for part in shlex.split(self.options.start):
            whole += flags if part == _FLAGS else [part]
        return whole

    # -- the pair

    @contextmanager
    def pair(self, target: Target | None = None, *, is_timed: bool = True, **more: Any) -> Iterator[Pair]:
        """A pair talks while something is done; what it has seen is reported in the end.

        Args:
            target: the server.
            is_timed: whether its times are the server's; where messages wait for the disk they are the disk's.
            more: for `Pair`.
        """
        before = _PAIR_FIRST if self.options.priority else ()
        with Pair(target or self.target, self.options.interval, before, **more) as pair:
            yield pair
            judged = is_timed and self.is_timed
            self.findings += pair.report().findings(judged=judged, p99=self.probe.p99)

    # -- what is found

    def descriptors_beyond(self, before: Usage, limit: int) -> int:
        """How many descriptors the server has open beyond those it had, when it has let go of what it lets go of."""
        deadline = time.monotonic() + PATIENCE
        while True:
            now = self.target.usage()
            more = 0 if now is None else now.descriptors - before.descriptors
            if more < limit or time.monotonic() > deadline:
                return more
            time.sleep(0.05)

    def below(self, what: str, figure: float, limit: float, unit: str = "", *, timed: bool = False) -> None:
        """Report a figure that has to be less than its limit; `timed`: one of the machine's speed."""
        self.findings.append(Finding.below(what, figure, limit, unit, judged=self.is_timed or not timed))

    def above(self, what: str, figure: float, limit: float, unit: str = "", *, timed: bool = False) -> None:
        """Report a figure that has to be more than its limit."""
        self.findings.append(Finding.above(what, figure, limit, unit, judged=self.is_timed or not timed))

    def equal(self, what: str, figure: object, limit: object) -> None:
        """Report a figure that has to be exactly what was promised."""
        self.findings.append(Finding.equal(what, figure, limit))

    def unknown(self, what: str, why: str) -> None:
        """Report what cannot be told."""
        self.findings.append(Finding.unknown(what, why))

    def no_faults(self) -> None:
        """Report that the server's log tells of no fault of its own."""
        if self.server is None:
            self.unknown("faults in its log", "its log is not ours to read")
        else:
            self.equal("faults in its log", len(self.server.faults()), 0)


#: In `--help`.
_START = "a command that starts another one; {port} and {directory} are put in, and for {flags} the options of ours"


def _beside(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def _parser(probe: Probe, name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=probe.promise)
    where = parser.add_argument_group("the server; without these options the installed one is started")
    if not probe.starts:
        where.add_argument("--url", help="a server that runs: ws://host:port or wss://host:port")
        where.add_argument("--pid", type=int, action="append", default=[], help="a process of it; may be given again")
        where.add_argument("--ca", help="PEM file with its certificate; without it nothing is verified")
    where.add_argument("--start", help=_START)
    where.add_argument("--plain", action="store_true", help="start it without TLS")
    parser.add_argument("--untimed", action="store_true", help="show times, and judge only what is lost and closed")
    parser.add_argument("--priority", action="store_true", help="let the pair and the server go before others; as root")
    parser.add_argument("--interval", type=float, default=0.01, help="seconds between two messages of the pair")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each figure")
    for option in probe.options:
        parser.add_argument(
            f"--{option.name}",
            type=type(option.default),
            default=option.default,
            help=f"{option.meaning} (%(default)s)",
        )
    return parser


def perform(probe: Probe, arguments: Sequence[str] = (), name: str = "tests.torture") -> list[Finding]:
    """Do it, and return what was found; whatever was started is stopped."""
    options = _parser(probe, name).parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        run = Run(probe, options, stack)
        if not probe.starts:
            if options.url:
                run._target = Target(options.url, options.ca, tuple(options.pid))
            elif probe.setup is not None:
                probe.setup(run)
            else:
                run.start(*probe.flags)
        try:
            if probe.has_pair and not probe.starts:
                with run.pair():
                    probe.does(run)
            else:
                probe.does(run)
        except Exception as error:
            run.findings.append(Finding("done", f"{type(error).__name__}: {error}", "to the end", Verdict.BROKEN))
            if run.server is not None and not options.json:
                print(run.server.output[-3000:], file=sys.stderr)
        return run.findings


def main(probe: Probe) -> NoReturn:
    """The program: the exit code is 1 when the promise is broken."""
    spec = sys.modules["__main__"].__spec__
    name = spec.name if spec else "probe"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped
    if "--priority" in sys.argv:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PROBE_PRIORITY))
    findings = perform(probe, sys.argv[1:], name)
    if "--json" in sys.argv:
        for finding in findings:
            print(json.dumps(finding.as_json()))
    else:
        print(probe.promise)
        for finding in findings:
            print(finding.line())
    sys.exit(any(finding.verdict is Verdict.BROKEN for finding in findings))
