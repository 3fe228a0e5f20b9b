"""The servers that are measured: how each is started, known and stopped, and what it takes.

The log of each goes to a file, so that nobody has to read it while it is measured.
"""

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .pages import write_site

__all__ = [
    "OUR_FLAGS",
    "Process",
    "ServerError",
    "Target",
    "external",
    "our_command",
    "resident_bytes",
    "start_floor",
    "start_naive",
    "start_ours",
    "start_plain",
    "stop_all",
]

ROOT = Path(__file__).parents[1]

#: The host of all of them: our own certificate is for it, and its site has the name.
_HOST = "localhost"

#: What a load generator on one address needs. Everything else is as shipped: history, other limits, metrics, logging.
OUR_FLAGS = ("--rate-limit", "0", "--per-ip-limit", "0")

#: Seconds a program has to start, and to stop when it is asked to.
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_LOOK_SECONDS = 0.02


#: From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1

_LIBC = ctypes.CDLL(None)


def _end_with_parent() -> None:
    """In a child that was just made: let it end also when the benchmark is killed, or stopped while it starts one."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class ServerError(Exception):
    """A server does not start, or has ended by itself."""


class Process:
    """A program of the benchmark's own.

    Args:
        command: its arguments.
        log: where its output goes.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        self.command = list(command)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MLES_", "STATE_"))}
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env=environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(log.parent)},
                start_new_session=True,  # Ctrl-C is for the benchmark, which stops it then
                preexec_fn=_end_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def check(self) -> None:
        """Nothing, as long as it runs.

        Raises:
            ServerError: it has ended; the text has its exit code and its last line.
        """
        code = self._popen.poll()
        if code is not None:
            lines = self._log.read_text("utf-8", "replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "no output")
            raise ServerError(f"{Path(self.command[0]).name} has ended ({code}): {last}")

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until its output has something.

        Raises:
            ServerError: it ends before, or does not write it.
        """
        end = time.monotonic() + _START_SECONDS
        while True:
            match = re.search(pattern, self._log.read_text("utf-8", "replace"))
            if match:
                return match
            self.check()
            if time.monotonic() > end:
                raise ServerError(f"{self.command[0]} does not write {pattern!r} within {_START_SECONDS:.0f} s")
            time.sleep(_LOOK_SECONDS)

    def ask_to_stop(self) -> None:
        """Send SIGTERM, if it still runs."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it: asked first, killed when that takes too long."""
        self.ask_to_stop()
        try:
            self._popen.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()


def stop_all(processes: Sequence[Process]) -> None:
    """End some at the same time."""
    for process in processes:
        process.ask_to_stop()
    for process in processes:
        process.stop()


@dataclass(frozen=True, slots=True)
class Target:
    """A server to measure.

    Args:
        name: what the table calls it.
        host: for the Host header and the server name of TLS.
        address: where it is, numeric.
        port: its TCP port.
        is_secure: whether it speaks TLS.
        pids: its processes, if they are on this machine and their CPU time is wanted.
        process: the process, when it is one of ours to stop.
    """

    name: str
    host: str
    address: str
    port: int
    is_secure: bool
    pids: tuple[int, ...] = ()
    process: Process | None = None

    @property
    def arguments(self) -> list[str]:
        """What the load generator has to know."""
        cpu = [argument for pid in self.pids for argument in ("-q", str(pid))]
        tls = "1" if self.is_secure else "0"
        return ["-a", self.address, "-o", self.host, "-p", str(self.port), "-t", tls, *cpu]


def our_command(directory: Path, history: int | None = None) -> list[str]:
    """How our server is started: with the command of this environment, on a free port of the loopback address.

    Args:
        directory: for its certificate; with the sites it serves.
        history: the length of histories; None: as shipped.
    """
    command = Path(sys.executable).with_name("mles-tx")
    if not command.exists():
        raise ServerError(f"there is no {command}: run it by `make bench`, or pip install --editable .")
    where = ("--domains", _HOST, "--interface", "127.0.0.1", "--port", "0")
    files = ("--cache", str(directory / "cache"), "--wwwroot", str(directory / "www"))
    limit = () if history is None else ("--limit", str(max(1, history)))
    return [str(command), "serve", *where, *files, *OUR_FLAGS, *limit]


def start_ours(
    directory: Path,
    history: int | None = None,
    prefix: Sequence[str] = (),
    options: Sequence[str] = (),
    name: str = "ours",
) -> Target:
    """Start our server; on its first start in a directory it makes the certificate that all use.

    Args:
        directory: for its certificate and log.
        history: the length of histories; None: as shipped.
        prefix: what to run it under, a profiler for example.
        options: more of its options.
        name: what the table calls it.
    """
    write_site(_site(directory))
    command = [*prefix, *our_command(directory, history), *options]
    return _started(name, Process(command, directory / f"{name.replace(' ', '-')}.log"), r"wss://localhost:(\d+)/")


def start_naive(directory: Path) -> Target:
    """Start the obvious server, with the certificate of ours."""
    command = [sys.executable, str(Path(__file__).with_name("naive.py")), str(_certificate(directory))]
    return _started("naive", Process(command, directory / "naive.log"), r"listening on (\d+)\n")


def start_floor(directory: Path, program: Path) -> Target:
    """Start the floor, with the certificate of ours."""
    process = Process([str(program), str(_certificate(directory))], directory / "floor.log")
    return _started("floor", process, r"listening on (\d+)\n")


def start_plain(directory: Path) -> Target:
    """Start the obvious server of static files, with the certificate and the files of ours."""
    program = Path(__file__).with_name("static_file.py")
    command = [sys.executable, str(program), str(_certificate(directory)), str(_site(directory))]
    return _started("plain", Process(command, directory / "plain.log"), r"listening on (\d+)\n")


def _site(directory: Path) -> Path:
    return directory / "www" / _HOST


def _certificate(directory: Path) -> Path:
    return directory / "cache" / "self-signed" / f"{_HOST}.pem"


def _started(name: str, process: Process, pattern: str) -> Target:
    try:
        port = int(process.expect(pattern)[1])
    except BaseException:
        process.stop()
        raise
    return Target(name, _HOST, "127.0.0.1", port, True, (process.pid,), process)


def external(url: str, pids: Sequence[int] = ()) -> Target:
    """A server that runs already.

    Args:
        url: ws://HOST[:PORT] or wss://HOST[:PORT].
        pids: its processes, when they are on this machine.

    Raises:
        ValueError: it is not such a URL, or the host has no address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"not a URL like wss://host:port: {url!r}")
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"{parts.hostname} has no address: {error}") from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # IPv4 first: what a server on loopback surely has
    address = str(found[0][4][0])
    return Target(url, parts.hostname, address, port, parts.scheme == "wss", tuple(pids))


def resident_bytes(pids: Sequence[int]) -> int:
    """The memory that some processes have at the moment, together.

    Raises:
        ServerError: one of them has ended.
    """
    total = 0
    for pid in pids:
        try:
            match = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        except FileNotFoundError:
            match = None
        if match is None:
            raise ServerError(f"there is no process {pid}")
        total += int(match[1]) * 1024
    return total
