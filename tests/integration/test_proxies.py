"""Proxies in front of the server, set up as the documentation says: HAProxy and nginx, in front of real processes."""

import atexit
import contextlib
import re
import shutil
import signal
import socket
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tests.protocol.proxyheaders import LOCAL, v1, v2

from .clients import PING, PONG, TEXT, RawClient, frame, join_frame
from .processes import Server
from .proxies import CONNECTIONS, HTTP, HAProxy, Nginx, Way, documented_command, documented_settings
from .support import IntegrationTestCase

#: Connections of an address, in these tests.
LIMIT = 3

_NUMBERS = count(256)


def fresh_address() -> str:
    """An address of this machine that no test has come from."""
    number = next(_NUMBERS)
    return f"127.0.{number // 250}.{number % 250 + 1}"


@dataclass(frozen=True)
class Rig:
    """A server that trusts 127.0.0.1, and the proxy in front of it."""

    server: Server
    front: HAProxy | Nginx | None


Front = Callable[[Path, int], HAProxy | Nginx]


@cache
def _rig(heading: str, options: tuple[str, ...], front: Front | None) -> Rig:
    """One for all tests that need one like it."""
    server = Server([*documented_command(heading), "--per-ip-limit", str(LIMIT), *options])
    atexit.register(server.stop)
    if front is None:
        return Rig(server, None)
    directory = Path(tempfile.mkdtemp(prefix="mles-tx-front-"))
    atexit.register(shutil.rmtree, directory)
    try:
        started = front(directory, server.port)
    except BaseException:
        server.stop()  # it is not kept for others
        raise
    atexit.register(started.stop)
    return Rig(server, started)


class BehindTestCase(IntegrationTestCase):
    """A server behind a proxy, and clients from several addresses."""

    heading = HTTP
    options: tuple[str, ...] = ()

    #: Starts the proxy; None: the clients say themselves what a proxy would say.
    front: Front | None = None

    def setUp(self) -> None:
        super().setUp()
        self.rig = _rig(self.heading, self.options, type(self).front)
        self.server = self.rig.server

    def trust(self) -> ssl.SSLContext | None:
        """Whom clients trust: the proxy, when it speaks TLS, or the server."""
        return self.server.trust()

    def way(self, source: str) -> Way:
        """The way to the server, from an address of this machine."""
        assert self.rig.front is not None
        return Way(self.rig.front.port, self.trust(), source)

    def join_raw(self, way: Way, uid: str, *lines: str) -> RawClient:
        """A member, by hand, with more lines in its request."""
        client = self.enterContext(RawClient(way))
        answer = client.upgrade(*lines)
        self.assertEqual(answer.status, 101)
        self.assertIn("resync", answer.header("Mles-Extensions") or "")
        client.send(frame(TEXT, join_frame(uid, self.channel, history=0).encode()) + frame(PING, b"joined"))
        self.assertEqual(client.read_frame(), (PONG, b"joined"))
        return client

    def await_address(self, uid: str, address: str) -> None:
        """Wait until the log says that somebody has joined, from an address."""
        channel = re.escape(self.channel[:64])
        self.server.expect(rf"joined: uid {uid}, channel {channel}, member \d+, from {re.escape(address)}$")

    def assert_dropped(self, address: str, number: int) -> None:
        """So many connections of an address were turned away; and nothing has gone wrong."""
        self.server.signal(signal.SIGUSR1)
        self.server.expect(rf"metrics: .*dropped_by_ip \{{.*'{re.escape(address)}': {number}[,}}]")
        self.assert_no_faults(self.server)

    def assert_closed(self, way: Way) -> None:
        """Who comes this way is closed without a word, before TLS."""
        received = b""
        with contextlib.suppress(ConnectionError), way.dial() as dialed:
            while data := dialed.recv(4096):
                received += data
        self.assertEqual(received, b"")


if TYPE_CHECKING:
    Behind = BehindTestCase
else:
    Behind = object


