"""The web side of the port, and which pages may use WebSocket from it: on real sockets."""

import ssl
from pathlib import Path

from mles_tx.service.pages import bundled_pages

from .clients import PING, PONG, TEXT, frame, join_frame
from .processes import Server
from .support import LOCAL, SECURE, Contract, IntegrationTestCase


class WebContract(Contract):
    """The bundled page and what is around it, whatever the scheme."""

    command: tuple[str, ...]

    @property
    def server(self) -> Server:
        return self.shared_server(self.command)

    def test_bundled_page(self) -> None:
        """The server's own address shows the bundled page."""
        page = (bundled_pages() / "index.html").read_bytes()
        for path in ("/", "/index.html", "/?query"):
            answer = self.raw(self.server).request(path=path)
            self.assertEqual(
                (answer.status, answer.header("Content-Type"), answer.body), (200, "text/html; charset=utf-8", page)
            )

    def test_head(self) -> None:
        """HEAD says what GET would, without the page; the connection can be used again."""
        client = self.raw(self.server)
        head = client.request("HEAD")
        get = client.request("GET")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.header("Content-Length"), str(len(get.body)))
        self.assertEqual(head.header("Content-Type"), get.header("Content-Type"))

    def test_unknown(self) -> None:
        """Paths and hosts that are not served get 404, hosts that are none 400; nothing of them is repeated."""
        for host, path, status in (
            (None, "/reflected", 404),
            ("reflected.example", "/", 404),
            ("localhost.reflected.example", "/", 404),
            ("reflected example", "/", 400),
            ("localhost:reflected", "/", 400),
        ):
            client = self.raw(self.server)
            answer = client.request(host=host, path=path)
            self.assertEqual(answer.status, status, f"{host} {path}")
            self.assertNotIn("reflected", answer.head + answer.body.decode())
            self.assertEqual(client.request().status, 200)

    def test_upgrade_on_used_connection(self) -> None:
        """A connection may carry requests first, and then be upgraded: proxies do that."""
        client = self.raw(self.server)
        self.assertEqual([client.request().status, client.request(path="/none").status], [200, 404])
        self.assertEqual(client.upgrade(path="/any/path").status, 101)
        client.send(frame(TEXT, join_frame("proxied", self.channel).encode()) + frame(PING, b"joined"))
        self.assertEqual(client.read_frame(), (PONG, b"joined"))
        bob = self.member(self.server, "bob", history=0)
        client.send(frame(TEXT, b"through a proxy"))
        self.assertEqual(bob.receive(), "through a proxy")

    def test_pipelined(self) -> None:
        """Requests that come without waiting for answers are answered in order, an upgrade behind them as well."""
        client = self.raw(self.server)
        get = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        joining = frame(TEXT, join_frame("alice", self.channel).encode()) + frame(PING, b"joined")
        client.send((get.format("/") + get.format("/none")).encode() + client.upgrade_request() + joining)
        self.assertEqual([client.read_answer().status for _ in range(3)], [200, 404, 101])
        self.assertEqual(client.read_frame(), (PONG, b"joined"))

    def test_head_in_pieces(self) -> None:
        """A request, and an upgrade, may come a byte at a time."""
        client = self.raw(self.server)
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n":
            client.send(bytes((byte,)))
        self.assertEqual(client.read_answer().status, 200)
        for byte in client.upgrade_request():
            client.send(bytes((byte,)))
        self.assertEqual(client.read_answer().status, 101)

    def test_body(self) -> None:
        """A request with a body is refused and its connection closed: nothing here takes one."""
        for method in ("POST", "PUT", "GET"):
            client = self.raw(self.server)
            answer = client.request(method, body=b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual((answer.status, answer.header("Connection")), (413, "close"), method)
            client.read_to_end()
        chunked = self.raw(self.server)
        chunked.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        self.assertEqual(chunked.read_answer().status, 413)
        chunked.read_to_end()
        self.assert_healthy(self.server)

    def test_method(self) -> None:
        """A method other than GET and HEAD is refused."""
        answer = self.raw(self.server).request("DELETE")
        self.assertEqual((answer.status, answer.header("Allow")), (405, "GET, HEAD"))

    def test_files_outside(self) -> None:
        """What is not below a site's own directory, or hidden there, is never served."""
        root = Path(self.mktemp()).absolute()
        site = root / "localhost"
        (site / "sub").mkdir(parents=True)
        (site / "page.txt").write_text("public")
        for hidden in (root / "secret.txt", site / ".secret.txt"):
            hidden.write_text("secret")
        (site / "link.txt").symlink_to(root / "secret.txt")
        server = self.start_server(*self.command, "--wwwroot", str(root))
        client = self.raw(server)
        self.assertEqual(client.request(path="/page.txt").body, b"public")
        for path in (
            "/../secret.txt",
            "/sub/../../secret.txt",
            "/%2e%2e/secret.txt",
            "/..%2fsecret.txt",
            "/%2e%2e%2fsecret.txt",
            "/..%5csecret.txt",
            "//../secret.txt",
            f"/{root}/secret.txt",
            f"/{str(root).replace('/', '%2f')}%2fsecret.txt",
            "/.secret.txt",
            "/%2esecret.txt",
            "/link.txt",
            "/page.txt%00.html",
            "/page.txt/",
            "/sub",
            "/sub/",
        ):
            answer = client.request(path=path)
            self.assertEqual(answer.status, 404, path)
            self.assertNotIn(b"secret", answer.body)
        self.assert_no_faults(server)


class PlainWebTests(WebContract, IntegrationTestCase):
    """Over http, in the local mode."""

    command = LOCAL

    def test_origins(self) -> None:
        """Pages of this machine and apps may connect to a local server; pages from elsewhere may not."""
        server = self.server
        for origin, status in (
            ("https://evil.example", 403),
            ("http://evil.example", 403),
            ("http://localhost.evil.example", 403),
            (f"http://192.0.2.1:{server.port}", 403),
            ("null", 101),
            ("file://", 101),
            (f"http://localhost:{server.port}", 101),
            (f"http://127.0.0.1:{server.port}", 101),
            (f"http://[::1]:{server.port}", 101),
            ("https://localhost", 101),
        ):
            client = self.raw(server)
            self.assertEqual(client.upgrade(f"Origin: {origin}").status, status, origin)
        self.assert_healthy(server)

    def test_two_origins(self) -> None:
        """A request cannot hide its origin behind another."""
        client = self.raw(self.server)
        self.assertEqual(client.upgrade("Origin: null", "Origin: https://evil.example").status, 400)


class SecureWebTests(WebContract, IntegrationTestCase):
    """Over https, under twistd."""

    command = SECURE

    def test_origins(self) -> None:
        """Pages from anywhere may connect to a public server."""
        for origin in ("https://elsewhere.example", "null", "file://", "https://localhost"):
            self.assertEqual(self.raw(self.server).upgrade(f"Origin: {origin}").status, 101, origin)

    def test_protocol_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken, nothing older; HTTP/2 is never chosen."""
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            context = self.server.trust()
            assert context is not None
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["h2", "http/1.1"])
            with context.wrap_socket(self.server.dial(), server_hostname="localhost") as wrapped:
                self.assertEqual((wrapped.version(), wrapped.selected_alpn_protocol()), (name, "http/1.1"))
        self.assert_healthy(self.server)
