"""Proxies of others in front of a server, set up as the documentation says; and ways to a server through them."""

import os
import re
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SkipTest

import mles_tx
from tests.ports import free_port
from tests.transport.certificates.making import make

from .parts import debian_program, shared_libraries
from .processes import WAIT, Process, build_environ

__all__ = ["CONNECTIONS", "HTTP", "HAProxy", "Nginx", "Way", "documented_command", "documented_settings"]

_OPERATIONS = Path(mles_tx.__file__).parents[1] / "docs" / "operations.md"

#: The two ways of the documentation, by their headings.
HTTP, CONNECTIONS = "A proxy that speaks HTTP", "A proxy that passes connections on"


def _section(heading: str) -> str:
    text = _OPERATIONS.read_text()
    return text.partition(f"### {heading}\n")[2].partition("\n### ")[0]


def documented_settings(heading: str, program: str) -> str:
    """The settings of a proxy, as the documentation has them."""
    (settings,) = re.findall(rf"^```{program}\n(.*?)^```$", _section(heading), re.MULTILINE | re.DOTALL)
    return str(settings)


def documented_command(heading: str) -> list[str]:
    """How the server is started behind it, as the documentation has it: for localhost, and on a free port."""
    (command,) = re.findall(r"^    (mles-tx serve .*)$", _section(heading), re.MULTILINE)
    words = re.sub(r"--port \d+", "--port 0", command.replace("example.org", "localhost")).split()
    return words if "--no-tls" in words else [*words, "--cache", "cache"]


class Way:
    """A way to a server.

    Args:
        port: where it begins, on 127.0.0.1.
        trust: whom to trust with TLS; None: it is not spoken.
        source: the address to come from.
        header: what is said before everything else.
    """

    def __init__(
        self, port: int, trust: ssl.SSLContext | None = None, source: str = "127.0.0.1", header: bytes = b""
    ) -> None:
        self.port = port
        self.url = f"{'ws' if trust is None else 'wss'}://localhost:{port}/"
        self._trust = trust
        self.source = source
        self._header = header

    def trust(self) -> ssl.SSLContext | None:
        """Whom to trust with TLS."""
        return self._trust

    def dial(self, receive_buffer: int | None = None) -> socket.socket:
        """A TCP connection, on which the header was said."""
        dialed = socket.socket()
        try:
            if receive_buffer is not None:
                dialed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            dialed.settimeout(WAIT)
            dialed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            dialed.bind((self.source, 0))
            dialed.connect(("127.0.0.1", self.port))
            dialed.sendall(self._header)
        except BaseException:
            dialed.close()
            raise
        return dialed


class _Front(Process):
    """A proxy that has come up.

    Args:
        directory: where its files go.
        command: how it is started there.
        environ: more of its environment.
        port: where it listens.
    """

    def __init__(self, directory: Path, command: list[str], environ: Mapping[str, str], port: int) -> None:
        self.port = port
        super().__init__(command, directory, build_environ(directory) | dict(environ))
        try:
            self._await_port()
        except BaseException:
            self.stop()
            raise

    def _await_port(self) -> None:
        deadline = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), WAIT).close()
                return
            except ConnectionRefusedError:
                if time.monotonic() > deadline or not self.is_running:
                    raise AssertionError(f"the proxy does not come up:\n{self.output}") from None
                time.sleep(0.01)


class _Certificate:
    """A certificate for a proxy, in files."""

    def __init__(self, directory: Path) -> None:
        made = make("localhost")
        self.trust = ssl.create_default_context(cadata=made.certificate_pem.decode("ascii"))
        (directory / "fullchain.pem").write_bytes(made.certificate_pem)
        (directory / "privkey.pem").write_bytes(made.key_pem)
        (directory / "both.pem").write_bytes(made.certificate_pem + made.key_pem)


def _for_test(settings: str, directory: Path, port: int, server_port: int) -> str:
    """Settings of the documentation, with the files and ports of a test."""
    settings = settings.replace("/etc/ssl/example.org", str(directory))
    settings = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{server_port}", settings)
    return re.sub(r"(?<=listen )443|(?<=bind ):443", f"127.0.0.1:{port}", settings)


class HAProxy(_Front):
    """HAProxy in front of a server.

    Args:
        settings: those of the documentation.
        directory: where its files go.
        server_port: where the server is.
        port: where it is to listen; None: on one that is free.

    Attributes:
        trust: whom its clients trust, when it speaks TLS.

    Raises:
        SkipTest: there is none here.
    """

    def __init__(self, settings: str, directory: Path, server_port: int, port: int | None = None) -> None:
        program = debian_program(
            "haproxy", "haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libpcre2-8-0"
        )
        self.trust = _Certificate(directory).trust
        port = port or free_port()
        path = directory / "haproxy.cfg"
        path.write_text("global\n    maxconn 200\n\n" + _for_test(settings, directory, port, server_port))
        super().__init__(directory, [str(program), "-db", "-f", str(path)], shared_libraries(program), port)


class Nginx(_Front):
    """nginx in front of a server.

    Args:
        settings: those of the documentation, to stand in a block.
        block: ``http`` or ``stream``.
        directory: where its files go.
        server_port: where the server is.

    Attributes:
        trust: whom its clients trust, when it speaks TLS.

    Raises:
        SkipTest: there is none here.
    """

    def __init__(self, settings: str, block: str, directory: Path, server_port: int) -> None:
        program = debian_program("nginx", "nginx", "nginx-common", "libnginx-mod-stream", "libpcre2-8-0")
        self.trust = _Certificate(directory).trust
        port = free_port()
        lines = ["daemon off;", "pid nginx.pid;", "error_log stderr;", "events {}"]
        if os.geteuid() == 0:
            lines.append("user root;")
        if block == "stream":
            lines.insert(0, f"load_module {_stream_module(program)};")
        lines.append(f"{block} {{")
        if block == "http":
            lines.append("access_log off;")
            lines += [f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
        lines += [_for_test(settings, directory, port, server_port), "}"]
        path = directory / "nginx.conf"
        path.write_text("\n".join(lines))
        command = [str(program), "-p", str(directory), "-e", "stderr", "-c", str(path)]
        super().__init__(directory, command, shared_libraries(program), port)


def _stream_module(program: Path) -> Path:
    """The module for connections, which is a package of its own."""
    path = program.parents[1] / "lib" / "nginx" / "modules" / "ngx_stream_module.so"
    if not path.exists():
        raise SkipTest("nginx has no stream module here")
    return path
