"""What a client tells its user, and what it asks for: values and the interfaces at its seams."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from zope.interface import Interface, implementer

__all__ = [
    "Callbacks",
    "ClientClosed",
    "IClientListener",
    "IHeldHistory",
    "Message",
    "QueueFull",
    "State",
    "Status",
]


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody has said.

    Attributes:
        payload: its bytes; of a text frame, valid UTF-8.
        is_binary: whether it came in a binary frame.
        digest: SipHash-2-4 of the payload under the zero key, as `since` and deduplication have it.
        is_replayed: whether it came before the replay of the history seemed to be over.
    """

    payload: bytes
    is_binary: bool
    digest: int
    is_replayed: bool = False

    @property
    def text(self) -> str | None:
        """The text of a text frame; None: it is binary."""
        return None if self.is_binary else self.payload.decode("utf-8", "replace")


class State(Enum):
    """How it stands with a client."""

    IDLE = auto()  #: not started yet
    CONNECTING = auto()  #: an attempt is under way
    JOINING = auto()  #: the first frame is sent, and the history is coming
    LIVE = auto()  #: the history seems to be over
    WAITING = auto()  #: for the time of the next attempt
    CLOSED = auto()  #: for good


@dataclass(frozen=True, slots=True)
class Status:
    """How it stands with a client, and why.

    Attributes:
        state: the `State`.
        why: a line for people; empty: there is nothing to explain.
        seconds: while waiting, how long that will be.
        code: the close code the last link ended with, when there was one.
        is_error: of a closed one, whether it had to give up.
    """

    state: State
    why: str = ""
    seconds: float = 0.0
    code: int | None = None
    is_error: bool = False


class ClientClosed(Exception):
    """The client is closed, and what was asked for will not be.

    Attributes:
        status: the last `Status`.
    """

    def __init__(self, status: Status) -> None:
        super().__init__(status.why or "the client is closed")
        self.status = status


class QueueFull(Exception):
    """As much waits to be sent as is allowed; the message was not taken."""


class IClientListener(Interface):
    """Who is told what a client hears, in the reactor's thread. An exception is logged, and nothing else."""

    def message_received(message: Message) -> None:
        """A message came, in the channel's order."""

    def status_changed(status: Status) -> None:
        """It stands differently with the client."""


class IHeldHistory(Interface):
    """Who holds frames of a channel's history for a server that has lost them."""

    def held_frames() -> Sequence[Message]:
        """The frames to offer, oldest first, without join frames; a server is sent as many of the last as it takes."""


def _ignore(_: object) -> None:
    pass


@implementer(IClientListener)
@dataclass(frozen=True, slots=True)
class Callbacks:
    """A listener made of functions.

    Attributes:
        on_message: called with each `Message`.
        on_status: called with each `Status`.
    """

    on_message: Callable[[Message], object] = _ignore
    on_status: Callable[[Status], object] = _ignore

    def message_received(self, message: Message) -> None:
        self.on_message(message)

    def status_changed(self, status: Status) -> None:
        self.on_status(status)
