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
from mles_tx.transport.origins import ListedOrigins, any_origin, pages_of_this_machine

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

DIRECTORY = "https://ca.example/directory"

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
                proxies=(),
                key=None,
                limit=200,
                ping_interval=24.0,
                max_missed_pongs=3,
                rate_limit=100,
                filelimit=256,
                trusted_proxies=(),
                proxy_protocol=False,
                compression_cache=10,
                cors=False,
                per_ip_limit=None,
                per_ip_window=None,
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
        """With TLS or a trusted proxy an address may open 60 connections a minute; else all may come from one proxy."""
        proxied: dict[str, Any] = {"domains": ("example.org",), "tls": False}
        secure: dict[str, Any] = {"domains": ("localhost",)}
        trusting: dict[str, Any] = {**proxied, "trusted_proxies": ("127.0.0.1",)}
        for fields, given, expected in (
            ({}, None, 0),
            (proxied, None, 0),
            (secure, None, 60),
            (trusting, None, 60),
            (trusting, 0, 0),
            ({}, 5, 5),
            (proxied, 7, 7),
            (secure, 9, 9),
            (secure, 0, 0),
        ):
            config = ServerConfig(**fields, per_ip_limit=given)
            self.assertEqual((fields, given, config.connections_per_ip), (fields, given, expected))

    def test_trusted(self) -> None:
        """The proxies whose word is taken are those that were given, one by one and by networks."""
        self.assertFalse(ServerConfig().trusted)
        trusted = ServerConfig(trusted_proxies=("127.0.0.1", "10.0.0.0/8", "fd00::/8")).trusted
        hosts = ("127.0.0.1", "127.0.0.2", "10.9.8.7", "11.0.0.1", "fd12::1", "::1")
        self.assertEqual([host in trusted for host in hosts], [True, False, True, False, True, False])

    def test_history_bytes(self) -> None:
        """All histories together have the megabytes that were given, or else a quarter of the machine's memory."""
        self.assertEqual(ServerConfig(history_total=3).history_bytes, 3_145_728)
        for memory, quarter in ((8_000_000_000, 2_000_000_000), (103, 25)):
            self.patch(config_module, "machine_memory", lambda memory=memory: memory)
            self.assertEqual(ServerConfig().history_bytes, quarter)
            self.assertEqual(ServerConfig(history_total=1).history_bytes, 1_048_576)

    def test_local_names_need_no_certificate(self) -> None:
        """Names and addresses for private use are served with a certificate we make."""
        names = ("localhost", "a.localhost", "b.test", "c.internal", "d.local", "10.0.0.1", "::1")
        self.assertEqual(ServerConfig(domains=names).domains, names)

    def test_origins(self) -> None:
        """On a laptop pages from elsewhere may not connect; a server with a domain is for everybody's pages."""
        self.assertIs(ServerConfig().origin_allowed, pages_of_this_machine)
        self.assertIs(ServerConfig(listen=False).origin_allowed, any_origin)
        self.assertIs(ServerConfig(domains=("localhost",)).origin_allowed, any_origin)
        self.assertIs(ServerConfig(domains=("example.org",), tls=False).origin_allowed, any_origin)

    def test_listed_origins(self) -> None:
        """Listed origins are the ones that may connect, everywhere; what is none is refused."""
        fields: tuple[dict[str, Any], ...] = ({}, {"domains": ("example.org",)}, {"listen": False})
        for more in fields:
            config = ServerConfig(origins=("https://a.test",), **more)
            self.assertEqual(config.origin_allowed, ListedOrigins(["https://a.test"]))
        error = self.assertRaises(ConfigError, ServerConfig, origins=("https://a.test", "b.test"))
        self.assertEqual(
            str(error), "--origin 'b.test': an origin is a scheme, a host and perhaps a port: give https://b.test"
        )

    def test_keys(self) -> None:
        """All keys are valid, each once; none of them is empty, and none is shown."""
        self.assertEqual(ServerConfig().keys, ())
        config = ServerConfig(key=b"s3cret", other_keys=(b"0ther", b"s3cret"))
        self.assertEqual(config.keys, (b"s3cret", b"0ther"))
        self.assertNotIn("0ther", f"{config!r} {config}")
        error = self.assertRaises(ConfigError, ServerConfig, other_keys=(b"",))
        self.assertEqual(str(error), "--key-file: a key is empty; write the key into the file")

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
