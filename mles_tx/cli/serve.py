"""`mles-tx serve`: a server in the foreground, for a laptop, a container or a test."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from mles_tx.service.early import hold_signals
from mles_tx.service.options import Options

if TYPE_CHECKING:
    from mles_tx.service.process import OwnProcess

__all__ = ["serve"]


def serve(options: Options) -> None:
    """Run until SIGINT or SIGTERM."""
    hold_signals()  # what follows takes half a second
    from twisted.internet import reactor as global_reactor
    from twisted.logger import Logger, globalLogBeginner

    from mles_tx.service.logs import log_to, stream_writer
    from mles_tx.service.turns import follow_monotonic_time, lean_turns

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
    later = partial(reactor.callWhenRunning, announce)
    if config.workers is None:
        from mles_tx.service.running import Program

        _run(reactor, Program(config, reactor, later, log, reread=lambda: options.reread().config()))
        return
    # Either of the two needs nothing of the other, and a supervisor no Autobahn.
    from mles_tx.service.workers.supervisor import Supervisor

    supervisor = Supervisor(options, config, reactor, later, log)
    _run(reactor, supervisor)
    if supervisor.failure:
        sys.exit(f"mles: {supervisor.failure}")


def _run(reactor: Any, program: "OwnProcess") -> None:
    program.privilegedStartService()
    program.startService()
    reactor.addSystemEventTrigger("before", "shutdown", program.stopService)
    reactor.run()
