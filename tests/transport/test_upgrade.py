"""Tests of the short cut for usual upgrades: what takes it, what does not, and that nobody can tell."""

from autobahn.websocket import protocol as websocket_protocol
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import MemoryHistory
from mles_tx.channels.registry import ChannelRegistry
from mles_tx.transport import websocket as module
from mles_tx.transport.connection import MlesConnection, Settings
from mles_tx.transport.connections import MlesFactory
from mles_tx.transport.origins import pages_of_this_machine
from mles_tx.transport.upgrade import Upgrade, any_usual_upgrade, refusing, usual_upgrade
from tests import examples
from tests.wire import client_frame, header, upgrade

from .fakes import FakeTransport

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="

#: The request of a browser.
_BROWSER = "\r\n".join(
    (
        "GET /chat?x=1&y=%20 HTTP/1.1",
        "Host: mles.example:8443",
        "Connection: keep-alive, Upgrade",
        "Pragma: no-cache",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Upgrade: websocket",
        "Origin: https://mles.example:8443",
        "Sec-WebSocket-Version: 13",
        "Accept-Encoding: gzip, deflate, br, zstd",
        f"Sec-WebSocket-Key: {_KEY}",
        "Sec-WebSocket-Protocol: chat, mles-websocket",
        "Cookie: a=b; c=d",
        "\r\n",
    )
).encode()


def _changed(old: str, new: str) -> bytes:
    """A plain request with something else in one place."""
    request = upgrade()
    if request.count(old.encode()) != 1:
        raise ValueError(f"{old} does not stand there once")
    return request.replace(old.encode(), new.encode("latin-1"))


class UsualTests(SynchronousTestCase):
    """What is usual."""

    def test_plain(self) -> None:
        """A client that says no more than it has to."""
        self.assertEqual(usual_upgrade(upgrade()), Upgrade(_KEY.encode(), ("mles-websocket",), None))

    def test_browser(self) -> None:
        """A browser, which says much more."""
        expected = Upgrade(_KEY.encode(), ("chat", "mles-websocket"), "https://mles.example:8443")
        self.assertEqual(usual_upgrade(_BROWSER), expected)

    def test_variants(self) -> None:
        """Names in any case, any amount of space around values, any path, and all the ways to write a host."""
        requests = [
            upgrade().replace(b": ", b":"),
            upgrade().replace(b": ", b":   ").replace(b"\r\n", b"  \r\n").replace(b"1.1  ", b"1.1", 1)[:-4] + b"\r\n",
            upgrade().replace(b"Sec-WebSocket-", b"SEC-websocket-").replace(b"Host", b"hOST"),
            upgrade(path="/a/b;c=d?e=f&g=/~!$%7e"),
            _changed("Host: localhost", "Host: mles.example"),
            _changed("Host: localhost", "Host: localhost:443"),
            _changed("Host: localhost", "Host: [::1]"),
            _changed("Host: localhost", "Host: [::1]:8443"),
            _changed("Upgrade: websocket", "Upgrade: WebSocket"),
            _changed("Connection: Upgrade", "Connection: keep-alive , UPGRADE"),
            upgrade('X-Anything: \x7e()<>@,;:\\"/[]?={} at all', "empty:"),
        ]
        for request in requests:
            self.assertEqual(usual_upgrade(request), Upgrade(_KEY.encode(), ("mles-websocket",), None), request)

    def test_protocols(self) -> None:
        """What is offered comes out in its order; nothing at all is one empty name."""
        for offered, protocols in (
            (None, ("",)),
            ("", ("",)),
            ("a", ("a",)),
            ("b,a , mles-websocket", ("b", "a", "mles-websocket")),
            ("MLES-WEBSOCKET", ("MLES-WEBSOCKET",)),
        ):
            self.assertEqual(usual_upgrade(upgrade(protocol=offered)), Upgrade(_KEY.encode(), protocols, None), offered)

    def test_origins(self) -> None:
        """An origin comes out as it stands there, whatever it is."""
        for origin in ("null", "file://", "http://[", "", "https://a b"):
            self.assertEqual(
                usual_upgrade(upgrade(f"Origin:  {origin} ")), Upgrade(_KEY.encode(), ("mles-websocket",), origin)
            )


