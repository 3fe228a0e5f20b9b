"""Requests for what must not be served: outside the web root, devices, pipes, what begins with a dot, directories."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from .peers import PATIENCE, status_of
from .program import Option, Probe, Run, main

#: Stands in everything that must not be served.
_SECRET = b"not for you"

_OUTSIDE = (
    "../secret.txt",
    "..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "..%252fsecret.txt",
    "..\\secret.txt",
    "..;/secret.txt",
)


_PATHS = (
    *(f"/{path}" for path in _OUTSIDE),
    *(f"/folder/../{path}" for path in _OUTSIDE[:3]),
    *("//etc/passwd", "/../../../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/absolute/passwd"),
    *("/link.txt", "/linked/file.txt", "/.env", "/.git/config", "/.git/", "/%2egit/config", "/folder/%00"),
    *("/pipe", "/pipe.html", "/zero", "/device", "/index.html%00.txt", "/folder/%2e%2e/.env"),
)


def plant(root: Path) -> None:
    """Put what must not be served below a web root, in the directory of localhost, and beside it."""
    site = root / "localhost"
    (site / "folder").mkdir(parents=True)
    (site / ".git").mkdir()
    (site / "index.html").write_text("welcome")
    (site / "folder" / "page.html").write_text("a page")
    outside = root.parent / "secret"
    outside.mkdir()
    for place in (root / "secret.txt", outside / "file.txt", site / ".env", site / ".git" / "config"):
        place.write_bytes(_SECRET)
    os.mkfifo(site / "pipe")
    os.mkfifo(site / "pipe.html")
    (site / "link.txt").symlink_to(outside / "file.txt")
    (site / "linked").symlink_to(outside)
    (site / "zero").symlink_to("/dev/zero")
    (site / "absolute").symlink_to("/etc")
    with suppress(PermissionError):
        os.mknod(site / "device", 0o600 | 0o020000, os.makedev(1, 5))


def ask_for_them(run: Run) -> None:
    """Ask for each; none may be served, and none may be waited for."""
    is_planted = run.server is not None or bool(run.wwwroot)
    if run.wwwroot:
        plant(Path(run.wwwroot))
    served, slowest = [], 0.0
    for path in _PATHS:
        began = time.monotonic()
        status, body = ask(run, path)
        slowest = max(slowest, time.monotonic() - began)
        if (status == 200 and is_planted) or _SECRET in body or b"root:" in body:
            served.append(path)
    run.equal("served of what must not be", ", ".join(served) or "nothing", "nothing")
    run.below("the slowest answer", slowest, 2, "s", timed=True)
    if is_planted:
        status, body = ask(run, "/folder/")
        run.equal("a directory is listed", status == 200 and b"page.html" in body, False)
        run.equal("a page is served", ask(run, "/folder/page.html"), (200, b"a page"))
    else:
        run.unknown("what lies below its web root", "its web root is not known: --wwwroot")
    run.no_faults()


def ask(run: Run, path: str) -> tuple[int, bytes]:
    """Ask for a path as it is; the answer's status, 0 for none, and what of its body comes."""
    with run.target.connect() as connection:
        connection.settimeout(PATIENCE)
        received = b""
        with suppress(OSError):
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode("latin-1"))
            while len(received) < 1 << 20 and (data := connection.recv(65536)):
                received += data
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return status_of(received), received.partition(b"\r\n\r\n")[2]


def set_up(run: Run) -> None:
    """Our server with a web root of its own."""
    directory = run.directory()
    plant(directory / "www")
    plain = ("--domains", "localhost", "--no-tls") if run.plain else ()
    run.start("--wwwroot", str(directory / "www"), *plain, directory=directory)


PROBE = Probe(
    promise="traversal, symlinks out of the root, FIFOs, devices, dotfiles, .git, listings: never served, never hang",
    does=ask_for_them,
    options=(Option("wwwroot", "", "an empty directory that is the web root of the --url"),),
    setup=set_up,
)


if __name__ == "__main__":
    main(PROBE)
