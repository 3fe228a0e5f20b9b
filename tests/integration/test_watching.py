"""Watching a real server: metrics, readiness, `mles-tx health`, logs."""

import contextlib
import json
import os
import signal
import socket
import time
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from .processes import WAIT, Process, Server, server_environ
from .support import LOCAL, SECURE, Contract, IntegrationTestCase


class WatchingContract(Contract):
    """What holds for both commands."""

    command: tuple[str, ...]

    def watched(self, *more: str) -> Server:
        """A server with an admin endpoint on a free port."""
        return self.start_server(*self.command, "--admin", "tcp:0", *more)

    def admin_port(self, server: Server) -> int:
        """The port of its endpoint, as the log tells."""
        return int(server.expect(r"metrics and readiness are answered on 127\.0\.0\.1:(\d+)")[1])

    def ask(self, port: int, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of an answer."""
        connection = HTTPConnection("127.0.0.1", port, timeout=WAIT)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metrics(self, port: int) -> dict[str, float]:
        """A scrape: names with their labels, less `server`."""
        status, text = self.ask(port, "/metrics")
        self.assertEqual(status, 200)
        samples = {}
        for family in parse(text):
            for sample in family.samples:
                labels = [value for name, value in sample.labels.items() if name != "server"]
                samples[" ".join([sample.name, *labels])] = sample.value
        return samples

    def health(self, server: Server, *arguments: str) -> tuple[int, str]:
        """Code and output of `mles-tx health`."""
        process = Process(("mles-tx", "health", *arguments), server.directory, server_environ(server.directory))
        self.addCleanup(process.stop)
        return process.wait(), process.output

    def test_scrape(self) -> None:
        """Prometheus sees who is there, what was said, and how connections ended."""
        server = self.watched()
        port = self.admin_port(server)
        alice, bob = self.member(server, "alice"), self.member(server, "bob", history=0)
        alice.send("hello")
        self.assertEqual(bob.receive(), "hello")
        seen = self.metrics(port)
        expected = {
            "mles_ready": 1,
            "mles_active_connections": 2,
            "mles_open_sockets": 2,
            "mles_members": 2,
            "mles_channels": 1,
            "mles_messages_received_total": 1,
            "mles_messages_sent_total": 1,
            "mles_history_messages": 3,
            "mles_closed_connections_total left": 0,
        }
        self.assertEqual({name: seen[name] for name in expected}, expected)
        bob.leave()
        server.expect("left: uid bob,")
        seen = self.metrics(port)
        self.assertEqual((seen["mles_closed_connections_total left"], seen["mles_members"]), (1, 1))
        self.assertGreater(seen["process_open_fds"], 3)
        _, text = self.ask(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        self.assertIn("mles_reactor_lag_seconds", {family.name for family in parse_openmetrics(text)})
        self.assert_healthy(server)

    def test_stopping(self) -> None:
        """A server that drains its members says that it is stopping, until it has ended."""
        server = self.watched("--drain", "3600")
        port = self.admin_port(server)
        self.assertEqual(self.ask(port, "/readyz"), (200, "ready\n"))
        where = f"tcp:{port}"
        self.assertEqual(self.health(server, "--admin", where), (0, "ready\n"))
        for uid in ("told at once", "told in half an hour"):
            self.raw_member(server, uid, history=0)
        server.signal(signal.SIGTERM)
        server.expect(r"SIGTERM")
        self.assertEqual(self.ask(port, "/readyz"), (503, "stopping\n"))
        self.assertEqual(self.ask(port, "/livez"), (200, "alive\n"))
        self.assertEqual(self.health(server, "--admin", where), (1, "stopping\n"))
        self.assertEqual(self.health(server, "--live", "--admin", f"http://localhost:{port}"), (0, "alive\n"))
        server.signal(signal.SIGTERM)  # the second one ends it
        server.wait()
        line = f"mles-tx health: nobody answers on 127.0.0.1:{port}: Connection refused\n"
        self.assertEqual(self.health(server, "--admin", where), (1, line))
        self.assert_no_faults(server)

    def test_unix(self) -> None:
        """On a UNIX socket too; what a killed server has left behind is in nobody's way."""
        directory = TemporaryDirectory(prefix="mles-tx-test-")
        self.addCleanup(directory.cleanup)
        path = Path(directory.name) / "admin.sock"
        where = f"unix:{path}"
        for number in (signal.SIGKILL, signal.SIGTERM):
            server = self.start_server(*self.command, "--admin", where)
            self.assertEqual(self.health(server, "--admin", where), (0, "ready\n"))
            server.signal(number)
            server.wait()
            self.assertEqual(path.exists(), number == signal.SIGKILL)

    def test_many(self) -> None:
        """Connections that come to no point keep members from nothing, and nobody from asking once they have gone."""
        server = self.watched()
        port = self.admin_port(server)
        slow = [socket.create_connection(("127.0.0.1", port), WAIT) for _ in range(40)]
        for each in slow:
            self.addCleanup(each.close)
        self.assert_healthy(server)
        for each in slow:
            each.close()
        while (status := self.try_to_ask(port)) != 200:  # each try is a turn of the server at least
            self.assertIn(status, (0, 503))

    def try_to_ask(self, port: int) -> int:
        """The status of an answer; 0: the connection was closed."""
        try:
            return self.ask(port, "/livez")[0]
        except (ConnectionResetError, RemoteDisconnected):
            return 0

    def test_json(self) -> None:
        """With --log-format json every line is an object: banner, joins, metrics, the end."""
        server = self.start_server(*self.command, "--log-format", "json", "--no-metrics-logging")
        odd = 'al"ice\\'
        member = self.member(server, odd)
        member.leave()
        server.expect('"reason":"left"')
        server.signal(signal.SIGUSR1)
        server.expect('"metrics":')
        server.signal(signal.SIGTERM)
        server.wait()
        lines: list[dict[str, Any]] = [json.loads(line) for line in server.output.splitlines()]
        for line in lines:
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertIn(line["level"], ("debug", "info", "warn", "error", "critical"))
        (joined,) = (line for line in lines if line["text"].startswith("joined: "))
        self.assertEqual(
            (joined["uid"], joined["channel"], joined["logger"]),
            (odd, self.channel[:64], "mles_tx.transport.connection.MlesConnection"),
        )
        (metrics,) = (line for line in lines if "metrics" in line)
        self.assertEqual(metrics["metrics"]["total_errors"], 0)


class LocalWatchingTests(WatchingContract, IntegrationTestCase):
    """`mles-tx serve`."""

    command = LOCAL

    def test_levels(self) -> None:
        """With --log-level warn nobody hears who joins; with debug it is heard as by default."""
        for level, is_heard in (("debug", True), ("info", True), ("warn", False), ("error", False)):
            server = self.start_server(*self.command, "--log-level", level)
            self.member(server, "alice").leave()
            server.signal(signal.SIGTERM)
            server.wait()
            self.assertEqual((level, "joined: uid alice" in server.output), (level, is_heard))


class TwistdWatchingTests(WatchingContract, IntegrationTestCase):
    """Under twistd, with TLS."""

    command = SECURE

    def test_log_file(self) -> None:
        """A daemon's lines are in the file twistd was told, which is rotated on SIGUSR1; nothing is lost at its end."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        with TemporaryDirectory(prefix="mles-tx-test-") as short:
            admin = f"unix:{short}/admin.sock"
            options = ("--port", "0", "--log-format", "json", "--admin", admin)
            starting = Process(("twistd", "--logfile=log", "mles", *options), directory, server_environ(directory))
            self.addCleanup(starting.stop)
            self.assertEqual((starting.wait(), starting.output), (0, ""))
            pid = int((directory / "twistd.pid").read_text())
            self.addCleanup(self.kill, pid)
            self.assertEqual(self.ask_until_ready(directory, admin), 0)
            os.kill(pid, signal.SIGUSR1)
            self.wait_for(directory / "log", '"metrics":')
            os.kill(pid, signal.SIGTERM)
            self.wait_for(directory / "log", "Server Shut Down")
        lines = [json.loads(line) for name in ("log.1", "log") for line in (directory / name).read_text().splitlines()]
        self.assertIn("mles_tx serves this machine:", [line["text"] for line in lines])

    def ask_until_ready(self, directory: Path, admin: str) -> int:
        """The code of `mles-tx health`, once it is 0 or a while has passed."""
        for _ in range(50):
            process = Process(("mles-tx", "health", "--admin", admin), directory, server_environ(directory))
            self.addCleanup(process.stop)
            code = process.wait()
            if code == 0:
                break
        return code

    def wait_for(self, path: Path, text: str) -> None:
        """Wait until a file has a text."""
        end = time.monotonic() + WAIT
        while not path.exists() or text not in path.read_text():
            self.assertLess(time.monotonic(), end, text)
            os.sched_yield()

    def kill(self, pid: int) -> None:
        """End a daemon, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
