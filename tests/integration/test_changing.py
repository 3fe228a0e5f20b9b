"""Settings from a file, and a server that changes while members are on it."""

import shutil
import signal
import ssl
from datetime import UTC, datetime
from pathlib import Path

from mles_tx.protocol.auth import auth_value
from mles_tx.transport.certificates.selfsigned import self_signed_pair
from mles_tx.transport.certificates.store import CertificateDirectory

from .clients import PING, PONG, TEXT, Member, frame, join_frame
from .processes import Process, Server, server_environ
from .support import LOCAL, SECURE, Contract, IntegrationTestCase

REREAD = r"settings read again: {} changed, {} need a restart"

#: More of them would take 195 seconds at a rate of one a second.
MANY = 200


class ChangingContract(Contract):
    """What holds for both commands."""

    command: tuple[str, ...]

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.config = self.directory / "mles.toml"
        self.rereads = 0

    def write(self, text: str) -> None:
        """Write the file with the settings."""
        self.config.write_text(f"port = 0\n{text}")

    def begin(self, text: str) -> Server:
        """A server with a file."""
        self.write(text)
        return self.start_server(*self.command, "--config", str(self.config))

    def change(self, server: Server, text: str, changed: int, waiting: int = 0) -> None:
        """Write another file, and have the server read it."""
        self.write(text)
        seen = server.output.count("settings read again")
        server.signal(signal.SIGHUP)
        server.expect(rf"(?s)(settings read again.*){{{seen}}}{REREAD.format(changed, waiting)}")

    def keyed(self, server: Server, uid: str, key: str) -> Member:
        """A member with a key."""
        return self.member(server, uid, auth=auth_value(uid, self.channel, key.encode()))

    def assert_refused(self, server: Server, uid: str, key: str) -> None:
        """A key does not let in."""
        client = self.client(server)
        client.send(join_frame(uid, self.channel, auth=auth_value(uid, self.channel, key.encode())))
        self.assertEqual(client.closed()[0], 4511)

    def upgrade(self, server: Server, origin: str) -> int:
        """The status with which a page's upgrade is answered."""
        return self.raw(server).upgrade(f"Origin: {origin}").status

    def test_keys(self) -> None:
        """A key is changed in two steps, and nobody is thrown out; no key is in the log."""
        for name in ("old", "new"):
            (self.directory / name).write_text(f"s3cret-{name}\n")
        server = self.begin('key-file = "old"')
        alice = self.keyed(server, "alice", "s3cret-old")
        self.assert_refused(server, "bob", "s3cret-new")
        self.change(server, 'key-file = ["new", "old"]', 1)
        bob, carol = self.keyed(server, "bob", "s3cret-old"), self.keyed(server, "carol", "s3cret-new")
        self.change(server, 'key-file = ["new"]', 1)
        self.assert_refused(server, "dave", "s3cret-old")
        alice.send("still here")
        for member in (bob, carol):
            while member.receive() != "still here":
                pass
        self.assertNotIn("s3cret", server.output)
        self.assert_no_faults(server)

    def test_origins(self) -> None:
        """The pages that may connect are changed; who is refused is told what the operator has to name."""
        server = self.begin('origin = "https://example.org"')
        self.assertEqual(self.upgrade(server, "https://example.org"), 101)
        answer = self.raw(server).upgrade("Origin: https://example.net")
        self.assertEqual(answer.status, 403)
        self.assertIn(b"--origin", answer.body)
        self.assertNotIn(b"example", answer.body)
        self.change(server, 'origin = ["https://*.example.net", "null"]', 1)
        origins = ("https://example.org", "https://a.example.net", "null", "https://example.net")
        self.assertEqual([self.upgrade(server, origin) for origin in origins], [403, 101, 101, 403])
        self.member(server, "program")
        self.assert_no_faults(server)

    def test_rate(self) -> None:
        """Who has to wait for minutes under one rate is read at once under another."""
        server = self.begin("rate-limit = 1")
        sender = self.raw_member(server, "sender")
        sender.send(frame(TEXT, b"x") * MANY + frame(PING, b"done"))
        self.change(server, "rate-limit = 0", 1)
        self.assertEqual(sender.read_frame(), (PONG, b"done"))
        self.assert_no_faults(server)

    def test_wrong(self) -> None:
        """A file that is wrong changes nothing, however it is wrong, and one line tells what is."""
        (self.directory / "key").write_text("s3cret\n")
        server = self.begin('key-file = "key"\norigin = "https://example.org"')
        alice = self.keyed(server, "alice", "s3cret")
        for text, told in (
            ('origin = "https://a.test"\nlimit = ', "broken TOML: Invalid value"),
            ('origin = "https://a.test"\nlimit = 0', "limit '0': give a whole number"),
            ('origin = "https://a.test"\nzzz = 1', "zzz: no option of this name"),
            ('origin = "https://a.test"\nkey-file = "no"', "key-file .*/no: No such file or directory"),
        ):
            self.write(text)
            server.signal(signal.SIGHUP)
            server.expect(f"the settings stay as they were: .*{told}")
        self.config.unlink()
        server.signal(signal.SIGHUP)
        server.expect("the settings stay as they were: --config .*: No such file")
        self.assertEqual([self.upgrade(server, f"https://{name}") for name in ("example.org", "a.test")], [101, 403])
        bob = self.keyed(server, "bob", "s3cret")
        bob.send("still here")
        while alice.receive() != "still here":
            pass
        self.assertNotIn("Traceback", server.output)

    def test_restart(self) -> None:
        """What needs a restart is named, and all else is changed."""
        server = self.begin("rate-limit = 0")
        self.change(server, 'rate-limit = 5\nwwwroot = "."\nfilelimit = 5', 2, 1)
        server.expect(r"not changed: --wwwroot: default -> .* \(needs a restart\)")
        server.expect("changed: --rate-limit: 0 -> 5")
        self.assert_healthy(server)

    def test_a_hundred_times_under_load(self) -> None:
        """A hundred signals, each with other settings, drop nobody and lose nothing."""
        server = self.begin("rate-limit = 0")
        alice, bob = self.member(server, "alice"), self.member(server, "bob", history=0)
        expected = []
        for number in range(100):
            self.write(f'rate-limit = {9000 + number}\nlimit = {100 + number}\norigin = "https://{number}.test"')
            server.signal(signal.SIGHUP)
            for part in range(10):
                expected.append(f"{number} {part}")
                alice.send(expected[-1])
        self.assertEqual(bob.receive_some(len(expected)), expected)
        server.expect("changed: --rate-limit: .* -> 9099$")
        self.assert_healthy(server)


