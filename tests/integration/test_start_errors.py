"""A server that cannot start says why, in one line that names the option, and exits with code 1."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mles_tx.transport.certificates.selfsigned import self_signed_pair
from mles_tx.transport.certificates.store import CertificateDirectory

from .processes import Process, server_environ
from .support import LOCAL, SECURE, Contract, IntegrationTestCase


class StartErrorsContract(Contract):
    """What holds for both commands."""

    command: tuple[str, ...]

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def assert_refused(self, arguments: list[str], message: str, environ: Mapping[str, str] | None = None) -> None:
        """The command with these arguments ends with this line, and says nothing else about it."""
        process = Process(
            [*self.command, *arguments], self.directory, server_environ(self.directory, **(environ or {}))
        )
        self.addCleanup(process.stop)
        code = process.wait()
        said = [line.partition("mles: ")[2] for line in process.output.splitlines() if "mles: " in line]
        self.assertEqual((said, code), ([message], 1), process.output)
        self.assertNotIn("Traceback", process.output)
        self.assertNotIn("Unhandled", process.output)

    def test_port_in_use(self) -> None:
        """A port somebody listens on already: in the local mode, and on all addresses."""
        port = self.shared_server(LOCAL).port
        remedy = "another program listens there: stop it, or choose another --port"
        tls = ["--domains", "localhost", "--cache", str(self.directory)]
        for arguments, address in (
            ([], "127.0.0.1"),
            (tls, "0.0.0.0"),
        ):
            self.assert_refused(["--port", str(port), *arguments], f"cannot listen on {address}:{port}: {remedy}")

    def test_address_of_another_machine(self) -> None:
        """An address that this machine does not have (one that is reserved for documentation)."""
        self.assert_refused(
            ["--domains", "localhost", "--no-tls", "--port", "0", "--interface", "192.0.2.1"],
            "cannot listen on 192.0.2.1:0: this machine does not have that address: choose another --interface",
        )

    def test_options(self) -> None:
        """Values that cannot be right, alone or together."""
        for arguments, message in (
            (["--limit", "0"], "--limit '0': give a whole number from 1 to 999999"),
            (
                ["--wwwroot", str(self.directory / "none")],
                f"--wwwroot {self.directory / 'none'}: not a directory; make it, or leave the option away",
            ),
            (
                ["--domains", "example.org", "--email", "me"],
                "--email 'me': not an address; give one like me@example.org",
            ),
            (["--redirect"], "--redirect: needs --domains; without it only this machine is served"),
            (["--nonsense"], "option --nonsense not recognized; --help lists the options"),
        ):
            self.assert_refused(arguments, message)

    def test_key(self) -> None:
        """A key that is empty or cannot be read: it would let everybody join, or nobody."""
        empty, missing = self.directory / "empty", self.directory / "missing"
        empty.write_text("\n")
        self.assert_refused([], "MLES_KEY: empty; set a key, or unset it to let everybody join", {"MLES_KEY": ""})
        self.assert_refused(["--key-file", str(empty)], f"--key-file {empty}: empty; write the key into it")
        self.assert_refused(
            ["--key-file", str(missing)],
            f"--key-file {missing}: No such file or directory; give a file that can be read",
        )

    def test_certificate_files(self) -> None:
        """Certificate files that are missing, are none, or do not belong together; those that do are served."""
        one, other, none = (self.directory / name / "localhost.pem" for name in ("one", "other", "none"))
        for path in (one, other):
            self_signed_pair(CertificateDirectory(path.parent), ["localhost"], datetime.now(UTC))
        text = self.directory / "text"
        text.write_text("no PEM")
        for certificate, private_key, message in (
            (one, other, "{0}, {1}: the key does not belong to the certificate: give matching files"),
            (none, one, "{0}: No such file or directory; give a file that can be read"),
            (text, one, "{0}: no PEM certificate in this file"),
        ):
            files = ["--certificate", str(certificate), "--private-key", str(private_key)]
            options = " ".join(files[:2]), " ".join(files[2:])
            self.assert_refused(["--domains", "localhost", "--port", "0", *files], message.format(*options))
        self.start_server(
            *self.command, "--domains", "localhost", "--port", "0", "--certificate", str(one), "--private-key", str(one)
        )

    def test_cache_that_is_no_directory(self) -> None:
        """A place for the certificate that cannot be written to."""
        path = self.directory / "file"
        path.write_text("")
        self.assert_refused(
            ["--domains", "localhost", "--port", "0", "--cache", str(path)],
            f"--cache {path}: Not a directory; give a directory that can be written to",
        )


class LocalStartErrorsTests(StartErrorsContract, IntegrationTestCase):
    """`mles-tx serve`."""

    command = LOCAL[:2]


class TwistdStartErrorsTests(StartErrorsContract, IntegrationTestCase):
    """Under twistd."""

    command = SECURE[:4]
