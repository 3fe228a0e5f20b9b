"""Child processes, and servers among them: on free ports, with their state in directories of their own."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["WAIT", "Kept", "Process", "Server", "build_environ", "server_environ"]

#: Seconds within which everything happens that has no promise of its own: a bound, not a measure.
WAIT = 60.0

#: What a server must not find in its environment: the settings of whoever runs the tests.
_SETTINGS = re.compile("MLES_|STATE_DIRECTORY|XDG_")

#: What a build must not find there: the make, the virtual environment and the coverage of this run.
_BUILD_SETTINGS = re.compile("MLES_|XDG_|MAKE|MFLAGS|PYTHON|VIRTUAL_ENV|COV")


def server_environ(home: Path, **more: str) -> dict[str, str]:
    """The environment for a server: its state goes below `home`."""
    environ = {name: value for name, value in os.environ.items() if not _SETTINGS.match(name)}
    return environ | {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")} | more


def build_environ(scratch: Path) -> dict[str, str]:
    """The environment for pip and make: as this run's own, but what they keep goes below `scratch`."""
    environ = {name: value for name, value in os.environ.items() if not _BUILD_SETTINGS.match(name)}
    kept = {"XDG_STATE_HOME": str(scratch / "state"), "PIP_CACHE_DIR": str(scratch / "pip")}
    return environ | kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHON": sys.executable}


class Process:
    """A child process whose output is read all the time. It is the first of a process group of its own.

    Args:
        command: its arguments; a name without a slash is looked for beside the Python that runs the tests.
        cwd: where it runs.
        environ: its environment.
    """

    def __init__(self, command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
        beside = Path(sys.executable).parent / command[0]
        self._popen = subprocess.Popen(
            [str(beside) if beside.exists() else command[0], *command[1:]],
            cwd=cwd,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._output = b""
        self._read_to = 0
        self._ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        while True:
            data = os.read(self._popen.stdout.fileno(), 65536)
            with self._news:
                self._output += data
                self._ended = not data
                self._news.notify_all()
            if not data:
                return

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    @property
    def output(self) -> str:
        """All that it has written so far, on both streams."""
        with self._news:
            return self._output.decode("utf-8", "replace")

    def expect(self, pattern: str, seconds: float = WAIT) -> re.Match[str]:
        """Wait until its output has something; the pattern is looked for in all of it."""

        def found() -> re.Match[str] | None:
            return re.search(pattern, self._output.decode("utf-8", "replace"), re.MULTILINE)

        with self._news:
            self._news.wait_for(lambda: found() or self._ended, seconds)
            match = found()
        if match is None:
            raise AssertionError(f"{pattern!r} is not in the output of {self._popen.args!r}:\n{self.output}")
        return match

    def read_line(self) -> str:
        """The next line of its output that was not read yet."""
        with self._news:
            whole = self._news.wait_for(lambda: b"\n" in self._output[self._read_to :] or self._ended, WAIT)
            line, newline, _ = self._output[self._read_to :].partition(b"\n")
            if not whole or not newline:
                raise AssertionError(f"{self._popen.args!r} writes no further line:\n{self._output!r}")
            self._read_to += len(line) + 1
            return line.decode("utf-8", "replace")

    def write_line(self, line: str) -> None:
        """Type a line into it."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(line.encode() + b"\n")
        self._popen.stdin.flush()

    def end_input(self) -> None:
        """Type nothing more."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    def signal(self, number: int) -> None:
        """Send it a signal: to it alone."""
        self._popen.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Send it and all it has started a signal, as a terminal does on Ctrl-C."""
        os.killpg(self.pid, number)

    def wait(self, seconds: float = WAIT) -> int:
        """Wait for its end; its exit code, or a signal's number below zero."""
        code = self._popen.wait(seconds)
        self._reader.join(WAIT)
        return code

    def stop(self) -> None:
        """End it and what it has started, asking first; any number of times."""
        if self.is_running:
            self.signal_group(signal.SIGTERM)
            try:
                self._popen.wait(WAIT)
            except subprocess.TimeoutExpired:
                self.signal_group(signal.SIGKILL)
        self.wait()
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                stream.close()


class Kept:
    """Another program that keeps what it is told in a directory of its own, and may be ended and started again.

    Attributes:
        directory: where it keeps that.
        process: the program, once it is started.
    """

    process: Process

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="mles-tx-test-")
        self.directory = Path(self._directory.name)

    def begin(self, command: Sequence[str], environ: Mapping[str, str], sign: str) -> None:
        """Start it, and wait until it prints something."""
        self.process = Process(command, self.directory, dict(os.environ) | dict(environ))
        try:
            self.process.expect(sign)
        except BaseException:
            self.stop()
            raise

    def end(self, number: int = signal.SIGTERM) -> None:
        """Let it end."""
        self.process.signal(number)
        self.process.wait()
        self.process.stop()

    def stop(self) -> None:
        """End it, and forget what it has kept; any number of times."""
        self.process.stop()
        self._directory.cleanup()


class Server(Process):
    """A server that has come up.

    Args:
        command: how it is started; it runs in a directory that goes away with it.
        environ: more variables of its environment.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="mles-tx-test-")
        self.directory = Path(self._directory.name)
        self._looked_to = 0
        super().__init__(command, self.directory, server_environ(self.directory, **(environ or {})))
        try:
            match = self.expect(r"\b(https?|wss?)://localhost:(\d+)/")
        except BaseException:
            self.stop()
            raise
        self.is_secure = match[1] in ("wss", "https")
        self.port = int(match[2])
        self.url = f"{'wss' if self.is_secure else 'ws'}://localhost:{self.port}/"

    @property
    def resident_bytes(self) -> int:
        """The memory it has at the moment."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None
        return int(match[1]) * 1024

    def new_faults(self) -> str:
        """What it has logged since the last look, from the first sign of a fault of its own on; usually nothing."""
        with self._news:
            seen, self._looked_to = self._output[self._looked_to :], len(self._output)
        match = re.search(
            r"^.*(Traceback|Unhandled|#(error|critical)\]).*(\n.*){0,40}", seen.decode("utf-8", "replace"), re.MULTILINE
        )
        return match[0] if match else ""

    def trust(self) -> ssl.SSLContext | None:
        """A TLS context that trusts its certificate, as made on its first start; None: it speaks none."""
        if not self.is_secure:
            return None
        return ssl.create_default_context(cafile=self.directory / "cache" / "self-signed" / "localhost.pem")

    def dial(self, receive_buffer: int | None = None) -> socket.socket:
        """A TCP connection to it."""
        dialed = socket.socket()
        try:
            if receive_buffer is not None:
                dialed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            dialed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            dialed.settimeout(WAIT)
            dialed.connect(("127.0.0.1", self.port))
        except BaseException:
            dialed.close()
            raise
        return dialed

    def stop(self) -> None:
        super().stop()
        self._directory.cleanup()
