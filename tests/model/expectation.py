"""What has to be seen, in plain lists: messages that are under way, histories, and what each member is owed.

Nothing here is taken from the package but its named limits: a fault that is in both would not be found.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mles_tx.channels.history import OVERHEAD_BYTES
from mles_tx.protocol.auth import digest

__all__ = ["Bounds", "Histories", "Said", "Speaker", "Told", "cut"]


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """One message, or the join frame of a member.

    Attributes:
        payload: what it says; different for each.
        by: who has said it.
        order: the how manieth of all it is; None: it was said before it was known whether its author is let in.
        is_join: whether it is a join frame.
    """

    payload: bytes
    by: "Speaker"
    order: int | None = None
    is_join: bool = False

    @property
    def size(self) -> int:
        """Bytes of its frame: these are all short, or have a length in two bytes."""
        return len(self.payload) + (2 if len(self.payload) < 126 else 4)


class Speaker:
    """Who says something: one membership, with what of it is still under way."""

    def __init__(self, uid: str, channel: str) -> None:
        self.uid = uid
        self.channel = channel
        self.under_way: deque[Said] = deque()
        self.is_refused = False

    def take(self, payload: bytes, in_order: bool) -> Said:
        """Find a message that is under way, which it is no more; in order, it has to be the next one."""
        for said in self.under_way:
            if said.payload == payload:
                break
            if in_order:
                raise AssertionError(f"{payload!r} came before {said.payload!r}, which {self.uid} had said before")
        else:
            raise AssertionError(f"{payload!r} of {self.uid} came again, or was never said")
        self.under_way.remove(said)
        return said


@dataclass(slots=True)
class Told:
    """What one member is owed: its replay, as it was asked for, and everything that was delivered since.

    Attributes:
        live: payloads of what others said since it is a member, in order.
        shortest: payloads of the replay, as short as it may be.
        longest: likewise, as long as it may be.
        is_being_read: whether the store has still to read it.
    """

    shortest: list[bytes] = field(default_factory=list)
    longest: list[bytes] = field(default_factory=list)
    live: list[bytes] = field(default_factory=list)
    is_being_read: Callable[[], bool] = lambda: False

    def push_out(self, kept: Iterable[bytes]) -> None:
        """The channel remembers only this by now: what is read from now on may begin with that."""
        if self.is_being_read():
            remembered = set(kept)
            self.shortest = [payload for payload in self.shortest if payload in remembered]

    def check(self, replayed: Sequence[bytes], is_whole: bool) -> None:
        """Look whether what was replayed is right, as far as it has come."""
        found = list(replayed)
        if is_whole:
            if not len(self.shortest) <= len(found) <= len(self.longest) or found != cut(self.longest, len(found)):
                raise AssertionError(f"replayed {found}, and at least {self.shortest}, at most {self.longest} is owed")
        elif len(self.shortest) == len(self.longest) and found != self.longest[: len(found)]:
            raise AssertionError(f"replayed {found}, and {self.longest} is owed")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is remembered.

    Attributes:
        messages: of a channel.
        channel_bytes: of frames of a channel.
        total_bytes: of memory, all in all.
        idle_seconds: after which a channel is forgotten.
    """

    messages: int
    channel_bytes: int
    total_bytes: int
    idle_seconds: float


class _Log:
    def __init__(self) -> None:
        self.kept: list[Said] = []
        self.ever: list[Said] = []
        self.used_at = 0.0

    def add(self, said: Said) -> None:
        for messages in (self.kept, self.ever):
            if said.is_join:
                messages[:] = [other for other in messages if not (other.is_join and other.by.uid == said.by.uid)]
            messages.append(said)


class Histories:
    """What the channels remember, the least recently used first.

    Args:
        bounds: how much.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._logs: OrderedDict[str, _Log] = OrderedDict()

    @property
    def names(self) -> set[str]:
        """The channels that have a history."""
        return set(self._logs)

    @property
    def memory(self) -> int:
        """Bytes all of them take."""
        return sum(self._memory(name) for name in self._logs)

    def _memory(self, name: str) -> int:
        kept = self._logs[name].kept
        return OVERHEAD_BYTES + len(name) + sum(said.size + OVERHEAD_BYTES for said in kept)

    def add(self, channel: str, batch: Iterable[Said], now: float, occupied: set[str]) -> None:
        """Remember what was delivered; when that is too much, first channels nobody is on are forgotten."""
        log = self._logs.setdefault(channel, _Log())
        self._logs.move_to_end(channel)
        log.used_at = now
        for said in batch:
            log.add(said)
        while len(log.kept) > self._bounds.messages or sum(x.size for x in log.kept) > self._bounds.channel_bytes:
            del log.kept[0]
        if self.memory > self._bounds.total_bytes:
            enough = self._bounds.total_bytes * 9 // 10
            others = [name for name in self._logs if name != channel]
            for name in sorted(others, key=lambda name: name in occupied):  # the order is kept otherwise
                if self.memory > enough:
                    del self._logs[name]
            while log.kept and self.memory > enough:
                del log.kept[0]

    def kept(self, channel: str) -> list[bytes]:
        """Payloads of what a channel remembers."""
        return [said.payload for said in self._logs[channel].kept]

    def forget_one(self, occupied: set[str]) -> bool:
        """Forget the least recently used channel nobody is on."""
        for name in self._logs:
            if name not in occupied:
                del self._logs[name]
                return True
        return False

    def idle(self, now: float) -> set[str]:
        """The channels nobody has spoken on for long."""
        return {name for name, log in self._logs.items() if log.used_at < now - self._bounds.idle_seconds}

    def forget(self, names: set[str]) -> None:
        """Forget some channels."""
        for name in names:
            del self._logs[name]

    def replay(self, channel: str, uid: str, count: int | None, since: Sequence[int], with_joins: bool) -> Told:
        """What a joiner is owed.

        Args:
            channel: where it joins.
            uid: who.
            count: messages it asks for; None: all.
            since: digests of the last frames it has.
            with_joins: whether join frames are looked at.
        """
        log = self._logs.get(channel, _Log())
        answers = sorted((_asked(some, uid, count, since) for some in (log.kept, log.ever)), key=len)
        if not with_joins:
            answers = [[said for said in some if not said.is_join] for some in answers]
        shortest, longest = ([said.payload for said in some] for some in answers)
        return Told(shortest, longest)


def _asked(messages: list[Said], uid: str, count: int | None, since: Sequence[int]) -> list[Said]:
    joins = {digest(said.payload) for said in messages if said.is_join}
    run = [each for each in since if each not in joins]
    others = [(index, digest(said.payload)) for index, said in enumerate(messages) if said.by.uid != uid]
    others = [(index, each) for index, each in others if each not in joins]
    wanted = messages
    for start in range(len(others) - len(run) + 1):
        if run and [each for _, each in others[start : start + len(run)]] == run:
            wanted = messages[others[start + len(run) - 1][0] + 1 :]
            break
    if count is not None:
        wanted = cut([said for said in wanted if not said.is_join], count)
    return wanted


def cut(messages: list[Any], count: int) -> list[Any]:
    """The last so many."""
    return messages[max(0, len(messages) - count) :]
