"""Sockets that listen already when the process starts: socket activation, as systemd does it (sd_listen_fds(3)).

Which ones there are stands in `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`. It must not know what they are for.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["InheritError", "InheritedSockets", "SystemdSocket", "environment_at_start", "systemd_socket"]

#: The first descriptor that is passed (``SD_LISTEN_FDS_START``).
_FIRST = 3

_FAMILIES = {"INET": socket.AF_INET, "INET6": socket.AF_INET6}


class InheritError(Exception):
    """A socket that was not passed, or is none to listen on; the text says what to do."""


@dataclass(frozen=True, slots=True)
class SystemdSocket:
    """Which of the inherited sockets: one by its place, or all that have a name.

    Attributes:
        index: its place, from 0.
        name: `FileDescriptorName=` of the socket unit, else the unit's own name.
        domain: INET or INET6: only those; None: both.
    """

    index: int | None = None
    name: str | None = None
    domain: str | None = None

    def __str__(self) -> str:
        parts = (("domain", self.domain), ("index", self.index), ("name", self.name))
        return ":".join(["systemd", *(f"{key}={value}" for key, value in parts if value is not None)])


def systemd_socket(text: str) -> SystemdSocket:
    """Take apart `systemd:index=0`, `systemd:name=https` or `systemd:domain=INET:name=https`.

    Raises:
        ValueError: it is none of these.
    """
    kind, *parts = text.split(":")
    given = dict(part.partition("=")[::2] for part in parts)
    index, name, domain = (given.pop(key, None) for key in ("index", "name", "domain"))
    bad_index = index is not None and not (index.isascii() and index.isdigit() and len(index) < 4)
    one_of_them = (index is None) != (not name)
    if kind != "systemd" or given or bad_index or not one_of_them or domain not in (None, *_FAMILIES):
        raise ValueError(text)
    return SystemdSocket(None if index is None else int(index), name, domain)


def environment_at_start() -> dict[str, str]:
    """The environment this process was started with. Twisted takes from `os.environ` what is looked for here."""
    try:
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environ)
    return dict(os.fsdecode(pair).partition("=")[::2] for pair in pairs)


class InheritedSockets:
    """The sockets this process was started with; each is handed out once.

    What is handed out are duplicates: they may be closed, and the sockets go on listening.

    Args:
        environ: the environment; None: the one at the start of the process.
        first: the first descriptor.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, first: int = _FIRST) -> None:
        self._environ = environ
        self._first = first
        self._taken: set[int] = set()

    def take(self, *wanted: SystemdSocket) -> list[socket.socket]:
        """The sockets that are wanted, one at least for each; they belong to the caller.

        Raises:
            InheritError: one is not there, or cannot be listened on; then none is taken.
        """
        found: dict[int, socket.socket] = {}
        try:
            for one in wanted:
                self._open_all(one, found)
        except BaseException as error:
            for adopted in found.values():
                adopted.close()
            if isinstance(error, InheritError):
                raise InheritError(f"{one}: {error}") from None
            raise
        self._taken.update(found)
        return list(found.values())

    def left_over(self) -> list[str]:
        """The sockets that nobody has taken, by place and name: who connects to them waits in vain."""
        return [f"{place} ({name})" for place, name in enumerate(self._names()) if place not in self._taken]

    def give_back(self) -> None:
        """All of them may be taken again."""
        self._taken.clear()

    def _open_all(self, wanted: SystemdSocket, found: dict[int, socket.socket]) -> None:
        """Open what is wanted, and add it to what was found, by its place."""
        before = len(found)
        for place in self._places(wanted):
            adopted = self._open(place)
            if wanted.domain is not None and adopted.family != _FAMILIES[wanted.domain]:
                adopted.close()
            elif place in self._taken or place in found:
                adopted.close()
                raise InheritError("that socket is taken already: name each one once")
            else:
                found[place] = adopted
        if len(found) == before:
            raise InheritError(f"it is no {wanted.domain} socket: leave the domain away, or name another one")

    def _places(self, wanted: SystemdSocket) -> list[int]:
        names = self._names()
        if not names:
            process = self._environment().get("LISTEN_PID", "")
            if process and process != str(os.getpid()):
                raise InheritError("they are for another process: start this one directly, and twistd with -n")
            raise InheritError("no socket was passed: start it by its socket unit, or leave the option away")
        if wanted.index is not None:
            if wanted.index >= len(names):
                raise InheritError(f"only {len(names)} were passed: give an index from 0 to {len(names) - 1}")
            return [wanted.index]
        places = [place for place, name in enumerate(names) if name == wanted.name]
        if not places:
            there = ", ".join(sorted({repr(name) for name in names}))
            raise InheritError(f"none has that name; there are {there}: set FileDescriptorName= in the socket unit")
        return places

    def _names(self) -> list[str]:
        """The name of each socket; without names of their own, all are called as sd_listen_fds_with_names(3) does."""
        environ = self._environment()
        number = environ.get("LISTEN_FDS", "")
        if environ.get("LISTEN_PID") != str(os.getpid()) or not (number.isascii() and number.isdigit()):
            return []
        names = environ.get("LISTEN_FDNAMES", "").split(":")
        return names if len(names) == int(number) else ["unknown"] * min(int(number), os.sysconf("SC_OPEN_MAX"))

    def _environment(self) -> Mapping[str, str]:
        if self._environ is None:
            self._environ = environment_at_start()
        return self._environ

    def _open(self, place: int) -> socket.socket:
        descriptor = self._first + place
        try:
            os.set_inheritable(descriptor, False)  # systemd passes them so that they would go on to our children
            with socket.socket(fileno=descriptor) as passed:
                adopted = passed.dup()
                passed.detach()
        except OSError as error:
            raise InheritError(f"descriptor {descriptor} is no socket ({error.strerror})") from None
        try:
            listens = adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if adopted.family in _FAMILIES.values() and adopted.type == socket.SOCK_STREAM and listens:
                adopted.setblocking(False)
                return adopted
        except OSError:
            pass  # what can be said of a socket that listens cannot be said of this one
        adopted.close()
        raise InheritError(
            "not a TCP socket that listens: in its unit, give ListenStream= an address with a port, and Accept=no"
        )
