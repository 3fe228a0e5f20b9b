"""One connection's life as a table: AWAIT_HEADER → JOINING → (RESYNC →) LIVE → CLOSED.

It takes whole messages and says what they mean. It knows neither sockets nor channels; everything that
moves it from one state to another is in `TRANSITIONS`.

    ============  ==========  ==========  ==========  ==========  =======
    state         HEADER      JOINED      OFFERING    OFFERED     CLOSE
    ============  ==========  ==========  ==========  ==========  =======
    AWAIT_HEADER  JOINING     --          --          --          CLOSED
    JOINING       --          LIVE        RESYNC      --          CLOSED
    RESYNC        --          --          --          LIVE        CLOSED
    LIVE          --          --          --          --          CLOSED
    CLOSED        --          CLOSED      CLOSED      CLOSED      CLOSED
    ============  ==========  ==========  ==========  ==========  =======
"""

from collections.abc import Sequence
from enum import Enum, auto

from .auth import check_auth
from .frames import encode_message
from .header import Header, parse_header

__all__ = ["TRANSITIONS", "Event", "Session", "SessionStateError", "State"]


class State(Enum):
    """Where a connection is."""

    # Members are one of a kind, and Python's own hash of their names takes ten times as long.
    __hash__ = object.__hash__

    AWAIT_HEADER = auto()  #: nothing was said yet
    JOINING = auto()  #: the header is good; the channel has not answered yet
    RESYNC = auto()  #: a member; what it sends is history it holds
    LIVE = auto()  #: a member; what it sends is published
    CLOSED = auto()  #: what it sends is ignored


class Event(Enum):
    """What moves a session on."""

    __hash__ = object.__hash__

    HEADER = auto()  #: a good first frame came
    JOINED = auto()  #: the channel took the member in
    OFFERING = auto()  #: likewise, and the member has announced history
    OFFERED = auto()  #: all of the announced history has come
    CLOSE = auto()  #: either side ended it


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.AWAIT_HEADER: {Event.HEADER: State.JOINING, Event.CLOSE: State.CLOSED},
    State.JOINING: {Event.JOINED: State.LIVE, Event.OFFERING: State.RESYNC, Event.CLOSE: State.CLOSED},
    State.RESYNC: {Event.OFFERED: State.LIVE, Event.CLOSE: State.CLOSED},
    State.LIVE: {Event.CLOSE: State.CLOSED},
    State.CLOSED: {
        Event.JOINED: State.CLOSED,
        Event.OFFERING: State.CLOSED,
        Event.OFFERED: State.CLOSED,
        Event.CLOSE: State.CLOSED,
    },
}


class SessionStateError(Exception):
    """The server, not the peer, asked for a transition that does not exist."""


class Session:
    """The rules for one connection.

    Args:
        keys: the server's keys, any of which lets in; none: everybody is let in. They may change until the
            header comes.
    """

    __slots__ = ("_early", "_offered", "keys", "state")

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.state = State.AWAIT_HEADER
        self.keys = keys
        self._early: list[bytes] = []
        self._offered = 0  # messages of history that are still to come

    def receive(self, payload: bytes, is_binary: bool) -> Header | bytes | None:
        """Take one whole message.

        Returns:
            A `Header` when the peer asks to join, the encoded frame (bytes) when it says something as a member, or
            None when there is nothing to do yet, or any more.

        Raises:
            ProtocolViolation: the first frame breaks a rule.
        """
        if self.state is State.LIVE or self.state is State.RESYNC:
            return encode_message(payload, is_binary)
        if self.state is State.AWAIT_HEADER:
            header = parse_header(payload, is_binary)
            check_auth(header.uid, header.channel, header.auth, self.keys)
            self._move(Event.HEADER)
            self._offered = header.resync
            return header
        if self.state is State.JOINING:
            # At most what one read brought: the connection is not read while it is joining.
            self._early.append(encode_message(payload, is_binary))
        return None

    def joined(self) -> list[bytes]:
        """The channel took the member in.

        Returns:
            The frames that came while it was joining, in order, to be taken now like those that come from now on.
        """
        self._move(Event.OFFERING if self._offered else Event.JOINED)
        early, self._early = self._early, []
        return [] if self.state is State.CLOSED else early

    def count_offered(self, count: int) -> int:
        """How many of the next messages are history, of so many that have come; the rest is said now."""
        offered = min(count, self._offered)
        self._offered -= offered
        if not self._offered:
            self._move(Event.OFFERED)
        return offered

    def close(self) -> None:
        """Either side ended the connection; any number of times."""
        self._move(Event.CLOSE)
        self._early.clear()

    def _move(self, event: Event) -> None:
        try:
            self.state = TRANSITIONS[self.state][event]
        except KeyError:
            raise SessionStateError(f"{event.name} in {self.state.name}") from None
