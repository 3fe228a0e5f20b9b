"""`mles-tx doctor`: its options, and what it looks at. What it finds is tried in tests/integration."""

from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli import lookups
from mles_tx.cli.doctor import DoctorOptions, make_checks
from mles_tx.service.config import state_directory
from mles_tx.service.options import Options
from mles_tx.transport.certificates.authority import LETS_ENCRYPT_STAGING
from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.port import has_ipv6
from tests.transport.certificates.making import make

DOMAIN = "--domains example.org "

#: Arguments, line on standard error.
BAD = (
    ("", "--domains: give the domains the certificate is to be for"),
    (DOMAIN + "--nonsense", "option --nonsense not recognized; --help lists the options"),
    (DOMAIN + "extra", "'extra': not an option; --help lists the options"),
    (DOMAIN + "--port 0", "--port '0': give a whole number from 1 to 65535"),
    (DOMAIN + "--port x", "--port 'x': give a whole number from 1 to 65535"),
    (DOMAIN + "--redirect-port 65536", "--redirect-port '65536': give a whole number from 1 to 65535"),
    (DOMAIN + "--dns ns.example", "--dns 'ns.example': give an IP address, perhaps with :PORT"),
    (DOMAIN + "--dns 127.0.0.1:x", "--dns 'x': give a whole number from 1 to 65535"),
    (DOMAIN + "--dns [::1", "--dns '[::1': give an IP address, perhaps with :PORT"),
    (
        DOMAIN + "--acme-directory http://ca.example/",
        "--acme-directory 'http://ca.example/': give the https:// URL of the authority's directory",
    ),
    (
        DOMAIN + "--staging --acme-directory https://ca.example/",
        "--staging: --acme-directory is given as well; keep one of them",
    ),
    (
        DOMAIN + "--interface eth0",
        "--interface 'eth0': not an IP address; give one of this machine's, or 0.0.0.0 for all",
    ),
    (
        "--domains exa$mple.org",
        "--domains 'exa$mple.org': not a host name; give names like example.org, international ones in their xn-- form",
    ),
    (
        "--domains example.org,",
        "--domains '': not a host name; give names like example.org, international ones in their xn-- form",
    ),
)

#: Text, server.
DNS = (
    ("192.0.2.53", ("192.0.2.53", 53)),
    ("192.0.2.53:5353", ("192.0.2.53", 5353)),
    ("2001:DB8::53", ("2001:db8::53", 53)),
    ("[2001:db8::53]", ("2001:db8::53", 53)),
    ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
)


def parse(line: str, environ: Mapping[bytes, bytes] | None = None) -> DoctorOptions:
    """Options from a command line."""
    options = DoctorOptions(environ or {})
    options.parseOptions(line.split())
    return options


