"""Servers and links in memory, for bridges: what is on its way arrives when the test says so."""

from collections import Counter, deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mles_tx.client.bridge import Bridge
from mles_tx.client.interfaces import Message
from mles_tx.client.side import ISideLink, Side
from mles_tx.protocol.auth import digest

#: Messages that a link has read when it is held.
_READ = 5

__all__ = ["MemoryChannel", "MemoryLink", "said"]


def said(text: str, is_replayed: bool = False) -> Message:
    """A text message."""
    payload = text.encode()
    return Message(payload, False, digest(payload), is_replayed)


class MemoryChannel:
    """A channel of a server.

    Args:
        limit: messages it remembers.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self.everything: list[str] = []  #: all that was ever said, repeated messages included
        self.history: deque[str] = deque(maxlen=limit)
        self.links: list[MemoryLink] = []

    def say(self, text: str, by: "MemoryLink | None" = None) -> None:
        """Somebody says something; it is on its way to everybody else."""
        self.everything.append(text)
        self.history.append(text)
        for link in self.links:
            if link is not by:
                link.coming.append(said(text))

    def restart(self) -> None:
        """Forget everything; the links are cut."""
        self.history.clear()
        for link in list(self.links):
            link.cut()

    @property
    def counts(self) -> Counter[str]:
        """How often each message was said."""
        return Counter(self.everything)


@implementer(ISideLink)
class MemoryLink:
    """A bridge's link to a channel.

    Args:
        bridge: whose.
        channel: where to.
        name: what it is called.
    """

    def __init__(self, bridge: Bridge, channel: MemoryChannel, name: str = "side") -> None:
        self.name = name
        self.channel = channel
        self.bridge = bridge
        self.side: Side = bridge.add(self)
        self.coming: deque[Message | Callable[[], None]] = deque()
        self.is_up = False
        self.is_held = False
        self.is_slow = False  #: whether what it says is taken only when the test says so
        self.stuck: list[Deferred[None]] = []

    def join(self) -> None:
        """Become a member again: the history is on its way."""
        self.is_up = True
        self.channel.links.append(self)
        self.coming.extend(said(text, is_replayed=True) for text in self.channel.history)
        self.coming.append(lambda: self.bridge.caught_up(self.side))

    def cut(self) -> None:
        """Lose the link, and what was on its way to the bridge."""
        if self.is_up:
            self.is_up = False
            self.channel.links.remove(self)
            self.coming.clear()
            self.bridge.broken(self.side)

    def arrive(self, number: int | None = None) -> int:
        """So many of the messages that are on their way arrive, or all there are now; how many it were."""
        arrived = 0
        for _ in range(len(self.coming) if number is None else number):
            if not self.coming or self.is_held:
                break
            what = self.coming.popleft()
            arrived += 1
            if isinstance(what, Message):
                self.bridge.heard(self.side, what)
            else:
                what()
        return arrived

    def take(self) -> None:
        """What was said is taken."""
        stuck, self.stuck = self.stuck, []
        for waiting in stuck:
            waiting.callback(None)

    def say(self, message: Message) -> "Deferred[None]":
        if not self.is_up:
            raise AssertionError("spoken to while the link is cut")
        self.channel.say(message.payload.decode("utf-8", "replace"), by=self)
        if not self.is_slow:
            return succeed(None)
        self.stuck.append(Deferred())
        return self.stuck[-1]

    def hold(self) -> None:
        self.is_held = True

    def go_on(self) -> None:
        self.is_held = False
        self.arrive(_READ)  # as links do: what they have read already comes at once
