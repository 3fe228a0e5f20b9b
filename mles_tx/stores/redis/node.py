"""Between a channel that is followed and the node that follows it: what the channel tells and asks."""

from collections.abc import Sequence

from zope.interface import Interface

from mles_tx.channels.history import Message

from .backlog import Pending

__all__ = ["INode"]


class INode(Interface):
    """What a channel needs of its node."""

    def deliver(channel: str, batch: Sequence[Message]) -> None:
        """Give a batch to the members."""

    def settled(pending: Pending) -> None:
        """A batch of this node has passed: nobody waits for it any more."""

    def remembered(change: int) -> None:
        """Bytes of memory more, or fewer, are taken."""

    def missed(channel: str) -> None:
        """Messages were dropped from the stream before they were read."""

    def seconds() -> float:
        """The time."""

    def redis_seconds(seconds: float) -> float | None:
        """What the clock of Redis shows at a time of ours; None: not known."""
