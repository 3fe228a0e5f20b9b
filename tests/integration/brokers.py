"""Real MQTT brokers: Debian's mosquitto, started, stopped and started again on the same port."""

import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from .parts import debian_program, shared_libraries
from .processes import WAIT, Process

__all__ = ["Mosquitto"]


class Mosquitto:
    """A broker on a free port.

    Args:
        lines: more lines of its configuration, also about its listener; `{directory}` is a directory of its own.
        files: what is to stand in that directory before it starts.

    Attributes:
        port: its port.
        directory: where it keeps what it keeps.
    """

    def __init__(self, *lines: str, files: Mapping[str, bytes]) -> None:
        self._program = debian_program("mosquitto", "mosquitto", "libdlt2", "libwrap0", "libcjson1", "libnsl2")
        self._directory = TemporaryDirectory(prefix="mles-tx-test-")
        self.directory = Path(self._directory.name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name, content in files.items():
            (self.directory / name).write_bytes(content)
        own = [line.format(directory=self.directory) for line in lines]
        # As root it would become somebody who may not use the directory.
        begin = [f"user {'root' if os.geteuid() == 0 else 'nobody'}", f"listener {self.port} 127.0.0.1"]
        if not any(line.startswith("allow_anonymous") for line in own):
            begin.append("allow_anonymous true")
        (self.directory / "mosquitto.conf").write_text("\n".join([*begin, *own, ""]))
        self.process: Process
        self.start()

    @property
    def url(self) -> str:
        """Where it is, for `--mqtt`."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, with what it has kept."""
        command = [str(self._program), "-v", "-c", str(self.directory / "mosquitto.conf")]
        self.process = Process(command, self.directory, dict(os.environ) | shared_libraries(self._program))
        try:
            self.process.expect("mosquitto version .* running", WAIT)
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
