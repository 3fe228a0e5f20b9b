"""Which values of a configuration fit together."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.config import ConfigError, ServerConfig
from mles_tx.service.endpoints import Endpoint
from mles_tx.transport.certificates.authority import (
    LETS_ENCRYPT,
    LETS_ENCRYPT_STAGING,
    ExternalAccount,
)
from mles_tx.web.routes import Route

PAIR = (Path("chain.pem"), Path("key.pem"))

LONG_NAME = ".".join(["a" * 60] * 4)

NO_EMAIL = "not an address; give one like me@example.org"

NO_HOST = "not a host name; give names like example.org, international ones in their xn-- form"

NO_ADDRESS = "not an IP address; give one of this machine's, or 0.0.0.0 for all"

NO_URL = "give the https:// URL of the authority's directory"

NO_LIMIT = "the connections of an address are not limited here; give --per-ip-limit N as well, or leave it away"

TAKEN = "port 8080 is that of --port already; give another one"

DIRECTORY = "https://ca.example/directory"

#: What is of use only where certificates are ordered, and the option it comes from.
ACME: tuple[tuple[dict[str, Any], str], ...] = (
    ({"emails": ("me@example.org",)}, "--email"),
    ({"acme_directory": LETS_ENCRYPT_STAGING}, "--staging"),
    ({"acme_directory": DIRECTORY}, "--acme-directory"),
    ({"acme_directory": LETS_ENCRYPT}, "--acme-directory"),
    ({"acme_ca": Path("ca.pem")}, "--acme-ca"),
    ({"acme_account": ExternalAccount("kid", "c2VjcmV0")}, "--acme-key-id"),
)

#: Where none are ordered, and the reason that is told.
NOT_ORDERED: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "needs --domains; without it only this machine is served"),
    ({"tls": False}, "needs --domains; without it only this machine is served"),
    ({"domains": ("example.org",), "tls": False}, "of no use with --no-tls; leave one of them away"),
    ({"domains": ("localhost",), "tls": False}, "of no use with --no-tls; leave one of them away"),
    ({"domains": ("example.org",), "certificates": (PAIR,)}, "of no use with --certificate; leave it away"),
    ({"domains": ("10.0.0.1", "::1")}, "no authority gives those names certificates; leave it away"),
)

#: Fields that do not fit together, and the error.
REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"per_ip_window": 60}, f"--per-ip-window 60: {NO_LIMIT}"),
    ({"domains": ("example.org",), "tls": False, "per_ip_window": 9}, f"--per-ip-window 9: {NO_LIMIT}"),
    ({"domains": ("example.org",), "per_ip_limit": 0, "per_ip_window": 9}, f"--per-ip-window 9: {NO_LIMIT}"),
    ({"admin": Endpoint("127.0.0.1", 8080)}, f"--admin 127.0.0.1:8080: {TAKEN}"),
    ({"admin": Endpoint("0.0.0.0", 8443), "port": 8443}, f"--admin 0.0.0.0:8443: {TAKEN.replace('8080', '8443')}"),
    ({"admin": Endpoint("::1", 8080)}, f"--admin [::1]:8080: {TAKEN}"),
    (
        {"admin": Endpoint("10.0.0.1", 8080), "domains": ("example.org",), "redirect_port": 8080},
        "--admin 10.0.0.1:8080: port 8080 is that of --redirect-port already; give another one",
    ),
    ({"log_format": "xml"}, "--log-format 'xml': give readable or json"),
    ({"log_level": "critical"}, "--log-level 'critical': give debug, info, warn or error"),
    ({"domains": ("",)}, f"--domains '': {NO_HOST}"),
    ({"domains": ("LOCALHOST",)}, f"--domains 'LOCALHOST': {NO_HOST}"),
    ({"domains": ("localhost", "a b")}, f"--domains 'a b': {NO_HOST}"),
    ({"domains": ("a.test.",)}, f"--domains 'a.test.': {NO_HOST}"),
    ({"domains": ("a.test\n",)}, f"--domains 'a.test\\n': {NO_HOST}"),
    ({"domains": ("..",)}, f"--domains '..': {NO_HOST}"),
    ({"domains": ("a/../b",)}, f"--domains 'a/../b': {NO_HOST}"),
    ({"domains": ("a." * 126 + "test",)}, f"--domains '{'a.' * 126}test': {NO_HOST}"),
    ({"domains": ("localhost",), "interfaces": ("eth0",)}, f"--interface 'eth0': {NO_ADDRESS}"),
    ({"domains": ("localhost",), "interfaces": ("",)}, f"--interface '': {NO_ADDRESS}"),
    (
        {"proxy_protocol": True, "trusted_proxies": ("::1",), "listen": False},
        "--proxy-protocol: needs a port of its own; leave it to the site",
    ),
    ({"key": b""}, "MLES_KEY: empty; set a key, or unset it to let everybody join"),
    (
        {"wwwroot": Path("/dev/null")},
        "--wwwroot /dev/null: not a directory; make it, or leave the option away",
    ),
    (
        {"proxies": (Route("/api", "a", 1), Route("/", "a", 1), Route("/api", "b", 2))},
        "--proxy /api: given more than once; keep one of them",
    ),
    *(
        (
            {**fields, "proxies": (Route("/", "a", 1), Route("/api", host, port))},
            f"--proxy /api: http://{host if ':' not in host else f'[{host}]'}:{port} is this server;"
            " give another program's URL",
        )
        for fields, host, port in (
            ({}, "localhost", 8080),
            ({"port": 9}, "127.0.0.1", 9),
            ({}, "::1", 8080),
            ({"domains": ("a.test",)}, "a.test", 443),
            ({"domains": ("a.test",), "interfaces": ("10.0.0.1",)}, "10.0.0.1", 443),
        )
    ),
    (
        {"proxies": (Route("/api", "a", 1),), "listen": False},
        "--proxy /api: needs a port of the server's own; leave it away",
    ),
    (
        {"interfaces": ("127.0.0.1",)},
        "--interface: needs --domains; without it only this machine is served",
    ),
    ({"certificates": (PAIR,)}, "--certificate: needs --domains; without it only this machine is served"),
    (
        {"domains": ("localhost",), "tls": False, "certificates": (PAIR,)},
        "--certificate: of no use with --no-tls; leave one of them away",
    ),
    ({"redirect_port": 0}, "--redirect: needs --domains; without it only this machine is served"),
    (
        {"domains": ("example.org",), "tls": False, "redirect_port": 80},
        "--redirect: of no use with --no-tls; leave one of them away",
    ),
    (
        {"domains": (LONG_NAME,)},
        f"--domains {LONG_NAME}: longer than 240 characters; give --certificate and --private-key",
    ),
    (
        {"domains": ("example.org",), "redirect_port": 443},
        "--redirect-port 443: that is --port already; give another one",
    ),
    (
        {"domains": ("example.org",), "port": 8080, "redirect_port": 8080},
        "--redirect-port 8080: that is --port already; give another one",
    ),
    *(
        ({"domains": ("example.org",), "emails": ("me@example.org", email)}, f"--email {email!r}: {NO_EMAIL}")
        for email in ("", "me", "@example.org", "me@", "a b@example.org", "me@example.org\n", "me@\u00e9.org", "a@b@c")
    ),
    *(
        ({"domains": ("example.org",), "acme_directory": url}, f"--acme-directory {url!r}: {NO_URL}")
        for url in (
            "http://ca.example/directory",
            "https://",
            "https:///directory",
            "ca.example",
            "https://a b/",
            "x\n",
        )
    ),
)


class RulesTests(SynchronousTestCase):
    """Values that cannot be served with are refused, with the option and the remedy."""

    def test_ranges(self) -> None:
        """Numbers outside their range are refused here as well: not everybody comes from the command line."""
        for field, low, high, wrong in (
            ("port", 0, 65535, (-1, 65536)),
            ("redirect_port", 0, 65535, (-1, 65536)),
            ("limit", 1, 999999, (0, -1, 1000000)),
            ("ping_interval", 1.0, 999999.999, (0.0, 0.5, -1.0)),
            ("max_missed_pongs", 1, 9, (0, 10)),
            ("rate_limit", 0, 9999, (-1, 10000)),
            ("filelimit", 1, 999999, (0, 1000000)),
            ("compression_cache", 0, 999999, (-1, 1000000)),
            ("per_ip_limit", 0, 99999, (-1, 100000)),
            ("per_ip_window", 1, 86399, (0, 86400)),
            ("max_channels", 1, 99999999, (0, 100000000)),
            ("history_total", 1, 99999999, (0, 100000000)),
            ("drain", 0, 3600, (-1, 3601)),
        ):
            for value in (low, high):
                good: dict[str, Any] = {"domains": ("localhost",), field: value}
                self.assertEqual(getattr(ServerConfig(**good), field), value)
            for value in wrong:
                bad: dict[str, Any] = {"domains": ("localhost",), field: value}
                error = self.assertRaises(ConfigError, ServerConfig, **bad)
                self.assertIn("--" + field.replace("_", "-"), str(error))

    def test_admin_elsewhere(self) -> None:
        """The admin endpoint may have the port of another address, any other port, a free one, or none."""
        for admin, fields in (
            (Endpoint("10.0.0.1", 8080), {}),
            (Endpoint("127.0.0.1", 8081), {}),
            (Endpoint("127.0.0.1", 0), {"port": 0}),
            (Endpoint("127.0.0.1", 8080), {"listen": False}),
            (Endpoint("", 0, "/run/admin.sock"), {"port": 0}),
        ):
            config: dict[str, Any] = {"admin": admin, **fields}
            self.assertEqual(ServerConfig(**config).admin, admin)

    def test_refused(self) -> None:
        """Values that do not fit together are refused, with the option and what to do."""
        for fields, message in REFUSED:
            error = self.assertRaises(ConfigError, ServerConfig, **fields)
            self.assertEqual(str(error), message)

    def test_acme_refused(self) -> None:
        """What is said about ordering certificates is refused where none are ordered: nobody would do it."""
        for fields, reason in NOT_ORDERED:
            for acme, option in ACME:
                error = self.assertRaises(ConfigError, ServerConfig, **fields, **acme)
                self.assertEqual((fields, acme, str(error)), (fields, acme, f"{option}: {reason}"))

    def test_longest_name(self) -> None:
        """A name may have 253 characters, and each of its labels 63."""
        name = ".".join(["a" * 63] * 3 + ["b" * 56, "test"])
        self.assertEqual(len(name), 253)
        self.assertEqual(ServerConfig(domains=(name,)).domains, (name,))
        self.assertRaises(ConfigError, ServerConfig, domains=("c" + name,))

    def test_wwwroot(self) -> None:
        """The directory of sites has to be there, and may be a link."""
        directory = Path(self.mktemp())
        self.assertRaises(ConfigError, ServerConfig, wwwroot=directory)
        directory.mkdir()
        self.assertEqual(ServerConfig(wwwroot=directory).wwwroot, directory)
        link = directory / "link"
        link.symlink_to(".")
        self.assertEqual(ServerConfig(wwwroot=link).wwwroot, link)