class OptionsTests(SynchronousTestCase):
    """What it understands."""

    def test_bad(self) -> None:
        """What it cannot make sense of is told in one line, with code 2."""
        for line, message in BAD:
            err = StringIO()
            with redirect_stderr(err):
                error = self.assertRaises(SystemExit, parse, line)
            self.assertEqual((line, error.code, err.getvalue()), (line, 2, f"mles-tx doctor: {message}\n"))

    def test_defaults(self) -> None:
        """Without options it looks at what a server has without options."""
        options = parse(DOMAIN)
        self.assertEqual((options["port"], options["redirect-port"], options["interface"]), (443, None, []))
        self.assertEqual((options.directory, options.cache), (None, state_directory()))
        self.assertEqual((options["dns"], options["acme-ca"]), (None, None))

    def test_values(self) -> None:
        """All of them can be given, and mean what they mean to the server."""
        options = parse(
            "-d Example.org,example.net. -d example.org --domains [::1] -p 8443 --redirect-port 8080 -c there"
            " --acme-directory https://ca.example/d --acme-ca ca.pem --interface ::0001 --interface 127.0.0.1"
        )
        self.assertEqual(options["domains"], ["example.org", "example.net", "::1"])
        self.assertEqual((options["port"], options["redirect-port"]), (8443, 8080))
        self.assertEqual((options.cache, options["acme-ca"]), (Path("there"), Path("ca.pem")))
        self.assertEqual((options.directory, options["interface"]), ("https://ca.example/d", ["::1", "127.0.0.1"]))

    def test_redirect(self) -> None:
        """The port for redirects is looked at when there is to be one."""
        for line, port in (("", None), ("-r", 80), ("--redirect", 80), ("--redirect --redirect-port 81", 81)):
            self.assertEqual(parse(DOMAIN + line)["redirect-port"], port)

    def test_staging(self) -> None:
        """The staging environment has a directory of its own."""
        for line in ("-s", "--staging"):
            self.assertEqual(parse(DOMAIN + line).directory, LETS_ENCRYPT_STAGING)

    def test_cache_of_systemd(self) -> None:
        """Under systemd the cache is where the server has it there."""
        environ = {b"STATE_DIRECTORY": b"/var/lib/mles:/var/lib/other"}
        self.assertEqual(parse(DOMAIN, environ).cache, Path("/var/lib/mles"))
        self.assertEqual(parse(DOMAIN + "--cache here", environ).cache, Path("here"))

    def test_settings_of_the_server(self) -> None:
        """What the server's file and variables say counts here as well; the command line is stronger."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        path = directory / "mles.toml"
        path.write_text(
            'domains = ["example.org", "example.net"]\nport = 8443\nredirect = true\ncache = "kept"\n'
            'rate-limit = 5\nkey-file = "missing"\nacme-directory = "https://ca.example/d"\nacme-ca = "ca.pem"\n'
        )
        options = parse(f"--config {path}")
        self.assertEqual((options["domains"], options["port"]), (["example.org", "example.net"], 8443))
        self.assertEqual((options["redirect-port"], options.cache), (80, directory / "kept"))
        self.assertEqual((options.directory, options["acme-ca"]), ("https://ca.example/d", directory / "ca.pem"))
        environ = {b"MLES_TX_CONFIG": bytes(path), b"MLES_TX_PORT": b"444", b"MLES_TX_LIMIT": b"5", b"MLES_KEY": b"x"}
        options = parse("-d one.example -s --redirect-port 81", environ)
        self.assertEqual((options["domains"], options["port"]), (["one.example"], 444))
        self.assertEqual((options["redirect-port"], options.directory), (81, LETS_ENCRYPT_STAGING))

    def test_wrong_settings_of_the_server(self) -> None:
        """What is wrong there is told by the name it has there."""
        path = Path(self.mktemp()).absolute()
        for text, environ, message in (
            ('domain = "example.org"', {}, f"{path}: domain: no option of this name; did you mean domains?"),
            ("port = 0", {}, f"{path}: port '0': give a whole number from 1 to 65535"),
            ('domains = "example.org"\ninterface = "eth0"', {}, f"{path}: interface 'eth0': not an IP address"),
            ("rate-limit = 5", {}, "--domains: give the domains the certificate is to be for"),
            ('domains = "example.org"', {b"MLES_TX_PORT": b"x"}, "MLES_TX_PORT 'x': give a whole number from 1 to"),
            ('domains = "example.org"', {b"MLES_TX_DNS": b"::1"}, "MLES_TX_DNS: no option has this variable"),
        ):
            path.write_text(text)
            err = StringIO()
            with redirect_stderr(err):
                error = self.assertRaises(SystemExit, parse, f"--config {path}", environ)
            self.assertEqual((error.code, err.getvalue().count("\n")), (2, 1))
            self.assertTrue(err.getvalue().startswith(f"mles-tx doctor: {message}"), err.getvalue())

    def test_dns(self) -> None:
        """A DNS server is an address, with a port if it has another than usual."""
        self.assertEqual([(text, parse(f"{DOMAIN}--dns {text}")["dns"]) for text, _ in DNS], list(DNS))

    def test_same_letters(self) -> None:
        """An option has the same letter as with the server, where the server has it."""
        server, doctor = Options({}).synonyms, DoctorOptions({}).synonyms
        for letter, name in doctor.items():
            if len(letter) == 1 and name in server.values():
                self.assertEqual((letter, server.get(letter)), (letter, name))

    def test_help(self) -> None:
        """Its help says how it ends."""
        out = StringIO()
        with redirect_stdout(out):
            self.assertEqual(self.assertRaises(SystemExit, parse, "--help").code, 0)
        text = " ".join(out.getvalue().split())
        self.assertIn("ends with code 0 when nothing has failed, with 1 when something has", text)
        for name in ("--domains=", "--acme-directory=", "--staging", "--dns="):
            self.assertIn(name, text)


class ChecksTests(SynchronousTestCase):
    """What it looks at."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()

    def names(self, line: str) -> list[str]:
        """The checks, by name."""
        return [check.name for check in make_checks(parse(line), self.reactor)]

    def test_domains(self) -> None:
        """Each domain has a name, CAA records and a certificate; an address, and a local name, no such records."""
        dns = " --dns 127.0.0.1:1"
        common = ["authority", "clock", "cache", "port 443"]
        self.assertEqual(
            self.names("-d example.org,localhost,192.0.2.1" + dns),
            [
                *common,
                *("name example.org", "CAA example.org", "certificate example.org"),
                *("name localhost", "certificate localhost", "name 192.0.2.1", "certificate 192.0.2.1"),
            ],
        )
        self.assertEqual(
            self.names("-d chat.internal --acme-directory https://ca.example/ -r -p 8443" + dns),
            [
                *("authority", "clock", "cache", "port 8443", "port 80"),
                *("name chat.internal", "CAA chat.internal", "certificate chat.internal"),
            ],
        )

    def test_dns_of_the_system(self) -> None:
        """Without another it asks the DNS server of the system."""
        file = Path(self.mktemp())
        file.write_text("nameserver 192.0.2.53\n")
        self.patch(lookups, "_RESOLV_CONF", str(file))
        self.assertIn("CAA example.org", self.names(DOMAIN))

    def test_authority_of_ones_own(self) -> None:
        """The file with the root of an authority of one's own is read, or it is told why it cannot be."""
        file = Path(self.mktemp()).absolute()
        line = f"{DOMAIN}--dns 127.0.0.1:1 --acme-directory https://ca.example/ --acme-ca {file}"
        for content in (None, b"no PEM"):
            if content is not None:
                file.write_bytes(content)
            error = self.assertRaises(CertificateError, self.names, line)
            self.assertTrue(str(error).startswith(f"--acme-ca {file}: "), str(error))
        file.write_bytes(make("ca.example").certificate_pem)
        self.assertIn("authority", self.names(line))

    def test_all_addresses(self) -> None:
        """Without --interface it looks where a server listens that has none: on all addresses."""
        (check,) = (c for c in make_checks(parse(DOMAIN + "--dns 127.0.0.1:1"), self.reactor) if c.name == "port 443")
        looking: Any = check.look
        self.assertEqual(looking.args[2], ["0.0.0.0", "::"] if has_ipv6() else ["0.0.0.0"])
