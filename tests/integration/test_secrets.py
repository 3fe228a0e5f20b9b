"""Nobody who reads a log, the metrics, an error or the list of processes of a real server gets to see a secret."""

import os
import signal
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

from mles_tx.protocol.auth import auth_value

from .clients import join_frame
from .processes import WAIT, Process, Server, server_environ
from .support import IntegrationTestCase

#: Planted where secrets are; whatever is shown must have none of them in it.
_KEY = "planted-key-1"
_FILE_KEY = "planted-key-2"
_NEXT_KEY = "planted-key-3"
_PASSWORD = "planted-password"
_PAYLOAD = "planted-payload"
_WRONG_AUTH = "7a0b1c2d3e4f5a6b"

_COMMANDS = (
    ("mles-tx", "serve", "--port", "0", "--log-format", "json"),
    ("mles-tx", "serve", "--port", "0"),
    ("twistd", "-n", "--pidfile=", "mles", "--domains", "localhost", "--port", "0", "--cache", "cache"),
)


class SecretTests(IntegrationTestCase):
    """A server full of secrets, and clients with more of them."""

    def assert_clean(self, shown: str, where: str) -> None:
        """Nothing that was planted is in what is shown."""
        secrets = [_KEY, _FILE_KEY, _NEXT_KEY, _PASSWORD, _PAYLOAD, _WRONG_AUTH]
        secrets += [auth_value("alice", "example", key.encode()) for key in (_KEY, _FILE_KEY, _NEXT_KEY)]
        for secret in secrets:
            self.assertNotIn(secret, shown, where)

    def begin(self, *command: str) -> Server:
        """A server with two keys, a password and an admin endpoint, that says all it has to say."""
        directory = Path(self.enterContext(TemporaryDirectory()))
        self.key_file = directory / "key"
        self.key_file.write_text(_FILE_KEY)
        settings = directory / "settings.toml"
        # Nobody listens there: the server complains about it, and serves.
        settings.write_text(f'history = "redis://planter:{_PASSWORD}@127.0.0.1:1/0"\nkey-file = "{self.key_file}"\n')
        options = ("--config", str(settings), "--admin", "tcp:0", "--log-level", "debug")
        server = Server([*command, *options], server_environ(directory, MLES_KEY=_KEY))
        self.addCleanup(server.stop)
        return server

    def ask(self, server: Server, path: str) -> str:
        port = int(server.expect(r"metrics and readiness are answered on 127\.0\.0\.1:(\d+)")[1])
        connection = HTTPConnection("127.0.0.1", port, timeout=WAIT)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def test_served(self) -> None:
        """Whatever clients do and the operator changes, nothing of it is shown."""
        for command in _COMMANDS:
            self._serve(command)

    def _serve(self, command: tuple[str, ...]) -> None:
        server = self.begin(*command)
        for key in (_KEY, _FILE_KEY):
            member = self.member(server, "alice", "example", auth=auth_value("alice", "example", key.encode()))
            member.send(_PAYLOAD)
            member.send(_PAYLOAD.encode())
            member.settle()
            member.leave()
        for first in (
            join_frame("alice", "example", auth=_WRONG_AUTH),
            join_frame("alice", "example", auth=_PAYLOAD),
            join_frame("alice", "example"),
            f'{{"auth": "{_WRONG_AUTH}", "uid": {_PAYLOAD}',
            _PAYLOAD * 2000,
        ):
            stranger = self.client(server)
            stranger.send(first)
            stranger.closed()
        raw = self.raw(server)
        raw.upgrade()
        raw.send(b"\xf1\xff" + _PAYLOAD.encode())
        self.key_file.write_text(_NEXT_KEY)
        os.kill(server.pid, signal.SIGHUP)
        server.expect("settings read again")
        os.kill(server.pid, signal.SIGUSR1)
        server.expect("metrics: ")
        shown = {path: self.ask(server, path) for path in ("/metrics", "/readyz", "/livez", "/nothing")}
        process = Path("/proc") / str(server.pid)
        for path in (process / "cmdline", process / "comm", *process.glob("task/*/comm")):
            shown[str(path)] = path.read_text("utf-8", "replace")
        server.expect("Redis at ")
        server.stop()
        for where, text in {**shown, "the log": server.output}.items():
            self.assert_clean(text, f"{where} of {command[0]}")

    def test_refused(self) -> None:
        """A server that does not start because of its settings does not say what is secret about them."""
        directory = Path(self.enterContext(TemporaryDirectory()))
        spoilt = directory / "key"
        spoilt.write_bytes(_KEY.encode() + b"\n" + _FILE_KEY.encode() + b"\xff\n\n")
        for options, more in (
            (("--history", f"redis://:{_PASSWORD}@127.0.0.1:port/0"), {}),
            (("--history", f"redis://:{_PASSWORD}@127.0.0.1/zero"), {}),
            ((), {"MLES_TX_HISTORY": f"redis://planter:{_PASSWORD}@"}),
            ((), {"MLES_TX_KEY": _KEY}),
            (("--key-file", str(spoilt), "--limit", "0"), {"MLES_KEY": _KEY}),
        ):
            environ = server_environ(directory, **more)
            refused = Process(("mles-tx", "serve", "--port", "0", *options), directory, environ)
            self.addCleanup(refused.stop)
            self.assertEqual(refused.wait(), 1)
            self.assert_clean(refused.output, f"{options} {more}")
