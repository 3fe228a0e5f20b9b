"""Answers to the challenges of a certificate authority, in a directory that several processes share.

Whichever process the authority reaches can answer. There is a file for each answer: what it holds is public once it
is asked for, what lies in its name is checked before it becomes part of a path.
"""

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .files import SWEEP_SECONDS, make_private_directory, read_small, replace_private

__all__ = ["ANSWER_SECONDS", "LOOK_SECONDS", "ChallengeAnswers", "is_token"]

#: Seconds for which the list of names is believed. Whoever puts an answer here waits that long before the authority
#: is told, so that all processes know of it.
LOOK_SECONDS = 0.25

#: Seconds after which an answer is one that a crash has left behind.
ANSWER_SECONDS = 900.0

#: Base64url without padding (RFC 8555 section 8.3), and no longer than the name of a file can be.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,255}")

#: A host name in lower case, in its xn-- form; no dot begins it.
_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,252}")

#: Token, dot, thumbprint: some 90 characters (RFC 8555 section 8.1).
_MAX_ANSWER = 1024


def is_token(text: str) -> bool:
    """Whether something can be the token of a challenge, and so the name of a file."""
    return _TOKEN.fullmatch(text) is not None


class ChallengeAnswers:
    """The answers that are outstanding.

    Args:
        path: the directory; made when the first answer is put into it.
        clock: the reactor, or a `Clock` in tests.
        now: the time, with its zone.
    """

    _log = Logger()

    def __init__(self, path: Path, clock: IReactorTime, now: Callable[[], datetime]) -> None:
        self._http = path / "http-01"
        self._tls = path / "tls-alpn-01"
        self._clock = clock
        self._now = now
        self._names: frozenset[str] = frozenset()
        self._looked_at = float("-inf")
        self._swept_at = clock.seconds()

    def put_http(self, token: str, key_authorization: str) -> None:
        """Answer HTTP-01 from now on.

        Raises:
            ValueError: it is no token.
            OSError: the answer cannot be written.
        """
        self._put(self._http, _checked(_TOKEN, token), key_authorization)

    def remove_http(self, token: str) -> None:
        """Answer no more."""
        _remove(self._http / _checked(_TOKEN, token))

    def http(self, token: str) -> bytes | None:
        """The answer to a token, as it is sent; None: there is none. Any token is safe to ask for."""
        return self._get(self._http / token) if is_token(token) else None

    def put_tls(self, name: str, key_authorization: str) -> None:
        """Answer TLS-ALPN-01 for a name from now on.

        Raises:
            ValueError: it is no host name.
            OSError: the answer cannot be written.
        """
        self._put(self._tls, _checked(_NAME, name), key_authorization)
        self._looked_at = float("-inf")

    def remove_tls(self, name: str) -> None:
        """Answer no more."""
        _remove(self._tls / _checked(_NAME, name))
        self._looked_at = float("-inf")

    def tls(self, name: str) -> bytes | None:
        """The key authorization for a name; None: nothing is outstanding for it."""
        return self._get(self._tls / name) if name in self.tls_names() else None

    def tls_names(self) -> frozenset[str]:
        """The names for which TLS-ALPN-01 is outstanding: as they were at most `LOOK_SECONDS` ago."""
        if self._clock.seconds() - self._looked_at >= LOOK_SECONDS:
            if self._clock.seconds() - self._swept_at >= SWEEP_SECONDS:
                self.sweep()
            self._looked_at = self._clock.seconds()
            try:
                listed = os.listdir(self._tls)  # noqa: PTH208 - a third of the cost, and most of the time it is empty
            except OSError:
                listed = []
            self._names = frozenset(name for name in listed if _NAME.fullmatch(name) and self._is_there(name))
        return self._names

    def sweep(self) -> None:
        """Remove what crashes have left behind."""
        for directory in (self._http, self._tls):
            for path in directory.glob("*"):
                with suppress(OSError):
                    if not self._is_fresh(path.lstat()):
                        path.unlink()
        self._looked_at = float("-inf")
        self._swept_at = self._clock.seconds()

    def _put(self, directory: Path, name: str, content: str) -> None:
        make_private_directory(directory)
        replace_private(directory / name, content.encode("ascii"))

    def _get(self, path: Path) -> bytes | None:
        try:
            return read_small(path, _MAX_ANSWER) if self._is_fresh(path.lstat()) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None  # where names have to be shorter than elsewhere
            self._log.warn("{path} cannot be read: {error!r}", path=str(path), error=error)
            return None

    def _is_there(self, name: str) -> bool:
        try:
            return self._is_fresh((self._tls / name).lstat())
        except OSError:
            return False

    def _is_fresh(self, status: os.stat_result) -> bool:
        return abs(self._now().timestamp() - status.st_mtime) < ANSWER_SECONDS


def _checked(pattern: re.Pattern[str], name: str) -> str:
    if pattern.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name for a challenge")
    return name


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
