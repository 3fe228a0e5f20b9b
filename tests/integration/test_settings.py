"""A file with settings of every kind at once, and a server that does what they say."""

import json
import signal
import sys
from http.client import HTTPConnection
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parse

from mles_tx.protocol.auth import auth_value

from .clients import TEXT, frame, join_frame
from .processes import WAIT, Process, Server, server_environ
from .support import LOCAL, SECURE, Contract, IntegrationTestCase

SETTINGS = """
domains = ["localhost", "example.org"]
no-tls = true
port = 0
wwwroot = "www"
key-file = ["keys/new", "keys/old"]
origin = ["https://a.test", "null"]
proxy = "/api=http://127.0.0.1:{upstream}/"
trusted-proxy = ["127.0.0.1", "::1"]
per-ip-limit = 2
compression-cache = 3
filelimit = 7
history-total = 5
limit = 2
rate-limit = 0
cors = true
drain = 1
admin = "tcp:0"
log-format = "json"
log-level = "info"
no-metrics-logging = true
"""

RESTARTING = 1012


class SettingsContract(Contract):
    """What holds for both commands."""

    command: tuple[str, ...]

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.mktemp()).absolute()
        for site in ("localhost", "example.org"):
            (self.directory / "www" / site).mkdir(parents=True)
            (self.directory / "www" / site / "index.html").write_text(f"<!doctype html>{site}")
        (self.directory / "keys").mkdir()
        for key in ("new", "old"):
            (self.directory / "keys" / key).write_text(key)
        (self.directory / "passed-on").write_text("from the upstream")
        listing = (sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", ".")
        upstream = Process(listing, self.directory, server_environ(self.directory))
        self.addCleanup(upstream.stop)
        port = upstream.expect(r"port (\d+)")[1]
        self.config = self.directory / "mles.toml"
        self.config.write_text(SETTINGS.format(upstream=port))

    def begin(self) -> Server:
        """A server with the file."""
        return self.start_server(*self.command, "--config", str(self.config))

    def upgrade(self, server: Server, *lines: str) -> int:
        """The status of an upgrade that comes through the proxy."""
        return self.raw(server).upgrade(*lines).status

    def ask(self, server: Server, path: str) -> tuple[int, str]:
        """What the admin endpoint answers."""
        port = server.expect(r"answered on 127\.0\.0\.1:(\d+)")[1]
        connection = HTTPConnection("127.0.0.1", int(port), timeout=WAIT)
        self.addCleanup(connection.close)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def test_check(self) -> None:
        """--check finds the file good, and says what is wrong with one value among many; it starts nothing."""
        good = self.config.read_text()
        for before, after, code, told in (
            ("", "", 0, "mles: the settings are good"),
            ('"null"', '"a.test"', 1, "origin 'a.test': "),
            ('"::1"', '"::1/0/0"', 1, "trusted-proxy '::1/0/0': "),
            ("drain = 1", "drain = 3601", 1, "drain '3601': give a whole number from 0 to 3600"),
            ('"tcp:0"', '"udp:0"', 1, "admin"),
            ("keys/old", "keys/none", 1, "key-file"),
            ("/api=http", "/api=ftp", 1, "proxy"),
        ):
            self.config.write_text(good.replace(before, after) if before else good)
            command = (*self.command, "--config", str(self.config), "--check")
            process = Process(command, self.directory, server_environ(self.directory))
            self.addCleanup(process.stop)
            self.assertEqual(process.wait(), code, process.output)
            self.assertEqual(process.output.count("\n"), 1, process.output)
            self.assertIn(told, process.output)

    def test_web(self) -> None:
        """Sites, isolation from other origins, and requests passed on."""
        server = self.begin()
        client = self.raw(server)
        for host in ("localhost", "example.org"):
            answer = client.request(host=host)
            self.assertEqual((answer.status, answer.body), (200, f"<!doctype html>{host}".encode()))
            self.assertEqual(answer.header("Cross-Origin-Opener-Policy"), "same-origin")
        self.assertEqual(client.request(host="elsewhere.example").status, 404)
        answer = client.request(path="/api/passed-on")
        self.assertEqual((answer.status, answer.body), (200, b"from the upstream"))
        self.assertEqual(self.ask(server, "/readyz")[0], 200)
        shown = {family.name: family.samples for family in parse(self.ask(server, "/metrics")[1])}
        for name, value in (
            ("mles_history_max_bytes", 5 * 1024 * 1024),
            ("mles_web_cache_max_bytes", 3 * 1024 * 1024),
            ("mles_web_cache_entries", 2),
            ("mles_proxied_requests", 1),
        ):
            self.assertEqual([sample.value for sample in shown[name]], [value], name)
        self.assert_no_faults(server)

    def test_clients(self) -> None:
        """Origins, limits for the clients of a proxy, keys, the log with their addresses, and the end."""
        server = self.begin()
        for origin, status in (("https://a.test", 101), ("null", 101), ("https://b.test", 403)):
            self.assertEqual(self.upgrade(server, f"Origin: {origin}"), status)
        first = self.raw(server)
        self.assertEqual(first.upgrade("X-Forwarded-For: 198.51.100.7").status, 101)
        statuses = [self.upgrade(server, "X-Forwarded-For: 198.51.100.7") for _ in range(2)]
        self.assertEqual(statuses, [101, 429])
        self.assertEqual(self.upgrade(server, "X-Forwarded-For: 198.51.100.8"), 101)
        auth = auth_value("alice", self.channel, b"old")
        first.send(frame(TEXT, join_frame("alice", self.channel, auth=auth).encode()))
        server.expect('"text":"joined: uid alice, .*"address":"198.51.100.7"')
        for text in ("one", "two", "three"):
            first.send(frame(TEXT, text.encode()))
        bob = self.member(server, "bob", auth=auth_value("bob", self.channel, b"new"))
        self.assertEqual(bob.receive_some(2), ["two", "three"])
        stranger = self.client(server)
        stranger.send(join_frame("carol", self.channel, auth=auth_value("carol", self.channel, b"other")))
        self.assertEqual(stranger.closed()[0], 4511)
        server.signal(signal.SIGTERM)
        self.assertEqual(bob.closed()[0], RESTARTING)
        self.assertEqual(first.read_close()[0], RESTARTING)
        server.signal(signal.SIGTERM)
        server.wait()
        for line in server.output.splitlines():
            self.assertIn("time", json.loads(line))
        self.assertNotIn("metrics: ", server.output)
        self.assert_no_faults(server)


class LocalSettingsTests(SettingsContract, IntegrationTestCase):
    """`mles-tx serve`."""

    command = LOCAL[:2]


class TwistdSettingsTests(SettingsContract, IntegrationTestCase):
    """Under twistd."""

    command = SECURE[:4]
