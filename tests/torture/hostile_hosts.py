"""Requests with a host that is not ours, none, two or a strange one, and with line ends where none belong."""

from contextlib import suppress

from .peers import status_of
from .program import Option, Probe, Run, main

#: Stands in all of them, and must come back nowhere.
_MARK = "m4rk3d"

_REQUESTS: tuple[tuple[str, bytes], ...] = (
    ("a foreign host", b"GET / HTTP/1.1\r\nHost: m4rk3d.example\r\n\r\n"),
    ("no host", b"GET /m4rk3d HTTP/1.1\r\n\r\n"),
    ("an empty host", b"GET /m4rk3d HTTP/1.1\r\nHost:\r\n\r\n"),
    ("two hosts", b"GET /m4rk3d HTTP/1.1\r\nHost: localhost\r\nHost: m4rk3d.example\r\n\r\n"),
    ("the same host twice", b"GET /m4rk3d HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
    ("an absolute form", b"GET http://m4rk3d.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("an absolute form with user", b"GET http://m4rk3d@evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a host with a path", b"GET / HTTP/1.1\r\nHost: localhost/m4rk3d\r\n\r\n"),
    ("a host with a port that is none", b"GET / HTTP/1.1\r\nHost: localhost:m4rk3d\r\n\r\n"),
    ("a host with bytes", b"GET / HTTP/1.1\r\nHost: m4rk3d\xff\x00\r\n\r\n"),
    ("a line feed in the path", b"GET /m4rk3d\nSet-Cookie: m4rk3d HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a carriage return in the host", b"GET / HTTP/1.1\r\nHost: localhost\rSet-Cookie: m4rk3d\r\n\r\n"),
    ("encoded line ends in the path", b"GET /%0d%0aSet-Cookie:%20m4rk3d HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("encoded line ends in the query", b"GET /m4rk3d/?x=%0d%0aX-Y:%20m4rk3d HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a folded header", b"GET /m4rk3d HTTP/1.1\r\nHost: localhost\r\n m4rk3d\r\n\r\n"),
    ("a header without a colon", b"GET / HTTP/1.1\r\nHost: localhost\r\nm4rk3d\r\n\r\n"),
    ("a length twice", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nm4rk3d"),
    ("chunks and a length", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /m4rk3d HTTP/1.1\r\n\r\n"),
    ("a protocol that is none", b"GET / M4rk3d/1.1\r\nHost: localhost\r\n\r\n"),
    ("an escape in a path", b"GET /\x1b[31mm4rk3d HTTP/1.1\r\nHost: localhost\r\n\r\n"),
)  # fmt: skip


def ask_strangely(run: Run) -> None:
    """Send each; look at the status, at what comes back, and at the log."""
    wrong, reflected = [], []
    for what, request in _REQUESTS:
        answer = _answer(run, request)
        status = status_of(answer)
        if status not in (0, 400, 404, 405, 411, 413, 421, 501, 505):
            wrong.append(f"{what}: {status}")
        if _MARK.encode() in answer.lower():
            reflected.append(what)
    run.equal("answered with something but 400, 404 or their like", ", ".join(wrong) or "none", "none")
    run.equal("reflected", ", ".join(reflected) or "none", "none")
    if run.server is None:
        run.unknown("its log", "is not ours to read")
    else:
        raw = [line for line in run.server.output.splitlines() if line.lower().startswith(("set-cookie", _MARK, "x-y"))]
        controls = [letter for letter in run.server.output if ord(letter) < 32 and letter not in "\n\t"]
        run.equal("logged raw", len(raw) + len(controls), 0)
    run.no_faults()


def _answer(run: Run, request: bytes) -> bytes:
    with run.target.connect() as connection:
        connection.settimeout(run.seconds)
        received = b""
        with suppress(OSError):
            connection.sendall(request)
            while data := connection.recv(65536):
                received += data
                if b"\r\n\r\n" in received:
                    connection.settimeout(0.2)
        return received


PROBE = Probe(
    promise="foreign, missing, doubled, absolute-form Host, CR/LF anywhere: 400/404; nothing reflected or logged raw",
    does=ask_strangely,
    options=(Option("seconds", 5.0, "how long an answer is waited for"),),
)

if __name__ == "__main__":
    main(PROBE)
