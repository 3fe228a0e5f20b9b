"""Where a Redis is: the URL an operator writes, taken apart.

    redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]
    rediss://...                                      the same over TLS; ?ca=FILE trusts that authority alone
    redis+unix://[USER[:PASSWORD]@]/PATH[?db=DATABASE]

It is read with the options, so it must not import a reactor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

__all__ = ["SCHEMES", "RedisAddress", "parse_address"]

#: What a URL of ours begins with.
SCHEMES = ("redis", "rediss", "redis+unix")

_PORT = 6379

#: As many as a Redis can be told to have.
_MAX_DATABASE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A Redis and what it takes to be let in.

    Attributes:
        host: name or address; empty when it is a socket of this machine.
        port: TCP port, 1 to 65535.
        path: the socket's path, or None.
        tls: whether the connection is encrypted.
        ca: PEM file with the authorities to trust, instead of the system's.
        database: its number.
        user: who we are; None: the default user.
        password: what proves it, or None.
    """

    host: str = "localhost"
    port: int = _PORT
    path: str | None = None
    tls: bool = False
    ca: Path | None = None
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """The URL without user and password, for logs."""
        if self.path is not None:
            return f"redis+unix://{self.path}?db={self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"


def parse_address(url: str) -> RedisAddress:
    """Take a URL apart.

    Raises:
        ValueError: it is none of ours; the text says what is wrong, without the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the host or the port is none") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"it does not begin with {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if parts.fragment:
        raise ValueError("a # in it has to be written as %23")
    user, password = _login(parts)
    queries = _queries(parts, ("db",) if parts.scheme == "redis+unix" else ("ca",) if parts.scheme == "rediss" else ())
    if parts.scheme == "redis+unix":
        if parts.hostname or port is not None:
            raise ValueError("a path begins with a slash: redis+unix:///run/redis/redis.sock")
        if parts.path in ("", "/"):
            raise ValueError("the path of the socket is missing: redis+unix:///run/redis/redis.sock")
        return RedisAddress(
            host="", path=unquote(parts.path), database=_database(queries.get("db", "0")), user=user, password=password
        )
    if not parts.hostname:
        raise ValueError("the host is missing")
    if port == 0:
        raise ValueError("port 0 is none")
    return RedisAddress(
        host=parts.hostname,
        port=_PORT if port is None else port,
        tls=parts.scheme == "rediss",
        ca=Path(queries["ca"]) if "ca" in queries else None,
        database=_database(parts.path.removeprefix("/") or "0"),
        user=user,
        password=password,
    )


def _login(parts: SplitResult) -> tuple[str | None, str | None]:
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if user is not None and password is None:
        raise ValueError("a user needs a password: USER:PASSWORD@")
    return user, password


def _queries(parts: SplitResult, known: tuple[str, ...]) -> Mapping[str, str]:
    queries = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in queries.items():
        if name not in known or not value:
            allowed = f"only ?{known[0]}= is known" if known else "nothing may follow a ?"
            raise ValueError(f"with {parts.scheme}:// {allowed}")
    return queries


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_DATABASE):
        raise ValueError("the database is a number, like /0")
    return int(text)
