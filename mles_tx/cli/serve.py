"""`mles-tx serve`: a server in the foreground, for a laptop, a container or a test."""

import sys
from functools import partial
from typing import Any

from mles_tx.service.early import hold_signals
from mles_tx.service.options import Options

__all__ = ["serve"]


def serve(options: Options) -> None:
    """Run until SIGINT or SIGTERM."""
    hold_signals()  # what follows takes half a second
    from twisted.internet import reactor as global_reactor
    from twisted.logger import Logger, globalLogBeginner

    from mles_tx.service.logs import log_to, stream_writer
    from mles_tx.service.running import Program, follow_monotonic_time
    from mles_tx.service.turns import lean_turns

    reactor: Any = global_reactor
    follow_monotonic_time(reactor)
    lean_turns(reactor)
    config = options.config()
    log = log_to(stream_writer(sys.stderr), config.log_format, config.log_level)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
    announcing = Logger("mles_tx")

    def announce(line: str) -> None:
        if config.log_format == "json":
            announcing.info("{line}", line=line)
        else:
            print(line, flush=True)

    # Not before the reactor runs: from the moment it says that it serves, it can also be stopped.
    program = Program(
        config, reactor, partial(reactor.callWhenRunning, announce), log, reread=lambda: options.reread().config()
    )
    program.privilegedStartService()
    program.startService()
    reactor.addSystemEventTrigger("before", "shutdown", program.stopService)
    reactor.run()
