"""Whether a request that is passed on goes on, judged once a minute by what has moved.

    ==========  ==================================  ==================================================
    phase       what is waited for                  how long
    ==========  ==================================  ==================================================
    CONNECTING  a connection to the upstream        CONNECT_SECONDS, in `pool`
    SENDING     the rest of the request's body      as long as MIN_BYTES come, or are taken, in a look
    WAITING     the head of the answer              LOOK_SECONDS
    ANSWERING   the rest of the answer              SILENT_LOOKS looks without a byte; as long as the
                                                    client takes MIN_BYTES in a look
    DRAINING    that the client takes the end of    likewise
                it, before its next request
    SPLICED     bytes of either side                IDLE_LOOKS looks without a byte; likewise
    OVER        nothing
    ==========  ==================================  ==================================================

A look is what is done every LOOK_SECONDS: to compare what has moved since the last one costs nothing in between.
It must not know connections.
"""

from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["IDLE_LOOKS", "LOOK_SECONDS", "MIN_BYTES", "REPORTS", "SILENT_LOOKS", "Phase", "Progress", "Seen", "Verdict"]

#: Seconds between two looks, and for the head of an answer: what nginx allows. A program that computes for longer
#: answers 202, or sends its head first.
LOOK_SECONDS = 60.0

#: Bytes that have to move between two looks while something is on its way: a hundredth of what a slow mobile link
#: carries, so that an upload may go on for hours, and a byte a second may not.
MIN_BYTES = 1024

#: Looks an upstream may be silent within an answer: five minutes. Streams of events say something every 15 to 30 s.
SILENT_LOOKS = 5

#: Looks a WebSocket may be silent: an hour. Many programs send no pings, and a peer that is gone has to be let go.
IDLE_LOOKS = 60


class Phase(Enum):
    """How far a request has come."""

    CONNECTING = auto()
    SENDING = auto()
    WAITING = auto()
    ANSWERING = auto()
    DRAINING = auto()
    SPLICED = auto()
    OVER = auto()


class Verdict(Enum):
    """What a look says."""

    GOES_ON = auto()
    CLIENT_STALLS = auto()  #: the client takes nothing of what is for it
    CLIENT_SLOW = auto()  #: it sends next to nothing of the body
    UPSTREAM_STALLS = auto()  #: the upstream takes nothing of what is for it
    UPSTREAM_LATE = auto()  #: it does not begin to answer
    UPSTREAM_SILENT = auto()  #: it does not go on answering
    IDLE = auto()  #: nobody says anything on a WebSocket


#: What the log is told of an upstream.
REPORTS = {
    Verdict.UPSTREAM_STALLS: "did not take in time what was sent to it",
    Verdict.UPSTREAM_LATE: "did not answer in time",
    Verdict.UPSTREAM_SILENT: "was silent in the middle of an answer",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen at a look.

    Attributes:
        came: bytes of the request's body that have come from the client.
        moved: bytes that have come from the upstream; on a WebSocket, from both sides.
        taken_by_client: bytes its system has acknowledged.
        taken_by_upstream: likewise.
        client_stalls: the client takes nothing at this moment.
        upstream_stalls: the upstream does not.
        is_half_closed: one side of a WebSocket has ended.
    """

    came: int = 0
    moved: int = 0
    taken_by_client: int = 0
    taken_by_upstream: int = 0
    client_stalls: bool = False
    upstream_stalls: bool = False
    is_half_closed: bool = False


class Progress:
    """What was seen, and what follows from it."""

    def __init__(self) -> None:
        self._last = Seen()
        self._silent = 0  # looks at which nothing had moved

    def begin(self, seen: Seen) -> None:
        """A phase begins, with this to be seen."""
        self._last = seen
        self._silent = 0

    def judge(self, phase: Phase, now: Seen) -> Verdict:
        """What follows from a look in a phase."""
        before, self._last = self._last, now
        self._silent = self._silent + 1 if now.moved == before.moved else 0
        taken_by_upstream = now.taken_by_upstream - before.taken_by_upstream
        if now.client_stalls and now.taken_by_client - before.taken_by_client < MIN_BYTES:
            return Verdict.CLIENT_STALLS
        if phase is Phase.WAITING:
            return Verdict.UPSTREAM_LATE
        if phase is Phase.SENDING and now.came - before.came + taken_by_upstream < MIN_BYTES:
            return Verdict.UPSTREAM_STALLS if now.upstream_stalls else Verdict.CLIENT_SLOW
        if phase is Phase.ANSWERING and self._silent >= SILENT_LOOKS and not now.client_stalls:
            return Verdict.UPSTREAM_SILENT
        if phase is Phase.SPLICED:
            if now.upstream_stalls and taken_by_upstream < MIN_BYTES:
                return Verdict.UPSTREAM_STALLS
            if self._silent >= (1 if now.is_half_closed else IDLE_LOOKS):
                return Verdict.IDLE
        return Verdict.GOES_ON
