"""What of a replay is new: the history that a server sends after a break, against what was there before it.

It must not know a clock: when the replay is over is somebody else's guess.
"""

import json
from collections import Counter
from enum import Enum, auto

from mles_tx.protocol.dedup import DigestMemory

from .outbox import Outbox

__all__ = ["Kind", "Replay", "who_joins"]


class Kind(Enum):
    """What a frame of a replay is."""

    NEW = auto()  #: nothing is known of it
    REPEAT = auto()  #: it was received on an earlier link
    OWN = auto()  #: this client has said it


class Replay:
    """The replay of one link.

    A digest is known as often as it was there: what somebody has said twice, and came once, is new once. History and
    earlier links have one order; so behind the first message that is new all are, except those the client has said
    itself. Join frames have no order and prove nothing.

    Args:
        received: what came on earlier links.
        outbox: what the client has said.

    Attributes:
        finds: whether what the client has said, and may be lost, is looked for.
    """

    __slots__ = ("_outbox", "_received", "_said", "finds")

    def __init__(self, received: DigestMemory, outbox: Outbox) -> None:
        self._received = Counter(received)
        self._said = Counter(outbox.said)
        self._outbox = outbox
        self.finds = True

    def kind(self, digest: int, joins: bool) -> Kind:
        """What a frame is; to be asked once for each, in order.

        Args:
            digest: of its payload.
            joins: whether it is somebody's first frame.
        """
        if self._received.get(digest, 0) > 0:
            self._received[digest] -= 1
            return Kind.REPEAT
        if self._said.get(digest, 0) > 0:
            self._said[digest] -= 1
            return Kind.OWN
        if self.finds and self._outbox.unsure and self._outbox.found(digest):
            return Kind.OWN
        if not joins:
            self._received.clear()
        return Kind.NEW

    def end(self) -> None:
        """The replay is over: from now on everything is new."""
        self._received.clear()
        self._said.clear()


def who_joins(payload: bytes, is_binary: bool, channel: str) -> str | None:
    """The uid when a frame is somebody's first frame on a channel, as the history has it; None: it is not."""
    if is_binary or not payload.startswith(b"{") or b'"channel"' not in payload:
        return None
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    uid = fields.get("uid")
    return uid if isinstance(uid, str) and fields.get("channel") == channel and "text" not in fields else None
