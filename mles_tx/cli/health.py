"""`mles-tx health`: asks a server's admin endpoint whether it is ready, or alive, for whoever restarts or routes.

It is started again and again, by containers: it imports little, and nothing of the server but its words for endpoints.
"""

import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import NoReturn

from twisted.python import usage

import mles_tx
from mles_tx.service.endpoints import Endpoint, parse_endpoint
from mles_tx.service.parsing import whole_number

__all__ = ["HealthOptions", "health"]

#: Where a server's admin endpoint is when nobody says so.
_USUAL = Endpoint("127.0.0.1", 9100)

#: Bytes of an answer that are read.
_MAX_ANSWER = 64 * 1024

_URL = re.compile(r"http://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?")

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")


def _where(text: str) -> Endpoint | tuple[str, int]:
    """The coerce function of `--admin`: an endpoint's description, or a URL whose host may be a name."""
    url = _URL.fullmatch(text)
    if url is not None:
        host, port = url[1].strip("[]"), int(url[2] or 80)
        if 0 < port < 65536:
            return host, port
    elif "//" not in text:
        try:
            endpoint = parse_endpoint(text)
        except ValueError as error:
            raise usage.UsageError(f"--admin {text!r}: {error}, or http://HOST:PORT") from None
        if endpoint.port or endpoint.path:
            return endpoint
    raise usage.UsageError(f"--admin {text!r}: give the server's --admin with its port, or http://HOST:PORT")


class HealthOptions(usage.Options):
    """What `mles-tx health` understands.

    Args:
        environ: the environment; `MLES_TX_ADMIN` is looked at.
    """

    synopsis = "[options]"
    longdesc = (
        "Asks a server that was started with --admin whether it is ready, and prints its reasons when it is not."
        " Ends with code 0 when it is, and with code 1 when it is not, or does not answer."
    )

    optFlags = (["live", None, "Ask only whether it is alive: one that is stopping, or waits for a certificate, is."],)

    optParameters = (
        [
            "admin",
            None,
            None,
            "The server's --admin, or http://HOST:PORT. [default: $MLES_TX_ADMIN, else tcp:9100]",
            _where,
        ],
        ["timeout", None, 5, "Seconds to wait for the answer, 1 to 3600.", whole_number("--timeout", 1, 3600)],
    )

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environ = environ

    opt_h = usage.Options.opt_help

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        print(f"mles_tx {mles_tx.__version__}")
        sys.exit(0)

    def parseArgs(self, *arguments: str) -> None:  # noqa: N802
        """There are options only."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]!r}: not an option")

    def postOptions(self) -> None:
        if self["admin"] is None:
            given = self._environ.get("MLES_TX_ADMIN")
            self["admin"] = _where(given) if given else _USUAL


def health(options: HealthOptions) -> NoReturn:
    """Ask, print the answer, and exit with what it means."""
    where = options["admin"]
    try:
        status, body = _ask(where, "/livez" if options["live"] else "/readyz", options["timeout"])
    except TimeoutError:
        sys.exit(f"mles-tx health: no answer from {_shown(where)} within {options['timeout']} s")
    except UnicodeError:
        sys.exit(f"mles-tx health: --admin: {_shown(where)}: this is no name of a host; give http://HOST:PORT/")
    except OSError as error:
        sys.exit(f"mles-tx health: nobody answers on {_shown(where)}: {error.strerror or error}")
    if status not in (200, 503):
        sys.exit(f"mles-tx health: what answers on {_shown(where)} is not the admin endpoint of mles_tx")
    # Whoever answers may be somebody else, and a terminal may be reading.
    text = body.decode("utf-8", "replace")
    print("".join(char if char.isprintable() or char == "\n" else " " for char in text), end="")
    sys.exit(0 if status == 200 else 1)


def _shown(where: Endpoint | tuple[str, int]) -> str:
    return str(where) if isinstance(where, Endpoint) else f"{where[0]} port {where[1]}"


def _ask(where: Endpoint | tuple[str, int], path: str, seconds: float) -> tuple[int, bytes]:
    """Status and body of an answer; status 0: it is no HTTP.

    Raises:
        TimeoutError: it did not come in time, all of it.
        OSError: nobody listens there.
    """
    end = time.monotonic() + seconds
    with _connect(where, seconds) as connection:
        connection.settimeout(_left(end))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("ascii"))
        received = b""
        while len(received) < _MAX_ANSWER:
            connection.settimeout(_left(end))
            data = connection.recv(_MAX_ANSWER)
            if not data:
                break
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    status = _STATUS.match(head)
    return (0, b"") if status is None else (int(status[1]), body)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(where: Endpoint | tuple[str, int], seconds: float) -> socket.socket:
    if isinstance(where, tuple):
        return socket.create_connection(where, seconds)
    if not where.path:
        # A server that listens on all addresses is asked on the loopback one.
        address = ip_address(where.interface)
        host = where.interface if not address.is_unspecified else "127.0.0.1" if address.version == 4 else "::1"
        return socket.create_connection((host, where.port), seconds)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(where.path)
    except BaseException:
        connection.close()
        raise
    return connection