class LocalChangingTests(ChangingContract, IntegrationTestCase):
    """`mles-tx serve`."""

    command = LOCAL[:2]

    def test_check(self) -> None:
        """--check tells what is wrong, or that nothing is, and does not start."""
        for text, code, told in (
            ("rate-limit = 5", 0, "mles: the settings are good"),
            ("rate_limit = 5", 1, f"mles: {self.config}: rate_limit: no option of this name; did you mean rate-limit?"),
        ):
            self.write(text)
            command = [*self.command, "--config", str(self.config), "--check"]
            process = Process(command, self.directory, server_environ(self.directory))
            self.addCleanup(process.stop)
            self.assertEqual((process.wait(), process.output), (code, f"{told}\n"))

    def test_environment(self) -> None:
        """Variables are stronger than the file, also when it is read again."""
        self.write('origin = "https://a.test"\nlimit = 1')
        server = self.start_server(
            *self.command,
            environ={"MLES_TX_CONFIG": str(self.config), "MLES_TX_ORIGIN": "https://b.test", "MLES_SERVER": "x"},
        )
        self.change(server, 'origin = "https://c.test"\nlimit = 2', 1)
        self.assertEqual([self.upgrade(server, f"https://{name}.test") for name in "abc"], [403, 101, 403])


class TwistdChangingTests(ChangingContract, IntegrationTestCase):
    """Under twistd, with TLS."""

    command = SECURE

    def own(self, name: str) -> Path:
        """A certificate with its key, as an operator's file."""
        self_signed_pair(CertificateDirectory(self.directory / name), ["localhost"], datetime.now(UTC))
        return self.directory / name / "localhost.pem"

    def shown(self, server: Server) -> bytes:
        """The certificate a client is shown."""
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        with anybody.wrap_socket(server.dial(), server_hostname="localhost") as connection:
            certificate = connection.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate

    def trust(self, server: Server, path: Path) -> None:
        """Have clients trust a certificate."""
        trusted = server.directory / "cache" / "self-signed" / "localhost.pem"
        trusted.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, trusted)

    def test_certificates(self) -> None:
        """New files are shown to who comes, members stay, and files that do not fit change nothing."""
        path = self.directory / "live.pem"
        shutil.copy(self.own("one"), path)
        text = f'certificate = "{path.name}"\nprivate-key = "{path.name}"'
        server = self.begin(text)
        self.trust(server, path)
        alice, first = self.member(server, "alice"), self.shown(server)
        self.change(server, text, 0)
        self.assertEqual(self.shown(server), first)
        shutil.copy(self.own("two"), path)
        self.assertEqual(self.shown(server), first)
        self.change(server, text, 1)
        server.expect(
            "changed: certificates: localhost, .* until .* -> localhost|changed: certificates: localhost until"
        )
        second = self.shown(server)
        self.trust(server, path)
        self.assertNotEqual(second, first)
        path.write_bytes(b"no PEM")
        server.signal(signal.SIGHUP)
        server.expect("the settings stay as they were: --certificate .*: no PEM certificate in this file")
        self.assertEqual(self.shown(server), second)
        bob = self.member(server, "bob")
        bob.send("still here")
        self.assertEqual(alice.receive(), "still here")
        self.assertNotIn("Traceback", server.output)