class RememberedTests(SynchronousTestCase):
    """Heads that differ from others in their key alone."""

    def test_keys(self) -> None:
        """Each has its own key, wherever that stands."""
        for request in (upgrade(), _BROWSER):
            for key in (b"A" * 22 + b"==", b"+/" * 11 + b"=="):
                found = usual_upgrade(request.replace(_KEY.encode(), key))
                assert found is not None
                self.assertEqual((found.key, found.protocols[-1]), (key, "mles-websocket"))

    def test_unusual(self) -> None:
        """One that is not usual takes no other's place, with whatever key."""
        for request in (
            upgrade(f"Sec-WebSocket-Key: {_KEY}"),
            upgrade(f"sec-websocket-key: {_KEY}"),
            upgrade("X: \0"),
            upgrade().replace(b"\r\n\r\n", b"\r\n") + f"X: y\r\n\r\nSec-WebSocket-Key: {_KEY}\r\n\r\n".encode(),
            f"Sec-WebSocket-Key: {_KEY}\r\n".encode() + upgrade(),
        ):
            for key in (_KEY, _KEY.swapcase()):
                self.assertIsNone(usual_upgrade(request.replace(_KEY.encode(), key.encode())))

    def test_long(self) -> None:
        """A very long one is understood as well, and not remembered."""
        request = upgrade("Cookie: " + "x" * 8000)
        self.assertIsNotNone(usual_upgrade(request))
        self.assertEqual(usual_upgrade(request), any_usual_upgrade(request))


