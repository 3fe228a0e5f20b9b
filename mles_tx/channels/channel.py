"""One channel: its members, what they said in this turn, and the one fan-out loop."""

from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger

from mles_tx.protocol.closing import CloseReason

from .history import Message, frame_of, origin_of
from .member import IMember

__all__ = ["Channel"]


class _Nobody:
    """Stands where somebody was who is not to hear what is being delivered."""

    serial = -1

    def write(self, data: bytes) -> None:
        pass


_NOBODY: Any = _Nobody()


class Channel:
    """Who is on a channel, and what waits for the end of the reactor turn.

    Args:
        name: the channel's name.
    """

    _log = Logger()

    __slots__ = ("_behind", "_receivers", "filled_by", "has_spoken", "members", "name", "pending")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, IMember] = {}
        self.pending: list[Message] = []
        #: Whether anything was said since its first member came: the history may have it later than that is known.
        self.has_spoken = False
        #: Who fills its history with what it holds.
        self.filled_by: IMember | None = None
        #: Those who receive, in the order they joined: a member that leaves while it is walked does not disturb.
        self._receivers: list[IMember] | None = None
        #: What is committed while another batch is being delivered, each with those it is for; None: none is. Nothing,
        #: with those who were there before somebody came or left meanwhile.
        self._behind: list[tuple[Sequence[Message], list[IMember]]] | None = None

    def add(self, member: IMember) -> None:
        """Take in a member; its uid is free."""
        self.members[member.uid] = member
        self._changed()

    def remove(self, member: IMember) -> None:
        """Let a member go."""
        del self.members[member.uid]
        self._changed()

    def _changed(self) -> None:
        if self._behind is not None and self._receivers is not None:
            self._behind.append(((), self._receivers))
        self._receivers = None

    def came_again(self, member: IMember) -> None:
        """Who was a member is one again, here or elsewhere: what was committed before that is not for it any more."""
        for _, receivers in self._behind or ():
            if receivers is not self._receivers and member in receivers:
                receivers[receivers.index(member)] = _NOBODY

    def fan_out(self, batch: Sequence[Message]) -> int:
        """Deliver one committed batch: joined to one buffer, written once to each member.

        Nobody gets back what it sent. A member that fails is closed; the others do not notice.

        A write may end a member, and whoever waited for its uid joins then: what is committed for that, in the middle
        of a delivery, is delivered behind it, to those who are there at that moment.

        Returns:
            Messages handed to members, each counted once a member.
        """
        if batch[0].is_join:
            return 0  # a join frame comes alone, and only later joiners get to see it
        receivers = self._receivers
        if receivers is None:
            receivers = self._receivers = [member for member in self.members.values() if member.receives]
        if self._behind is not None:
            self._behind.append((batch, receivers))
            return 0
        behind: list[tuple[Sequence[Message], list[IMember]]] = []
        self._behind = behind
        try:
            sent = self._deliver_one(batch[0], receivers) if len(batch) == 1 else self._deliver(batch, receivers)
            for more, others in behind:
                if more:
                    sent += self._deliver(more, others)
        finally:
            self._behind = None
        return sent

    def _deliver_one(self, message: Message, receivers: Sequence[IMember]) -> int:
        data, _, origin, _ = message
        sent = len(receivers)
        for member in receivers:
            if member.serial == origin:
                sent -= 1
                continue
            try:
                member.write(data)
            except Exception:
                self._fail(member)
        return sent

    def _deliver(self, batch: Sequence[Message], receivers: Sequence[IMember]) -> int:
        data = b"".join(map(frame_of, batch))
        origins = set(map(origin_of, batch))
        sent = len(receivers) * len(batch)
        for member in receivers:
            if member.serial not in origins:
                try:
                    member.write(data)
                except Exception:
                    self._fail(member)
            else:
                serial = member.serial
                others = [message.frame for message in batch if message.origin != serial]
                sent -= len(batch) - len(others)
                if others:
                    try:
                        member.write(b"".join(others))
                    except Exception:
                        self._fail(member)
        return sent

    def _fail(self, member: IMember) -> None:
        self._log.failure("a member could not be written to")
        try:
            member.close(CloseReason.INTERNAL_ERROR)
        except Exception:
            self._log.failure("a member could not be closed")
