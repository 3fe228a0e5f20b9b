"""All doors of a port: what they share, and how long each of them may take."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.web.server import Site

from mles_tx.channels.deadlines import Deadlines
from mles_tx.channels.member import STALL_SECONDS

from .admission import Admission
from .connections import MlesFactory
from .door import Door, Relay
from .share import TurnShare

__all__ = [
    "HANDSHAKE_SECONDS",
    "HEAD_SECONDS",
    "IDLE_SECONDS",
    "LEAVE_SECONDS",
    "PIECES_PER_TURN",
    "DoorFactory",
    "Relays",
]

#: Seconds for a TLS handshake: five round trips on a bad mobile link.
HANDSHAKE_SECONDS = 10.0

#: Seconds for a whole request head, from its first byte or from the beginning of the connection.
HEAD_SECONDS = 10.0

#: Seconds a kept-alive connection may be without a request. Browsers keep theirs for 60 to 115 s.
IDLE_SECONDS = 60.0

#: Seconds a peer may take nothing of the end of an answer once the connection is to be closed.
LEAVE_SECONDS = 10.0

#: Seconds between two looks whether everybody has arrived.
_LOOK_SECONDS = 0.01

#: Pieces of the web side's work in a turn of the reactor: a turn is 50 to 100 µs then, less than a member's message
#: takes by itself. With eight, turns are seven to eleven times as long, and a page costs a fifth less.
PIECES_PER_TURN = 1


class Relays(Protocol):
    """Who answers some requests in its own way, bodies and upgrades included."""

    def takes(self, head: bytes) -> bool:
        """Whether a request with this head is one of them."""

    def relay(self, door: Door) -> Relay:
        """What is to answer it."""


class DoorFactory(Factory):
    """Builds doors, and holds what they share.

    Args:
        clock: the reactor, or a `Clock` in tests.
        websocket: who gets the connections that ask for an upgrade; None: the site answers these too.
        site: who answers everything else.
        is_full: whether a connection that begins now is to be told that the server is full.
        quick: asked for the whole answer to a head for the site, with the host that was named when TLS began: its
            bytes, or its head and its body where it is long. None, or None as its answer: the site gives it.
        share: how much of a turn goes into answers; one of its own unless others work with it.
        admission: knows the trusted proxies, and counts the clients whose upgrades come through them; None: there are
            no such proxies.
        relays: who is asked first whether a request is for it; None: nobody.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        websocket: MlesFactory | None,
        site: Site,
        is_full: Callable[[], bool] = lambda: False,
        quick: Callable[[bytes, str | None], bytes | tuple[bytes, bytes] | None] | None = None,
        share: TurnShare | None = None,
        admission: Admission | None = None,
        relays: Relays | None = None,
    ) -> None:
        self._clock = clock
        self.websocket = websocket
        self.quick = quick
        self.share = TurnShare(clock, PIECES_PER_TURN) if share is None else share
        self.site = site
        self.relays = relays
        self._is_full = is_full
        self.admission = admission
        self.doors: set[Door] = set()
        self._empty: Deferred[None] | None = None
        self.handshakes = Deadlines[Door](clock, HANDSHAKE_SECONDS, Door.abort)
        self.heads = Deadlines[Door](clock, HEAD_SECONDS, Door.abort)
        self.idle = Deadlines[Door](clock, IDLE_SECONDS, Door.finish)
        self.stalled = Deadlines[Door](clock, STALL_SECONDS, Door.still_stalled)
        self.leaving = Deadlines[Door](clock, LEAVE_SECONDS, Door.still_leaving)

    def buildProtocol(self, addr: IAddress | None) -> Door:
        door = Door()
        door.factory = self
        door.is_surplus = self._is_full()
        return door

    def all_met(self, door: Door) -> None:
        """No deadline runs for a door any more."""
        for deadlines in self._deadlines:
            deadlines.met(door)

    def forget(self, door: Door) -> None:
        """A door has lost its connection."""
        self.all_met(door)
        self.gone(door)

    def gone(self, door: Door) -> None:
        """A door has handed its connection over: no deadline runs for it then."""
        self.doors.discard(door)
        if not self.doors and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def when_empty(self) -> "Deferred[None]":
        """A Deferred that fires as soon as no connection is here."""
        if not self.doors:
            return succeed(None)
        self._empty = Deferred()
        return self._empty

    async def when_arrived(self, seconds: float) -> None:
        """Wait until everybody who was accepted has made its TLS and sent a request.

        Args:
            seconds: how long at most.
        """
        until = self._clock.seconds() + seconds
        while (self.handshakes or self.heads) and self._clock.seconds() < until:
            await deferLater(self._clock, _LOOK_SECONDS)

    def finish_all(self) -> None:
        """Close what waits for a request; let what is being answered be answered."""
        for door in list(self.doors):
            door.finish()

    def abort_all(self) -> None:
        """End everything now."""
        for door in list(self.doors):
            door.abort()

    def stop(self) -> None:
        """Keep no timer."""
        self.share.stop()
        for deadlines in self._deadlines:
            deadlines.stop()

    @property
    def _deadlines(self) -> tuple[Deadlines[Door], ...]:
        return self.handshakes, self.heads, self.idle, self.stalled, self.leaving
