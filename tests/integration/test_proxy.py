"""The reverse proxy, between real clients (curl, websockets, bare sockets) and real upstreams."""

import asyncio
import atexit
import contextlib
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import client_close_frame
from mles_tx.web.pool import MAX_IDLE

from .clients import Answer, RawClient
from .parts import debian_program
from .processes import WAIT, Process, Server, server_environ
from .support import LOCAL, SECURE, Contract, IntegrationTestCase, build_directory

#: What a big body is, and what of it may be in the server at one time.
BIG = 50 * 1024 * 1024
MAX_GROWTH = 24 * 1024 * 1024

HERE = Path(__file__).parent


class Upstream(Process):
    """A program of the tests that prints its port."""

    def __init__(self, name: str) -> None:
        super().__init__((sys.executable, str(HERE / name)), HERE, server_environ(build_directory()))
        try:
            self.port = int(self.expect(r"^port (\d+)$")[1])
        except BaseException:
            self.stop()
            raise


@cache
def shared_upstream(name: str) -> Upstream:
    """An upstream for all tests."""
    upstream = Upstream(name)
    atexit.register(upstream.stop)
    return upstream


@cache
def big_file() -> Path:
    """A file that is too big to be held anywhere."""
    directory = TemporaryDirectory(prefix="mles-tx-big-")
    atexit.register(directory.cleanup)
    path = Path(directory.name) / "big"
    line = hashlib.sha512(b"big").digest()
    with path.open("wb") as file:
        for number in range(BIG // 2**20):
            file.write((number.to_bytes(8, "big") + line)[:64] * (2**20 // 64))
    return path


def curl_program() -> Path:
    return debian_program("curl", "curl")


class ProxyContract(Contract):
    """Requests to a server that passes some of them on."""

    command: tuple[str, ...]
    scheme: str

    def setUp(self) -> None:
        super().setUp()
        self.upstream = shared_upstream("upstream.py")
        self.websocket = shared_upstream("websocket_upstream.py")
        url = f"http://127.0.0.1:{self.upstream.port}"
        self.server = self.shared_server(
            (
                *self.command,
                *(
                    "--proxy",
                    f"/api={url}",
                    "--proxy",
                    f"/v={url}/api",
                    "--proxy",
                    f"/name=http://localhost:{self.upstream.port}",
                ),
                *("--proxy", f"/ws=http://127.0.0.1:{self.websocket.port}"),
            )
        )
        self.url = f"{self.scheme}://localhost:{self.server.port}"

    def curl(self, *arguments: str, code: int = 0) -> bytes:
        """What curl gets; it has to end with this exit code."""
        command = [str(curl_program()), "--silent", "--insecure", "--max-time", str(int(WAIT)), *arguments]
        ran = subprocess.run(command, capture_output=True, timeout=2 * WAIT)
        self.assertEqual(ran.returncode, code, f"{arguments}: {ran.stdout[:500]!r} {ran.stderr!r}")
        return ran.stdout

    def seen(self, *arguments: str, path: str = "/api/seen") -> dict[str, Any]:
        """What the upstream has seen of a request of curl's."""
        seen: dict[str, Any] = json.loads(self.curl(*arguments, self.url + path))
        return seen

    def headers(self, seen: dict[str, Any]) -> dict[str, str]:
        """The headers an upstream has seen; none may stand there twice."""
        names = [name.lower() for name, _ in seen["headers"]]
        self.assertEqual(len(names), len(set(names)), names)
        return {name.lower(): value for name, value in seen["headers"]}

    def test_request(self) -> None:
        """A request goes on with its method, path, query and headers, and says whom it comes from and how."""
        seen = self.seen(
            *("-X", "PROPFIND", "-H", "X-Own: kept", "-H", "Cookie: a=b", "-H", "X-Forwarded-For: 9.9.9.9"),
            *("-H", "X-Real-IP: 9.9.9.9", "-H", "Forwarded: for=9.9.9.9", "-H", "X_Forwarded_Proto: gopher"),
            *("-H", "Connection: X-Hop", "-H", "X-Hop: dropped", "-H", "TE: trailers", "-A", "test"),
            path="/api/seen?q=%20a&r",
        )
        self.assertEqual((seen["method"], seen["path"]), ("PROPFIND", "/api/seen?q=%20a&r"))
        host = f"localhost:{self.server.port}"
        self.assertEqual(
            self.headers(seen),
            {
                "host": host,
                "user-agent": "test",
                "accept": "*/*",
                "x-own": "kept",
                "cookie": "a=b",
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-proto": self.scheme,
                "x-forwarded-host": host,
            },
        )

    def test_prefix(self) -> None:
        """With a path behind the port the prefix is replaced by it; an upstream may have a name."""
        self.assertEqual(self.seen(path="/v/seen?x")["path"], "/api/seen?x")
        self.assertEqual(self.seen(path="/name/seen")["path"], "/name/seen")
        self.assertIn(b"nothing at this address", self.curl(self.url + "/apix/seen"))

    def test_upload(self) -> None:
        """50 MiB go up as they come, with a length and in chunks; the server holds little of them."""
        digest = hashlib.sha256(big_file().read_bytes()).hexdigest()
        before = self.server.resident_bytes
        for more in ((), ("-H", "Transfer-Encoding: chunked")):
            seen = self.seen("-T", str(big_file()), *more)
            self.assertEqual((seen["method"], seen["size"], seen["sha256"]), ("PUT", BIG, digest))
            framing = {"transfer-encoding": "chunked"} if more else {"content-length": str(BIG)}
            self.assertLessEqual(framing.items(), self.headers(seen).items())
        self.assertLess(self.server.resident_bytes - before, MAX_GROWTH)

    def test_download(self) -> None:
        """50 MiB come down, with a length, in chunks, and until the end of the connection."""
        before = self.server.resident_bytes
        for how in ("length", "chunked", "end"):
            for more in ((), ("--http1.0",)):
                self.assertEqual(len(self.curl(*more, f"{self.url}/api/big?{how}={BIG // 65536}")), BIG, how)
        self.assertLess(self.server.resident_bytes - before, MAX_GROWTH)

    def test_both_ways_at_once(self) -> None:
        """An upstream may answer while the request is still coming."""
        echoed = self.curl("-X", "POST", "-T", str(big_file()), self.url + "/api/echo")
        self.assertEqual(hashlib.sha256(echoed).digest(), hashlib.sha256(big_file().read_bytes()).digest())

    def test_broken_off(self) -> None:
        """An answer that breaks off breaks off for the client as well: it does not take the half for the whole."""
        for how in ("length-fin", "length-rst", "chunked-fin", "chunked-rst"):
            ran = subprocess.run(
                [str(curl_program()), "-sk", "--max-time", "20", "-o", "/dev/null", f"{self.url}/api/part?{how}"]
            )
            self.assertIn(ran.returncode, (18, 56), how)
        self.assertEqual(self.seen()["method"], "GET")

    def test_websocket(self) -> None:
        """A WebSocket goes to the upstream: text, bytes, large messages, close codes and refusals."""
        trust = self.server.trust()
        url = self.url.replace("http", "ws", 1) + "/ws/chat?room=1"

        async def talk() -> None:
            async with connect(url, ssl=trust, max_size=None, open_timeout=WAIT) as link:
                path, host, client = str(await link.recv()).split()
                self.assertEqual(
                    (path, host, client), ("/ws/chat?room=1", f"localhost:{self.server.port}", "127.0.0.1")
                )
                for message in ("hello", b"bytes", b"x" * 2**22, ""):
                    await link.send(message)
                    self.assertEqual(await link.recv(), message)
                await link.send("close")
                with self.assertRaises(ConnectionClosed) as closed:
                    await link.recv()
                assert closed.exception.rcvd is not None
                self.assertEqual((closed.exception.rcvd.code, closed.exception.rcvd.reason), (4001, "as you like"))
            async with connect(url, ssl=trust, open_timeout=WAIT) as link:
                await link.recv()
                await link.send("drop")
                with self.assertRaises(ConnectionClosed) as closed:
                    await link.recv()
                self.assertIsNone(closed.exception.rcvd)
            with self.assertRaises(InvalidStatus) as refused:
                await connect(url.replace("chat", "refused"), ssl=trust, open_timeout=WAIT)
            self.assertEqual(refused.exception.response.status_code, 403)
            self.assertEqual(refused.exception.response.body, b"not here\n")

        asyncio.run(asyncio.wait_for(talk(), WAIT))
        self.assert_healthy(self.server)  # and everywhere else it is Mles

    def test_end_of_websocket(self) -> None:
        """A client that vanishes from a WebSocket is gone for the upstream too, and leaves nothing open."""
        client = self.raw(self.server)
        self.assertEqual(client.request(path="/").status, 200)
        self.assertEqual(client.upgrade(path="/ws/x").status, 101)
        self.assertEqual(client.read_frame()[0], 1)
        client.reset()
        self.assertEqual(self.raw(self.server).upgrade(path="/ws/x").status, 101)
        self.assert_no_faults(self.server)


class PlainProxyTests(ProxyContract, IntegrationTestCase):
    """Over http, in the local mode; and what does not depend on TLS."""

    command = LOCAL
    scheme = "http"

    def ask(self, request: bytes) -> Answer:
        """The answer to a request as it is written."""
        client = self.raw(self.server)
        client.send(request)
        return client.read_answer()

    def test_other_paths(self) -> None:
        """All other paths are as before: no body is taken, and unknown hosts get 404, on proxied paths too."""
        for path, method, host, body, status in (
            ("/", "GET", None, b"", 200),
            ("/", "POST", None, b"x", 413),
            ("/apix", "POST", None, b"x", 413),
            ("/api/seen", "GET", "elsewhere.example", b"", 404),
            ("/api/seen", "POST", "elsewhere.example", b"x", 404),
            ("/api/seen", "GET", "a b", b"", 400),
            ("/api/../other", "GET", None, b"", 400),
            ("/api/%2E%2e/other", "GET", None, b"", 400),
            ("/api/..%5cother", "GET", None, b"", 400),
        ):
            answer = self.raw(self.server).request(method, path, host, body)
            self.assertEqual(answer.status, status, (path, method, host))
        self.assertNotIn("other", self.upstream.output)

    def test_answers(self) -> None:
        """Status, reason, cookies and validators come back; what concerns one connection alone does not."""
        client = self.raw(self.server)
        answer = client.request(path="/api/cookies")
        self.assertEqual((answer.status, answer.body), (418, b"cookies"))
        self.assertEqual(re.findall(r"^Set-Cookie: (.*)\r$", answer.head, re.MULTILINE), ["a=1", "b=2"])
        for name in ("Keep-Alive", "Connection", "X-Private", "Proxy-Authenticate"):
            self.assertIsNone(answer.header(name), name)
        self.assertEqual(client.request("HEAD", "/api/cookies").header("Content-Length"), "7")
        for status in (204, 304, 404, 201):
            answer = client.request(path=f"/api/status?{status}")
            self.assertEqual((answer.status, answer.header("ETag")), (status, '"v1"'))
        self.assertEqual(client.request(path="/").status, 200)

    def test_pipelined(self) -> None:
        """Requests that come together are answered in order, whoever answers them."""
        client = self.raw(self.server)
        get = "GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n"
        paths = ("/api/status?201", "/", "/api/status?204", "/api/status?202", "/none")
        post = get.replace("GET", "POST").format("/api/seen", "Content-Length: 5\r\n") + "hello"
        client.send(("".join(get.format(path, "") for path in paths) + post + get.format("/", "")).encode())
        self.assertEqual([client.read_answer().status for _ in range(7)], [201, 200, 204, 202, 404, 200, 200])

    def test_expect(self) -> None:
        """A client that asks before it sends is answered by the upstream, or by us when that does not know how."""
        seen = self.seen("-H", "Expect: 100-continue", "-d", "hello")
        self.assertEqual((seen["size"], self.headers(seen)["expect"]), (5, "100-continue"))
        client = self.raw(self.server)
        client.send(b"POST /api/seen HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(client.read_answer().status, 100)
        client.send(b"hi")
        self.assertEqual(json.loads(client.read_answer().body)["size"], 2)

    def test_smuggling(self) -> None:
        """What two programs could understand in two ways is refused, and nothing of it reaches the upstream."""
        head = b"POST /api/smuggled HTTP/1.1\r\nHost: localhost\r\n"
        for rest in (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            b"Content-Length: 5, 5\r\n\r\nhello",
            b"Content-Length: 5\r\nContent_Length: 7\r\n\r\nhello",
            b"Content-Length: +5\r\n\r\nhello",
            b"Content-Length: -1\r\n\r\n",
            b"Content-Length: 0x5\r\n\r\nhello",
            b"Content-Length : 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n",
            b"X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"X: a\n\nGET /api/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"X: a\x00b\r\n\r\n",
            b"X y: a\r\n\r\n",
            b"Host: localhost\r\n\r\n",
        ):
            answer = self.ask(head + rest)
            self.assertIn(answer.status, (400, 501), rest)
        for request in (
            head.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            head.replace(b"1.1", b"2.0") + b"\r\n",
            head.replace(b"POST", b"CONNECT") + b"\r\n",
            head.replace(b"/api", b"http://localhost/api") + b"\r\n",
            head.replace(b"smuggled ", b"smuggled\x01 ") + b"\r\n",
            head.replace(b"smuggled ", b"smuggled#x ") + b"\r\n",
            head.replace(b"smuggled ", "smuggl\u00e9d ".encode()) + b"\r\n",
        ):
            self.assertEqual(self.ask(request).status, 400, request)
        self.assertNotIn("smuggled", self.upstream.output)
        self.assert_no_faults(self.server)

    def test_bad_chunks(self) -> None:
        """A body in bad chunks ends the request: the upstream never takes what came for the whole."""
        for body in (
            b"5\r\nhelloXX\r\n0\r\n\r\n",
            b"-5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"fffffffffffffffffffff\r\n",
            b"5;" + b"x" * 20_000,
            b"0\r\nX: " + b"x" * 20_000,
        ):
            answer = self.ask(
                b"POST /api/seen?bad HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body
            )
            self.assertIn(answer.status, (400, 431), body[:30])
        self.assert_no_faults(self.server)

    def test_slow_reader(self) -> None:
        """A client that does not read holds up its own answer, and fills nobody's memory."""
        before = self.server.resident_bytes
        client = self.raw(self.server, receive_buffer=4096)
        client.send(f"GET /api/big?length={BIG // 65536} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.assertEqual(client.read_answer(has_body=False).status, 200)
        for _ in range(50):  # others are served meanwhile
            self.assertEqual(self.raw(self.server).request(path="/api/status?201").status, 201)
        self.assertLess(self.server.resident_bytes - before, MAX_GROWTH)
        received = 0
        while received < BIG:
            received += len(client.read_some())
        self.assertEqual(received, BIG)

    def test_slow_upstream(self) -> None:
        """An upstream that does not read holds up the client's body, and fills nobody's memory."""
        upstream = Upstream("upstream.py")
        self.addCleanup(upstream.stop)
        server = self.start_server(*LOCAL, "--proxy", f"/api=http://127.0.0.1:{upstream.port}")
        before = server.resident_bytes
        client = self.raw(server)
        client.send(f"PUT /api/deaf HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BIG}\r\n\r\n".encode())
        upstream.expect("^deaf$")
        body = memoryview(big_file().read_bytes())
        client.socket.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < BIG:
                sent += client.socket.send(body[sent : sent + 65536])
        self.assertLess(sent, BIG)
        self.assertLess(server.resident_bytes - before, MAX_GROWTH)
        client.socket.settimeout(WAIT)
        upstream.write_line("go on")
        client.socket.sendall(body[sent:])
        self.assertEqual(json.loads(client.read_answer().body)["size"], BIG)

    def test_upstream_is_absent(self) -> None:
        """Nobody answers there: 502 with a plain page, and one line in the log that says who, however many ask."""
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))  # and does not listen
            port = reserved.getsockname()[1]
            server = self.start_server(*LOCAL, "--proxy", f"/api=http://127.0.0.1:{port}")
            client = self.raw(server)
            for _ in range(20):
                answer = client.request(path="/api/secret-path?secret-query")
                self.assertEqual((answer.status, answer.header("Content-Type")), (502, "text/plain; charset=utf-8"))
            answer = client.request("POST", "/api/x", body=b"x" * 100)
            self.assertEqual((answer.status, answer.header("Connection")), (502, "close"))
            self.assertEqual(self.raw(server).upgrade(path="/api/x").status, 502)
            self.assertEqual(self.raw(server).request(path="/").status, 200)
        server.expect(f"proxy: http://127.0.0.1:{port} did not accept a connection")
        self.assertEqual(server.output.count("did not accept"), 1)
        self.assertNotIn("secret", server.output)

    def test_upstream_fails(self) -> None:
        """It breaks off before its head, or says something that is no HTTP: 502."""
        for path in ("/api/close", "/api/nonsense"):
            self.assertEqual(self.raw(self.server).request(path=path).status, 502)
            self.assertEqual(self.raw(self.server).request("POST", path, body=b"x").status, 502)

    def test_upstream_is_killed(self) -> None:
        """It dies in the middle of an answer: the client is told by the end, and it may come back."""
        upstream = Upstream("upstream.py")
        self.addCleanup(upstream.stop)
        server = self.start_server(*LOCAL, "--proxy", f"/api=http://127.0.0.1:{upstream.port}")
        client = self.raw(server)
        with self.assertRaises((ConnectionResetError, AssertionError)):
            answer = client.request(path="/api/part?length-die")
            self.assertEqual(len(answer.body), 2 * 65536, "the answer is not whole")
        self.assertEqual(self.raw(server).request(path="/api/seen").status, 502)

    def test_connections_are_used_again(self) -> None:
        """Requests share connections to an upstream; one that it has closed meanwhile troubles nobody."""
        upstream = Upstream("upstream.py")
        self.addCleanup(upstream.stop)
        server = self.start_server(*LOCAL, "--proxy", f"/api=http://127.0.0.1:{upstream.port}")
        served = [json.loads(self.raw(server).request(path="/api/seen").body)["served"] for _ in range(3)]
        self.assertEqual(served, [1, 2, 3])
        self.assertEqual(json.loads(self.raw(server).request("POST", "/api/seen", body=b"x").body)["served"], 1)
        for _ in range(20):
            self.assertEqual(self.raw(server).request(path="/api/once").body, b"once")
            self.assertEqual(self.raw(server).request("POST", "/api/once", body=b"x").body, b"once")

    def listener(self) -> tuple[socket.socket, Server]:
        """An upstream played by the test itself, and a server in front of it."""
        listening = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        listening.settimeout(WAIT)
        return listening, self.start_server(*LOCAL, "--proxy", f"/raw=http://127.0.0.1:{listening.getsockname()[1]}")

    def switched(self, listening: socket.socket, server: Server) -> tuple[RawClient, socket.socket]:
        """A client and an upstream that have switched to WebSocket."""
        client = self.raw(server)
        client.send(client.upgrade_request(path="/raw"))
        upstream, _ = listening.accept()
        self.enterContext(upstream)
        upstream.settimeout(WAIT)
        self.assertTrue(upstream.recv(65536).startswith(b"GET /raw HTTP/1.1\r\n"))
        upstream.sendall(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello")
        self.assertEqual(client.read_answer().status, 101)
        self.assertEqual(client.read_frame(), (1, b"hello"))
        return client, upstream

    def read_all(self, connected: socket.socket) -> bytes:
        """Everything up to the end."""
        return b"".join(iter(lambda: connected.recv(65536), b""))

    def test_half_close(self) -> None:
        """Each direction of a WebSocket has its own end, and what was said before it arrives."""
        listening, server = self.listener()
        client, upstream = self.switched(listening, server)
        client.send(b"x" * 2**20)
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(len(self.read_all(upstream)), 2**20)
        upstream.sendall(b"y" * 2**20)
        upstream.shutdown(socket.SHUT_WR)
        self.assertEqual(len(self.read_all(client.socket)), 2**20)
        client, upstream = self.switched(listening, server)
        upstream.sendall(b"y" * 2**20)
        upstream.shutdown(socket.SHUT_WR)
        self.assertEqual(len(self.read_all(client.socket)), 2**20)
        client.send(b"x" * 2**20)
        client.close()
        self.assertEqual(len(self.read_all(upstream)), 2**20)
        self.assert_no_faults(server)

    def test_side_of_websocket_that_does_not_read(self) -> None:
        """Whichever side of a WebSocket does not read, the other one is held up, and nobody's memory is filled."""
        listening, server = self.listener()
        client, upstream = self.switched(listening, server)
        before = server.resident_bytes
        for sender, reader in ((client.socket, upstream), (upstream, client.socket)):
            sent = 0
            sender.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                while sent < BIG:
                    sent += sender.send(b"x" * 65536)
            self.assertLess(sent, BIG)
            self.assertLess(server.resident_bytes - before, MAX_GROWTH)
            while sent:
                sent -= len(reader.recv(65536))

    def test_end_of_server(self) -> None:
        """A server that ends finishes answers, tells both sides of a WebSocket, and waits for nobody else."""
        listening, server = self.listener()
        client, upstream = self.switched(listening, server)
        self.assertEqual(self.raw(server).request(path="/").status, 200)
        asking = self.raw(server)
        asking.send(b"GET /raw/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answering, _ = listening.accept()
        self.enterContext(answering)
        answering.recv(65536)
        server.signal(signal.SIGTERM)
        self.assertEqual(client.read_close(), (1001, "server is stopping"))
        self.assertEqual(client.read_some(), b"", "an end: whoever is cut off after the grace gets a reset")
        self.assertEqual(self.read_all(upstream), client_close_frame(CloseReason.SERVER_STOPPING))
        client.close()
        answering.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        self.assertEqual(asking.read_answer().body, b"done")
        self.assertEqual(server.wait(), 0)
        self.assert_no_faults(server)

    def test_clients_that_break_off(self) -> None:
        """Clients that break off at any moment, and in any way, leave no connection and no fault."""
        upstream = Upstream("upstream.py")
        self.addCleanup(upstream.stop)
        server = self.start_server(*LOCAL, "--proxy", f"/api=http://127.0.0.1:{upstream.port}")
        descriptors = Path(f"/proc/{server.pid}/fd")
        self.assertEqual(self.raw(server).request(path="/api/seen").status, 200)
        before = len(list(descriptors.iterdir()))
        requests = (
            b"GET /api/big?chunked=100 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"PUT /api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 2_000_000,
            b"POST /api/seen HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            b"GET /api/silent HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
            b"PUT /api/silent HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        )
        halves = []
        for number in range(100):
            client = self.raw(server)
            request = requests[number % len(requests)]
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.socket.send(request[: len(request) * (number + 1) // 100])
            if number % 3 == 0:
                client.reset()
            elif number % 3 == 1:
                client.close()
            else:
                client.socket.shutdown(socket.SHUT_WR)
                halves.append(client)
        for client in halves:
            client.close()
        other = self.raw(server)
        deadline = time.monotonic() + WAIT
        while len(list(descriptors.iterdir())) > before + MAX_IDLE and time.monotonic() < deadline:
            self.assertEqual(other.request(path="/api/status?201").status, 201)
        self.assertLessEqual(len(list(descriptors.iterdir())), before + MAX_IDLE)
        self.assertNotRegex(server.output, "Traceback|Unhandled|critical")

    def test_client_goes(self) -> None:
        """A client that goes while its answer is awaited takes its request along."""
        client = self.raw(self.server)
        client.send(b"GET /api/silent HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.upstream.expect("^waiting$")
        client.close()
        self.upstream.expect("^gone$")


class SecureProxyTests(ProxyContract, IntegrationTestCase):
    """Over https."""

    command = SECURE
    scheme = "https"
