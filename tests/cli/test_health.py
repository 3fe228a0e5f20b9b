"""`mles-tx health`, with somebody on loopback who answers."""

import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.health import HealthOptions, health
from mles_tx.cli.main import main
from mles_tx.service.endpoints import Endpoint
from tests.ports import free_port

FORMS = r"give tcp:PORT, tcp:PORT:interface=ADDRESS (its colons as \:) or unix:PATH"

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n"
STOPPING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 15\r\n\r\nstopping\na.test\n"

#: `--admin`, whom that means.
GOOD = (
    ("tcp:9100", Endpoint("127.0.0.1", 9100)),
    ("tcp:9100:interface=0.0.0.0", Endpoint("0.0.0.0", 9100)),
    ("unix:/run/mles/admin.sock", Endpoint("", 0, "/run/mles/admin.sock")),
    ("http://127.0.0.1:9100", ("127.0.0.1", 9100)),
    ("http://mles.example", ("mles.example", 80)),
    ("http://[::1]:9100/", ("::1", 9100)),
)

_GIVE = "give the server's --admin with its port, or http://HOST:PORT"

#: Arguments, line on standard error.
BAD = (
    ("--admin tcp:0", f"--admin 'tcp:0': {_GIVE}"),
    ("--admin https://127.0.0.1:9100", f"--admin 'https://127.0.0.1:9100': {_GIVE}"),
    ("--admin http://127.0.0.1:9100/x", f"--admin 'http://127.0.0.1:9100/x': {_GIVE}"),
    ("--admin http://127.0.0.1:99999", f"--admin 'http://127.0.0.1:99999': {_GIVE}"),
    ("--admin http://127.0.0.1:0", f"--admin 'http://127.0.0.1:0': {_GIVE}"),
    ("--admin http://me@127.0.0.1", f"--admin 'http://me@127.0.0.1': {_GIVE}"),
    ("--admin 9100", f"--admin '9100': {FORMS}, or http://HOST:PORT"),
    ("--timeout 0", "--timeout '0': give a whole number from 1 to 3600"),
    ("--timeout 1.5", "--timeout '1.5': give a whole number from 1 to 3600"),
    ("extra", "'extra': not an option"),
    ("--nonsense", "option --nonsense not recognized"),
)


class OptionsTests(SynchronousTestCase):
    """Whom it asks."""

    def parse(self, *arguments: str, environ: Mapping[str, str] | None = None) -> HealthOptions:
        """The options of a command line."""
        options = HealthOptions(environ or {})
        options.parseOptions(list(arguments))
        return options

    def test_admin(self) -> None:
        """It asks where the server was told to answer, or at a URL."""
        for text, where in GOOD:
            self.assertEqual((text, self.parse("--admin", text)["admin"]), (text, where))

    def test_default(self) -> None:
        """It asks where the environment says, else on the usual port."""
        self.assertEqual(self.parse()["admin"], Endpoint("127.0.0.1", 9100))
        self.assertEqual(self.parse(environ={"MLES_TX_ADMIN": ""})["admin"], Endpoint("127.0.0.1", 9100))
        environ = {"MLES_TX_ADMIN": "unix:/run/a.sock"}
        self.assertEqual(self.parse(environ=environ)["admin"], Endpoint("", 0, "/run/a.sock"))
        self.assertEqual(self.parse("--admin", "tcp:9101", environ=environ)["admin"], Endpoint("127.0.0.1", 9101))

    def test_bad(self) -> None:
        """What it cannot make sense of is told in one line, with code 1."""
        for line, message in BAD:
            err = StringIO()
            with redirect_stderr(err):
                ended = self.assertRaises(SystemExit, main, ["health", *line.split()])
            self.assertEqual((ended.code, err.getvalue()), (1, f"mles-tx: {message}; --help says more\n"))

    def test_help(self) -> None:
        """It says what its codes mean, and shows the version."""
        for argument, text in (("--help", "code 1"), ("-h", "code 1"), ("--version", "mles_tx ")):
            out = StringIO()
            with redirect_stdout(out):
                ended = self.assertRaises(SystemExit, main, ["health", argument])
            self.assertEqual(ended.code, 0)
            self.assertIn(text, out.getvalue())