class MembersContract(Behind):
    """What holds whatever stands between."""

    def test_members(self) -> None:
        """Members talk to each other, in text and bytes, small and large; the log has their own addresses."""
        first, second = fresh_address(), fresh_address()
        alice = self.member(self.way(first), "alice")
        bob = self.member(self.way(second), "bob")
        self.assertEqual(bob.receive(), join_frame("alice", self.channel))
        for message in ("hello", b"\x00\xff", "x" * 100_000, bytes(300_000)):
            alice.send(message)
            self.assertEqual(bob.receive(), message)
            bob.send(message)
            self.assertEqual(alice.receive(), message)
        self.await_address("alice", first)
        self.await_address("bob", second)
        self.assert_no_faults(self.server)

    def test_page(self) -> None:
        """Pages arrive as well, several on a connection."""
        client = self.enterContext(RawClient(self.way(fresh_address())))
        for _ in range(2):
            answer = client.request(host="localhost")
            self.assertEqual(answer.status, 200)
            self.assertIn(b"<!doctype html>", answer.body.lower())
        self.assert_no_faults(self.server)


class HTTPContract(MembersContract):
    """What holds behind a proxy that speaks HTTP."""

    def trust(self) -> ssl.SSLContext | None:
        assert self.rig.front is not None
        return self.rig.front.trust

    def test_invented(self) -> None:
        """What a client invents about itself is not believed."""
        address = fresh_address()
        lines = ("X-Forwarded-For: 203.0.113.5", "X-Forwarded-For: 127.0.0.1")
        self.join_raw(self.way(address), "mallory", *lines)
        self.await_address("mallory", address)

    def test_limit(self) -> None:
        """An address that joins too often is told when to come again; pages and others are served."""
        address = fresh_address()
        for number in range(LIMIT):
            self.join_raw(self.way(address), f"eve-{number}")
        client = self.enterContext(RawClient(self.way(address)))
        answer = client.upgrade()
        self.assertEqual(answer.status, 429)
        self.assertIn(int(answer.header("Retry-After") or 0), range(1, 61))
        again = self.enterContext(RawClient(self.way(address)))
        for _ in range(2 * LIMIT):
            self.assertEqual(again.request(host="localhost").status, 200)
        self.join_raw(self.way(fresh_address()), "bob")
        self.assert_dropped(address, 1)

    def test_past_the_proxy(self) -> None:
        """Who comes past the proxy is not believed, and counted when it connects."""
        past = Way(self.server.port, source=fresh_address())
        self.join_raw(past, "mallory", "X-Forwarded-For: 203.0.113.5")
        self.await_address("mallory", past.source)
        for _ in range(LIMIT - 1):
            self.enterContext(past.dial())
        self.assert_closed(past)
        self.assert_dropped(past.source, 1)


class ConnectionsContract(MembersContract):
    """What holds behind a proxy that passes connections on."""

    heading = CONNECTIONS

    def test_limit(self) -> None:
        """An address that connects too often is closed before TLS begins; others are served."""
        address = fresh_address()
        members = [self.join_raw(self.way(address), f"eve-{number}") for number in range(LIMIT)]
        self.assert_closed(self.way(address))
        self.join_raw(self.way(fresh_address()), "bob")
        members[0].send(frame(PING, b"still here"))
        self.assertEqual(members[0].read_frame(), (PONG, b"still here"))
        self.assert_dropped(address, 1)

    def test_past_the_proxy(self) -> None:
        """Who comes past the proxy is closed, with a header and without."""
        address = fresh_address()
        for header in (b"", v1(), v2(), LOCAL):
            self.assert_closed(Way(self.server.port, source=address, header=header))
        self.assert_dropped(address, 4)


class HAProxyHTTPTests(HTTPContract, BehindTestCase):
    """HAProxy, which speaks TLS, with `option forwardfor`."""

    front = partial(HAProxy, documented_settings(HTTP, "haproxy"))


class NginxHTTPTests(HTTPContract, BehindTestCase):
    """nginx, which speaks TLS, with `X-Forwarded-For`."""

    front = partial(Nginx, documented_settings(HTTP, "nginx"), "http")


class HAProxyV2Tests(ConnectionsContract, BehindTestCase):
    """HAProxy with `send-proxy-v2`, which looks every now and then whether the server is there."""

    front = partial(HAProxy, documented_settings(CONNECTIONS, "haproxy").replace("proxy-v2", "proxy-v2 check inter 50"))


