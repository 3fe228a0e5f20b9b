"""What the suite is run against: the WebSocket connection alone, and the whole server, each with and without TLS."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.processes import Server
from tests.integration.support import LOCAL, SECURE

from .outcome import Outcome
from .suite import Suite

__all__ = ["ALL", "NOT_QUICK", "QUICK", "TARGETS", "Result", "Target"]

#: Everything but the sections on per-message deflate (12 and 13), which this server never agrees to.
ALL = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")

#: What every run of the tests has time for. The four cases of 6.4 take nine seconds, most of 9 half a second each.
QUICK = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.1.3", "9.2.1", "9.2.3", "9.5.6", "9.6.6", "10.*")
NOT_QUICK = ("6.4.*",)

_ROOT = Path(__file__).parents[2]

_NO_LIMITS = ("--rate-limit", "0", "--per-ip-limit", "0")

_TOO_LARGE = "longer than the 1 MiB that a member may send"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run.

    Attributes:
        outcomes: of each case.
        faults: what the processes have logged as faults of their own; usually nothing.
    """

    outcomes: Sequence[Outcome]
    faults: str


@dataclass(frozen=True, slots=True)
class Target:
    """Something the suite can be run against.

    Attributes:
        name: in reports, and on the command line.
        is_whole: the server as it is shipped; False: the WebSocket connection alone.
        is_secure: over TLS.
        excluded: cases that make no sense against it, and why.
    """

    name: str
    is_whole: bool
    is_secure: bool
    excluded: Mapping[str, str]

    def run(self, suite: Suite, reports: Path, cases: Sequence[str] = ALL, skip: Sequence[str] = ()) -> Result:
        """Start it, run cases against it, and stop it.

        Args:
            suite: the suite.
            reports: a directory for the suite's reports.
            cases: what to run.
            skip: what of these not to run, besides what makes no sense.

        Raises:
            SuiteFailed: there is a case of which nothing is known.
        """
        with ExitStack() as stack:
            servers = stack.enter_context(self.start())
            scheme = "wss" if self.is_secure and not self.is_whole else "ws"
            url = f"{scheme}://127.0.0.1:{servers[-1].port}"
            outcomes = suite.run(self.name, url, cases, (*self.excluded, *skip), reports)
            return Result(outcomes, "\n".join(filter(None, (server.new_faults() for server in servers))))

    @contextmanager
    def start(self) -> Iterator[list[Server]]:
        """The processes, in the order they were started; the suite is to talk to the last."""
        with ExitStack() as stack:

            def begin(*command: str) -> Server:
                path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
                server = Server(command, {"PYTHONPATH": path})
                stack.callback(server.stop)
                return server

            if not self.is_whole:
                tls = ["--tls"] if self.is_secure else []
                yield [begin(sys.executable, "-m", "tests.conformance.echo_server", *tls)]
                return
            server = begin(*(SECURE if self.is_secure else LOCAL), *_NO_LIMITS)
            certificate = server.directory / "cache" / "self-signed" / "localhost.pem"
            trust = ["--ca", str(certificate)] if self.is_secure else []
            yield [server, begin(sys.executable, "-m", "tests.conformance.shim", server.url, *trust)]


#: The cases of 4 MiB and more.
_FOR_MEMBERS = dict.fromkeys(("9.1.4", "9.1.5", "9.1.6", "9.2.4", "9.2.5", "9.2.6", "9.3.*", "9.4.*"), _TOO_LARGE)

TARGETS = (
    Target("connection-ws", is_whole=False, is_secure=False, excluded={}),
    Target("connection-wss", is_whole=False, is_secure=True, excluded={}),
    Target("server-ws", is_whole=True, is_secure=False, excluded=_FOR_MEMBERS),
    Target("server-wss", is_whole=True, is_secure=True, excluded=_FOR_MEMBERS),
)
