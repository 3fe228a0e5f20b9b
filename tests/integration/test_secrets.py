"""Nobody who reads a log, the metrics, an error or the list of processes of a real server gets to see a secret."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

from mles_tx.protocol.auth import auth_value

from .clients import join_frame
from .processes import WAIT, Process, Server, server_environ
from .support import IntegrationTestCase

_ROOT = Path(__file__).parents[2]

#: Planted where secrets are; whatever is shown must have none of them in it.
_KEY = "planted-key-1"
_FILE_KEY = "planted-key-2"
_NEXT_KEY = "planted-key-3"
_PASSWORD = "planted-password"
_PAYLOAD = "planted-payload"
_WRONG_AUTH = "7a0b1c2d3e4f5a6b"

_AUTHS = {f"the auth value of {key}": auth_value("alice", "example", key.encode()) for key in (_KEY, _FILE_KEY)}

_PLANTED = {each: each for each in (_KEY, _FILE_KEY, _NEXT_KEY, _PASSWORD, _PAYLOAD)}
_PLANTED |= {"a wrong auth value": _WRONG_AUTH, **_AUTHS}

_COMMANDS = (
    ("mles-tx", "serve", "--port", "0", "--log-format", "json"),
    ("mles-tx", "serve", "--port", "0"),
    ("twistd", "-n", "--pidfile=", "mles", "--domains", "localhost", "--port", "0", "--cache", "cache"),
)

#: A server that leaks all it is told, everywhere.
_LEAKING = ("env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "tests.integration.leaking", "serve", "--port", "0")

#: What an operator may ask for.
_PATHS = ("/metrics", "/readyz", "/livez", "/nothing")

#: Servers that do not start: options and variables with a secret in them; the key file is spoilt.
_REFUSED: tuple[tuple[tuple[str, ...], dict[str, str], tuple[str, ...]], ...] = (
    (("--history", f"redis://:{_PASSWORD}@127.0.0.1:port/0"), {}, (_PASSWORD,)),
    (("--history", f"redis://:{_PASSWORD}@127.0.0.1/zero"), {}, (_PASSWORD,)),
    ((), {"MLES_TX_HISTORY": f"redis://planter:{_PASSWORD}@"}, (_PASSWORD,)),
    ((), {"MLES_TX_KEY": _KEY}, (_KEY,)),
    (("--key-file", "key", "--limit", "0"), {"MLES_KEY": _KEY}, (_KEY, _FILE_KEY)),
)


def _found(shown: Mapping[str, str]) -> dict[str, set[str]]:
    """What of all that was planted is in what is shown, by where that is."""
    found = {where: {what for what, secret in _PLANTED.items() if secret in text} for where, text in shown.items()}
    return {where: secrets for where, secrets in found.items() if secrets}


def _processes(pid: int) -> Iterator[Path]:
    """A process and all it has started, as the kernel shows them."""
    process = Path("/proc") / str(pid)
    yield process
    for children in process.glob("task/*/children"):
        for child in children.read_text().split():
            yield from _processes(int(child))


def _shown_of(pid: int) -> dict[str, str]:
    """What anybody on the machine sees of a process, and what its own user does but for the key it was given there."""
    shown = dict.fromkeys(("cmdline", "comm", "comm of a thread", "environ"), "")
    for process in _processes(pid):
        for name in ("cmdline", "comm"):
            shown[name] += (process / name).read_text("utf-8", "replace")
        for path in process.glob("task/*/comm"):
            with contextlib.suppress(FileNotFoundError):  # a thread that has ended
                shown["comm of a thread"] += path.read_text("utf-8", "replace")
        variables = (process / "environ").read_text("utf-8", "replace").split("\0")
        shown["environ"] += "\0".join(variable for variable in variables if variable != f"MLES_KEY={_KEY}")
    return shown


class SecretTests(IntegrationTestCase):
    """A server full of secrets, and clients with more of them."""

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

    def serve(self, command: tuple[str, ...]) -> dict[str, set[str]]:
        """What of all that was planted a server lets out, and where, whatever clients do and the operator changes."""
        server = self.begin(*command)
        for key in (_KEY, _FILE_KEY):
            member = self.member(server, "alice", "example", auth=auth_value("alice", "example", key.encode()))
            member.send(_PAYLOAD)
            member.send(_PAYLOAD.encode())
            member.settle()
            member.leave()
        told = []
        for first in (
            join_frame("alice", "example", auth=_WRONG_AUTH),
            join_frame("alice", "example", auth=_PAYLOAD),
            join_frame("alice", "example"),
            f'{{"auth": "{_WRONG_AUTH}", "uid": {_PAYLOAD}',
            _PAYLOAD * 2000,
        ):
            stranger = self.client(server)
            stranger.send(first)
            told.append(str(stranger.closed()))
        raw = self.raw(server)
        told.append(raw.upgrade().head)
        raw.send(b"\xf1\xff" + _PAYLOAD.encode())
        told.append(str(raw.read_close()))
        page = self.raw(server).request(path=f"/{_PAYLOAD}?{_KEY}")
        told.append(f"{page.head}{page.body!r}")
        self.key_file.write_text(_NEXT_KEY)
        os.kill(server.pid, signal.SIGHUP)
        server.expect("settings read again")
        os.kill(server.pid, signal.SIGUSR1)
        server.expect("metrics: ")
        shown = {path: self.ask(server, path) for path in _PATHS} | _shown_of(server.pid)
        server.expect("Redis at ")
        server.stop()
        return _found({**shown, "what strangers are told": "\n".join(told), "the log": server.output})

    def refuse(self, *command: str) -> dict[str, set[str]]:
        """What servers let out that do not start because of their settings, by what these are."""
        shown = {}
        for options, more, _ in _REFUSED:
            directory = Path(self.enterContext(TemporaryDirectory()))
            (directory / "key").write_bytes(_KEY.encode() + b"\n" + _FILE_KEY.encode() + b"\xff\n\n")
            refused = Process([*command, *options], directory, server_environ(directory, **more))
            self.addCleanup(refused.stop)
            self.assertEqual(refused.wait(), 1)
            shown[f"{options} {more}"] = refused.output
        return _found(shown)

    def test_served(self) -> None:
        """Whatever clients do and the operator changes, nothing of it is shown."""
        for command in _COMMANDS:
            self.assertEqual((command[0], self.serve(command)), (command[0], {}))

    def test_refused(self) -> None:
        """A server that does not start because of its settings does not say what is secret about them."""
        self.assertEqual(self.refuse("mles-tx", "serve", "--port", "0"), {})

    def test_what_is_served_can_be_found(self) -> None:
        """All that is planted comes to the server, and in each of the places a leak is found."""
        found = self.serve(_LEAKING)
        self.assertEqual(found.pop("the log"), set(_PLANTED))
        for where in (*_PATHS, "what strangers are told", "cmdline", "comm"):
            self.assertEqual((where, found.pop(where)), (where, {_KEY}))
        self.assertEqual(found, {"comm of a thread": {_KEY, _FILE_KEY, _NEXT_KEY}, "environ": {_PASSWORD}})

    def test_what_is_refused_can_be_found(self) -> None:
        """What is planted in settings that are refused is found in what a server says that tells it."""
        expected = {f"{options} {more}": set(secrets) for options, more, secrets in _REFUSED}
        self.assertEqual(self.refuse(*_LEAKING), expected)