class HAProxyV1Tests(ConnectionsContract, BehindTestCase):
    """HAProxy with `send-proxy`: version 1."""

    front = partial(HAProxy, documented_settings(CONNECTIONS, "haproxy").replace("send-proxy-v2", "send-proxy"))


class NginxConnectionsTests(ConnectionsContract, BehindTestCase):
    """nginx with `proxy_protocol on` for connections."""

    front = partial(Nginx, documented_settings(CONNECTIONS, "nginx"), "stream")


class SecureSenderTests(ConnectionsContract, BehindTestCase):
    """A proxy of few words: it says where a connection comes from, and TLS follows at once."""

    def way(self, source: str) -> Way:
        return Way(self.server.port, self.trust(), header=v2(source))

    def test_six(self) -> None:
        """An IPv6 address is counted as its network, and stands in the log as it is."""
        for number in range(LIMIT):
            address = f"2001:db8::{number + 1}"
            self.join_raw(Way(self.server.port, self.trust(), header=v1(address, "::1")), f"six-{number}")
            self.await_address(f"six-{number}", address)
        self.assert_closed(Way(self.server.port, header=v2("2001:db8::9", "::1")))
        self.assert_dropped("2001:db8::/64", 1)

    def test_proxy_itself(self) -> None:
        """The proxy may come for itself, as often as it likes."""
        for number, header in enumerate([LOCAL, b"PROXY UNKNOWN\r\n"] * LIMIT):
            self.join_raw(Way(self.server.port, self.trust(), header=header), f"proxy-{number}")
            self.await_address(f"proxy-{number}", "127.0.0.1")
        self.assert_no_faults(self.server)

    def test_no_header(self) -> None:
        """A proxy that sends no header is closed, and the log says what is missing."""
        client = self.enterContext(Way(self.server.port).dial())
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512))
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(client.recv(100), b"")
        self.server.expect("a connection from 127.0.0.1 does not begin with a PROXY header: .*; let the proxy send one")
        self.assert_dropped("127.0.0.1", 1)

    def test_no_tls_behind_it(self) -> None:
        """A header that TLS does not follow is answered as TLS answers it."""
        client = self.enterContext(Way(self.server.port, header=v1(fresh_address())).dial())
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            self.assertFalse(client.recv(100).startswith(b"HTTP"))
        self.join_raw(self.way(fresh_address()), "healthy")
        self.assert_no_faults(self.server)


class PlainSenderTests(MembersContract, BehindTestCase):
    """The same without TLS; and what the client says about itself in HTTP."""

    options = ("--proxy-protocol",)

    def way(self, source: str) -> Way:
        return Way(self.server.port, header=v1(source))

    def test_forwarded(self) -> None:
        """X-Forwarded-For is read behind the header when that names a trusted proxy, and not else."""
        told, address = fresh_address(), fresh_address()
        line = f"X-Forwarded-For: {told}"
        self.join_raw(Way(self.server.port, header=v2(address)), "mallory", line)
        self.await_address("mallory", address)
        for number, header in enumerate((v2("127.0.0.1"), LOCAL)):
            self.join_raw(Way(self.server.port, header=header), f"alice-{number}", line)
            self.await_address(f"alice-{number}", told)
        self.assert_no_faults(self.server)

    def test_limits(self) -> None:
        """The limit holds at the header for who comes with it, and at the upgrade for who comes with HTTP."""
        address = fresh_address()
        for number in range(LIMIT):
            self.join_raw(self.way(address), f"eve-{number}")
        self.assert_closed(self.way(address))
        through = self.enterContext(RawClient(Way(self.server.port, header=LOCAL)))
        self.assertEqual(through.upgrade(f"X-Forwarded-For: {address}").status, 429)
        self.assert_dropped(address, 2)

    def test_in_pieces(self) -> None:
        """A header in pieces is read, and the request right behind it."""
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        for header in (v1(fresh_address()), v2(fresh_address())):
            for cut in (1, 16, len(header)):
                with Way(self.server.port).dial() as client:
                    client.sendall(header[:cut])
                    client.sendall(header[cut:] + request)
                    self.assertEqual(client.recv(12, socket.MSG_WAITALL), b"HTTP/1.1 200")
        self.assert_no_faults(self.server)
