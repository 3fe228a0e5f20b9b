r"""Where a port of our own is, in the words of Twisted's endpoint descriptions: ``tcp:9100``, ``unix:/run/mles.sock``.

Twisted makes an endpoint of such a text only with all plug-ins there are, and Autobahn is one of them. Here is what the
admin endpoint needs of it, for the server that listens there and for those who ask.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from twisted.python import usage

from mles_tx.transport.certificates.names import is_ip_address

__all__ = ["Endpoint", "endpoint", "parse_endpoint"]

#: Who may connect to a UNIX socket, unless told otherwise: its owner and its group.
_MODE = 0o660

#: Bytes of the path of a UNIX socket: what ``struct sockaddr_un`` holds, less its end.
_MAX_PATH = 107

_FORMS = r"give tcp:PORT, tcp:PORT:interface=ADDRESS (its colons as \:) or unix:PATH"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A port: of TCP, or a UNIX socket.

    Attributes:
        interface: the numeric address of TCP; empty for a UNIX socket.
        port: the port of TCP, 0 to 65535; 0: one that is free.
        path: the path of a UNIX socket; empty for TCP.
        mode: who may connect to it, as the mode of a file.
    """

    interface: str = "127.0.0.1"
    port: int = 0
    path: str = ""
    mode: int = _MODE

    def overlaps(self, interface: str) -> bool:
        """Whether listening here leaves another one no room on the same port of an address."""
        here, there = ip_address(self.interface), ip_address(interface)
        is_same_kind = here.version == there.version
        return here == there or (is_same_kind and (here.is_unspecified or there.is_unspecified))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.interface}]:{self.port}" if ":" in self.interface else f"{self.interface}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    r"""What a description says.

    Args:
        text: ``tcp:PORT``, ``tcp6:PORT`` or ``unix:PATH``, with ``:interface=ADDRESS`` or ``:mode=660``; a colon or
            backslash that belongs to a value has a backslash before it. Without an interface it is the loopback
            address: Twisted would take all, and who can read the metrics is to be thought about.

    Raises:
        ValueError: it is none of these; says what to give.
    """
    if "\0" in text:
        raise ValueError(_FORMS)
    # What is escaped loses its backslash, and every other colon becomes an end.
    kind, *parts = re.sub(r"\\(.)|:", lambda match: match[1] or "\0", text, flags=re.DOTALL).split("\0")
    values: dict[str, str] = {}
    for index, part in enumerate(parts):
        name, equals, value = part.partition("=")
        if not index and not (equals and name in ("port", "interface", "address", "mode")):
            name, value = ("address" if kind == "unix" else "port"), part
        if name in values or not value:
            raise ValueError(_FORMS)
        values[name] = value
    if kind == "unix" and values.keys() <= {"address", "mode"} and "address" in values:
        return _unix(values["address"], values.get("mode"))
    if kind in ("tcp", "tcp6") and values.keys() <= {"port", "interface"} and "port" in values:
        interface = values.get("interface", "127.0.0.1" if kind == "tcp" else "::1")
        return _tcp(values["port"], interface)
    raise ValueError(_FORMS)


def _tcp(port: str, interface: str) -> Endpoint:
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536):
        raise ValueError("the port is a whole number from 0 to 65535")
    if not is_ip_address(interface):
        raise ValueError("the interface is a numeric address, 127.0.0.1 when it is left away")
    return Endpoint(interface, int(port))


def _unix(path: str, mode: str | None) -> Endpoint:
    if not path.startswith("/"):
        raise ValueError("the path of a UNIX socket begins with /")
    if len(os.fsencode(path)) > _MAX_PATH:
        raise ValueError(f"the path of a UNIX socket has at most {_MAX_PATH} bytes")
    if mode is not None and not re.fullmatch("0?[0-7]{3}", mode):
        raise ValueError("the mode of a UNIX socket is three octal digits, 660 when it is left away")
    return Endpoint("", 0, path, _MODE if mode is None else int(mode, 8))


def endpoint(option: str) -> Callable[[str], Endpoint]:
    """A coerce function for a description."""

    def coerce(text: str) -> Endpoint:
        try:
            return parse_endpoint(text)
        except ValueError as error:
            raise usage.UsageError(f"{option} {text!r}: {error}") from None

    return coerce
