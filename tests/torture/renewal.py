"""Certificates are renewed as members talk: with an authority that is away, or refuses half of what it is told."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from twisted.trial.unittest import SkipTest

from tests.integration.acme.pebble import Pebble
from tests.integration.acme.servers import AcmeServer, visit

from .authority_down import acme_server, acme_target
from .peers import Peer, fresh_name
from .program import Option, Probe, Run, main

#: Seconds for which certificates are valid; they are renewed after two thirds.
_VALID = 12


def renew(run: Run) -> None:
    """Go through renewals with an authority that refuses half of the nonces, one of them while it is away."""
    try:
        ca = Pebble(validity=_VALID, bad_nonces=50)
    except SkipTest as skip:
        run.unknown("an authority", str(skip))
        return
    run.stack.callback(ca.remove)
    ca.start()
    cache = run.directory() / "cache"
    server = acme_server(run, ca, cache)
    server.await_certificates("a.test")
    channel = fresh_name("renewal")
    target = acme_target(server)
    with run.pair(target), Peer(target, "alice", channel) as alice, Peer(target, "bob", channel, history=0) as bob:
        seen = {_serial(server)}
        asked = ca.output.count("POST /") + ca.output.count("HEAD /")
        began = time.monotonic()
        _until(lambda: len(seen) > run.renewals, server, seen, (_VALID + 20) * run.renewals)
        requests = ca.output.count("POST /") + ca.output.count("HEAD /") - asked
        run.equal("certificates shown one after the other", len(seen) > run.renewals, True)
        each = requests / max(1, len(seen) - 1)
        run.below("requests of a renewal, half of the nonces refused", each, 60)
        run.above("over seconds", time.monotonic() - began, 1, "s")

        old = _serial(server)
        ca.stop()
        with _knocks(urlsplit(ca.url).port or 443) as knocks:
            server.expect(r"the certificate for a\.test is not renewed.*", _VALID * 2)
            away = time.monotonic()
            time.sleep(run.seconds)
            run.equal("while it is away the old one is served", _serial(server), old)
            tried = sum(at > away for at in knocks)
            run.below("tries a second while it is away", tried / (time.monotonic() - away), 1)
        ca.start()
        seen = {old}
        _until(lambda: len(seen) > 1, server, seen, 60)
        run.equal("renewed after its return", len(seen) > 1, True)
        alice.say(b"still here")
        run.equal("members are there still", bob.receive(), b"still here")
    run.equal("faults in its log", server.output.count("Traceback"), 0)
    server.stop()

    for path in cache.rglob("*"):
        if path.is_file():
            path.write_bytes(b"-----BEGIN GARBAGE-----\n\0\xff" + path.read_bytes()[:50])
    server = acme_server(run, ca, cache)
    shown = visit(server.port, "a.test").certificate
    run.equal("with broken files in its cache it serves with its own", shown.issuer == shown.subject, True)
    server.await_certificates("a.test")
    run.equal("and has a real one after", _serial(server) not in seen, True)
    run.equal("faults in its log then", len(re.findall("Traceback", server.output)), 0)


@contextmanager
def _knocks(port: int) -> Iterator[list[float]]:
    """Hang up on everybody who comes to where the authority was: when they came. Logs do not tell each try."""
    times: list[float] = []
    with socket.create_server(("127.0.0.1", port)) as listening:

        def hang_up() -> None:
            with suppress(OSError):  # it was shut down
                while True:
                    listening.accept()[0].close()
                    times.append(time.monotonic())

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield times
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serial(server: AcmeServer) -> int:
    return visit(server.port, "a.test").certificate.serial_number


def _until(condition: object, server: AcmeServer, seen: set[int], seconds: float) -> None:
    """Note which certificates are shown, until something holds."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        seen.add(_serial(server))
        time.sleep(0.2)


PROBE = Probe(
    promise="ACME down at renewal, badNonce, broken cache: old certificate served, < 1 request/s, renewed after",
    does=renew,
    options=(
        Option("renewals", 2, "with an authority that is there"),
        Option("seconds", 5.0, "how long it is away"),
    ),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
