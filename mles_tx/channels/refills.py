"""Histories that come from peers: who may fill that of a channel again.

A member that announces history it holds is heard when its channel has no messages: of several that offer at the same
time, one. As long as that has sent nothing another one may take its place. It must not know what the messages are.
"""

from twisted.internet.defer import Deferred

from .channel import Channel
from .claims import IClaims
from .history import IHistory
from .member import IMember

__all__ = ["NOBODY", "Refills"]

#: Whose messages a history from a peer is made of: nobody's who could join. Where a joiner stands in it (`since`) is
#: told without its own messages, and these are everybody's. It is also the uid by which the filling is claimed.
NOBODY = ""


class Refills:
    """Who fills which channel.

    Args:
        history: where it is looked whether there are messages.
        claims: where the filling is claimed, if this is one node of several.
    """

    def __init__(self, history: IHistory, claims: IClaims | None) -> None:
        self._history = history
        self._claims = claims
        self._claimed: set[Channel] = set()
        self._asking: set[Channel] = set()

    async def decide(self, channel: Channel, member: IMember) -> None:
        """Let a member that is on a channel fill it, if there is nothing in it and nobody else has begun."""
        if channel.has_spoken or channel in self._asking:
            return
        is_known, channel.filled_by = channel.filled_by is not None, member
        if is_known:
            return
        self._asking.add(channel)
        try:
            is_free = await self._claim(channel) and not await self._has_messages(channel)
        finally:
            self._asking.discard(channel)
        if not is_free:
            self.end(channel, member)

    def end(self, channel: Channel, member: IMember) -> None:
        """A member has filled its channel as far as it does; any number of times."""
        if channel.filled_by is member:
            channel.filled_by = None
            if not channel.has_spoken:
                self.forget(channel)  # else other nodes may not have heard of it yet

    def forget(self, channel: Channel) -> None:
        """A channel has ended here: others may ask about it."""
        if channel in self._claimed and self._claims is not None:
            self._claimed.discard(channel)
            self._claims.release(channel.name, NOBODY)

    async def _claim(self, channel: Channel) -> bool:
        if self._claims is None:
            return True
        self._claimed.add(channel)
        return await self._claims.claim(channel.name, NOBODY)

    async def _has_messages(self, channel: Channel) -> bool:
        # Join frames do not count: a replay with a number leaves them out.
        pulled = self._history.replay(channel.name, NOBODY, 1, ()).pull(1)
        return bool(await pulled if isinstance(pulled, Deferred) else pulled)
