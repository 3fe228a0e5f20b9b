"""What a client is told: where the server is, who joins which channel, and how it is to go about it.

It must not know a reactor or a socket.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mles_tx.protocol.auth import auth_value
from mles_tx.protocol.header import MAX_HEADER_BYTES, MAX_MESSAGE_BYTES

__all__ = [
    "ENVIRONMENT",
    "MAX_QUEUED_BYTES",
    "MAX_QUEUED_MESSAGES",
    "ClientConfig",
    "ClientConfigError",
    "ProxyAddress",
    "Repeats",
    "ServerAddress",
    "Trust",
]

#: Messages that wait to be sent: as many as a client hears of in a history that is longer than usual.
MAX_QUEUED_MESSAGES = 10_000

#: Bytes that wait to be sent: eight of the largest messages, as a server keeps for a member.
MAX_QUEUED_BYTES = 8 * MAX_MESSAGE_BYTES

#: The value of `ClientConfig.proxy` that means: what the environment says.
ENVIRONMENT = "environment"

_NAME = re.compile(r"[\x20-\x7e]+")
_AUTH = re.compile(r"[0-9a-fA-F]{1,16}", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_URL_HOST = re.compile(r"[^\x00-\x20\x7f/?#@\\<>\"{}|^`]+")
_ORIGIN = re.compile(r"[\x21-\x7e]+")


class ClientConfigError(Exception):
    """A setting is wrong; the text is one line that names it and the remedy."""


class Repeats(Enum):
    """What becomes of messages that come again."""

    DROP = auto()  #: each payload is passed on once: for those in which a nonce, a number or a time makes each unique
    DROP_REPLAYED = auto()  #: only what a replay brings again is dropped; what is said twice is heard twice
    KEEP = auto()  #: all are passed on


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server is.

    Attributes:
        is_secure: whether TLS is spoken.
        host: name or address, without brackets.
        port: its port.
        resource: path and query of the request.
    """

    is_secure: bool
    host: str
    port: int
    resource: str

    @classmethod
    def parse(cls, url: str) -> "ServerAddress":
        """Take a URL apart.

        Raises:
            ClientConfigError: it is none for WebSocket.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            host = parts.hostname or ""
        except ValueError:
            host, port = "", 0
        if (
            parts_fail(url)
            or port == 0
            or not _URL_HOST.fullmatch(host)
            or parts.scheme not in ("ws", "wss")
            or "@" in parts.netloc
            or parts.fragment
        ):
            raise ClientConfigError(f"server {url!r}: give a URL like wss://HOST/ or ws://HOST:PORT/")
        is_secure = parts.scheme == "wss"
        query = f"?{parts.query}" if parts.query else ""
        return cls(is_secure, host, port or (443 if is_secure else 80), (parts.path or "/") + query)

    @property
    def authority(self) -> str:
        """Host and port as they stand in a request."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parts_fail(url: str) -> bool:
    """Whether a URL has what cannot stand in a request line."""
    return not url.isascii() or not url.isprintable() or " " in url


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificate is believed. Without anything: what the system trusts, for the name of the host.

    Attributes:
        ca_file: PEM file with the authorities to trust instead of the system's.
        fingerprint: the SHA-256 of the one certificate to trust, 64 hex digits in lower case; its names and its
            issuer do not matter then.
    """

    ca_file: Path | None = None
    fingerprint: str | None = None

    @classmethod
    def pinned(cls, text: str) -> "Trust":
        """Trust one certificate, by its SHA-256: 64 hex digits, with or without colons.

        Raises:
            ClientConfigError: it is none.
        """
        digits = text.replace(":", "").strip()
        if not _FINGERPRINT.fullmatch(digits):
            raise ClientConfigError(f"fingerprint {text!r}: give a SHA-256 as 64 hex digits, with or without colons")
        return cls(fingerprint=digits.lower())


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What a `MlesClient` is told.

    Attributes:
        url: the server, ``ws://`` or ``wss://``.
        uid: who joins: printable ASCII, not empty.
        channel: where: printable ASCII, not empty.
        key: the server's key; None: it has none.
        auth: the auth value instead of the key, for who was given only that.
        history: ask for at most that many of the last messages when joining; None: all there are. Other servers
            than mles_tx send all.
        receive: False to publish only. Servers other than mles_tx send everything nevertheless; it is dropped.
        resume: after a break, ask only for what came since.
        repeats: what becomes of messages that come again.
        max_queued_messages: messages that may wait to be sent.
        max_queued_bytes: bytes of them.
        trust: whose certificate is believed.
        proxy: URL of an HTTP proxy to go through, ``http://[USER:PASSWORD@]HOST:PORT``; empty: none; `ENVIRONMENT`:
            what `HTTPS_PROXY` (`HTTP_PROXY` for ``ws://``) and `NO_PROXY` say, and none for this machine.
        origin: the Origin header to send; None: none.
        patience: seconds after which it is given up when it never could join; None: never.
        connect_seconds: seconds one attempt may take, from the first packet to the open WebSocket.
        silence_seconds: seconds without a sign of life after which the link is asked for one. Servers ping every 24.
    """

    url: str
    uid: str
    channel: str
    key: bytes | None = field(default=None, repr=False)
    auth: str | None = field(default=None, repr=False)
    history: int | None = None
    receive: bool = True
    resume: bool = True
    repeats: Repeats = Repeats.DROP
    max_queued_messages: int = MAX_QUEUED_MESSAGES
    max_queued_bytes: int = MAX_QUEUED_BYTES
    trust: Trust = Trust()
    proxy: str = field(default=ENVIRONMENT, repr=False)
    origin: str | None = None
    patience: float | None = None
    connect_seconds: float = 20.0
    silence_seconds: float = 80.0

    def __post_init__(self) -> None:
        ServerAddress.parse(self.url)
        for name, value in (("uid", self.uid), ("channel", self.channel)):
            if not _NAME.fullmatch(value) or len(value) > MAX_HEADER_BYTES // 4:
                raise ClientConfigError(f"{name} {value[:64]!r}: give 1 to 4096 characters of printable ASCII")
        if self.key is not None and not self.key:
            raise ClientConfigError("key: empty; give the server's key, or none")
        if self.key is not None and self.auth is not None:
            raise ClientConfigError("auth: the key is given as well; leave one of them away")
        if self.auth is not None and not _AUTH.fullmatch(self.auth):
            raise ClientConfigError("auth: give the 1 to 16 hex digits of an auth value")
        if self.history is not None and self.history < 0:
            raise ClientConfigError(f"history {self.history}: give 0 or more")
        if self.max_queued_messages < 1 or self.max_queued_bytes < 1:
            raise ClientConfigError("the queue has to hold at least one message")
        if self.connect_seconds <= 0 or self.silence_seconds <= 0:
            raise ClientConfigError("connect_seconds and silence_seconds: give more than 0")
        if self.origin is not None and not _ORIGIN.fullmatch(self.origin):
            raise ClientConfigError(f"origin {self.origin!r}: give one like https://example.org")
        if self.proxy not in ("", ENVIRONMENT):
            ProxyAddress.parse(self.proxy)

    @property
    def server(self) -> ServerAddress:
        """The URL, taken apart."""
        return ServerAddress.parse(self.url)

    @property
    def auth_value(self) -> str | None:
        """What stands as `auth` in the first frame; None: nothing does."""
        if self.key is None:
            return self.auth
        return auth_value(self.uid, self.channel, self.key)


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """An HTTP proxy.

    Attributes:
        host: name or address.
        port: its port.
        login: ``USER:PASSWORD``; None: it asks for none.
    """

    host: str
    port: int
    login: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> "ProxyAddress":
        """Take a URL apart; ``HOST:PORT`` alone will do.

        Raises:
            ClientConfigError: it is none of a plain HTTP proxy. The text does not quote it: a password may be in it.
        """
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            port = parts.port or 80
            host = parts.hostname or ""
        except ValueError:
            parts, host, port = urlsplit(""), "", 0
        if parts_fail(url) or parts.scheme != "http" or not _URL_HOST.fullmatch(host):
            raise ClientConfigError("proxy: give the URL of an HTTP proxy, like http://HOST:PORT")
        login = None
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(host, port, login)
