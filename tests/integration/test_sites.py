"""The sites of several domains, as real clients see them: curl, wrk, Chromium, and whoever means ill."""

import contextlib
import gzip
import json
import os
import random
import re
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import brotli

from tests.web.sitefiles import SECRET, SiteFilesTestCase
from tests.web.test_files import NOT_SERVED

from .parts import debian_program, installed_program, shared_libraries
from .processes import WAIT, Server, server_environ
from .support import SECURE, IntegrationTestCase

#: Seconds for a browser to start on a busy machine, and to show a page.
_BROWSER_SECONDS = 120.0

SCRIPT = b"/* a comment that gets smaller */\n" * 500 + b'document.title = "the script has run";\n'

PAGE = b"""<!doctype html>
<title>not yet</title>
<script src="app.3f2a9c1b.js"></script>
<p id="result">nothing</p>
<script>
  fetch("data.json").then((answer) => answer.json()).then((data) => {
    document.getElementById("result").textContent =
      `${data.said}, isolated: ${crossOriginIsolated}, script: ${document.title}`;
  });
</script>
"""


class SitesTestCase(IntegrationTestCase):
    """A server with two domains, over TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.root = Path(self.enterContext(TemporaryDirectory(prefix="mles-tx-test-")))
        for name in ("localhost", "other.test"):
            self.write(f"{name}/index.html", f"<p>{name}".encode())

    def write(self, name: str, content: bytes) -> Path:
        """A file below the root of all sites, an hour old."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        hour = time.time() - 3600
        os.utime(path, (hour, hour))
        return path

    def serve(self, *options: str) -> Server:
        """The server."""
        return self.start_server(*SECURE, "--domains", "other.test", "--wwwroot", str(self.root), *options)


