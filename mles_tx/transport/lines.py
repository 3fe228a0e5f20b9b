"""The lines that come with every join and every leave: a sixth of what a join takes, where `Logger` makes their events.

It looks a level up among all levels, makes itself anew for each instance that asks for it, and formats what is one
line already. The events are the same.
"""

from time import time

from twisted.logger import Logger, LogLevel

__all__ = ["Lines"]


class Lines:
    """Logs whole lines for the instances of a class.

    Args:
        namespace: what the events' namespace is.
    """

    def __init__(self, namespace: str) -> None:
        self._logger = Logger(namespace)

    def info(self, source: object, line: str, **fields: object) -> None:
        """Log a line about an instance.

        Args:
            source: the instance.
            line: what the event says.
            fields: what it is made of, for programs.
        """
        logger = self._logger
        fields["line"] = line
        fields["log_logger"] = logger
        fields["log_level"] = LogLevel.info
        fields["log_namespace"] = logger.namespace
        fields["log_source"] = source
        fields["log_format"] = "{line}"
        fields["log_time"] = time()
        logger.observer(fields)
