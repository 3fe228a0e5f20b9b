"""`mles-tx serve`: a server in the foreground, for a laptop, a container or a test."""

import sys
from functools import partial
from typing import Any

from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, textFileLogObserver

from mles_tx.service.options import Options

__all__ = ["serve"]


def serve(options: Options) -> None:
    """Run until SIGINT or SIGTERM."""
    from twisted.internet import reactor as global_reactor
    from twisted.logger import globalLogBeginner

    from mles_tx.service.running import Program, follow_monotonic_time
    from mles_tx.service.turns import lean_turns

    reactor: Any = global_reactor
    follow_monotonic_time(reactor)
    lean_turns(reactor)
    globalLogBeginner.beginLoggingTo(
        [
            FilteringLogObserver(
                textFileLogObserver(sys.stderr),
                [LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)],
            )
        ],
        redirectStandardIO=False,
    )
    # Not before the reactor runs: from the moment it says that it serves, it can also be stopped.
    announce = partial(reactor.callWhenRunning, partial(print, flush=True))
    program = Program(options.config(), reactor, announce, reread=lambda: options.reread().config())
    program.privilegedStartService()
    program.startService()
    reactor.addSystemEventTrigger("before", "shutdown", program.stopService)
    reactor.run()
