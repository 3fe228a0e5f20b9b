"""`mles-tx install-unit`: from a command line to a unit."""

import os
import stat
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

import mles_tx
from mles_tx.cli import install_unit as module
from mles_tx.cli.main import main
from mles_tx.service.options import Options as ServeOptions
from mles_tx.transport import port

_PUBLIC = "--domains example.org --interface 0.0.0.0 --interface ::"


class InstallUnitTests(SynchronousTestCase):
    """What is printed, and what is said about it."""

    def setUp(self) -> None:
        self.directory = Path(self.enterContext(TemporaryDirectory(prefix="mles-", dir="/tmp")))
        self.directory.chmod(0o755)
        self.program = self.directory / "mles-tx"
        self.program.write_text("#!/bin/sh\n")
        self.program.chmod(0o755)
        self.patch(sys, "argv", [str(self.program), "install-unit"])
        # Where the tests' own Python lies is not what is looked at here.
        for name in ("prefix", "base_prefix"):
            self.patch(sys, name, str(self.directory))
        self.patch(mles_tx, "__file__", str(self.directory / "__init__.py"))

    def run_command(self, line: str) -> tuple[object, str, str]:
        """How it ends: code, standard output, standard error."""
        out, err = StringIO(), StringIO()
        code: object = None
        words = [word.replace("{s}", " ").replace("{d}", str(self.directory)) for word in line.split()]
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main(["install-unit", *words])
            except SystemExit as error:
                code = error.code
        return code, out.getvalue(), err.getvalue()

    def unit(self, line: str) -> dict[str, list[str]]:
        """The settings of a unit about which there is nothing to be said."""
        code, out, err = self.run_command(line)
        self.assertEqual((code, err), (None, ""))
        settings: dict[str, list[str]] = {}
        for name, is_setting, value in (text.partition("=") for text in out.splitlines() if not text.startswith("#")):
            if is_setting:
                settings.setdefault(name, []).append(value)
        return settings

    def command(self, line: str) -> str:
        """What the service starts, behind the program."""
        (command,) = self.unit(line)["ExecStart"]
        program, _, rest = command.partition(" serve")
        self.assertEqual(program, str(self.program))
        return rest.strip()

    def test_admin_socket(self) -> None:
        """A UNIX socket for the admin endpoint gets a directory the service can write to; others are refused."""
        unit = self.unit("-- --admin unix:/run/mles-tx/admin.sock")
        self.assertEqual(unit["RuntimeDirectory"], ["mles-tx"])
        self.assertEqual(self.unit("--name x -- --admin unix:/run/x/a:mode=666")["RuntimeDirectory"], ["x"])
        self.assertNotIn("RuntimeDirectory", self.unit("-- --admin unix:/var/lib/mles-tx/admin.sock"))
        self.assertNotIn("RuntimeDirectory", self.unit("-- --admin tcp:9100"))
        for place in ("/run/admin.sock", "/run/other/admin.sock", "/tmp/admin.sock"):
            code, out, err = self.run_command(f"-- --admin unix:{place}")
            self.assertEqual((code, out), (1, ""))
            self.assertIn(f"--admin unix:{place}: the service cannot write there; give unix:/run/mles-tx/admin", err)

    def test_admin_on_a_low_port(self) -> None:
        """The admin endpoint may have a port below 1024 as well, also where systemd holds the others."""
        right = ["CAP_NET_BIND_SERVICE"]
        for line in ("-- --port 8443 --admin tcp:900", f"--activated -- {_PUBLIC} --admin tcp:900"):
            self.assertEqual(self.unit(line)["AmbientCapabilities"], right)
        self.assertNotIn("AmbientCapabilities", self.unit(f"--activated -- {_PUBLIC} --admin tcp:9100"))

    def test_check(self) -> None:
        """A unit that would only look at the settings is refused, and nothing else is printed in its place."""
        for option in ("--check", "--che"):
            self.assertEqual(
                self.run_command(f"-- {option}"),
                (1, "", "mles-tx: --check: ends before anything is served; leave it away\n"),
            )

    def test_activated_by_file(self) -> None:
        """The sockets take the place of the port and the addresses that stand in a file."""
        file = self.directory / "mles.toml"
        file.write_text('domains = "a.test"\nport = 8443\ninterface = ["127.0.0.1"]\nredirect-port = 8080\n')
        command = self.command(f"--activated -- --config {file}")
        sockets = "--listen=systemd:index=0 --redirect-listen=systemd:index=1"
        self.assertEqual(command, f"--config={file} {sockets}")
        options = ServeOptions({})
        options.parse(command.split())
        config = options.config()
        self.assertEqual((len(config.listen_on), config.port, config.interfaces), (1, None, ()))
        self.assertEqual((len(config.redirect_on), config.redirect_port), (1, None))

    def test_command(self) -> None:
        """The service starts this program with the options that were given, word for word."""
        self.assertEqual(self.command(""), "")
        self.assertEqual(self.command("-- --domains example.org -r --drain 20"), "--domains example.org -r --drain 20")
        www = self.directory / "a b$c"
        www.mkdir()
        self.assertEqual(
            self.command("-- -d example.org -w {d}/a{s}b$c"), f'-d example.org -w "{self.directory}/a b$$c"'
        )

    def test_settings(self) -> None:
        """What the options mean for the unit: time to end, low ports, its name, its groups."""
        unit = self.unit("-- --domains example.org --drain 60")
        self.assertEqual((unit["TimeoutStopSec"], unit["Type"]), (["75"], ["notify"]))
        self.assertEqual(unit["AmbientCapabilities"], ["CAP_NET_BIND_SERVICE"])
        self.assertEqual(unit["StateDirectory"], ["mles-tx"])
        self.assertEqual(self.unit("")["TimeoutStopSec"], ["15"])
        for high in ("", "-- --domains example.org --port 8443", "-- --domains example.org --no-tls"):
            self.assertNotIn("AmbientCapabilities", self.unit(high))
        self.assertIn("AmbientCapabilities", self.unit("-- --domains a.test --port 8443 --redirect"))
        self.assertEqual(self.unit("--name chat")["StateDirectory"], ["chat"])
        self.assertEqual(self.unit("--group a --group b")["SupplementaryGroups"], ["a", "b"])

    def test_activated(self) -> None:
        """With sockets of systemd's, ports and addresses are in the socket unit alone; both agree on the order."""
        line = f"-- {_PUBLIC} -r --port=8443 --redirect-port 8080 --drain 1"
        listens = " ".join(f"--listen=systemd:index={index}" for index in (0, 1))
        redirects = " ".join(f"--redirect-listen=systemd:index={index}" for index in (2, 3))
        self.assertEqual(self.command(f"--activated {line}"), f"--domains=example.org --drain=1 {listens} {redirects}")
        service = self.unit(f"--activated {line}")
        for name in ("Requires", "Also"):
            self.assertEqual(service[name], ["mles-tx.socket"])
        self.assertNotIn("AmbientCapabilities", service)
        unit = self.unit(f"--socket {line}")
        self.assertEqual(unit["ListenStream"], ["0.0.0.0:8443", "[::]:8443", "0.0.0.0:8080", "[::]:8080"])
        self.assertEqual(self.unit("--socket -- --domains a.test --interface ::1")["ListenStream"], ["[::1]:443"])

    def test_default_addresses(self) -> None:
        """Without an address it is all of those this machine has kinds of."""
        for ipv6, streams in ((True, ["0.0.0.0:443", "[::]:443"]), (False, ["0.0.0.0:443"])):
            self.patch(port, "has_ipv6", lambda ipv6=ipv6: ipv6)
            self.assertEqual(self.unit("--socket -- --domains example.org")["ListenStream"], streams)

    def test_own_sockets(self) -> None:
        """A command line that names sockets itself needs the socket unit as well, and stays as it is."""
        line = "--domains example.org --listen systemd:name=https"
        self.assertEqual(self.command(f"-- {line}"), line)
        unit = self.unit(f"-- {line}")
        self.assertEqual(unit["Requires"], ["mles-tx.socket"])
        self.assertNotIn("AmbientCapabilities", unit)

    def test_homes(self) -> None:
        """Below /home nothing is to be seen, unless something of it is needed."""
        self.assertEqual(self.unit("")["ProtectHome"], ["yes"])
        self.patch(module, "_HOMES", (self.directory,))
        self.assertEqual(self.unit("")["ProtectHome"], ["read-only"])

    def test_what_cannot_be_read(self) -> None:
        """Files the service's user cannot read are named, with what to do; the unit is printed all the same."""
        for name in ("chain.pem", "key.pem"):
            (self.directory / name).write_text("")
        (self.directory / "key.pem").chmod(0o600)
        files = "--domains example.org --certificate {d}/chain.pem --private-key {d}/key.pem"
        code, out, err = self.run_command(f"-- {files}")
        self.assertIsNone(code)
        self.assertIn("ExecStart=", out)
        key = f"mles-tx: note: {self.directory}/key.pem: the service's user cannot read it"
        self.assertEqual(err, f"{key}; let a group read it, and give --group\n")
        self.assertEqual(self.run_command(f"--group certs -- {files}")[2], "")
        self.directory.chmod(0o700)
        code, out, err = self.run_command("")
        self.assertIn(f"{self.program}: the service's user cannot get there; install the server elsewhere\n", err)

    def test_bad(self) -> None:
        """What cannot be a service is told in one line, with code 1, and nothing is printed."""
        relative = "a service is not started here; give the whole path"
        socket = "--listen: that is what --socket and --activated see to; give --port and --interface"
        local = "--socket: needs --domains; without it only this machine is served"
        for line, message in (
            (
                "--name A",
                "mles-tx: --name 'A': give lower-case letters, digits, - and _, a letter first; --help says more",
            ),
            ("--group a=b", "mles-tx: --group 'a=b': not a group's name; --help says more"),
            ("--nonsense", "mles-tx: option --nonsense not recognized; --help says more"),
            ("-- --limit 0", "mles: --limit '0': give a whole number from 1 to 999999"),
            ("-- --domains", "mles: option --domains requires argument; --help lists the options"),
            ("-- extra", "mles: 'extra': not an option; --help lists the options"),
            ("-- --run-as daemon", "mles-tx: --run-as: the service never is root; leave it away"),
            (
                "-- --cache /srv",
                "mles-tx: --cache: the service has a directory of its own below /var/lib; leave it away",
            ),
            ("-- --domains example.org --acme-ca ca.pem", f"mles-tx: --acme-ca ca.pem: {relative}"),
            (
                "-- --domains a.test --certificate {d}/a.pem --private-key b.pem",
                f"mles-tx: --private-key b.pem: {relative}",
            ),
            ("--socket", f"mles-tx: {local}"),
            ("--activated", f"mles-tx: {local}"),
            ("--socket -- --domains a.test --listen systemd:index=0", f"mles-tx: {socket}"),
            ("--activated -- --domains a.test --redirect-listen systemd:index=0", f"mles-tx: {socket}"),
            (
                "--socket -- --domains a.test --port 0",
                "mles-tx: port 0: clients have to know the port of a service; give a number",
            ),
            (
                "--activated -- --domains a.test --redirect-port 0",
                "mles-tx: port 0: clients have to know the port of a service; give a number",
            ),
        ):
            self.assertEqual((line, self.run_command(line)), (line, (1, "", f"{message}\n")))

    def test_not_text(self) -> None:
        """A path that is no text cannot stand in a unit."""
        path = os.fsdecode(os.fsencode(self.directory) + b"/\xff")
        Path(path).mkdir()
        code, out, err = self.run_command(f"-- -w {path}")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("units hold UTF-8 text; give another name", err)

    def test_program(self) -> None:
        """However it was called, the service starts it by its whole path; an installation is needed."""
        self.patch(os, "environ", {**os.environ, "PATH": str(self.directory)})
        self.patch(sys, "argv", ["mles-tx", "install-unit"])
        self.assertEqual(self.command(""), "")
        self.patch(sys, "argv", ["-c", "install-unit"])
        self.patch(sys, "executable", str(self.directory / "python3"))
        self.assertEqual(self.command(""), "")
        self.program.unlink()
        self.assertEqual(
            self.run_command(""), (1, "", "mles-tx: the command mles-tx is not installed; install the package\n")
        )

    def test_help(self) -> None:
        """Its help says where the options of the server go."""
        code, out, err = self.run_command("--help")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out.splitlines()[0], "Usage: mles-tx install-unit [options] [-- OPTIONS OF THE SERVER]")
        self.assertEqual(self.run_command("-h"), (code, out, err))
        self.assertEqual(self.run_command("--version"), (0, f"mles_tx {mles_tx.__version__}\n", ""))
        self.assertEqual(stat.S_IMODE(self.directory.stat().st_mode), 0o755)