class UnusualTests(SynchronousTestCase):
    """What is left to Autobahn."""

    def test_table(self) -> None:
        """Each thing that is not usual, alone."""
        table = {
            "nothing": b"",
            "the head is not whole": upgrade()[:-1],
            "something follows it": upgrade() + b"\x81",
            "no headers": b"GET / HTTP/1.1\r\n\r\n",
            "another method": _changed("GET /", "POST /"),
            "a method in small letters": _changed("GET /", "get /"),
            "HTTP/1.0": _changed("HTTP/1.1", "HTTP/1.0"),
            "HTTP/2": _changed("HTTP/1.1", "HTTP/2"),
            "an absolute target": upgrade(path="http://localhost/"),
            "a target without a slash": upgrade(path="x"),
            "the target of OPTIONS": upgrade(path="*"),
            "a fragment": upgrade(path="/x#y"),
            "an empty fragment": upgrade(path="/x#"),
            "a space in the target": upgrade(path="/x y"),
            "a second space": upgrade(path=" /"),
            "a control character in the target": upgrade(path="/\x01"),
            "a byte beyond ASCII in the target": upgrade(path="/\xe4"),
            "DEL in the target": upgrade(path="/\x7f"),
            **{f"{sign} in the target": upgrade(path=f"/{sign}") for sign in '"<>[\\]^`{|}'},
            "two slashes": upgrade(path="//"),
            "a header without a colon": upgrade("X"),
            "a header without a name": upgrade(": x"),
            "a space before a colon": _changed("Host:", "Host :"),
            "a continued line": upgrade("X: a", " b"),
            "a tab in a value": upgrade("X: a\tb"),
            "a control character in a value": upgrade("X: a\x0bb"),
            "NUL in a value": upgrade("X: \0"),
            "a byte beyond ASCII in a value": upgrade("X: \x85"),
            "a line feed alone": upgrade("X: a\nY: b"),
            "a carriage return alone": upgrade("X: a\rY: b"),
            "lines that end in LF": upgrade().replace(b"\r\n", b"\n"),
            "a header twice": upgrade("X: a", "X: a"),
            "a header twice, in other letters": upgrade("X: a", "x: b"),
            "Host twice": upgrade("Host: localhost"),
            "Origin twice": upgrade("Origin: null", "origin: null"),
            "no Host": _changed("Host: localhost\r\n", ""),
            "an empty Host": _changed("Host: localhost", "Host:"),
            "a port that is no number": _changed("Host: localhost", "Host: localhost:https"),
            "a port that is empty": _changed("Host: localhost", "Host: localhost:"),
            "a negative port": _changed("Host: localhost", "Host: localhost:-1"),
            "a port with an underscore": _changed("Host: localhost", "Host: localhost:4_4"),
            "two ports": _changed("Host: localhost", "Host: localhost:1:2"),
            "no Upgrade": _changed("Upgrade: websocket\r\n", ""),
            "another Upgrade": _changed("Upgrade: websocket", "Upgrade: h2c"),
            "several Upgrades": _changed("Upgrade: websocket", "Upgrade: h2c, websocket"),
            "no Connection": _changed("Connection: Upgrade\r\n", ""),
            "another Connection": _changed("Connection: Upgrade", "Connection: keep-alive"),
            "a Connection that looks like it": _changed("Connection: Upgrade", "Connection: upgrades"),
            "no version": _changed("Sec-WebSocket-Version: 13\r\n", ""),
            "an old version": _changed("Version: 13", "Version: 8"),
            "a list of versions": _changed("Version: 13", "Version: 13, 8"),
            "a version with a sign": _changed("Version: 13", "Version: +13"),
            "a version with a zero": _changed("Version: 13", "Version: 013"),
            "no key": _changed(f"Sec-WebSocket-Key: {_KEY}\r\n", ""),
            "a key that is too short": _changed(_KEY, _KEY[1:]),
            "a key that is too long": _changed(_KEY, "A" + _KEY),
            "a key with one equals sign": _changed(_KEY, _KEY[:-2] + "A="),
            "a key with a letter behind its equals sign": _changed(_KEY, _KEY[:-1] + "A"),
            "a key with another letter": _changed(_KEY, "-" + _KEY[1:]),
            "a key with a space": _changed(_KEY, _KEY[:3] + " " + _KEY[4:]),
            "a port of six digits": _changed("Host: localhost", "Host: localhost:000443"),
            "another extension": upgrade("Sec-WebSocket-Extensions: x-webkit-deflate-frame"),
            "two offers of compression": upgrade(
                "Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate; x=y"
            ),
            "a protocol twice": upgrade(protocol="mles-websocket, mles-websocket"),
        }
        for name, request in table.items():
            self.assertIsNone(usual_upgrade(request), name)

    def test_refused_by_autobahn(self) -> None:
        """What looks usual, but is refused for reasons that are found deeper, does not take the short cut."""
        table = {
            "a target that is no URL": upgrade(path="//["),
            "a target with half an address": upgrade(path="//[::1/"),
            "a target with an address that is none": upgrade(path="//[x]/"),
            "a port of 5,000 digits": _changed("Host: localhost", "Host: localhost:" + "1" * 5000),
            "compression with an unknown parameter": upgrade("Sec-WebSocket-Extensions: permessage-deflate; x"),
            "compression with a bad window": upgrade(
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99"
            ),
            "another compression": upgrade("Sec-WebSocket-Extensions: permessage-bzip2; server_max_compress_level=x"),
        }
        taken = [name for name, request in table.items() if usual_upgrade(request) is not None]
        self.assertEqual(taken, [])


# -- comparison with Autobahn

_VALUES: dict[str, tuple[str, ...]] = {
    "Host": (
        "localhost:80",
        "[::1]",
        "[::1]:1",
        "a:",
        "a:b",
        ":1",
        "a:1:2",
        "a:+1",
        "a: 1",
        "[",
        "[]",
        "a]",
        "a b",
        "",
    ),
    "Upgrade": ("WebSocket", "websocket,", "h2c, websocket", "websockets", ""),
    "Connection": ("upgrade", "keep-alive, Upgrade", "Upgrade,", ",Upgrade", "Upgrades", "close", ""),
    "Sec-WebSocket-Key": (
        _KEY[::-1],
        _KEY[:-1],
        _KEY[:-1] + "A",
        _KEY + "=",
        "=" * 24,
        "A" * 22 + "==",
        "\xe4" + _KEY[1:],
        "",
    ),
    "Sec-WebSocket-Version": ("8", "14", "013", "+13", "1_3", "13,8", "13.0", "x", ""),
    "Sec-WebSocket-Protocol": (
        *("mles-websocket,chat", "chat , mles-websocket", "chat", "mles-websocket,mles-websocket"),
        *("Mles-WebSocket", ",mles-websocket,", "mles-websocket;x", "chat,", ""),
    ),
    "Origin": (
        "null",
        "file://",
        "app://",
        "http://localhost:1",
        "http://127.0.0.1",
        "https://evil.example",
        "http://[",
        "",
    ),
    "Sec-WebSocket-Extensions": (
        *(
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "x-webkit-deflate-frame",
            "foo; bar=1",
            "",
        ),
        *("permessage-deflate; server_max_window_bits=99", "permessage-deflate; x=y", "permessage-deflate; x"),
        *("permessage-deflate; client_max_window_bits; client_max_window_bits", "permessage-snappy; a", ";", ",,="),
    ),
}

