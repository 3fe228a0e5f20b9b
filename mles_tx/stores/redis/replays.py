"""A replay that begins before it is known what is remembered."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mles_tx.channels.history import IReplay

__all__ = ["WaitingReplay"]


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
