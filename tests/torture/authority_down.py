"""The certificate authority is down when a server starts."""

import ssl
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.integration.acme.pebble import Pebble
from tests.integration.acme.servers import SERVE, AcmeServer, visit

from .program import Option, Probe, Run, main
from .target import Target


def start_without(run: Run) -> None:
    """Start the server, then the authority."""
    try:
        ca = Pebble()
    except SkipTest as skip:
        run.unknown("an authority", str(skip))
        return
    run.stack.callback(ca.remove)
    began = time.monotonic()
    server = acme_server(run, ca, run.directory() / "cache")
    run.below("it serves after", time.monotonic() - began, 10, "s", timed=True)
    with run.pair(acme_target(server)):
        shown = visit(server.port, "a.test").certificate
        run.equal("it serves with its own certificate at once", shown.issuer == shown.subject, True)
        time.sleep(run.seconds)
        ca.start()
        back = time.monotonic()
        run.equal("the real certificate is served", _await(server, ca, back + run.patience), True)
        run.below("after the authority's return it took", time.monotonic() - back, 60, "s", timed=True)
    run.equal("faults in its log", server.output.count("Traceback"), 0)


def _await(server: AcmeServer, ca: Pebble, deadline: float) -> bool:
    while time.monotonic() < deadline:
        try:
            visit(server.port, "a.test", ca.root())
            return True
        except ssl.SSLError:
            time.sleep(0.2)
    return False


def acme_server(run: Run, ca: Pebble, cache: Path) -> AcmeServer:
    """Our server, where the authority looks for it."""
    server = AcmeServer(run.command(SERVE), ca, cache, "--port", str(ca.tls_port), "--domains", "a.test")
    run.stack.callback(server.stop)
    return server


def acme_target(server: AcmeServer) -> Target:
    """It as its members see it, who trust any certificate."""
    return Target(server.url, None, (server.pid,), "127.0.0.1")


PROBE = Probe(
    promise="the ACME server is down at start: serves at once; the real certificate within 60 s of its return",
    does=start_without,
    options=(
        Option("seconds", 5.0, "how long it is down"),
        Option("patience", 90.0, "how long the real certificate is waited for"),
    ),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
