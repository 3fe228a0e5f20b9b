"""A replay that begins before it is known what is remembered."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mles_tx.channels.history import ChannelLog, IReplay, Message

__all__ = ["WaitingReplay", "with_more"]


@implementer(IReplay)
class WaitingReplay:
    """A replay that waits until it is known what is remembered. Its end is fixed already.

    Args:
        found: gives the replay then.
    """

    def __init__(self, found: Callable[[], IReplay]) -> None:
        self._find = found
        self._found: IReplay | None = None
        self._pulled: tuple[Deferred[list[bytes]], int] | None = None

    def pull(self, max_bytes: int) -> "list[bytes] | Deferred[list[bytes]]":
        if self._found is not None:
            return self._found.pull(max_bytes)
        answer: Deferred[list[bytes]] = Deferred()
        self._pulled = answer, max_bytes
        return answer

    def find(self) -> None:
        """Now it is known."""
        self._found = self._find()
        if self._pulled is not None:
            (answer, max_bytes), self._pulled = self._pulled, None
            pulled = self._found.pull(max_bytes)
            if isinstance(pulled, Deferred):
                pulled.chainDeferred(answer)
            else:
                answer.callback(pulled)


def with_more(log: ChannelLog, more: Sequence[Message], limits: Sequence[int]) -> ChannelLog:
    """A history with what this node has said behind it, and is not in the stream yet.

    Args:
        log: the history.
        more: messages and join frames; a join frame that is not in the stream yet pushes nothing out.
        limits: messages and bytes that are remembered.
    """
    if not more:
        return log
    joins = [message.frame for message in more if message.is_join]
    both = ChannelLog()
    both.append([*log, *more], limits[0] + len(joins), limits[1] + sum(map(len, joins)))
    return both