class CurlTests(SitesTestCase):
    """What curl gets."""

    def setUp(self) -> None:
        super().setUp()
        self.curl_program = debian_program("curl", "curl")
        self.text = b"".join(b"line %d of a text\n" % number for number in range(5000))
        self.write("localhost/page.txt", self.text)
        self.write("localhost/ready.css", b"plain")
        self.write("localhost/ready.css.br", brotli.compress(b"ready-made"))
        self.write("localhost/sub/index.html", b"<p>sub")
        self.write("localhost/404.html", b"<p>nothing of mine")
        self.write("localhost/large.bin", random.Random(1).randbytes(3_000_000))
        self.server = self.serve()

    def curl(self, path: str, *options: str, host: str = "localhost") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of what curl gets; it checks the certificate."""
        heads, body = self.root / "heads", self.root / "body"
        certificate = self.server.directory / "cache" / "self-signed" / "localhost.pem"
        subprocess.run(
            [
                *(str(self.curl_program), "--silent", "--show-error", "--http1.1", "--max-time", str(WAIT)),
                *("--cacert", str(certificate), "--resolve", f"{host}:{self.server.port}:127.0.0.1"),
                *("--dump-header", str(heads), "--output", str(body), *options),
                f"https://{host}:{self.server.port}{path}",
            ],
            check=True,
            cwd=self.root,
            env=server_environ(self.root),
        )
        status, *lines = heads.read_bytes().decode("latin-1").strip().split("\r\n\r\n")[-1].split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        content = body.read_bytes() if body.exists() else b""
        body.unlink(missing_ok=True)
        return int(status.split()[1]), {name.lower(): value for name, value in fields.items()}, content

    def test_domains(self) -> None:
        """Each domain has its own pages."""
        for host in ("localhost", "other.test"):
            self.assertEqual(self.curl("/", host=host)[::2], (200, f"<p>{host}".encode()))
        self.assertEqual(self.curl("/", "--header", "Host: other.test")[0], 421)
        self.assertEqual(self.curl("/", "--header", "Host: foreign.test")[0], 404)

    def test_compressed(self) -> None:
        """It can read what is compressed, in each coding, twice; and a ready-made file."""
        for _ in range(2):
            self.assertEqual(self.curl("/page.txt", "--compressed")[::2], (200, self.text))
            for coding in ("gzip", "br", "zstd"):
                status, fields, body = self.curl("/page.txt", "--header", f"Accept-Encoding: {coding}")
                self.assertEqual((status, fields["content-encoding"]), (200, coding))
                self.assertLess(len(body), len(self.text) / 4)
                self.assertEqual(int(fields["content-length"]), len(body))
                if coding == "gzip":
                    self.assertEqual(gzip.decompress(body), self.text)
            self.assertEqual(self.curl("/ready.css", "--compressed", "-H", "Accept-Encoding: br")[2], b"ready-made")
            self.assertEqual(self.curl("/ready.css")[2], b"plain")

    def test_head(self) -> None:
        """HEAD says what GET would."""
        for options in ((), ("--header", "Accept-Encoding: br")):
            for path in ("/", "/page.txt", "/ready.css", "/large.bin", "/missing"):
                got, asked = self.curl(path, *options), self.curl(path, "--head", *options)
                for _, fields, _ in (got, asked):
                    fields.pop("date")
                self.assertEqual((path, *asked[:2]), (path, *got[:2]))

    def test_again(self) -> None:
        """Who has a page already is told so, by its tag or its time."""
        for coding in ("identity", "br"):
            accept = ("--header", f"Accept-Encoding: {coding}")
            _, fields, _ = self.curl("/page.txt", *accept)
            for header in (f"If-None-Match: {fields['etag']}", f"If-Modified-Since: {fields['last-modified']}"):
                status, again, body = self.curl("/page.txt", *accept, "--header", header)
                self.assertEqual((status, body, again["etag"]), (304, b"", fields["etag"]))
            self.assertEqual(self.curl("/page.txt", *accept, "--header", 'If-None-Match: "x"')[0], 200)

    def test_parts(self) -> None:
        """A download that was interrupted goes on where it was."""
        content = (self.root / "localhost/large.bin").read_bytes()
        status, fields, body = self.curl("/large.bin", "--range", "1000-1999")
        self.assertEqual((status, fields["content-range"]), (206, "bytes 1000-1999/3000000"))
        self.assertEqual(body, content[1000:2000])
        (self.root / "body").write_bytes(content[:1_234_567])
        self.assertTrue(self.curl("/large.bin", "--continue-at", "-")[2] == content)
        self.assertEqual(self.curl("/large.bin", "--range", "3000000-")[0], 416)

    def test_directories(self) -> None:
        """Who forgets the slash is sent to the address with it; what is not there has a page of the site's own."""
        status, fields, _ = self.curl("/sub?a=b")
        self.assertEqual((status, fields["location"]), (301, "/sub/?a=b"))
        self.assertEqual(self.curl("/sub", "--location")[::2], (200, b"<p>sub"))
        self.assertEqual(self.curl("/missing")[::2], (404, b"<p>nothing of mine"))

    def test_many_on_one_connection(self) -> None:
        """Many requests on one connection are answered, large files and small ones."""
        names = [f"{name}?{number}" for number in range(20) for name in ("page.txt", "large.bin", "ready.css")]
        url = f"https://localhost:{self.server.port}/"
        certificate = self.server.directory / "cache" / "self-signed" / "localhost.pem"
        ran = subprocess.run(
            [str(self.curl_program), "--silent", "--http1.1", "--compressed", "--cacert", str(certificate)]
            + ["--write-out", "%{http_code} %{size_download} %{num_connects}\n"]
            + [part for name in names for part in ("--output", os.devnull, url + name)],
            check=True,
            capture_output=True,
            text=True,
            env=server_environ(self.root),
        )
        lines = [line.split() for line in ran.stdout.splitlines()]
        self.assertEqual({status for status, _, _ in lines}, {"200"})
        self.assertEqual([size for _, size, _ in lines][1::3], ["3000000"] * 20)
        self.assertEqual(sum(int(connects) for _, _, connects in lines), 1)


