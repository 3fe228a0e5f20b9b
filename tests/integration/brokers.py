"""Real MQTT brokers: Debian's mosquitto, started, stopped and started again on the same port."""

import os
from collections.abc import Mapping

from tests.ports import free_port

from .parts import debian_program, shared_libraries
from .processes import Kept

__all__ = ["Mosquitto"]


class Mosquitto(Kept):
    """A broker on a free port.

    Args:
        lines: more lines of its configuration, also about its listener; `{directory}` is a directory of its own.
        files: what is to stand in that directory before it starts.

    Attributes:
        port: its port.
    """

    def __init__(self, *lines: str, files: Mapping[str, bytes]) -> None:
        self._program = debian_program("mosquitto", "mosquitto", "libdlt2", "libwrap0", "libcjson1", "libnsl2")
        super().__init__()
        self.port = free_port()
        for name, content in files.items():
            (self.directory / name).write_bytes(content)
        own = [line.format(directory=self.directory) for line in lines]
        # As root it would become somebody who may not use the directory.
        begin = [f"user {'root' if os.geteuid() == 0 else 'nobody'}", f"listener {self.port} 127.0.0.1"]
        if not any(line.startswith("allow_anonymous") for line in own):
            begin.append("allow_anonymous true")
        (self.directory / "mosquitto.conf").write_text("\n".join([*begin, *own, ""]))
        self.start()

    @property
    def url(self) -> str:
        """Where it is, for `--mqtt`."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, with what it has kept."""
        command = [str(self._program), "-v", "-c", str(self.directory / "mosquitto.conf")]
        self.begin(command, shared_libraries(self._program), "mosquitto version .* running")
