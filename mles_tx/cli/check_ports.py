"""Whether the server can listen where it is to listen, or who does so already."""

import errno
import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectError

from mles_tx.transport.certificates.names import is_ip_address
from mles_tx.web.redirect import MOVED_TEXT

from .asking import NoTls, Reply, ask
from .checks import Finding, Verdict, worst

__all__ = ["dialable", "judge_redirect_reply", "judge_tls_reply", "look_at_redirect_port", "look_at_tls_port"]

#: Where authorities come: RFC 8737 section 3 and RFC 8555 section 8.3.
_TLS_ALPN_PORT, _HTTP_PORT = 443, 80

_UPGRADE = (
    "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: bWxlcy10eCBkb2N0b3IgIQ==\r\nSec-WebSocket-Protocol: mles-websocket\r\n\r\n"
)

_GET = "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"

_WITHOUT_TLS = Finding(Verdict.FAIL, "another program listens there, without TLS", "stop it, or choose another --port")

_SILENT = Finding(
    Verdict.UNKNOWN, "somebody listens there, and does not answer", "see who it is with ss -ltnp; try again"
)


def dialable(interface: str) -> str:
    """The address to connect to where somebody listens on an interface: loopback for all addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(interface, interface)


async def look_at_tls_port(
    reactor: Any, domain: str, interfaces: Sequence[str], port: int, redirect_port: int | None
) -> Finding:
    """The port for TLS.

    Args:
        reactor: the reactor.
        domain: who is asked for.
        interfaces: numeric addresses the server is to listen on.
        port: the port.
        redirect_port: that of the redirect site; None: there is to be none.
    """
    looks = [Deferred.fromCoroutine(_look_for_tls(reactor, domain, interface, port)) for interface in interfaces]
    finding = worst(await gatherResults(looks, consumeErrors=True))
    if finding.verdict is Verdict.OK and port != _TLS_ALPN_PORT and redirect_port != _HTTP_PORT:
        return Finding(
            Verdict.WARN,
            f"{finding.text}; but authorities come to port {_TLS_ALPN_PORT}, or to port {_HTTP_PORT} of --redirect",
            f"use --port {_TLS_ALPN_PORT}, or forward it to {port}",
        )
    return finding


async def look_at_redirect_port(reactor: Any, domain: str, interfaces: Sequence[str], port: int) -> Finding:
    """The port of the redirect site; arguments as above."""
    looks = [Deferred.fromCoroutine(_look_for_redirect(reactor, domain, interface, port)) for interface in interfaces]
    return worst(await gatherResults(looks, consumeErrors=True))


async def _look_for_tls(reactor: Any, domain: str, interface: str, port: int) -> Finding:
    host, server_name = dialable(interface), None if is_ip_address(domain) else domain
    upgrade, get = (text.format(host=_in_url(domain)).encode("ascii") for text in (_UPGRADE, _GET))
    try:
        reply = await ask(reactor, host, port, upgrade, tls=True, server_name=server_name)
        if not reply.head and (await ask(reactor, host, port, get, tls=False)).head:
            return _WITHOUT_TLS  # it has waited for the rest of a line
    except NoTls:
        return _WITHOUT_TLS
    except ConnectError:
        return _judge_bind(_try_bind(interface, port), "--port")
    return judge_tls_reply(reply)


async def _look_for_redirect(reactor: Any, domain: str, interface: str, port: int) -> Finding:
    request = _GET.format(host=_in_url(domain)).encode("ascii")
    try:
        return judge_redirect_reply(await ask(reactor, dialable(interface), port, request, tls=False))
    except ConnectError:
        return _judge_bind(_try_bind(interface, port), "--redirect-port")


def judge_tls_reply(reply: Reply) -> Finding:
    """Who answered to a request for an upgrade over TLS."""
    if reply.status == 101 and reply.header(b"sec-websocket-protocol") == b"mles-websocket":
        return Finding(Verdict.OK, "a Mles server listens there")
    return _judge_stranger(reply, "--port")


def judge_redirect_reply(reply: Reply) -> Finding:
    """Who answered to a request for a page."""
    if reply.status == 301 and reply.body.decode("latin-1").strip() == MOVED_TEXT:
        return Finding(Verdict.OK, "a redirect site of this kind listens there")
    if reply.status == 404 and not reply.header(b"server"):
        return Finding(
            Verdict.WARN, "a server listens there that does not know the domain", "see that it has the same --domains"
        )
    return _judge_stranger(reply, "--redirect-port")


def _judge_stranger(reply: Reply, option: str) -> Finding:
    if reply.status == 503:
        return Finding(Verdict.UNKNOWN, "a server listens there that is full, or busy", "try again later")
    if reply.status is not None:
        text = f"another web server listens there (it answers with status {reply.status})"
    elif reply.head:
        text = "another program listens there, which speaks another protocol"
    else:
        return _SILENT
    return Finding(Verdict.FAIL, text, f"stop it, or choose another {option}")


def _try_bind(interface: str, port: int) -> int:
    """0, or the errno that says why nobody can listen there.

    The socket never listens: a server that starts at this moment can have the port all the same.
    """
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((interface, port))
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def _judge_bind(number: int, option: str) -> Finding:
    if number == 0:
        return Finding(Verdict.OK, "is free: the server can listen there")
    if number == errno.EACCES:
        return Finding(
            Verdict.WARN,
            "is free, but not for this user: ports below 1024 need root or the capability CAP_NET_BIND_SERVICE",
            f"start the server as root or with the capability, or choose another {option}",
        )
    if number == errno.EADDRINUSE:
        return _SILENT
    if number == errno.EADDRNOTAVAIL:
        return Finding(Verdict.FAIL, "this machine does not have that address", "choose another --interface")
    return Finding(
        Verdict.FAIL, f"cannot be listened on: {errno.errorcode.get(number, number)}", f"choose another {option}"
    )


def _in_url(domain: str) -> str:
    return f"[{domain}]" if ":" in domain else domain
