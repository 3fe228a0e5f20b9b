"""What a server is to be: values looked at as a whole."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

from platformdirs import user_state_path
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service import config as config_module
from mles_tx.service.config import LOOPBACK, ConfigError, ServerConfig, state_directory
from mles_tx.transport.certificates.authority import (
    LETS_ENCRYPT,
    LETS_ENCRYPT_STAGING,
    Authority,
    ExternalAccount,
)
from mles_tx.transport.origins import any_origin, pages_of_this_machine

PAIR = (Path("chain.pem"), Path("key.pem"))

EVERYWHERE = ("0.0.0.0", "::")

LOCAL_HOSTS = {"localhost": "localhost", "127.0.0.1": "localhost", "::1": "localhost"}

#: Fields, and what follows: local, TLS, port, interfaces, hosts.
MEANT: tuple[tuple[dict[str, Any], tuple[bool, bool, int, tuple[str, ...], dict[str, str]]], ...] = (
    ({}, (True, False, 8080, LOOPBACK, LOCAL_HOSTS)),
    ({"port": 0}, (True, False, 0, LOOPBACK, LOCAL_HOSTS)),
    ({"port": 443}, (True, False, 443, LOOPBACK, LOCAL_HOSTS)),
    ({"tls": False}, (True, False, 8080, LOOPBACK, LOCAL_HOSTS)),
    ({"domains": ("localhost",)}, (False, True, 443, EVERYWHERE, {"localhost": "localhost"})),
    (
        {"domains": ("a.test", "b.test"), "port": 8443, "interfaces": ("10.0.0.1",)},
        (False, True, 8443, ("10.0.0.1",), {"a.test": "a.test", "b.test": "b.test"}),
    ),
    (
        {"domains": ("example.org",), "certificates": (PAIR,)},
        (False, True, 443, EVERYWHERE, {"example.org": "example.org"}),
    ),
    (
        {"domains": ("example.org",), "tls": False},
        (False, False, 8080, LOOPBACK, {"example.org": "example.org"}),
    ),
    (
        {"domains": ("example.org",), "tls": False, "port": 80, "interfaces": ("0.0.0.0",)},
        (False, False, 80, ("0.0.0.0",), {"example.org": "example.org"}),
    ),
)

LONG_NAME = ".".join(["a" * 60] * 4)

NO_EMAIL = "not an address; give one like me@example.org"
NO_HOST = "not a host name; give names like example.org, international ones in their xn-- form"
NO_ADDRESS = "not an IP address; give one of this machine's, or 0.0.0.0 for all"
NO_URL = "give the https:// URL of the authority's directory"

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

#: Fields, and the names certificates are ordered for.
ORDERED: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({}, ()),
    ({"domains": ("example.org",)}, ("example.org",)),
    ({"domains": ("example.org", "www.example.org")}, ("example.org", "www.example.org")),
    ({"domains": ("localhost", "example.org", "a.test", "10.0.0.1", "::1", "b.internal")}, ("example.org",)),
    ({"domains": ("a.test", "example.org"), "acme_directory": LETS_ENCRYPT}, ("example.org",)),
    ({"domains": ("a.test", "example.org"), "acme_directory": LETS_ENCRYPT_STAGING}, ("example.org",)),
    ({"domains": ("a.test", "10.0.0.1", "example.org"), "acme_directory": DIRECTORY}, ("a.test", "example.org")),
    ({"domains": ("example.org",), "tls": False}, ()),
    ({"domains": ("example.org",), "certificates": (PAIR,)}, ()),
)

#: Fields that do not fit together, and the error.
REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
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
    ({"key": b""}, "MLES_KEY: empty; set a key, or unset it to let everybody join"),
    (
        {"wwwroot": Path("/dev/null")},
        "--wwwroot /dev/null: not a directory; make it, or leave the option away",
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


class ServerConfigTests(SynchronousTestCase):
    """One server's configuration."""

    def test_defaults(self) -> None:
        """A server that nobody has told anything serves its own machine, with the numbers Mles servers have."""
        self.assertEqual(
            ServerConfig(),
            ServerConfig(
                domains=(),
                port=None,
                interfaces=(),
                tls=True,
                certificates=(),
                cache=user_state_path("mles_tx"),
                emails=(),
                acme_directory=None,
                acme_ca=None,
                acme_account=None,
                redirect_port=None,
                wwwroot=None,
                key=None,
                limit=200,
                ping_interval=24.0,
                max_missed_pongs=3,
                rate_limit=100,
                filelimit=256,
                per_ip_limit=None,
                per_ip_window=60,
                max_channels=100_000,
                history=None,
                durability="relaxed",
                history_max=1024,
                history_total=None,
                metrics_logging=True,
                listen=True,
            ),
        )

    def test_state_directory(self) -> None:
        """State goes where the platform puts that of a program of this name."""
        self.assertEqual(state_directory(), user_state_path("mles_tx"))

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
            ("per_ip_limit", 0, 99999, (-1, 100000)),
            ("per_ip_window", 1, 86399, (0, 86400)),
            ("max_channels", 1, 99999999, (0, 100000000)),
            ("history_max", 16, 99999999, (15, 100000000)),
            ("history_total", 1, 99999999, (0, 100000000)),
        ):
            for value in (low, high):
                good: dict[str, Any] = {"domains": ("localhost",), field: value}
                self.assertEqual(getattr(ServerConfig(**good), field), value)
            for value in wrong:
                bad: dict[str, Any] = {"domains": ("localhost",), field: value}
                error = self.assertRaises(ConfigError, ServerConfig, **bad)
                self.assertIn("--" + field.replace("_", "-"), str(error))

    def test_meant(self) -> None:
        """What is not said follows from what is: whom to serve, over what, where."""
        found = []
        for fields, _ in MEANT:
            config = ServerConfig(**fields)
            meant = (
                config.is_local,
                config.speaks_tls,
                config.listen_port,
                config.listen_interfaces,
                config.hosts,
            )
            found.append((fields, meant))
        self.assertEqual(found, list(MEANT))

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

    def test_ordered(self) -> None:
        """Certificates are ordered for the names an authority knows, where the operator has none of their own."""
        found = [(fields, ServerConfig(**fields).acme_names) for fields, _ in ORDERED]
        self.assertEqual(found, list(ORDERED))

    def test_authority(self) -> None:
        """They come from Let's Encrypt unless told otherwise; all that is said about the authority is passed on."""
        self.assertEqual(ServerConfig(domains=("example.org",)).authority, Authority(LETS_ENCRYPT))
        account = ExternalAccount("kid", "c2VjcmV0")
        config = ServerConfig(
            domains=("example.org",),
            emails=("me@example.org", "o'neill+mles@example.org"),
            acme_directory=DIRECTORY,
            acme_ca=Path("ca.pem"),
            acme_account=account,
        )
        self.assertEqual(
            config.authority,
            Authority(DIRECTORY, Path("ca.pem"), ("me@example.org", "o'neill+mles@example.org"), account),
        )
        self.assertNotIn("c2VjcmV0", f"{config!r} {config}")

    def test_redirects(self) -> None:
        """Whoever serves TLS may redirect, whatever the certificate."""
        for fields in ({"domains": ("localhost",)}, {"domains": ("example.org",), "certificates": (PAIR,)}):
            config: dict[str, Any] = dict(fields)
            self.assertEqual(ServerConfig(**config, redirect_port=80).redirect_port, 80)
            self.assertIsNone(ServerConfig(**config).redirect_port)

    def test_connections_per_address(self) -> None:
        """With TLS an address may open 60 connections a minute; without, all may come from one proxy: any number."""
        proxied: dict[str, Any] = {"domains": ("example.org",), "tls": False}
        secure: dict[str, Any] = {"domains": ("localhost",)}
        for fields, given, expected in (
            ({}, None, 0),
            (proxied, None, 0),
            (secure, None, 60),
            ({}, 5, 5),
            (proxied, 7, 7),
            (secure, 9, 9),
            (secure, 0, 0),
        ):
            config = ServerConfig(**fields, per_ip_limit=given)
            self.assertEqual((fields, given, config.connections_per_ip), (fields, given, expected))

    def test_history_bytes(self) -> None:
        """All histories together have the megabytes that were given, or else a quarter of the machine's memory."""
        self.assertEqual(ServerConfig(history_total=3).history_bytes, 3_145_728)
        for memory, quarter in ((8_000_000_000, 2_000_000_000), (103, 25)):
            self.patch(config_module, "machine_memory", lambda memory=memory: memory)
            self.assertEqual(ServerConfig().history_bytes, quarter)
            self.assertEqual(ServerConfig(history_total=1).history_bytes, 1_048_576)

    def test_local_names_need_no_certificate(self) -> None:
        """Names and addresses for private use are served with a certificate we make."""
        names = ("localhost", "a.localhost", "b.test", "c.internal", "10.0.0.1", "::1")
        self.assertEqual(ServerConfig(domains=names).domains, names)

    def test_longest_name(self) -> None:
        """A name may have 253 characters, and each of its labels 63."""
        name = ".".join(["a" * 63] * 3 + ["b" * 56, "test"])
        self.assertEqual(len(name), 253)
        self.assertEqual(ServerConfig(domains=(name,)).domains, (name,))
        self.assertRaises(ConfigError, ServerConfig, domains=("c" + name,))

    def test_origins(self) -> None:
        """On a laptop pages from elsewhere may not connect; a server with a domain is for everybody's pages."""
        self.assertIs(ServerConfig().origin_allowed, pages_of_this_machine)
        self.assertIs(ServerConfig(listen=False).origin_allowed, any_origin)
        self.assertIs(ServerConfig(domains=("localhost",)).origin_allowed, any_origin)
        self.assertIs(ServerConfig(domains=("example.org",), tls=False).origin_allowed, any_origin)

    def test_wwwroot(self) -> None:
        """The directory of sites has to be there, and may be a link."""
        directory = Path(self.mktemp())
        self.assertRaises(ConfigError, ServerConfig, wwwroot=directory)
        directory.mkdir()
        self.assertEqual(ServerConfig(wwwroot=directory).wwwroot, directory)
        link = directory / "link"
        link.symlink_to(".")
        self.assertEqual(ServerConfig(wwwroot=link).wwwroot, link)

    def test_stays_as_it_is(self) -> None:
        """A configuration that was looked at cannot be changed."""
        config: Any = ServerConfig()
        with self.assertRaises(FrozenInstanceError):
            config.port = 1
        self.assertIsNone(config.port)

    def test_key_is_not_shown(self) -> None:
        """The key does not stand where the configuration is shown, but makes a difference."""
        config = ServerConfig(key=b"s3cret")
        self.assertNotIn("s3cret", f"{config!r} {config}")
        self.assertNotEqual(config, ServerConfig())
