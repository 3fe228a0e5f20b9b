"""What can change while a server runs."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.changing import LIVE, Change, changes, option_of, with_live_of
from mles_tx.service.config import ServerConfig
from mles_tx.service.options import Options
from mles_tx.transport.certificates.authority import ExternalAccount

PAIR, OTHER = (Path("a.pem"), Path("a.key")), (Path("b.pem"), Path("b.key"))

_DOMAIN: dict[str, Any] = {"domains": ("example.org",)}
_OWN: dict[str, Any] = {**_DOMAIN, "certificates": (PAIR,)}

#: Fields before and after, and what is told.
CHANGES: tuple[tuple[dict[str, Any], dict[str, Any], list[str]], ...] = (
    ({}, {}, []),
    ({}, {"rate_limit": 50}, ["--rate-limit: 100 -> 50"]),
    ({"rate_limit": 50}, {"limit": 9}, ["--limit: 200 -> 9", "--rate-limit: 50 -> 100"]),
    ({}, {"ping_interval": 1.5}, ["--ping-interval: 24000 -> 1500"]),
    ({}, {"per_ip_limit": 0}, ["--per-ip-limit: default -> 0"]),
    ({"metrics_logging": False}, {}, ["--no-metrics-logging: on -> off"]),
    ({}, {"origins": ("https://a.test", "null")}, ["--origin: default -> https://a.test, null"]),
    ({}, {"key": b"s3cret"}, ["keys: none -> 1"]),
    ({"key": b"s3cret"}, {"key": b"other", "other_keys": (b"s3cret",)}, ["keys: 1 -> 2"]),
    ({"key": b"s3cret"}, {"key": b"other"}, ["keys: 1 -> 1, not the same"]),
    ({"key": b"a", "other_keys": (b"b",)}, {"key": b"b", "other_keys": (b"a",)}, []),
    ({}, {"port": 9}, ["--port: default -> 9 (needs a restart)"]),
    (_DOMAIN, {**_DOMAIN, "tls": False}, ["--no-tls: off -> on (needs a restart)"]),
    (_DOMAIN, {"domains": ("a.test", "b.test")}, ["--domains: example.org -> a.test, b.test (needs a restart)"]),
    (_OWN, {**_OWN, "certificates": (OTHER, PAIR)}, ["--certificate: a.pem -> b.pem, a.pem"]),
    (_OWN, _DOMAIN, ["--certificate: a.pem -> default (needs a restart)"]),
    (_DOMAIN, _OWN, ["--certificate: default -> a.pem (needs a restart)"]),
    ({}, {"cache": Path("a\nb")}, ["--cache: {cache} -> 'a\\nb' (needs a restart)"]),
    (
        {**_DOMAIN, "acme_account": ExternalAccount("kid", "c2VjcmV0")},
        {**_DOMAIN, "acme_account": ExternalAccount("kid", "c2VjcmV1")},
        ["--acme-key-id: some -> others (needs a restart)"],
    ),
)


class ChangesTests(SynchronousTestCase):
    """Two configurations, compared."""

    def test_told(self) -> None:
        """What is different is told by the option's name, with both values, and whether it has to wait."""
        for before, after, told in CHANGES:
            old, new = ServerConfig(**before), ServerConfig(**after)
            expected = [line.replace("{cache}", str(old.cache)) for line in told]
            self.assertEqual([str(change) for change in changes(old, new)], expected)

    def test_secrets(self) -> None:
        """No key is told."""
        for before, after, _ in CHANGES:
            text = f"{changes(ServerConfig(**before), ServerConfig(**after))}"
            self.assertNotRegex(text, "s3cret|other'|c2Vj")

    def test_live(self) -> None:
        """What can change is taken over, all else stays as it was."""
        for before, after, told in CHANGES:
            old, new = ServerConfig(**before), ServerConfig(**after)
            now = with_live_of(old, new)
            waiting = [str(change) for change in changes(now, new)]
            expected = [line.replace("{cache}", str(old.cache)) for line in told if "restart" in line]
            self.assertEqual(waiting, expected)

    def test_options(self) -> None:
        """Every setting is told by the name of an option there is."""
        names = {f"--{name}" for name in Options({}).synonyms}
        for field in fields(ServerConfig):
            if field.name not in ("key", "other_keys", "listen"):
                self.assertIn(option_of(field.name), names)

    def test_directory_gone(self) -> None:
        """A directory that has gone since the start is in nobody's way."""
        directory = Path(self.mktemp())
        directory.mkdir()
        old = ServerConfig(wwwroot=directory)
        directory.rmdir()
        now = with_live_of(old, ServerConfig(limit=5))
        self.assertEqual((now.limit, now.wwwroot, old.limit), (5, directory, 200))

    def test_names(self) -> None:
        """What is said to be able to change is there."""
        self.assertEqual(LIVE - {field.name for field in fields(ServerConfig)}, set())

    def test_change(self) -> None:
        """A change is told in a line."""
        self.assertEqual(str(Change("--limit", "1", "2")), "--limit: 1 -> 2")
