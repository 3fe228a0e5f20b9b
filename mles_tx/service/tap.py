"""What twistd loads once somebody has asked for ``mles``: the options, and the service they make."""

import atexit
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.application.service import IService

from .early import hold_signals
from .options import Options

if TYPE_CHECKING:
    from .workers.supervisor import Supervisor

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Build the server twistd is to run."""
    hold_signals()  # the program takes them when it starts
    # Here, not above: `twistd mles --help` needs neither a reactor nor Autobahn.
    from twisted.application.app import ServerOptions
    from twisted.internet import reactor
    from twisted.logger import Logger

    from .logs import refuse_own, twistd_log
    from .turns import follow_monotonic_time, lean_turns

    follow_monotonic_time(reactor)
    lean_turns(reactor)
    config = options.config()
    announcing = Logger("mles_tx")
    runner = getattr(options, "parent", None)
    log = None
    if isinstance(runner, ServerOptions):
        log = twistd_log(runner, config.log_format, config.log_level, reactor)
    else:  # `twist`, or somebody who makes a service of it by hand: they have a log
        refuse_own(config.log_format, config.log_level, "only twistd and mles-tx serve have it; leave it away")

    def announce(line: str) -> None:
        announcing.info("{line}", line=line)

    if config.workers is not None:
        # Here, not above: either of the two needs nothing of the other, and a supervisor no Autobahn.
        from .workers.supervisor import Supervisor

        supervisor = Supervisor(options, config, reactor, announce, log)
        atexit.register(_end_with, supervisor)
        return supervisor
    from .running import Program

    return Program(config, reactor, announce, log, reread=lambda: options.reread().config())


def _end_with(supervisor: "Supervisor") -> None:
    """Tell whoever has started twistd that the server has ended by itself, and why: twistd knows no such end."""
    if supervisor.failure:
        with suppress(AttributeError, OSError):  # in the background there is nobody to be told
            sys.__stderr__.write(f"mles: {supervisor.failure}\n")  # type: ignore[union-attr]
            sys.__stderr__.flush()  # type: ignore[union-attr]
        os._exit(1)
