"""A program to pass requests on to: `python upstream.py` prints its port and answers until it is ended.

It is `http.server` with threads, which knows nothing of mles_tx or Twisted. What a path does stands in `_PATHS`.
"""

import hashlib
import json
import os
import socket
import struct
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PIECE = b"0123456789abcdef" * 4096  # 64 KiB


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        self.served = getattr(self, "served", 0) + 1
        super().handle_one_request()

    def answer(self) -> None:
        parts = urlsplit(self.path)
        name = parts.path.rsplit("/", 1)[-1]
        act = getattr(self, f"on_{name}", None)
        if act is None:
            self.send_error(404)
        else:
            act(parts.query)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_PROPFIND = answer  # noqa: N815

    def pieces(self):  # type: ignore[no-untyped-def]
        """The request's body, piece by piece."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read1(min(left, 65536))
            if not piece:
                return
            left -= len(piece)
            yield piece

    def reply(self, body: bytes, status: int = 200, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def on_seen(self, query: str) -> None:
        """Tell what has come: the head, and the digest of the body."""
        digest, size = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            size += len(piece)
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": self.headers.items(),
            "size": size,
            "sha256": digest.hexdigest(),
            "served": self.served,
        }
        self.reply(json.dumps(seen).encode(), 200, ("Content-Type", "application/json"))

    def on_echo(self, query: str) -> None:
        """Send the body back while it is still coming."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in self.pieces():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def on_big(self, query: str) -> None:
        """Send so many pieces of 64 KiB: with a length, in chunks, or until the end of the connection."""
        how, number = query.split("=")
        self.send_response(200)
        if how == "length":
            self.send_header("Content-Length", str(int(number) * len(PIECE)))
        elif how == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(int(number)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if how == "chunked" else PIECE)
        if how == "chunked":
            self.wfile.write(b"0\r\n\r\n")

    def on_part(self, query: str) -> None:
        """Send half of what is announced, and break off: with an end (fin), a reset (rst), or wholly (die)."""
        self.send_response(200)
        if query.startswith("chunked"):
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(2 * len(PIECE)))
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if query.startswith("chunked") else PIECE)
        self.wfile.flush()
        if query.endswith("die"):
            os._exit(1)
        if query.endswith("rst"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def on_status(self, query: str) -> None:
        """Answer with this status, and no body where there must be none."""
        self.send_response(int(query))
        self.send_header("ETag", '"v1"')
        if query not in ("204", "304"):
            self.send_header("Content-Length", "0")
        self.end_headers()

    def on_cookies(self, query: str) -> None:
        """Answer with headers that stand twice, and some that are not to be passed on."""
        self.reply(
            b"cookies",
            418,
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Keep-Alive", "timeout=5"),
            ("Connection", "X-Private"),
            ("X-Private", "secret"),
            ("Proxy-Authenticate", "Basic"),
        )

    def on_silent(self, query: str) -> None:
        """Never answer; tell when the other side has gone."""
        print("waiting", flush=True)
        with suppress(ConnectionError):
            self.rfile.read(1)
        print("gone", flush=True)
        self.close_connection = True

    def on_deaf(self, query: str) -> None:
        """Read nothing of the body until a line is typed; then all of it, and answer."""
        print("deaf", flush=True)
        sys.stdin.readline()
        self.on_seen(query)

    def on_close(self, query: str) -> None:
        """Break off before the head."""
        self.close_connection = True

    def on_nonsense(self, query: str) -> None:
        """Answer in something that is no HTTP."""
        self.wfile.write(b"220 mail.example ESMTP\r\n\r\n")

    def on_once(self, query: str) -> None:
        """Answer as if the connection went on, and close it."""
        self.reply(b"once")
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        print("asked", self.command, self.path, flush=True)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
    server.daemon_threads = True
    print(f"port {server.server_address[1]}", flush=True)
    server.serve_forever()
