"""What a client has said: what waits to be sent, and what was sent and may be lost should the link break.

Mles acknowledges nothing. What a client can know is that a server takes its frames in order, and that a joiner is sent
the channel's history with its own messages in it. So what was written lately is kept; after a break it is looked for in
the replay, and everything behind the last one that is there is sent again.

It must not know a clock or a socket: time is an argument.
"""

from collections import Counter, deque
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from mles_tx.protocol.dedup import DigestMemory

__all__ = ["MAX_UNSURE_BYTES", "UNSURE_SECONDS", "Outbox", "Saying"]

#: Seconds after which a server has surely taken what it could have taken by then: the time a dead link goes unnoticed.
UNSURE_SECONDS = 120.0

#: Seconds a server takes for a message at worst: half the usual `--rate-limit`.
_TAKING_SECONDS = 0.02

#: Bytes that may be on their way: the buffers of both systems (at most 4 and 6 MiB in Linux) and what is between. What
#: was written before that has been read.
MAX_UNSURE_BYTES = 16 * 1024 * 1024

#: What a message takes beside its payload.
_OVERHEAD_BYTES = 200


@dataclass(eq=False, slots=True)
class Saying:
    """Something to be sent.

    Attributes:
        payload: its bytes.
        is_binary: whether it goes as a binary frame.
        handed: fires when it was handed to the connection; None: it has.
        digest: of the payload.
        sure_at: when the server has surely taken it.
        behind: digests of what had come when it was sent: in the history it stands behind that, if it is there.
        joins: how often the client had been let in before the link it was sent on.
    """

    payload: bytes
    is_binary: bool
    handed: Deferred[None] | None
    digest: int
    sure_at: float = 0.0
    behind: tuple[int, ...] = ()
    joins: int = 0


class Outbox:
    """What one client has said, in order.

    Attributes:
        waiting_bytes: bytes of what waits to be sent.
    """

    __slots__ = (
        "_is_in",
        "_joins",
        "_queue",
        "_said",
        "_sure_at",
        "_unsure",
        "_unsure_bytes",
        "_unsure_digests",
        "waiting_bytes",
    )

    def __init__(self) -> None:
        self._queue: deque[Saying] = deque()
        self._unsure: deque[Saying] = deque()
        self._unsure_bytes = 0
        self._unsure_digests = Counter[int]()
        self._said = DigestMemory()
        self._sure_at = 0.0
        self._joins = 0  # links before this one that the client was let in on
        self._is_in = False
        self.waiting_bytes = 0

    def __len__(self) -> int:
        """Messages that wait to be sent."""
        return len(self._queue)

    @property
    def unsure(self) -> int:
        """Messages that were sent and may be lost should the link break now."""
        return len(self._unsure)

    @property
    def pending(self) -> set[int]:
        """Digests of what waits to be sent, and of what was sent and may be lost should the link break now."""
        return {saying.digest for saying in self._queue}.union(self._unsure_digests)

    @property
    def said(self) -> DigestMemory:
        """The digests of what the server has surely taken."""
        return self._said

    def add(self, saying: Saying) -> None:
        """Something more waits."""
        self._queue.append(saying)
        self.waiting_bytes += len(saying.payload)

    def take(self) -> Saying | None:
        """The next one to send, or None; it counts as sent when `sent` says so."""
        if not self._queue:
            return None
        saying = self._queue.popleft()
        self.waiting_bytes -= len(saying.payload)
        return saying

    @property
    def behind(self) -> tuple[int, ...]:
        """Behind what the first of the unsure stands in the history, if it is there; empty: behind anything."""
        return self._unsure[0].behind if self._unsure else ()

    @property
    def joins(self) -> int:
        """How often the client was surely let in from the link on that the first of the unsure was sent on.

        In the history it stands behind the first frame of the client's that is so many before the end. 0: on none of
        them the server has said anything, and there may be no such frame.
        """
        return self._joins - self._unsure[0].joins if self._unsure else 0

    def opened(self) -> None:
        """There is a new link."""
        self._joins += self._is_in
        self._is_in = False

    def let_in(self) -> None:
        """The server of this link has said something: the client is on the channel, and its first frame is there."""
        self._is_in = True

    def looked(self, behind: tuple[int, ...]) -> None:
        """The history was looked through up to some place: the unsure are behind it, or not there."""
        for saying in self._unsure:
            saying.behind = behind

    def sent(self, saying: Saying, now: float, behind: tuple[int, ...] = ()) -> None:
        """One was written to the socket, when those had come that it stands behind."""
        saying.behind = behind
        saying.joins = self._joins
        self._sure_at = max(self._sure_at, now + UNSURE_SECONDS) + _TAKING_SECONDS
        saying.sure_at = self._sure_at
        self._unsure.append(saying)
        self._unsure_digests[saying.digest] += 1
        self._unsure_bytes += len(saying.payload) + _OVERHEAD_BYTES
        while self._unsure_bytes > MAX_UNSURE_BYTES:
            self._taken()
        self.age(now)

    def age(self, now: float) -> None:
        """Some are old enough to be sure."""
        while self._unsure and self._unsure[0].sure_at <= now:
            self._taken()

    def found(self, digest: int) -> bool:
        """The history has a message: whether it is one of the unsure; then those before that one are there as well."""
        if digest not in self._unsure_digests:
            return False
        while self._unsure[0].digest != digest:
            self._taken()
        self._taken()
        return True

    def all_taken(self) -> None:
        """The server has taken everything that was sent."""
        while self._unsure:
            self._taken()

    def send_again(self) -> int:
        """What is unsure waits again, before everything else; how many these are."""
        again = len(self._unsure)
        self.waiting_bytes += sum(len(saying.payload) for saying in self._unsure)
        self._queue.extendleft(reversed(self._unsure))
        self._forget_unsure()
        return again

    def discard(self) -> list[Saying]:
        """Forget everything; returns what was never sent."""
        never = list(self._queue)
        self._queue.clear()
        self._forget_unsure()
        self.waiting_bytes = 0
        return never

    def _forget_unsure(self) -> None:
        self._unsure.clear()
        self._unsure_digests.clear()
        self._unsure_bytes = 0
        self._sure_at = 0.0

    def _taken(self) -> None:
        saying = self._unsure.popleft()
        self._unsure_bytes -= len(saying.payload) + _OVERHEAD_BYTES
        self._unsure_digests[saying.digest] -= 1
        if not self._unsure_digests[saying.digest]:
            del self._unsure_digests[saying.digest]
        self._said.record(saying.digest)
