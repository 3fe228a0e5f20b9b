"""What each member should have seen: the books of a soak.

On each channel a witness listens from the beginning, and never talks. The order in which it hears messages is the
channel's; whatever anybody else gets is held against it. A message's name is (who, how many before it): no two are
alike.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Channel", "Name", "Stay"]

Name = tuple[int, int]


@dataclass(slots=True)
class Channel:
    """What the witness of a channel has heard.

    Attributes:
        name: what it is called.
        order: the messages, in order.
        place: where each of them stands.
        faults: what the witness itself has found wrong.
    """

    name: str
    order: list[Name] = field(default_factory=list)
    place: dict[Name, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def heard(self, message: Name) -> None:
        """The witness has heard a message."""
        if message in self.place:
            self.faults.append(f"{self.name}: {message} came twice")
            return
        self.place[message] = len(self.order)
        self.order.append(message)


@dataclass(slots=True)
class Stay:
    """One member from joining to leaving.

    Attributes:
        channel: where.
        talker: the first part of the names of what it says itself.
        first_at_latest: the place where what it hears has to begin at the latest; None: anywhere.
        after: the place behind which it has to begin; what it had before.
        heard: what it has got and was not looked at yet.
        place: that of the last message which was looked at; -1: none was.
        said: how many messages it has said.
        faults: what was wrong.
    """

    channel: Channel
    talker: int
    first_at_latest: int | None = None
    after: int = -1
    heard: deque[Name] = field(default_factory=deque)
    place: int = -1
    said: int = 0
    faults: list[str] = field(default_factory=list)
    number: int = 0

    def look(self) -> None:
        """Look at what it has got, as far as the witness has heard it."""
        while self.heard and (place := self.channel.place.get(self.heard[0])) is not None:
            message = self.heard.popleft()
            self.number += 1
            if message[0] == self.talker:
                self._wrong(f"its own {message} came back")
            if self.place < 0:
                self._begins(place)
            elif place <= self.place:
                self._wrong(f"{message} comes again or late: place {place} after {self.place}")
            else:
                self._missed(range(self.place + 1, place))
            self.place = max(self.place, place)

    def _begins(self, place: int) -> None:
        if place <= self.after:
            self._wrong(f"what it had already is replayed: place {place} after {self.after}")
        if self.first_at_latest is not None and place > self.first_at_latest:
            self._missed(range(self.first_at_latest, place))

    def _missed(self, places: range) -> None:
        """Only its own messages may be missing."""
        missing = [place for place in places if self.channel.order[place][0] != self.talker]
        if missing:
            self._wrong(f"{len(missing)} are missing from place {missing[0]} on")

    def goal(self) -> int:
        """The place it has to come to if it has everything up to now; -1: there is nothing."""
        for place in range(len(self.channel.order) - 1, -1, -1):
            if self.channel.order[place][0] != self.talker:
                return place
        return -1

    def unfinished(self) -> Iterator[str]:
        """What is wrong when nothing more will come: what it got and nobody else did."""
        self.look()
        if self.heard:
            yield f"{self.channel.name}, {self.talker}: got {len(self.heard)} the witness has not, from {self.heard[0]}"

    def unheard(self, *, left: bool) -> Iterator[str]:
        """What is wrong with what it has said; `left`: it has left as one does, so that all of it counts."""
        said = [number for talker, number in self.channel.order if talker == self.talker]
        if said != list(range(len(said))):
            yield f"{self.channel.name}, {self.talker}: what it said came in another order, or with gaps"
        if left and len(said) != self.said:
            yield f"{self.channel.name}, {self.talker}: of {self.said} messages {len(said)} came"

    def _wrong(self, what: str) -> None:
        self.faults.append(f"{self.channel.name}, {self.talker}: {what}")
