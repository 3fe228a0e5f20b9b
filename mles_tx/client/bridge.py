"""Joins sides to one channel: what is said on one is passed on to all others, each message once.

    heard on a side ──→ known there? ──yes→ dropped
                            │no
                            └──→ for each other side where it is not known: queue → said there

A message is known by its digest, and a side knows what came from it and what was said to it, the last 40,000. So
whatever shape several bridges have, a message passes each of them once, and comes to rest.

It must not know sockets, nor what kinds of links there are.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from twisted.internet.interfaces import IReactorTime

from mles_tx.protocol.dedup import MAX_DIGESTS

from .interfaces import Message
from .side import ISideLink, Side, SideCounts, SideState

__all__ = ["MAX_REPEATS", "MAX_WAITING", "MAX_WAITING_BYTES", "Bridge"]

#: Messages that may wait for one side before the others are not heard: far fewer than digests are remembered, so that
#: what is under way anywhere is still known when it comes by again.
MAX_WAITING = 10_000

#: Bytes of them.
MAX_WAITING_BYTES = 16 * 1024 * 1024

#: How often a message is passed on that is said again in the same words, where that is asked for: were there a loop
#: after all, it would end.
MAX_REPEATS = 100


class Bridge:
    """Several sides of one channel.

    When the history of a side is there for the first time, it is compared with those of the others: what came behind
    the last message they have in common is passed on, everything else is taken for older than the bridge. So one that
    was stopped, and begins again, passes on what was said meanwhile.

    Args:
        clock: the reactor, or a `Clock` in tests.
        standby: seconds a message waits in any case before it is said, and is not when it comes another way meanwhile:
            for one that takes over when another bridge fails.
        passes_repeats: whether what is said again in the same words on the same side, and is no replay, is passed on.
            Only where this is the only way between its sides: where there is another one, what comes that way looks
            just like it.
        digests: digests remembered for each side.
        max_waiting: messages that may wait for a side before the others are not heard.
        max_waiting_bytes: bytes of them.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        standby: float = 0.0,
        passes_repeats: bool = False,
        digests: int = MAX_DIGESTS,
        max_waiting: int = MAX_WAITING,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._clock = clock
        self._standby = standby
        self._passes_repeats = passes_repeats
        self._digests = digests
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._sides: list[Side] = []
        self._begun: list[Side] = []

    def add(self, link: ISideLink) -> Side:
        """One more side, before anything is heard on any."""
        side = Side(
            link,
            self._digests,
            self._max_waiting,
            self._max_waiting_bytes,
            self._clock,
            self._standby,
            self._balance,
        )
        self._sides.append(side)
        return side

    @property
    def counts(self) -> Mapping[str, SideCounts]:
        """What happened on each side, by its name."""
        return MappingProxyType({side.link.name: side.counts for side in self._sides})

    def heard(self, side: Side, message: Message) -> None:
        """A message came from a side; join frames are none."""
        side.counts.heard += 1
        is_new = side.known.add(message.digest)
        if side.spare(message.digest):
            side.held.add(message)  # it has come there another way than by us
        elif is_new or self._may_repeat(side, message):
            side.held.add(message)
            if self._passes_repeats:
                side.heard.record(message.digest)
            if side.state is not SideState.BEGINNING:
                self._pass_on(side, message, is_repeat=not is_new)
        else:
            side.counts.repeated += 1
        if side.state is SideState.BEGINNING:
            side.first.append(message)

    def caught_up(self, side: Side) -> None:
        """The history of a side has come, all of it: from now on it can be spoken to."""
        side.counts.links += 1
        side.counts.is_up = True
        if side.state is SideState.BEGINNING:
            for other in self._begun:
                self._compare(side, other)
            self._begun.append(side)
            if len(self._begun) == len(self._sides):
                for one in self._sides:
                    one.first.clear()
        side.state = SideState.UP
        for one in self._sides:
            one.say_on()
        self._balance()

    def broken(self, side: Side) -> None:
        """The link of a side is gone; it comes back, and then its history does."""
        side.counts.is_up = False
        if side.state is SideState.UP:
            side.state = SideState.DOWN
        self._balance()

    def stop(self) -> None:
        """Pass on nothing more, and keep no timer."""
        for side in self._sides:
            side.stop()

    def _pass_on(self, side: Side, message: Message, is_repeat: bool) -> None:
        others = [
            other for other in self._sides if other is not side and (other.known.add(message.digest) or is_repeat)
        ]
        for other in others:
            other.add(message)
        for other in others:  # only now: this side may be heard again meanwhile
            other.say_on()
        self._balance()

    def _may_repeat(self, side: Side, message: Message) -> bool:
        """Whether a message that is known on a side counts as said again."""
        if not self._passes_repeats or message.is_replayed:
            return False
        return 0 < side.heard.count(message.digest) < MAX_REPEATS

    def _compare(self, new: Side, other: Side) -> None:
        """Pass on what two histories do not have in common, as far as it is newer than what they have."""
        at_new, at_other = _behind(new.first, other), _behind(other.first, new)
        new.add_before([message for message in at_other if new.known.add(message.digest)])
        for message in at_new:
            if other.known.add(message.digest):
                other.add(message)

    def _balance(self) -> None:
        """Hear those sides whose messages all others can take.

        A side that is full itself, and is not up before its history has come, is heard in any case: two of that kind
        would wait for each other.
        """
        for side in self._sides:
            is_held = any(other.is_full for other in self._sides if other is not side)
            if side.is_full and side.state is not SideState.UP:
                is_held = False
            if is_held is not side.counts.is_held:
                side.counts.is_held = is_held
                if is_held:
                    side.link.hold()
                else:
                    side.link.go_on()


def _behind(history: Iterable[Message], other: Side) -> list[Message]:
    """What stands behind the last message of a history that another side has; nothing when it has none."""
    messages = list(history)
    for index in range(len(messages), 0, -1):
        if messages[index - 1].digest in other.known:
            return messages[index:]
    return []
