"""What twistd loads once somebody has asked for ``mles``: the options, and the service they make."""

from twisted.application.service import IService

from .early import hold_signals
from .options import Options

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Build the server twistd is to run."""
    hold_signals()  # the program takes them when it starts
    # Here, not above: `twistd mles --help` needs neither a reactor nor Autobahn.
    from twisted.application.app import ServerOptions
    from twisted.internet import reactor
    from twisted.logger import Logger

    from .logs import refuse_own, twistd_log
    from .running import Program, follow_monotonic_time
    from .turns import lean_turns

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
    return Program(
        config,
        reactor,
        lambda line: announcing.info("{line}", line=line),
        log,
        reread=lambda: options.reread().config(),
    )