_PATHS = (
    *(
        "/",
        "/chat",
        "/a?b=c&b=%ff&=",
        "/?",
        "/;x",
        "/%",
        "/%zz",
        "//",
        "//host/x",
        "//host:port",
        "//a@b:99999/",
        "/a//b",
    ),
    *(
        "//[",
        "//[]",
        "//[::1]",
        "//[::1",
        "//]",
        "//[x]",
        "/[",
        "/x#y",
        "/#",
        "http://localhost/",
        "*",
        "",
        "/a b",
        "/\xe4",
    ),
    *("/\x01", "/\x85", "/\xa0", "/?\x7f", "/..", "\\", "/\\"),
)

_EXTRA = st.sampled_from(
    (
        *("Cookie: a=b", "X-Forwarded-For: 1.2.3.4", "X:", "X", ":", " x: y", "X : y", "X: \x0b", "X: \x1c", "X: \x85"),
        *(
            "X: a\x0cUpgrade: h2c",
            "Origin : http://evil",
            "\xe4: x",
            "Sec-WebSocket-Origin: null",
            "Expect: 100-continue",
        ),
        *("Content-Length: 3", "Transfer-Encoding: chunked", "X: a\nY: b", "X: a\rHost: b", "Host\t: x"),
    )
)


@st.composite
def _heads(draw: st.DrawFn) -> bytes:
    """Heads that are good but for a thing or two."""

    def seldom() -> bool:
        return draw(st.integers(0, 24)) == 24

    fields = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": _KEY,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "mles-websocket",
    }
    if draw(st.booleans()):
        fields["Origin"] = "http://localhost"
    if draw(st.booleans()):
        fields["Sec-WebSocket-Extensions"] = "permessage-deflate; client_max_window_bits"
    lines = []
    for name, usual in fields.items():
        value = draw(st.sampled_from(_VALUES[name])) if seldom() else usual
        space = draw(st.sampled_from((" ", " ", "", "  ")))
        line = f"{draw(st.sampled_from((name, name.lower(), name.upper())))}:{space}{value}"
        if seldom():
            line += draw(st.sampled_from((" ", "\t", ",", "\x0b", "\xa0")))
        if not (seldom() and seldom()):
            lines.append(line)
        if seldom() and seldom():
            lines.append(draw(st.sampled_from((line, f"{name}: x"))))
    if seldom():
        lines.append(draw(_EXTRA))
    if draw(st.booleans()):
        lines = draw(st.permutations(lines))
    path = draw(st.sampled_from(_PATHS)) if draw(st.integers(0, 3)) == 0 else "/"
    version = (
        draw(st.sampled_from(("HTTP/1.0", "HTTP/1.1 ", "http/1.1", "HTTP/2"))) if seldom() and seldom() else "HTTP/1.1"
    )
    method = draw(st.sampled_from(("POST", "get", " GET", "GET "))) if seldom() and seldom() else "GET"
    head = bytearray("\r\n".join((f"{method} {path} {version}", *lines, "\r\n")).encode("latin-1"))
    if seldom():
        head[draw(st.integers(0, len(head) - 5))] = draw(st.integers(0, 255))
    return bytes(head)