class HealthTests(SynchronousTestCase):
    """What it makes of an answer."""

    def setUp(self) -> None:
        self.asked: list[bytes] = []

    def answering(self, pieces: Sequence[bytes], family: int = socket.AF_INET, where: object = ("127.0.0.1", 0)) -> str:
        """Somebody who answers one request, piece by piece, and goes; the description of where."""
        listening = socket.socket(family, socket.SOCK_STREAM)
        self.addCleanup(listening.close)
        listening.bind(where)  # type: ignore[arg-type]
        listening.listen()
        done = threading.Event()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                self.asked.append(connection.recv(4096))
                for piece in pieces:
                    connection.sendall(piece)
                if not pieces:
                    done.wait(20)

        thread = threading.Thread(target=answer)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(done.set)
        name = listening.getsockname()
        return f"unix:{name}" if isinstance(name, str) else f"tcp:{name[1]}"

    def ask(self, *arguments: str) -> tuple[object, str]:
        """With which code or line it ends, and what it prints."""
        options = HealthOptions({})
        options.parseOptions(list(arguments))
        out = StringIO()
        with redirect_stdout(out):
            ended = self.assertRaises(SystemExit, health, options)
        return ended.code, out.getvalue()

    def test_ready(self) -> None:
        """A server that is ready: code 0."""
        self.assertEqual(self.ask("--admin", self.answering([READY])), (0, "ready\n"))
        self.assertTrue(self.asked[0].startswith(b"GET /readyz HTTP/1.1\r\n"))

    def test_alive(self) -> None:
        """With --live it is only asked whether it lives."""
        self.assertEqual(self.ask("--live", "--admin", self.answering([READY]))[0], 0)
        self.assertTrue(self.asked[0].startswith(b"GET /livez HTTP/1.1\r\n"))

    def test_not_ready(self) -> None:
        """One that is not: code 1, and its reasons; they may come in pieces."""
        pieces = [STOPPING[index : index + 1] for index in range(len(STOPPING))]
        self.assertEqual(self.ask("--admin", self.answering(pieces)), (1, "stopping\na.test\n"))

    def test_unix(self) -> None:
        """It can be asked on a UNIX socket."""
        with TemporaryDirectory(prefix="mles-tx-") as directory:
            where = self.answering([READY], socket.AF_UNIX, str(Path(directory) / "socket"))
            self.assertEqual(self.ask("--admin", where), (0, "ready\n"))

    def test_everywhere(self) -> None:
        """A server that listens on all addresses is asked on the loopback one."""
        where = self.answering([READY]) + ":interface=0.0.0.0"
        self.assertEqual(self.ask("--admin", where), (0, "ready\n"))

    def test_url(self) -> None:
        """It can be asked by name."""
        port = self.answering([READY]).partition(":")[2]
        self.assertEqual(self.ask("--admin", f"http://localhost:{port}/"), (0, "ready\n"))

    def test_nobody(self) -> None:
        """Where nobody listens the line says where that is."""
        port = free_port()
        for admin, line in (
            (f"tcp:{port}", f"127.0.0.1:{port}: Connection refused"),
            (f"http://127.0.0.1:{port}", f"127.0.0.1 port {port}: Connection refused"),
            ("unix:/nowhere/socket", "unix:/nowhere/socket: No such file or directory"),
        ):
            self.assertEqual(self.ask("--admin", admin), (f"mles-tx health: nobody answers on {line}", ""))

    def test_no_name(self) -> None:
        """What cannot be the name of a host is told as such."""
        line = "mles-tx health: --admin: a..b port 80: this is no name of a host; give http://HOST:PORT/"
        self.assertEqual(self.ask("--admin", "http://a..b/"), (line, ""))

    def test_no_answer(self) -> None:
        """Somebody who does not answer is not waited for any longer than that."""
        where = self.answering([])
        shown = where.replace("tcp:", "127.0.0.1:")
        line = f"mles-tx health: no answer from {shown} within 1 s"
        self.assertEqual(self.ask("--timeout", "1", "--admin", where), (line, ""))

    def test_somebody_else(self) -> None:
        """Who is no admin endpoint is told apart from a server that is not ready, and nothing of it is printed raw."""
        for answer in (b"SSH-2.0-x\r\n", b"HTTP/1.1 404 Not Found\r\n\r\nx", b"", b"HTTP/1.1 200", b"\xff" * 100000):
            pieces = [answer] if answer else [b"\r\n"]
            where = self.answering(pieces)
            shown = where.replace("tcp:", "127.0.0.1:")
            self.assertEqual(
                self.ask("--admin", where),
                (f"mles-tx health: what answers on {shown} is not the admin endpoint of mles_tx", ""),
            )
        where = self.answering([b"HTTP/1.1 503 x\r\n\r\n\x1b]0;x\x07\xff\r\n"])
        self.assertEqual(self.ask("--admin", where), (1, " ]0;x \ufffd \n"))


class LightTests(SynchronousTestCase):
    """What it costs."""

    def test_imports(self) -> None:
        """It is started every few seconds: neither Autobahn nor a reactor nor Prometheus is imported for it."""
        script = (
            "import sys; from mles_tx.cli.main import main\n"
            "try: main(['health', '--admin', 'unix:/nowhere'])\n"
            "except SystemExit: print(*sys.modules)"
        )
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        there = set(ran.stdout.split())
        self.assertIn("mles_tx.cli.health", there)
        self.assertEqual(there & {"autobahn", "twisted.internet.reactor", "prometheus_client", "twisted.web"}, set())
