"""Runs a command that is a client: one coroutine on a reactor, with one line for what goes wrong and a clean Ctrl-C."""

import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from mles_tx.client.config import ClientConfigError

__all__ = ["INTERRUPTED", "Failed", "require_streams", "run"]

#: The exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130

#: A command: called with the reactor, it returns the exit code.
Main = Callable[[Any], Coroutine[Any, Any, int]]


class Failed(Exception):
    """The command has failed; the text is the line that says why."""


def require_streams(command: str) -> None:
    """Exit with a line when standard input or output is closed."""
    if sys.stdin is None or sys.stdout is None:
        sys.exit(f"{command}: standard input or output is closed; leave them open")


def run(
    command: str, main: Main, install: Callable[[], object] | None = None, interrupted: int = INTERRUPTED
) -> NoReturn:
    """Run a coroutine of a command to its end, and exit with the code it returns.

    It is cancelled by SIGINT and SIGTERM, and has its time to clean up.

    Args:
        command: what the line of an error begins with.
        main: called with the reactor.
        install: called before, to install another reactor than the usual one.
        interrupted: the exit code after Ctrl-C.
    """
    try:
        code = _run(command, main, install)
    except KeyboardInterrupt:  # before the reactor runs
        code = None
    sys.exit(interrupted if code is None else code)


def _run(command: str, main: Main, install: Callable[[], object] | None) -> int | None:
    """The exit code; None: it was interrupted."""
    if install is not None:
        install()
    from twisted.internet import reactor as global_reactor
    from twisted.internet.defer import CancelledError, Deferred
    from twisted.logger import globalLogBeginner
    from twisted.python.failure import Failure

    from mles_tx.client import ClientClosed

    from .threads import HostNames

    reactor: Any = global_reactor
    reactor.seconds = time.monotonic  # setting the clock must not cut off anybody
    reactor.installNameResolver(HostNames(reactor))
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    ended: list[int | Failure] = []
    running: list[Deferred[int]] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(main(reactor))
        running.append(done)
        done.addBoth(ended.append).addCallback(lambda _: stop())

    def stop() -> None:
        if reactor.running:
            reactor.callLater(0, lambda: reactor.running and reactor.stop())

    def interrupt() -> Any:
        if ended or not running:
            return None
        waiting: Deferred[None] = Deferred()
        running[0].addBoth(lambda _: waiting.callback(None))
        running[0].cancel()
        return waiting

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    reactor.run()
    result = ended[0] if ended else None
    if result is None or isinstance(result, int):
        return result
    if result.check(CancelledError):
        return None
    if result.check(BrokenPipeError):
        return 1
    if result.check(ClientClosed, ClientConfigError, Failed):
        sys.stderr.write(f"{command}: {result.getErrorMessage()}\n")
        return 1
    result.printTraceback(sys.stderr)
    return 1