class LoadTests(SitesTestCase):
    """Pages under load."""

    def test_wrk(self) -> None:
        """While wrk asks as fast as it can every answer is right, and two members lose nothing."""
        wrk = debian_program("wrk", "wrk", "libluajit-5.1-2")
        self.write("localhost/app.js", SCRIPT)
        self.write("localhost/large.bin", bytes(200_000))
        server = self.serve()
        alice, bob = (self.member(server, uid, history=0) for uid in ("alice", "bob"))
        for path, headers in (("/", ()), ("/app.js", ("-H", "Accept-Encoding: br")), ("/large.bin", ())):
            command = [str(wrk), "-t1", "-c8", "-d1s", *headers, f"https://localhost:{server.port}{path}"]
            load = self.start(command, self.root, shared_libraries(wrk))
            sent = 0
            while load.is_running or not sent:
                alice.send(f"message {sent}")
                self.assertEqual(bob.receive(), f"message {sent}")
                sent += 1
            self.assertEqual(load.wait(), 0)
            self.assertNotRegex(load.output, "Socket errors|Non-2xx")
            self.assertRegex(load.output, r"(?m)^ +[1-9][0-9]* requests in ")
        self.assert_healthy(server)

    def test_pipelined_and_not_read(self) -> None:
        """Ten thousand requests for a page, of a client that reads nothing, take hardly any memory."""
        self.write("localhost/page.png", bytes(100_000))
        server = self.serve()
        client = self.raw(server, receive_buffer=4096)
        self.assertEqual(client.request(path="/page.png").status, 200)
        before = server.resident_bytes
        client.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            client.send(b"GET /page.png HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10_000)
        for _ in range(10):
            self.assertEqual(self.raw(server).request(path="/page.png").status, 200)
        self.assertLess(server.resident_bytes - before, 8_000_000)
        self.assert_healthy(server)

    def test_paths_without_end(self) -> None:
        """Thousands of names, queries and codings for the same files take a bounded memory."""
        self.write("localhost/page.txt", b"a text that gets smaller\n" * 100)
        server = self.serve("--compression-cache", "1")
        client = self.raw(server)

        def ask(start: int, end: int) -> None:
            for number in range(start, end):
                name = "".join(f"%{ord(c):02x}" if number >> bit & 1 else c for bit, c in enumerate("page.txt"))
                weights = f"gzip;q=0.{number % 999}, br;q=0.{number % 997}, x{number}"
                client.send(
                    f"GET /{name}?{number} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {weights}\r\n\r\n"
                    f"GET /missing-{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                )
                self.assertEqual([client.read_answer().status for _ in range(2)], [200, 404])

        ask(0, 1500)
        before = server.resident_bytes
        ask(1500, 3000)
        self.assertLess(server.resident_bytes - before, 4_000_000)
        self.assert_healthy(server)

    def test_many_compressions(self) -> None:
        """While large texts are compressed, one after the other, members talk and small pages are there."""
        noise = random.Random(1)
        line = bytes(noise.choices(b"abcdefgh \n", k=100_000))
        for number in range(10):
            self.write(f"localhost/{number}.txt", (b"%d" % number + line) * 40)
        server = self.serve()
        alice, bob = (self.member(server, uid, history=0) for uid in ("alice", "bob"))
        clients = [self.raw(server) for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(b"GET /%d.txt HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: zstd\r\n\r\n" % number)
        for number in range(100):
            alice.send(f"message {number}")
            self.assertEqual(bob.receive(), f"message {number}")
            if number % 10 == 0:
                self.assertEqual(self.raw(server).request().status, 200)
        for client in clients:
            answer = client.read_answer()
            self.assertEqual((answer.status, answer.header("Content-Encoding")), (200, "zstd"))
        self.assert_healthy(server)


class BrowserTests(SitesTestCase):
    """A page in a browser."""

    def test_page(self) -> None:
        """Chromium runs the compressed script, reads the JSON, and isolates the page."""
        chromium = installed_program("chromium", "chromium")
        self.write("localhost/index.html", PAGE)
        self.write("localhost/app.3f2a9c1b.js", SCRIPT)
        self.write("localhost/data.json", json.dumps({"said": "hello", "more": "x" * 2000}).encode())
        server = self.serve("--cors")
        profile = self.root / "profile"
        browser = self.start(
            [
                *(str(chromium), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *(f"--user-data-dir={profile}", "--ignore-certificate-errors", "--virtual-time-budget=10000"),
                *("--dump-dom", f"https://localhost:{server.port}/"),
            ],
            self.root,
        )
        browser.expect("</html>", _BROWSER_SECONDS)
        browser.stop()
        shown = re.search(r'<p id="result">(.*?)</p>', browser.output)
        assert shown is not None, browser.output
        self.assertEqual(shown[1], "hello, isolated: true, script: the script has run")
        self.assert_no_faults(server)


class AttackTests(SiteFilesTestCase, IntegrationTestCase):
    """Paths that must lead nowhere, on a real socket."""

    def setUp(self) -> None:
        IntegrationTestCase.setUp(self)
        super().setUp()

    def test_paths(self) -> None:
        """Dotfiles, what lies outside, pipes, devices and listings are not found, and the server goes on at once."""
        self.fill()
        (self.base / "localhost").symlink_to(self.root)
        server = self.start_server(*SECURE, "--wwwroot", str(self.base))
        client = self.raw(server)
        for target in NOT_SERVED:
            path = target.decode("latin-1")
            for method in ("GET", "HEAD"):
                answer = client.request(method, path)
                self.assertEqual((path, answer.status), (path, 404))
                self.assertNotIn(SECRET, answer.body)
        self.assertEqual(client.request(path="/page.txt").body, b"page")
        self.assert_healthy(server)
