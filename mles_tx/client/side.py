"""One side of a bridge: what is on its server as far as the bridge knows, and what waits to be said there.

It must not know what kind of link is behind it, nor the other sides.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from mles_tx.protocol.dedup import DigestMemory
from mles_tx.protocol.header import MAX_MESSAGE_BYTES

from .held import HeldMessages
from .interfaces import Message

__all__ = ["ISideLink", "Side", "SideCounts", "SideState"]


class ISideLink(Interface):
    """The link of a side, as its bridge sees it."""

    name = Attribute("What it is called in logs, without anything secret.")

    def say(message: Message) -> "Deferred[None]":
        """Say something there; called while the side is up.

        Returns:
            Fires when the next message is wanted. A message it was called with is said in any case, as long as the link
            does not end for good.
        """

    def hold() -> None:
        """Hear nothing for now."""

    def go_on() -> None:
        """Hear again."""


class SideState(Enum):
    """How far a side is."""

    BEGINNING = auto()  #: its history has not come yet
    UP = auto()  #: what is said there is heard, and can be said
    DOWN = auto()  #: the link is broken, or its history is coming again


@dataclass(slots=True)
class SideCounts:
    """What happened on one side since it began.

    Attributes:
        heard: messages that came, repeated ones included, join frames not.
        repeated: of these, those that had been there before, and were not passed on.
        said: messages that were passed on to it.
        spared: messages that were to be said there, and came from there before that was done.
        refused: messages too large to be said there.
        waiting: messages that wait to be said.
        links: how often its link came up.
        is_up: whether it is at the moment.
        is_held: whether nothing is heard because another side cannot take it.
    """

    heard: int = 0
    repeated: int = 0
    said: int = 0
    spared: int = 0
    refused: int = 0
    waiting: int = 0
    links: int = 0
    is_up: bool = False
    is_held: bool = False


class Side:
    """What a bridge knows of one of its sides.

    Args:
        link: how it is reached.
        digests: digests that are remembered.
        max_messages: messages that may wait before it counts as full.
        max_bytes: bytes of them.
        clock: the reactor, or a `Clock` in tests.
        standby: seconds a message waits in any case, and is not said when it comes from there meanwhile.
        eased: called when it was full and is no more.

    Attributes:
        state: how far it is.
        known: digests of what is there, or will be as soon as it is said.
        heard: of these, those that were heard there first, as often as they were passed on.
        first: what its history had when it was first seen; emptied once all sides have begun.
        counts: what happened.
        held: the last messages that are there.
        is_full: whether as much waits as may; until half of it is gone.
        max_payload: bytes of the largest message that can be said there.
    """

    __slots__ = (
        "_bytes",
        "_clock",
        "_eased",
        "_is_saying",
        "_max_bytes",
        "_max_messages",
        "_numbers",
        "_queue",
        "_standby",
        "_timer",
        "_waiting",
        "counts",
        "first",
        "heard",
        "held",
        "is_full",
        "known",
        "link",
        "max_payload",
        "state",
    )

    def __init__(
        self,
        link: ISideLink,
        digests: int,
        max_messages: int,
        max_bytes: int,
        clock: IReactorTime,
        standby: float,
        eased: Callable[[], object],
    ) -> None:
        self.link = link
        self.state = SideState.BEGINNING
        self.known = DigestMemory(digests)
        self.heard = DigestMemory(digests)
        self._clock = clock
        self._standby = standby
        self._eased = eased
        self._timer: IDelayedCall | None = None
        self.first: deque[Message] = deque(maxlen=digests)
        self.counts = SideCounts()
        self.held = HeldMessages()
        self.is_full = False
        self.max_payload = MAX_MESSAGE_BYTES
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._queue: OrderedDict[int, tuple[Message, float]] = OrderedDict()  # with when to say it, by number
        self._waiting: dict[int, deque[int]] = {}  # numbers by digest
        self._numbers = 0
        self._bytes = 0
        self._is_saying = False

    def __len__(self) -> int:
        """Messages that wait to be said."""
        return len(self._queue)

    def add(self, message: Message) -> None:
        """A message is to be said there."""
        self._add(message, self._due())
        self._weigh()

    def _due(self) -> float:
        """When something that is added now is to be said."""
        return self._clock.seconds() + self._standby if self._standby else 0.0

    def _add(self, message: Message, due: float) -> None:
        if len(message.payload) > self.max_payload:
            self.counts.refused += 1
            return
        self._numbers += 1
        self._queue[self._numbers] = message, due
        self._waiting.setdefault(message.digest, deque()).append(self._numbers)
        self._bytes += len(message.payload)

    def add_before(self, messages: list[Message]) -> None:
        """These are to be said there before everything that waits."""
        waiting = list(self._queue.values())
        self._queue.clear()
        self._waiting.clear()
        self._bytes = 0
        for message in messages:
            self._add(message, self._due())
        for message, due in waiting:
            self._add(message, due)
        self._weigh()  # last: other sides may be heard again, and what comes from them is to be behind all this

    def spare(self, digest: int) -> bool:
        """A message came from there: whether it was to be said there, and now is not."""
        numbers = self._waiting.get(digest)
        if numbers is None:
            return False
        number = numbers.popleft()
        if not numbers:
            del self._waiting[digest]
        self._bytes -= len(self._queue.pop(number)[0].payload)
        self.counts.spared += 1
        self._weigh()
        return True

    def say_on(self) -> None:
        """Say what waits, as far as the link takes it."""
        while self.state is SideState.UP and self._queue and not self._is_saying:
            if self._standby and not self._is_due():
                return
            self._is_saying = True  # first: with less to be said others may be heard again, and come back to here
            message = self._next()
            self.counts.said += 1
            self.held.add(message)
            saying = self.link.say(message)
            saying.addCallbacks(self._said, self._not_said)
            if not saying.called:
                saying.addCallback(lambda _: self.say_on())

    def stop(self) -> None:
        """Say nothing more, and keep no timer."""
        self.state = SideState.DOWN
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_due(self) -> bool:
        """Whether the next message has waited long enough; else it is looked at again when it has."""
        _, due = next(iter(self._queue.values()))
        left = due - self._clock.seconds()
        if left > 0 and self._timer is None:
            self._timer = self._clock.callLater(left, self._look)
        return left <= 0

    def _look(self) -> None:
        self._timer = None
        self.say_on()

    def _next(self) -> Message:
        _, (message, _) = self._queue.popitem(last=False)
        numbers = self._waiting[message.digest]
        numbers.popleft()
        if not numbers:
            del self._waiting[message.digest]
        self._bytes -= len(message.payload)
        self._weigh()
        return message

    def _said(self, _: None) -> None:
        self._is_saying = False

    def _not_said(self, _: Failure) -> None:
        pass  # the link has ended for good: nothing more is said

    def _weigh(self) -> None:
        count, size = len(self._queue), self._bytes
        self.counts.waiting = count
        if count >= self._max_messages or size >= self._max_bytes:
            self.is_full = True
        elif self.is_full and count <= self._max_messages // 2 and size <= self._max_bytes // 2:
            self.is_full = False
            self._eased()
