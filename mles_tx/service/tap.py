"""What twistd loads once somebody has asked for ``mles``: the options, and the service they make."""

from twisted.application.service import IService

from .options import Options

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Build the server twistd is to run."""
    # Here, not above: `twistd mles --help` needs neither a reactor nor Autobahn.
    from twisted.internet import reactor
    from twisted.logger import Logger

    from .running import Program, follow_monotonic_time
    from .turns import lean_turns

    follow_monotonic_time(reactor)
    lean_turns(reactor)
    log = Logger("mles_tx")
    return Program(
        options.config(), reactor, lambda line: log.info("{line}", line=line), reread=lambda: options.reread().config()
    )