class SameAnswerTests(SynchronousTestCase):
    """The short cut changes nothing but the time it takes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = ChannelRegistry(self.clock, MemoryHistory(self.clock, limit=200))
        self.factory = MlesFactory(self.clock, self.registry, Settings(origin_allowed=pages_of_this_machine))

    def outcome(self, head: bytes) -> tuple[object, ...]:
        """What a client gets for a request and for what it says behind it, and what its connection knows by then."""
        connection = self.factory.buildProtocol(None)
        assert isinstance(connection, MlesConnection)
        wire = FakeTransport(connection)
        wire.receive(head)
        self.clock.advance(0)
        found: list[object] = [wire.taken(), wire.finished, wire.aborted]
        found += [connection.data, connection.state, connection.failedByMe, connection.wasClean]
        if connection.state == connection.STATE_OPEN:
            found += [connection.websocket_version, connection.websocket_protocol_in_use]
            found += [connection.websocket_extensions_in_use, connection._perMessageCompress]
            found += [connection.current_frame, connection.inside_message, connection.websocket_protocols]
            kept = ("http_request_data", "http_headers", "http_response_data", "_transport_details")
            found += [getattr(connection, name, None) for name in kept]
        if not wire.finished:
            wire.receive(client_frame(9, b"x") + header("alice", history=0))
            wire.receive(client_frame(1, b"hello") + client_frame(8, b"\x03\xe8"))
            self.clock.advance(0)
            found += [wire.taken(), wire.finished, wire.aborted, connection.channel is None]
        wire.hang_up()
        self.clock.advance(0)
        self.registry.flush()
        return tuple(found)

    def compare(self, head: bytes) -> None:
        """With and without the short cut."""
        short = self.outcome(head)
        patcher = self.patch(module, "usual_upgrade", lambda head: None)
        try:
            self.assertEqual(short, self.outcome(head), head)
        finally:
            patcher.restore()

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(400))
    @given(head=_heads())
    def test_any_head(self, head: bytes) -> None:
        """Whatever a client asks for, it gets the answer it always got, and the connection is the same from then on."""
        self.compare(head)

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(400))
    @given(head=_heads())
    def test_remembered(self, head: bytes) -> None:
        """It makes no difference what others have asked for before."""
        self.assertEqual(usual_upgrade(head), any_usual_upgrade(head))

    def test_each_value(self) -> None:
        """The same for each unusual value, path and header alone."""
        heads = [upgrade(path=path) for path in _PATHS]
        for name, values in _VALUES.items():
            for value in values:
                lines = [line for line in upgrade().decode().split("\r\n")[:-2] if not line.startswith(f"{name}:")]
                heads.append("\r\n".join((*lines, f"{name}: {value}", "\r\n")).encode("latin-1"))
        for head in heads:
            self.compare(head)

    def test_in_pieces(self) -> None:
        """A request that comes in two pieces, or with a message behind it, is answered the same."""
        for head in (upgrade(), _BROWSER.replace(b"https://mles.example:8443", b"null")):
            self.assertIsNotNone(usual_upgrade(head))
            whole = self.connect()
            whole.receive(head)
            answer = whole.taken()
            self.assertTrue(answer.startswith(b"HTTP/1.1 101 "), answer)
            for at in (1, len(head) // 2, len(head) - 1):
                wire = self.connect()
                wire.receive(head[:at])
                self.assertEqual(wire.taken(), b"")
                wire.receive(head[at:])
                self.assertEqual(wire.taken(), answer, f"{at=}")
            wire = self.connect()
            wire.receive(head + client_frame(9, b"x"))
            self.assertEqual(wire.taken(), answer + b"\x8a\x01x")

    def test_taken(self) -> None:
        """A browser and a plain client do take it: Autobahn's own reading of heads is not needed for them."""

        def unwanted(data: bytes) -> None:
            raise AssertionError(data)

        self.patch(websocket_protocol, "parseHttpHeader", unwanted)
        for head in (upgrade(), _BROWSER.replace(b"https://mles.example:8443", b"null")):
            wire = self.connect()
            wire.receive(head)
            self.assertTrue(wire.taken().startswith(b"HTTP/1.1 101 "))

    def connect(self) -> FakeTransport:
        """A connection that has not asked for anything."""
        connection = self.factory.buildProtocol(None)
        assert isinstance(connection, MlesConnection)
        return FakeTransport(connection)


class RefusingTests(SynchronousTestCase):
    """The answer that refuses."""

    def test_answer(self) -> None:
        """It says why, for people, and that the connection ends."""
        self.assertEqual(
            refusing(426, "Not this one.", [("Sec-WebSocket-Version", 13)]),
            b"HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 14\r\n"
            b"Connection: close\r\nSec-WebSocket-Version: 13\r\n\r\nNot this one.\n",
        )
        self.assertTrue(refusing(499, "No.").startswith(b"HTTP/1.1 499 Refused\r\n"))
